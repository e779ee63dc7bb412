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

Windows are a matter of training, not of the file: pieces are whole. Nothing is pickled. Verified in
``tests/unit/corpus/test_shards.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.labelled.pieces import Kind, Level
from musicbert.errors import DatasetError

__all__ = ["MANIFEST", "LabelColumn", "PieceInfo", "Shards"]

FORMAT = "musicbert-shards"
VERSION = 1
MANIFEST = "manifest.json"
ROWS, NOTE_INDEX, OFFSETS, PERFORMANCE, FEATURES = (
    "rows.bin", "note_index.bin", "offsets.npy", "performance.bin", "features.bin"
)  # fmt: skip
ROW_TYPE, INDEX_TYPE, FLOAT_TYPE, CLASS_TYPE = (np.dtype(t) for t in ("<u2", "<u4", "<f4", "<i4"))
_HINT = "write it again"


@dataclass(frozen=True)
class LabelColumn:
    """One label of the pieces.

    Attributes
    ----------
    name
        Key of `musicbert.corpus.labelled.pieces.LabelledPiece.labels`.
    level
        ``note`` (a row a note) or ``sequence`` (a row a piece).
    kind
        ``classes``: [shape=(rows,), int32, -1 where missing]. ``multilabel`` and ``regression``:
        [shape=(rows, C), float32, NaN where missing].
    classes
        Names of the C classes (outputs).
    """

    name: str
    level: Level
    kind: Kind
    classes: tuple[str, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type on disk."""
        return CLASS_TYPE if self.kind == "classes" else FLOAT_TYPE

    @property
    def width(self) -> tuple[int, ...]:
        """Shape of one row."""
        return () if self.kind == "classes" else (len(self.classes),)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the manifest."""
        return {"name": self.name, "level": self.level, "kind": self.kind, "classes": list(self.classes)}


@dataclass(frozen=True)
class PieceInfo:
    """What the manifest says about a piece.

    Attributes
    ----------
    name, group, splits, source
        See `musicbert.corpus.labelled.pieces.LabelledPiece`.
    notes, rows
        Notes of the piece, and rows (fewer where the codec drops notes).
    sha256
        Hash of its rows as they lie on disk.
    """

    name: str
    group: str
    splits: Mapping[str, str]
    source: str
    notes: int
    rows: int
    sha256: str


class Shards:
    """A folder of labelled pieces, opened for reading; arrays are mapped, not loaded.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    DatasetError
        ``not-found``, ``not-shards``, ``newer-format``, ``wrong-length`` (a file is cut).
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._maps: dict[str, NDArray[Any]] = {}
        self.manifest = _read_manifest(self.path)
        try:
            self.codec: str = self.manifest["codec"]
            self.fields: tuple[str, ...] = tuple(self.manifest["fields"])
            self.labels = {
                entry["name"]: LabelColumn(
                    entry["name"], entry["level"], entry["kind"], tuple(entry["classes"])
                )
                for entry in self.manifest["labels"]
            }
            self.pieces = tuple(PieceInfo(**entry) for entry in self.manifest["pieces"])
            self.sha256: str = self.manifest["sha256"]
        except (KeyError, TypeError) as error:
            raise DatasetError(
                "not-shards", f"Its manifest lacks {error}", path=self.path / MANIFEST, hint=_HINT
            ) from error
        self.offsets = self._offsets()
        self._files = {name: f"label{k}.bin" for k, name in enumerate(self.labels)}
        total = int(self.offsets[-1])
        self._rows = self._map(ROWS, ROW_TYPE, (total, len(self.fields)))
        self._note_index = self._map(NOTE_INDEX, INDEX_TYPE, (total,))

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.pieces)

    def __repr__(self) -> str:
        return f"Shards({len(self)} pieces, {int(self.offsets[-1])} rows of {self.codec})"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the pieces, in order."""
        return tuple(piece.name for piece in self.pieces)

    @cached_property
    def index(self) -> dict[str, int]:
        """Number of each piece by its name."""
        return {name: k for k, name in enumerate(self.names)}

    @cached_property
    def groups(self) -> dict[str, str]:
        """Group of each piece by its name."""
        return {piece.name: piece.group for piece in self.pieces}

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Rows of each piece [shape=(n,), int64]."""
        return np.diff(self.offsets)

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names of the splits that the pieces came with, in order of appearance."""
        return tuple(dict.fromkeys(name for piece in self.pieces for name in piece.splits))

    def split(self, name: str) -> dict[str, str]:
        """Part (or fold number) of each piece in a split, by the name of the piece."""
        return {piece.name: piece.splits[name] for piece in self.pieces if name in piece.splits}

    def rows(self, piece: int, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Rows of a piece, or some of them [shape=(n, F), int64]."""
        return np.asarray(self._rows[self._slice(piece, start, stop)], np.int64)

    def note_index(self, piece: int) -> NDArray[np.int64]:
        """Note that each row of a piece came from [shape=(n,), int64]."""
        return np.asarray(self._note_index[self._slice(piece)], np.int64)

    def label(self, name: str) -> NDArray[Any]:
        """Labels of all rows (or of all pieces), mapped (see `LabelColumn`).

        Raises
        ------
        DatasetError
            ``unknown-label``.
        """
        column = self.labels.get(name)
        if column is None:
            raise DatasetError(
                "unknown-label",
                f"there is no label {name!r}; there are {', '.join(self.labels) or 'none'}",
                path=self.path,
            )
        rows = int(self.offsets[-1]) if column.level == "note" else len(self)
        return self._map(self._files[name], column.dtype, (rows, *column.width))

    def note_labels(self, name: str, piece: int) -> NDArray[Any]:
        """Labels of the rows of one piece [shape=(n,) or (n, C)]."""
        return np.asarray(self.label(name)[self._slice(piece)])

    @property
    def performance_width(self) -> int:
        """Performance inputs of a row; 0 where there are none."""
        return int(self.manifest.get("performance", 0))

    def performance(self, piece: int, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Performance inputs of a piece, or of some of its rows [shape=(n, P), float32].

        Raises
        ------
        DatasetError
            ``no-performance``.
        """
        if not self.performance_width:
            raise DatasetError("no-performance", "it holds no performance inputs", path=self.path)
        shape = (int(self.offsets[-1]), self.performance_width)
        return np.array(self._map(PERFORMANCE, FLOAT_TYPE, shape)[self._slice(piece, start, stop)])

    def features(self) -> NDArray[np.float64] | None:
        """Hand-made features of the pieces [shape=(n, K), float64] (NaN rows where undefined), or None."""
        width = len(self.manifest.get("features", ()))
        return np.asarray(self._map(FEATURES, FLOAT_TYPE, (len(self), width)), np.float64) if width else None

    def _slice(self, piece: int, start: int = 0, stop: int | None = None) -> slice:
        begin, end = int(self.offsets[piece]), int(self.offsets[piece + 1])
        return slice(begin + start, end if stop is None else min(begin + stop, end))

    def _offsets(self) -> NDArray[np.int64]:
        lengths = [piece.rows for piece in self.pieces]
        try:
            offsets = np.load(self.path / OFFSETS, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DatasetError(
                "not-shards", "Its offsets cannot be read", path=self.path / OFFSETS, hint=_HINT
            ) from error
        if not np.array_equal(offsets, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])):
            raise DatasetError(
                "wrong-length", "offsets and manifest disagree", path=self.path / OFFSETS, hint=_HINT
            )
        return np.asarray(offsets, np.int64)

    def _map(self, file: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Map a file of arrays, once."""
        if file not in self._maps:
            self._maps[file] = self._opened(file, dtype, shape)
        return self._maps[file]

    def _opened(self, file: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        path, size = self.path / file, int(np.prod(shape)) * dtype.itemsize
        found = path.stat().st_size if path.is_file() else -1
        if found != size:
            what = "is missing" if found < 0 else f"has {found} bytes instead of {size}"
            raise DatasetError("wrong-length", f"A file of the data set {what}", path=path, hint=_HINT)
        return np.memmap(path, dtype, "r", shape=shape) if size else np.zeros(shape, dtype)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(
            "not-found", "There is no labelled data set here (no manifest.json)", path=folder
        ) from error
    except ValueError as error:
        raise DatasetError("not-shards", "Its manifest is no JSON", path=path, hint=_HINT) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DatasetError("not-shards", "This is no labelled data set", path=path)
    if int(manifest.get("version", 0)) > VERSION:
        raise DatasetError(
            "newer-format", "It was written by a newer version of this program", path=path, hint="update it"
        )
    return manifest
