"""Scores of several labels a piece: F1 and ROC-AUC in four averages, over whole test sets.

Contract
--------
``labels`` [shape=(n, c), 0 or 1] and ``scores`` [shape=(n, c), 0-1]: a label is predicted where its score is
above 0.5. With 2 h / (p + t) the F1 of h hits, p predicted and t true labels (0 where there are none):

============  ==========================================  ===============================================
average       F1                                          ROC-AUC
============  ==========================================  ===============================================
``micro``     of all cells at once                        of all cells at once
``macro``     mean over the classes                       mean over the classes that have one
``weighted``  mean over the classes by their true labels  the same, over the classes that have one
``samples``   mean over the pieces                        mean over the pieces that have one
============  ==========================================  ===============================================

ROC-AUC is the share of (true, false) pairs in order, ties half; there is none where all labels are equal. F1
equals ``sklearn.metrics.f1_score(zero_division=0)``, and ROC-AUC ``roc_auc_score`` wherever that is defined.
``exact`` is the share of pieces with every label right. All are of the whole set, never averages over
mini-batches. Written on multiplicities of the pieces, as
`musicbert.evaluation.metrics.regression_and_classes`. Verified in
``tests/unit/evaluation/test_multilabel.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicbert.evaluation.metrics.bootstrap import Interval, bootstrap
from musicbert.evaluation.metrics.regression_and_classes import mean

__all__ = ["AVERAGES", "MULTILABEL", "multilabel_scores", "roc_auc_of_classes"]

Floats = NDArray[np.float64]
Metric = Callable[[NDArray, NDArray, Floats], Floats]
AVERAGES = ("micro", "macro", "weighted", "samples")
THRESHOLD = 0.5


def _ratio(top: Floats, bottom: Floats, empty: float) -> Floats:
    shape = np.broadcast_shapes(np.shape(top), np.shape(bottom))
    return np.divide(top, bottom, out=np.full(shape, empty), where=np.asarray(bottom) > 0)


def _check(labels: NDArray, scores: NDArray) -> tuple[NDArray[np.bool_], Floats]:
    true, score = np.asarray(labels) > 0, np.asarray(scores, np.float64)
    if true.shape != score.shape or true.ndim != 2:
        raise ValueError(f"labels {true.shape} and scores {score.shape} must both be (n, c)")
    if not np.isfinite(score).all():
        raise ValueError("a score is NaN or infinite")
    return true, score


def _f1(average: str) -> Metric:
    def metric(labels: NDArray, scores: NDArray, weights: Floats) -> Floats:
        true, score = _check(labels, scores)
        said = score > THRESHOLD
        if average == "samples":
            each = _ratio(2.0 * (said & true).sum(1), (said.sum(1) + true.sum(1)).astype(float), 0.0)
            return _ratio(weights @ each, weights.sum(1), np.nan)
        hits, predicted, actual = (
            weights @ cells.astype(float) for cells in (said & true, said, true)
        )  # (b, c)
        if average == "micro":
            return _ratio(2 * hits.sum(1), predicted.sum(1) + actual.sum(1), 0.0)
        each = _ratio(2 * hits, predicted + actual, 0.0)
        return each.mean(1) if average == "macro" else _ratio((each * actual).sum(1), actual.sum(1), 0.0)

    return metric


def _auc_column(true: NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """ROC-AUC of one column for each resample [shape=(b,)], NaN where all labels are equal."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    drawn = weights[:, order]
    positive = np.add.reduceat(drawn * true[order], starts, axis=1)  # (b, distinct scores)
    negative = np.add.reduceat(drawn * ~true[order], starts, axis=1)
    wins = (positive * (np.cumsum(negative, axis=1) - 0.5 * negative)).sum(1)
    return _ratio(wins, positive.sum(1) * negative.sum(1), np.nan)


def roc_auc_of_classes(labels: NDArray, scores: NDArray, weights: Floats) -> Floats:
    """Return the ROC-AUC of every class [shape=(b, c)], NaN where there is none."""
    true, score = _check(labels, scores)
    return np.stack([_auc_column(true[:, c], score[:, c], weights) for c in range(true.shape[1])], axis=1)


def _roc_auc(average: str) -> Metric:
    def metric(labels: NDArray, scores: NDArray, weights: Floats) -> Floats:
        true, score = _check(labels, scores)
        if average == "micro":
            repeated = np.repeat(weights, true.shape[1], axis=1)
            return _auc_column(true.reshape(-1), score.reshape(-1), repeated)
        if average == "samples":
            one = np.ones((1, true.shape[1]))
            each = np.array([_auc_column(t, s, one)[0] for t, s in zip(true, score, strict=True)])
            known = np.isfinite(each)
            return _ratio(weights @ np.where(known, each, 0.0), weights @ known.astype(float), np.nan)
        each = roc_auc_of_classes(labels, scores, weights)
        if average == "macro":
            return mean(each)
        actual = (weights @ true.astype(float)) * np.isfinite(each)
        return _ratio((np.nan_to_num(each) * actual).sum(1), actual.sum(1), np.nan)

    return metric


def _exact(labels: NDArray, scores: NDArray, weights: Floats) -> Floats:
    true, score = _check(labels, scores)
    right = ((score > THRESHOLD) == true).all(axis=1)
    return _ratio(weights @ right.astype(float), weights.sum(1), np.nan)


#: name -> metric over resamples
MULTILABEL: dict[str, Metric] = {
    **{f"f1_{average}": _f1(average) for average in AVERAGES},
    **{f"roc_auc_{average}": _roc_auc(average) for average in AVERAGES},
    "exact": _exact,
}


def multilabel_scores(
    labels: ArrayLike, scores: ArrayLike, *, weights: Floats | None = None
) -> dict[str, Interval]:
    """Return every metric with its bootstrap interval.

    Parameters
    ----------
    labels, scores
        [shape=(n, c)]
    weights
        Resamples from `musicbert.evaluation.metrics.bootstrap.resample`; by default 1,000 of the pieces.
    """
    true, score = np.asarray(labels), np.asarray(scores)
    return {name: bootstrap(metric, true, score, weights=weights)[0] for name, metric in MULTILABEL.items()}
