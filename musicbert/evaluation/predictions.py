"""`TagPredictions`: what a tagger (or a baseline) said about the notes or pieces of one part of a split.

On disk one ``.npz`` (``test.npz``), never pickled, with the arrays below and ``meta``, a JSON text of the
other attributes. Outputs are logits of classes or labels, and values of a regression.

Legend: ``n`` pieces, ``N`` notes of all pieces, ``S`` segments (windows), ``C`` outputs.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.atomic import write_bytes
from musicbert.corpus.labelled.pieces import NO_CLASS, Kind, Level
from musicbert.errors import DatasetError

__all__ = ["TagPredictions", "join"]

_ARRAYS = (
    "ids", "groups", "target", "outputs", "offsets", "note_index", "segment_piece", "segment_start",
    "segment_outputs",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class TagPredictions:
    """Labels and predictions.

    Attributes
    ----------
    label
        Name of the label.
    level, kind, classes
        See `musicbert.corpus.labelled.pieces.Task`.
    ignore
        Classes that are not scored.
    ids, groups
        Names and groups of the pieces [shape=(n,), str].
    target
        Labels of the notes [shape=(N,), -1 missing] or pieces [shape=(n,)]; of several outputs
        [shape=(N or n, C), NaN missing].
    outputs
        [shape=(N or n, C), float32]. Of pieces: the vote, the mean over their segments.
    offsets
        Notes of piece i are ``offsets[i]`` to ``offsets[i + 1] - 1`` [shape=(n + 1,)]; None for pieces.
    note_index
        Note of its piece that each label belongs to [shape=(N,)]; None for pieces.
    segment_piece, segment_start, segment_outputs
        Piece of each segment, its first row, and what was said about it [shape=(S,), (S,), (S, C)]; None for
        notes.

    Raises
    ------
    ValueError
        When the shapes do not fit together.
    """

    label: str
    level: Level
    kind: Kind
    classes: tuple[str, ...]
    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    target: NDArray[Any]
    outputs: NDArray[np.float32]
    ignore: tuple[int, ...] = ()
    offsets: NDArray[np.int64] | None = None
    note_index: NDArray[np.int64] | None = None
    segment_piece: NDArray[np.int64] | None = None
    segment_start: NDArray[np.int64] | None = None
    segment_outputs: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        notes = self.level == "note"
        if notes != (self.offsets is not None):
            raise ValueError("offsets belong to labels of notes, and to these only")
        rows = len(self.ids) if self.offsets is None else int(self.offsets[-1])
        count = len(self.classes)
        shape = (rows,) if self.kind == "classes" else (rows, count)
        if len(self.groups) != len(self.ids) or (notes and len(self.offsets) != len(self.ids) + 1):  # type: ignore[arg-type]
            raise ValueError("pieces, groups and offsets differ in length")
        if self.target.shape != shape or self.outputs.shape != (rows, count):
            raise ValueError(
                f"{rows} items with {count} outputs, but targets {self.target.shape} and outputs "
                f"{self.outputs.shape}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def piece_of(self) -> NDArray[np.int64]:
        """Number of the piece of each labelled item [shape=(N or n,)]."""
        if self.offsets is None:
            return np.arange(len(self))
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Items that have a label which is not ignored [shape=(N or n,)]."""
        if self.kind == "classes":
            return (self.target != NO_CLASS) & ~np.isin(self.target, self.ignore)
        return ~np.isnan(self.target).all(axis=1)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Class of each item [shape=(N or n,)]; of several labels [shape=(..., C)], 1 where above a half."""
        if self.kind == "classes":
            return self.outputs.argmax(axis=1)
        return (self.outputs > 0).astype(np.int64)

    def segments(self) -> TagPredictions:
        """Segments in place of pieces, each with the label of its piece.

        Raises
        ------
        ValueError
            For labels of notes.
        """
        if self.segment_piece is None or self.segment_outputs is None:
            raise ValueError("these predictions have no segments")
        which = self.segment_piece
        return replace(
            self,
            ids=self.ids[which],
            groups=self.groups[which],
            target=self.target[which],
            outputs=self.segment_outputs,
            segment_piece=None,
            segment_start=None,
            segment_outputs=None,
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the ``.npz``, whole or not at all (its folder must exist)."""
        meta = {name: getattr(self, name) for name in ("label", "level", "kind", "classes", "ignore")}
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, meta=np.array(json.dumps(meta)), **arrays)
        write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> TagPredictions:
        """Read an ``.npz``.

        Raises
        ------
        DatasetError
            ``not-found``, ``bad-predictions``.
        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
            meta = json.loads(str(arrays.pop("meta")))
            meta = {**meta, "classes": tuple(meta["classes"]), "ignore": tuple(meta["ignore"])}
            return cls(**meta, **{name: value for name, value in arrays.items() if name in _ARRAYS})
        except FileNotFoundError as error:
            raise DatasetError("not-found", "There are no predictions here", path=path) from error
        except (KeyError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise DatasetError(
                "bad-predictions",
                f"These predictions cannot be read: {error}",
                path=path,
                hint="make them again",
            ) from error


def join(parts: Sequence[TagPredictions]) -> TagPredictions:
    """Put the test parts of folds side by side (a piece may occur once only).

    Raises
    ------
    ValueError
        Without parts, for parts of different labels, or where a piece is in two of them.
    """
    if not parts:
        raise ValueError("nothing to join")
    first = parts[0]
    if any((p.label, p.kind, p.classes) != (first.label, first.kind, first.classes) for p in parts):
        raise ValueError("predictions of different labels cannot be joined")
    ids = np.concatenate([part.ids for part in parts])
    if len(set(ids.tolist())) < len(ids):
        raise ValueError("a piece is in two parts")

    def put(name: str) -> Any:
        found = [getattr(part, name) for part in parts]
        return None if any(value is None for value in found) else np.concatenate(found)

    changes = {name: put(name) for name in _ARRAYS}
    starts = np.cumsum([0, *(len(part) for part in parts)])
    if first.offsets is not None:
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])  # type: ignore[arg-type]
        changes["offsets"] = np.concatenate([[0], np.cumsum(lengths)])
    if changes["segment_piece"] is not None:
        changes["segment_piece"] = np.concatenate(
            [part.segment_piece + start for part, start in zip(parts, starts, strict=False)]
        )
    return replace(first, **changes)
