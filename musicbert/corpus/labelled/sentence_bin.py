"""Reading one part of a sentence data-bin (`musicbert.corpus.bins.binarize_sentences`) without fairseq."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.bins.databin import SPECIALS, read_dictionary, read_index, read_tokens
from musicbert.encoding.vocabulary import FIELD_OFFSETS, FIELDS
from musicbert.errors import DatasetError

__all__ = ["Notes", "SentencePart", "chosen_rows", "note_blocks", "read_part"]

Ints = NDArray[np.int64]
WIDTH = len(FIELDS)
_BLOCK = 2000


@dataclass(frozen=True, eq=False)
class SentencePart:
    """What lies beside the sequences of one part.

    Attributes
    ----------
    classes
        Names of the classes, in the order of a model's outputs.
    hot
        Labels [shape=(n, C), bool].
    ids
        Name of each sequence; None where the data have none.
    queries
        Number of the query of each sequence [shape=(n,)], or None.
    firsts
        Where the second phrase begins, in positions [shape=(n,)], or None.
    """

    classes: list[str]
    hot: NDArray[np.bool_]
    ids: list[str] | None
    queries: Ints | None
    firsts: Ints | None

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.hot)


def read_part(folder: str | PathLike[str], part: str) -> SentencePart:
    """Read the labels of a part.

    Raises
    ------
    DatasetError
        ``not-found``, ``bad-index``, ``wrong-length`` where the files do not belong together.
    """
    labels = Path(folder) / "label"
    ids = read_dictionary(labels / "dict.txt")
    names = [name for name in list(ids)[len(SPECIALS) :] if not name.startswith("madeupword")]
    sizes = read_index(labels / part).astype(np.int64)
    found = read_tokens(labels / part).astype(np.int64) - len(SPECIALS)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    known = (found >= 0) & (found < len(names))
    hot = np.zeros((len(sizes), len(names)), bool)
    hot[owner[known], found[known]] = True
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
    return SentencePart(names, hot, beside["id"], queries, firsts)


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
