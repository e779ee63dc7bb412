"""Bootstrap intervals: percentiles over whole groups of pieces.

Percentile intervals (Efron and Tibshirani 1993, chapter 13). Whole groups are drawn with replacement, because
pieces of one group share their music and intervals over single pieces would be too narrow (a cluster
bootstrap). A resample is a row of multiplicities of the groups. Metrics are written on sums over the items of
each group, so all resamples are scored by matrix products at once: they return `Draws`, of which the first
value belongs to the whole set and the others to the resamples. Averages and differences of draws on the same
resamples are paired. Resamples in which a metric is undefined are left out of its interval.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Bools, Floats, Ints

#: metric -> value on all items (first) and on each resample [shape=(1 + b,)]
Draws = dict[str, Floats]
#: numbers in one block of a matrix of resamples by items
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap percentile interval and standard deviation (all NaN where undefined)."""

    value: float
    low: float = float("nan")
    high: float = float("nan")
    sd: float = float("nan")

    def as_dict(self) -> dict[str, float | None]:
        """Return JSON-ready values (None for NaN)."""
        return {k: (None if np.isnan(v) else float(v)) for k, v in vars(self).items()}


def group_numbers(groups: ArrayLike) -> tuple[Ints, int]:
    """Return the number of the group of each piece [shape=(n,)] and how many groups there are."""
    names, number = np.unique(np.asarray(groups), return_inverse=True)
    return number.reshape(-1), len(names)


def resample(groups: int, *, n_resamples: int = 1000, seed: int = 0) -> Floats:
    """Draw how often each group occurs: once (first row), then in each resample [shape=(1 + b, k)]."""
    rng = np.random.default_rng(seed)
    if groups == 0:
        return np.ones((1 + n_resamples, 0))
    drawn = rng.multinomial(groups, np.full(groups, 1.0 / groups), size=n_resamples)
    return np.vstack([np.ones((1, groups)), drawn])


def interval(draws: Floats, *, level: float = 0.95) -> Interval:
    """Return the value (first) with its percentile interval over the resamples (the rest)."""
    value, rest = float(draws[0]), draws[1:][np.isfinite(draws[1:])]
    if not np.isfinite(value) or rest.size == 0:
        return Interval(value)
    low, high = np.quantile(rest, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), float(rest.std()))


def divide(top: Floats, bottom: Floats, *, valid: Bools | None = None) -> Floats:
    """Divide, with NaN where not valid (by default where the denominator is not positive)."""
    top, bottom = np.broadcast_arrays(top, bottom)
    where = bottom > 0 if valid is None else np.broadcast_to(valid, bottom.shape)
    return np.divide(top, bottom, out=np.full(bottom.shape, np.nan), where=where)


def mean(values: ArrayLike, axis: int | None = -1) -> Floats:
    """Average over an axis (None: all), leaving out NaN; NaN (without a warning) if nothing is left."""
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    total = np.asarray(np.where(known, values, 0.0).sum(axis))
    return divide(total, np.asarray(known.sum(axis), np.float64))


def weighted_sums(values: ArrayLike, weights: Floats, group: Ints | None = None) -> Floats:
    """Sum values [shape=(n, C)] over the items of each resample [shape=(1 + b, C)].

    ``weights``: from `resample` [shape=(1 + b, k)]; ``group``: number of the group of each item [shape=(n,)];
    every item is a group of its own if None.
    """
    values = np.asarray(values, np.float64)
    if group is not None:
        total = np.zeros((weights.shape[1], *values.shape[1:]))
        np.add.at(total, group, values)
        values = total
    return weights @ values


def item_weights(weights: Floats, group: Ints | None, cells: int) -> Iterator[tuple[slice, Floats]]:
    """Yield blocks of resamples and the multiplicity of every item in them [shape=(block, n)].

    For metrics of ranks, which do not follow from sums. ``cells``: numbers that a resample needs.
    """
    step = max(_BLOCK // max(cells, 1), 1)
    for start in range(0, len(weights), step):
        block = weights[start : start + step]
        yield slice(start, start + len(block)), block if group is None else block[:, group]
