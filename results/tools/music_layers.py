#!/usr/bin/env python3
r"""Score a network of several labels of notes as `musicbert.music_layers` uses it, and pack it for shipping.

  python results/tools/music_layers.py --data smc/note/layers --model runs/layers/fold0/seed1/model \
      --pm2s bp_dbp_pm2s.tar.xz --seen results/overlaps.json:m2bert-mini --output results/layers

The test part of the clean split is scored: classes of notes with the benchmark's metrics; chord roots and
keys as segments, too; beats and downbeats as times (F-measure within 70 ms, nothing trimmed, mean over
pieces). Beside each stand simple baselines, networks of one label each (--single SCORES) and further networks
(--beside "random weights, 200 updates=MODEL", and "pre-trained, 200 updates=MODEL" for a fair pair); pieces
that the pre-training has seen as music, and the others, are scored apart, too. --ship FOLDER also writes the
network in half precision with transitions (from the training part; their weight is chosen on the validation
part) and scores. A network that is shipped already is scored again with --training, the record of its
training.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from layer_times import music_of, time_rows
from program import make_parser, report_errors, say

from musicbert.analysis.harmony import Smoothing, at_sixteenths
from musicbert.analysis.layers import ABOUT
from musicbert.arrays import Floats, Ints
from musicbert.atomic import read_json, write_json, write_text
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.labelled.shards import Shards
from musicbert.corpus.readers.tasks import BenchmarkTask, get_task
from musicbert.encoding.note_columns import note_columns
from musicbert.evaluation.baselines.benchmark import MELODY, baselines_of
from musicbert.evaluation.benchmark_scores import pieces_of
from musicbert.evaluation.metrics.benchmark import SCORES, SIXTEENTHS, WANTED, Segment, segments
from musicbert.evaluation.metrics.bootstrap import interval, resample
from musicbert.evaluation.reports.seen import read_seen, seen_file
from musicbert.evaluation.tables import dump, interval_cell, number_cell
from musicbert.predict import TaggerModel
from musicbert.predict.pieces import Piece
from musicbert.provenance import provenance
from musicbert.weights.tagger_folder import load_tagger_folder, save_tagger_folder

#: notes that neighbouring windows share when the network is used
OVERLAP = 128
#: weights of an observation that are tried on the validation part
WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0)
#: baselines that see the true label of the note before are no competitors
NOT_SIMPLE = ("previous",)
LAYER_OF = {
    "beat": "beats",
    "downbeat": "downbeats",
    "chordroot": "chords",
    "localkey": "keys",
    "melody": "melody",
}
SMOOTHED = ("chordroot", "localkey")
_Row = dict[str, Any]
#: probabilities of a model, since pieces have several labels
_KNOWN: dict[int, dict[int, dict[str, Floats]]] = {}


@dataclass(frozen=True, eq=False)
class Tested:
    """A piece with labels: ``name`` in its source, its number in the set, its notes and columns."""

    name: str
    number: int
    piece: LabelledPiece
    bar: Ints
    position: Ints

    @property
    def slots(self) -> Ints:
        """Sixteenth at which each note begins [shape=(n,)]."""
        return 16 * self.bar + self.position


def open_model(folder: Path) -> TaggerModel:
    """Open a network with windows that overlap, as it is shipped."""
    tagger, settings = load_tagger_folder(folder)
    return TaggerModel(tagger, {**settings, "overlap": OVERLAP}, device="cpu")


def pieces_with(data: Shards, label: str) -> dict[str, list[Tested]]:
    """Pieces that have a label, by part of the clean split."""
    parts: defaultdict[str, list[Tested]] = defaultdict(list)
    part_of = data.split("clean")
    for number, piece in enumerate(pieces_of(data)):
        if piece.name in part_of and (np.asarray(piece.labels[label]) >= 0).any():
            columns = note_columns(data.rows(number), data.codec)
            name = piece.name.rpartition("/")[2]
            parts[part_of[piece.name]].append(Tested(name, number, piece, columns.bar, columns.position))
    return parts


def probabilities(model: TaggerModel, data: Shards, tested: Sequence[Tested]) -> dict[int, dict[str, Floats]]:
    """Probabilities of the notes of pieces by number and label [shape=(n, C)]."""
    known = _KNOWN.setdefault(id(model), {})
    new = [each for each in tested if each.number not in known]
    read = [Piece(data.rows(each.number), None, np.arange(len(each.bar))) for each in new]
    for each, of in zip(new, model.predict_labels(read), strict=True):
        known[each.number] = {label: result.scores.astype(np.float64) for label, result in of.items()}
    return known


def smooth(smoothing: Smoothing, tested: Tested, probability: Floats) -> Ints:
    """Class of each note by the most probable path."""
    observed, at = at_sixteenths(probability, tested.slots)
    return np.asarray(smoothing.path(observed, at)[np.searchsorted(at, tested.slots)])


# -- scores of classes of notes


def scored(row: BenchmarkTask, tested: Sequence[Tested], classes: Sequence[Ints]) -> _Row:
    """Score and its interval over groups of pieces."""
    by_group: defaultdict[str, Floats] = defaultdict(lambda: np.zeros(2))
    for each, predicted in zip(tested, classes, strict=True):
        truth = np.asarray(each.piece.labels[row.task.label])
        parts = segments(truth, predicted, each.bar, each.position, length=row.window)
        by_group[each.piece.group] += _shares(row.score, parts)
    return _ratio(by_group)


def _ratio(by_group: Mapping[str, Floats]) -> _Row:
    """Ratio of two sums over groups [shape=(2,) each], with its interval."""
    sums = resample(len(by_group)) @ np.stack(list(by_group.values()))
    return interval(sums[:, 0] / np.maximum(sums[:, 1], 1e-9)).as_dict()


def _shares(score: str, parts: Sequence[Segment]) -> Floats:
    """Numerator and denominator of a score of the benchmark."""
    if score == "f1":
        return _f1([(part.truth == WANTED, part.predicted == WANTED) for part in parts])
    if score == "accuracy":
        return np.array(
            [sum(int((p.truth == p.predicted).sum()) for p in parts), sum(len(p.truth) for p in parts)], float
        )
    # sixteenths from the first note of each segment on: all notes have a class
    bars = [1 + int(part.new_bar[1:].sum()) for part in parts]
    cells = sum(SIXTEENTHS * n - int(part.position[0]) for n, part in zip(bars, parts, strict=True))
    return np.array([SCORES[score](parts) * cells, cells])


def _f1(pairs: Sequence[tuple[Any, Any]]) -> Floats:
    hits, size = sum(int((t & p).sum()) for t, p in pairs), sum(int(t.sum() + p.sum()) for t, p in pairs)
    return np.array([2.0 * hits, size])


def note_rows(
    label: str,
    data: Shards,
    models: Mapping[str, TaggerModel],
    seen: set[str],
    smoothings: dict[str, Smoothing],
) -> Iterator[_Row]:
    """Rows of scores of one label."""
    row = get_task(label)
    parts = pieces_with(data, label)
    test = parts["test"]
    guesses: dict[str, list[Ints]] = {}
    for name, model in models.items():
        known = probabilities(model, data, test)
        guesses[name] = [known[each.number][label].argmax(1) for each in test]
        if label in SMOOTHED:
            if name == "network":
                smoothings[label] = _learn(row, data, model, parts)
            guesses[f"{name}, segments"] = [
                smooth(smoothings[label], each, known[each.number][label]) for each in test
            ]
    train = [each.piece for each in parts["train"]]
    for name, baseline in baselines_of(row.task).items():
        if name not in NOT_SIMPLE:
            predicted = baseline(train, [each.piece for each in test], row.task)
            guesses[f"baseline: {name}"] = [np.asarray(one) for one in predicted]
    for name, classes in guesses.items():
        for music, chosen in music_of([each.name for each in test], seen).items():
            picked, given = [test[k] for k in chosen], [classes[k] for k in chosen]
            yield {
                "label": label, "metric": row.score, "row": name, "music": music, "pieces": len(picked),
                **scored(row, picked, given),
            }  # fmt: skip
            if label == "melody":
                groups: defaultdict[str, Floats] = defaultdict(lambda: np.zeros(2))
                for each, one in zip(picked, given, strict=True):
                    truth = np.asarray(each.piece.labels[label])
                    groups[each.piece.group] += _f1([(truth == MELODY, one == MELODY)])
                yield {
                    "label": label, "metric": "f1 of vocal melody", "row": name, "music": music,
                    "pieces": len(picked), **_ratio(groups),
                }  # fmt: skip


def _learn(
    row: BenchmarkTask, data: Shards, model: TaggerModel, parts: Mapping[str, list[Tested]]
) -> Smoothing:
    """Transitions of the training part, and the weight that is best on the validation part."""
    label = row.task.label
    pairs = []
    for each in parts["train"]:
        slots, first = np.unique(each.slots, return_index=True)
        pairs.append((np.asarray(each.piece.labels[label])[first], slots))
    valid = parts["valid"]
    known = probabilities(model, data, valid)
    best: tuple[float, Smoothing] | None = None
    for weight in WEIGHTS:
        smoothing = Smoothing.learned(pairs, len(row.task.classes), weight=weight)
        smoothing = Smoothing.from_dict(smoothing.as_dict())
        classes = [smooth(smoothing, each, known[each.number][label]) for each in valid]
        parts_of = [
            part
            for each, one in zip(valid, classes, strict=True)
            for part in segments(
                np.asarray(each.piece.labels[label]), one, each.bar, each.position, length=row.window
            )
        ]
        score = SCORES[row.score](parts_of)
        say(f"{label}: weight {weight:g}, {row.score} of the validation part {score:.4f}")
        if best is None or score > best[0]:
            best = score, smoothing
    assert best is not None
    return best[1]


# -- files


def single_rows(path: Path) -> Iterator[_Row]:
    """Rows of networks of one label each, as a benchmark left them."""
    record = read_json(path)
    for each in record["rows"]:
        label = get_task(each["task"]).task.label
        if label in LAYER_OF and each["split"] == "clean" and each.get("network"):
            score = each["network"]["score"]
            name = f"networks of one label ({len(each['network']['runs'])} seeds)"
            yield {
                "label": label, "metric": get_task(label).score, "row": name, "music": "all",
                "value": score["mean"], "sd": score["sd"],
            }  # fmt: skip


def markdown(rows: Sequence[_Row], command: str) -> str:
    """Tables by label and metric."""
    lines = ["# Melody, chord roots, keys, beats and downbeats by one network", "", f"`{command}`", ""]
    for label in LAYER_OF:
        for metric in dict.fromkeys(row["metric"] for row in rows if row["label"] == label):
            here = [row for row in rows if (row["label"], row["metric"]) == (label, metric)]
            counts = {row["music"]: row["pieces"] for row in here if "pieces" in row}
            words = {"all": "test pieces", "unseen": "outside pre-training", "seen": "seen in pre-training"}
            heads = [f"{count} {words[k]}" for k, count in counts.items()]
            lines += [
                f"## {label}: {metric}",
                "",
                f"| | {' | '.join(heads)} |",
                "|---" * (len(heads) + 1) + "|",
            ]
            for name in dict.fromkeys(row["row"] for row in here):
                cells = {row["music"]: interval_cell(row) for row in here if row["row"] == name}
                lines.append(f"| {name} | {' | '.join(cells.get(music, '–') for music in counts)} |")
            lines.append("")
    return "\n".join(lines)


#: layer -> label, metric, row that the layer is scored by, and the music in words
SHOWN = {
    "melody": ("melody", "f1 of vocal melody", "network", "pop songs for piano (POP909)"),
    "chords": ("chordroot", "grid_accuracy", "network, segments", "scores of classical music (AugmentedNet)"),
    "keys": ("localkey", "grid_accuracy", "network, segments", "scores of classical music (AugmentedNet)"),
    "beats": ("beat", "F-measure, 70 ms", "network", "classical piano, played (PM2S)"),
    "downbeats": ("downbeat", "F-measure, 70 ms", "network", "classical piano, played (PM2S)"),
}


def layer_scores(rows: Sequence[_Row]) -> dict[str, _Row]:
    """Score of each layer on unseen music beside its best simple baseline."""
    scores = {}
    for layer, (label, metric, name, music) in SHOWN.items():
        here = {
            row["row"]: row
            for row in rows
            if (row["label"], row["metric"], row["music"]) == (label, metric, "unseen")
        }
        best = max(
            (row for key, row in here.items() if key.startswith("baseline")), key=lambda row: row["value"]
        )
        scores[layer] = {
            "metric": metric.replace("_", " "),
            "value": round(here[name]["value"], 4),
            "baseline": round(best["value"], 4),
            "baseline_name": best["row"].removeprefix("baseline: "),
            "music": f"{here[name]['pieces']} pieces of {music} outside all training",
        }
    return scores


#: columns of the card, where there are such rows: how their names begin
BESIDE = {"random": "random weights", "pair": "pre-trained"}
#: text of the card, with places for numbers
CARD = Path(__file__).with_name("music_layers_card.txt")


def card_table(rows: Sequence[_Row], scores: Mapping[str, _Row]) -> str:
    """Layers beside their best simple baselines, and classes of notes beside other networks."""
    lines = ["| layer | score | this network | best simple baseline |", "|---|---|---|---|"]
    for layer, each in scores.items():
        simple = f"{each['baseline']:.3f} ({each['baseline_name']})"
        lines.append(f"| {layer} | {each['metric']} | {each['value']:.3f} | {simple} |")
    names = {
        "network": "this network",
        "one": "one label each",
        "random": "random weights",
        "pair": "pre-trained, trained as little",
        "base": "baseline",
    }
    names = {
        key: text
        for key, text in names.items()
        if key not in BESIDE or any(row["row"].startswith(BESIDE[key]) for row in rows)
    }
    lines += [
        "",
        "Classes of single notes, all test pieces, beside networks of one label each (means of seeds):",
        "",
    ]
    lines += [f"| label | score | {' | '.join(names.values())} |", "|---" * (2 + len(names)) + "|"]
    for label in LAYER_OF:
        metric = get_task(label).score
        here = {
            row["row"]: row["value"]
            for row in rows
            if (row["label"], row["metric"], row["music"]) == (label, metric, "all")
        }
        found = {
            "network": here["network"],
            "one": next((value for name, value in here.items() if name.startswith("networks of one")), None),
            **{
                key: next(
                    (v for name, v in here.items() if name.startswith(start) and "seg" not in name), None
                )
                for key, start in BESIDE.items()
            },
            "base": max(value for name, value in here.items() if name.startswith("baseline")),
        }
        cells = " | ".join(number_cell(found[name]) for name in names)
        lines.append(f"| {label} | {metric.replace('_', ' ')} | {cells} |")
    return "\n".join(lines)


def _training_of(folder: Path) -> _Row | None:
    path = folder.parent / "run.json"
    return read_json(path) if path.is_file() else None


def _updates(run: Mapping[str, Any]) -> str:
    return str(run["made_from"]["settings"]["--max-update"])


def beside_words(updates: Mapping[str, str]) -> str:
    """What rows of networks beside this one say, by their names and numbers of updates."""
    kinds = {name.split(",")[0].split()[0]: count for name, count in updates.items()}
    few = kinds.get("random")
    if few is None:
        return ""
    if few == kinds.get("pre-trained"):
        return (
            f"\nRandom weights and the pre-trained network beside them had the same recipe and {few} updates "
            "each: they\nshow what pre-training brings when little is trained."
        )
    return (
        f"\nRandom weights had the same recipe, but {few} updates in place of {updates['network']}: they "
        "show what little training\ngives, not what pre-training brings."
    )


def work(given: argparse.Namespace) -> str:
    """Score, write and pack."""
    models = {"network": open_model(given.model)}
    for words in given.beside:
        name, _, folder = words.rpartition("=")
        models[name or "random weights"] = open_model(Path(folder))
    data, seen = Shards(given.data), read_seen(given.seen)
    smoothings: dict[str, Smoothing] = {}
    rows: list[_Row] = []
    for label in LAYER_OF:
        rows += note_rows(label, data, models, seen, smoothings)
        say(f"{label}: {number_cell(next(r['value'] for r in rows if r['label'] == label))}")
    rows += time_rows(given.pm2s, models, seen)
    rows += single_rows(given.single) if given.single else []
    inputs = {
        "pm2s": given.pm2s,
        "seen": seen_file(given.seen)[0],
        "weights": given.model / "model.safetensors",
    }
    made_by = provenance(sys.argv, inputs=inputs, seed=0, configuration={"data": data.sha256})
    folders = {
        "network": given.model,
        **{n: Path(p) for n, _, p in (w.rpartition("=") for w in given.beside)},
    }
    training = {name: _training_of(folder) for name, folder in folders.items()}
    if given.training is not None:
        training["network"] = read_json(given.training)
    given.output.mkdir(parents=True, exist_ok=True)
    write_text(given.output / "scores.json", dump({"rows": rows, "training": training, "made_by": made_by}))
    write_text(given.output / "table.md", markdown(rows, made_by["command"]))
    if given.ship is not None:
        tagger, settings = load_tagger_folder(given.model)
        weights = {name: value.half() for name, value in tagger.state_dict().items()}
        settings = {
            name: value for name, value in settings.items() if name not in ("model_type", "format_version")
        }
        save_tagger_folder(given.ship, weights, {**settings, "overlap": OVERLAP}, overwrite=True)
        smoothing = {label: each.as_dict() for label, each in smoothings.items()}
        scores = layer_scores(rows)
        write_json(given.ship / ABOUT, {"scores": scores, "smoothing": smoothing})
        run = training["network"]
        words = {"outputs": settings["head"]["outputs"], "table": card_table(rows, scores)}
        words |= {"updates": _updates(run), "hours": run["seconds"] / 3600}
        words["beside"] = beside_words({name: _updates(each) for name, each in training.items() if each})
        write_text(given.ship / "README.md", CARD.read_text(encoding="utf-8").format(**words))
    return markdown(rows, made_by["command"])


def main() -> int:
    """Parse the arguments, score and write. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="shards of all labels")
    parser.add_argument("--model", type=Path, required=True, help="folder of the trained network")
    parser.add_argument("--pm2s", type=Path, required=True, help="data set with the times of beats")
    parser.add_argument("--seen", required=True, help="FILE.json:NETWORK, pieces that its pre-training holds")
    parser.add_argument(
        "--beside", action="append", default=[], metavar="NAME=MODEL", help="further networks"
    )
    parser.add_argument("--training", type=Path, help="run.json of the training (the one beside --model)")
    parser.add_argument("--single", type=Path, help="scores.json of networks of one label each")
    parser.add_argument("--ship", type=Path, help="folder for the package")
    parser.add_argument("--output", type=Path, required=True, help="folder of scores.json and table.md")
    given = parser.parse_args()
    return report_errors(lambda: work(given))


if __name__ == "__main__":
    sys.exit(main())
