"""Baselines of a labelled set, pieces or notes: which there are, and their predictions of some pieces.

Pieces are described by their hand-made features, where the set has them; notes by their place in their chord
and a few numbers around them. A chord is the notes of one onset. The order of the rows is not used, so an
order that gives the label away (vocal notes first) does not help. What each baseline is:
`musicbert.evaluation.baselines.models`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Floats, Ints
from musicbert.corpus.labelled.contract import LabelledSet
from musicbert.corpus.labelled.pieces import Task
from musicbert.encoding.note_columns import NoteColumns, note_columns
from musicbert.evaluation.baselines.models import fit_outputs
from musicbert.evaluation.baselines.regressors import Examples
from musicbert.evaluation.predictions import Predictions, scored_items

#: notes that trees are fitted on, at most, drawn at random
TREE_NOTES = 50_000
#: larger ranks and sizes of chords count as this one
MAX_CHORD = 5
NOTE_FEATURES = (
    "pitch", "pitch class", "position", "duration", "program", "rank from the top", "rank from below",
    "notes of the chord", "above the note below", "below the note above", "top moves by", "next top moves by",
    "since the chord before", "until the next chord", "mean pitch around",
)  # fmt: skip
#: chords on each side whose mean pitch counts as around
_AROUND = 8


def baseline_names(labelled: LabelledSet, task: Task) -> list[str]:
    """Names of the baselines that a task has."""
    first = "mean" if task.kind == "regression" else "majority"
    if task.level == "note":
        return [first, "skyline table", *(["note rules: extra trees"] if task.kind != "multilabel" else [])]
    if labelled.features() is None:
        return [first]
    models = ("ridge", "svr", "extra trees", "committee")
    if task.kind != "regression":
        models = ("logistic", "svm", "extra trees", "ensemble")
    return [first, *(f"features: {name}" for name in models)]


def baseline_predictions(
    labelled: LabelledSet, task: Task, name: str, train: Sequence[int], test: Sequence[int], *, seed: int = 0
) -> Predictions:
    """Fit a baseline (one of `baseline_names`) on some pieces and predict others, both given by number.

    ``seed``: of trees and draws.
    """
    pieces = [*train, *test]
    notes = task.level == "note"
    examples = (_notes if notes else _pieces)(labelled, task, name, pieces)
    lengths = [int(labelled.lengths[piece]) for piece in test]
    begin = len(examples.target) - (sum(lengths) if notes else len(test))
    rows = scored_items(examples.target[:begin], task.kind, task.ignore).nonzero()[0]
    if name.endswith("trees") and len(rows) > TREE_NOTES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, TREE_NOTES, replace=False))
    outputs = fit_outputs(name, examples, rows, np.arange(begin, len(examples.target)), seed=seed)
    return Predictions(
        label=task.label,
        level=task.level,
        kind=task.kind,
        classes=task.classes,
        ids=np.array([labelled.names[piece] for piece in test], np.str_),
        groups=np.array([labelled.pieces[piece].group for piece in test], np.str_),
        target=examples.target[begin:],
        outputs=np.nan_to_num(outputs).astype(np.float32),  # a value without any label in training: 0
        ignore=task.ignore,
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]) if notes else None,
        note_index=np.concatenate([labelled.note_index(piece) for piece in test]) if notes else None,
    )


def _examples(
    labelled: LabelledSet, task: Task, pieces: Sequence[int], target: NDArray[Any], of: Ints
) -> Examples:
    """Items without inputs; `of` is the place of each item's piece in `pieces` [shape=(n,)]."""
    return Examples(
        label=task.label,
        kind=task.kind,
        classes=task.classes,
        features=np.zeros((len(target), 0)),
        target=target,
        groups=np.array([labelled.pieces[piece].group for piece in pieces], np.str_)[of],
        ids=np.array([labelled.names[piece] for piece in pieces], np.str_)[of],
    )


def _pieces(labelled: LabelledSet, task: Task, name: str, pieces: Sequence[int]) -> Examples:
    at = np.asarray(pieces, np.int64)
    target = np.asarray(labelled.label(task.label)[at])
    examples = _examples(labelled, task, pieces, target, np.arange(len(at)))
    features = labelled.features() if name.startswith("features") else None
    if features is None:
        return examples
    known = np.isfinite(features).all(axis=1)
    middle: Any = features[known].mean(axis=0) if known.any() else 0.0
    return replace(examples, features=np.where(known[:, None], features, middle)[at])


def _notes(labelled: LabelledSet, task: Task, name: str, pieces: Sequence[int]) -> Examples:
    target = np.concatenate([labelled.note_labels(task.label, piece) for piece in pieces])
    of = np.repeat(np.arange(len(pieces)), [int(labelled.lengths[piece]) for piece in pieces])
    examples = _examples(labelled, task, pieces, target, of)
    columns = [note_columns(labelled.rows(piece), labelled.codec) for piece in pieces]
    if name.startswith("skyline"):
        return replace(examples, identities={"chord": np.concatenate([chord_cell(c) for c in columns])})
    if name.startswith("note rules"):
        features: Floats = np.concatenate([note_features(c) for c in columns])
        return replace(examples, features=features)
    return examples


def chord_rank(columns: NoteColumns) -> tuple[Ints, Ints]:
    """Rank of each note in its chord, from the top (0), and the size of its chord [shape=(n,)] each.

    Notes of one pitch share the better rank.
    """
    order = np.lexsort((-columns.pitch, columns.onset))
    onset, pitch = columns.onset[order], columns.pitch[order]
    starts = np.flatnonzero(np.diff(onset, prepend=onset[0] - 1)) if len(onset) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(starts, len(onset)))
    begin = np.repeat(starts, sizes)
    place = np.arange(len(onset)) - begin
    same = (np.diff(pitch, prepend=-1) == 0) & (place > 0)
    last = np.maximum.accumulate(np.where(same, 0, np.arange(len(onset))))
    rank, size = np.empty_like(order), np.empty_like(order)
    rank[order], size[order] = place[last], np.repeat(sizes, sizes)
    return rank, size


def chord_cell(columns: NoteColumns) -> Ints:
    """Rank of each note in its chord and size of the chord as one number [shape=(n,)]."""
    rank, size = chord_rank(columns)
    return np.minimum(rank, MAX_CHORD - 1) * (MAX_CHORD + 1) + np.minimum(size, MAX_CHORD)


def note_features(columns: NoteColumns) -> Floats:
    """Features of the notes of a piece [shape=(n, 15), float64], in the order of `NOTE_FEATURES`."""
    n = len(columns.onset)
    rank, size = chord_rank(columns)
    order = np.lexsort((-columns.pitch, columns.onset))
    onset, pitch = columns.onset[order], columns.pitch[order].astype(np.float64)
    starts = np.flatnonzero(np.diff(onset, prepend=onset[0] - 1))
    chord = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, n)))
    top, time = pitch[starts], onset[starts].astype(np.float64)
    moves = np.diff(top, prepend=top[0])[chord]
    next_moves = np.diff(top, append=top[-1])[chord]
    before = np.diff(time, prepend=time[0])[chord]
    after = np.diff(time, append=time[-1])[chord]
    inside = np.diff(chord, prepend=-1) == 0  # the note above is of the same chord
    below_above = np.where(inside, np.diff(pitch, prepend=0.0), 0.0)
    above_below = np.where(np.append(inside[1:], False), -np.diff(pitch, append=0.0), 0.0)
    total = np.concatenate([[0.0], np.cumsum(pitch)])
    edges = np.append(starts, n)
    low = edges[np.maximum(chord - _AROUND, 0)]
    high = edges[np.minimum(chord + _AROUND + 1, len(starts))]
    around = pitch - (total[high] - total[low]) / (high - low)
    features = np.empty((n, len(NOTE_FEATURES)))
    features[:, :8] = np.column_stack(
        [
            columns.pitch, columns.pitch % 12, columns.position, columns.duration, columns.program, rank,
            size - 1 - rank, size,
        ]
    )  # fmt: skip
    features[order, 8:] = np.column_stack(
        [above_below, below_above, moves, next_moves, before, after, around]
    )
    return features
