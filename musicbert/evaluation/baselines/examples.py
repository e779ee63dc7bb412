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

    ``means`` and ``raters`` are None where the ratings are unknown.
    """

    label: str
    kind: Kind
    classes: tuple[str, ...]  # names of the classes, of the dimensions of a regression
    features: Floats  # (n, k)
    target: NDArray[Any]  # classes (n,), other kinds (n, C), missing NaN
    groups: NDArray[
        np.str_
    ]  # items of one group share music: inner cross-validation keeps them together (n,)
    ids: NDArray[np.str_]  # names; of notes, those of their pieces (n,)
    identities: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # for look-up tables: column -> (n,)
    #: further inputs, a row of NaN where an item has none (n, j). ``score``: against the score; ``peers``:
    #: against the other performances of the same bars
    more: Mapping[str, Floats] = field(default_factory=dict)
    means: Floats | None = None  # mean of all ratings of each label (n, C), 0-1, NaN where nobody rated
    raters: Floats | None = None  # number of raters, averaged over labels (n,)

    def inputs(self, names: Sequence[str] = ()) -> Floats:
        """Return the features and some inputs of ``more`` side by side [shape=(n, k + ...), float64].

        Raises `ValueError` (for an unknown name).
        """
        if unknown := [name for name in names if name not in self.more]:
            raise ValueError(f"no inputs {', '.join(unknown)}; there are {sorted(self.more)}")
        return np.concatenate([self.features, *(self.more[name] for name in names)], axis=1)


def standardise(train: Floats, test: Floats, blocks: Sequence[int] | None = None) -> tuple[Floats, Floats]:
    """Standardise by the training part and clip; what is unknown (NaN) becomes the training mean.

    ``train``, ``test`` [shape=(n, k), float64]; ``blocks``: widths of groups of columns, each of which gets
    the same total variance, so that 768 columns of an embedding do not drown 150 features in a distance.
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
