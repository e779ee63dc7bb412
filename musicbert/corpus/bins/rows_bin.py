r"""Rows of whole pieces for pre-training, in fairseq's memory-mapped format: any codec, one item a piece.

A folder holds ``<split>.bin`` and ``<split>.idx`` (`musicbert.corpus.bins.databin`; an item is the ``n * F``
numbers of a piece's rows, uint16) and ``meta.json``: ``{"format": "musicbert-rows", "version": 1, "codec":
"cp", "fields": ["bar", ...]}``. Crops, noise and targets are made in training, so one file serves every
objective. Labelled pieces have a format of their own (`musicbert.corpus.labelled.shards`): labels, names
and note indices that pre-training does not need, for thousands of pieces rather than millions.
"""

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Ints
from musicbert.atomic import check_types, read_json, write_json
from musicbert.corpus.bins.databin import read_index, write_indexed_dataset
from musicbert.errors import DatasetError
from musicbert.objectives.note_fields import note_fields

META = "meta.json"
_FORMAT, _VERSION = "musicbert-rows", 1


def write_meta(folder: str | PathLike[str], codec: str, **more: Any) -> None:
    """Write ``meta.json`` of a folder; ``more`` is for people: source, options, counts."""
    head = {"format": _FORMAT, "version": _VERSION, "codec": codec, "fields": note_fields(codec).names}
    write_json(Path(folder) / META, {**head, **more})


def read_meta(folder: str | PathLike[str]) -> dict[str, Any]:
    """Read ``meta.json`` of a folder; raises `DatasetError` (``not-found``, ``not-rows``)."""
    path = Path(folder) / META
    try:
        meta = read_json(path)
        check_types(meta, format=str, version=int, codec=str, fields=list)
        if meta["format"] != _FORMAT or int(meta["version"]) > _VERSION:
            raise ValueError(f"format {meta['format']!r}, version {meta['version']!r}")
        if tuple(meta["fields"]) != note_fields(meta["codec"]).names:
            raise ValueError(f"columns {meta['fields']} of {meta['codec']!r}")
    except OSError as error:
        hint = "write it with: musicbert build MIDI --encoding cp --output FOLDER"
        raise DatasetError("not-found", f"There is no {META}", path=path, hint=hint) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError("not-rows", f"It does not describe rows of notes: {error}", path=path) from error
    checked: dict[str, Any] = meta
    return checked


def write_rows(pieces: Iterable[NDArray[np.integer]], prefix: str | PathLike[str], codec: str) -> int:
    """Write the pieces of one split, each [shape=(n, F)], to ``prefix.{bin,idx}``; return their number.

    Raises `ValueError` (rows of another shape, or a value out of range).
    """
    values = np.asarray(note_fields(codec).values)

    def sequences() -> Iterator[NDArray[np.integer]]:
        for number, rows in enumerate(pieces):
            if rows.ndim != 2 or rows.shape[1] != len(values):
                raise ValueError(f"piece {number} has rows of shape {rows.shape}, not (n, {len(values)})")
            if len(rows) and ((rows < 0).any() or (rows >= values).any()):
                raise ValueError(f"piece {number} holds a value outside the columns of {codec}")
            yield rows.reshape(-1)

    return write_indexed_dataset(sequences(), prefix)


def write_rows_bin(
    splits: Mapping[str, Iterable[NDArray[np.integer]]], folder: str | PathLike[str], codec: str, **more: Any
) -> dict[str, int]:
    """Write a whole folder, ``meta.json`` last; returns the pieces of each split (see `write_rows`)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    counts = {split: write_rows(pieces, folder / split, codec) for split, pieces in splits.items()}
    write_meta(folder, codec, pieces=counts, **more)
    return counts


class RowsBin:
    """Pieces of one split, mapped and not loaded.

    Raises `DatasetError`: as `read_meta` and `read_index`; ``wrong-length`` (an item is not whole rows).
    """

    def __init__(self, folder: str | PathLike[str], split: str) -> None:
        self.meta = read_meta(folder)
        self.fields = note_fields(self.meta["codec"])
        prefix = Path(folder) / split
        sizes = read_index(prefix)
        if (sizes % len(self.fields)).any():
            message = f"Its items are not rows of {len(self.fields)} numbers"
            raise DatasetError("wrong-length", message, path=prefix)
        #: notes of each piece [shape=(pieces,), int64]
        self.lengths = sizes.astype(np.int64) // len(self.fields)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        data = Path(f"{prefix}.bin")
        shape = (int(self._starts[-1]), len(self.fields))
        self._rows: NDArray[np.uint16] = (
            np.memmap(data, "<u2", mode="r", shape=shape) if shape[0] else np.zeros(shape, np.uint16)
        )

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.lengths)

    def rows(self, piece: int, start: int = 0, stop: int | None = None) -> Ints:
        """Rows `start` to `stop` of a piece [shape=(n, F), int64]."""
        length = int(self.lengths[piece])
        stop = length if stop is None else min(stop, length)
        first = int(self._starts[piece])
        return np.asarray(self._rows[first + start : first + stop], np.int64)
