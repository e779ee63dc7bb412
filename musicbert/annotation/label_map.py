"""The label map: one row of labels and one performer class for every segment.

On disk it is the JSON of the published pipeline, ``{id: [d floats, class]}`` in order of first appearance,
written as ``json.dump`` writes it (so an unchanged map is byte-equal), or CSV or Parquet with one row a
segment. A rating that is missing is NaN in memory, ``null`` in JSON and empty elsewhere, never 0. Beside it
lies ``<name>.meta.json``: dimensions with both poles, class names, kind of label, hash of the source.

Labels are 0-1 (ratings divided by 7). Verified in ``tests/unit/annotation/test_label_map.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from musicbert.annotation.dimensions import Dimension
from musicbert.annotation.files import save_table

__all__ = ["LabelMap"]


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels of segments.

    Attributes
    ----------
    ids : tuple of str
        Identifiers, in order.
    values : ndarray [shape=(n, d), float64, 0-1]
        Labels; NaN where there is no rating.
    dimensions : tuple of Dimension
        What the d columns mean, with both poles.
    classes : tuple of str
        Performer names in class order.
    class_of : ndarray [shape=(n,), int64]
        Class of each segment: an index into ``classes``.
    kind : str
        ``apex``, ``mean``, ``median`` or ``stdev``.
    n_raters : ndarray [shape=(n, d), int64] or None
        Ratings behind each label; ``None`` for a map that was read from disk.
    source : dict
        Where it comes from (file name, hash, rules), for the side file.

    Raises
    ------
    ValueError
        When the shapes do not fit together.
    """

    ids: tuple[str, ...]
    values: NDArray[np.float64]
    dimensions: tuple[Dimension, ...]
    classes: tuple[str, ...]
    class_of: NDArray[np.int64]
    kind: str = "apex"
    n_raters: NDArray[np.int64] | None = None
    source: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, d = len(self.ids), len(self.dimensions)
        if self.values.shape != (n, d) or self.class_of.shape != (n,):
            raise ValueError(
                f"{n} ids and {d} dimensions, but values {self.values.shape}, classes {self.class_of.shape}"
            )
        if len(set(self.ids)) != n:
            raise ValueError("identifiers occur twice")
        if n and not 0 <= int(self.class_of.min()) <= int(self.class_of.max()) < len(self.classes):
            raise ValueError("a class has no name")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def performers(self) -> list[str]:
        """Performer name of each segment, in order."""
        return [self.classes[k] for k in self.class_of]

    def row(self, name: str) -> list[float | int | None]:
        """The d labels (``None`` where missing) and the class of one segment, as in the JSON.

        Raises
        ------
        KeyError
            When the segment is not in the map.
        """
        return self._row(self._index[name])

    def _row(self, i: int) -> list[float | int | None]:
        floats = [None if np.isnan(v) else v for v in self.values[i].tolist()]
        return [*floats, int(self.class_of[i])]

    @property
    def _index(self) -> dict[str, int]:
        index = self.__dict__.get("_index_")
        if index is None:
            index = {name: i for i, name in enumerate(self.ids)}
            object.__setattr__(self, "_index_", index)
        return index

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def subset(self, ids: Iterable[str]) -> LabelMap:
        """The same map with only some segments, in the order asked for; classes stay as they are.

        Raises
        ------
        KeyError
            When a segment is not in the map.
        """
        names = tuple(ids)
        rows = np.array([self._index[name] for name in names], dtype=np.int64)
        return replace(
            self,
            ids=names,
            values=self.values[rows].reshape(len(names), len(self.dimensions)),
            class_of=self.class_of[rows],
            n_raters=None if self.n_raters is None else self.n_raters[rows],
        )

    def to_dict(self) -> dict[str, list[float | int | None]]:
        """``{id: [d labels, class]}`` as in the JSON."""
        return {name: self._row(i) for i, name in enumerate(self.ids)}

    def to_frame(self) -> pd.DataFrame:
        """Data frame: ``id``, one column a dimension (by name), ``performer``, ``class``."""
        frame = pd.DataFrame(self.values, columns=[dimension.name for dimension in self.dimensions])
        frame.insert(0, "id", list(self.ids))
        frame["performer"] = self.performers
        frame["class"] = self.class_of
        return frame

    def meta(self) -> dict[str, Any]:
        """Contents of the side file."""
        return {
            "kind": self.kind,
            "segments": len(self),
            "dimensions": [asdict(dimension) for dimension in self.dimensions],
            "classes": list(self.classes),
            "scale": "labels are ratings / 7; low values mean the low pole",
            "source": self.source,
        }

    def save(self, path: str | PathLike[str], *, format: str | None = None) -> None:
        """Write the map and its side file (see `musicbert.annotation.files.save_table`)."""
        save_table(self, path, format=format)

    @classmethod
    def load(cls, path: str | PathLike[str], *, columns: str | None = None) -> LabelMap:
        """Read and check a map (see `musicbert.annotation.label_reader`)."""
        from musicbert.annotation.label_reader import read_label_map

        return read_label_map(path, columns=columns)
