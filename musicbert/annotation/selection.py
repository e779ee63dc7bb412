"""Which ratings count: rules for unanswered questions, copies, merged scores and centred raters.

The rules are told in `musicbert.annotation.labels`. Verified in ``tests/unit/annotation/test_labels.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from musicbert.annotation.dimensions import Dimension, resolve_columns
from musicbert.annotation.names import parse_segment
from musicbert.annotation.table import RatingTable
from musicbert.arrays import Floats, Ints
from musicbert.errors import RatingError

#: segments whose score rendering PercePiano's merged map counts under ``Score2``: (work, numbers)
_MERGED_SCORES = {"Beethoven_WoO80": frozenset(range(5, 17)), "Schubert_D935": frozenset({1})}


@dataclass(frozen=True, eq=False)
class Cells:
    """Ratings of every (segment, dimension), packed.

    ``values`` [shape=(total,)]: cell after cell, segment-major, in the order of the table; ``counts``
    [shape=(s, d), int64]: ratings of each cell.
    """

    values: Floats
    counts: Ints

    def by_count(self) -> Iterator[tuple[Ints, Floats]]:
        """Cells with equally many ratings: flat indices [shape=(m,)], ratings [shape=(n, m)]."""
        flat = self.counts.ravel()
        starts = np.cumsum(flat) - flat
        for n in np.unique(flat[flat > 0]):
            cells = np.flatnonzero(flat == n)
            yield cells, self.values[starts[cells] + np.arange(n)[:, None]]

    def reduce(self, function: Callable[[Floats], Floats]) -> Floats:
        """Apply a reduction over raters to every cell [shape=(s, d)]; NaN where a cell is empty."""
        result = np.full(self.counts.size, np.nan)
        for cells, ratings in self.by_count():
            result[cells] = function(ratings)
        return result.reshape(self.counts.shape)


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings that a rule kept.

    ``ids``: segments in order of first kept appearance; ``segment_of``, ``user_of`` [shape=(n,), int64]:
    segment and annotator of each row; ``values`` [shape=(n, d)]: 1-7 (or centred), NaN where masked.
    """

    ids: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    segment_of: Ints
    user_of: Ints
    values: Floats
    report: LabelReport

    def cells(self) -> Cells:
        """Pack the ratings by segment and dimension."""
        order = np.argsort(self.segment_of, kind="stable")
        values, segments = self.values[order], self.segment_of[order]
        rated = ~np.isnan(values)
        rows, columns = np.nonzero(rated)  # row-major: by segment, then table order
        cell = segments[rows] * len(self.dimensions) + columns
        packed = np.argsort(cell, kind="stable")
        counts = np.bincount(cell, minlength=len(self.ids) * len(self.dimensions))
        return Cells(
            values=values[rows[packed], columns[packed]],
            counts=counts.reshape(len(self.ids), len(self.dimensions)).astype(np.int64),
        )


def select_ratings(table: RatingTable, options: LabelOptions) -> Ratings:
    """Apply the rule for unanswered questions, the merge of scores and the centring of raters.

    Raises `RatingError`: ``unknown-column``, ``wrong-columns``, ``conflicting-duplicates``, ``nothing-left``.
    """
    dimensions = resolve_columns(options.columns or "published", table.study)
    if options.zeros == "cell":
        table = table.without_duplicates()
    raw = table.columns(dimensions)
    lowest, highest = table.study.scale
    answered = np.where((raw >= lowest) & (raw <= highest), raw, np.nan)
    report = LabelReport(rows=len(table) + table.dropped_duplicates)
    report.rows_dropped["the same row again"] = table.dropped_duplicates
    if options.zeros == "cell":
        keep = ~np.isnan(answered).all(axis=1)
        report.rows_dropped["no question answered"] = int((~keep).sum())
    elif table.study.unanswered == "row":
        keep = ~np.isnan(answered).any(axis=1)
        report.rows_dropped["a question without an answer"] = int((~keep).sum())
    else:
        keep = ~(raw > highest).any(axis=1)
        report.rows_dropped[f"a value over {highest:g}"] = int((~keep).sum())
    names = list(table.segments)
    if options.merge_scores:
        names = [_merged(name) for name in names]
        if names == list(table.segments):
            message = "no segment is one of PercePiano's scores that can be merged"
            raise RatingError("unused-option", message, path=table.path, hint="leave out --merge-scores")
    report.segments = len(set(names))
    index: dict[str, int] = {}
    segment_of = [index.setdefault(names[k], len(index)) for k in table.segment_of[keep].tolist()]
    report.segments_dropped["no row left"] = report.segments - len(index)
    if not index:
        raise RatingError(
            "nothing-left",
            "no row of ratings is left",
            path=table.path,
            hint="use --zeros cell, or fewer columns",
        )
    values = answered[keep]
    report.cells_masked = int(np.isnan(values).sum())
    user_of = table.user_of[keep]
    if options.center_raters:
        values = center(values, user_of)
    return Ratings(
        ids=tuple(index),
        dimensions=dimensions,
        segment_of=np.array(segment_of, dtype=np.int64),
        user_of=user_of,
        values=values,
        report=report,
    )


def center(values: Floats, user_of: Ints) -> Floats:
    """Subtract each rater's mean of each question and add the question's mean [shape=(n, d)]."""
    n_users = int(user_of.max()) + 1
    rated = ~np.isnan(values)
    filled = np.where(rated, values, 0.0)
    sums, counts = np.zeros((n_users, values.shape[1])), np.zeros((n_users, values.shape[1]))
    np.add.at(sums, user_of, filled)
    np.add.at(counts, user_of, rated)
    means = sums / np.maximum(counts, 1)
    overall = filled.sum(axis=0) / np.maximum(rated.sum(axis=0), 1)
    return np.asarray(values - means[user_of] + overall)


def _merged(name: str) -> str:
    segment = parse_segment(name)
    if segment.performer != "Score" or segment.number not in _MERGED_SCORES.get(segment.work, ()):
        return name
    head, _, number = name.rpartition("_")
    return f"{head.removesuffix('Score')}Score2_{number}"


Kind = Literal["apex", "mean", "median", "stdev", "all"]
Zeros = Literal["row", "cell"]


@dataclass(frozen=True)
class LabelOptions:
    """How to make labels; the defaults are the published ones.

    Attributes
    ----------
    label
        ``apex``, ``mean``, ``median``, ``stdev`` or ``all`` (see `musicbert.annotation.rating_rows`).
    columns
        Set of columns or own list; ``None`` is ``full`` for ``all`` and ``published`` otherwise.
    zeros
        ``row`` or ``cell`` (see `musicbert.annotation.labels`).
    min_raters
        Fewest ratings: of a segment for ``row``, of a label for ``cell``.
    drop_high_stdev
        Drop segments with several raters whose standard deviations of the first six dimensions add up to more
        than the sum of the 75th percentiles.
    center_raters
        Subtract each rater's own mean of each question.
    classes
        Performer classes in order of first ``appearance`` (published) or ``sorted``.
    merge_scores
        PercePiano's merged map: 13 ``Score`` segments count as ``Score2``.
    """

    label: Kind = "apex"
    columns: str | Sequence[str] | None = None
    zeros: Zeros = "row"
    min_raters: int = 1
    drop_high_stdev: bool = False
    center_raters: bool = False
    classes: Literal["appearance", "sorted"] = "appearance"
    merge_scores: bool = False

    def __post_init__(self) -> None:
        if self.label not in get_args(Kind):
            raise RatingError(
                "bad-option", f"there is no label {self.label!r}", hint=", ".join(get_args(Kind))
            )
        if self.zeros not in get_args(Zeros):
            raise RatingError("bad-option", f"there is no rule {self.zeros!r} for zeros", hint="row or cell")
        if self.min_raters < 1:
            raise RatingError("bad-option", "at least one rater is needed", hint="--min-raters 1 or more")
        if self.label == "all" and (self.drop_high_stdev or self.center_raters):
            raise RatingError("bad-option", "label 'all' keeps every rating as it is", hint="drop the filter")


@dataclass
class LabelReport:
    """What was kept and what was dropped, and why."""

    rows: int = 0
    segments: int = 0
    labelled: int = 0
    rows_dropped: dict[str, int] = field(default_factory=dict)
    segments_dropped: dict[str, int] = field(default_factory=dict)
    cells_masked: int = 0

    def summary(self) -> str:
        """One line for people."""
        kept = self.rows - sum(self.rows_dropped.values())
        parts = [f"{self.labelled} of {self.segments} segments labelled from {kept} of {self.rows} rows"]
        dropped = [f"{n} rows: {why}" for why, n in self.rows_dropped.items() if n]
        dropped += [f"{n} segments: {why}" for why, n in self.segments_dropped.items() if n]
        parts.append(f"dropped {', '.join(dropped)}" if dropped else "dropped nothing")
        if self.cells_masked:
            parts.append(f"{self.cells_masked} unanswered cells masked")
        return "; ".join(parts)
