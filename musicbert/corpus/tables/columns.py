"""Reading a table of any kind, and which of its columns mean what.

CSV and TSV (by the suffix; cells are text, empty ones missing), JSON Lines (cells may be lists) and Parquet.
Columns are found by their names, in upper or lower case: the file (``file``, ``path``, ``midi``, ...), and
optional ``group``, ``split``, ``fold`` and ``weight``; all others are labels unless some are named.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from musicbert.errors import DatasetError

__all__ = ["TableColumns", "find_columns", "is_missing", "read_table"]

FILE_NAMES = (
    "file",
    "path",
    "midi",
    "midi_path",
    "filename",
    "file_name",
    "midi_file",
    "name",
    "id",
    "piece",
)
GROUP_NAMES, SPLIT_NAMES, WEIGHT_NAMES = ("group",), ("split", "fold"), ("weight",)


@dataclass(frozen=True)
class TableColumns:
    """Names of the columns of a table by their meaning; None where there is none."""

    file: str
    labels: tuple[str, ...]
    group: str | None = None
    split: str | None = None
    weight: str | None = None


def is_missing(value: Any) -> bool:
    """Whether a cell is empty."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return True
    return isinstance(value, float) and value != value


def read_table(path: str | PathLike[str]) -> pd.DataFrame:
    """Read a table; cells keep the type that the file gives them (text in CSV).

    Raises
    ------
    DatasetError
        ``not-found``, ``bad-table`` (not of the kind that its suffix says, or empty), ``unknown-format``.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError("not-found", "The table of labels is missing", path=path, hint="check --labels")
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv", ".txt"):
            separator = "," if suffix == ".csv" else "\t"
            table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        elif suffix in (".jsonl", ".ndjson"):
            lines = path.read_text(encoding="utf-8").splitlines()
            table = pd.DataFrame([json.loads(line) for line in lines if line.strip()], dtype=object)
        elif suffix in (".parquet", ".pq"):
            table = pd.read_parquet(path)
        else:
            raise DatasetError(
                "unknown-format",
                f"A table ends in .csv, .tsv, .jsonl or .parquet, not in {suffix or 'nothing'}",
                path=path,
            )
    except (ValueError, OSError, pd.errors.ParserError) as error:
        reason = str(error).splitlines()[0]
        raise DatasetError("bad-table", f"The table cannot be read: {reason}", path=path) from error
    if table.empty or not len(table.columns):
        raise DatasetError("bad-table", "The table holds no line", path=path)
    table.columns = [str(name).strip() for name in table.columns]
    if len(set(table.columns)) < len(table.columns):
        raise DatasetError("bad-table", "Two columns have the same name", path=path)
    return table


def find_columns(
    table: pd.DataFrame,
    *,
    file: str | None = None,
    labels: Sequence[str] | None = None,
    group: str | None = None,
    split: str | None = None,
    weight: str | None = None,
    path: str | PathLike[str] | None = None,
) -> TableColumns:
    """Find the columns of a table; those that are given must be there.

    Raises
    ------
    DatasetError
        ``missing-column``.
    """
    lower = {name.lower(): name for name in table.columns}
    for name in (file, group, split, weight, *(labels or ())):
        if name is not None and name not in table.columns:
            raise DatasetError(
                "missing-column",
                f"there is no column {name!r}; there are {', '.join(table.columns)}",
                path=path,
            )

    def find(given: str | None, known: Sequence[str]) -> str | None:
        return given or next((lower[name] for name in known if name in lower), None)

    found = find(file, FILE_NAMES)
    if found is None:
        raise DatasetError(
            "missing-column",
            f"no column names the files; there are {', '.join(table.columns)}",
            path=path,
            hint=f"call it {FILE_NAMES[0]!r}, or name it with --file-column",
        )
    others = [find(group, GROUP_NAMES), find(split, SPLIT_NAMES), find(weight, WEIGHT_NAMES)]
    chosen = tuple(labels or (name for name in table.columns if name not in (found, *others)))
    if not chosen:
        raise DatasetError("missing-column", "no column holds labels", path=path)
    kept = [None if name in chosen else name for name in others]
    return TableColumns(found, chosen, *kept)
