"""What kind of labels the cells of a table are, and the labels as numbers.

=====================================================  ==========================================
cells                                                  kind
=====================================================  ==========================================
one column of text                                     ``classes``
one column of whole numbers, at most `FEW` values      ``classes``
one column of other numbers                            ``regression``
one column of text with ``;`` or ``|`` in it           ``multilabel``
one column of lists of text                            ``multilabel``
one column of lists of numbers, all of one length      ``regression``
several columns of 0 and 1 (yes/no, true/false)        ``multilabel``, named by the columns
several columns of numbers                             ``regression``, named by the columns
=====================================================  ==========================================

An empty cell is a missing label, and so is one of `musicbert.annotation.cells.MISSING`. Numbers among
names are an error. What is found out can be overruled.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from musicbert.annotation.cells import is_missing
from musicbert.annotation.names import cell_name, cell_number, natural_key
from musicbert.corpus.labelled.pieces import NO_CLASS, Kind
from musicbert.errors import DatasetError

#: distinct whole numbers up to which they are taken for classes
FEW = 20
SEPARATORS = (";", "|")
_FLAGS = {"0": 0, "1": 1, "true": 1, "false": 0, "yes": 1, "no": 0, "0.0": 0, "1.0": 1}
#: lines from on which 0, 1, 2, ... are taken for the number of the line
_ROWS = 8
#: a decimal comma, a percentage, thousands, or a long minus: no number for Python
_LIKE_A_NUMBER = re.compile(r"[+\-\u2212\u2013]?\s?\d[\d.,'\u2019\s]*\s*[%\u2030]?")
Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of the lines of a table: kind and classes as in `musicbert.corpus.labelled.pieces.Task`.

    A value a line: an int (-1 missing) or an array [shape=(C,)] (NaN missing); ``why`` says how the kind was
    inferred.
    """

    kind: Kind
    classes: tuple[str, ...]
    values: list[Any]
    why: str = ""


def _number(value: Any) -> float | None:
    try:
        return cell_number(value)
    except (TypeError, ValueError):
        return None


def _listed(value: Any) -> list[Any] | None:
    return list(value) if isinstance(value, list | tuple | np.ndarray) else None


def infer_kind(rows: Rows, separator: str | None = None) -> tuple[Kind, str]:
    """Kind of the labels in the cells of the label columns, and the reason in words.

    ``separator`` separates several labels in a cell (None: ``;`` and ``|``). Raises `DatasetError`
    ``ambiguous-labels``.
    """
    known = [[cell for cell in row if not is_missing(cell)] for row in rows]
    cells = [cell for row in known for cell in row]
    if not cells:
        raise DatasetError("ambiguous-labels", "every label is empty")
    lists = [_listed(cell) for cell in cells]
    if all(elements is not None for elements in lists):
        numbers = [_number(element) for cell in lists for element in (cell or [])]
        if None in numbers or not numbers:
            return "multilabel", "cells are lists of names"
        return "regression", "cells are lists of numbers"
    if any(elements is not None for elements in lists):
        raise DatasetError("ambiguous-labels", "some labels are lists and some are not", hint="give --kind")
    numbers = [_number(cell) for cell in cells]
    if len(rows[0]) > 1:
        if all(str(cell).strip().lower() in _FLAGS for cell in cells):
            return "multilabel", f"{len(rows[0])} columns of 0 and 1"
        if None not in numbers:
            return "regression", f"{len(rows[0])} columns of numbers"
        _refuse_numbers(cells, numbers, "choose the columns of numbers with --label-columns")
        raise DatasetError(
            "ambiguous-labels",
            "several columns of labels hold text",
            hint="choose one with --label-columns, or train one task a column",
        )
    marks = [separator] if separator else SEPARATORS
    if any(isinstance(cell, str) and mark in cell for cell in cells for mark in marks):
        return "multilabel", "cells hold several names"
    if None in numbers:
        _refuse_numbers(cells, numbers)
        return "classes", "cells are names"
    integers = [number for number in numbers if number is not None and number.is_integer()]
    if len(integers) == len(numbers) and len(set(integers)) <= FEW:
        return "classes", f"{len(set(integers))} different whole numbers"
    return "regression", "cells are numbers"


def _refuse_numbers(
    cells: Sequence[Any],
    numbers: Sequence[float | None],
    names_hint: str = "if these are names, give --kind classes",
) -> None:
    """Raise an error where cells that are no numbers stand among numbers, or are written like numbers."""
    names = [str(cell) for cell, number in zip(cells, numbers, strict=True) if number is None]
    written = [name for name in names if _LIKE_A_NUMBER.fullmatch(name)]
    if written:
        what = f"the cell {written[0]!r} is written like a number, but is none"
    elif len(names) < len(cells):
        what = f"{len(cells) - len(names)} cells are numbers and {len(names)} are not, such as {names[0]!r}"
    else:
        return
    raise DatasetError(
        "ambiguous-labels",
        what,
        hint=f"write numbers like 3.5 and leave missing cells empty; {names_hint}",
    )


def as_labels(
    rows: Rows,
    columns: Sequence[str],
    kind: Kind | None = None,
    *,
    separator: str | None = None,
    classes: Sequence[str] | None = None,
) -> Labels:
    """Turn the cells of the label columns, a sequence a line, into labels.

    ``kind`` None infers it; ``classes`` None takes those that occur, in natural order. Raises `DatasetError`:
    ``ambiguous-labels``, ``bad-label`` for a cell that is not of this kind or an unknown class.
    """
    label_kind, why = infer_kind(rows, separator) if kind is None else (kind, "as given")
    if label_kind == "classes":
        if len(columns) != 1:
            raise DatasetError("ambiguous-labels", f"classes stand in one column, not in {len(columns)}")
        names = [_class(row[0], classes) for row in rows]
        order = _order(names, classes)
        number = {name: k for k, name in enumerate(order)} | {"": NO_CLASS}
        return Labels(label_kind, order, [number[name] for name in names], why)
    if label_kind == "regression":
        return Labels(label_kind, *_numbers(rows, columns), why=why)
    return Labels(label_kind, *_several(rows, columns, separator, classes), why=why)


def _class(cell: Any, classes: Sequence[str] | None) -> str:
    """Name of the class in a cell, empty where it is missing; classes that are given may be called ``NA``."""
    missing = is_missing(cell) and (not classes or cell_name(cell) not in classes)
    return "" if missing else cell_name(cell)


def _order(names: Sequence[str], classes: Sequence[str] | None) -> tuple[str, ...]:
    occurring = {name for name in names if name}
    if classes is None:
        return tuple(sorted(occurring, key=natural_key))
    unknown = sorted(occurring - set(classes))
    if unknown:
        raise DatasetError("bad-label", f"{unknown[0]!r} is none of the classes {', '.join(classes)}")
    return tuple(classes)


def _numbers(rows: Rows, columns: Sequence[str]) -> tuple[tuple[str, ...], list[Any]]:
    lines = []
    for row in rows:
        cells: Sequence[Any] = row
        if len(row) == 1 and (several := _listed(row[0])) is not None:
            cells = several
        values = [float("nan") if is_missing(cell) else _number(cell) for cell in cells]
        if None in values or any(value in (float("inf"), float("-inf")) for value in values):
            raise DatasetError("bad-label", f"{list(cells)!r} are not numbers")
        lines.append(values)
    width = max(len(line) for line in lines)
    empty = [line for line in lines if len(line) == 1 and len(columns) == 1 and line[0] != line[0]]
    if any(len(line) != width for line in lines if line not in empty):
        raise DatasetError("bad-label", "lists of numbers differ in length")
    names = tuple(columns) if len(columns) == width else tuple(f"{columns[0]}{k}" for k in range(width))
    filled = [line if len(line) == width else [float("nan")] * width for line in lines]
    return names, [np.array(line, np.float64) for line in filled]


def _several(
    rows: Rows, columns: Sequence[str], separator: str | None, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], list[Any]]:
    if len(columns) > 1:
        table = []
        for row in rows:
            flags = [np.nan if is_missing(cell) else _FLAGS.get(str(cell).strip().lower()) for cell in row]
            if None in flags:
                raise DatasetError("bad-label", f"{list(row)!r} are not 0 and 1")
            table.append(np.array(flags, np.float64))
        return tuple(columns), table
    sets = [_names(row[0], separator) for row in rows]
    order = _order([name for names in sets if names is not None for name in names], classes)
    return order, [
        np.full(len(order), np.nan) if names is None else np.array([float(name in names) for name in order])
        for names in sets
    ]


def _names(cell: Any, separator: str | None) -> set[str] | None:
    """Names in a cell; None where it is empty (an empty list is a piece without any label)."""
    several = _listed(cell)
    if several is None:
        if is_missing(cell):
            return None
        text = str(cell)
        for mark in [separator] if separator else SEPARATORS:
            text = text.replace(mark, "\n")
        several = text.split("\n")
    return {cell_name(name) for name in several if not is_missing(name)}


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


def _by_lower(table: pd.DataFrame, path: str | PathLike[str] | None = None) -> dict[str, str]:
    """Columns by their names in small letters; raises `DatasetError` where two have the same."""
    lower: dict[str, str] = {}
    for name in table.columns:
        other = lower.setdefault(name.lower(), name)
        if other != name:
            what = f"the columns {other!r} and {name!r} have the same name but for capitals"
            raise DatasetError("bad-table", what, path=path, hint="rename or remove one")
    return lower


def refuse_identifiers(table: pd.DataFrame, chosen: Sequence[str]) -> None:
    """Refuse to learn, unasked, what names or counts the lines beside other labels.

    Raises `DatasetError` ``ambiguous-labels``.
    """
    for name in chosen:
        numbers = [_number(cell) for cell in table[name]]
        counted = len(numbers) >= _ROWS and numbers in (
            [*map(float, range(len(numbers)))], [*map(float, range(1, len(numbers) + 1))]
        )  # fmt: skip
        if len(chosen) > 1 and (counted or name.lower() in FILE_NAMES):
            what = "counts the lines" if counted else "may name the files"
            raise DatasetError(
                "ambiguous-labels",
                f"the column {name!r} {what}: is it a label?",
                hint="name the labels with --label-columns, or remove the column",
            )


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

    Raises `DatasetError` ``missing-column``.
    """
    lower = _by_lower(table, path)
    for name in (file, group, split, weight, *(labels or ())):
        if name is not None and name not in table.columns:
            raise DatasetError(
                "missing-column",
                f"there is no column {name!r}; there are {', '.join(table.columns)}",
                path=path,
            )

    def find(given: str | None, known: Sequence[str]) -> str | None:
        return given or next((lower[name] for name in known if name in lower), None)

    file_column = find(file, FILE_NAMES)
    if file_column is None:
        raise DatasetError(
            "missing-column",
            f"no column names the files; there are {', '.join(table.columns)}",
            path=path,
            hint=f"call it {FILE_NAMES[0]!r}, or name it with --file-column",
        )
    others = [find(group, GROUP_NAMES), find(split, SPLIT_NAMES), find(weight, WEIGHT_NAMES)]
    chosen = tuple(labels or (name for name in table.columns if name not in (file_column, *others)))
    if not chosen:
        raise DatasetError("missing-column", "no column holds labels", path=path)
    kept = [None if name in chosen else name for name in others]
    return TableColumns(file_column, chosen, *kept)
