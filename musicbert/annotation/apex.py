"""The apex of a set of ratings: where a kernel density estimate of them is highest.

The published label (called *apex*) of one segment and dimension, over its ratings x with n >= 1:

1. all equal: that value;
2. Gaussian kernel density with Scott's bandwidth h = s n^(-1/5), s the sample standard deviation (ddof 1):
   the default of ``scipy.stats.gaussian_kde``;
3. evaluated at 50 equally spaced points from min(x) to max(x), ends included;
4. the mean of all points whose density is within a relative 1e-9 of the highest.

Rule 4 is this package's: the published code compared floats with ``==``, so where maxima tie exactly, as
for {2, 2, 5, 5} (14 % of the XAI-music labels), rounding picked one side, both or neither. Here ties are
averaged.

Verified against scipy and recorded values in ``tests/unit/annotation/test_apex.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Bools, Floats

__all__ = ["GRID_POINTS", "TIE_TOLERANCE", "apex", "apexes", "tied"]

#: points of the grid, as published
GRID_POINTS = 50
#: densities closer than this (relative) are the same: far above rounding (1e-15), far below real differences
TIE_TOLERANCE = 1e-9


def apex(ratings: ArrayLike) -> float:
    """Apex of one set of ratings.

    Examples
    --------
    >>> apex([3, 3, 3]), apex([2, 6])
    (3.0, 4.0)
    """
    return float(apexes(np.asarray(ratings, dtype=np.float64).reshape(-1, 1))[0])


def apexes(ratings: Floats) -> Floats:
    """Apex of many sets with the same number of ratings.

    Parameters
    ----------
    ratings : ndarray [shape=(n, m), float64, rating]
        One set a column; n >= 1, no NaN.

    Returns
    -------
    ndarray [shape=(m,), float64, rating]
    """
    peaks: Floats = ratings[0].copy()
    spread = _spread(ratings)
    if spread.any():
        grid, density = _density(ratings[:, spread])
        top = density >= density.max(axis=0) * (1 - TIE_TOLERANCE)
        peaks[spread] = (grid * top).sum(axis=0) / top.sum(axis=0)
    return peaks


def tied(ratings: Floats) -> Bools:
    """Whether the highest density is reached at more than one point of the grid.

    Parameters
    ----------
    ratings : ndarray [shape=(n, m), float64, rating]
        As in `apexes`.

    Returns
    -------
    ndarray [shape=(m,), bool]
    """
    result = np.zeros(ratings.shape[1], dtype=bool)
    spread = _spread(ratings)
    if spread.any():
        _, density = _density(ratings[:, spread])
        result[spread] = (density >= density.max(axis=0) * (1 - TIE_TOLERANCE)).sum(axis=0) > 1
    return result


def _spread(ratings: Floats) -> Bools:
    """Columns whose ratings differ."""
    return np.asarray(ratings.min(axis=0) < ratings.max(axis=0))


def _density(ratings: Floats) -> tuple[Floats, Floats]:
    """Grid and unnormalised density, both [shape=(50, m)]."""
    n = ratings.shape[0]
    bandwidth = ratings.std(axis=0, ddof=1) * n ** (-1 / 5)  # (m,)
    grid = np.linspace(ratings.min(axis=0), ratings.max(axis=0), GRID_POINTS)  # (50, m)
    density = np.zeros_like(grid)
    for rating in ratings:  # (m,): one rater of every set
        density += np.exp(-0.5 * ((grid - rating) / bandwidth) ** 2)
    return grid, density
