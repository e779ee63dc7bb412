"""Tables of ratings in published formats: XAI-music's ``total.csv`` and PercePiano's ``total_2rounds.csv``.

Those of other studies are read by `musicbert.annotation.study.read` into the same `RatingTable`.

One row is one annotator's answers about one segment: ``user, dataID, filename, Question_..., message``, as
RFC 4180 CSV whose messages hold line breaks. Ratings are 1..7. Blank means "not asked" and 0 "don't know";
PercePiano turned eight questions round (x -> 8 - x), so there "don't know" is 8 (one of its rows also holds
9s). The table keeps what the file says; the rules of `musicbert.annotation.labels` decide what to do with it.

Verified in ``tests/unit/annotation/test_table.py``.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Literal

import numpy as np

from musicbert.annotation.bounds import check_cells
from musicbert.annotation.dimensions import Dimension, Format, RatingSet, rating_set
from musicbert.annotation.files import read_whole, sha256
from musicbert.annotation.names import cell_name, cell_number, parse_segment
from musicbert.arrays import Bools, Floats, Ints
from musicbert.errors import RatingError

Duplicates = Literal["auto", "error", "keep", "drop"]


@dataclass(frozen=True, eq=False)
class RatingTable:
    """Ratings as columns: n rows of q questions.

    ``segments`` and ``users`` come in order of first appearance, and ``segment_of``, ``user_of`` [shape=(n,),
    int64] are indices into them; ``data_ids`` is the number of the recording of each row. ``ratings``
    [shape=(n, q), float64] are what the cells say: numbers of the scale, others for no answer, NaN for blank.
    ``dropped_duplicates`` counts the rows that `without_duplicates` left out. ``groups`` (column -> segment
    -> group) and ``performers`` (by segment) are None where the names of segments say them; ``notes`` tell
    how the table was read, ``reading`` holds the options (`musicbert.annotation.study.answers.StudyOptions`).
    """

    study: RatingSet
    segments: tuple[str, ...]
    segment_of: Ints
    users: tuple[str, ...]
    user_of: Ints
    data_ids: tuple[str, ...]
    ratings: Floats
    dimensions: tuple[Dimension, ...]
    path: str = ""
    digest: str = ""
    dropped_duplicates: int = 0
    groups: Mapping[str, Mapping[str, str]] | None = None
    performers: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()
    reading: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.segment_of)

    @property
    def format(self) -> Format:
        """Name of the study that the ratings are from."""
        return self.study.name

    def columns(self, dimensions: Sequence[Dimension]) -> Floats:
        """Raw ratings of some questions [shape=(n, d)].

        Raises `RatingError`: ``wrong-columns`` when the file lacks one of them.
        """
        column_of = {dimension.column: i for i, dimension in enumerate(self.dimensions)}
        missing = [dimension.column for dimension in dimensions if dimension.column not in column_of]
        if missing:
            raise RatingError(
                "wrong-columns",
                f"the table has no column {', '.join(missing[:4])}{' ...' if len(missing) > 4 else ''}",
                path=self.path,
                hint="choose other columns, or check the header",
            )
        return self.ratings[:, [column_of[dimension.column] for dimension in dimensions]]

    def duplicate_rows(self) -> Bools:
        """Rows whose (user, dataID) occurred before [shape=(n,), bool]."""
        seen: set[tuple[int, str]] = set()
        again = np.zeros(len(self), dtype=bool)
        for i, key in enumerate(zip(self.user_of.tolist(), self.data_ids, strict=True)):
            again[i] = key in seen
            seen.add(key)
        return again

    def without_duplicates(self) -> RatingTable:
        """The table with each (user, dataID) once.

        Raises `RatingError`: ``conflicting-duplicates`` when copies disagree.
        """
        again = self.duplicate_rows()
        if not again.any():
            return self
        first: dict[tuple[int, str], int] = {}
        for i, key in enumerate(zip(self.user_of.tolist(), self.data_ids, strict=True)):
            j = first.setdefault(key, i)
            same = np.array_equal(self.ratings[i], self.ratings[j], equal_nan=True)
            if not same or self.segment_of[i] != self.segment_of[j]:
                raise RatingError(
                    "conflicting-duplicates",
                    f"user {self.users[key[0]]} rated dataID {key[1]} twice, with different answers",
                    path=self.path,
                    hint="keep one of the two rows",
                )
        keep = ~again
        return replace(
            self,
            segment_of=self.segment_of[keep],
            user_of=self.user_of[keep],
            data_ids=tuple(name for name, kept in zip(self.data_ids, keep.tolist(), strict=True) if kept),
            ratings=self.ratings[keep],
            dropped_duplicates=self.dropped_duplicates + int(again.sum()),
        )


def read_ratings(
    path: str | PathLike[str], *, duplicates: Duplicates = "auto", preset: str | None = None
) -> RatingTable:
    """Read a table of ratings in a published format: that whose columns it has, all of them, or ``preset``.

    ``path``: the CSV file (UTF-8); ``duplicates``: what to do with a second row of the same (user, dataID):
    ``error``, ``keep``, ``drop`` (an error where the two disagree), or ``auto``: ``error`` for XAI-music,
    ``keep`` for PercePiano, whose published labels count 2,198 rows twice.
    Raises `RatingError`: ``not-found``, ``empty-file``, ``damaged``, ``wrong-columns``, ``not-a-number``,
    ``out-of-range``, ``duplicate-rating``, ``conflicting-duplicates``, ``bad-name``,
    ``contradiction`` (a dataID with two file names).
    """
    rows, lines, digest = _read_rows(path)
    header = rows[0]
    try:
        ratings = rating_set(header, preset)
    except RatingError as error:
        raise RatingError(error.reason, error.message, path=path, hint=error.hint) from None
    known = {dimension.column: dimension for dimension in ratings.columns["full"]}
    missing = [name for name in ratings.keys if name not in header]
    questions = [(i, known[name]) for i, name in enumerate(header) if name in known]
    if missing or not questions:
        lacks = f"no column {', '.join(missing)}" if missing else "no column Question_..."
        raise RatingError(
            "wrong-columns",
            f"the table has {lacks}",
            path=path,
            hint=f"expected {', '.join((*ratings.keys, *known))[:60]} ...; found {', '.join(header[:4])} ...",
        )
    if len({dimension.column for _, dimension in questions}) != len(questions):
        raise RatingError("wrong-columns", "a question has two columns", path=path, hint="check the header")
    body = rows[1:]
    user_at, data_at, file_at = (header.index(name) for name in ratings.keys)
    ids: dict[str, str] = {}
    for name, line in zip((row[file_at] for row in body), lines[1:], strict=True):
        if name not in ids:
            try:
                ids[name] = parse_segment(name).id
            except RatingError as error:
                raise RatingError(
                    error.reason, f"line {line}: {error.message}", path=path, hint=error.hint
                ) from None
    segments, segment_of = codes_of([ids[row[file_at]] for row in body])
    users, user_of = codes_of([cell_name(row[user_at]) for row in body])
    table = RatingTable(
        study=ratings,
        segments=segments,
        segment_of=segment_of,
        users=users,
        user_of=user_of,
        data_ids=tuple(cell_name(row[data_at]) for row in body),
        ratings=_numbers(body, lines[1:], questions, ratings, path),
        dimensions=tuple(dimension for _, dimension in questions),
        path=str(path),
        digest=digest,
    )
    named: dict[str, int] = {}
    for i, data_id in enumerate(table.data_ids):
        first = named.setdefault(data_id, i)
        if segment_of[i] != segment_of[first]:
            both = ", ".join(f"{segments[segment_of[k]]} in line {lines[k + 1]}" for k in (first, i))
            raise RatingError(
                "contradiction",
                f"one recording (dataID {data_id}) has the names of two segments: {both}",
                path=path,
                hint="mend the dataID or the file name of one of the rows",
            )
    if duplicates == "drop":
        return table.without_duplicates()
    if duplicates == "error" or (duplicates == "auto" and ratings.repeated == "error"):
        again = np.flatnonzero(table.duplicate_rows())
        if len(again):
            i = int(again[0])
            raise RatingError(
                "duplicate-rating",
                f"{len(again)} rows repeat a (user, dataID), first at line {lines[i + 1]}: "
                f"user {users[user_of[i]]}, dataID {table.data_ids[i]}",
                path=path,
                hint="remove the copies, or read with duplicates 'drop' or 'keep'",
            )
    return table


def _read_rows(path: str | PathLike[str]) -> tuple[list[list[str]], list[int], str]:
    """Cells of all rows with the line each one ends at, and the hash of the file."""
    missing = "put the table at data/total.csv, or name it with --csv"
    data = read_whole(path, "the ratings", missing=missing)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        check_cells(data.count(b",") + data.count(b"\n"))
        reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline=""), strict=True)
        for row in reader:
            if not row:
                continue
            if rows and len(row) != len(rows[0]):
                raise RatingError(
                    "damaged",
                    f"line {reader.line_num} has {len(row)} cells, the header has {len(rows[0])}",
                    path=path,
                    hint="save the table again as CSV with quoted text",
                )
            rows.append(row)
            lines.append(reader.line_num)
    except (ValueError, csv.Error) as error:
        raise RatingError("damaged", f"this is no UTF-8 CSV table ({error})", path=path) from error
    rows[0] = [name.strip() for name in rows[0]]
    if len(rows) == 1:
        raise RatingError("empty-file", "the table of ratings has a header and no rows", path=path)
    return rows, lines, sha256(data)


def codes_of(values: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    """Distinct values in order of first appearance, and the index of each value."""
    index: dict[str, int] = {}
    codes = [index.setdefault(value, len(index)) for value in values]
    return tuple(index), np.array(codes, dtype=np.int64)


def _numbers(
    body: list[list[str]],
    lines: list[int],
    questions: list[tuple[int, Dimension]],
    ratings: RatingSet,
    path: str | PathLike[str],
) -> Floats:
    """Ratings [shape=(n, q)], NaN for blank; every other value is checked once."""
    cells = [[row[i] for i, _ in questions] for row in body]
    value_of: dict[str, float] = {}
    lowest, highest = ratings.scale
    for text in {cell for row in cells for cell in row}:
        value, reason = _number(text, ratings)
        if reason:
            i, j = next((i, j) for i, row in enumerate(cells) for j, cell in enumerate(row) if cell == text)
            what = "is not a number" if reason == "not-a-number" else f"is not in {lowest}..{highest}"
            raise RatingError(
                reason,
                f"line {lines[i]}, {questions[j][1].column}: {text!r} {what}",
                path=path,
                hint=f"a rating is {lowest}..{highest}; 0 or blank means no answer",
            )
        value_of[text] = value
    return np.array([[value_of[cell] for cell in row] for row in cells], dtype=np.float64)


def _number(text: str, ratings: RatingSet) -> tuple[float, str]:
    """One cell: its value and what is wrong with it, if anything."""
    if not text.strip():
        return math.nan, ""
    try:
        value = cell_number(text)
    except ValueError:
        return math.nan, "not-a-number"
    if math.isnan(value):
        return math.nan, "not-a-number"
    lowest, highest = ratings.scale
    return value, "" if lowest <= value <= highest or value in ratings.no_answer else "out-of-range"
