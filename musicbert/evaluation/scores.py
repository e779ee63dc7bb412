"""Scores of taggers over whole test sets, with intervals over whole groups of pieces.

=============  ==========================================================================================
kind           metrics
=============  ==========================================================================================
``classes``    ``accuracy``; ``macro_f1``, the mean F1 of the classes that occur or are predicted;
               ``balanced_accuracy``, the mean recall of the classes that occur; ``f1:CLASS``
``multilabel``  ``micro_f1``, ``macro_f1``, ``weighted_f1``, ``samples_f1`` at a probability of a half, and
               ``roc_auc_`` of the same four averages (labels without both values are left out)
``regression``  ``r2``, ``mse``, ``mae``, ``pearson``, each the mean over the outputs
=============  ==========================================================================================

Everything follows from sums over the items of each group, so a bootstrap over groups (whole pieces, or
versions of one) is a product of matrices; ROC-AUC is computed on each resample. Percentile intervals as in
`musicbert.evaluation.metrics.bootstrap`. Verified against scikit-learn in
``tests/unit/evaluation/test_tagging.py``.

Legend: ``k`` groups, ``b`` resamples, ``M`` scored items, ``C`` outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from musicbert.evaluation.metrics.bootstrap import resample
from musicbert.evaluation.metrics.regression_and_classes import mean
from musicbert.evaluation.predictions import Predictions

__all__ = ["Draws", "confusion", "draw_scores", "metrics_of", "per_class", "resampled_groups"]

Floats = NDArray[np.float64]
#: metric -> values on all items (first) and on each resample [shape=(1 + b,)]
Draws = dict[str, Floats]
#: resamples of what is not a sum
AUC_RESAMPLES = 200


def _divide(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full(np.shape(bottom), np.nan), where=bottom > 0)


@dataclass(frozen=True, eq=False)
class Items:
    """Scored items of some predictions.

    Attributes
    ----------
    target, outputs
        [shape=(M,) or (M, C)] and [shape=(M, C)].
    predicted
        [shape=(M,) or (M, C)].
    group
        Number of the group of each [shape=(M,)].
    groups
        ``k``.
    """

    target: NDArray[Any]
    outputs: Floats
    predicted: NDArray[np.int64]
    group: NDArray[np.int64]
    groups: int


def items_of(predictions: Predictions) -> Items:
    """Scored items, and their groups."""
    _, number = np.unique(predictions.groups, return_inverse=True)
    keep = predictions.scored
    return Items(
        predictions.target[keep],
        np.asarray(predictions.outputs, np.float64)[keep],
        predictions.predicted[keep],
        number[predictions.piece_of][keep],
        int(number.max(initial=-1)) + 1,
    )


def resampled_groups(groups: int, *, n_resamples: int = 1000, seed: int = 0) -> Floats:
    """How often each group occurs: once (first row), then in each resample [shape=(1 + b, k)]."""
    return np.vstack([np.ones((1, groups)), resample(groups, n_resamples=n_resamples, seed=seed)])


def _by_group(values: Floats, items: Items) -> Floats:
    """Sums over the items of each group [shape=(k, C)] of values [shape=(M, C)]."""
    total = np.zeros((items.groups, *values.shape[1:]))
    np.add.at(total, items.group, values)
    return total


def _class_counts(items: Items, count: int) -> tuple[Floats, Floats, Floats]:
    """Hits, true and predicted items of each class by group [shape=(k, C)]."""
    tables = []
    for classes, use in (
        (items.target, items.target == items.predicted),
        (items.target, np.ones(len(items.target), bool)),
        (items.predicted, np.ones(len(items.target), bool)),
    ):
        cell = items.group[use] * count + classes[use].astype(np.int64)
        tables.append(np.bincount(cell, minlength=items.groups * count).reshape(-1, count).astype(float))
    return tables[0], tables[1], tables[2]


def _classes(items: Items, weights: Floats, names: Sequence[str]) -> Draws:
    hits, true, guess = (weights @ table for table in _class_counts(items, len(names)))
    f1 = _divide(2 * hits, true + guess)
    return {
        "accuracy": _divide(hits.sum(1), true.sum(1)),
        "macro_f1": mean(f1),
        "balanced_accuracy": mean(_divide(hits, true)),
        **{f"f1:{name}": f1[:, c] for c, name in enumerate(names)},
    }


def _multilabel(items: Items, weights: Floats, names: Sequence[str]) -> Draws:
    known = ~np.isnan(items.target)
    true = np.nan_to_num(items.target)
    guess = items.predicted * known
    hits_of_item = true * guess
    hits, actual, predicted = (weights @ _by_group(v, items) for v in (hits_of_item, true, guess))
    f1 = _divide(2 * hits, actual + predicted)
    own = _divide(2 * hits_of_item.sum(1), true.sum(1) + guess.sum(1))
    # an item without labels, of which none is predicted, is right (scikit-learn with zero_division=1)
    by_item = _by_group(np.column_stack([np.where(np.isnan(own), 1.0, own), np.ones(len(own))]), items)
    samples = weights @ by_item
    support = actual.sum(1)
    return {
        "micro_f1": _divide(2 * hits.sum(1), actual.sum(1) + predicted.sum(1)),
        "macro_f1": mean(f1),
        "weighted_f1": _divide((np.nan_to_num(f1) * actual).sum(1), support),
        "samples_f1": _divide(samples[:, 0], samples[:, 1]),
        **{f"f1:{name}": f1[:, c] for c, name in enumerate(names)},
        **_areas(items, weights),
    }


def roc_auc(labels: Floats, outputs: Floats) -> float:
    """Area under the ROC curve: the chance that a positive lies above a negative, ties a half; or NaN."""
    positive = labels == 1
    up, down = int(positive.sum()), int((labels == 0).sum())
    if not up or not down:
        return float("nan")
    ranks = rankdata(outputs)
    return float((ranks[positive].sum() - up * (up + 1) / 2) / (up * down))


def _four_areas(target: Floats, outputs: Floats) -> dict[str, float]:
    known = ~np.isnan(target)
    columns = [
        roc_auc(target[known[:, c], c], outputs[known[:, c], c]) if known[:, c].any() else np.nan
        for c in range(target.shape[1])
    ]
    each = np.array(columns)
    share = np.where(np.isnan(each), 0.0, np.nansum(target, axis=0))
    rows = [roc_auc(y[k], p[k]) for y, p, k in zip(target, outputs, known, strict=True)]
    return {
        "roc_auc_micro": roc_auc(target[known], outputs[known]),
        "roc_auc_macro": float(mean(each)),
        "roc_auc_weighted": float(_divide(np.nansum(each * share), share.sum())),
        "roc_auc_samples": float(mean(rows)),
    }


def _areas(items: Items, weights: Floats) -> Draws:
    drawn = []
    for row in weights[: AUC_RESAMPLES + 1]:
        times = row[items.group].astype(np.int64)
        at = np.repeat(np.arange(len(times)), times)
        drawn.append(_four_areas(items.target[at], items.outputs[at]))
    return {name: np.array([each[name] for each in drawn]) for name in drawn[0]}


def _regression(items: Items, weights: Floats, names: Sequence[str]) -> Draws:
    known = ~np.isnan(items.target)
    centre = np.array(
        [column[k].mean() if k.any() else 0.0 for column, k in zip(items.target.T, known.T, strict=True)]
    )
    y = np.where(known, items.target - centre, 0.0)
    p = np.where(known, items.outputs - centre, 0.0)
    parts = (known.astype(float), y, y * y, p, p * p, y * p, (y - p) ** 2, np.abs(y - p))
    n, sy, syy, sp, spp, syp, squared, absolute = (weights @ _by_group(part, items) for part in parts)
    spread, other = syy - _divide(sy**2, n), spp - _divide(sp**2, n)
    flat = 1e-12 * np.maximum(n, 1)
    usable, both = spread > flat, (spread > flat) & (other > flat)
    r2 = np.where(usable, 1 - _divide(squared, np.where(usable, spread, 1.0)), np.nan)
    product = np.sqrt(np.where(both, spread * other, 1.0))
    pearson = np.where(both, (syp - _divide(sy * sp, n)) / product, np.nan)
    result = {"r2": mean(r2), "mse": mean(_divide(squared, n)), "mae": mean(_divide(absolute, n))}
    each = {f"r2:{name}": r2[:, c] for c, name in enumerate(names)} if len(names) > 1 else {}
    return {**result, "pearson": mean(pearson), **each}


_DRAWS: dict[str, Callable[[Items, Floats, Sequence[str]], Draws]] = {
    "classes": _classes,
    "multilabel": _multilabel,
    "regression": _regression,
}


def draw_scores(predictions: Predictions, weights: Floats | None = None) -> Draws:
    """Scores on all items and on resamples.

    Parameters
    ----------
    predictions
        Of a whole test set (see `musicbert.evaluation.predictions.join`).
    weights
        What `resampled_groups` gives; only all items if None.
    """
    items = items_of(predictions)
    weights = np.ones((1, items.groups)) if weights is None else weights
    return _DRAWS[predictions.kind](items, weights, predictions.classes)


def metrics_of(
    predictions: Predictions, extra: Mapping[str, Callable[[Predictions], float]] | None = None
) -> dict[str, float]:
    """Scores of a test set by name, with further metrics of the predictions as a whole."""
    found = {name: float(values[0]) for name, values in draw_scores(predictions).items()}
    return found | {name: float(metric(predictions)) for name, metric in (extra or {}).items()}


def confusion(predictions: Predictions) -> NDArray[np.int64]:
    """Count items [shape=(C, C)]: row = true class, column = predicted class."""
    items, count = items_of(predictions), len(predictions.classes)
    cell = items.target.astype(np.int64) * count + items.predicted
    return np.bincount(cell, minlength=count * count).reshape(count, count)


def per_class(predictions: Predictions) -> list[dict[str, Any]]:
    """Precision, recall, F1 and support of each class, or the scores of each output of a regression."""
    items, names = items_of(predictions), predictions.classes
    if predictions.kind == "regression":
        found = draw_scores(predictions)
        return (
            [{"class": name, "r2": float(found[f"r2:{name}"][0])} for name in names] if len(names) > 1 else []
        )
    if predictions.kind == "classes":
        hits, true, guess = (table.sum(0) for table in _class_counts(items, len(names)))
    else:
        known = ~np.isnan(items.target)
        target, predicted = np.nan_to_num(items.target), items.predicted * known
        hits, true, guess = (table.sum(0) for table in (target * predicted, target, predicted))
    columns = _divide(hits, guess), _divide(hits, true), _divide(2 * hits, true + guess), true
    return [
        {"class": name, "precision": float(a), "recall": float(b), "f1": float(c), "support": int(d)}
        for name, a, b, c, d in zip(names, *columns, strict=True)
    ]
