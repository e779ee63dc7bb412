"""TNUA violin fingering (VF): 14 pieces as played by 10 violinists, one CSV file each (140).

Columns pitch, start (beats within the bar), duration (beats), beat_type, string (0-4), position (0-12),
finger (0-4). A note's class is ``(string - 1) * 60 + (max(position, 1) - 1) * 5 + finger + 2``, at least 0.

The published lists take ``start`` as it is, so the whole piece is one bar whose notes are sorted by pitch,
while the labels keep their order: 94 % of them lie on a note of another pitch (``compatible=True`` gives
those notes). Here each note that does not begin later in its bar than the one before begins a new bar of
4 beats (the music has one voice; the published second path misses bars that begin alike). The metre is not in
the files: a bar of 3 beats leaves its last beat empty.

Splits: ``published`` and ``clean`` are one and the same, by violinist and by piece (V1-4 and pieces 1-9 for
training, V5-7 and 10-11 for validation, V8-10 and 12-14 for the test; the other 89 files are in no part).
"""

import io
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.corpus.readers.contract import Item, Loaded, Source, check_labels
from musicbert.corpus.readers.files import SourceFiles
from musicbert.encoding.beat_notes import BEATS_PER_BAR, BeatNotes
from musicbert.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("pitch", "start", "duration", "string", "position", "finger")
#: In the published order.
PIECES = (
    "bach1", "bach2", "beeth1", "beeth2_1", "beeth2_2", "elgar", "flower", "mend1", "mend2", "mend3",
    "mozart1", "mozart2_1", "mozart2_2", "wind",
)  # fmt: skip
CLASSES = 241
#: (violinists, pieces) of each part, the last ones excluded.
_PARTS = {"train": ((1, 5), (0, 9)), "valid": ((5, 8), (9, 11)), "test": ((8, 11), (11, 14))}
_LAYOUT = r"(?:^|/)vio(?P<violinist>\d+)_(?P<piece>\w+)\.csv$"


def fingering_class(string: ArrayLike, position: ArrayLike, finger: ArrayLike) -> Ints:
    """Return the published class of fingerings [shape=(n,), int64, 0-240].

    Examples
    --------
    >>> fingering_class([1, 0, 4], [3, 0, 12], [2, 0, 4]).tolist()
    [14, 0, 241]
    """
    string, position, finger = (np.asarray(values, np.int64) for values in (string, position, finger))
    classes: Ints = np.maximum((string - 1) * 60 + (np.maximum(position, 1) - 1) * 5 + finger + 2, 0)
    return classes


def bars_of(start: ArrayLike) -> Ints:
    """Return the bar of each note of one voice [shape=(n,), int64], from 0; -1 for a pickup.

    Examples
    --------
    >>> bars_of([-0.25, 0.0, 2.0, 0.0, 0.0, 1.0]).tolist()
    [-1, 0, 0, 1, 2, 2]
    """
    starts = np.asarray(start, np.float64)
    pickup = starts < 0
    new = np.zeros(len(starts), np.int64)
    new[1:] = (np.diff(starts) <= 0) | (pickup[:-1] & ~pickup[1:])
    return np.cumsum(new) - (1 if len(starts) and pickup[0] else 0)


def _items(files: SourceFiles, compatible: bool) -> list[Item]:
    items = []
    for match in files.require(_LAYOUT, "vio<violinist>_<piece>.csv"):
        violinist, piece = int(match["violinist"]), match["piece"]
        part = _part(violinist, piece)
        splits = {"published": part, "clean": part} if part else {}
        path = match.string
        name = f"vio{violinist}_{piece}"
        items.append(Item(name, path, piece, splits, partial(_load, files, path, name, compatible)))
    return items


def _part(violinist: int, piece: str) -> str | None:
    at = PIECES.index(piece) if piece in PIECES else -1
    for part, (violinists, pieces) in _PARTS.items():
        if violinist in range(*violinists) and at in range(*pieces):
            return part
    return None


def _load(files: SourceFiles, path: str, name: str, compatible: bool) -> list[Loaded]:
    table = read_table(files, path, COLUMNS)
    start, duration = (table[column].to_numpy(np.float64) for column in ("start", "duration"))
    onset = start if compatible else start + BEATS_PER_BAR * bars_of(start)
    classes = fingering_class(table["string"], table["position"], table["finger"])
    notes = BeatNotes(
        onset=onset,
        offset=onset + duration,
        pitch=table["pitch"].to_numpy(np.int64),
        velocity=np.full(len(table), 64, np.int64),
    )
    return [(name, notes, {"violin_all": check_labels(classes, CLASSES, path)})]


def read_table(files: SourceFiles, path: str, columns: tuple[str, ...]) -> "pd.DataFrame":
    """Read a CSV file with at least these columns of numbers.

    Raises `DatasetError`: ``not-a-table``, ``no-column``, ``empty-table``, ``bad-value``.
    """
    import pandas as pd  # slow to import, and many callers read no table

    try:
        table = pd.read_csv(io.BytesIO(files.read(path)))
    except (ValueError, pd.errors.ParserError) as error:
        raise DatasetError("not-a-table", f"The file is no CSV table: {error}", path=path) from error
    if missing := [column for column in columns if column not in table]:
        raise DatasetError("no-column", f"The table has no column {', '.join(missing)}", path=path)
    if not len(table):
        raise DatasetError("empty-table", "The table has no rows", path=path)
    for column in columns:
        values = pd.to_numeric(table[column], errors="coerce")
        if not np.isfinite(values.to_numpy(np.float64)).all():
            raise DatasetError("bad-value", f"A value of column {column} is not a number", path=path)
        table[column] = values
    return table


TNUA = Source(
    name="tnua",
    about="violin fingering of 14 pieces by 10 violinists",
    origin="github.com/Tsung-Ping/Violin-Fingering-Generation",
    licence="none stated",
    layout="vio<1-10>_<piece>.csv (140 files)",
    wanted=_LAYOUT,
    items=_items,
    versions=False,
)
