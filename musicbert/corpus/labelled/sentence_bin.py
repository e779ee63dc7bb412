"""Labels of sequences (``next``, ``acc``, genre, style): `SentenceBin`, one fold of a sentence data-bin.

``FOLD/label/`` holds, beside what `musicbert.corpus.labelled.token_bin` names, the labels of each part as
fairseq-preprocess writes them (``dict.txt``, ``<part>.{bin,idx}``) and as text (``<part>.label``), and for
pairs of phrases ``<part>.group`` (number of the query) and ``<part>.first`` (where the second phrase begins).
Written by `musicbert.corpus.labelled.binarize`; read here without fairseq.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.bins.databin import SPECIALS, class_names, read_dictionary, read_index, read_tokens
from musicbert.corpus.labelled.contract import LabelColumn
from musicbert.corpus.labelled.pieces import Kind
from musicbert.corpus.labelled.token_bin import TokenBin
from musicbert.encoding.vocabulary import FIELD_OFFSETS, FIELDS
from musicbert.errors import DatasetError

__all__ = ["Notes", "SentenceBin", "SentencePart", "chosen_rows", "note_blocks", "read_part"]

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]
WIDTH = len(FIELDS)
#: What to do about a data-bin that is damaged.
BINARISE = "binarise the data again (scripts/binarize_nsp.sh, scripts/binarize_genre.sh)"
_BLOCK = 2000


class SentenceBin(TokenBin):
    """One fold of a sentence data-bin (see `TokenBin`), with the label ``label``.

    The group of a piece is its query where the data have queries, else its identifier, else its name.

    Parameters
    ----------
    path, parts
        See `TokenBin`.
    kind
        How the labels are read; if None, ``regression`` where ``outputs`` is given, ``classes`` where every
        piece has exactly one label, else ``multilabel``.
    outputs
        Numbers of a piece (regression), or outputs of a model that was made for more classes than the
        dictionary names: the others are named ``unused-<number>``.

    Raises
    ------
    DatasetError
        Those of `TokenBin` (``no-pieces`` for an empty part, ``wrong-tokens`` for other tokens) and of
        `read_part`; ``wrong-label`` where there is not one known class a piece, or not ``outputs`` numbers;
        ``class-count-mismatch`` for fewer outputs than classes.
    """

    MISSING, EMPTY, WRONG_TOKENS = "not-found", "no-pieces", "wrong-tokens"
    CHECK_NOTES = False  # these sets are large
    BINARISE = BINARISE

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        parts: Sequence[str] | None = None,
        kind: Kind | None = None,
        outputs: int | None = None,
    ) -> None:
        super().__init__(path, parts=parts)
        read = [read_part(self.path, part) for part in self.parts]
        self._read = dict(zip(self.parts, read, strict=True))
        if kind is None:
            single = all((each.counts == 1).all() and each.hot.any(1).all() for each in read)
            kind = "regression" if outputs else "classes" if single else "multilabel"
        if kind == "regression":
            if not outputs:
                raise ValueError("regression needs the number of outputs")
            names = tuple(map(str, range(outputs)))
            values = [_numbers(self.path / "label" / f"{part}.label", outputs) for part in self.parts]
        else:
            names = self._classes(read[0].classes, outputs)
            values = [self._targets(part, kind, len(names)) for part in self.parts]
        for part, each in zip(self.parts, values, strict=True):
            if len(each) != len(self.part(part)):
                message = f"{len(each)} labels for {len(self.part(part))} pieces"
                raise self._error("wrong-length", message, self.path / "label" / f"{part}.label")
        self.labels = {"label": LabelColumn("label", "sequence", kind, names)}
        self._values: NDArray[Any] = np.concatenate(values)

    def label(self, name: str) -> NDArray[Any]:
        """Labels of the pieces: [shape=(n,), int32] classes, or [shape=(n, C), float32]."""
        self.column(name)
        return self._values

    @cached_property
    def groups(self) -> dict[str, str]:
        """Query, identifier or name of each piece by its name."""
        groups: list[str] = []
        for part, each in self._read.items():
            if each.queries is None:
                groups = list(self.ids or self.names)
                break
            groups += [f"{part}-{query}" for query in each.queries.tolist()]
        return dict(zip(self.names, groups, strict=True))

    def _classes(self, names: Sequence[str], outputs: int | None) -> tuple[str, ...]:
        outputs = outputs or len(names)
        if outputs < len(names):
            message = f"{outputs} outputs, but the dictionary of the labels has {len(names)} classes"
            raise self._error("class-count-mismatch", message, self.path / "label" / "dict.txt")
        return (*names, *(f"unused-{number}" for number in range(len(names), outputs)))

    def _targets(self, part: str, kind: Kind, width: int) -> NDArray[Any]:
        read = self._read[part]
        if kind == "classes":
            wrong = np.flatnonzero((read.counts != 1) | ~read.hot.any(1))
            if len(wrong):
                message = f"Sequence {wrong[0]} of {part} has no single label that the dictionary knows"
                raise self._error("wrong-label", message, self.path / "label")
            classes: NDArray[np.int32] = read.hot.argmax(1).astype(np.int32)
            return classes
        if read.unknown:  # upstream makes the dictionary from the training part, and leaves these out too
            logger.warning("%s: %d labels are unknown to the dictionary and left out", part, read.unknown)
        hot = np.zeros((len(read), width), np.float32)
        hot[:, : read.hot.shape[1]] = read.hot
        return hot


def _numbers(path: Path, outputs: int) -> NDArray[np.float32]:
    """Numbers in place of classes, a line a piece [shape=(n, outputs), float32]."""
    try:
        rows = [
            [float(value) for value in line.split()] for line in path.read_text(encoding="utf-8").splitlines()
        ]
    except OSError as error:
        raise DatasetError("not-found", f"There are no labels: {error.strerror}", path=path) from error
    except ValueError as error:
        raise DatasetError("wrong-label", f"A label is not a number: {error}", path=path) from error
    wrong = [number for number, row in enumerate(rows, start=1) if len(row) != outputs]
    if wrong:
        raise DatasetError("wrong-label", f"Line {wrong[0]} does not hold {outputs} numbers", path=path)
    return np.array(rows, np.float32).reshape(len(rows), outputs)


@dataclass(frozen=True, eq=False)
class SentencePart:
    """Labels of one part, and what lies beside the sequences.

    Attributes
    ----------
    classes
        Names of the classes, in the order of a model's outputs.
    hot
        Labels [shape=(n, C), bool].
    counts
        Number of labels of each sequence, unknown ones included [shape=(n,)].
    unknown
        Number of labels that the dictionary lacks.
    ids
        Name of each sequence; None where the data have none.
    queries
        Number of the query of each sequence [shape=(n,)], or None.
    firsts
        Where the second phrase begins, in positions [shape=(n,)], or None.
    """

    classes: list[str]
    hot: NDArray[np.bool_]
    counts: Ints
    unknown: int
    ids: list[str] | None
    queries: Ints | None
    firsts: Ints | None

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.hot)


def read_part(folder: str | PathLike[str], part: str) -> SentencePart:
    """Read the labels of a part of one fold.

    Raises
    ------
    DatasetError
        ``not-found``, ``bad-index``, ``wrong-length`` where the files do not belong together.
    """
    labels = Path(folder) / "label"
    if not (labels / "dict.txt").is_file():
        raise DatasetError("not-found", "There is no label/dict.txt", path=labels / "dict.txt", hint=BINARISE)
    names = class_names(read_dictionary(labels / "dict.txt"))
    sizes = read_index(labels / part).astype(np.int64)
    ids = read_tokens(labels / part).astype(np.int64) - len(SPECIALS)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    known = (ids >= 0) & (ids < len(names))
    hot = np.zeros((len(sizes), len(names)), bool)
    hot[owner[known], ids[known]] = True
    count = len(read_index(Path(folder) / "input0" / part))
    beside = {suffix: _lines(labels / f"{part}.{suffix}") for suffix in ("id", "group", "first")}
    for suffix, lines in beside.items():
        if lines is not None and len(lines) != count:
            raise DatasetError(
                "wrong-length", f"{len(lines)} lines for {count} sequences", path=labels / f"{part}.{suffix}"
            )
    if len(hot) != count:
        raise DatasetError("wrong-length", f"{len(hot)} labels for {count} sequences", path=labels / part)
    queries, firsts = (
        None if beside[name] is None else np.array(beside[name], np.int64) for name in ("group", "first")
    )
    counts = sizes - 1  # </s>
    unknown = int(counts.sum() - known.sum())
    return SentencePart(names, hot, counts, unknown, beside["id"], queries, firsts)


def _lines(path: Path) -> list[str] | None:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else None


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes of successive sequences.

    Attributes
    ----------
    start, stop
        Sequences of the block.
    rows
        OctupleMIDI rows of all of them [shape=(notes, 8), int64].
    owner
        Sequence of each note, counted from ``start`` [shape=(notes,)].
    """

    start: int
    stop: int
    rows: Ints
    owner: Ints

    def __len__(self) -> int:
        """Return the number of sequences."""
        return self.stop - self.start


def chosen_rows(
    folder: str | PathLike[str], part: str, chosen: NDArray[np.int64], *, block: int = 200
) -> Iterator[list[NDArray[np.int64]]]:
    """Yield the notes of some sequences of a part, a list of them a block of ``block`` sequences.

    Parameters
    ----------
    chosen
        Numbers of the sequences [shape=(n,)]; they come in ascending order.

    Raises
    ------
    DatasetError
        Those of `note_blocks`.
    """
    wanted = set(chosen.tolist())
    for notes in note_blocks(folder, part, block=block):
        ends = np.searchsorted(notes.owner, np.arange(len(notes) + 1))
        yield [notes.rows[ends[at] : ends[at + 1]] for at in range(len(notes)) if notes.start + at in wanted]


def note_blocks(folder: str | PathLike[str], part: str, *, block: int = _BLOCK) -> Iterator[Notes]:
    """Yield the notes of a part, some sequences at a time.

    Raises
    ------
    DatasetError
        ``not-found``, ``bad-index``, ``wrong-tokens``.
    """
    prefix = Path(folder) / "input0" / part
    sizes = read_index(prefix).astype(np.int64)
    if len(sizes) == 0:
        return
    tokens = np.memmap(f"{prefix}.bin", "<u2", "r")
    ends = np.cumsum(sizes)
    for start in range(0, len(sizes), block):
        stop = min(start + block, len(sizes))
        begin = int(ends[start] - sizes[start])
        flat = np.asarray(tokens[begin : int(ends[stop - 1])], np.int64)
        if len(flat) % WIDTH:
            raise DatasetError("wrong-tokens", "The sequences are no octuples", path=prefix)
        table = flat.reshape(-1, WIDTH)
        owner = np.repeat(np.arange(stop - start), sizes[start:stop] // WIDTH)
        notes = table[:, 0] >= len(SPECIALS)
        yield Notes(start, stop, table[notes] - np.array(FIELD_OFFSETS), owner[notes])
