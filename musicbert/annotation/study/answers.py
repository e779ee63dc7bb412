"""Answers in the cells of a table of ratings, whatever its layout.

========== ================= ===================================================================
layout     a row is          columns
========== ================= ===================================================================
``wide``   a rater x a piece rater, file, one a dimension
``long``   one rating        rater, file, dimension, value
``survey`` a rater           rater, one a piece x a dimension (`musicbert.annotation.study.survey`)
``means``  a piece           file, one a dimension: means of raters, or one rating
========== ================= ===================================================================
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import pandas as pd

from musicbert.annotation.cells import is_missing
from musicbert.annotation.names import cell_name
from musicbert.annotation.study.items import Item, item
from musicbert.annotation.study.survey import split_columns
from musicbert.errors import RatingError

Layout = Literal["wide", "long", "survey", "means"]
#: what may be done to a cell that is no plain number, if asked for
NumberFormat = Literal["decimal-comma", "percent", "leading-number"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
NUMBER_FORMATS: tuple[NumberFormat, ...] = get_args(NumberFormat)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?\d+,\d+%?")
#: a number, a mark between, and words without digits: ``7 - very much``, ``1 (not at all)``
_LEADING = re.compile(r"([+-]?\d+(?:[.,]\d+)?)[\s:=.,)(–—-]+[^\d\s][^\d]*")
#: columns of survey tools, and the values in them of rows that nobody answered in earnest
_TEST_ROWS: Mapping[str, Collection[str]] = {
    "Status": ("survey preview", "survey test", "offline survey preview", "spam", "possible spam"),
    "DistributionChannel": ("preview",),
    "MODE": ("admin", "pretest", "debug", "preview"),
}
#: the same of Qualtrics, where values are exported as numbers
_TEST_STATUS = frozenset({"1", "2", "8", "9", "12", "17"})


@dataclass(frozen=True)
class StudyOptions:
    """How the table of ratings of a study is read.

    ``scale``: lowest and highest number. Columns that are None are not there; ``layout`` None follows from
    those that are. ``dimensions``, ``pieces``: files (`musicbert.annotation.study.items`; of pieces:
    ``file``, ``piece``: its name in the ratings, and columns of groups and performers). ``pattern``: where
    piece and dimension stand in the names of columns. ``missing``: values that mean no answer; ``answers``:
    number of each answer in words; ``numbers``: formats of numbers that are accepted. ``ignore``: columns,
    dimensions and pieces to leave out; ``columns``: those that are dimensions, where no file names them;
    ``keep_tests``: also count test rows of survey tools; ``duplicates``: what becomes of a rater's second
    row of a piece.
    """

    scale: tuple[float, float]
    layout: Layout | None = None
    rater: str | None = None
    file: str | None = None
    dimension: str | None = None
    value: str | None = None
    groups: tuple[str, ...] = ()
    performer: str | None = None
    dimensions: str | None = None
    pieces: str | None = None
    pattern: str | None = None
    columns: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    answers: Mapping[str, float] = field(default_factory=dict)
    numbers: tuple[NumberFormat, ...] = ()
    ignore: tuple[str, ...] = ()
    drop_raters: tuple[str, ...] = ()
    keep_tests: bool = False
    header_rows: int | None = None
    names_row: int = 1
    duplicates: Literal["error", "keep", "drop"] = "error"

    def __post_init__(self) -> None:
        lowest, highest = self.scale
        if not (math.isfinite(lowest) and math.isfinite(highest) and lowest < highest):
            raise RatingError(
                "bad-option", f"a scale from {lowest:g} to {highest:g} is none", hint="such as --scale 1 9"
            )
        if self.layout is not None and self.layout not in LAYOUTS:
            raise RatingError("bad-option", f"there is no layout {self.layout!r}", hint=", ".join(LAYOUTS))
        for words, number in self.answers.items():
            if not lowest <= number <= highest:
                what = f"the answer {words!r} is {number:g}, which is not in {lowest:g}..{highest:g}"
                hint = f"if it means no answer, give --missing-values {words!r}"
                raise RatingError("bad-option", what, hint=hint)


class Answer(NamedTuple):
    """One cell, and what it is the answer to."""

    line: int
    column: str
    rater: str
    piece: str
    item: int
    cell: Any


def layout_of(options: StudyOptions, path: str) -> Layout:
    """Layout that follows from the columns that are named; raises `RatingError` ``ambiguous-layout``."""
    given = {name for name in ("rater", "file", "dimension", "value") if getattr(options, name)}
    needed: dict[Layout, set[str]] = {
        "long": {"rater", "file", "dimension", "value"},
        "wide": {"rater", "file"},
        "survey": {"rater"},
        "means": {"file"},
    }
    columns = [getattr(options, name) for name in given]
    if len(set(columns)) < len(columns):
        raise RatingError("bad-option", f"one column is given two meanings: {', '.join(columns)}", path=path)
    layout = options.layout or next((name for name, names in needed.items() if names == given), None)
    if layout is None or needed[layout] != given:
        flags = {
            name: " and ".join(f"--{part}-column" for part in sorted(names)) for name, names in needed.items()
        }
        raise RatingError(
            "ambiguous-layout",
            f"these columns make no {layout} table" if layout else "which column is what is not known",
            path=path,
            hint="; ".join(f"{name}: {text}" for name, text in flags.items()),
        )
    return layout


def items_and_answers(
    table: pd.DataFrame,
    layout: Layout,
    items: Sequence[Item],
    pieces: Collection[str] | None,
    options: StudyOptions,
    path: str,
    notes: list[str],
) -> tuple[tuple[Item, ...], list[Answer]]:
    """Items (those given, or what the table names) and all answers; ``notes`` takes what has to be said.

    Raises `RatingError`: ``missing-column``, ``unknown-name``, ``unknown-dimension``, ``bad-option``,
    ``no-rater``, ``no-piece``, and those of `split_columns`.
    """
    known = [str(name) for name in table.columns]
    for column in filter(None, (options.rater, options.file, options.dimension)):
        known += table[column].map(cell_name).unique().tolist()
    if options.pattern and layout != "survey":
        raise RatingError("bad-option", f"--pattern is for surveys, and this is a {layout} table", path=path)
    if layout == "long":
        _must_know(options, known, path)
        return _long(table, items, options, path, notes)
    special = {options.rater, options.file, options.performer, *options.groups, *options.ignore}
    rest = [name for name in table.columns if name not in special]
    if layout == "survey":
        codes = [known.column for known in items] or list(options.columns)
        parts, form = split_columns(rest, codes, pieces, options.pattern, path)
        known += [name for part in parts.values() for name in part]
        parts = {name: part for name, part in parts.items() if not {part[0], part[1]} & set(options.ignore)}
        notes.append(f"columns are read as {form!r}")
        codes = codes or list(dict.fromkeys(code for _, code in parts.values()))
        if len(set(parts.values())) < len(parts):
            both = [name for name, part in parts.items() if list(parts.values()).count(part) > 1]
            raise RatingError("ambiguous-columns", f"{both[0]!r} and {both[1]!r} are the same", path=path)
        in_table = {code for _, code in parts.values()}
    else:
        codes = [known.column for known in items] or list(options.columns) or rest
        parts = {name: ("", name) for name in rest if name in codes}
        in_table = set(parts)
    _must_know(options, known, path)
    items = items or tuple(map(item, codes))
    lacking = [code for code in codes if code not in in_table]
    if lacking or not items:
        what = f"there is no column of {lacking[0]!r}" if lacking else "there is no column of a dimension"
        raise RatingError("missing-column", f"{what}; there are {', '.join(rest[:8])}", path=path)
    if unused := [name for name in rest if name not in parts]:
        more = f" and {len(unused) - 8} more" if len(unused) > 8 else ""
        notes.append(f"{len(unused)} columns are not ratings and left out: {', '.join(unused[:8])}{more}")
    at = {code: k for k, code in enumerate(codes)}
    kept = [(name, piece, at[code]) for name, (piece, code) in parts.items() if code in at]
    answers = []
    for line, rater, file, row in _rows(table, options):
        cells = [(name, piece, number, row[name]) for name, piece, number in kept]
        nameless = [
            what
            for what, column, value in (("rater", options.rater, rater), ("piece", options.file, file))
            if column and not value
        ]
        if nameless and all(is_missing(cell) for *_, cell in cells):
            continue
        for what in nameless:
            _need("", what, line, path)
        answers += [
            Answer(line, name, rater, piece or file, number, cell) for name, piece, number, cell in cells
        ]
    return tuple(items), answers


def _must_know(options: StudyOptions, names: Collection[str], path: str) -> None:
    """Raise an error where a name to leave out is not in the table."""
    unknown = [name for name in (*options.ignore, *options.drop_raters) if name not in names]
    if unknown:
        what = f"{unknown[0]!r} is to be left out, but is not a column, dimension, piece or rater here"
        raise RatingError("unknown-name", what, path=path, hint="see --ignore and --drop-raters")


def _long(
    table: pd.DataFrame, items: Sequence[Item], options: StudyOptions, path: str, notes: list[str]
) -> tuple[tuple[Item, ...], list[Answer]]:
    assert options.dimension is not None
    assert options.value is not None
    known = {name: k for k, each in enumerate(items) for name in (each.column, each.dimension.name)}
    made: list[Item] = list(items)
    answers = []
    left_out = 0
    for line, rater, file, row in _rows(table, options):
        cell = row[options.dimension]
        code = "" if is_missing(cell) else cell_name(cell)
        if code in options.ignore:
            left_out += 1
            continue
        for value, what in ((rater, "rater"), (file, "piece"), (code, "dimension")):
            _need(value, what, line, path)
        if code not in known:
            if items:
                what = f"line {line}: {code!r} is none of the dimensions {', '.join(i.column for i in items)}"
                hint = f"add it to the file of dimensions, or leave it out: --ignore {code!r}"
                raise RatingError("unknown-dimension", what, path=path, hint=hint)
            known[code] = len(made)
            made.append(item(code))
        answers.append(Answer(line, options.value, rater, file, known[code], row[options.value]))
    if left_out:
        notes.append(f"{left_out} ratings of ignored dimensions are left out")
    return tuple(made), answers


def _rows(table: pd.DataFrame, options: StudyOptions) -> Iterator[tuple[int, str, str, Mapping[str, Any]]]:
    """Line, rater and piece (empty where the cell is) and cells of each row that counts."""
    for line, row in zip(table.index.tolist(), table.to_dict("records"), strict=True):
        rater, file = (
            "" if name is None or is_missing(row[name]) else cell_name(row[name])
            for name in (options.rater, options.file)
        )
        if rater not in options.drop_raters and (not file or file not in options.ignore):
            yield line, rater, file, row


def _need(value: str, what: str, line: int, path: str) -> None:
    if not value:
        raise RatingError(f"no-{what}", f"line {line} has ratings, but names no {what}", path=path)


def without_tests(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Leave out rows that survey tools mark as previews, tests and spam; unfinished ones are said."""
    drop = pd.Series(False, index=table.index)
    for column, values in _TEST_ROWS.items():
        if column not in table or (column == "MODE" and "CASE" not in table):
            continue
        cells = table[column].map(lambda cell: cell_name(cell).lower())
        numbered = column == "Status" and table.attrs["header_rows"] == 3
        flagged = cells.isin(values) | (cells.isin(_TEST_STATUS) if numbered else False)
        for value, count in cells[flagged & ~drop].value_counts().items():
            notes.append(f"{count} rows are left out: {column} is {value!r} (--keep-test-rows keeps them)")
        drop |= flagged
    for column in {"Finished", "FINISHED"} & set(table.columns):
        count = int(table[column][~drop].map(lambda cell: cell_name(cell).lower() in ("0", "false")).sum())
        if count:
            notes.append(f"{count} rows are unfinished and kept: {column}")
    kept = table[~drop]
    kept.attrs = table.attrs
    return kept


class Numbers:
    """Turns cells into ratings (NaN: no answer); each text is looked at once."""

    def __init__(self, options: StudyOptions, items: Sequence[Item], path: str) -> None:
        self.options, self.path = options, path
        scales = (item.scale or options.scale for item in items)
        self.scales = [(low, high) for low, high in scales]  # lists, where they were read from JSON
        self.missing = {cell_name(value) for value in options.missing}
        self.answers = {cell_name(text).casefold(): value for text, value in options.answers.items()}
        self.known: dict[tuple[str, tuple[float, float]], float] = {}

    def __call__(self, answer: Answer) -> float:
        """The rating in a cell; raises `RatingError` ``not-a-number``, ``out-of-range``."""
        if is_missing(answer.cell):
            return math.nan
        key = cell_name(answer.cell), self.scales[answer.item]
        if key not in self.known:
            self.known[key] = self._number(key[0], answer)
        return self.known[key]

    def _number(self, text: str, answer: Answer) -> float:
        if text in self.missing:
            return math.nan
        plain, numbers = str(self.answers.get(text.casefold(), text)), self.options.numbers
        if "leading-number" in numbers and (leading := _LEADING.fullmatch(plain)):
            plain = leading[1]
        if "decimal-comma" in numbers and _COMMA.fullmatch(plain):
            plain = plain.replace(",", ".")
        if "percent" in numbers:
            plain = plain.removesuffix("%").rstrip()
        where = f"line {answer.line}, {answer.column}: {text!r}"
        if not _NUMBER.fullmatch(plain):
            formats = {"decimal-comma": _COMMA, "percent": re.compile(".*%"), "leading-number": _LEADING}
            asked = [name for name, like in formats.items() if like.fullmatch(text) and name not in numbers]
            hint = (
                f"if that is meant, give --numbers {' '.join(asked)}"
                if asked
                else "no answer: --missing-values; in words: --answers 'WORDS=NUMBER'; no rating: --ignore"
            )
            raise RatingError("not-a-number", f"{where} is not a number", path=self.path, hint=hint)
        lowest, highest = self.scales[answer.item]
        if not lowest <= float(plain) <= highest:
            hint = (
                f"if {text} means no answer, give --missing-values {text}; no rating: --ignore; another "
                "scale: --scale, or of this dimension lowest and highest in the file of --dimensions"
            )
            raise RatingError(
                "out-of-range", f"{where} is not in {lowest:g}..{highest:g}", path=self.path, hint=hint
            )
        return float(plain)
