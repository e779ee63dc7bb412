"""Cells of tables: reading a file, and one normalisation for all columns.

Text has no surrounding blanks and is in Unicode's form NFC; a whole number is the same name however it is
written (``3``, ``3.0``); the marks that pandas takes for a missing cell (`MISSING`) are missing.
Verified in ``tests/unit/annotation/test_cells.py``.
"""

import csv
import io
import json
import logging
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musicbert.annotation.bounds import check_cells, check_workbook, read_bounded, read_parquet
from musicbert.annotation.names import normal
from musicbert.errors import DatasetError, first_line
from musicbert.file_kinds import HEAD_BYTES, file_kind

logger = logging.getLogger(__name__)
#: text that means a missing cell, as in `pandas.read_csv`
MISSING = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A")
) | {"NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
#: what spreadsheets write where a formula fails, ``#N/A`` apart
SHEET_ERRORS = frozenset(["#REF!", "#DIV/0!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"])
_UNNAMED = "Unnamed: "
#: how files begin that were named like text
_NO_TEXT = (b"<", b"PK\x03\x04", b"%PDF", b"\x1f\x8b", b"version https://git-lfs")
#: rows with the line (of a sheet: the row) where each ends
_Rows = list[tuple[int, list[Any]]]


def is_missing(value: Any) -> bool:
    """Whether a cell is empty or holds one of the marks of `MISSING`."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, str):
        return value.strip() in MISSING
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def read_table(
    path: str | PathLike[str], *, header_rows: int | None = 1, names_row: int = 1, lines: bool = False
) -> pd.DataFrame:
    """Read a table; normalised cells keep the type that the file gives them (text in CSV).

    Rows without any cell are left out. Text is UTF-8, or UTF-16 with a byte order mark; a line ``sep=;`` or a
    header without a comma chooses the separator; of a workbook the first sheet is read. ``header_rows`` rows
    stand above the data (None: three in an export of Qualtrics, else one), and row ``names_row`` of these
    names the columns. ``lines``: index the rows by their line in the file. ``attrs["header_rows"]`` of the
    table says how many there were. Raises `DatasetError`: ``not-found``, ``bad-table`` (not of the kind that
    its suffix says, or empty), ``unknown-format``.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError("not-found", "The table is missing", path=path, hint="check its name")
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv", ".txt"):
            rows = _text_rows(path, "," if suffix == ".csv" else "\t")
            table, header_rows = _with_header(rows, header_rows, names_row)
        elif suffix in (".xlsx", ".xlsm"):
            table, header_rows = _with_header(_sheet_rows(path), header_rows, names_row)
        elif suffix in (".jsonl", ".ndjson"):
            table = _json_rows(path)
        elif suffix in (".parquet", ".pq"):
            table = read_parquet(path)
        else:
            raise DatasetError(
                "unknown-format",
                f"A table ends in .csv, .tsv, .xlsx, .jsonl or .parquet, not in {suffix or 'nothing'}",
                path=path,
            )
    except (ValueError, OSError, csv.Error, RecursionError) as error:
        reason = first_line(error)
        raise DatasetError("bad-table", f"The table cannot be read: {reason}", path=path) from error
    table.columns = [str(normal(str(name))) for name in table.columns]
    if len(set(table.columns)) < len(table.columns):
        name = next(name for name, times in Counter(table.columns).items() if times > 1)
        raise DatasetError("bad-table", f"Two columns have the same name, {name!r}", path=path)
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = pd.Series([normal(cell) for cell in table[name]], index=table.index, dtype=object)
    table = _without_index(table, path)
    _refuse_errors(table, path)
    empty = [all(is_missing(cell) for cell in row) for row in table.itertuples(index=False, name=None)]
    table = table[~np.array(empty, bool)]
    if table.empty or not len(table.columns):
        raise DatasetError("bad-table", "The table holds no line", path=path)
    table = table.copy() if lines else table.reset_index(drop=True)
    table.attrs["header_rows"] = header_rows
    return table


def _refuse_errors(table: pd.DataFrame, path: Path) -> None:
    """Refuse cells that hold an error of a spreadsheet, and a header among the data (of joined tables)."""
    header = list(table.columns)
    for line, row in zip(table.index, table.itertuples(index=False, name=None), strict=True):
        if all(isinstance(cell, str) and cell == name for cell, name in zip(row, header, strict=True)):
            hint = "remove it: tables were joined with their headers"
            raise DatasetError("bad-table", f"Line {line} repeats the header", path=path, hint=hint)
        for name, cell in zip(header, row, strict=True):
            if isinstance(cell, str) and cell in SHEET_ERRORS:
                what = f"Line {line}, column {name!r} holds {cell}, an error of the spreadsheet"
                raise DatasetError("bad-table", what, path=path, hint="mend the formula, or empty the cell")


def _text_rows(path: Path, separator: str) -> _Rows:
    """Rows of a text file, each with the line where it ends."""
    data = read_bounded(path)
    if data.lstrip().startswith(_NO_TEXT) and (kind := file_kind(data[:HEAD_BYTES], path.name)):
        hint = "name a workbook .xlsx" if data.startswith(b"PK") else kind.hint
        raise DatasetError("bad-table", f"This is {kind.what}, not a table as text", path=path, hint=hint)
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    file = io.TextIOWrapper(
        io.BytesIO(data), encoding, newline=""
    )  # a copy of all text takes 4 bytes a letter
    try:
        first = file.readline().rstrip("\r\n")
        skipped = 0
        if chosen := re.fullmatch(r'"?sep=(.)"?', first, re.IGNORECASE):
            separator, skipped = chosen[1], 1
        else:
            file.seek(0)
            if separator not in first:
                separator = next((mark for mark in ("\t", ";", ",") if mark in first), separator)
        mark = separator.encode("utf-16-le" if encoding == "utf-16" else "utf-8")
        check_cells(data.count(mark) + max(data.count(b"\n"), data.count(b"\r")))
        reader = csv.reader(_without_zero(file), delimiter=separator, strict=True)
        return [(reader.line_num + skipped, row) for row in reader if row]
    except UnicodeError as error:
        hint = "save it as UTF-8 (in Excel: 'CSV UTF-8')"
        raise DatasetError(
            "bad-table", f"The table is not UTF-8 text: {error}", path=path, hint=hint
        ) from error


def _without_zero(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if "\0" in line:
            raise UnicodeError("it holds zero bytes")
        yield line


def _sheet_rows(path: Path) -> _Rows:
    """Rows of the first sheet of a workbook; formulas as the values that were stored with them."""
    from openpyxl import load_workbook

    try:
        check_workbook(path)
        book = load_workbook(path, read_only=True, data_only=True)
        if others := [repr(sheet.title) for sheet in book.worksheets[1:]]:
            logger.warning("%s: %r is read, not %s", path, book.worksheets[0].title, ", ".join(others))
        rows: _Rows = []
        cells = 0
        sheet: Any = book.worksheets[0]
        _refuse_formulas(path)
        sheet.reset_dimensions()  # some programs state too few rows or columns, and the rest would be lost
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
            cells += len(row) or 1
            check_cells(cells)  # a single cell far to the right makes a row of thousands
            if any(cell is not None and cell != "" for cell in row):
                rows.append((number, ["" if cell is None else cell for cell in row]))
    except (zipfile.BadZipFile, KeyError, IndexError, TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"it is no Excel workbook that can be read ({error})") from error
    return rows


def _refuse_formulas(path: Path) -> None:
    """Refuse a workbook with formulas whose values are not stored: some programs write none."""
    from openpyxl import load_workbook

    with zipfile.ZipFile(path) as archive:
        if not any(b"<f" in archive.read(name) for name in archive.namelist() if "worksheets/" in name):
            return
    books = [load_workbook(path, read_only=True, data_only=values).worksheets[0] for values in (False, True)]
    for sheet in books:
        sheet.reset_dimensions()
    for formulas, values in zip(*(sheet.iter_rows() for sheet in books), strict=True):
        for formula, value in zip(formulas, values, strict=True):
            if formula.value is not None and value.value is None:
                where = getattr(formula, "coordinate", "?")
                raise ValueError(f"the formula in {where} has no value: open the workbook and save it")


def _json_rows(path: Path) -> pd.DataFrame:
    """Table of a file of JSON objects, one a line, indexed by line."""
    data = read_bounded(path)
    check_cells(sum(data.count(mark) for mark in (b":", b",")))
    columns: dict[str, list[Any]] = {}
    lines: list[int] = []
    for number, line in enumerate(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="\n"), 1):
        if not line.strip():
            continue
        row = json.loads(line, object_pairs_hook=_unique)
        if not isinstance(row, dict) or any(isinstance(cell, dict) for cell in row.values()):
            raise ValueError(f"line {number} is not a JSON object of values and lists")
        for name in [name for name in row if name not in columns]:
            check_cells(len(lines) + 1, len(columns) + 1)
            columns[name] = [None] * len(lines)
        for name, column in columns.items():
            column.append(row.get(name))
        lines.append(number)
        check_cells(len(lines), len(columns))
    return pd.DataFrame(columns, index=lines, dtype=object)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        name = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"an object holds {name!r} twice")
    return row


def _with_header(rows: _Rows, header_rows: int | None, names_row: int) -> tuple[pd.DataFrame, int]:
    """Table of rows below their header, indexed by line, and the number of rows of the header."""
    if header_rows is None:
        header_rows = 3 if len(rows) > 2 and _is_import_row(rows[2][1]) else 1
    if not 1 <= names_row <= header_rows:
        raise ValueError(f"row {names_row} cannot name the columns of a header of {header_rows} rows")
    if len(rows) < names_row:
        return pd.DataFrame(), header_rows
    names = rows[names_row - 1][1]
    header = [str(name).strip() or f"{_UNNAMED}{at}" for at, name in enumerate(names)]
    check_cells(len(rows), len(header))
    del rows[:header_rows]
    for line, row in rows:
        if any(str(cell).strip() for cell in row[len(header) :]):
            raise ValueError(f"line {line} has {len(row)} cells, the header has {len(header)}")
    index = [line for line, _ in rows]
    columns = [
        np.array([*(row[at] if at < len(row) else "" for _, row in rows), None], object)[:-1]
        for at in range(len(header))
    ]
    rows.clear()
    table = pd.DataFrame(dict(enumerate(columns)), index=index, dtype=object)
    table.columns = header
    return table, header_rows


def _is_import_row(row: list[Any]) -> bool:
    """Whether a row holds what Qualtrics writes below the questions: ``{"ImportId":"QID1_1"}``."""
    cells = [str(cell).strip() for cell in row if str(cell).strip()]
    return bool(cells) and all(re.fullmatch(r'\{.*"ImportId".*\}', cell, re.DOTALL) for cell in cells)


def _without_index(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Leave out columns without a name: empty ones, and row numbers (pandas' index) in the first."""
    for at, name in enumerate(list(table.columns)):
        if not name.startswith(_UNNAMED):
            continue
        cells = [str(cell) for cell in table[name] if not is_missing(cell)]
        if cells and at == 0 and all(cell.isdecimal() for cell in cells):
            logger.warning("%s: the first column has no name and holds row numbers: passed over", path)
        elif cells:
            what = f"Column {at + 1} has no name and holds {cells[0]!r}"
            raise DatasetError("bad-table", what, path=path, hint="name it in the first line, or remove it")
        table = table.drop(columns=name)
    return table
