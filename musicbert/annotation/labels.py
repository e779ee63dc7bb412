"""From ratings to labels.

Published rules are the defaults. What they do with a question that somebody did not answer:

* ``zeros="row"``, XAI-music: a row with any blank or 0 among the chosen questions is dropped whole (which
  costs 1,922 of 7,213 rows for the ``published`` columns, because one of their questions was asked of some).
* ``zeros="row"``, PercePiano: blank and 0 mask the cell, a value over 7 drops the row, rows that occur twice
  count twice, and a segment with an empty dimension is skipped.
* ``zeros="cell"``, both: only the cell is masked, every (user, dataID) counts once. A label that nobody gave
  is NaN, never 0.

A label is 0-1: published ones are ratings divided by the highest (7 in both); those of own studies span the
scale, ``(rating - lowest) / (highest - lowest)``, since a scale may begin anywhere. ``center_raters``
subtracts each rater's own mean of each question (and adds the question's mean back), so that strict and kind
raters count alike; it uses all rows of the table, whatever the split later on.

Verified against the published maps in ``tests/parity/test_labels_golden.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.names import natural_key, performer_of
from musicbert.annotation.selection import LabelOptions, LabelReport, select_ratings
from musicbert.annotation.table import RatingTable
from musicbert.arrays import Bools, Floats, Ints
from musicbert.errors import RatingError

#: kind -> reduction of ratings [shape=(raters, cells)] to labels [shape=(cells,), 0-1]; the function is
#: `RatingSet.label`
REDUCTIONS: Mapping[str, Callable[[Floats, Callable[[Floats], Floats]], Floats]] = {
    "apex": lambda ratings, label: label(apexes(ratings)),
    "mean": lambda ratings, label: label(ratings.mean(axis=0)),
    "median": lambda ratings, label: label(np.median(ratings, axis=0)),
    "stdev": lambda ratings, label: np.asarray(label(ratings).std(axis=0)),  # bit-equal in this order
}
#: dimensions and quantile of the published high-stdev filter
_STDEV_DIMENSIONS, _STDEV_QUANTILE = 6, 75


def make_labels(table: RatingTable, options: LabelOptions | None = None) -> tuple[LabelMap, LabelReport]:
    """Labels of all segments of a table (by the published rules unless told otherwise), and what was dropped.

    Raises `RatingError` (``nothing-left`` when no segment passes, and those of `select_ratings`);
    `ValueError` (for label ``all``, which is no label map: use `musicbert.annotation.rating_rows`).
    """
    options = options or LabelOptions()
    if options.label == "all":
        raise ValueError("label 'all' is made by musicbert.annotation.rating_rows.all_ratings")
    ratings = select_ratings(table, options)
    report = ratings.report
    cells = ratings.cells()
    label = table.study.label

    def reduce(kind: str) -> Floats:
        return cells.reduce(lambda cell: REDUCTIONS[kind](cell, label))

    values, means, counts = reduce(options.label), reduce("mean"), cells.counts
    if options.center_raters:  # a centred rating can leave the scale
        lowest = label(np.array(table.study.scale[0]))
        means = np.clip(means, lowest, 1.0)
        values = values if options.label == "stdev" else np.clip(values, lowest, 1.0)
    keep = np.ones(len(ratings.ids), dtype=bool)

    def drop(wrong: Any, why: str) -> None:
        report.segments_dropped[why] = int((keep & wrong).sum())
        np.logical_and(keep, ~wrong, out=keep)

    few = f"fewer than {options.min_raters} raters"
    if options.zeros == "cell":
        values, means = (np.where(counts < options.min_raters, np.nan, kind) for kind in (values, means))
        drop(np.isnan(values).all(axis=1), few)
    else:
        drop((counts == 0).any(axis=1), "a dimension without a rating")
        drop(np.bincount(ratings.segment_of, minlength=len(ratings.ids)) < options.min_raters, few)
    if options.drop_high_stdev:
        stdev = reduce("stdev")
        first = None if table.groups is not None else _STDEV_DIMENSIONS
        drop(high_stdev(stdev, counts.max(axis=1), first), "raters disagree (high standard deviation)")
    if not keep.any():
        raise RatingError(
            "nothing-left",
            "no segment passes the filters",
            path=table.path,
            hint="loosen --min-raters or --zeros",
        )
    kept = np.flatnonzero(keep)
    ids = tuple(ratings.ids[i] for i in kept)
    report.labelled = len(ids)
    classes, class_of = performer_classes(ids, table.performers, order=options.classes)
    label_map = LabelMap(
        ids=ids,
        values=values[kept],
        dimensions=ratings.dimensions,
        classes=classes,
        class_of=class_of,
        kind=options.label,
        n_raters=counts[kept],
        means=means[kept],
        source=source_of(table, options),
        groups=table.groups and {name: {i: of[i] for i in ids} for name, of in table.groups.items()},
    )
    return label_map, report


def high_stdev(stdev: Floats, raters: Ints, first: int | None = _STDEV_DIMENSIONS) -> Bools:
    """Segments whose raters disagree too much, by the published rule [shape=(s,), bool].

    The ``first`` dimensions of ``stdev`` [shape=(s, d)] count: six, as published, or all (None).
    Segments with a single rater neither set the threshold nor are dropped.
    """
    several = raters > 1
    if not several.any():
        return np.zeros(len(stdev), dtype=bool)
    counted = stdev[:, :first]
    limit = np.nanpercentile(counted[several], _STDEV_QUANTILE, axis=0)
    rated = ~np.isnan(counted)
    return np.asarray(several & (np.nansum(counted, axis=1) > (rated * limit).sum(axis=1)))


def performer_classes(
    ids: Sequence[str],
    performer: Mapping[str, str] | None = None,
    *,
    order: Literal["appearance", "sorted"] = "appearance",
) -> tuple[tuple[str, ...], Ints]:
    """Class names, and the class of each segment [shape=(n,), int64]; without ``performer``, by the ids."""
    performers = [performer_of(name) if performer is None else performer[name] for name in ids]
    names = list(dict.fromkeys(performers))
    if order == "sorted":
        names.sort(key=natural_key)
    index = {name: k for k, name in enumerate(names)}
    return tuple(names), np.array([index[name] for name in performers], dtype=np.int64)


def source_of(table: RatingTable, options: LabelOptions) -> dict[str, object]:
    """Where labels come from, for the side file."""
    columns = options.columns if isinstance(options.columns, str | None) else list(options.columns)
    return {
        "file": Path(table.path).name,
        "sha256": table.digest,
        "format": table.format,
        "scale": list(table.study.scale),
        "zero": table.study.zero,
        "columns": columns or ("full" if options.label == "all" or table.groups is not None else "published"),
        "zeros": options.zeros,
        "min_raters": options.min_raters,
        "drop_high_stdev": options.drop_high_stdev,
        "center_raters": options.center_raters,
        "merge_scores": options.merge_scores,
        **({} if table.reading is None else {"study": dict(table.reading)}),
    }


#: points of the grid, as published
GRID_POINTS = 50
#: densities closer than this (relative) are the same: far above rounding (1e-15), far below real differences
TIE_TOLERANCE = 1e-9


def apex(ratings: ArrayLike) -> float:
    """Apex of one set of ratings.

    Examples
    --------
    >>> apex([3, 3, 3]), apex([2, 6])
    (3.0, 4.0)
    """
    return float(apexes(np.asarray(ratings, dtype=np.float64).reshape(-1, 1))[0])


def apexes(ratings: Floats) -> Floats:
    """Apex of each set of ratings [shape=(n, m): one set a column, no NaN] -> [shape=(m,)]."""
    peaks: Floats = ratings[0].copy()
    spread = _spread(ratings)
    if spread.any():
        grid, density = _density(ratings[:, spread])
        top = density >= density.max(axis=0) * (1 - TIE_TOLERANCE)
        peaks[spread] = (grid * top).sum(axis=0) / top.sum(axis=0)
    return peaks


def tied(ratings: Floats) -> Bools:
    """Whether the highest density is reached at more than one point of the grid [shape=(m,), bool].

    See `apexes`.
    """
    result = np.zeros(ratings.shape[1], dtype=bool)
    spread = _spread(ratings)
    if spread.any():
        _, density = _density(ratings[:, spread])
        result[spread] = (density >= density.max(axis=0) * (1 - TIE_TOLERANCE)).sum(axis=0) > 1
    return result


def _spread(ratings: Floats) -> Bools:
    """Columns whose ratings differ."""
    return np.asarray(ratings.min(axis=0) < ratings.max(axis=0))


def _density(ratings: Floats) -> tuple[Floats, Floats]:
    """Grid and unnormalised density, both [shape=(50, m)]."""
    n = ratings.shape[0]
    bandwidth = ratings.std(axis=0, ddof=1) * n ** (-1 / 5)  # (m,)
    grid = np.linspace(ratings.min(axis=0), ratings.max(axis=0), GRID_POINTS)  # (50, m)
    density = np.zeros_like(grid)
    for rating in ratings:  # (m,): one rater of every set
        density += np.exp(-0.5 * ((grid - rating) / bandwidth) ** 2)
    return grid, density
