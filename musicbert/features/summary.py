"""Summaries of one column of numbers that stay finite for empty and constant input."""

import numpy as np

from musicbert.arrays import Floats

#: Below this, a spread counts as zero.
TINY = 1e-9


def average(values: Floats, empty: float = 0.0) -> float:
    """Return the mean, or ``empty`` for no values."""
    return float(np.mean(values)) if len(values) else empty


def spread(values: Floats) -> float:
    """Return the standard deviation (ddof 0), 0 for no values."""
    return float(np.std(values)) if len(values) else 0.0


def ratio(top: float, bottom: float) -> float:
    """Divide, 0 where the divisor is (nearly) 0."""
    return float(top / bottom) if abs(bottom) > TINY else 0.0


def percentiles(values: Floats, ranks: tuple[float, ...], empty: float = 0.0) -> list[float]:
    """Return percentiles (linear interpolation), ``empty`` for no values."""
    return np.percentile(values, ranks).tolist() if len(values) else [empty] * len(ranks)


def skewness(values: Floats) -> float:
    """Return the third standardised moment, 0 for constant values."""
    sd = spread(values)
    return average((values - values.mean()) ** 3) / sd**3 if sd > 1e-6 else 0.0


def correlation(x: Floats, y: Floats) -> float:
    """Return Pearson's correlation, 0 where either is constant."""
    if len(x) < 3:
        return 0.0
    return ratio(float(np.mean((x - x.mean()) * (y - y.mean()))), spread(x) * spread(y))


def slope(x: Floats, y: Floats) -> float:
    """Return the least-squares slope of y on x, 0 where x is constant."""
    if len(x) < 3:
        return 0.0
    return ratio(float(np.mean((x - x.mean()) * (y - y.mean()))), float(np.var(x)))
