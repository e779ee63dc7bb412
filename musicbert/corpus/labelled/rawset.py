"""The raw rating data set on disk: reading one fold back, and checking that its files agree.

Layout (contract in ``docs/architecture.md``): ``FOLD/{dict.txt,classes.json}`` and for each part (train,
valid, test) ``PART.txt`` (a line of tokens a piece), ``PART.label`` (a JSON array a line: d ratings in 0-1
or null, then the class), ``PART.id`` and, where the set has performance inputs, ``PART.performance.npy``.
Verified in ``tests/unit/corpus/test_rawset.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from musicbert.annotation.folds import PARTS
from musicbert.arrays import Floats, Ints, Singles
from musicbert.corpus.bins.databin import check_dictionary
from musicbert.corpus.bins.performance import open_performance
from musicbert.corpus.labelled.rating_bin import parse_ratings, read_classes
from musicbert.encoding.vocabulary import FIELDS
from musicbert.errors import DatasetError

__all__ = ["FoldSummary", "RawPart", "check_fold", "read_part"]

WIDTH = len(FIELDS)
_REMAKE = "make the raw data set again with gen_xai.py"


@dataclass(frozen=True, eq=False)
class RawPart:
    """One part (train, valid or test) of a fold.

    Attributes
    ----------
    ids
        Names of the pieces, in the order of the lines.
    labels
        Ratings [shape=(n, d), float64, 0-1, NaN where there is none].
    class_of
        Class of each piece [shape=(n,), int64].
    tokens
        Tokens of each line, the seven closing ``</s>`` included [shape=(n,), int64].
    performance
        Performance inputs [shape=(notes of the part, P), float32], or None.
    """

    ids: list[str]
    labels: Floats
    class_of: Ints
    tokens: Ints
    performance: Singles | None

    @property
    def notes(self) -> Ints:
        """Notes of each piece [shape=(n,), int64]: a line holds 8 tokens a note and 15 special ones."""
        return (self.tokens + 1) // WIDTH - 2


@dataclass(frozen=True)
class FoldSummary:
    """What `check_fold` found: pieces and notes of each part that is there, and the label's dimensions."""

    pieces: dict[str, int]
    notes: dict[str, int]
    dimensions: int
    performance: bool


def read_part(folder: str | PathLike[str], part: str) -> RawPart:
    """Read one part of a fold.

    Raises
    ------
    DatasetError
        ``not-found``, ``wrong-lines`` (text, labels and ids differ in number), ``bad-text``, ``bad-label``,
        ``bad-id``, ``bad-performance`` (not one row a note).
    """
    folder = Path(folder)
    text, label_lines, ids = (_lines(folder / f"{part}.{suffix}") for suffix in ("txt", "label", "id"))
    if not len(text) == len(label_lines) == len(ids):
        raise DatasetError(
            "wrong-lines",
            f"{len(text)} lines of text, {len(label_lines)} of labels and {len(ids)} ids",
            path=folder / f"{part}.label",
            hint=_REMAKE,
        )
    tokens = np.array([len(line.split()) for line in text], np.int64)
    odd = np.flatnonzero((tokens + 1) % WIDTH | (tokens < 3 * WIDTH - 1))
    if len(odd):
        raise DatasetError(
            "bad-text",
            f"Line {odd[0] + 1} is no sequence of whole notes",
            path=folder / f"{part}.txt",
            hint=_REMAKE,
        )
    labels, class_of = parse_ratings(label_lines, folder / f"{part}.label", hint=_REMAKE)
    if len(set(ids)) < len(ids) or "" in ids:
        raise DatasetError(
            "bad-id", "An id is empty or occurs twice", path=folder / f"{part}.id", hint=_REMAKE
        )
    part_of = RawPart(ids, labels, class_of, tokens, None)
    performance = _performance(folder / f"{part}.performance.npy", int(part_of.notes.sum()))
    return replace(part_of, performance=performance)


def check_fold(folder: str | PathLike[str]) -> FoldSummary:
    """Check that the files of a fold agree with one another.

    Raises
    ------
    DatasetError
        See `read_part`; also ``wrong-dictionary``, ``bad-classes`` (missing, or labels of another
        width or with unknown classes), ``leak`` (a piece in two parts), ``bad-performance`` (in some parts
        only).
    """
    folder = Path(folder)
    check_dictionary(folder / "dict.txt", hint=_REMAKE)
    schema = read_classes(folder / "classes.json", hint=_REMAKE)
    classes, dimensions = len(schema.classes), len(schema.dimensions)
    names = [part for part in PARTS if part != "valid" or (folder / "valid.txt").exists()]
    parts = {name: read_part(folder, name) for name in names}
    seen: dict[str, str] = {}
    for name, part in parts.items():
        if part.labels.shape[1] != dimensions or not all(0 <= each < classes for each in part.class_of):
            raise DatasetError(
                "bad-classes",
                f"Labels of {part.labels.shape[1]} dimensions or their classes are not those of classes.json "
                f"({dimensions} dimensions, {classes} classes)",
                path=folder / f"{name}.label",
                hint=_REMAKE,
            )
        for each in part.ids:
            if each in seen:
                raise DatasetError(
                    "leak", f"{each} is in {seen[each]} and in {name}", path=folder, hint=_REMAKE
                )
            seen[each] = name
    widths = {None if part.performance is None else part.performance.shape[1] for part in parts.values()}
    if len(widths) > 1:
        raise DatasetError(
            "bad-performance", "The parts differ in their performance inputs", path=folder, hint=_REMAKE
        )
    return FoldSummary(
        {name: len(part.ids) for name, part in parts.items()},
        {name: int(part.notes.sum()) for name, part in parts.items()},
        dimensions,
        widths != {None},
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError("not-found", f"Missing: {error.strerror}", path=path, hint=_REMAKE) from error


def _lines(path: Path) -> list[str]:
    try:
        text = _bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError("bad-text", "This is not UTF-8 text", path=path, hint=_REMAKE) from error
    if not text.endswith("\n"):
        raise DatasetError("bad-text", "The file is empty or its last line is cut", path=path, hint=_REMAKE)
    return text[:-1].split("\n")


def _performance(path: Path, notes: int) -> Singles | None:
    if not path.exists():
        return None
    inputs = open_performance(path, notes=notes)
    if not np.isfinite(inputs).all():
        raise DatasetError("bad-performance", "A performance input is not finite", path=path, hint=_REMAKE)
    return inputs
