"""Scores of predictions over whole test sets: regression per dimension, and classification.

Contract
--------
Regression compares ``labels`` and ``predictions`` [shape=(n, d), float64, any unit; ours are 0-1]. A label of
NaN is missing and that cell is left out, dimension by dimension; a prediction of NaN beside a label is an
error. Each metric returns one value a dimension [shape=(d,)]; the mean over dimensions is uniform
(:func:`mean`), never weighted.

=============  =========================================================  ==============================
name           value                                                      NaN where
=============  =========================================================  ==============================
``r2``         1 - sum (y-p)^2 / sum (y-mean y)^2 of the test labels       under 2 labels, constant labels
``mse``        mean (y-p)^2                                               no label
``mae``        mean |y-p|                                                 no label
``pearson``    product-moment correlation                                 constant labels or predictions
``spearman``   Pearson correlation of mid-ranks (ties share their mean)   constant labels or predictions
=============  =========================================================  ==============================

``r2`` equals ``sklearn.metrics.r2_score(multioutput="raw_values")`` except for constant labels, where
scikit-learn returns 0 or 1. :func:`flattened_r2` scores all cells as one long vector around one grand mean,
as the published training loop does; it rewards knowing the means of the dimensions and is only ever reported
under that name.

Classification compares ``classes`` and ``predicted`` [shape=(n,), int64, 0..c-1]: ``accuracy``; ``macro_f1``,
the mean F1 over the classes that occur in either; ``balanced_accuracy``, the mean recall over the classes
that occur in ``classes``. NaN for an empty set. :func:`confusion` counts rows = true class, columns =
predicted class.

Every metric is written on multiplicities ``weights`` [shape=(b, n)] of the items, so that a bootstrap of b
resamples (``musicbert.evaluation.metrics.bootstrap``) is one call. Verified against scikit-learn and SciPy in
``tests/unit/test_metrics.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CLASSIFICATION",
    "REGRESSION",
    "Metric",
    "classification",
    "confusion",
    "flattened_r2",
    "mean",
    "regression",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
#: (labels, predictions, weights [shape=(b, n)]) -> values [shape=(b, d)] or [shape=(b,)]
Metric = Callable[[NDArray, NDArray, Floats], Floats]

#: A column whose standard deviation is below this share of its largest magnitude counts as constant.
CONSTANT = 1e-9


def _divide(top: Floats, bottom: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Divide, with NaN where not valid."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=valid)


def mean(values: ArrayLike, axis: int | None = -1) -> Floats:
    """Average over dimensions, leaving out NaN; NaN (without a warning) if nothing is left.

    Parameters
    ----------
    values
        [shape=(..., d), float64].
    axis
        The axis of the dimensions; None averages over everything.
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    count = np.asarray(known.sum(axis))
    return _divide(np.asarray(np.where(known, values, 0.0).sum(axis)), count.astype(float), count > 0)


def _check(labels: ArrayLike, predictions: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return labels and predictions (0 where no label) [shape=(n, d)] and the mask of labels."""
    labels, predictions = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if labels.shape != predictions.shape or labels.ndim != 2:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must both be (n, d)")
    known = np.isfinite(labels)
    if not np.isfinite(predictions[known]).all():
        raise ValueError("a prediction beside a label is NaN or infinite")
    return np.where(known, labels, 0.0), np.where(known, predictions, 0.0), known


def _moments(values: Floats, known: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return weighted count, sum and centred sum of squares of the known cells [shape=(b, d)]."""
    count = weights @ known
    total = weights @ (values * known)
    squares = weights @ (values**2 * known) - _divide(total**2, count, count > 0)
    return count, total, np.maximum(squares, 0.0)


def _shift(values: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Subtract each column's mean; return it and the smallest variance that is not constant [shape=(d,)]."""
    count = np.maximum(known.sum(0), 1)
    size = np.abs(values).max(0, initial=0.0)
    return np.where(known, values - values.sum(0) / count, 0.0), (CONSTANT * size) ** 2


def _r2(labels: Floats, predictions: Floats, weights: Floats) -> Floats:
    y, p, known = _check(labels, predictions)
    error = weights @ ((y - p) ** 2)
    shifted, smallest = _shift(y, known)
    count, _, spread = _moments(shifted, known, weights)
    return 1.0 - _divide(error, spread, (count >= 2) & (spread > count * smallest))


def _mse(labels: Floats, predictions: Floats, weights: Floats) -> Floats:
    y, p, known = _check(labels, predictions)
    count = weights @ known
    return _divide(weights @ ((y - p) ** 2), count, count > 0)


def _mae(labels: Floats, predictions: Floats, weights: Floats) -> Floats:
    y, p, known = _check(labels, predictions)
    count = weights @ known
    return _divide(weights @ np.abs(y - p), count, count > 0)


def _pearson(labels: Floats, predictions: Floats, weights: Floats) -> Floats:
    y, p, known = _check(labels, predictions)
    (y, y_smallest), (p, p_smallest) = _shift(y, known), _shift(p, known)
    count, y_total, y_spread = _moments(y, known, weights)
    _, p_total, p_spread = _moments(p, known, weights)
    joint = weights @ (y * p) - _divide(y_total * p_total, count, count > 0)
    valid = (count >= 2) & (y_spread > count * y_smallest) & (p_spread > count * p_smallest)
    return np.clip(_divide(joint, np.sqrt(y_spread * p_spread), valid), -1.0, 1.0)


def _midranks(values: Floats, weights: Floats) -> Floats:
    """Rank the items of each resample, ties sharing the mean of their ranks [shape=(b, n)]."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.add.reduceat(weights[:, order], starts, axis=1)  # (b, distinct values)
    ranks = np.cumsum(sizes, axis=1) - (sizes - 1.0) / 2.0
    return ranks[:, group]


def _spearman(labels: Floats, predictions: Floats, weights: Floats) -> Floats:
    y, p, known = _check(labels, predictions)
    result = np.full((len(weights), y.shape[1]), np.nan)
    for d in range(y.shape[1]):
        rows = known[:, d]
        w = weights[:, rows]
        count = w.sum(1, keepdims=True)
        if not rows.any():
            continue
        ranks = [_midranks(v[rows, d], w) for v in (y, p)]
        centred = [r - _divide((w * r).sum(1, keepdims=True), count, count > 0) for r in ranks]
        spread = [(w * c**2).sum(1) for c in centred]
        valid = (count[:, 0] >= 2) & (spread[0] > 1e-9) & (spread[1] > 1e-9)
        result[:, d] = _divide((w * centred[0] * centred[1]).sum(1), np.sqrt(spread[0] * spread[1]), valid)
    return np.clip(result, -1.0, 1.0)


#: name -> metric over resamples; call :func:`regression` for plain values.
REGRESSION: dict[str, Metric] = {
    "r2": _r2,
    "mse": _mse,
    "mae": _mae,
    "pearson": _pearson,
    "spearman": _spearman,
}


def regression(labels: ArrayLike, predictions: ArrayLike) -> dict[str, Floats]:
    """Return every regression metric of each dimension.

    Parameters
    ----------
    labels, predictions
        [shape=(n, d), float64]; a label of NaN is missing.

    Returns
    -------
    name -> [shape=(d,), float64], NaN as the table of this module says

    Raises
    ------
    ValueError
        If the shapes differ, or a prediction beside a label is not finite.

    Examples
    --------
    >>> regression([[0.0], [1.0]], [[0.0], [1.0]])["r2"]
    array([1.])
    """
    y, p = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    _check(y, p)
    return {name: metric(y, p, np.ones((1, len(y))))[0] for name, metric in REGRESSION.items()}


def flattened_r2(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Return R² over all cells as one vector: the published training metric, not the mean over dimensions."""
    y, p, known = _check(labels, predictions)
    return float(_r2(y[known][:, None], p[known][:, None], np.ones((1, int(known.sum()))))[0, 0])


def _tally(classes: Ints, predicted: Ints, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return hits, true counts and predicted counts of each class [shape=(b, c)]."""
    classes, predicted = np.asarray(classes, np.int64), np.asarray(predicted, np.int64)
    if classes.shape != predicted.shape or classes.ndim != 1:
        raise ValueError(f"classes {classes.shape} and predicted {predicted.shape} must both be (n,)")
    if min(classes.min(initial=0), predicted.min(initial=0)) < 0:
        raise ValueError("a class is negative")
    eye = np.eye(max(classes.max(initial=0), predicted.max(initial=0)) + 1)
    true, guess = eye[classes], eye[predicted]
    return weights @ (true * guess), weights @ true, weights @ guess


def _accuracy(classes: Ints, predicted: Ints, weights: Floats) -> Floats:
    hits, true, _ = _tally(classes, predicted, weights)
    return _divide(hits.sum(1), true.sum(1), true.sum(1) > 0)


def _macro_f1(classes: Ints, predicted: Ints, weights: Floats) -> Floats:
    hits, true, guess = _tally(classes, predicted, weights)
    return mean(_divide(2.0 * hits, true + guess, true + guess > 0))


def _balanced_accuracy(classes: Ints, predicted: Ints, weights: Floats) -> Floats:
    hits, true, _ = _tally(classes, predicted, weights)
    return mean(_divide(hits, true, true > 0))


#: name -> metric over resamples; call :func:`classification` for plain values.
CLASSIFICATION: dict[str, Metric] = {
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "balanced_accuracy": _balanced_accuracy,
}


def classification(classes: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """Return accuracy, macro-F1 and balanced accuracy of class indices [shape=(n,), int64].

    Raises
    ------
    ValueError
        If the shapes differ or a class is negative.
    """
    y, p = np.asarray(classes, np.int64), np.asarray(predicted, np.int64)
    return {name: float(metric(y, p, np.ones((1, len(y))))[0]) for name, metric in CLASSIFICATION.items()}


def confusion(classes: ArrayLike, predicted: ArrayLike, n_classes: int) -> Ints:
    """Count items [shape=(n_classes, n_classes), int64]: row = true class, column = predicted class."""
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (np.asarray(classes, np.int64), np.asarray(predicted, np.int64)), 1)
    return counts
