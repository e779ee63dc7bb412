"""How far annotators agree: which dimensions can be learned at all.

For every dimension, over the segments with two raters or more (unanswered questions masked, each rating
counted once):

* ``icc1``, ``icck``: intraclass correlation of one rater and of the mean of a segment's raters, one-way
  random effects (Shrout & Fleiss 1979, cases 1,1 and 1,k), with k0 = (N - sum n_i^2 / N) / (s - 1) raters a
  segment where their numbers differ.
* ``ceiling_mean``, ``ceiling_median``, ``ceiling_apex``: split-half reliability of the label. Each segment's
  ratings are halved at random, both halves make a label, their Pearson correlation r over segments is
  averaged over the repeats and stepped up to full length, 2 r / (1 + r) (Spearman 1910, Brown 1910). It
  estimates the share of the labels' variance that is not noise: a predictor's expected R2 cannot exceed it.

Somebody who rated a segment twice would agree with themselves across the halves, so by default each
annotator's ratings of a segment are averaged first (``by_rater``): without it the ceilings come out 0.01-0.02
higher.

Verified on ratings with known variance components in ``tests/unit/annotation/test_reliability.py`` and
against recorded figures in ``tests/parity/test_labels_golden.py``.
"""

from collections.abc import Sequence
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
    repeats: int = 40,
    seed: int = 7,
) -> pd.DataFrame:
    """Reliability of every dimension, of a set of columns or an own list (default ``published``).

    ``center_raters`` subtracts each rater's own mean of each question first; ``by_rater`` averages what one
    annotator said about one segment before counting; ``repeats`` random halvings are drawn.

    Returns ``pandas.DataFrame``: indexed by dimension name; columns ``low_pole``, ``high_pole``,
    ``n_segments`` (with two raters or more), ``mean_raters`` (of those), ``icc1``, ``icck``,
    ``ceiling_mean``, ``ceiling_median``, ``ceiling_apex``; NaN where fewer than three segments have two
    ratings or nothing varies.
    Raises `RatingError` (those of `select_ratings`).
    """
    options = LabelOptions(columns=columns, zeros="cell", center_raters=center_raters)
    ratings = select_ratings(table, options)
    if by_rater:
        ratings = one_row_each(ratings)
    cells = ratings.cells()
    several = cells.counts >= 2
    halves = split_half(cells, repeats=repeats, seed=seed)
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
            }
        )
    return pd.DataFrame(rows).set_index("dimension")


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


def split_half(cells: Cells, *, repeats: int = 40, seed: int = 7) -> dict[str, Floats]:
    """Split-half reliability, with Spearman-Brown, of mean, median and apex labels: kind -> [shape=(d,)].

    The ratings of each cell are halved at random ``repeats`` times.
    """
    rng = np.random.default_rng(seed)
    s, d = cells.counts.shape
    correlations = {kind: np.full((repeats, d), np.nan) for kind in _KINDS}
    groups = [(at, ratings) for at, ratings in cells.by_count() if len(ratings) >= 2]
    for repeat in range(repeats):
        labels = {kind: np.full((2, s * d), np.nan) for kind in _KINDS}
        for at, ratings in groups:
            shuffled = rng.permuted(ratings, axis=0)
            middle = len(ratings) // 2
            for half, part in enumerate((shuffled[:middle], shuffled[middle:])):
                for kind in _KINDS:
                    labels[kind][half, at] = REDUCTIONS[kind](part, np.asarray)  # correlations have no scale
        for kind in _KINDS:
            first, second = labels[kind].reshape(2, s, d)
            correlations[kind][repeat] = [_pearson(first[:, k], second[:, k]) for k in range(d)]
    result: dict[str, Floats] = {}
    for kind in _KINDS:
        r = correlations[kind].mean(axis=0)
        result[kind] = 2 * r / (1 + r)
    return result


def _pearson(first: Floats, second: Floats) -> float:
    rated = ~np.isnan(first)
    if rated.sum() < 3:
        return np.nan
    a, b = first[rated] - first[rated].mean(), second[rated] - second[rated].mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size > 0 else np.nan


def reliability_markdown(table: pd.DataFrame, scale: tuple[float, float] = (1, 7)) -> str:
    """The table as Markdown, most reliable dimension first, with the mean of each column."""
    lowest, highest = scale
    lines = [
        f"| dimension | low pole ({lowest:g}) | high pole ({highest:g}) | segments | raters | ICC(1,1) "
        "| ICC(1,k) | ceiling, mean label | median | apex |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    numbers = ["icc1", "icck", "ceiling_mean", "ceiling_median", "ceiling_apex"]
    for name, row in table.sort_values("ceiling_mean", ascending=False).iterrows():
        cells = " | ".join(f"{row[column]:.2f}" for column in numbers)
        lines.append(
            f"| {name} | {row['low_pole']} | {row['high_pole']} | {row['n_segments']} "
            f"| {row['mean_raters']:.1f} | {cells} |"
        )
    means = " | ".join(f"**{table[column].mean():.3f}**" for column in numbers)
    lines.append(
        f"| **mean** | | | {table['n_segments'].mean():.0f} | {table['mean_raters'].mean():.1f} | {means} |"
    )
    return (
        "# Reliability of the ratings\n\n"
        "Ceilings are split-half reliabilities stepped up to all raters (Spearman-Brown): the R2 that a\n"
        "perfect predictor of the true scores would be expected to reach. A dimension near 0 cannot be\n"
        "learned.\n\n" + "\n".join(lines) + "\n"
    )
