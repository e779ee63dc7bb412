"""`Examples`: items with inputs and one label; and the scaling of their inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from musicbert.arrays import Floats
from musicbert.corpus.labelled.pieces import Kind

#: deviations at which a standardised feature is clipped
CLIP = 4.0


@dataclass(frozen=True, eq=False)
class Examples:
    """Items (pieces, segments or notes) with inputs and one label.

    Attributes
    ----------
    label, kind, classes
        Name of the label, its kind, and names of its classes (dimensions of a regression).
    features
        [shape=(n, k), float64]
    target
        ``classes``: [shape=(n,), int64]. Else [shape=(n, C), float64, NaN where missing].
    groups
        Items of one group share music; inner cross-validation keeps them together [shape=(n,), str].
    ids
        Names [shape=(n,), str]; of notes, those of their pieces.
    identities
        Column -> what the name or place of each item says [shape=(n,)], for look-up tables.
    more
        Name -> further inputs [shape=(n, j), float64], a row of NaN where an item has none. ``score``:
        against the score; ``peers``: against the other performances of the same bars.
    means, raters
        Mean of all ratings of each label [shape=(n, C), float64, 0-1, NaN where nobody rated], and the number
        of raters, averaged over labels [shape=(n,), float64]; None where the ratings are unknown.
    """

    label: str
    kind: Kind
    classes: tuple[str, ...]
    features: Floats
    target: NDArray[Any]
    groups: NDArray[np.str_]
    ids: NDArray[np.str_]
    identities: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    more: Mapping[str, Floats] = field(default_factory=dict)
    means: Floats | None = None
    raters: Floats | None = None

    def inputs(self, names: Sequence[str] = ()) -> Floats:
        """Return the features and some further inputs side by side [shape=(n, k + ...), float64].

        Raises `ValueError` (for a name that is not in ``more``).
        """
        if unknown := [name for name in names if name not in self.more]:
            raise ValueError(f"no inputs {', '.join(unknown)}; there are {sorted(self.more)}")
        return np.concatenate([self.features, *(self.more[name] for name in names)], axis=1)


def standardise(train: Floats, test: Floats, blocks: Sequence[int] | None = None) -> tuple[Floats, Floats]:
    """Standardise by the training part and clip; what is unknown (NaN) becomes the training mean.

    ``train``, ``test`` [shape=(n, k), float64]. ``blocks``: widths of groups of columns that sum to k. Each
    group then gets the same total variance, so that 768 columns of an embedding do not drown 150 features in
    a distance.
    """
    if not train.shape[1]:
        return train, test
    scaler = StandardScaler().fit(train)  # skips NaN
    weight = np.ones(train.shape[1])
    if blocks is not None:
        if sum(blocks) != train.shape[1]:
            raise ValueError(f"blocks {list(blocks)} do not sum to {train.shape[1]} columns")
        weight = np.repeat([np.sqrt(train.shape[1] / (len(blocks) * width)) for width in blocks], blocks)
    done = [np.nan_to_num(np.clip(scaler.transform(x), -CLIP, CLIP)) * weight for x in (train, test)]
    return done[0], done[1]
