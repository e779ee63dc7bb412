"""Scores of several labels an item: F1 and ROC-AUC in four averages, over whole test sets.

``labels`` [shape=(n, C), 0 or 1, NaN where missing] and ``scores`` [shape=(n, C)], of which those above the
threshold are predicted. With F1 = 2 h / (p + t) of h hits, p predicted and t true labels:

============  ==========================================  ===============================================
average       ``<average>_f1``                            ``roc_auc_<average>``
============  ==========================================  ===============================================
``micro``     of all cells at once                        of all cells at once
``macro``     mean over the classes                       mean over the classes that have one
``weighted``  mean over the classes by their true labels  the same, over the classes that have one
``samples``   mean over the items                         mean over the items that have one
============  ==========================================  ===============================================

F1 is 0 where nothing is true and nothing is predicted, and such classes and items count in the averages.
This is scikit-learn's default (``zero_division=0``), with which MusicBERT's programs scored genre and style.
ROC-AUC is the share of (true, false) pairs in order, ties half, and undefined where all labels are equal.
``exact`` is the share of items with every label right; ``f1:CLASS`` and ``roc_auc:CLASS`` are of one class.
Missing labels count nowhere; a class without any known label is left out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Bools, Floats, Ints
from musicbert.evaluation.metrics.bootstrap import Draws, divide, item_weights, mean, weighted_sums

AVERAGES = ("micro", "macro", "weighted", "samples")
#: items of a block of comparisons between their labels
_BLOCK = 4_000_000


def multilabel_draws(
    labels: ArrayLike,
    scores: ArrayLike,
    names: Sequence[str] = (),
    weights: Floats | None = None,
    group: Ints | None = None,
    *,
    threshold: float = 0.0,
) -> Draws:
    """Return every metric on all items and on resamples.

    ``names``: of the classes, for ``f1:CLASS`` and ``roc_auc:CLASS``; ``weights``, ``group``: see
    `weighted_sums`; only all items if None; ``threshold``: 0 for logits, 0.5 for probabilities.
    Raises `ValueError` (if the shapes differ, or a score is not finite).
    """
    target, score = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    if target.shape != score.shape or target.ndim != 2:
        raise ValueError(f"labels {target.shape} and scores {score.shape} must both be (n, C)")
    if not np.isfinite(score).all():
        raise ValueError("a score is NaN or infinite")
    known, true = ~np.isnan(target), target > 0
    positive = (score > threshold) & known
    if weights is None:
        weights = np.ones((1, len(target) if group is None else int(group.max(initial=-1)) + 1))
    counted, actual, predicted, hits = (
        weighted_sums(cells, weights, group) for cells in (known, true, positive, positive & true)
    )
    f1 = _f1(hits, actual + predicted, counted)  # (1 + b, C)
    of_item = _f1((positive & true).sum(1), positive.sum(1) + true.sum(1), known.sum(1))
    exact = np.where(known.any(1), ((positive == true) | ~known).all(1), np.nan)
    columns = np.column_stack([of_item, _auc_of_items(true, known & ~true, score), exact])
    defined = np.isfinite(columns)
    columns = np.nan_to_num(columns)
    by_item = divide(weighted_sums(columns, weights, group), weighted_sums(defined, weights, group))
    auc, micro = _auc_of_classes(true, known & ~true, score, weights, group)
    support, area = actual.sum(1), actual * np.isfinite(auc)
    scored = counted.sum(1) > 0
    weighted = np.where(support > 0, (np.nan_to_num(f1) * actual).sum(1) / np.maximum(support, 1e-300), 0.0)
    return {
        "micro_f1": _f1(hits.sum(1), support + predicted.sum(1), counted.sum(1)),
        "macro_f1": mean(f1),
        "weighted_f1": np.where(scored, weighted, np.nan),
        "samples_f1": by_item[:, 0],
        "roc_auc_micro": micro,
        "roc_auc_macro": mean(auc),
        "roc_auc_weighted": divide((np.nan_to_num(auc) * area).sum(1), area.sum(1)),
        "roc_auc_samples": by_item[:, 1],
        "exact": by_item[:, 2],
        **{f"f1:{name}": f1[:, c] for c, name in enumerate(names)},
        **{f"roc_auc:{name}": auc[:, c] for c, name in enumerate(names)},
    }


def _f1(hits: ArrayLike, size: ArrayLike, known: ArrayLike) -> Floats:
    """2 h / (p + t), 0 where nothing is true or predicted, NaN where nothing is known."""
    value = divide(2 * np.asarray(hits, np.float64), np.asarray(size, np.float64))
    result: Floats = np.where(np.asarray(known) > 0, np.nan_to_num(value), np.nan)
    return result


def _auc_of_items(true: Bools, false: Bools, score: Floats) -> Floats:
    """ROC-AUC of the labels of each item [shape=(n,)], NaN where they are equal."""
    areas = np.full(len(score), np.nan)
    step = max(_BLOCK // max(score.shape[1] ** 2, 1), 1)
    for start in range(0, len(score), step):
        at = slice(start, start + step)
        one, other = score[at, :, None], score[at, None, :]
        pairs = true[at, :, None] & false[at, None, :]
        wins = (((one > other) + 0.5 * (one == other)) * pairs).sum((1, 2))
        areas[at] = divide(wins, pairs.sum((1, 2)).astype(np.float64))
    return areas


def _auc_of_classes(
    true: Bools, false: Bools, score: Floats, weights: Floats, group: Ints | None
) -> tuple[Floats, Floats]:
    """ROC-AUC of every class [shape=(1 + b, C)] and of all cells [shape=(1 + b,)], NaN where undefined."""
    count = score.shape[1]
    scores, micro = np.full((len(weights), count), np.nan), np.full(len(weights), np.nan)
    for rows, drawn in item_weights(weights, group, score.size):
        for c in range(count):
            scores[rows, c] = _auc(true[:, c], false[:, c], score[:, c], drawn)
        cells = np.repeat(drawn, count, axis=1)
        micro[rows] = _auc(true.reshape(-1), false.reshape(-1), score.reshape(-1), cells)
    return scores, micro


def _auc(true: Bools, false: Bools, score: Floats, drawn: Floats) -> Floats:
    """ROC-AUC of one column for each resample [shape=(b,)]: wins of true over false, ties half."""
    if not len(score):
        return np.full(len(drawn), np.nan)
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    drawn = drawn[:, order]
    positive = np.add.reduceat(drawn * true[order], starts, axis=1)  # (b, distinct scores)
    negative = np.add.reduceat(drawn * false[order], starts, axis=1)
    wins = (positive * (np.cumsum(negative, axis=1) - 0.5 * negative)).sum(1)
    return divide(wins, positive.sum(1) * negative.sum(1))
