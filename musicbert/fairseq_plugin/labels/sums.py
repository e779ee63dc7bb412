"""Sums from which the metrics of a whole set follow, so that batches and workers combine by addition.

``classes``     counts [shape=(C, C), float64]: row = true class, column = predicted class.
``multilabel``  [shape=(C, 2, bins), float64]: how many labels that are 0 (then 1) got a probability in each
                bin of width 1 / bins; F1 at 0.5 is exact, ROC-AUC up to the width of a bin.
``regression``  see `musicbert.fairseq_plugin.labels.rating_sums`.

Legend: ``M`` labelled items (notes or windows), ``C`` outputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from musicbert.fairseq_plugin.labels import rating_sums

__all__ = ["METRICS", "Sums", "metrics_of", "sums_of"]

#: bins of probabilities; even, so that 0.5 is an edge
BINS = 512
#: metrics that training can select by, by the kind of label; more is better in all of them
METRICS = {
    "classes": ("accuracy", "macro_f1", "balanced_accuracy"),
    "multilabel": ("micro_f1", "macro_f1", "roc_auc_macro", "roc_auc_micro"),
    "regression": ("r2", "pearson"),
}
Sums = Tensor


def sums_of(kind: str, logits: Tensor, target: Tensor) -> Sums:
    """Return the sums of one batch.

    Parameters
    ----------
    kind
        ``classes``, ``multilabel`` or ``regression``.
    logits
        [shape=(M, C)]
    target
        [shape=(M,), int64], all of them classes, or [shape=(M, C)], NaN where missing.
    """
    logits = logits.detach()
    C = logits.shape[1]
    if kind == "classes":
        cell = target * C + logits.argmax(dim=1)
        return torch.bincount(cell, minlength=C * C).view(C, C).double()
    if kind == "regression":
        return rating_sums.rating_sums(logits.float(), target)
    known = ~target.isnan()
    bins = (torch.sigmoid(logits.float()) * BINS).long().clamp(max=BINS - 1)
    label = torch.where(known, target, 0.0).long()
    column = torch.arange(C, device=logits.device)
    cell = (column * 2 + label) * BINS + bins  # (M, C)
    return torch.bincount(cell[known], minlength=C * 2 * BINS).view(C, 2, BINS).double()


def metrics_of(kind: str, sums: Sums) -> dict[str, float]:
    """Return the metrics that the sums of a whole set say (NaN where undefined)."""
    if kind == "regression":
        return {
            "r2": rating_sums.mean_r2(sums),
            "pearson": rating_sums.mean_pearson(sums),
            "mse": rating_sums.mean_squared_error(sums),
            "mae": rating_sums.mean_absolute_error(sums),
        }
    if kind == "classes":
        hits, true, guess = sums.diagonal(), sums.sum(1), sums.sum(0)
        return {
            "accuracy": _share(hits.sum(), true.sum()),
            "macro_f1": _mean(2 * hits / (true + guess)),
            "balanced_accuracy": _mean(hits / true),
        }
    negative, positive = sums[:, 0], sums[:, 1]  # (C, bins)
    half = sums.shape[-1] // 2
    hits, misses, alarms = positive[:, half:].sum(1), positive[:, :half].sum(1), negative[:, half:].sum(1)
    return {
        "micro_f1": _share(2 * hits.sum(), (2 * hits + misses + alarms).sum()),
        "macro_f1": _mean(2 * hits / (2 * hits + misses + alarms)),
        "roc_auc_macro": _mean(_auc(negative, positive)),
        "roc_auc_micro": _auc(negative.sum(0, keepdim=True), positive.sum(0, keepdim=True)).item(),
    }


def f1_of_class(sums: Sums, index: int) -> float:
    """F1 of one class from counts [shape=(C, C)]."""
    return _share(2 * sums[index, index], sums[index].sum() + sums[:, index].sum())


def _auc(negative: Tensor, positive: Tensor) -> Tensor:
    """Area under the ROC curve of each row [shape=(C,)]: the chance that a positive lies above a negative."""
    below = negative.cumsum(1) - negative / 2  # ties in a bin count half
    return (positive * below).sum(1) / (positive.sum(1) * negative.sum(1))


def _share(top: Tensor, bottom: Tensor) -> float:
    return float(top / bottom) if bottom > 0 else math.nan


def _mean(values: Tensor) -> float:
    known = values[values.isfinite()]
    return float(known.mean()) if len(known) else math.nan
