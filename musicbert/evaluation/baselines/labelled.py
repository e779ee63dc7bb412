"""Baselines of a labelled set, pieces or notes: which there are, and their predictions of some pieces.

Pieces are described by their hand-made features, where the set has them; notes by
`musicbert.evaluation.baselines.note_rules`. What each baseline is: `musicbert.evaluation.baselines.models`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Bools, Floats, Ints
from musicbert.corpus.labelled.contract import LabelledSet
from musicbert.corpus.labelled.pieces import NO_CLASS, Task
from musicbert.encoding.note_columns import note_columns
from musicbert.evaluation.baselines.examples import Examples
from musicbert.evaluation.baselines.models import fit_outputs
from musicbert.evaluation.baselines.note_rules import chord_cell, note_features
from musicbert.evaluation.predictions import Predictions

#: notes that trees are fitted on, at most, drawn at random
TREE_NOTES = 50_000


def baseline_names(labelled: LabelledSet, task: Task) -> list[str]:
    """Names of the baselines that a task has."""
    first = "mean" if task.kind == "regression" else "majority"
    if task.level == "note":
        return [first, "skyline table", *(["note rules: extra trees"] if task.kind != "multilabel" else [])]
    linear = "features: ridge" if task.kind == "regression" else "features: logistic"
    return [first, *([linear, "features: extra trees"] if labelled.features() is not None else [])]


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
    rows = _known(examples, task.ignore)[:begin].nonzero()[0]
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


def _known(examples: Examples, ignore: Sequence[int]) -> Bools:
    """Items with a label that is not ignored [shape=(n,)]."""
    if examples.kind == "classes":
        return (examples.target != NO_CLASS) & ~np.isin(examples.target, ignore)
    return ~np.isnan(examples.target).all(axis=1)


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
