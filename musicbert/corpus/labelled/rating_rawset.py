"""The raw rating data set on disk: reading one fold back, and checking that its files agree.

Layout (contract in ``docs/architecture.md``): ``FOLD/{dict.txt,classes.json}`` and for each part (train,
valid, test) ``PART.txt`` (a line of tokens a piece), ``PART.label`` (a JSON array a line: d ratings in 0-1
or null, then the class), ``PART.id`` and, where the set has performance inputs, ``PART.performance.npy``.
"""

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from musicbert.annotation.folds import PARTS
from musicbert.arrays import Floats, Ints, Singles
from musicbert.corpus.bins.databin import check_dictionary
from musicbert.corpus.bins.performance import open_performance
from musicbert.corpus.files.folders import read_whole
from musicbert.corpus.labelled.rating_bin import parse_ratings, read_classes
from musicbert.encoding.vocabulary import N_FIELDS
from musicbert.errors import DatasetError

REMAKE = "make the raw data set again with gen_xai.py"


@dataclass(frozen=True, eq=False)
class RawPart:
    """One part (train, valid or test) of a fold."""

    ids: list[str]  # names of the pieces, in the order of the lines
    labels: Floats  # ratings [shape=(n, d), 0-1, NaN where there is none]
    class_of: Ints  # class of each piece [shape=(n,)]
    tokens: Ints  # tokens of each line, the seven closing ``</s>`` included [shape=(n,)]
    performance: Singles | None  # performance inputs [shape=(notes of the part, P)]

    @property
    def notes(self) -> Ints:
        """Notes of each piece [shape=(n,)]: a line holds 8 tokens a note and 15 special ones."""
        return (self.tokens + 1) // N_FIELDS - 2


def _error(reason: str, message: str, path: Path) -> DatasetError:
    return DatasetError(reason, message, path=path, hint=REMAKE)


def read_part(folder: str | PathLike[str], part: str) -> RawPart:
    """Read one part of a fold.

    Raises `DatasetError`: ``not-found``, ``wrong-lines`` (text, labels and ids differ in number),
    ``bad-text``, ``bad-label``, ``bad-id``, ``bad-performance`` (not finite, or not one row a note).
    """
    folder = Path(folder)
    text, label_lines, ids = (_lines(folder / f"{part}.{suffix}") for suffix in ("txt", "label", "id"))
    if not len(text) == len(label_lines) == len(ids):
        message = f"{len(text)} lines of text, {len(label_lines)} of labels and {len(ids)} ids"
        raise _error("wrong-lines", message, folder / f"{part}.label")
    tokens = np.array([len(line.split()) for line in text], np.int64)
    odd = np.flatnonzero((tokens + 1) % N_FIELDS | (tokens < 3 * N_FIELDS - 1))
    if len(odd):
        message = f"Line {odd[0] + 1} is not a sequence of whole notes"
        raise _error("bad-text", message, folder / f"{part}.txt")
    labels, class_of = parse_ratings(label_lines, folder / f"{part}.label", hint=REMAKE)
    if len(set(ids)) < len(ids) or "" in ids:
        raise _error("bad-id", "An id is empty or occurs twice", folder / f"{part}.id")
    raw = RawPart(ids, labels, class_of, tokens, None)
    path = folder / f"{part}.performance.npy"
    if not path.exists():
        return raw
    inputs = open_performance(path, notes=int(raw.notes.sum()))
    if not np.isfinite(inputs).all():
        raise _error("bad-performance", "A performance input is not finite", path)
    return replace(raw, performance=inputs)


def check_fold(folder: str | PathLike[str]) -> dict[str, RawPart]:
    """Read the parts of a fold and check that its files agree with one another.

    Raises `DatasetError`: see `read_part`; also ``wrong-dictionary``, ``bad-classes`` (missing, or labels of
    another width or with unknown classes), ``leak`` (a piece in two parts), ``bad-performance`` (in some
    parts only).
    """
    folder = Path(folder)
    check_dictionary(folder / "dict.txt", hint=REMAKE)
    schema = read_classes(folder / "classes.json", hint=REMAKE)
    classes, dimensions = len(schema.classes), len(schema.dimensions)
    names = [part for part in PARTS if part != "valid" or (folder / "valid.txt").exists()]
    parts = {name: read_part(folder, name) for name in names}
    seen: dict[str, str] = {}
    for name, part in parts.items():
        if part.labels.shape[1] != dimensions or ((part.class_of < 0) | (part.class_of >= classes)).any():
            message = (
                f"Labels of {part.labels.shape[1]} dimensions or their classes are not those of classes.json "
                f"({dimensions} dimensions, {classes} classes)"
            )
            raise _error("bad-classes", message, folder / f"{name}.label")
        for piece in part.ids:
            if piece in seen:
                raise _error("leak", f"{piece} is in {seen[piece]} and in {name}", folder)
            seen[piece] = name
    widths = {None if part.performance is None else part.performance.shape[1] for part in parts.values()}
    if len(widths) > 1:
        raise _error("bad-performance", "The parts differ in their performance inputs", folder)
    return parts


def _lines(path: Path) -> list[str]:
    try:
        text = read_whole(path, "The file", hint=REMAKE).decode("utf-8")  # line ends as they are
    except UnicodeDecodeError as error:
        raise _error("bad-text", "This is not UTF-8 text", path) from error
    if not text.endswith("\n"):
        raise _error("bad-text", "The file is empty or its last line is cut", path)
    return text[:-1].split("\n")
