"""Labelled pieces on disk: memory-mapped rows of notes with their labels, for training and for scores.

A folder (written by `musicbert.corpus.labelled.shard_writer.write_shards`, read by `Shards`):

==================  ====================================================================================
``rows.bin``        rows of all pieces, one after the other [shape=(N, F), uint16, little endian]
``note_index.bin``  note of its piece that each row came from [shape=(N,), uint32]
``offsets.npy``     rows of piece i are ``offsets[i]`` to ``offsets[i + 1] - 1`` [shape=(n + 1,), int64]
``label<k>.bin``    labels of label k: a row a note or a row a piece (see `LabelColumn`)
``performance.bin``  performance inputs, optional [shape=(N, P), float32]
``features.bin``    hand-made features of each piece, optional [shape=(n, K), float32]
``manifest.json``   codec, labels with their classes, and of each piece name, group, splits, source, hash
``ledger.jsonl``    one line a piece that was offered: ``ok`` or the reason why it is not here
==================  ====================================================================================

Pieces are whole; training cuts them into windows. Nothing is pickled.
"""

from os import PathLike
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Floats, Ints, Singles
from musicbert.atomic import MAX_MANIFEST, check_types, read_json
from musicbert.corpus.labelled.contract import NO_PERFORMANCE, LabelColumn, LabelledSet, PieceInfo
from musicbert.corpus.labelled.pieces import Kind, Level
from musicbert.errors import DatasetError

FORMAT = "musicbert-shards"
VERSION = 1
MANIFEST = "manifest.json"
ROWS, NOTE_INDEX, OFFSETS, PERFORMANCE, FEATURES = (
    "rows.bin", "note_index.bin", "offsets.npy", "performance.bin", "features.bin"
)  # fmt: skip
ROW_TYPE, INDEX_TYPE, FLOAT_TYPE = (np.dtype(t) for t in ("<u2", "<u4", "<f4"))


class Shards(LabelledSet):
    """A folder of labelled pieces, opened for reading; arrays are mapped, not loaded.

    Raises `DatasetError`: ``not-found``, ``not-shards``, ``newer-format``, ``wrong-length`` (a file is cut).
    """

    pieces: tuple[PieceInfo, ...]
    performance_width: int
    sha256: str

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._maps: dict[str, NDArray[Any]] = {}
        self.manifest = _read_manifest(self.path)
        try:
            check_types(self.manifest, codec=str, fields=list, labels=list, pieces=list, sha256=str)
            for entry in self.manifest["labels"]:
                check_types(entry, name=str, level=str, kind=str, classes=list)
                if entry["level"] not in get_args(Level) or entry["kind"] not in get_args(Kind):
                    raise ValueError(f"a label of {entry['kind']!r} of {entry['level']!r}")
            for entry in self.manifest["pieces"]:
                check_types(entry, name=str, group=str, splits=dict, rows=int)
            self.codec = self.manifest["codec"]
            self.fields = tuple(self.manifest["fields"])
            columns = (
                LabelColumn(entry["name"], entry["level"], entry["kind"], tuple(entry["classes"]))
                for entry in self.manifest["labels"]
            )
            self.labels = {column.name: column for column in columns}
            self.pieces = tuple(PieceInfo(**entry) for entry in self.manifest["pieces"])
            self.performance_width = int(self.manifest.get("performance", 0))
            self.sha256 = self.manifest["sha256"]
            self.features_width = len(self.manifest.get("features", ()))
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged("not-shards", f"Its manifest lacks {error}", self.path / MANIFEST) from error
        self.offsets = self._offsets()
        self._files = {name: f"label{k}.bin" for k, name in enumerate(self.labels)}
        total = int(self.offsets[-1])
        self._rows = self._map(ROWS, ROW_TYPE, (total, len(self.fields)))
        self._note_index = self._map(NOTE_INDEX, INDEX_TYPE, (total,))

    def rows(self, piece: int, start: int = 0, stop: int | None = None) -> Ints:
        """Rows of a piece, or some of them [shape=(n, F), int64]."""
        return np.asarray(self._rows[self.row_slice(piece, start, stop)], np.int64)

    def note_index(self, piece: int) -> Ints:
        """Note that each row of a piece came from [shape=(n,), int64]."""
        return np.asarray(self._note_index[self.row_slice(piece)], np.int64)

    def label(self, name: str) -> NDArray[Any]:
        """Labels of all rows or of all pieces, mapped."""
        column = self.column(name)
        rows = int(self.offsets[-1]) if column.level == "note" else len(self)
        return self._map(self._files[name], column.dtype, (rows, *column.width))

    def performance(self, piece: int, start: int = 0, stop: int | None = None) -> Singles:
        """Performance inputs of rows of a piece [shape=(n, P), float32]."""
        if not self.performance_width:
            raise DatasetError("no-performance", NO_PERFORMANCE, path=self.path)
        shape = (int(self.offsets[-1]), self.performance_width)
        return np.array(self._map(PERFORMANCE, FLOAT_TYPE, shape)[self.row_slice(piece, start, stop)])

    def features(self) -> Floats | None:
        """Hand-made features of the pieces, or None."""
        width = self.features_width
        return np.asarray(self._map(FEATURES, FLOAT_TYPE, (len(self), width)), np.float64) if width else None

    def _offsets(self) -> Ints:
        path = self.path / OFFSETS
        try:
            offsets = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError) as error:
            raise _damaged("not-shards", "Its offsets cannot be read", path) from error
        rows = np.array([0, *(piece.rows for piece in self.pieces)])
        if rows.dtype == object or rows.min() < 0 or not np.array_equal(offsets, np.cumsum(rows)):
            raise _damaged("wrong-length", "offsets and manifest disagree", path)
        return np.asarray(offsets, np.int64)

    def _map(self, file: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Map a file of arrays, once."""
        if file in self._maps:
            return self._maps[file]
        path, size = self.path / file, int(np.prod(shape)) * dtype.itemsize
        actual = path.stat().st_size if path.is_file() else -1
        if actual != size:
            what = "is missing" if actual < 0 else f"has {actual} bytes instead of {size}"
            raise _damaged("wrong-length", f"A file of the data set {what}", path)
        self._maps[file] = np.memmap(path, dtype, "r", shape=shape) if size else np.zeros(shape, dtype)
        return self._maps[file]


def _damaged(reason: str, message: str, path: Path) -> DatasetError:
    return DatasetError(reason, message, path=path, hint="write it again")


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = read_json(path, most=MAX_MANIFEST)
    except OSError as error:
        message = "There is no labelled data set here (no manifest.json)"
        raise DatasetError("not-found", message, path=folder) from error
    except ValueError as error:
        raise _damaged("not-shards", "Its manifest is not JSON", path) from error
    version = manifest.get("version", 0) if isinstance(manifest, dict) else None
    if not isinstance(manifest, dict) or type(version) is not int or manifest.get("format") != FORMAT:
        raise DatasetError("not-shards", "This is not a labelled data set", path=path)
    if version > VERSION:
        message = "It was written by a newer version of this program"
        raise DatasetError("newer-format", message, path=path, hint="update it")
    return manifest
