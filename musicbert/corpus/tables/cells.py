"""Cells of tables: reading a file, and one normalisation for all columns.

Text has no surrounding blanks and is in Unicode's form NFC; a whole number is the same name however it is
written (``3``, ``3.0``); the marks that pandas takes for a missing cell (`MISSING`) are missing.
Verified in ``tests/unit/corpus/tables/test_cells.py``.
"""

import csv
import io
import json
import logging
import re
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musicbert.annotation.names import normal
from musicbert.errors import DatasetError

logger = logging.getLogger(__name__)
#: text that means a missing cell, as in `pandas.read_csv`
MISSING = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A")
) | {"NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
_UNNAMED = "Unnamed: "


def is_missing(value: Any) -> bool:
    """Whether a cell is empty or holds one of the marks of `MISSING`."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, str):
        return value.strip() in MISSING
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def read_table(path: str | PathLike[str]) -> pd.DataFrame:
    """Read a table; normalised cells keep the type that the file gives them (text in CSV).

    Lines without any cell are left out. CSV is UTF-8, or UTF-16 with a byte order mark; a line ``sep=;`` or a
    header without a comma chooses the separator. Raises `DatasetError`: ``not-found``, ``bad-table`` (not of
    the kind that its suffix says, or empty), ``unknown-format``.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError("not-found", "The table of labels is missing", path=path, hint="check --labels")
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv", ".txt"):
            table = _read_text(path, "," if suffix == ".csv" else "\t")
        elif suffix in (".jsonl", ".ndjson"):
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            table = pd.DataFrame([json.loads(line) for line in lines if line.strip()], dtype=object)
        elif suffix in (".parquet", ".pq"):
            table = pd.read_parquet(path)
        else:
            raise DatasetError(
                "unknown-format",
                f"A table ends in .csv, .tsv, .jsonl or .parquet, not in {suffix or 'nothing'}",
                path=path,
            )
    except (ValueError, OSError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise DatasetError("bad-table", f"The table cannot be read: {reason}", path=path) from error
    table.columns = [str(normal(str(name))) for name in table.columns]
    if len(set(table.columns)) < len(table.columns):
        raise DatasetError("bad-table", "Two columns have the same name", path=path)
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = pd.Series([normal(cell) for cell in table[name]], index=table.index, dtype=object)
    table = _without_index(table, path)
    empty = [all(is_missing(cell) for cell in row) for row in table.itertuples(index=False, name=None)]
    table = table[~np.array(empty, bool)]
    if table.empty or not len(table.columns):
        raise DatasetError("bad-table", "The table holds no line", path=path)
    return table.reset_index(drop=True)


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    data = path.read_bytes()
    try:
        wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = data.decode("utf-16" if wide else "utf-8-sig")
        if "\0" in text:
            raise ValueError("it holds zero bytes")
    except ValueError as error:
        hint = "save it as UTF-8 (in Excel: 'CSV UTF-8')"
        raise DatasetError(
            "bad-table", f"The table is not UTF-8 text: {error}", path=path, hint=hint
        ) from error
    first, _, rest = text.partition("\n")
    if chosen := re.fullmatch(r'"?sep=(.)"?', first.strip("\r"), re.IGNORECASE):
        text, separator = rest, chosen[1]
    elif separator not in first:
        separator = next((mark for mark in ("\t", ";", ",") if mark in first), separator)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: list[str] | None = None
    rows = []
    for row in reader:
        if header is None:
            header = [name.strip() or f"{_UNNAMED}{at}" for at, name in enumerate(row)]
        elif row:
            if any(cell.strip() for cell in row[len(header) :]):
                cells = f"line {reader.line_num} has {len(row)} cells, the header has {len(header)}"
                raise ValueError(cells)
            rows.append(row[: len(header)] + [""] * (len(header) - len(row)))
    return pd.DataFrame(rows, columns=header or [], dtype=object)


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
