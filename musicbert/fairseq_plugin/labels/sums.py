"""Sums from which the metrics of a whole set follow, so that batches and workers combine by addition.

==============  =====================  ======================================================================
kind            shape (float64)        content
==============  =====================  ======================================================================
``classes``     ``(C, C)``             number of items by true class (row) and predicted class (column)
``multilabel``  ``(2 C + 1, K)``       histograms of the logits of false labels (C rows) and of true ones (C
                                       rows); in the last row sums over items: F1, number of items, ROC-AUC,
                                       items with a ROC-AUC, items with all labels right
``regression``  ``(8, C)``             n, Σy, Σy², Σŷ, Σŷ², Σyŷ, Σ(y-ŷ)², Σ|y-ŷ| of values y and outputs ŷ
==============  =====================  ======================================================================

The metrics equal those of `musicbert.evaluation.metrics`, except that ROC-AUC over classes comes from bins of
width 1/64.

Legend: ``M`` labelled items (notes or windows), ``C`` outputs, ``K`` bins.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from musicbert.evaluation.metrics.classification import class_draws
from musicbert.model.losses.labels import known_items

#: logits are counted in bins of this width, up to +-16; zero is an edge
BIN, LARGEST = 1 / 64, 16.0
BINS = int(2 * LARGEST / BIN)
#: metrics that training can select by, by the kind of label; more is better in all of them
METRICS = {
    "classes": ("accuracy", "macro_f1", "balanced_accuracy"),
    "multilabel": ("micro_f1", "macro_f1", "roc_auc_macro", "roc_auc_micro"),
    "regression": ("r2", "pearson"),
}
#: variance below which values count as equal (rounding of float64 sums of values on 0-1)
_FLAT = 1e-12


def sums_of(kind: str, outputs: Tensor, target: Tensor) -> Tensor:
    """Return the sums of one batch.

    ``outputs``: logits, or values of a regression [shape=(..., C)]; ``target`` [shape=(...), int64, -1
    missing], or [shape=(..., C), NaN missing].
    """
    known = known_items(target, kind)
    outputs, target = outputs.detach()[known], target[known]  # (M, C)
    if kind == "classes":
        C = outputs.shape[1]
        return torch.bincount(target * C + outputs.argmax(dim=1), minlength=C * C).view(C, C).double()
    return _regression_sums(outputs, target) if kind == "regression" else _label_sums(outputs, target)


def metrics_of(kind: str, sums: Tensor, names: Sequence[str] = ()) -> dict[str, float]:
    """Return the metrics of a whole set (NaN where undefined).

    With the ``names`` of the classes also ``f1:CLASS``.
    """
    if kind == "classes":
        table = sums.cpu().numpy()
        draws = class_draws(*(count[None] for count in (table.diagonal(), table.sum(1), table.sum(0))), names)
        return {name: float(values[0]) for name, values in draws.items()}
    metrics = _label_metrics(sums) if kind == "multilabel" else _regression_metrics(sums)
    return {name: float(value) for name, value in metrics.items()}


def _f1(hits: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
    return 2 * hits / (predicted + true).clamp(min=1)


def _label_sums(logits: Tensor, target: Tensor) -> Tensor:
    known = ~target.isnan()  # (M, C)
    true, predicted = known & (target > 0), known & (logits > 0)
    C = logits.shape[1]
    bins = (logits.float() / BIN).ceil().long() + BINS // 2 - 1  # a logit of 0 is not predicted
    cell = (true.long() * C + torch.arange(C, device=logits.device)) * BINS + bins.clamp(0, BINS - 1)
    histograms = torch.bincount(cell[known], minlength=2 * C * BINS).double().view(2 * C, BINS)
    f1 = _f1((true & predicted).sum(1), predicted.sum(1), true.sum(1))
    # ROC-AUC of an item from the ranks of its true labels; ties share their mean rank
    ranked = logits.double().masked_fill(~known, torch.inf).contiguous()
    ordered = ranked.sort(dim=1).values
    ranks = (torch.searchsorted(ordered, ranked) + torch.searchsorted(ordered, ranked, right=True) + 1) / 2
    positives, negatives = true.sum(1).double(), (known & ~true).sum(1).double()
    wins = (ranks * true).sum(1) - positives * (positives + 1) / 2
    pairs = positives * negatives
    right = (predicted == true).all(dim=1)
    last = histograms.new_zeros(1, BINS)
    of_items = (f1, torch.ones_like(f1), wins / pairs.clamp(min=1), pairs > 0, right)
    last[0, : len(of_items)] = torch.stack([value.double().sum() for value in of_items])
    return torch.cat([histograms, last])


def _label_metrics(sums: Tensor) -> dict[str, Tensor]:
    false, true = sums[:-1].view(2, -1, BINS)  # (C, K)
    f1, items, auc, with_auc, right = sums[-1, :5]
    half = BINS // 2
    hits, actual = true[:, half:].sum(1), true.sum(1)
    predicted = hits + false[:, half:].sum(1)
    of_class, auc_of_class = _f1(hits, predicted, actual), _roc_auc(false, true)
    defined = ~auc_of_class.isnan()
    return {
        "micro_f1": _f1(hits.sum(), predicted.sum(), actual.sum()),
        "macro_f1": of_class[actual + false.sum(1) > 0].mean(),
        "weighted_f1": (of_class * actual).sum() / actual.sum().clamp(min=1),
        "samples_f1": f1 / items,
        "roc_auc_micro": _roc_auc(false.sum(0, keepdim=True), true.sum(0, keepdim=True))[0],
        "roc_auc_macro": auc_of_class.nanmean(),
        "roc_auc_weighted": (auc_of_class * actual)[defined].sum() / actual[defined].sum(),
        "roc_auc_samples": auc / with_auc,
        "exact": right / items,
    }


def _roc_auc(false: Tensor, true: Tensor) -> Tensor:
    """Share of (true, false) pairs of each row that are in order, ties half [shape=(C,)]."""
    below = false.cumsum(1) - false / 2
    return (true * below).sum(1) / (true.sum(1) * false.sum(1))


def _regression_sums(outputs: Tensor, target: Tensor) -> Tensor:
    known = ~target.isnan()
    y = torch.where(known, target, 0.0).double()  # (M, C)
    p = torch.where(known, outputs.float(), 0.0).double()  # (M, C)
    e = y - p
    return torch.stack([known.double(), y, y * y, p, p * p, y * p, e * e, e.abs()]).sum(dim=1)  # (8, C)


def r2(sums: Tensor) -> Tensor:
    """R² of each output [shape=(C,)]: 1 - Σ(y-ŷ)² / Σ(y-ȳ)²; NaN where all values are equal."""
    count, y, yy, *_, squared, _ = sums
    count = count.clamp(min=1)
    spread = yy - y**2 / count
    return torch.where(spread / count > _FLAT, 1 - squared / spread.clamp(min=_FLAT), math.nan)


def _pearson(sums: Tensor) -> Tensor:
    """Correlation of each output [shape=(C,)]; NaN where all values or all outputs are equal."""
    count = sums[0].clamp(min=1)
    y, yy, p, pp, yp = sums[1:6] / count
    yy, pp = yy - y**2, pp - p**2
    usable = (yy > _FLAT) & (pp > _FLAT)
    spread = (yy.clamp(min=_FLAT) * pp.clamp(min=_FLAT)).sqrt()
    return torch.where(usable, (yp - y * p) / spread, math.nan)


def _regression_metrics(sums: Tensor) -> dict[str, Tensor]:
    count, squared, absolute = sums[0].sum(), sums[6].sum(), sums[7].sum()
    return {
        "r2": r2(sums).nanmean(),
        "pearson": _pearson(sums).nanmean(),
        "mse": squared / count,
        "mae": absolute / count,
    }
