"""`LabelledSet`: pieces with labels, read in the same way from each of the three formats on disk.

A piece has a name, a group, rows of notes and, optionally, performance inputs. A label has a name, a level
(one value a note or one a piece) and a kind (`LabelColumn`). A split gives each piece a part. Openers:

====================================================  ============  =====================================
opener                                                split         labels
====================================================  ============  =====================================
`musicbert.corpus.labelled.shards.Shards`             the pieces'   those of the tasks that it was made for
`musicbert.corpus.labelled.rating_bin.RatingBin`      ``data-bin``  ``ratings``, ``performer``
`musicbert.corpus.labelled.sentence_bin.SentenceBin`  ``data-bin``  ``label``
====================================================  ============  =====================================

A new format subclasses `LabelledSet` and has to pass ``tests/unit/corpus/labelled/test_contract.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Floats, Ints, Singles
from musicbert.corpus.labelled.pieces import Kind, Level
from musicbert.errors import DatasetError

NO_PERFORMANCE = "the set holds no performance inputs"


@dataclass(frozen=True)
class LabelColumn:
    """One label of the pieces: a row a note, or a row a piece (level ``sequence``).

    ``classes`` are stored as [shape=(rows,), int32, -1 where missing], ``multilabel`` and ``regression`` as
    [shape=(rows, C), float32, NaN where missing].
    """

    name: str
    level: Level
    kind: Kind
    classes: tuple[str, ...]  # names of the C classes or outputs
    poles: tuple[tuple[str, str], ...] = ()  # words for the low and the high end of each output, if known
    scale: str = ""  # what the numbers mean
    #: lowest and highest rating of the questionnaire, and the rating that is stored as 0, if known
    bounds: tuple[float, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type on disk."""
        return np.dtype("<i4" if self.kind == "classes" else "<f4")

    @property
    def width(self) -> tuple[int, ...]:
        """Shape of one row."""
        return () if self.kind == "classes" else (len(self.classes),)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the manifest."""
        return {"name": self.name, "level": self.level, "kind": self.kind, "classes": list(self.classes)}


@dataclass(frozen=True)
class PieceInfo:
    """Entry of a piece in the manifest (see `musicbert.corpus.labelled.pieces.LabelledPiece`)."""

    name: str
    group: str
    splits: Mapping[str, str]
    source: str
    notes: int
    rows: int  # fewer than notes where the codec dropped some
    sha256: str  # of its rows as little-endian uint16


@runtime_checkable
class LabelledSet(Protocol):
    """Pieces with labels, opened for reading; arrays are mapped where the format allows it."""

    path: Path  # folder of the set
    codec: str  # name of the encoding of the notes
    fields: tuple[str, ...]  # names of the F columns of a row
    labels: Mapping[str, LabelColumn]  # by name
    #: rows of piece i are rows ``offsets[i]`` to ``offsets[i + 1] - 1`` of the set [shape=(n + 1,), int64]
    offsets: Ints

    # cached properties are read when they are first needed; a format may have plain attributes instead

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the pieces, in order, each once."""
        return tuple(piece.name for piece in self.pieces)

    @cached_property
    def groups(self) -> dict[str, str]:
        """Group of each piece by its name."""
        return {piece.name: piece.group for piece in self.pieces}

    @cached_property
    def pieces(self) -> tuple[PieceInfo, ...]:
        """What is known of each piece, in order."""
        raise NotImplementedError

    @cached_property
    def split_names(self) -> tuple[str, ...]:
        """Names of the splits that the pieces come with, in order of appearance."""
        return tuple(dict.fromkeys(name for piece in self.pieces for name in piece.splits))

    @cached_property
    def performance_width(self) -> int:
        """Number P of performance inputs of a row; 0 where there are none."""
        raise NotImplementedError

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that training can read."""
        raise NotImplementedError

    def split(self, name: str) -> dict[str, str]:
        """Part (or fold number) of each piece of a split, by the name of the piece; empty if unknown."""
        return {piece.name: piece.splits[name] for piece in self.pieces if name in piece.splits}

    def rows(self, piece: int, start: int = 0, stop: int | None = None) -> Ints:
        """Rows ``start`` to ``stop - 1`` of a piece [shape=(n, F), int64]."""

    def note_index(self, piece: int) -> Ints:
        """Note that each row of a piece came from [shape=(n,), int64]."""

    def label(self, name: str) -> NDArray[Any]:
        """Labels of all rows or pieces (see `LabelColumn`); raises `DatasetError` (``unknown-label``)."""

    def performance(self, piece: int, start: int = 0, stop: int | None = None) -> Singles:
        """Performance inputs of rows ``start`` to ``stop - 1`` of a piece [shape=(n, P), float32].

        Raises `DatasetError` (``no-performance``).
        """

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} pieces, {int(self.offsets[-1])} rows of {self.codec})"

    @cached_property
    def index(self) -> dict[str, int]:
        """Number of each piece by its name."""
        return {name: k for k, name in enumerate(self.names)}

    @cached_property
    def lengths(self) -> Ints:
        """Rows of each piece [shape=(n,), int64]."""
        return np.diff(self.offsets)

    def column(self, name: str) -> LabelColumn:
        """Return a label by its name; raises `DatasetError` (``unknown-label``)."""
        if name not in self.labels:
            message = f"there is no label {name!r}; there are {', '.join(self.labels) or 'none'}"
            raise DatasetError("unknown-label", message, path=self.path)
        return self.labels[name]

    def note_labels(self, name: str, piece: int) -> NDArray[Any]:
        """Labels of the rows of one piece [shape=(n,) or (n, C)]; for labels of notes."""
        return np.asarray(self.label(name)[self.row_slice(piece)])

    def features(self) -> Floats | None:
        """Hand-made features of the pieces [shape=(n, K), float64], NaN where undefined; None without."""
        return None

    def row_slice(self, piece: int, start: int = 0, stop: int | None = None) -> slice:
        """Rows ``start`` to ``stop - 1`` of a piece as rows of the set."""
        begin, end = int(self.offsets[piece]), int(self.offsets[piece + 1])
        return slice(begin + start, end if stop is None else min(begin + stop, end))
