"""How far annotators agree: which dimensions can be learned at all.

For every dimension, over the segments with two raters or more (unanswered questions masked, each rating
counted once):

* ``icc1``, ``icck``: intraclass correlation of one rater and of the mean of a segment's raters, one-way
  random effects (Shrout & Fleiss 1979, cases 1,1 and 1,k), with k0 = (N - sum n_i^2 / N) / (s - 1) raters a
  segment where their numbers differ.
* ``ceiling_mean``, ``ceiling_median``, ``ceiling_apex``: split-half reliability of the label. Each segment's
  ratings are halved at random, both halves make a label, their Pearson correlation r over segments is
  averaged over the repeats and stepped up to full length, 2 r / (1 + r) (Spearman 1910, Brown 1910). It is
  too high where raters come in panels: their common offset agrees across the halves.
* ``ceiling_<kind>_low``, ``ceiling_<kind>_high``: the share of the variance of some segments' labels that is
  not noise, the R2 that a perfect predictor of the true scores would be expected to reach (`ceiling_ends`).

Somebody who rated a segment twice would agree with themselves across the halves, so by default each
annotator's ratings of a segment are averaged first (``by_rater``): without it the ceilings come out 0.01-0.02
higher.

Verified on ratings with known variance components in ``tests/unit/annotation/test_reliability.py`` and
against recorded figures in ``tests/parity/test_labels_golden.py``.
"""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from musicbert.annotation.labels import REDUCTIONS
from musicbert.annotation.selection import Cells, LabelOptions, Ratings, select_ratings
from musicbert.annotation.table import RatingTable
from musicbert.arrays import Floats, Ints

#: labels whose reliability is measured
_KINDS = ("mean", "median", "apex")


def reliability_table(
    table: RatingTable,
    *,
    columns: str | Sequence[str] | None = None,
    center_raters: bool = False,
    by_rater: bool = True,
    ids: Collection[str] | None = None,
    among: Collection[str] | None = None,
    repeats: int = 40,
    seed: int = 7,
) -> pd.DataFrame:
    """Reliability of every dimension, of a set of columns or an own list (default ``published``).

    ``center_raters`` subtracts each rater's own mean of each question first; ``by_rater`` averages what one
    annotator said about one segment before counting; ``repeats`` random halvings are drawn; ``ids``: segments
    that the ends of the ceilings are for (all); ``among``: segments whose ratings count (all).

    Returns ``pandas.DataFrame``: indexed by dimension name; columns ``low_pole``, ``high_pole``,
    ``n_segments`` (with two raters or more), ``mean_raters`` (of those), ``icc1``, ``icck``, and for mean,
    median and apex ``ceiling_<kind>``, ``ceiling_<kind>_low``, ``ceiling_<kind>_high``; NaN where fewer than
    three segments have two ratings or nothing varies.
    Raises `RatingError` (those of `select_ratings`).
    """
    options = LabelOptions(columns=columns, zeros="cell", center_raters=center_raters)
    ratings = select_ratings(table, options)
    if among is not None:
        ratings = _restricted(ratings, among)
    if by_rater:
        ratings = one_row_each(ratings)
    cells = ratings.cells()
    several = cells.counts >= 2
    halves = split_half(cells, repeats=repeats, seed=seed)
    ends = ceiling_ends(ratings, ids, repeats=repeats, seed=seed)
    rows = []
    for d, dimension in enumerate(ratings.dimensions):
        counts = cells.counts[several[:, d], d]
        icc1, icck = intraclass_correlation(ratings.values[:, d], ratings.segment_of)
        rows.append(
            {
                "dimension": dimension.name,
                "low_pole": dimension.low,
                "high_pole": dimension.high,
                "n_segments": len(counts),
                "mean_raters": float(counts.mean()) if len(counts) else np.nan,
                "icc1": icc1,
                "icck": icck,
                **{f"ceiling_{kind}": float(halves[kind][d]) for kind in _KINDS},
                **{
                    f"ceiling_{kind}_{end}": float(values[d])
                    for kind in _KINDS
                    for end, values in zip(("low", "high"), ends[kind], strict=True)
                },
            }
        )
    return pd.DataFrame(rows).set_index("dimension")


def rater_errors(table: RatingTable, *, columns: str | Sequence[str] | None = None) -> dict[str, float]:
    """Standard error of one rater by dimension, on the scale of the ratings.

    The root of the mean square within segments: the deviation of one rating from what all raters would say
    on average, offsets of raters included. NaN where no segment has two raters.
    Raises `RatingError` (those of `select_ratings`).
    """
    ratings = one_row_each(select_ratings(table, LabelOptions(columns=columns, zeros="cell")))
    result = {}
    for d, dimension in enumerate(ratings.dimensions):
        rated = np.isfinite(ratings.values[:, d])
        x, segment = ratings.values[rated, d], ratings.segment_of[rated]
        counts = np.bincount(segment)
        means = np.bincount(segment, weights=x) / np.maximum(counts, 1)
        free = int((counts[counts >= 2] - 1).sum())
        result[dimension.name] = (
            float(np.sqrt(((x - means[segment]) ** 2).sum() / free)) if free else float("nan")
        )
    return result


def _restricted(ratings: Ratings, ids: Collection[str]) -> Ratings:
    chosen = np.array([name in ids for name in ratings.ids], np.bool_)
    rows = chosen[ratings.segment_of]
    return replace(
        ratings,
        ids=tuple(name for name, inside in zip(ratings.ids, chosen, strict=True) if inside),
        segment_of=(np.cumsum(chosen) - 1)[ratings.segment_of[rows]],
        user_of=ratings.user_of[rows],
        values=ratings.values[rows],
    )


def one_row_each(ratings: Ratings) -> Ratings:
    """Average the rows of the same annotator about the same segment."""
    n_users = int(ratings.user_of.max()) + 1
    pair, row_of = np.unique(ratings.segment_of * n_users + ratings.user_of, return_inverse=True)
    rated = ~np.isnan(ratings.values)
    sums, counts = (
        np.zeros((len(pair), ratings.values.shape[1])),
        np.zeros((len(pair), ratings.values.shape[1])),
    )
    np.add.at(sums, row_of, np.where(rated, ratings.values, 0.0))
    np.add.at(counts, row_of, rated)
    return replace(
        ratings,
        segment_of=pair // n_users,
        user_of=pair % n_users,
        values=np.where(counts > 0, sums / np.maximum(counts, 1), np.nan),
    )


def intraclass_correlation(values: Floats, segment_of: Ints) -> tuple[float, float]:
    """ICC(1,1) and ICC(1,k) of one dimension, for unequal numbers of raters.

    ``values`` [shape=(n,)] are NaN where missing; segments with one rating are left out. NaN where fewer than
    three segments have two ratings, or nothing varies.
    """
    rated = ~np.isnan(values)
    counts = np.bincount(segment_of[rated], minlength=int(segment_of.max()) + 1)
    rated &= counts[segment_of] >= 2
    x, segment = values[rated], segment_of[rated]
    used = counts[counts >= 2]
    s, n = len(used), int(used.sum())
    if s < 3:
        return np.nan, np.nan
    sums = np.bincount(segment, weights=x, minlength=len(counts))
    means = sums / np.maximum(counts, 1)
    within = float(((x - means[segment]) ** 2).sum()) / (n - s)
    between = float((counts * (means - x.mean()) ** 2)[counts >= 2].sum()) / (s - 1)
    k0 = (n - float((used**2).sum()) / n) / (s - 1)
    if between == 0:
        return np.nan, np.nan
    return (between - within) / (between + (k0 - 1) * within), (between - within) / between


def variance_components(values: Floats, segment_of: Ints, user_of: Ints) -> tuple[float, float, float]:
    """Variance of segments, of rater offsets and of the rest, of one dimension: crossed random effects.

    Method of moments for unequal numbers (Henderson 1953, method 1): four sums of squares equal their
    expectations. ``values`` [shape=(n,)] are NaN where missing, one rating a rater and segment. A component
    may come out below zero; all are NaN where the ratings do not tell them apart.
    """
    rated = ~np.isnan(values)
    y = values[rated] - values[rated].mean() if rated.any() else values[rated]
    _, segment = np.unique(segment_of[rated], return_inverse=True)
    _, user = np.unique(user_of[rated], return_inverse=True)
    n, of_segment, of_user = len(y), np.bincount(segment), np.bincount(user)
    squares = [
        (y**2).sum(),
        (np.bincount(segment, y) ** 2 / of_segment).sum(),
        (np.bincount(user, y) ** 2 / of_user).sum(),
        0.0,
    ]
    expected = np.array(
        [
            [n, n, n, n],
            [n, n, (1 / of_segment[segment]).sum(), len(of_segment)],
            [n, (1 / of_user[user]).sum(), n, len(of_user)],
            [n, (of_segment**2).sum() / max(n, 1), (of_user**2).sum() / max(n, 1), 1],
        ]
    )
    if n == 0 or np.linalg.matrix_rank(expected) < len(expected):
        return np.nan, np.nan, np.nan
    _, segments, users, rest = np.linalg.solve(expected, squares).tolist()
    return segments, users, rest


def ceiling_ends(
    ratings: Ratings, ids: Collection[str] | None = None, *, repeats: int = 40, seed: int = 7
) -> dict[str, tuple[Floats, Floats]]:
    """Low and high end of the ceiling of labels of some segments: kind of label -> two [shape=(d,)].

    Noise of a mean of n raters is the variance of the rest over n (`variance_components` of all ratings). At
    the low end the variance of rater offsets is added: labels hold them, and no recording tells them. An end
    is 1 minus noise over the variance of the labels of exactly these segments: it falls where the segments
    differ little. Medians and apexes are not means. Their share is that of the mean of all segments times a
    ratio: the share of the labels' variance on which two halves of the raters agree, over that of means.

    ``ratings``: one row a rater and segment (`one_row_each`); ``ids``: segments whose labels are to be
    predicted (all).
    """
    cells = ratings.cells()
    chosen = np.array([ids is None or name in ids for name in ratings.ids], np.bool_)
    parts = [variance_components(column, ratings.segment_of, ratings.user_of) for column in ratings.values.T]
    offsets, rest = np.array(parts).reshape(-1, 3).T[1:]
    labels = {kind: cells.reduce(_reduction(kind)) for kind in _KINDS}
    result = {}
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # dimensions that too few rated are NaN
        agreed = _agreement(cells, labels, repeats=repeats, seed=seed)
        raters = 1 / np.where(cells.counts > 0, cells.counts, np.nan)
        noise, fewer = np.nanmean(raters, axis=0), np.nanmean(raters[chosen], axis=0)
        for kind in _KINDS:
            spread, here = (
                np.nanvar(labels[kind], axis=0, ddof=1),
                np.nanvar(labels[kind][chosen], axis=0, ddof=1),
            )
            ends = []
            for variance in (np.maximum(offsets, 0.0) + rest, rest):
                share = 1 - variance * noise / np.nanvar(labels["mean"], axis=0, ddof=1)
                lost = 1 - share * agreed[kind] / agreed["mean"]
                ends.append(1 - lost * (spread / here) * (fewer / noise))
            result[kind] = (ends[0], ends[1])
    return result


def _reduction(kind: str) -> Callable[[Floats], Floats]:
    return lambda each: REDUCTIONS[kind](each, np.asarray)  # variances need no scale


def _agreement(cells: Cells, labels: Mapping[str, Floats], *, repeats: int, seed: int) -> dict[str, float]:
    """Covariance of the labels of two halves of the raters over the labels' variance: mean of dimensions."""
    shares: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    for halves in _half_labels(cells, repeats=repeats, seed=seed):
        for kind, (first, second) in halves.items():
            both = (first - np.nanmean(first, axis=0)) * (second - np.nanmean(second, axis=0))
            shares[kind].append(np.nanmean(np.nanmean(both, axis=0) / np.nanvar(labels[kind], axis=0)))
    return {kind: float(np.mean(values)) for kind, values in shares.items()}


def split_half(cells: Cells, *, repeats: int = 40, seed: int = 7) -> dict[str, Floats]:
    """Split-half reliability, with Spearman-Brown, of mean, median and apex labels: kind -> [shape=(d,)].

    The ratings of each cell are halved at random ``repeats`` times.
    """
    correlations: dict[str, list[list[float]]] = {kind: [] for kind in _KINDS}
    for halves in _half_labels(cells, repeats=repeats, seed=seed):
        for kind, (first, second) in halves.items():
            correlations[kind].append([_pearson(*pair) for pair in zip(first.T, second.T, strict=True)])
    means = {kind: np.array(values).mean(axis=0) for kind, values in correlations.items()}
    return {kind: 2 * r / (1 + r) for kind, r in means.items()}


def _half_labels(cells: Cells, *, repeats: int, seed: int) -> Iterator[dict[str, Floats]]:
    """Yield the labels of both halves of the ratings of each cell: kind -> [shape=(2, s, d)], else NaN."""
    rng = np.random.default_rng(seed)
    s, d = cells.counts.shape
    groups = [(at, ratings) for at, ratings in cells.by_count() if len(ratings) >= 2]
    for _ in range(repeats):
        labels = {kind: np.full((2, s * d), np.nan) for kind in _KINDS}
        for at, ratings in groups:
            shuffled = rng.permuted(ratings, axis=0)
            middle = len(ratings) // 2
            for half, part in enumerate((shuffled[:middle], shuffled[middle:])):
                for kind in _KINDS:
                    labels[kind][half, at] = _reduction(kind)(part)
        yield {kind: values.reshape(2, s, d) for kind, values in labels.items()}


def _pearson(first: Floats, second: Floats) -> float:
    rated = ~np.isnan(first)
    if rated.sum() < 3:
        return np.nan
    a, b = first[rated] - first[rated].mean(), second[rated] - second[rated].mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size > 0 else np.nan


#: low end of the ceiling below which there is nothing to learn
NOTHING = 0.25
#: marks of dimensions in tables
MARKS = {"nothing": "nothing to learn", "ceiling": "at its ceiling"}


def ceiling_mark(low: float, best: float = np.nan) -> str:
    """Say what a dimension leaves to win, given the low end of its ceiling and the best score that is known.

    Returns a key of `MARKS`; an empty text for a dimension with room.
    """
    if low < NOTHING:
        return "nothing"
    return "ceiling" if best >= low else ""


def reliability_markdown(table: pd.DataFrame, scale: tuple[float, float] = (1, 7)) -> str:
    """The table as Markdown, most reliable dimension first, with the mean of each column."""
    lowest, highest = scale
    lines = [
        f"| dimension | low pole ({lowest:g}) | high pole ({highest:g}) | segments | raters | ICC(1,1) "
        "| ICC(1,k) | ceiling, mean label | median | apex |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]

    def cells(row: pd.Series | pd.DataFrame, form: str) -> str:
        ends = [
            f"{row[f'ceiling_{kind}_low']:{form}}–{row[f'ceiling_{kind}_high']:{form}}" for kind in _KINDS
        ]
        return " | ".join([*(f"{row[column]:{form}}" for column in ("icc1", "icck")), *ends])

    for name, row in table.sort_values("ceiling_mean_low", ascending=False).iterrows():
        mark = MARKS.get(ceiling_mark(row["ceiling_mean_low"]))
        lines.append(
            f"| {name}{f' ({mark})' if mark else ''} | {row['low_pole']} | {row['high_pole']} "
            f"| {row['n_segments']} | {row['mean_raters']:.1f} | {cells(row, '.2f')} |"
        )
    numbers = table.select_dtypes("number").mean()
    lines.append(
        f"| **mean** | | | {numbers['n_segments']:.0f} | {numbers['mean_raters']:.1f} "
        f"| {cells(numbers, '.3f')} |"
    )
    return (
        "# Reliability of the ratings\n\n"
        "Ceilings are the R2 that a perfect predictor of the true scores would be expected to reach, from\n"
        "variance components: at the low end offsets of raters are noise, at the high end they are not.\n"
        f"Nothing to learn: the low end is below {NOTHING:g} for mean labels.\n\n" + "\n".join(lines) + "\n"
    )
