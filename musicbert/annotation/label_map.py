"""The label map: one row of labels and one performer class for every segment.

On disk it is the JSON of the published pipeline, ``{id: [d floats, class]}`` in order of first appearance,
written as ``json.dump`` writes it (so an unchanged map is byte-equal), or CSV or Parquet with one row a
segment. A rating that is missing is NaN in memory, ``null`` in JSON and empty elsewhere, never 0. Beside it
lies ``<name>.meta.json``: dimensions with both poles, class names, kind of label, hash of the source, and of
each segment the number of ratings and their plain mean.

Labels are 0-1 (ratings divided by the highest). Verified in ``tests/unit/annotation/test_label_map.py``.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from musicbert.annotation.bounds import check_cells, read_bounded, read_parquet
from musicbert.annotation.dimensions import PERCEPIANO, RATING_SETS, Dimension, scale_in_words, unnamed
from musicbert.annotation.files import format_of, meta_path, read_whole, reserve, save_table
from musicbert.annotation.names import content_groups, performer_of
from musicbert.arrays import Floats, Ints
from musicbert.atomic import check_json, check_types, read_json
from musicbert.errors import RatingError, first_line


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels of segments: n segments, d dimensions.

    ``values`` [shape=(n, d), float64, 0-1] are NaN where there is no rating; ``classes`` are the names of the
    performers and ``class_of`` [shape=(n,), int64] the class of each segment; ``kind`` is ``apex``, ``mean``,
    ``median`` or ``stdev``; ``n_raters`` [shape=(n, d), int64] are the ratings behind each label, ``means``
    [shape=(n, d), 0-1] their plain means, whatever the kind (None for a map without them); ``source`` says
    where it comes from (file name, hash, rules); ``groups`` (column -> segment -> group) are those of a study
    with names of its own.

    Raises `ValueError` (when the shapes do not fit together).
    """

    ids: tuple[str, ...]
    values: Floats
    dimensions: tuple[Dimension, ...]
    classes: tuple[str, ...]
    class_of: Ints
    kind: str = "apex"
    n_raters: Ints | None = None
    means: Floats | None = None
    source: dict[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, str]] | None = None

    def __post_init__(self) -> None:
        n, d = len(self.ids), len(self.dimensions)
        if self.values.shape != (n, d) or self.class_of.shape != (n,):
            raise ValueError(
                f"{n} ids and {d} dimensions, but values {self.values.shape}, classes {self.class_of.shape}"
            )
        if len(set(self.ids)) != n:
            raise ValueError("identifiers occur twice")
        if n and not 0 <= int(self.class_of.min()) <= int(self.class_of.max()) < len(self.classes):
            raise ValueError("a class has no name")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def performers(self) -> list[str]:
        """Performer name of each segment, in order."""
        return [self.classes[k] for k in self.class_of]

    def row(self, name: str, *, means: bool = False) -> list[float | int | None]:
        """The d labels (``None`` where missing) and the class of one segment, as in the JSON.

        ``means``: the plain means of the ratings in place of the labels.
        Raises `KeyError`: when the segment is not in the map.
        """
        at = self._index[name]
        if not means:
            return self._row(at)
        return [] if self.means is None else [*_plain(self.means[at]), int(self.class_of[at])]

    def raters(self, name: str) -> list[int]:
        """Number of ratings behind each label of a segment."""
        return [] if self.n_raters is None else self.n_raters[self._index[name]].tolist()

    def _row(self, i: int) -> list[float | int | None]:
        return [*_plain(self.values[i]), int(self.class_of[i])]

    @property
    def _index(self) -> dict[str, int]:
        index = self.__dict__.get("_index_")
        if index is None:
            index = {name: i for i, name in enumerate(self.ids)}
            object.__setattr__(self, "_index_", index)
        return index

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def subset(self, ids: Iterable[str]) -> LabelMap:
        """The same map with only some segments, in the order asked for; classes stay as they are.

        Raises `KeyError`: when a segment is not in the map.
        """
        names = tuple(ids)
        rows = np.array([self._index[name] for name in names], dtype=np.int64)
        return replace(
            self,
            ids=names,
            values=self.values[rows].reshape(len(names), len(self.dimensions)),
            class_of=self.class_of[rows],
            n_raters=None if self.n_raters is None else self.n_raters[rows],
            means=None if self.means is None else self.means[rows],
        )

    def to_dict(self) -> dict[str, list[float | int | None]]:
        """``{id: [d labels, class]}`` as in the JSON."""
        return {name: self._row(i) for i, name in enumerate(self.ids)}

    def to_frame(self) -> pd.DataFrame:
        """Data frame: ``id``, one column a dimension (by name), ``performer``, ``class``."""
        reserve(self.dimensions, "id", "performer", "class")
        frame = pd.DataFrame(self.values, columns=[dimension.name for dimension in self.dimensions])
        frame.insert(0, "id", list(self.ids))
        frame["performer"] = self.performers
        frame["class"] = self.class_of
        return frame

    def meta(self) -> dict[str, Any]:
        """Contents of the side file."""
        return {
            "kind": self.kind,
            "segments": len(self),
            "dimensions": [asdict(dimension) for dimension in self.dimensions],
            "classes": list(self.classes),
            "scale": scale_in_words(self.source),
            "source": self.source,
            **({} if self.groups is None else {"groups": self.groups}),
            **(
                {}
                if self.n_raters is None
                else {"raters": dict(zip(self.ids, self.n_raters.tolist(), strict=True))}
            ),
            **(
                {}
                if self.means is None
                else {"means": dict(zip(self.ids, map(_plain, self.means), strict=True))}
            ),
        }

    def group_of(self, column: str | None = None) -> dict[str, str]:
        """Group of each segment: of a column of groups (the first, if None), or else its content group.

        Raises `RatingError`: ``missing-column``, ``bad-name``.
        """
        if column is None and self.groups is None:
            return content_groups(self.ids)
        known = self.groups or {}
        if column is not None and column not in known:
            named = f"there are {', '.join(known)}" if known else "there is none"
            raise RatingError(
                "missing-column",
                f"the labels have no column of groups {column!r}; {named}",
                hint="map_midi_to_label.py --group-column",
            )
        chosen = known[column if column is not None else next(iter(known))]
        return {name: chosen[name] for name in self.ids}

    def grouped_as(self, group_of: Mapping[str, str]) -> LabelMap:
        """The same map, whose first column of groups is the one that gives these groups, where one does."""
        groups = self.groups or {}
        for column, known in groups.items():
            if all(known.get(name) == group for name, group in group_of.items()):
                return replace(self, groups={column: known, **groups})
        return self

    @property
    def performer_of(self) -> dict[str, str]:
        """Performer of each segment by its name."""
        return dict(zip(self.ids, self.performers, strict=True))

    def save(self, path: str | PathLike[str], *, format: str | None = None) -> None:
        """Write the map and its side file (see `musicbert.annotation.files.save_table`)."""
        save_table(self, path, format=format)

    @classmethod
    def load(cls, path: str | PathLike[str], *, columns: str | None = None) -> LabelMap:
        """Read and check a map (see `read_label_map`)."""
        return read_label_map(path, columns=columns)


def _plain(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def _of_segments(meta: Mapping[str, Any], name: str, ids: Sequence[str], kind: Any) -> Any:
    """Table of the side file with a row for each segment [shape=(n, d)]; None without it."""
    return np.array([meta[name][i] for i in ids], kind) if meta.get(name) else None


#: beginnings of the names of published segments
_PUBLISHED = re.compile("Schubert_D|Beethoven_WoO80_")
#: more performers than any data set has; a larger class number is a damaged file
_MAX_CLASSES = 100_000


def read_label_map(path: str | PathLike[str], *, columns: str | None = None) -> LabelMap:
    """Read a label map from JSON, CSV or Parquet.

    ``path``: the map. Its side file is used where there is one; without it the dimensions follow from the
    width (and, for 25, from the class map: class 0 is ``Score`` in ``published`` and nowhere else), if the
    segments are those of the published sets.
    ``columns``: name of the column set, for a map without a side file.
    Raises `RatingError`: ``not-found``, ``empty-file``, ``unknown-format``, ``damaged``, ``empty-map``,
    ``duplicate-id``, ``wrong-length`` (rows of different lengths, or not those of the side file),
    ``not-a-number``, ``out-of-range``, ``bad-class``, ``class-mismatch`` (one class number for two
    performers, or another performer than the name of the segment says).
    """
    kind = format_of(path)
    missing, empty = (f"run map_midi_to_label.py {when}" for when in ("first", "again"))
    data = read_whole(path, "the label map", missing=missing, empty=empty)
    meta = _read_meta(path)
    rows, widths = _rows_of_json(data, path) if kind == "json" else _rows_of_table(path, kind)
    if not rows:
        raise RatingError("empty-map", "the label map holds no segment", path=path)
    width = widths[next(iter(rows))]
    for name, length in widths.items():
        if length != width:
            raise _bad("wrong-length", f"{name} has {length} values where the first has {width}", path)
    if width < 2:
        raise _bad("wrong-length", "a row needs one label and one class at least", path)
    ids = tuple(rows)
    values = np.array([_labels(name, rows[name][:-1], path) for name in ids], dtype=np.float64)
    class_of = np.array([_class(name, rows[name][-1], path) for name in ids], dtype=np.int64)
    classes = tuple(meta["classes"]) if meta else _class_names(ids, class_of, path)
    if int(class_of.max()) >= len(classes):
        raise _bad("bad-class", f"class {int(class_of.max())}, but the side file names {len(classes)}", path)
    if meta:
        _check_side_file(meta, ids, class_of, path)
        dimensions = tuple(Dimension(**entry) for entry in meta["dimensions"])
        if len(dimensions) != width - 1:
            raise _bad(
                "wrong-length",
                f"{width - 1} labels a row, but the side file names {len(dimensions)} dimensions",
                path,
            )
        if columns is not None and _dimensions(width - 1, ids, classes, columns, path) != dimensions:
            raise _bad("wrong-columns", f"its side file names other dimensions than {columns!r}", path)
    else:
        dimensions = _dimensions(width - 1, ids, classes, columns, path)
    return LabelMap(
        ids=ids,
        values=values,
        dimensions=dimensions,
        classes=classes,
        class_of=class_of,
        kind=str(meta.get("kind", "unknown")) if meta else "unknown",
        source=dict(meta.get("source", {})) if meta else {},
        n_raters=_of_segments(meta, "raters", ids, np.int64),
        means=_of_segments(meta, "means", ids, np.float64),
        groups=meta.get("groups") or None,
    )


def _bad(reason: str, message: str, path: str | PathLike[str]) -> RatingError:
    return RatingError(reason, message, path=path, hint="make the label map again with map_midi_to_label.py")


def _read_meta(path: str | PathLike[str]) -> dict[str, Any]:
    side = meta_path(path)
    if not side.is_file():
        return {}
    try:
        meta = read_json(side)
        check_types(meta, dimensions=list, classes=list)
        dict(meta.get("source", {}))
        for entry in meta["dimensions"]:
            Dimension(**entry)
        if not all(isinstance(name, str) for name in meta["classes"]):
            raise TypeError("class names are strings")
        if not all(isinstance(of[name], str) for of in (meta.get("groups") or {}).values() for name in of):
            raise TypeError("groups are strings")
        for name, kinds in (("raters", int), ("means", int | float | None)):
            for row in (meta.get(name) or {}).values():
                fit = all(isinstance(v, kinds) and (v is None or abs(v) < 2**31) for v in row)
                if not fit or len(row) != len(meta["dimensions"]):
                    raise TypeError(f"{name} are not one number a dimension")
        scale_in_words(dict(meta.get("source", {})))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad(
            "damaged", f"the side file cannot be used ({type(error).__name__}: {error})", side
        ) from error
    return dict(meta)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise KeyError(twice)
    return content


def _rows_of_json(data: bytes, path: str | PathLike[str]) -> tuple[dict[str, list[Any]], dict[str, int]]:
    try:
        check_json(data)
        loaded = json.loads(data, object_pairs_hook=_unique_pairs)
    except KeyError as error:
        raise _bad("duplicate-id", f"the segment {error.args[0]} occurs twice", path) from error
    except (ValueError, RecursionError) as error:
        raise _bad("damaged", f"this is not JSON ({error})", path) from error
    if not isinstance(loaded, dict):
        raise _bad("damaged", "a label map is one JSON object {id: [labels, class]}", path)
    for name, row in loaded.items():
        if not isinstance(row, list):
            raise _bad("damaged", f"{name} holds no list", path)
        if row and isinstance(row[0], list):
            raise _bad("damaged", "this map holds every rating (label 'all'), not one label a segment", path)
    return loaded, {name: len(row) for name, row in loaded.items()}


def _rows_of_table(path: str | PathLike[str], kind: str) -> tuple[dict[str, list[Any]], dict[str, int]]:
    try:
        if kind == "csv":  # as text: Python reads decimal numbers exactly
            data = read_bounded(path)
            check_cells(data.count(b",") + data.count(b"\n"))
            frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
            frame = frame.set_index("id").map(_cell).reset_index()
        else:
            frame = read_parquet(path)
        names = [str(name) for name in frame["id"]]
        classes = frame["class"].tolist()
        table = frame.drop(columns=["id", "performer", "class"])
    except KeyError as error:
        raise _bad("damaged", f"the column {error.args[0]} is missing", path) from error
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parse errors are ValueErrors
        raise _bad("damaged", f"this is no {kind} table ({first_line(error)})", path) from error
    if len(set(names)) != len(names):
        raise _bad("duplicate-id", "a segment occurs twice", path)
    columns = [[None if value != value else value for value in table[column].tolist()] for column in table]
    rows = {name: [*labels, k] for name, k, *labels in zip(names, classes, *columns, strict=True)}
    return rows, {name: len(row) for name, row in rows.items()}


def _cell(text: str) -> int | float | str | None:
    """A cell of a CSV table: a number where it is one."""
    for kind in (int, float) if "_" not in text else ():  # Python reads 4_4 as 44
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def _labels(name: str, row: list[Any], path: str | PathLike[str]) -> list[float]:
    for value in row:
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise _bad("not-a-number", f"{name} holds {value!r}; a missing label is null", path)
        if not 0 <= value <= 1:
            raise _bad("out-of-range", f"{name} holds {value!r}; labels are 0-1", path)
    return [math.nan if value is None else float(value) for value in row]


def _class(name: str, value: Any, path: str | PathLike[str]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_CLASSES:
        raise _bad(
            "bad-class", f"{name} ends in {value!r}; the last value is the performer's class number", path
        )
    return value


def _check_side_file(
    meta: dict[str, Any], ids: tuple[str, ...], class_of: Ints, path: str | PathLike[str]
) -> None:
    """Raise unless a side file is of this map: as many segments, and the performers that their names say."""
    if meta.get("segments", len(ids)) != len(ids):
        message = f"the map has {len(ids)} segments, its side file is of one of {meta['segments']}"
        raise _bad("wrong-length", message, path)
    beside = {name: meta[name] for name in ("raters", "means") if meta.get(name)}
    for column, group_of in {**(meta.get("groups") or {}), **beside}.items():
        if lost := [name for name in ids if name not in group_of]:
            raise _bad("wrong-length", f"the side file names no {column!r} of {lost[0]}", path)
    for name, k in zip(ids, class_of.tolist(), strict=True) if not meta.get("groups") else ():
        try:
            performer = performer_of(name)
        except RatingError:
            return
        if performer != meta["classes"][k]:
            message = (
                f"{name} is of performer {performer}, the side file names its class {meta['classes'][k]}"
            )
            raise _bad("class-mismatch", message, path)


def _class_names(ids: tuple[str, ...], class_of: Any, path: str | PathLike[str]) -> tuple[str, ...]:
    """Names of the classes from the names of the segments, for a map without a side file."""
    names = [f"class {k}" for k in range(int(class_of.max()) + 1)]
    performers: dict[int, str] = {}
    for name, k in zip(ids, class_of.tolist(), strict=True):
        try:
            performer = performer_of(name)
        except RatingError:
            return tuple(names)
        if performers.setdefault(k, performer) != performer:
            raise _bad(
                "class-mismatch", f"class {k} stands for performers {performers[k]} and {performer}", path
            )
    for k, performer in performers.items():
        names[k] = performer
    if len(set(performers.values())) != len(performers):
        raise _bad("class-mismatch", "one performer has two class numbers", path)
    return tuple(names)


def _dimensions(
    width: int, ids: tuple[str, ...], classes: tuple[str, ...], columns: str | None, path: str | PathLike[str]
) -> tuple[Dimension, ...]:
    if columns is None:
        if not all(_PUBLISHED.match(name) for name in ids):  # a width alone says nothing
            return unnamed(width)
        by_width = {28: "full", 18: "rm-bad"}
        if width == len(PERCEPIANO):
            return PERCEPIANO
        if width == 25 and not classes[0].startswith("class "):
            by_width[25] = "published" if classes[0] == "Score" else "mnskim"
        return RATING_SETS["xai"].columns[by_width[width]] if width in by_width else unnamed(width)
    full = {name: study.columns["full"] for name, study in RATING_SETS.items() if name != "xai"}
    sets = {**RATING_SETS["xai"].columns, **full}
    if columns not in sets or len(sets[columns]) != width:
        raise RatingError(
            "wrong-length",
            f"{width} labels a row do not fit the column set {columns!r}",
            path=path,
            hint=f"sets: {', '.join(f'{name} ({len(dims)})' for name, dims in sets.items())}",
        )
    return sets[columns]
