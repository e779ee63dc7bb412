"""Labels of a data-bin: ratings, performer classes and identifiers of one split.

``BIN/<fold>/label/`` holds ``<split>.label`` (a JSON array a line: ``d`` ratings on 0-1 or null, then the
class), ``<split>.id`` (one identifier a line) and ``classes.json`` (names of classes and dimensions). Where
a data-bin of older code has no ``classes.json``, sizes come from the label files and names are numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musicbert.errors import DatasetError

__all__ = ["RatingLabels", "RatingSchema", "published_performer", "read_labels", "read_schema"]

#: class that the published contrastive task gives to the score's own rendering
_SCORE_CLASS = 13

#: number of classes of the published contrastive model
PUBLISHED_CLASSES = 14


@dataclass(frozen=True)
class RatingSchema:
    """What the labels of a data-bin mean.

    Attributes
    ----------
    classes
        Names of the performers in class order.
    dimensions
        Names of the rated dimensions (the low pole).
    """

    classes: tuple[str, ...]
    dimensions: tuple[str, ...]


@dataclass(frozen=True)
class RatingLabels:
    """Labels of one split.

    Attributes
    ----------
    ratings
        [shape=(n, d), float32, 0-1], NaN where no rating.
    class_of
        [shape=(n,), int64] performer classes, -1 where unknown.
    ids
        Identifier of each piece; empty where the data-bin has none.
    """

    ratings: np.ndarray
    class_of: np.ndarray
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ratings)


def _rows(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a label file into ratings and classes."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DatasetError(
            "missing-labels", "the label file is missing", path=path, hint="binarise the data set again"
        ) from None
    except UnicodeDecodeError:
        raise DatasetError(
            "bad-label", "this is not UTF-8 text", path=path, hint="binarise the data set again"
        ) from None
    ratings: list[list[float]] = []
    classes: list[int] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            values = [float("nan") if value is None else float(value) for value in row[:-1]]
            performer = -1 if row[-1] is None else int(row[-1])
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError):
            raise DatasetError(
                "bad-label",
                f"line {number} is no JSON array of ratings and a class",
                path=path,
                hint="each line is [rating or null, ..., class]",
            ) from None
        if ratings and len(values) != len(ratings[0]):
            raise DatasetError(
                "bad-label",
                f"line {number} has {len(values)} ratings, line 1 has {len(ratings[0])}",
                path=path,
                hint="write all labels of a data set with the same dimensions",
            )
        ratings.append(values)
        classes.append(performer)
    table = np.array(ratings, dtype=np.float32).reshape(len(ratings), -1)  # (n, d)
    if ((table < 0) | (table > 1)).any():  # NaN is neither
        raise DatasetError(
            "bad-label", "a rating is outside 0-1", path=path, hint="ratings are on 0-1 or null"
        )
    return table, np.array(classes, dtype=np.int64)


def read_labels(data: str | Path, split: str, schema: RatingSchema | None = None) -> RatingLabels:
    """Read the labels of a split.

    Parameters
    ----------
    data
        Folder of one fold of a data-bin.
    split
        Name of the split.
    schema
        What the labels must agree with.

    Raises
    ------
    DatasetError
        ``missing-labels``, ``bad-label``, ``wrong-length`` (labels and identifiers), ``label-mismatch``
        (another number of dimensions or a class that the schema lacks).
    """
    path = Path(data) / "label" / f"{split}.label"
    ratings, classes = _rows(path)
    id_path = path.with_suffix(".id")
    ids = tuple(id_path.read_text(encoding="utf-8").split("\n")) if id_path.exists() else ()
    ids = tuple(name.strip() for name in ids if name.strip())
    if ids and len(ids) != len(ratings):
        raise DatasetError(
            "wrong-length",
            f"{len(ratings)} labels, but {len(ids)} identifiers in {id_path.name}",
            path=path,
            hint="binarise the data set again",
        )
    if schema is not None and len(ratings):
        if ratings.shape[1] != len(schema.dimensions):
            raise DatasetError(
                "label-mismatch",
                f"{ratings.shape[1]} ratings a line, but {len(schema.dimensions)} dimensions are named",
                path=path,
                hint="labels and classes.json must come from the same data set",
            )
        if classes.max() >= len(schema.classes) or classes.min() < -1:
            raise DatasetError(
                "label-mismatch",
                f"class {classes.max()}, but {len(schema.classes)} classes are named",
                path=path,
                hint="labels and classes.json must come from the same data set",
            )
    return RatingLabels(ratings, classes, ids)


def _names(values: object, path: Path, key: str) -> tuple[str, ...]:
    """Return names from a list of strings or of objects with a ``name``."""
    if isinstance(values, list):
        names = [value.get("name") if isinstance(value, dict) else value for value in values]
        if all(isinstance(name, str) for name in names):
            return tuple(names)
    raise DatasetError("bad-classes", f"{key!r} is no list of names", path=path, hint="write it again")


def read_schema(data: str | Path) -> RatingSchema:
    """Read what the labels of a data-bin mean.

    Parameters
    ----------
    data
        Folder of one fold of a data-bin.

    Raises
    ------
    DatasetError
        ``bad-classes``, ``missing-labels``, ``bad-label``.
    """
    folder = Path(data) / "label"
    path = folder / "classes.json"
    if path.exists():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return RatingSchema(
                _names(content["classes"], path, "classes"),
                _names(content["dimensions"], path, "dimensions"),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(
                "bad-classes",
                f"no JSON object with classes and dimensions ({error})",
                path=path,
                hint="make the data set again",
            ) from None
    found = sorted(folder.glob("*.label"))
    if not found:
        raise DatasetError(
            "missing-labels",
            "no label file",
            path=folder,
            hint="give the folder of one fold of a data-bin, such as xai_data_bin_apex_reg_cls/0",
        )
    tables = [_rows(label_path) for label_path in found]
    largest = max(int(classes.max(initial=-1)) for _, classes in tables)
    width = max(ratings.shape[1] for ratings, _ in tables)
    return RatingSchema(tuple(map(str, range(largest + 1))), tuple(map(str, range(width))))


def published_performer(identifier: str) -> int:
    """Return the class that the published contrastive task reads off an identifier.

    The fifth part of ``Schubert_D960_mv3_8bars_4_07`` is the performer's number; ``Score`` is 13.

    Raises
    ------
    DatasetError
        ``bad-identifier`` where there is no number.
    """
    part = (identifier.split("_") + [""] * 5)[4]
    if part.lower() == "score":
        return _SCORE_CLASS
    if not part.isdigit() or int(part) >= PUBLISHED_CLASSES:
        raise DatasetError(
            "bad-identifier",
            f"{identifier!r} names no performer in its fifth part",
            hint="leave --compat out: performer classes then come from the labels",
        )
    return int(part)
