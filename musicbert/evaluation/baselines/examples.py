"""`Examples`: items with inputs, labels and identities; and the scaling of their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

__all__ = ["Examples", "standardise"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Deviations at which a standardised feature is clipped.
CLIP = 4.0


@dataclass(frozen=True, eq=False)
class Examples:
    """Items with features, labels and identities.

    Attributes
    ----------
    ids
        [shape=(n,), str]
    features
        [shape=(n, k), float64], finite.
    labels
        [shape=(n, d), float64, 0-1], NaN where missing.
    class_of
        [shape=(n,), int64, 0..n_classes-1]
    n_classes
        Number of classes.
    groups
        Items of one group share music; inner cross-validation keeps them together [shape=(n,)].
    identities
        Column -> what the name of each item says ([shape=(n,)]), for look-ups.
    more
        Name -> further inputs [shape=(n, j), float64], a row of NaN where an item has none. ``score``:
        against the score; ``peers``: against the other performances of the same bars.
    dimensions, classes
        Names of the d labels and of the classes, for the predictions; numbers if empty.
    means, raters
        Mean of all ratings of each label [shape=(n, d), float64, 0-1, NaN where nobody rated], and how many
        rated, averaged over labels [shape=(n,), float64]; None where the ratings are not at hand.
    """

    ids: NDArray[np.str_]
    features: Floats
    labels: Floats
    class_of: Ints
    n_classes: int
    groups: NDArray[np.str_]
    identities: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    more: Mapping[str, Floats] = field(default_factory=dict)
    dimensions: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    means: Floats | None = None
    raters: Floats | None = None

    def inputs(self, names: Sequence[str] = ()) -> Floats:
        """Return the features and some further inputs side by side [shape=(n, k + ...), float64].

        Raises
        ------
        ValueError
            For a name that is not in ``more``.
        """
        if unknown := [name for name in names if name not in self.more]:
            raise ValueError(f"no inputs {', '.join(unknown)}; there are {sorted(self.more)}")
        return np.concatenate([self.features, *(self.more[name] for name in names)], axis=1)


def standardise(train: Floats, test: Floats, blocks: Sequence[int] | None = None) -> tuple[Floats, Floats]:
    """Standardise by the training part and clip; what is not known (NaN) becomes the training mean.

    Parameters
    ----------
    train, test
        [shape=(n, k), float64]
    blocks
        Widths of groups of columns that sum to k. Each group then gets the same total variance, so that 768
        columns of an embedding do not drown 150 features in a distance.
    """
    scaler = StandardScaler().fit(train)  # passes over NaN
    weight = np.ones(train.shape[1])
    if blocks is not None:
        if sum(blocks) != train.shape[1]:
            raise ValueError(f"blocks {list(blocks)} do not sum to {train.shape[1]} columns")
        weight = np.repeat([np.sqrt(train.shape[1] / (len(blocks) * width)) for width in blocks], blocks)
    done = [np.nan_to_num(np.clip(scaler.transform(x), -CLIP, CLIP)) * weight for x in (train, test)]
    return done[0], done[1]
