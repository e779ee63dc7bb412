"""Sums from which the metrics of a whole set follow, so that batches and workers combine by addition.

A table of sums is [shape=(8, R), float64]: for every dimension the number of ratings n, Σy, Σy², Σŷ, Σŷ²,
Σyŷ, Σ(y-ŷ)² and Σ|y-ŷ|, where y are ratings and ŷ scores, over the pieces that have the rating. R² is then
exact over any number of batches, which an average of each batch's R² is not.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "flat_r2",
    "mean_absolute_error",
    "mean_pearson",
    "mean_r2",
    "mean_squared_error",
    "pearson",
    "r2",
    "rating_sums",
]

N, Y, YY, P, PP, YP, SQUARED, ABSOLUTE = range(8)

#: variance below which all ratings of a dimension count as equal (float64 rounding of sums of values on 0-1)
_FLAT = 1e-12


def rating_sums(scores: Tensor, ratings: Tensor) -> Tensor:
    """Return the sums of one batch.

    Parameters
    ----------
    scores
        [shape=(B, R)] what the model says, 0-1.
    ratings
        [shape=(B, R)] NaN where missing.

    Returns
    -------
    Tensor
        [shape=(8, R), float64]
    """
    present = ~ratings.isnan()
    y = torch.where(present, ratings, 0.0).detach().double()  # (B, R)
    p = torch.where(present, scores, 0.0).detach().double()  # (B, R)
    e = y - p
    return torch.stack([present.double(), y, y * y, p, p * p, y * p, e * e, e.abs()]).sum(dim=1)  # (8, R)


def r2(sums: Tensor) -> Tensor:
    """Return R² of every dimension [shape=(R,)]: 1 - Σ(y-ŷ)² / Σ(y-ȳ)²; NaN where all ratings are equal."""
    count = sums[N].clamp(min=1)
    spread = sums[YY] - sums[Y] ** 2 / count
    return torch.where(spread / count > _FLAT, 1 - sums[SQUARED] / spread.clamp(min=_FLAT), torch.nan)


def pearson(sums: Tensor) -> Tensor:
    """Return the correlation of every dimension [shape=(R,)]; NaN where ratings or scores are all equal."""
    count = sums[N].clamp(min=1)
    y = sums[YY] / count - (sums[Y] / count) ** 2
    p = sums[PP] / count - (sums[P] / count) ** 2
    both = sums[YP] / count - sums[Y] / count * sums[P] / count
    usable = (y > _FLAT) & (p > _FLAT)
    return torch.where(usable, both / (y.clamp(min=_FLAT) * p.clamp(min=_FLAT)).sqrt(), torch.nan)


def mean_r2(sums: Tensor) -> float:
    """Return R² averaged over the dimensions that have one."""
    return r2(sums).nanmean().item()


def mean_pearson(sums: Tensor) -> float:
    """Return the correlation averaged over the dimensions that have one."""
    return pearson(sums).nanmean().item()


def mean_squared_error(sums: Tensor) -> float:
    """Return the mean squared error over all ratings."""
    return (sums[SQUARED].sum() / sums[N].sum()).item()


def mean_absolute_error(sums: Tensor) -> float:
    """Return the mean absolute error over all ratings."""
    return (sums[ABSOLUTE].sum() / sums[N].sum()).item()


def flat_r2(sums: Tensor) -> float:
    """Return R² of all dimensions taken as one, as the published training logs it."""
    return r2(sums.sum(dim=1, keepdim=True)).item()
