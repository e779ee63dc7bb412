"""Chords of PiRhDy's files: id -> pitch classes.

The table comes with the package as JSON (``chord_mapping.json``; its source is in the ``README.md`` beside
it). Upstream publishes it as a pickle; such a file is read too, safely
(`musicbert.corpus.files.object_npy`). The two ids for chords without a name ("unknown", "over number") stand
for all twelve pitch classes, as upstream reads them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from typing import Any

import numpy as np

from musicbert.arrays import Ints
from musicbert.corpus.files.folders import read_whole
from musicbert.corpus.files.object_npy import load_pickle
from musicbert.errors import DatasetError

_PITCH_CLASSES = 12
#: What stands in the table for chords without a name.
_NAMELESS = ("unknown", "over number")


@dataclass(frozen=True, eq=False)
class ChordTable:
    """Pitch classes of every id.

    ``starts``: where the pitch classes of an id begin [shape=(largest id + 2,), int64]; those of id c are
    ``pitch_classes[starts[c] : starts[c + 1]]``, none for an id that is no chord; ``pitch_classes``
    [shape=(k,), int64, 0-11], ascending for each id.
    """

    starts: Ints
    pitch_classes: Ints

    def sizes(self, ids: Ints) -> Ints:
        """Return how many pitch classes ids have [shape as given]; 0 for what is no chord."""
        known = (ids >= 0) & (ids < len(self.starts) - 1)
        inside = np.where(known, ids, 0)
        counts: Ints = np.where(known, self.starts[inside + 1] - self.starts[inside], 0)
        return counts


def load_chords(path: str | PathLike[str] | None = None) -> ChordTable:
    """Read a table of chords.

    ``path``: JSON or pickle (by its first byte) of ``{id: [pitch classes]}``; the package's own if None.
    Raises `DatasetError`: ``not-found``, ``unsafe-pickle`` (it wants to make objects), ``bad-chords``.
    """
    if path is None:
        content = files("musicbert.corpus.sentences.pairs").joinpath("chord_mapping.json").read_bytes()
    else:
        content = read_whole(path, "The table of chords")
    try:
        is_json = content[:1] in (b"{", b" ", b"\n")
        table = json.loads(content) if is_json else load_pickle(path or "", content=content)
        if not isinstance(table, Mapping) or not table:
            raise ValueError("it is not a mapping of ids")
        return _table({int(chord): _classes(value) for chord, value in table.items()})
    except (DatasetError, ValueError, TypeError, OverflowError, RecursionError) as error:
        if isinstance(error, DatasetError) and error.reason == "unsafe-pickle":
            hint = "use the table that comes with musicbert, or convert it to JSON"
            raise DatasetError(error.reason, error.message, path=path, hint=hint) from None
        raise DatasetError(
            "bad-chords",
            f"Not a table of chords: {error}",
            path=path,
            hint='it is {"id": [pitch classes 0-11], ...} as JSON or pickle',
        ) from error


def _classes(value: Any) -> list[int]:
    if isinstance(value, str):
        if value not in _NAMELESS:
            raise ValueError(f"{value!r} is neither pitch classes nor one of {_NAMELESS}")
        return list(range(_PITCH_CLASSES))
    classes = sorted(set(map(int, value)))
    if not classes or classes[0] < 0 or classes[-1] >= _PITCH_CLASSES:
        raise ValueError(f"{value!r} are not pitch classes")
    return classes


def _table(chords: Mapping[int, list[int]]) -> ChordTable:
    if min(chords) < 0 or max(chords) > 1 << 16:
        raise ValueError("an id is negative or above 65536")
    by_id = [chords.get(chord, []) for chord in range(max(chords) + 1)]
    starts = np.concatenate([[0], np.cumsum([len(classes) for classes in by_id])]).astype(np.int64)
    return ChordTable(starts, np.array([pitch for classes in by_id for pitch in classes], np.int64))
