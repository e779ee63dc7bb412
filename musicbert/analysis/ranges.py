"""Ranges of predicted ratings from out-of-fold errors (cross-conformal prediction).

The errors are those of models that did not know the music of an item (Vovk 2015, "Cross-conformal
predictors"). Items of one group share their music and are not exchangeable with items of another, so every
group counts once: its items share one weight, and the quantile allows for one more, unknown group (Dunn,
Wasserman and Ramdas 2023, "Distribution-free prediction sets for two-layer hierarchical models"). Upper and
lower ends have their own quantile, since the ends of the scale are not symmetric.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Bools, Floats


@dataclass(frozen=True, eq=False)
class Ranges:
    """What is added to a prediction for the ends of its range [shape=(levels, d) each], by coverage level."""

    levels: tuple[float, ...]
    low: Floats
    high: Floats

    @classmethod
    def fit(cls, errors: Floats, groups: NDArray[np.str_], levels: Sequence[float]) -> "Ranges":
        """Take the quantiles of errors, label minus prediction [shape=(n, d)]; NaN are left out."""
        low, high = np.zeros((2, len(levels), errors.shape[1]))
        for column, values in enumerate(errors.T):
            known = np.isfinite(values)
            for row, level in enumerate(levels):
                high[row, column] = _quantile(values[known], groups[known], (1 + level) / 2)
                low[row, column] = -_quantile(-values[known], groups[known], (1 + level) / 2)
        return cls(tuple(levels), low, high)

    def around(self, values: Floats, level: float, spread: Floats) -> tuple[Floats, Floats]:
        """Ends around predictions [shape=(m, d)], within 0-1; ``spread`` [shape=(m,)] widens them."""
        row, wide = self.levels.index(level), np.asarray(spread)[:, None]
        return np.clip(values + wide * self.low[row], 0.0, 1.0), np.clip(
            values + wide * self.high[row], 0.0, 1.0
        )

    def as_dict(self) -> dict[str, object]:
        """JSON-ready values."""
        return {"levels": list(self.levels), "low": self.low.tolist(), "high": self.high.tolist()}

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> "Ranges":
        """Read what `as_dict` returned."""
        low, high = (np.asarray(content[name], np.float64) for name in ("low", "high"))
        return cls(tuple(content["levels"]), low, high)  # type: ignore[arg-type]


def _quantile(values: Floats, groups: NDArray[np.str_], level: float) -> float:
    """Least value with a share of the groups, one unknown group added, at or below it."""
    _, number, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weight = 1.0 / (counts[number] * (len(counts) + 1))
    order = np.argsort(values)
    below = np.cumsum(weight[order])
    at = int(np.searchsorted(below, level - 1e-9))
    return float(values[order][min(at, len(values) - 1)])


def coverage(labels: Floats, low: Floats, high: Floats) -> Bools:
    """Whether each label lies in its range [shape=(n, d)]; of NaN false."""
    return np.asarray((labels >= low) & (labels <= high))
