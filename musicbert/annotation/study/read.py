"""The ratings of any study, as the table that labels are made from.

Names of dimensions come from the table or the file of dimensions alone. Nothing is guessed: what can be read
in two ways is an error, and what was inferred or left out is a note. Verified in
``tests/unit/annotation/study/test_read.py``.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd

from musicbert.annotation.cells import is_missing, read_table
from musicbert.annotation.dimensions import RatingSet
from musicbert.annotation.files import sha256
from musicbert.annotation.names import cell_name, piece_id
from musicbert.annotation.study.answers import (
    Answer,
    Numbers,
    StudyOptions,
    items_and_answers,
    layout_of,
    without_tests,
)
from musicbert.annotation.study.items import Item, read_items
from musicbert.annotation.table import RatingTable, codes_of
from musicbert.arrays import Floats
from musicbert.errors import RatingError

#: column that names the rater in exports of Qualtrics, which are told by their three rows of headers
_QUALTRICS_RATER = "ResponseId"
#: whole ratings of a dimension that show where its scale ends, and how often its greatest was then given
_ENOUGH, _OFTEN = 30, 0.05
#: answers from which on a rater who always gives the same one is named
_CONSTANT = 6
#: name of the table format, and of the performer where there is no column of performers
OWN, NO_PERFORMER = "own", "all"


def read_study(path: str | PathLike[str], options: StudyOptions) -> RatingTable:
    """Read a table of ratings (``.csv``, ``.tsv``, ``.xlsx``, ``.jsonl``, ``.parquet``).

    Raises `RatingError`: ``missing-column``, ``unknown-piece``, ``duplicate-rating``,
    ``conflicting-duplicates``, ``no-ratings``, ``mixed-scales``, and those of
    `musicbert.annotation.study.answers` and `musicbert.annotation.study.items`; `DatasetError`: those of
    `read_table`.
    """
    notes: list[str] = []
    where = str(path)
    table = read_table(path, header_rows=options.header_rows, names_row=options.names_row, lines=True)
    if table.attrs["header_rows"] == 3 and options.header_rows is None:
        notes.append("three rows of headers, as Qualtrics writes them")
        if options.rater is None and options.file is None and _QUALTRICS_RATER in table:
            options = replace(options, rater=_QUALTRICS_RATER)
            notes.append(f"the rater is {_QUALTRICS_RATER!r}")
    layout = layout_of(options, where)
    notes.append(f"layout {layout!r}")
    pieces = None if options.pieces is None else read_pieces(options.pieces)
    extra = () if pieces is None else tuple(pieces.columns)
    of_pieces = [name for name in (*options.groups, options.performer) if name and name not in extra]
    if layout == "survey" and of_pieces:
        what = f"a survey has a row a rater, so {of_pieces[0]!r} of the pieces cannot be one of its columns"
        raise RatingError("missing-column", what, path=path, hint="put it into the table of --pieces")
    columns = () if layout == "survey" else options.columns
    for name in (options.rater, options.file, options.dimension, options.value, *columns, *of_pieces):
        if name is not None and name not in table:
            known = ", ".join(map(str, table.columns[:12]))
            raise RatingError("missing-column", f"there is no column {name!r}; there are {known}", path=path)
    if not options.keep_tests:
        table = without_tests(table, notes)
    items: Sequence[Item] = () if options.dimensions is None else read_items(options.dimensions)
    codes = None if pieces is None else list(pieces.index)
    items, answers = items_and_answers(table, layout, items, codes, options, where, notes)
    ids = _piece_ids(dict.fromkeys(answer.piece for answer in answers), pieces, options.pieces)
    answers = [answer._replace(piece=ids[answer.piece]) for answer in answers]
    rows, ratings = _pivot(answers, items, options, where, notes, drop_empty=layout == "survey")
    if pieces is not None and (idle := set(pieces["file"]) - {piece for *_, piece in rows}):
        notes.append(f"{len(idle)} pieces of {options.pieces} have no rating, such as {min(idle)}")
    if layout == "means":
        rows = [(line, "mean", piece) for line, _, piece in rows]
        notes.append("one row a piece: taken for means of raters, so their agreement is unknown")
    lowest, highest = options.scale
    used = [
        "not rated" if np.isnan(column).all() else f"rated {np.nanmin(column):g} to {np.nanmax(column):g}"
        for column in ratings.T
    ]
    _refuse_mixed_scales(ratings, items, options.scale, where)
    for column, item in zip(ratings.T, items, strict=True):
        if item.scale is not None:
            (low, high), name = item.scale, item.dimension.name
            column[:] = lowest + (column - low) / (high - low) * (highest - lowest)
            notes.append(f"{name}: its scale, {low:g} to {high:g}, is put on {lowest:g} to {highest:g}")
    turned = [k for k, item in enumerate(items) if item.reversed]
    ratings[:, turned] = lowest + highest - ratings[:, turned]
    if turned:
        notes.append(f"turned round: {', '.join(items[k].dimension.name for k in turned)}")
    kept = {piece for *_, piece in rows}
    rated = {name: piece for name, piece in ids.items() if piece in kept}
    extras = _extras(table, pieces, options, rated, where, notes)
    dimensions = tuple(item.dimension for item in items)
    segments, segment_of = codes_of([piece for *_, piece in rows])
    users, user_of = codes_of([rater for _, rater, _ in rows])
    raters = "" if layout == "means" else f"{len(users)} raters, "
    notes.append(f"{raters}{len(segments)} pieces, such as {segments[0]!r}")
    described = (f"{d.name} ({d.poles}; {span})" for d, span in zip(dimensions, used, strict=True))
    notes.append(f"{len(items)} dimensions on a scale from {lowest:g} to {highest:g}: {', '.join(described)}")
    if not options.groups:
        notes.append("no --group-column: each file is a group of its own in splits")
    return RatingTable(
        study=RatingSet(
            OWN, {"published": dimensions, "full": dimensions}, scale=(lowest, highest), zero=lowest
        ),
        segments=segments,
        segment_of=segment_of,
        users=users,
        user_of=user_of,
        data_ids=tuple(map(str, range(len(rows)))),
        ratings=ratings,
        dimensions=dimensions,
        path=where,
        digest=sha256(Path(path).read_bytes()),
        groups={
            name: values
            for name, values in extras.items()
            if name != options.performer or name in options.groups
        }
        or {"file": {name: name for name in segments}},
        performers=extras.get(options.performer or "") or dict.fromkeys(segments, NO_PERFORMER),
        notes=tuple(notes),
        reading={
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(options).items()
            if value != getattr(StudyOptions, name, {})
        },
    )


def _refuse_mixed_scales(
    ratings: Floats, items: Sequence[Item], scale: tuple[float, float], path: str
) -> None:
    """Refuse a dimension that ends, at a rating that was often given, well below what others reach.

    Only whole numbers tell. Raises `RatingError` ``mixed-scales``.
    """
    lowest, highest = scale
    stated = [
        column[~np.isnan(column)] for column, item in zip(ratings.T, items, strict=True) if not item.scale
    ]
    most = max((values.max() for values in stated if values.size), default=highest)
    for column, item in zip(ratings.T, items, strict=True):
        values = column[~np.isnan(column)]
        if item.scale or len(values) < _ENOUGH or (values % 1).any() or values.min() > lowest + 1:
            continue
        top = values.max()
        cut_off = (values == top).mean() >= _OFTEN or top <= lowest + (highest - lowest) / 4
        if cut_off and most - top >= 2:
            what = (
                f"{item.column!r} is rated {values.min():g} to {top:g}, other columns up to {most:g}: "
                f"its scale does not seem to be {lowest:g} to {highest:g}"
            )
            hint = "give its scale (or that it is this one) as lowest and highest in the file of --dimensions"
            raise RatingError("mixed-scales", what, path=path, hint=hint)


def _pivot(
    answers: Sequence[Answer],
    items: Sequence[Item],
    options: StudyOptions,
    path: str,
    notes: list[str],
    *,
    drop_empty: bool,
) -> tuple[list[tuple[int, str, str]], Floats]:
    """Rows (line, rater, piece) and their ratings [shape=(n, width)]; repeated rows as the options say."""
    number, width = Numbers(options, items, path), len(items)
    times: defaultdict[tuple[str, str, int], int] = defaultdict(int)
    row_of: dict[tuple[str, str, int], list[float]] = {}
    line_of: dict[tuple[str, str, int], int] = {}
    given: defaultdict[str, list[float]] = defaultdict(list)
    for answer in answers:
        cell = answer.rater, answer.piece, answer.item
        key = answer.rater, answer.piece, times[cell]
        times[cell] += 1
        value = number(answer)
        row_of.setdefault(key, [np.nan] * width)[answer.item] = value
        line_of.setdefault(key, answer.line)
        if value == value:
            given[answer.rater].append(value)
    if not given:
        raise RatingError("no-ratings", "no cell holds a rating", path=path)
    for rater, values in given.items():
        if len(values) >= _CONSTANT and len(set(values)) == 1 and options.rater:
            notes.append(
                f"the rater {rater} answered {values[0]:g} to all {len(values)} questions "
                f"(kept; --drop-raters {rater} leaves them out)"
            )
    silent = [rater for rater in dict.fromkeys(key[0] for key in row_of) if rater not in given]
    if silent:
        notes.append(f"{len(silent)} raters answered nothing, such as {silent[0]}")
    first: dict[tuple[str, str], tuple[str, str, int]] = {}
    repeated = 0
    for key, row in list(row_of.items()):
        if all(value != value for value in row):
            if drop_empty or key[2]:
                del row_of[key]
            continue
        earlier = first.setdefault(key[:2], key)
        if earlier == key:
            continue
        repeated += 1
        lines = f"lines {line_of[earlier]} and {line_of[key]}: " + (
            f"the rater {key[0]} rated {key[1]!r} twice" if options.rater else f"{key[1]!r} stands twice"
        )
        hint = (
            "remove one, or say which rule holds with --duplicates (keep: both count; drop: equal ones once)"
        )
        if options.duplicates == "error":
            raise RatingError("duplicate-rating", lines, path=path, hint=hint)
        if options.duplicates == "drop":
            if not np.array_equal(row, row_of[earlier], equal_nan=True):
                raise RatingError(
                    "conflicting-duplicates", f"{lines}, with other answers", path=path, hint=hint
                )
            del row_of[key]
    if repeated:
        what = "counted each time" if options.duplicates == "keep" else "equal, and counted once"
        notes.append(f"{repeated} ratings of a piece by a rater who had rated it before: {what}")
    rows = [(line_of[key], key[0], key[1]) for key in row_of]
    return rows, np.array(list(row_of.values()), np.float64).reshape(len(rows), width)


def read_pieces(path: str | PathLike[str]) -> pd.DataFrame:
    """Table of pieces by their name in the ratings (column ``piece``; without it, ``file``).

    A file that was played twice has two names. Raises `RatingError`: ``missing-column``, ``no-piece``,
    ``duplicate-piece``.
    """
    table = read_table(path, lines=True)
    if "file" not in table:
        what = f"there is no column 'file'; there are {', '.join(table.columns)}"
        raise RatingError("missing-column", what, path=path, hint="columns: file, piece, and those of groups")
    for name in ("file", "piece") if "piece" in table else ("file",):
        for line, cell in table[name].items():
            if is_missing(cell):
                raise RatingError("no-piece", f"line {line} has no {name}", path=path)
    names = table["piece" if "piece" in table else "file"].map(cell_name)
    if names.duplicated().any():
        raise RatingError("duplicate-piece", f"{names[names.duplicated()].iloc[0]!r} stands twice", path=path)
    files = table["file"].map(lambda cell: piece_id(cell_name(cell)))
    return table.assign(file=files).set_index(names.rename(None))


def _piece_ids(names: Collection[str], pieces: pd.DataFrame | None, path: str | None) -> dict[str, str]:
    """Identifier of each piece that the ratings name: its file, without extension."""
    if pieces is None:
        return {name: piece_id(name) for name in names}
    unknown = [name for name in names if name not in pieces.index]
    if unknown:
        what = f"the ratings name the piece {unknown[0]!r}, which is not here"
        raise RatingError(
            "unknown-piece", what, path=path, hint=f"add it, or leave it out: --ignore {unknown[0]!r}"
        )
    return {name: str(pieces["file"][name]) for name in names}


def _extras(
    table: pd.DataFrame,
    pieces: pd.DataFrame | None,
    options: StudyOptions,
    ids: Mapping[str, str],
    path: str,
    notes: list[str],
) -> dict[str, dict[str, str]]:
    """Columns of groups and performers: column -> piece -> value; blank groups are groups of their own."""
    result: dict[str, dict[str, str]] = {}
    for column in dict.fromkeys(name for name in (*options.groups, options.performer) if name):
        source = pieces if pieces is not None and column in pieces else table
        names = [
            str(name) for name in (table[options.file].map(cell_name) if source is table else source.index)
        ]
        values: dict[str, str] = {}
        for line, name, cell in zip(source.index, names, source[column].tolist(), strict=True):
            if name not in ids or is_missing(cell):
                continue
            value = cell_name(cell)
            if values.setdefault(ids[name], value) != value:
                what = (
                    f"line {line}: {name!r} has two values of {column!r}, {values[ids[name]]!r} and {value!r}"
                )
                raise RatingError("conflicting-group", what, path=path if source is table else options.pieces)
        blank = [name for name in dict.fromkeys(ids.values()) if name not in values]
        if blank and column == options.performer:
            raise RatingError("no-performer", f"{blank[0]!r} has no {column!r}", path=path)
        if blank:
            notes.append(
                f"{len(blank)} pieces have no {column!r}, such as {blank[0]}: each is a group of its own"
            )
        result[column] = {name: values.get(name, name) for name in dict.fromkeys(ids.values())}
    return result
