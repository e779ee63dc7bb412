"""`musicbert plot`: pictures of music, of what networks read and find in it, and of trainings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicbert.cli.inputs import add_action, add_part, add_repeats, read_channels
from musicbert.command_line import refuse_unused
from musicbert.errors import CheckpointError, ConfigError, DatasetError, MidiError, nearest

if TYPE_CHECKING:
    from musicbert.midi import Score

DESCRIPTION = "Draw pictures: .png, .svg or .pdf by the name of --output."
EPILOG = """examples:
  musicbert plot roll piece.mid --output roll.svg
  musicbert plot roll piece.mid --by velocity --bars 1-16 --output velocity.png
  musicbert plot roll piece.mid --by contribution --model MODEL --name flowing --output reasons.png
  musicbert plot fields piece.mid --bars 1-8
  musicbert plot masks piece.mid --mask-strategy bar --seed 3 --bars 1-8
  musicbert plot attention piece.mid --model musicbert-mini
  musicbert plot profile piece.mid
  musicbert plot curves runs/train.log

`musicbert plot PICTURE --help` describes a picture. Colours can be told apart by colour-blind readers.

exit status: 0 done; 2 bad usage or input."""
PICTURES = {
    "roll": "piano roll, coloured by track, a field, contributions, the melody or predictions",
    "fields": "the eight fields of OctupleMIDI along time",
    "masks": "one draw of the masks of pre-training",
    "attention": "how much the notes look at each other in a MusicBERT (rollout): a picture, not a reason",
    "profile": "how a piano performance is heard, with ranges",
    "curves": "curves of trainings",
}
#: colours of a roll: by track, what is in the file, and what a model says
FILE_VALUES = ("track", "velocity", "pitch", "duration", "program", "tempo")
MODEL_VALUES = ("contribution", "prediction")
#: quantities of a log that are not drawn unless they are named
SPEED = (
    "wps",
    "ups",
    "wpb",
    "bsz",
    "num_updates",
    "train_wall",
    "wall",
    "gb_free",
    "clip",
    "loss_scale",
    "lr",
)
BASELINE = "of contributions: hidden notes, or the same without expression (%(default)s)"
UNITS = {"duration": "duration (seconds)", "tempo": "tempo (quarter notes a minute)"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the pictures of `musicbert plot`."""
    actions = parser.add_subparsers(dest="picture", metavar="PICTURE", required=True)
    for name, text in PICTURES.items():
        below = add_action(actions, name, text)
        add = below.add_argument
        if name == "curves":
            add("input", metavar="LOG", nargs="+", help="log of a training, or folder with TensorBoard files")
            add(
                "--quantities",
                nargs="+",
                metavar="NAME",
                help="curves to draw, such as loss (8 at most)",
            )
        else:
            add("input", metavar="INPUT", help="MIDI file")
            if name != "profile":  # which a written score does not have
                add_repeats(below)
        add("--output", "-o", type=Path, help=f"picture to write ({name}.png)")
        add("--title", help="text above the picture (the name of the file)")
        if name in ("roll", "fields", "masks"):
            add_part(below)
        if name == "roll":
            choices = (*FILE_VALUES, "melody", *MODEL_VALUES)
            add("--by", choices=choices, default="track", help="what the colours mean (%(default)s)")
            add(
                "--name",
                help="output of the model: of contributions, of predicted numbers (first)",
            )
            add("--baseline", choices=("masked", "neutral"), default="masked", help=BASELINE)
        if name == "masks":
            add("--mask-strategy", default="bar", help="element, compound, bar, expression (%(default)s)")
            add("--mask-prob", type=float, default=0.15, help="share of the tokens, 0-1 (%(default)s)")
            add("--seed", type=int, default=0, help="of the draw (%(default)s)")
        if name in ("roll", "attention", "profile"):
            add("--model", required=name == "attention", help="folder, checkpoint, or name")
        if name == "attention":
            add("--window", type=int, default=0, help="window of a long piece, from 0 (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Draw and write; return the exit status."""
    output = options.output or Path(f"{options.picture}.png")
    title = options.title
    if title is None and options.picture != "curves":
        title = Path(options.input).name
    draw = {"roll": _roll, "fields": _fields, "masks": _masks, "attention": _attention,
            "profile": _profile, "curves": _curves}[options.picture]  # fmt: skip
    draw(options, output, title or "")
    print(output)
    return 0


def _part(options: argparse.Namespace) -> dict[str, Any]:
    return {"bars": options.bars, "start": options.start, "end": options.end}


def _roll(options: argparse.Namespace, output: Path, title: str) -> None:
    from musicbert import viz

    by = options.by
    if by not in MODEL_VALUES:
        refuse_unused(options, ["model", "name"], f"with --by {by}")
    if by != "contribution":
        refuse_unused(options, ["baseline"], f"with --by {by}")
    score = read_channels(options.input, options)
    how: dict[str, Any] = {}
    if by in FILE_VALUES[1:]:
        how = {"values": _values(score, by), "label": UNITS.get(by, by)}
        if by == "program":
            from musicbert.midi.instruments import DRUMS, INSTRUMENTS

            how["names"] = (*INSTRUMENTS, DRUMS)
    elif by == "melody":
        how = _melody(score)
    elif by in MODEL_VALUES:
        if options.model is None:
            raise ConfigError(
                "no-model", f"--by {by} needs --model", hint="name a model, folder or checkpoint"
            )
        how = (_contributions if by == "contribution" else _predictions)(options, score)
    viz.piano_roll(score, output, title=title, **_part(options), **how)


def _values(score: Score, by: str) -> Any:
    """Value of each note [shape=(n,)], as the file has it."""
    import numpy as np

    from musicbert.midi.columns import DEFAULT_BPM

    if by == "duration":
        return score.seconds(score.offset) - score.seconds(score.onset)
    if by == "program":
        return np.where(score.drum, 128, score.program)
    if by == "tempo":
        at = np.searchsorted(score.tempo_tick, score.onset, side="right")
        return np.concatenate([[DEFAULT_BPM], score.tempo_bpm])[at]
    return score.velocity if by == "velocity" else score.pitch


def _melody(score: Score) -> dict[str, Any]:
    from musicbert.analysis.layers import music_layers

    layers = music_layers(score)
    if layers.melody is None:
        raise MidiError("no-melody", layers.remarks.get("melody", "no melody was found"))
    if "melody" in layers.remarks:
        print(f"melody: {layers.remarks['melody']}", file=sys.stderr)
    return {"values": layers.melody, "names": ("accompaniment", "melody"), "marked": layers.melody}


def _contributions(options: argparse.Namespace, score: Score) -> dict[str, Any]:
    import numpy as np

    from musicbert.explanation import note_reasons, open_target

    target = open_target(options.model)
    number = _number(options.name, target.names)
    [reasons] = note_reasons(target, score, [number], baselines=[options.baseline])
    found = reasons.maps[options.baseline]
    values = np.full(len(score), np.nan)
    values[reasons.note_index] = found.notes
    low, high = target.poles[number] if target.poles else ("", "")
    said = f" (blue: {low}, orange: {high})" if high else ""
    return {"values": values, "signed": True, "label": f"contribution to {target.names[number]}{said}"}


def _predictions(options: argparse.Namespace, score: Score) -> dict[str, Any]:
    import numpy as np

    from musicbert.predict import load_tagger_model
    from musicbert.weights.tagger_folder import is_tagger_folder

    if not is_tagger_folder(options.model):
        raise CheckpointError(
            "no-notes", "Not a model of notes", path=options.model,
            hint="give a folder of musicbert finetune whose labels are of notes",
        )  # fmt: skip
    result = load_tagger_model(options.model).predict([score])[0]
    if result.known is None:
        raise CheckpointError(
            "no-notes", "It labels whole pieces, and no notes", path=options.model,
            hint="musicbert predict prints labels of pieces",
        )  # fmt: skip
    if result.kind == "classes" and options.name is None:
        best = np.where(result.known, np.nan_to_num(result.scores).argmax(axis=1).astype(float), np.nan)
        return {"values": best, "names": result.classes, "label": "predicted"}
    number = _number(options.name, result.classes)
    return {"values": result.scores[:, number], "label": result.classes[number]}


def _number(name: str | None, names: tuple[str, ...]) -> int:
    """Number of an output, by its name; the first without one."""
    if name is None:
        return 0
    if name not in names:
        hint = nearest(name, names) or f"outputs are {', '.join(names)}"
        raise ConfigError("bad-output", f"The model has no output {name!r}", hint=hint)
    return names.index(name)


def _fields(options: argparse.Namespace, output: Path, title: str) -> None:
    from musicbert import viz

    viz.field_lines(read_channels(options.input, options), output, title=title, **_part(options))


def _masks(options: argparse.Namespace, output: Path, title: str) -> None:
    from musicbert import viz
    from musicbert.objectives.masking import MaskPolicy

    policy = MaskPolicy(options.mask_strategy, mask_prob=options.mask_prob)
    score = read_channels(options.input, options)
    viz.mask_lines(score, output, policy=policy, seed=options.seed, title=title, **_part(options))


def _attention(options: argparse.Namespace, output: Path, title: str) -> None:
    from musicbert import viz
    from musicbert.explanation import attention_rollout
    from musicbert.predict import Model, from_pretrained

    score, model = read_channels(options.input, options), from_pretrained(options.model)
    if not isinstance(model, Model):
        raise CheckpointError("other-model", "Attention is read from a MusicBERT", path=options.model)
    piece = model.read(score)
    windows = model.runner.windows([piece])
    if not 0 <= options.window < len(windows):
        raise ConfigError("bad-window", f"There is no window {options.window}", hint=f"0-{len(windows) - 1}")
    part = slice(windows[options.window].start, windows[options.window].stop)
    index = piece.note_index[part]
    if len(windows) > 1:
        title = f"{title}, window {options.window} of 0-{len(windows) - 1}"
        print(
            f"this picture shows window {options.window} of 0-{len(windows) - 1}: --window", file=sys.stderr
        )
    weights = attention_rollout(model, score, window=options.window)[1:-1, 1:-1]
    onset = score.seconds(score.onset[index])
    viz.attention_map(weights, output, bar=piece.rows[part, 0], seconds=onset, title=title)


def _profile(options: argparse.Namespace, output: Path, title: str) -> None:
    import numpy as np

    import musicbert
    from musicbert import viz

    answer = musicbert.analyse(options.input, model=options.model, layers=False)
    if answer.profile is None:
        said = " ".join(reason.text for reason in answer.reasons) or "The model does not rate music"
        raise MidiError("no-profile", f"There is no profile. {said}", path=options.input)
    shown = answer.profile.dimensions
    ends = np.array([[each.rated(end) for end in each.interval or (np.nan, np.nan)] for each in shown])
    ranks = [np.nan if each.percentile is None else each.percentile for each in shown]
    poles = [(f"{each.area}: {each.low}" if each.area else each.low, each.high) for each in shown]
    viz.profile_plot(
        poles, [each.rated(each.value) for each in shown], output, low=ends[:, 0], high=ends[:, 1],
        percentiles=ranks, coverage=shown[0].coverage, title=title, scale=answer.profile.scale or (0, 1),
    )  # fmt: skip


def _curves(options: argparse.Namespace, output: Path, title: str) -> None:
    from musicbert import viz
    from musicbert.evaluation.training_log import Curves, read_curves

    panels: Curves = {}
    for place in options.input:
        found = read_curves(place)
        if not found:
            raise DatasetError("no-curves", "No line of it has scores of an epoch", path=place)
        for quantity, parts in found.items():
            names = {part: part if len(options.input) == 1 else f"{part} {place}" for part in parts}
            panels.setdefault(quantity, {}).update({names[part]: points for part, points in parts.items()})
    unknown = [name for name in options.quantities or () if name not in panels]
    if unknown:
        hint = nearest(unknown[0], panels) or f"there are {', '.join(panels)}"
        raise ConfigError("bad-quantity", f"There is no quantity {unknown[0]!r}", hint=hint)
    chosen = options.quantities or _most_telling(panels)
    viz.curves_plot({name: panels[name] for name in chosen}, output, title=title, columns=2)


def _most_telling(panels: Any) -> list[str]:
    """Quantities that say how well it goes, those with validation first; at most eight."""
    told = [name for name in panels if name not in SPEED and not name.startswith(("best_", "cuda_"))] or [
        *panels
    ]
    return sorted(told, key=lambda name: not any("valid" in part for part in panels[name]))[:8]
