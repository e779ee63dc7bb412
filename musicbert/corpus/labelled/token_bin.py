"""`TokenBin`: pieces of one fold of a data-bin, read without fairseq; what both kinds of data-bin share.

``FOLD/input0/`` holds ``dict.txt`` and ``<part>.{bin,idx}`` (an item a piece: ids of OctupleMIDI between an
octuple of ``<s>`` and one of ``</s>``). ``FOLD/label/`` holds the labels and, optionally, ``<part>.id`` (a
name a line), ``FOLD/performance/<part>.performance.npy`` the optional performance inputs.

A piece is named by the ``.id`` file, else ``<part>-<number>``. A name that occurs again (windows of one
piece; a valid part that repeats the test part, as published) is followed by ``#2``, ``#3`` and so on, counted
over train, test, valid, so that pieces of the test part keep their names.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicbert.annotation.folds import PARTS
from musicbert.arrays import Ints, Singles
from musicbert.corpus.bins.databin import read_dictionary, read_index
from musicbert.corpus.bins.performance import open_performance, performance_path, performance_width
from musicbert.corpus.labelled.contract import NO_PERFORMANCE, LabelledSet, PieceInfo
from musicbert.encoding.vocabulary import BOS, EOS, FIELD_OFFSETS, FIELD_SIZES, FIELDS, N_FIELDS, TOKENS
from musicbert.errors import DatasetError

#: Name of the split into the parts of the data-bin.
SPLIT = "data-bin"
#: Pieces whose notes are checked at once.
_BLOCK = 2000
#: First id of each field, and the id after its last.
_LOWEST = np.array(FIELD_OFFSETS, np.uint16)
_HIGHEST = _LOWEST + np.array(FIELD_SIZES, np.uint16)


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes of successive pieces."""

    start: int  # number of the first piece
    stop: int
    rows: Ints  # of all of them [shape=(notes, 8)]
    owner: Ints  # piece of each note, counted from ``start`` [shape=(notes,)]

    def __len__(self) -> int:
        """Return the number of pieces."""
        return self.stop - self.start


class TokenBin(LabelledSet):
    """Pieces of one fold of a data-bin, without labels; ``parts``: those to open, all if None.

    Raises `DatasetError`: ``not-found``, ``wrong-dictionary``, `MISSING`, `EMPTY`, `WRONG_TOKENS`,
    ``bad-index``, ``wrong-length`` (identifiers). Performance inputs are checked when they are first read.
    """

    codec = "octuple"
    fields = FIELDS
    split_names = (SPLIT,)
    #: Error reasons: a part is missing, a part has no piece, an item is not notes.
    MISSING, EMPTY, WRONG_TOKENS = "missing-split", "empty-split", "wrong-dictionary"
    #: Whether opening checks every note, not only the octuples around the notes of a piece.
    CHECK_NOTES = True
    #: What to do about a data-bin that is damaged.
    BINARISE = "binarise the data again"

    def __init__(self, path: str | PathLike[str], *, parts: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self._check_dictionary()
        folder = self.path / "input0"
        self.parts = tuple(parts or (part for part in PARTS if (folder / f"{part}.idx").exists()))
        if not self.parts:
            raise self._error(self.MISSING, "The data-bin has no part", folder)
        sizes = [self._sizes(part, required=parts is not None) for part in self.parts]
        #: pieces of part k are ``starts[k]`` to ``starts[k + 1] - 1``
        self.starts = np.cumsum([0, *map(len, sizes)])
        self.offsets = np.cumsum([0, *(np.concatenate(sizes) // N_FIELDS - 2)], dtype=np.int64)
        self._tables = list(map(self._open, self.parts, sizes))
        ids = [self.lines(part, "id") for part in self.parts]
        #: names as in the ``.id`` files; None where a part has none
        self.ids = None if None in ids else [name for part_ids in ids for name in part_ids or ()]

    def part(self, name: str) -> range:
        """Numbers of the pieces of a part; raises `DatasetError` (`MISSING`)."""
        if name not in self.parts:
            raise self._error(self.MISSING, f"The data-bin has no part {name!r}", self.path / "input0" / name)
        at = self.parts.index(name)
        return range(int(self.starts[at]), int(self.starts[at + 1]))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the pieces, in order."""
        given = self.ids or [f"{part}-{at}" for part in self.parts for at in range(len(self.part(part)))]
        names, count, taken = list(given), Counter[str](), set(given)
        for part in sorted(self.parts, key=("train", "test", "valid").index):
            for piece in self.part(part):
                name = given[piece]
                count[name] += 1
                while count[name] > 1 and (new := f"{name}#{count[name]}") in taken:
                    count[name] += 1
                if count[name] > 1:
                    names[piece] = new
        return tuple(names)

    @cached_property
    def groups(self) -> dict[str, str]:
        """Group of each piece by its name."""
        return dict(zip(self.names, self.ids or self.names, strict=True))

    @cached_property
    def pieces(self) -> tuple[PieceInfo, ...]:
        """What is known of each piece; reads all rows for their hashes."""
        parts = self.split(SPLIT)
        return tuple(
            PieceInfo(
                name,
                self.groups[name],
                {SPLIT: parts[name]},
                "",
                int(self.lengths[piece]),
                int(self.lengths[piece]),
                hashlib.sha256(self.rows(piece).astype("<u2").tobytes()).hexdigest(),
            )
            for piece, name in enumerate(self.names)
        )

    @cached_property
    def sha256(self) -> str:
        """Hash of the files that training can read."""
        digest = hashlib.sha256()
        for folder in ("input0", "label", "performance"):
            patterns = (*(f"{part}.*" for part in self.parts), "*.json", "dict.txt")
            for file in sorted(path for glob in patterns for path in (self.path / folder).glob(glob)):
                digest.update(f"{folder}/{file.name}".encode())
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()

    def split(self, name: str) -> dict[str, str]:
        """Part of each piece of the split `SPLIT`."""
        if name != SPLIT:
            return {}
        parts = np.repeat(self.parts, np.diff(self.starts)).tolist()
        return dict(zip(self.names, parts, strict=True))

    def rows(self, piece: int, start: int = 0, stop: int | None = None) -> Ints:
        """Rows of a piece, or some of them [shape=(n, 8), int64]."""
        at, row = self._place(piece)
        length = int(self.lengths[piece])
        stop = length if stop is None else min(stop, length)
        ids: Ints = np.asarray(self._tables[at][row + start : row + stop], np.int64)
        return ids - np.array(FIELD_OFFSETS, np.int64)

    def blocks(self, size: int = _BLOCK) -> Iterator[Notes]:
        """Yield the notes of all pieces, at most ``size`` pieces of one part at a time."""
        for part in self.parts:
            pieces = self.part(part)
            for start in range(pieces.start, pieces.stop, size):
                stop = min(start + size, pieces.stop)
                lengths = self.lengths[start:stop]
                at, first = self._place(start)
                octuples = self._tables[at][first - 1 : first - 1 + int((lengths + 2).sum())]
                notes = np.ones(len(octuples), bool)
                ends = np.cumsum(lengths + 2)
                notes[ends - 1] = notes[ends - lengths - 2] = False
                rows = np.asarray(octuples[notes], np.int64) - np.array(FIELD_OFFSETS)
                yield Notes(start, stop, rows, np.repeat(np.arange(stop - start), lengths))

    def note_index(self, piece: int) -> Ints:
        """0, 1, ...: every note has a row [shape=(n,), int64]."""
        return np.arange(self.lengths[piece], dtype=np.int64)

    @cached_property
    def performance_width(self) -> int:
        """Number of performance inputs of a row, else 0; raises `DatasetError` (``bad-performance``)."""
        try:
            return performance_width(self.path)
        except DatasetError as error:
            if error.reason != "not-found":
                raise
            return 0

    def performance(self, piece: int, start: int = 0, stop: int | None = None) -> Singles:
        """Performance inputs of rows of a piece [shape=(n, P), float32]."""
        if not self.performance_width:
            raise DatasetError("no-performance", NO_PERFORMANCE, path=self.path)
        cut = self.row_slice(piece, start, stop)
        at = self._part_of(piece)
        first = int(self.offsets[self.starts[at]])
        return np.array(self._performance[at][cut.start - first : cut.stop - first])

    def lines(self, part: str, suffix: str) -> list[str] | None:
        """Lines of ``label/<part>.<suffix>``; None without the file; raises ``wrong-length``."""
        path = self.path / "label" / f"{part}.{suffix}"
        if not path.is_file():
            return None
        text = path.read_text(encoding="utf-8")
        lines = [stripped for line in text.split("\n") if (stripped := line.strip())]
        if len(lines) != len(self.part(part)):
            raise self._error("wrong-length", f"{len(lines)} lines for {len(self.part(part))} pieces", path)
        return lines

    def _error(self, reason: str, message: str, path: Path) -> DatasetError:
        return DatasetError(reason, message, path=path, hint=self.BINARISE)

    def _part_of(self, piece: int) -> int:
        return int(np.searchsorted(self.starts, piece, side="right")) - 1

    def _place(self, piece: int) -> tuple[int, int]:
        """Part of a piece, and the place of its first note among the octuples of the part."""
        at = self._part_of(piece)
        first = int(self.starts[at])
        before = int(self.offsets[piece] - self.offsets[first]) + 2 * (piece - first)
        return at, before + 1

    def _check_dictionary(self) -> None:
        path = self.path / "input0" / "dict.txt"
        if not path.is_file():
            message = "There is no data-bin here (no input0/dict.txt)"
            hint = "give the folder of one fold, such as xai_data_bin_apex_reg_cls/0"
            raise DatasetError("not-found", message, path=self.path, hint=hint)
        if tuple(read_dictionary(path)) not in (TOKENS, TOKENS[:-1]):
            raise self._error("wrong-dictionary", "This is not the dictionary of OctupleMIDI", path)

    def _sizes(self, part: str, *, required: bool) -> Ints:
        """Tokens of each piece of a part."""
        prefix = self.path / "input0" / part
        if not Path(f"{prefix}.idx").exists():
            raise self._error(self.MISSING, f"The data-bin has no part {part!r}", prefix)
        sizes = read_index(prefix).astype(np.int64)
        if required and not len(sizes):
            raise self._error(self.EMPTY, f"The part {part!r} has no piece", prefix)
        wrong = np.flatnonzero((sizes % N_FIELDS != 0) | (sizes < 3 * N_FIELDS))
        if len(wrong):
            raise self._not_notes(int(wrong[0]), prefix)
        return sizes

    def _open(self, part: str, sizes: Ints) -> NDArray[np.uint16]:
        """Map the octuples of a part [shape=(octuples, 8), uint16], and check them."""
        if not len(sizes):
            return np.zeros((0, N_FIELDS), np.uint16)
        prefix = self.path / "input0" / part
        table: NDArray[np.uint16] = np.memmap(f"{prefix}.bin", "<u2", "r").reshape(-1, N_FIELDS)
        ends = np.cumsum(sizes // N_FIELDS)
        begins = ends - sizes // N_FIELDS
        wrong = (table[begins] != BOS).any(1) | (table[ends - 1] != EOS).any(1)
        for first in range(0, len(sizes) if self.CHECK_NOTES else 0, _BLOCK):
            block = slice(first, first + _BLOCK)
            octuples = np.asarray(table[begins[first] : ends[block][-1]])
            notes = ((octuples >= _LOWEST) & (octuples < _HIGHEST)).all(1)
            counts = np.add.reduceat(notes, begins[block] - begins[first], dtype=np.int64)
            wrong[block] |= counts != sizes[block] // N_FIELDS - 2
        if wrong.any():
            raise self._not_notes(int(wrong.argmax()), prefix)
        return table

    def _not_notes(self, piece: int, prefix: Path) -> DatasetError:
        message = f"Item {piece} is not whole notes of this dictionary between <s> and </s>"
        return self._error(self.WRONG_TOKENS, message, prefix.with_name(f"{prefix.name}.bin"))

    @cached_property
    def _performance(self) -> list[Singles]:
        notes = np.diff(self.offsets[self.starts])
        return [
            open_performance(performance_path(self.path, part), notes=int(count))
            for part, count in zip(self.parts, notes, strict=True)
        ]
