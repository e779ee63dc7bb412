"""Ratings and performers of pieces: label files, and `RatingBin`, one fold of a rating data-bin.

``FOLD/label/`` holds, beside what `musicbert.corpus.labelled.token_bin` names, ``<part>.label`` (a JSON array
a line: d ratings on 0-1 or null, then the class or null) and ``classes.json`` (names of classes and
dimensions); optionally ``<part>.means`` (the same with the plain means of the raters) and ``<part>.raters``
(a JSON array a line: how many rated each dimension). A data-bin of older code has no ``classes.json``: sizes
then come from the label files, and names are numbers. The raw data set
(`musicbert.corpus.labelled.rating_rawset`) has the same files.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.annotation.dimensions import rating_scale
from musicbert.annotation.names import content_group
from musicbert.arrays import Floats, Ints
from musicbert.atomic import parse_json
from musicbert.corpus.files.folders import read_whole
from musicbert.corpus.labelled.contract import LabelColumn
from musicbert.corpus.labelled.token_bin import TokenBin
from musicbert.errors import DatasetError, RatingError

#: What to do about a data-bin that is damaged.
BINARISE = "binarise the data set again with scripts/binarize_xai.sh"
#: Number of classes of the published contrastive model.
PUBLISHED_CLASSES = 14


@dataclass(frozen=True)
class RatingSchema:
    """Names of the performers, in the order of their classes, and of the rated dimensions.

    ``poles`` of each dimension, ``scale`` (what a label means, in words) and ``bounds`` (see `LabelColumn`)
    are empty where they are unknown.
    """

    classes: tuple[str, ...]
    dimensions: tuple[str, ...]
    poles: tuple[tuple[str, str], ...] = ()
    scale: str = ""
    bounds: tuple[float, ...] = ()


class RatingBin(TokenBin):
    """One fold of a rating data-bin (see `TokenBin`).

    Labels: ``ratings`` (regression, 0-1, one output a dimension) and ``performer`` (classes); where the data
    have them, ``column`` and ``label`` also know ``means``, a second target beside ``ratings``. The group of
    a piece is that of ``<part>.group``, or its music
    (`musicbert.annotation.names.content_group`) where it is named like a rated segment, else its name.

    Raises `DatasetError`: those of `TokenBin`, `parse_ratings` and `read_classes`; ``missing-labels``,
    ``wrong-length`` (not one label a piece), ``label-mismatch`` (another number of dimensions, or a class
    without a name).
    """

    BINARISE = BINARISE

    def __init__(self, path: str | PathLike[str], *, parts: Sequence[str] | None = None) -> None:
        super().__init__(path, parts=parts)
        self.schema = self._schema()
        schema = self.schema
        self.labels = {
            "ratings": LabelColumn(
                "ratings",
                "sequence",
                "regression",
                schema.dimensions,
                schema.poles,
                schema.scale,
                schema.bounds,
            ),
            "performer": LabelColumn("performer", "sequence", "classes", schema.classes),
        }
        #: columns that are no label of their own
        self.beside: dict[str, LabelColumn] = {}
        read = [self._labels(part) for part in self.parts]
        self._values: dict[str, NDArray[Any]] = {
            "ratings": np.concatenate([ratings for ratings, _ in read]).astype(np.float32),
            "performer": np.concatenate([classes for _, classes in read]).astype(np.int32),
        }
        if all((self.path / "label" / f"{part}.means").is_file() for part in self.parts):
            self.beside["means"] = replace(self.labels["ratings"], name="means")
            means = [self._labels(part, "means")[0] for part in self.parts]
            self._values["means"] = np.concatenate(means).astype(np.float32)

    def column(self, name: str) -> LabelColumn:
        """Return a label, or ``means``; raises `DatasetError` (``unknown-label``)."""
        return self.beside[name] if name in self.beside else super().column(name)

    @cached_property
    def raters(self) -> Floats | None:
        """Raters of each piece, the mean over its rated dimensions [shape=(n,)]; None where unknown.

        Raises `DatasetError` (``wrong-length``, ``bad-label``).
        """
        means: list[float] = []
        for part in self.parts:
            path = self.path / "label" / f"{part}.raters"
            for number, line in enumerate(self.lines(part, "raters") or (), start=1):
                try:
                    counts = np.array(json.loads(line), np.float64).reshape(len(self.schema.dimensions))
                    if not (np.isfinite(counts) & (counts >= 0)).all():
                        raise ValueError("a number of raters is below 0")
                except (ValueError, TypeError, RecursionError) as error:
                    raise self._error("bad-label", f"Line {number}: {error}", path) from error
                means.append(float(counts[counts > 0].mean()) if counts.any() else 0.0)
        return np.array(means) if len(means) == len(self) else None

    def label(self, name: str) -> NDArray[Any]:
        """Ratings [shape=(n, d), float32] or performers [shape=(n,), int32] of the pieces."""
        return self._values[self.column(name).name]

    @cached_property
    def groups(self) -> dict[str, str]:
        """Group of each piece by its name: as ``<part>.group`` says, or by the music that its name tells."""
        given = [self.lines(part, "group") for part in self.parts]
        if None not in given:
            return dict(zip(self.names, [group for part in given for group in part or ()], strict=True))
        return dict(zip(self.names, map(_music, self.ids or self.names), strict=True))

    def _schema(self) -> RatingSchema:
        folder = self.path / "label"
        if (folder / "classes.json").exists():
            return read_classes(folder / "classes.json")
        files = sorted(folder.glob("*.label"))
        if not files:
            raise self._error("missing-labels", "There is no label file", folder)
        tables = [parse_ratings(self._label_lines(file), file) for file in files]
        largest = max(int(classes.max(initial=-1)) for _, classes in tables)
        width = max(ratings.shape[1] for ratings, _ in tables)
        return RatingSchema(tuple(map(str, range(largest + 1))), tuple(map(str, range(width))))

    def _label_lines(self, path: Path) -> list[str]:
        try:
            return path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise self._error("missing-labels", "There is no label file", path) from None
        except UnicodeDecodeError:
            raise self._error("bad-label", "This is not UTF-8 text", path) from None

    def _labels(self, part: str, suffix: str = "label") -> tuple[Floats, Ints]:
        """Ratings [shape=(n, d)] and performers [shape=(n,)] of a part, checked against the schema."""
        path = self.path / "label" / f"{part}.{suffix}"
        ratings, classes = parse_ratings(self._label_lines(path), path)
        if len(ratings) != len(self.part(part)):
            message = f"{len(ratings)} labels for {len(self.part(part))} pieces"
            raise self._error("wrong-length", message, path)
        dimensions, performers = len(self.schema.dimensions), len(self.schema.classes)
        if not len(ratings):
            return np.zeros((0, dimensions)), classes
        wrong = classes[(classes < -1) | (classes >= performers)]
        problem = None
        if ratings.shape[1] != dimensions:
            problem = f"{ratings.shape[1]} ratings a line, but {dimensions} dimensions are named"
        elif len(wrong):
            problem = f"Class {wrong[0]}, but {performers} classes are named"
        if problem:
            hint = "labels and classes.json must come from the same data set"
            raise DatasetError("label-mismatch", problem, path=path, hint=hint)
        return ratings, classes


def _music(name: str) -> str:
    try:
        return content_group(name)
    except RatingError:
        return name


def parse_ratings(
    lines: Sequence[str], path: Path, *, hint: str = "each line is [rating or null, ..., class]"
) -> tuple[Floats, Ints]:
    """Read ratings and classes from the lines of a label file.

    Returns ratings [shape=(n, d), float64, 0-1, NaN where missing] and classes [shape=(n,), int64, -1 where
    missing]. Raises `DatasetError` (``bad-label``: not the JSON array above, with the same d on every line).
    """
    rows: list[list[float]] = []
    classes: list[int] = []
    for number, line in enumerate(lines, start=1):
        try:
            *ratings, cls = json.loads(line)
            if any(isinstance(value, bool | str) for value in ratings):
                raise ValueError("a rating is not a number")
            row = [math.nan if value is None else float(value) for value in ratings]
            if any(not 0 <= value <= 1 for value in row if not math.isnan(value)):
                raise ValueError("a rating is outside 0-1")
            if cls is not None and (isinstance(cls, bool) or not isinstance(cls, int) or abs(cls) >= 2**31):
                raise ValueError("the last value is not a class")
            if rows and len(row) != len(rows[0]):
                raise ValueError(f"it has {len(row)} ratings, line 1 has {len(rows[0])}")
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise DatasetError("bad-label", f"Line {number}: {error}", path=path, hint=hint) from None
        rows.append(row)
        classes.append(-1 if cls is None else cls)
    return np.array(rows, np.float64).reshape(len(rows), -1 if rows else 0), np.array(classes, np.int64)


def read_classes(path: Path, *, hint: str = BINARISE) -> RatingSchema:
    """Read ``classes.json``; raises `DatasetError` (``not-found``, ``bad-classes``)."""
    try:
        content = parse_json(read_whole(path, "The schema of the labels", hint=hint))
        dimensions = content["dimensions"]
        known = [(entry["low"], entry["high"]) for entry in dimensions if {"low", "high"} <= set(entry)]
        poles = tuple((str(low), str(high)) for low, high in known) if len(known) == len(dimensions) else ()
        bounds: tuple[float, ...] = ()
        if source := content.get("label_source"):
            study = rating_scale(source)
            bounds = (*map(float, study.scale), float(study.zero))
        return RatingSchema(
            _names(content["classes"]), _names(dimensions), poles, str(content.get("scale", "")), bounds
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"Not a JSON object with classes and dimensions: {error!r}"
        raise DatasetError("bad-classes", message, path=path, hint=hint) from error


def _names(values: object) -> tuple[str, ...]:
    """Names from a list of strings or of objects with a ``name``."""
    if isinstance(values, list):
        names = [value.get("name") if isinstance(value, dict) else value for value in values]
        strings = tuple(name for name in names if isinstance(name, str))
        if len(strings) == len(names):
            return strings
    raise ValueError("a list of names is expected")


def published_performer(identifier: str) -> int:
    """Return the class that the published contrastive task reads from an identifier.

    The fifth part of ``Schubert_D960_mv3_8bars_4_07`` is the performer's number; ``Score`` is 13.
    Raises `DatasetError` (``bad-identifier`` where there is no number).
    """
    part = (identifier.split("_") + [""] * 5)[4]
    if part.lower() == "score":
        return 13  # the score's own rendering
    if not part.isdigit() or int(part) >= PUBLISHED_CLASSES:
        message = f"{identifier!r} names no performer in its fifth part"
        hint = "leave --compat out: performer classes then come from the labels"
        raise DatasetError("bad-identifier", message, hint=hint)
    return int(part)
