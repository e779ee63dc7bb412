"""Bootstrap intervals of any metric of :mod:`musicbert.evaluation.metrics.regression_and_classes`.

Percentile intervals (Efron and Tibshirani 1993, chapter 13). Items are drawn with replacement, or whole
groups of items where neighbours share the music (a cluster bootstrap): intervals that ignore such groups are
too narrow. A resample is a row of multiplicities [shape=(n,)], so all resamples are scored by matrix products
at once. Resamples in which a metric is undefined are left out of its interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicbert.evaluation.metrics.regression_and_classes import Metric, mean

__all__ = ["Interval", "bootstrap", "bootstrap_difference", "resample"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap percentile interval and standard deviation (all NaN where undefined)."""

    value: float
    low: float
    high: float
    sd: float

    def as_dict(self) -> dict[str, float | None]:
        """Return JSON-ready values (None for NaN)."""
        return {k: (None if np.isnan(v) else float(v)) for k, v in vars(self).items()}


def resample(n: int, *, n_resamples: int = 1000, groups: ArrayLike | None = None, seed: int = 0) -> Floats:
    """Draw how often each item occurs in each bootstrap resample.

    Parameters
    ----------
    n
        Number of items.
    n_resamples
        Number of resamples b.
    groups
        Group of each item [shape=(n,)]; whole groups are then drawn (cluster bootstrap).
    seed
        Seed of the generator.

    Returns
    -------
    [shape=(b, n), float64], non-negative integers
    """
    rng = np.random.default_rng(seed)
    _, member = np.unique(np.arange(n) if groups is None else np.asarray(groups), return_inverse=True)
    if len(member) != n:
        raise ValueError(f"{len(member)} groups for {n} items")
    k = int(member.max(initial=-1)) + 1
    if k == 0:
        return np.zeros((n_resamples, 0))
    return rng.multinomial(k, np.full(k, 1.0 / k), size=n_resamples).astype(np.float64)[:, member]


def _summary(value: float, draws: Floats, level: float) -> Interval:
    draws = draws[np.isfinite(draws)]
    if np.isnan(value) or draws.size == 0:
        return Interval(float(value), np.nan, np.nan, np.nan)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high), float(draws.std()))


def bootstrap(
    metric: Metric,
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    weights: Floats | None = None,
    level: float = 0.95,
) -> tuple[Interval, list[Interval]]:
    """Return a metric's interval, averaged over dimensions, and the interval of each dimension.

    Parameters
    ----------
    metric
        A value of :data:`REGRESSION` or :data:`CLASSIFICATION`.
    labels, predictions
        As the metric takes them.
    weights
        Resamples from :func:`resample` [shape=(b, n)]; by default 1,000 resamples of items.
    level
        Coverage of the interval in 0-1.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    weights = resample(len(labels)) if weights is None else weights
    value = metric(labels, predictions, np.ones((1, len(labels))))
    draws = metric(labels, predictions, weights)
    if draws.ndim == 1:
        return _summary(float(value[0]), draws, level), []
    each = [_summary(value[0, d], draws[:, d], level) for d in range(draws.shape[1])]
    return _summary(float(mean(value[0])), mean(draws), level), each


def bootstrap_difference(
    metric: Metric,
    labels: ArrayLike,
    predictions: ArrayLike,
    others: ArrayLike,
    *,
    weights: Floats | None = None,
    level: float = 0.95,
) -> Interval:
    """Return the interval of metric(``predictions``) - metric(``others``), paired: on the same resamples."""
    labels = np.asarray(labels)
    weights = resample(len(labels)) if weights is None else weights
    scores = []
    for guess in (np.asarray(predictions), np.asarray(others)):
        both = metric(labels, guess, np.vstack([np.ones((1, len(labels))), weights]))
        scores.append(both if both.ndim == 1 else mean(both))
    difference = scores[0] - scores[1]
    return _summary(float(difference[0]), difference[1:], level)
