r"""Probe a frozen network on labels of notes: test pieces that its pre-training has seen, and the others.

Example: python results/tools/probe_notes.py bps_motif=mnid_bpsmotif --output results/probes/motifs

A logistic regression on the states of notes (last layer), of the network and of one of random weights, learns
from ``--train`` training pieces of the clean split, fold by fold where it has folds. Where F1 of one class is
the score, the threshold is that of the best F1 on them. Tasks and scores: `musicbert.corpus.readers.tasks`;
other scores are the share of right notes. ``counts`` in ``probe.json`` are what is scored, of each piece:
notes of the class that are found, notes that are called so, notes that are so (of all classes: right notes
and, twice, all); ``--again`` scores them. Brackets: 95 % bootstrap intervals over groups of pieces.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from program import ROOT, make_parser, report_errors

from musicbert.arrays import Floats, Ints
from musicbert.atomic import read_json, write_text
from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.readers.benchmark import load_data_set, parse_source, tasks_of
from musicbert.corpus.readers.tasks import BenchmarkTask
from musicbert.evaluation.benchmark_scores import rounds
from musicbert.evaluation.metrics.bootstrap import divide, group_numbers, interval, resample, weighted_sums
from musicbert.evaluation.reports.seen import SEEN, UNSEEN, read_seen
from musicbert.evaluation.tables import dump, interval_cell, markdown_table
from musicbert.provenance import provenance

__all__ = ["probe_pieces", "probe_text", "score_probe"]

PROBES = ("random weights", "pre-trained")
#: of a label: names and groups of the tested pieces, and by row what is counted in each [shape=(n, 3)]
Counts = dict[str, Any]


def probe_pieces(
    model: Any, tasks: Sequence[BenchmarkTask], pieces: Sequence[LabelledPiece], n_train: int, seed: int = 0
) -> dict[str, Counts]:
    """Learn from some pieces and count what is right in others, by label."""
    from musicbert.predict.sentences.databin import random_twin

    parts = [(_some(part["train"], n_train), part["test"]) for part in rounds(tasks[0], pieces, "clean")]
    used = {piece.name: piece for train, test in parts for piece in (*train, *test)}
    index = {name: model.read(piece.notes).note_index for name, piece in used.items()}
    tested = [piece for _, test in parts for piece in test]
    counts: dict[str, Counts] = {
        row.task.label: {"pieces": [p.name for p in tested], "groups": [p.group for p in tested]}
        for row in tasks
    }
    weights = {name: value.clone() for name, value in model.module.state_dict().items()}
    for probe in ("floor", *PROBES):
        if probe == "random weights":
            model.module.load_state_dict(random_twin(model, seed=seed), strict=False)
        elif probe == "pre-trained":
            model.module.load_state_dict(weights)
        states = {
            name: np.zeros((len(index[name]), 1))
            if probe == "floor"
            else model.embed(model.read(piece.notes), level="note")
            for name, piece in used.items()
        }
        for task in (row.task for row in tasks):
            found = []
            for train, test in parts:
                known, inputs = _labels(train, task, index), [states[piece.name] for piece in train]
                scored = _scored(known, task)
                learn = _constant if probe == "floor" else _learner
                guess = learn(task, np.concatenate(inputs)[scored], known[scored])
                for piece in test:
                    truth = _labels([piece], task, index)
                    found.append(_count(task, truth, guess(states[piece.name])))
            counts[task.label][_floor(task) if probe == "floor" else probe] = found
    return counts


def _some(pieces: Sequence[LabelledPiece], count: int) -> list[LabelledPiece]:
    chosen = np.random.default_rng(0).permutation(len(pieces))[:count]
    return [pieces[number] for number in sorted(chosen.tolist())]


def _labels(pieces: Sequence[LabelledPiece], task: Task, index: Mapping[str, Ints]) -> Ints:
    return np.concatenate([np.asarray(p.labels[task.label], np.int64)[index[p.name]] for p in pieces])


def _scored(labels: Ints, task: Task) -> Any:
    return (labels >= 0) & ~np.isin(labels, task.ignore)


def _class(task: Task) -> int | None:
    """Class whose F1 is the score; None where all classes count."""
    name = task.metric.removeprefix("f1:")
    return None if name == task.metric else task.classes.index(name)


def _floor(task: Task) -> str:
    return "majority" if _class(task) is None else "always"


def _constant(task: Task, _: Floats, labels: Ints) -> Callable[[Floats], Ints]:
    wanted = _class(task)
    value = int(np.bincount(labels).argmax()) if wanted is None else wanted
    return lambda states: np.full(len(states), value)


def _learner(task: Task, states: Floats, labels: Ints) -> Callable[[Floats], Ints]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import precision_recall_curve
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learner = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
    wanted = _class(task)
    if wanted is None:
        learner.fit(states, labels)
        return lambda others: np.asarray(learner.predict(others))
    target = labels == wanted
    learner.fit(states, target)
    precision, recall, edges = precision_recall_curve(target, learner.predict_proba(states)[:, 1])
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    edge = edges[min(int(f1.argmax()), len(edges) - 1)]
    return lambda others: np.where(learner.predict_proba(others)[:, 1] >= edge, wanted, -1)


def _count(task: Task, truth: Ints, guess: Ints) -> list[int]:
    scored, wanted = _scored(truth, task), _class(task)
    truth, guess = truth[scored], guess[scored]
    if wanted is None:
        return [int((truth == guess).sum()), len(truth), len(truth)]
    called, so = guess == wanted, truth == wanted
    return [int((called & so).sum()), int(called.sum()), int(so.sum())]


def score_probe(
    counts: Mapping[str, Counts], seen: set[str], n_resamples: int = 1000
) -> list[dict[str, Any]]:
    """Score each row, and pre-trained minus random weights (``gain``), on all, seen and unseen pieces."""
    rows: list[dict[str, Any]] = []
    for label, found in counts.items():
        names, groups = (np.array(found[key], np.str_) for key in ("pieces", "groups"))
        known = np.isin(names, list(seen))
        kinds = [name for name in found if name not in ("pieces", "groups")]
        draws: dict[tuple[str, str], Floats] = {}
        sides = (("all", known | ~known), (SEEN, known), (UNSEEN, ~known))
        parts = {part: which for part, which in sides if which.any()}
        for name in kinds:
            for part, which in parts.items():
                group, count = group_numbers(groups[which])
                weights = resample(count, n_resamples=n_resamples, seed=0)
                right, called, so = weighted_sums(np.array(found[name])[which], weights, group).T
                draws[name, part] = divide(2 * right, called + so)
                rows.append({"label": label, "row": name, "part": part, "pieces": int(which.sum())})
                rows[-1] |= interval(draws[name, part]).as_dict()
        for part in parts:
            gain = interval(draws["pre-trained", part] - draws["random weights", part]).as_dict()
            rows.append({"label": label, "row": "gain", "part": part} | gain)
    return rows


def probe_text(rows: Sequence[dict[str, Any]], about: str) -> str:
    """Return the table in Markdown."""
    parts = list(dict.fromkeys(row["part"] for row in rows))
    counts = {row["part"]: row["pieces"] for row in rows if "pieces" in row}
    lines = []
    for label, name in dict.fromkeys((row["label"], row["row"]) for row in rows):
        cells = {
            row["part"]: interval_cell(row) for row in rows if (row["label"], row["row"]) == (label, name)
        }
        lines.append([label, name, *(cells[part] for part in parts)])
    head = ["label", "row", *(f"{part} ({counts[part]} pieces)" for part in parts)]
    title = "# Labels of notes: test pieces that the pre-training has seen as music, and the others"
    return "\n".join([title, "", about, "", *markdown_table(head, lines), ""])


def main() -> int:
    """Parse the arguments, probe and report. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("source", metavar="NAME=PATH[#FOLDER]", help="data set with labels of notes")
    parser.add_argument("--model", default="m2bert-mini", help="network")
    parser.add_argument("--seen", help="list of seen pieces (default: results/overlaps.json:MODEL)")
    parser.add_argument("--train", type=int, default=60, help="pieces to learn from, at most")
    parser.add_argument("--again", action="store_true", help="score the kept counts")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    given = parser.parse_args()
    return report_errors(lambda: _probe(given))


def _probe(given: argparse.Namespace) -> str:
    seen = read_seen(given.seen or f"{ROOT / 'results' / 'overlaps.json'}:{given.model}")
    given.output.mkdir(parents=True, exist_ok=True)  # before anything is computed
    name, path, inside = parse_source(given.source)
    tasks = [row for row in tasks_of(name) if row.task.level == "note"]
    record = given.output / "probe.json"
    if given.again:
        counts, learned = read_json(record)["counts"], read_json(record)["provenance"]
    else:
        import musicbert

        data = load_data_set(name, path, inside=inside)
        counts = probe_pieces(
            musicbert.from_pretrained(given.model, device="cpu"), tasks, data.pieces, given.train
        )
        learned = provenance(sys.argv, inputs={name: Path(path)}, seed=0)
    rows = score_probe(counts, seen)
    scores = {row.task.label: _score_name(row.task) for row in tasks}
    content = {"model": given.model, "scores": scores, "rows": rows, "counts": counts}
    write_text(record, dump(content | {"provenance": learned}))
    shown = ", ".join(f"{label}: {score}" for label, score in scores.items())
    about = (
        f"Logistic regression on frozen states of notes of `{given.model}` (last layer) and of random\n"
        f"weights, learned from at most {given.train} training pieces ({shown}). `gain`: pre-trained minus\n"
        "random weights, on the same resamples of groups of pieces. Made by `results/tools/probe_notes.py`,\n"
        "which scores the counts of `probe.json` again with `--again`."
    )
    text = probe_text(rows, about)
    write_text(given.output / "probe.md", text)
    return text


def _score_name(task: Task) -> str:
    wanted = _class(task)
    return "share of right notes" if wanted is None else f"F1 of {task.classes[wanted]}"


if __name__ == "__main__":
    sys.exit(main())
