"""Baselines that a tagger has to beat, fitted on the training part of each fold.

| name | of | what it says |
|---|---|---|
| ``majority`` (``mean``) | all | how frequent each class is in training (the mean value) |
| ``features: logistic`` (``ridge``) | pieces | linear model on the hand-made features of the piece |
| ``features: extra trees`` | pieces | 300 trees on the same |
| ``skyline table`` | notes | how frequent each class is at this rank in a chord of this size |
| ``note rules: extra trees`` | notes | 100 trees on 15 numbers of the note and its neighbours |

Outputs are those of `Predictions`: logarithms of probabilities, logits of labels, values. Settings were
fixed beforehand and are the same for all data sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV

from musicbert.corpus.labelled.pieces import NO_CLASS, Task
from musicbert.corpus.labelled.shards import Shards
from musicbert.encoding.note_columns import NoteColumns, note_columns
from musicbert.evaluation.baselines.note_rules import MOST, chord_rank, note_features
from musicbert.evaluation.baselines.ratings import standardise
from musicbert.evaluation.predictions import Predictions

__all__ = ["baseline_names", "baseline_predictions"]

Floats = NDArray[np.float64]
#: notes that trees are fitted on, at most, drawn at random
TREE_NOTES = 50_000
_TINY = 1e-6


def baseline_names(shards: Shards, task: Task) -> list[str]:
    """Names of the baselines that a task has."""
    first = "mean" if task.kind == "regression" else "majority"
    if task.level == "note":
        return [first, "skyline table", *(["note rules: extra trees"] if task.kind != "multilabel" else [])]
    linear = "features: ridge" if task.kind == "regression" else "features: logistic"
    return [first, *([linear, "features: extra trees"] if shards.features() is not None else [])]


def baseline_predictions(
    shards: Shards, task: Task, name: str, train: Sequence[int], test: Sequence[int], *, seed: int = 0
) -> Predictions:
    """Fit a baseline on some pieces and predict others.

    Parameters
    ----------
    shards, task
        The labelled pieces and what is to be learned.
    name
        One of `baseline_names`.
    train, test
        Numbers of pieces.
    seed
        Of trees and draws.
    """
    target = _Target(task, _labels(shards, task, train))
    if name in ("majority", "mean"):
        count = len(_labels(shards, task, test))
        outputs = target.constant(count)
    elif name == "skyline table":
        outputs = _skyline(shards, task, target, train, test)
    else:
        trees = name.endswith("trees")
        inputs = _note_inputs if task.level == "note" else _piece_inputs
        outputs = target.fit(inputs(shards, train), inputs(shards, test), trees=trees, seed=seed)
    return _predictions(shards, task, test, outputs)


def _labels(shards: Shards, task: Task, pieces: Sequence[int]) -> NDArray[Any]:
    """Labels [shape=(M,) or (M, C)]; ignored classes are missing."""
    if task.level == "sequence":
        found = np.asarray(shards.label(task.label)[np.asarray(pieces, np.int64)])
    else:
        found = np.concatenate([shards.note_labels(task.label, piece) for piece in pieces])
    if task.kind == "classes" and task.ignore:
        found = np.where(np.isin(found, task.ignore), NO_CLASS, found)
    return found


def _columns(shards: Shards, piece: int) -> NoteColumns:
    return note_columns(shards.rows(piece), shards.codec)


def _note_inputs(shards: Shards, pieces: Sequence[int]) -> Floats:
    return np.concatenate([note_features(_columns(shards, piece)) for piece in pieces])


def _piece_inputs(shards: Shards, pieces: Sequence[int]) -> Floats:
    found = shards.features()
    assert found is not None
    known = np.isfinite(found).all(axis=1)
    filled = np.where(known[:, None], found, found[known].mean(axis=0) if known.any() else 0.0)
    return np.asarray(filled[np.asarray(pieces, np.int64)])


def _skyline(
    shards: Shards, task: Task, target: _Target, train: Sequence[int], test: Sequence[int]
) -> Floats:
    """Frequencies of the classes (mean values) in each cell of rank and size; its neighbours where empty."""

    def cells(pieces: Sequence[int]) -> NDArray[np.int64]:
        ranks = [chord_rank(_columns(shards, piece)) for piece in pieces]
        rank = np.concatenate([each[0] for each in ranks])
        size = np.concatenate([each[1] for each in ranks])
        return np.minimum(rank, MOST - 1) * (MOST + 1) + np.minimum(size, MOST)

    where, here = cells(train), cells(test)
    outputs = target.constant(len(here))
    for cell in np.unique(here):
        inside = _Target(task, target.labels[where == cell])
        if inside.known.any():
            outputs[here == cell] = inside.constant(1)
    return outputs


class _Target:
    """Labels of a training part, and models of them."""

    def __init__(self, task: Task, labels: NDArray[Any]) -> None:
        self.kind, self.count, self.labels = task.kind, len(task.classes), labels
        self.known = labels != NO_CLASS if self.kind == "classes" else ~np.isnan(labels).all(axis=1)

    def constant(self, rows: int) -> Floats:
        """Say the same of everything [shape=(rows, C)]."""
        found = self.labels[self.known]
        if self.kind == "classes":
            counts = np.bincount(found.astype(np.int64), minlength=self.count) + _TINY
            return np.tile(np.log(counts / counts.sum()), (rows, 1))
        number = (~np.isnan(found)).sum(axis=0)
        means = np.nansum(found, axis=0) / np.maximum(number, 1)
        return np.tile(_logit(means) if self.kind == "multilabel" else means, (rows, 1))

    def fit(self, train: Floats, test: Floats, *, trees: bool, seed: int) -> Floats:
        """Fit a model on features and predict [shape=(rows, C)]."""
        at = np.flatnonzero(self.known)
        if trees and len(at) > TREE_NOTES:
            at = np.sort(np.random.default_rng(seed).choice(at, TREE_NOTES, replace=False))
        inputs, others = standardise(train[at], test)
        labels, few = self.labels[at], len(at) < TREE_NOTES // 10
        options = {"n_estimators": 300 if few else 100, "min_samples_leaf": 1 if few else 5}
        if self.kind == "classes":
            if len(np.unique(labels)) < 2:
                return self.constant(len(test))
            classifier = (
                ExtraTreesClassifier(**options, random_state=seed)
                if trees
                else LogisticRegression(C=0.3, max_iter=2000)
            )
            classifier.fit(inputs, labels)
            chance = np.full((len(test), self.count), _TINY)
            chance[:, classifier.classes_] += classifier.predict_proba(others)
            return np.asarray(np.log(chance / chance.sum(axis=1, keepdims=True)))
        columns = [
            self._column(inputs, labels[:, c], others, options, trees, seed) for c in range(self.count)
        ]
        return np.column_stack(columns)

    def _column(
        self, inputs: Floats, labels: Floats, others: Floats, options: dict[str, int], trees: bool, seed: int
    ) -> Floats:
        known = ~np.isnan(labels)
        inputs, labels = inputs[known], labels[known]
        if not len(labels) or len(np.unique(labels)) < 2:
            value = float(labels.mean()) if len(labels) else 0.0
            return np.full(len(others), _logit(np.array(value)) if self.kind == "multilabel" else value)
        if self.kind == "multilabel":
            model: Any = (
                ExtraTreesClassifier(**options, random_state=seed)
                if trees
                else LogisticRegression(C=0.3, max_iter=2000)
            )
            return np.asarray(_logit(model.fit(inputs, labels).predict_proba(others)[:, 1]))
        model = ExtraTreesRegressor(**options, random_state=seed) if trees else RidgeCV(np.logspace(0, 4, 9))
        return np.asarray(model.fit(inputs, labels).predict(others))


def _logit(chance: NDArray[np.float64]) -> Floats:
    inside = np.clip(chance, _TINY, 1 - _TINY)
    return np.asarray(np.log(inside / (1 - inside)))


def _predictions(shards: Shards, task: Task, pieces: Sequence[int], outputs: Floats) -> Predictions:
    notes = task.level == "note"
    lengths = [int(shards.lengths[piece]) for piece in pieces]
    target = (
        np.concatenate([shards.note_labels(task.label, piece) for piece in pieces])
        if notes
        else np.asarray(shards.label(task.label)[np.asarray(pieces, np.int64)])
    )
    return Predictions(
        label=task.label,
        level=task.level,
        kind=task.kind,
        classes=task.classes,
        ids=np.array([shards.names[piece] for piece in pieces], np.str_),
        groups=np.array([shards.pieces[piece].group for piece in pieces], np.str_),
        target=target,
        outputs=outputs.astype(np.float32),
        ignore=task.ignore,
        offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]) if notes else None,
        note_index=np.concatenate([shards.note_index(piece) for piece in pieces]) if notes else None,
    )
