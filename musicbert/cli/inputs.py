"""Arguments that several commands share, and reading of the MIDI files they name."""

from __future__ import annotations

import argparse
import csv
import io
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from musicbert.command_line import refuse_unused
from musicbert.corpus.files.archive import MUSIC_SUFFIXES, is_wanted, list_folder
from musicbert.errors import CheckpointError, MidiError, MusicBertError
from musicbert.file_kinds import file_kind

if TYPE_CHECKING:
    from musicbert.encoding import Policies
    from musicbert.midi import Score
    from musicbert.midi.reader import ChannelPrograms


T = TypeVar("T")


def add_seen(parser: argparse.ArgumentParser) -> None:
    """Add ``--seen``."""
    parser.add_argument(
        "--seen",
        metavar="LIST",
        help="score the pieces of LIST apart from the others, such as those that the pre-training held as "
        "music: a text file of a name a line, or overlaps.json:NETWORK",
    )


def add_action(
    actions: Any, name: str, text: str, *, description: str = "", examples: str | None = None
) -> argparse.ArgumentParser:
    """Add a sub-command, whose examples are printed as they are."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=text,
        description=description or text,
        epilog=examples,
    )
    return parser


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the MIDI files."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="MIDI file, written score, or folder (all .mid, .midi, .kar, .smf, .rmi, .musicxml, .mxl, .abc, "
        ".krn and .mei files in it)",
    )


def add_model(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """Add the arguments that choose a model, which is required unless there is a ``default``."""
    add = parser.add_argument
    text = "folder, checkpoint file, or name such as musicbert-mini"
    add("--model", required=default is None, default=default, help=f"{text} ({default})" if default else text)
    add("--labels", metavar="JSON", help="classes.json that names the outputs of the heads")
    add("--device", help="cpu, cuda, ... (a GPU if there is one)")
    add(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="auto: float32 on a CPU, bfloat16 on a GPU",
    )


def add_policies(parser: argparse.ArgumentParser, *, whole: bool = False) -> None:
    """Add a flag for each choice of `Policies`; ``whole``: for a model that reads windows of whole pieces."""
    from musicbert.encoding.policies import COMPATIBLE, WHOLE, Policies

    defaults = WHOLE if whole else COMPATIBLE
    group = parser.add_argument_group("music that the encoding cannot represent (defaults are as published)")
    for name, hint in get_type_hints(Policies).items():
        if name != "bar_overflow":  # of training text only
            default = getattr(defaults, name)
            flag = "--" + name.replace("_", "-")
            group.add_argument(flag, choices=get_args(hint), default=default, help="%(default)s")
    add_channel_programs(group)
    add_repeats(group)


def add_channel_programs(group: argparse._ActionsContainer) -> None:
    """Add the choice of how program changes are read."""
    group.add_argument(
        "--channel-programs",
        choices=("track", "channel"),
        default="track",
        help="a program change holds for its channel in its own track, as published, or in all tracks, as "
        "the standard says (%(default)s)",
    )


def add_repeats(group: argparse._ActionsContainer) -> None:
    """Add the choice of how a written score is read."""
    group.add_argument(
        "--repeats",
        choices=("once", "played"),
        default="once",
        help="of a written score (MusicXML, ABC, Humdrum, MEI): the music once, as on the page, or repeats, "
        "endings and da capo unfolded (%(default)s)",
    )


def share(text: str) -> float:
    """Read a share in 0-1 (type of an argument); 5, meant as per cent, is refused."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share in 0-1, such as 0.05")
    return value


def bar_range(text: str) -> tuple[int, int]:
    """Read bars (type of an argument): ``5-8``, or one such as ``5``; counted from 1."""
    first, dash, last = text.partition("-")
    try:
        bars = int(first), int(last if dash else first)
    except ValueError:
        bars = 0, 0
    if not 1 <= bars[0] <= bars[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of bars from 1, such as 5-8")
    return bars


def add_part(parser: argparse._ActionsContainer) -> None:
    """Add the choice of a part of a piece."""
    add = parser.add_argument
    add("--bars", type=bar_range, metavar="FIRST-LAST", help="bars, from 1 as in a score, such as 5-8 (all)")
    add("--from", dest="start", type=float, metavar="SECONDS", help="or: where the part begins (0)")
    add("--to", dest="end", type=float, metavar="SECONDS", help="and where it ends (the end)")


def refuse_policies(options: argparse.Namespace, codec: str) -> None:
    """Refuse the arguments of `add_policies` for an encoding that has none: raises `ConfigError`."""
    from musicbert.encoding.policies import Policies

    if codec != "octuple":
        names = [*get_type_hints(Policies), "channel_programs"]
        refuse_unused(options, names, f"by the encoding {codec}")


def policies_of(options: argparse.Namespace) -> Policies:
    """`Policies` of a command line."""
    from musicbert.encoding.policies import Policies

    given: dict[str, Any] = {
        name: getattr(options, name) for name in get_type_hints(Policies) if hasattr(options, name)
    }
    return Policies(**given)


def midi_files(inputs: Sequence[str]) -> list[Path]:
    """Files of the arguments, without repetitions; those of a folder are sorted by path.

    Raises `MidiError` (``no-files``: a folder without MIDI files) and `ValueError` (an empty argument, which
    would mean the current folder).
    """
    if "" in inputs:
        raise ValueError("an input is empty: is a variable of the shell not set?")
    files: dict[Path, None] = {}  # a set that keeps the order
    for path in map(Path, inputs):
        if not path.is_dir():
            files[path] = None
            continue
        below = sorted(list_folder(path), key=lambda member: Path(member.path))
        inside = []
        for member in below:
            if member.reason:
                if is_wanted(member, MUSIC_SUFFIXES):
                    print(f"{path / member.path}: {member.detail}", file=sys.stderr)
            elif member.path.lower().endswith(MUSIC_SUFFIXES):
                inside.append(path / member.path)
            elif is_wanted(member):
                print(f"{path / member.path}: passed over; unpack it first", file=sys.stderr)
        if not inside:
            kinds = Counter(kind for member in below if (kind := file_kind(b"", member.path)))
            hints = [f"{count} x {kind.what}: {kind.hint}" for kind, count in kinds.most_common(1)]
            message = "The folder does not contain a MIDI file"
            raise MidiError("no-files", message, path=path, hint="".join(hints) or None)
        files.update(dict.fromkeys(inside))
    return list(files)


def plain_messages() -> None:
    """Show messages of loggers as their text alone: fairseq has set up logging when it was imported."""
    for handler in logging.root.handlers:
        if type(handler) is logging.StreamHandler:
            handler.setFormatter(logging.Formatter("%(message)s"))


def read_all(files: Sequence[Path], read: Callable[[Path], T]) -> tuple[list[Path], list[T]]:
    """Return the files that can be read, and their contents; print errors of the others."""
    good, results = [], []
    for path in files:
        try:
            results.append(read(path))
            good.append(path)
        except MusicBertError as error:
            text = str(error)
            print(text if text.startswith(str(path)) else f"{path}: {text}", file=sys.stderr)
    return good, results


def open_model(options: argparse.Namespace, *, m2bert: bool = False) -> Any:
    """Open the model of `add_model`'s arguments, and report on standard error what was loaded.

    Raises `CheckpointError` (``other-model``: an M2BERT, unless ``m2bert``; a model of labels of notes or
    pieces).
    """
    from musicbert.predict import M2BertModel, TaggerModel, from_pretrained

    model = from_pretrained(
        options.model, labels=options.labels, device=options.device, precision=options.precision
    )
    if isinstance(model, M2BertModel) and not m2bert:
        raise CheckpointError(
            "other-model",
            "This is an M2BERT that is only pre-trained: it has no sentence heads and cannot fill in notes",
            path=options.model,
            hint="embed with it, or fine-tune it",
        )
    if isinstance(model, TaggerModel):
        raise CheckpointError(
            "other-model",
            f"This model labels music ({', '.join(model.heads)}) and does nothing else",
            path=options.model,
            hint="use it with musicbert predict, or embed with the model that it was trained from",
        )
    print(f"{options.model}: {model.report}", file=sys.stderr)
    return model


def read_pieces(
    files: Sequence[Path], model: Any, options: argparse.Namespace
) -> tuple[list[Path], list[Any]]:
    """Read files as pieces for a model (see `read_all`)."""
    policies, codec = policies_of(options), model.codec.name
    refuse_policies(options, codec)
    return read_all(files, lambda path: model.read(read_said(path, options, codec), policies=policies))


def say_notation(path: str | Path, score: Score) -> None:
    """Print what reading a written score left out or assumed."""
    if score.notation:
        print(f"{path}: {score.notation}: {'; '.join(score.remarks)}", file=sys.stderr)


def read_channels(path: str | Path, options: argparse.Namespace, **how: Any) -> Score:
    """Read a file by ``--channel-programs``; print how many notes the other choice would change.

    A written score is read by ``--repeats``; print what was left out. Commands without these options read as
    published, and the music once.
    """
    from musicbert.midi import programs_elsewhere, read_bytes, read_score

    data, programs = read_bytes(path), getattr(options, "channel_programs", "track")
    how["repeats"] = getattr(options, "repeats", "once")
    score = read_score(data, name=str(path), channel_programs=programs, **how)
    say_notation(path, score)
    if data is not None and programs == "track" and (elsewhere := programs_elsewhere(data)):
        then = " (--channel-programs channel)" if hasattr(options, "channel_programs") else ""
        print(
            f"{path}: {elsewhere:,} of {len(score):,} notes would have another program if a program change "
            f"held for its channel in all tracks{then}",
            file=sys.stderr,
        )
    return score


def read_said(path: str | Path, options: argparse.Namespace, codec: str = "octuple") -> Score:
    """Read a file; print what was left out of a written score, and what octuples lose of the file.

    ``options``: those of `add_policies`, and ``reader`` where there is one.
    """
    from musicbert.encoding.octuple import notes_beyond_limit
    from musicbert.midi import read_score

    reader = getattr(options, "reader", "symusic")
    if codec != "octuple":
        how = {"channel_programs": options.channel_programs, "repeats": options.repeats}
        score = read_score(path, reader=reader, name=str(path), **how)
        say_notation(path, score)
        return score
    score = read_channels(path, options, reader=reader)
    if options.beyond_limit == "drop" and (beyond := notes_beyond_limit(score)):
        print(
            f"{path}: {beyond:,} of {len(score):,} notes are left out: they begin after 1,024 bars "
            "of 4/4 (65,536 positions), where the published encoding ends (--beyond-limit keep takes them)",
            file=sys.stderr,
        )
    return score


def source_of(options: argparse.Namespace) -> tuple[Score, Any, ChannelPrograms]:
    """``options.input`` as `read_said` reads it, what to give to a model, and its ``channel_programs``.

    A file is given as it is, so that all that is not changed is kept; a written score as a `Score`.
    """
    score = read_said(options.input, options)
    return (score, score, "track") if score.notation else (score, options.input, options.channel_programs)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV, with one newline each."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def too_many_failures(rate: float, limit: float, what: str, folder: Path) -> bool:
    """Whether more inputs failed than ``--max-failure-rate`` allows; then print an error."""
    if rate > limit:
        allowed, ledger = f"more than --max-failure-rate {limit:g}", folder / "ledger.jsonl"
        print(f"error: {rate:.1%} of {what}, {allowed}; see {ledger}", file=sys.stderr)
    return rate > limit


def status(done: int, wanted: int) -> int:
    """Exit status: 0 if all inputs were used, 1 if some were, 2 if none."""
    return 0 if done == wanted else 1 if done else 2
