"""Scores of regressions over whole test sets, by output (dimension) and as their mean.

``labels`` and ``predictions`` [shape=(n, d), float64, any unit; ratings are 0-1]. A label of NaN is missing
and that cell is left out, output by output; a prediction of NaN beside a label is an error. The mean over
outputs is uniform, never weighted.

================  =========================================================  =============================
name              value                                                      NaN where
================  =========================================================  =============================
``r2``            1 - sum (y-p)^2 / sum (y-mean y)^2 of the test labels       under 2 labels, constant labels
``mse``           mean (y-p)^2                                               no label
``mae``           mean |y-p|                                                 no label
``pearson``       product-moment correlation                                 constant labels or predictions
``spearman``      Pearson correlation of mid-ranks (ties share their mean)   constant labels or predictions
``flattened_r2``  R² of all cells as one vector around one grand mean        as ``r2``
================  =========================================================  =============================

``r2`` equals ``sklearn.metrics.r2_score(multioutput="raw_values")`` except for constant labels, where
scikit-learn returns 0 or 1. ``flattened_r2`` is what the published training loop reports; it rewards knowing
the means of the outputs and is never called R² here. ``r2:OUTPUT`` and so on are those of one output.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Bools, Floats, Ints
from musicbert.evaluation.metrics.bootstrap import Draws, divide, item_weights, mean, weighted_sums

REGRESSION = ("r2", "mse", "mae", "pearson", "spearman")
#: A column whose standard deviation is below this share of its largest magnitude counts as constant.
CONSTANT = 1e-9


def regression_draws(
    labels: ArrayLike,
    predictions: ArrayLike,
    names: Sequence[str] | None = None,
    weights: Floats | None = None,
    group: Ints | None = None,
) -> Draws:
    """Return every metric on all items and on resamples.

    With two or more ``names`` of outputs, ``METRIC:OUTPUT`` and ``flattened_r2`` are added; ``weights``,
    ``group``: see `weighted_sums`; only all items if None.
    Raises `ValueError` (if the shapes differ, or a prediction beside a label is not finite).
    """
    y, p, known = _checked(labels, predictions)
    if weights is None:
        weights = np.ones((1, len(y) if group is None else int(group.max(initial=-1)) + 1))
    by_output = _by_output(y, p, known, weights, group)
    draws = {name: mean(values) for name, values in by_output.items()}
    if names is not None and len(names) > 1:
        draws["flattened_r2"] = _flattened(y, p, known, weights, group)
        draws |= {f"{m}:{name}": v[:, c] for m, v in by_output.items() for c, name in enumerate(names)}
    return draws


def _checked(labels: ArrayLike, predictions: ArrayLike) -> tuple[Floats, Floats, Bools]:
    """Labels and predictions (0 where no label) [shape=(n, d)] and the mask of labels."""
    labels, predictions = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    if labels.shape != predictions.shape or labels.ndim != 2:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must both be (n, d)")
    known = np.isfinite(labels)
    if not np.isfinite(predictions[known]).all():
        raise ValueError("a prediction beside a label is NaN or infinite")
    return np.where(known, labels, 0.0), np.where(known, predictions, 0.0), known


def _centred(values: Floats, known: Bools, axis: int | None = 0) -> tuple[Floats, Floats]:
    """Values minus the mean of each column, and the smallest variance that is not constant [shape=(d,)]."""
    count = np.maximum(known.sum(axis), 1)
    size = np.abs(values).max(axis, initial=0.0)
    return np.where(known, values - values.sum(axis) / count, 0.0), (CONSTANT * size) ** 2


def _by_output(y: Floats, p: Floats, known: Bools, weights: Floats, group: Ints | None) -> Draws:
    """Return each metric of each output [shape=(1 + b, d)]."""
    (yc, y_least), (pc, p_least) = _centred(y, known), _centred(p, known)
    parts = (known, (y - p) ** 2, np.abs(y - p), yc, yc**2, pc, pc**2, yc * pc)
    n, squared, absolute, sy, syy, sp, spp, syp = (weighted_sums(part, weights, group) for part in parts)
    y_spread = np.maximum(syy - divide(sy**2, n), 0.0)
    p_spread = np.maximum(spp - divide(sp**2, n), 0.0)
    usable = (n >= 2) & (y_spread > n * y_least)
    both = usable & (p_spread > n * p_least)
    joint = syp - divide(sy * sp, n)
    return {
        "r2": 1.0 - divide(squared, y_spread, valid=usable),
        "mse": divide(squared, n),
        "mae": divide(absolute, n),
        "pearson": np.clip(divide(joint, np.sqrt(y_spread * p_spread), valid=both), -1.0, 1.0),
        "spearman": _spearman(y, p, known, weights, group),
    }


def _flattened(y: Floats, p: Floats, known: Bools, weights: Floats, group: Ints | None) -> Floats:
    shifted, least = _centred(y, known, None)
    parts = np.column_stack([known.sum(1), ((y - p) ** 2).sum(1), shifted.sum(1), (shifted**2).sum(1)])
    n, error, total, squares = weighted_sums(parts, weights, group).T
    spread = np.maximum(squares - divide(total**2, n), 0.0)
    return 1.0 - divide(error, spread, valid=(n >= 2) & (spread > n * least))


def _midranks(values: Floats, weights: Floats) -> Floats:
    """Rank the items of each resample, ties sharing the mean of their ranks [shape=(b, n)]."""
    _, tied = np.unique(values, return_inverse=True)
    order = np.argsort(tied, kind="stable")
    starts = np.flatnonzero(np.diff(tied[order], prepend=-1))
    sizes = np.add.reduceat(weights[:, order], starts, axis=1)  # (b, distinct values)
    ranks = np.cumsum(sizes, axis=1) - (sizes - 1.0) / 2.0
    return ranks[:, tied]


def _spearman(y: Floats, p: Floats, known: Bools, weights: Floats, group: Ints | None) -> Floats:
    result = np.full((len(weights), y.shape[1]), np.nan)
    for rows, drawn in item_weights(weights, group, len(y)):
        for d in np.flatnonzero(known.any(0)):
            items = known[:, d]
            w = drawn[:, items]
            count = w.sum(1, keepdims=True)
            ranks = [_midranks(v[items, d], w) for v in (y, p)]
            centred = [r - divide((w * r).sum(1, keepdims=True), count) for r in ranks]
            spread = [(w * c**2).sum(1) for c in centred]
            valid = (count[:, 0] >= 2) & (spread[0] > 1e-9) & (spread[1] > 1e-9)
            joint = (w * centred[0] * centred[1]).sum(1)
            result[rows, d] = divide(joint, np.sqrt(spread[0] * spread[1]), valid=valid)
    return np.clip(result, -1.0, 1.0)
