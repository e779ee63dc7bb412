"""Pictures of scores: of models, of dimensions, and of the raters who set their ceiling."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from musicbert.viz.canvas import BLACK, BLUE, GREEN, MARKS, ORANGE, Path_, plain, poles, save


def score_bars(
    rows: Mapping[str, tuple[float, float, float]],
    path: Path_,
    *,
    ceiling: tuple[float, float] | None = None,
    highlight: Sequence[str] = (),
    title: str = "",
    unit: str = "R² (mean over dimensions)",
) -> None:
    """Draw one bar a model with its interval, and the noise ceiling, between its low and its high end.

    ``rows``: name -> value, low and high end of the interval (NaN: no whisker); ``highlight``: rows drawn in
    colour: the networks, among baselines in grey; ``unit``: label of the axis.
    """
    names = list(rows)
    figure = Figure(figsize=(8.2, 0.34 * len(names) + 1.4), layout="constrained")
    axes = figure.subplots()
    value, low, high = (np.array([rows[name][k] for name in names], float) for k in range(3))
    at = np.arange(len(names))
    axes.barh(at, value, color=[BLUE if name in highlight else "#bbbbbb" for name in names], height=0.7)
    error = np.nan_to_num(np.maximum([value - low, high - value], 0.0))
    axes.errorbar(value, at, xerr=error, fmt="none", ecolor=BLACK, elinewidth=1, capsize=2.5)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    if ceiling is not None and np.isfinite(ceiling).all():
        low_end, high_end = ceiling
        axes.axvspan(low_end, high_end, color=ORANGE, alpha=0.25, linewidth=0)
        axes.axvline(high_end, color=ORANGE, linestyle="--", linewidth=1.4)
        both = f"{low_end:.2f}–{high_end:.2f}" if low_end < high_end else f"{high_end:.2f}"
        axes.annotate(
            f"noise ceiling {both}",
            (high_end, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color="#9a6a00",
            fontsize=8,
        )
    left = float(np.nanmin([0.0, *(value - error[0])]))
    right = float(np.nanmax([0.05, *(value + error[1]), *(ceiling or ())]))
    reach = right - left
    axes.set_xlim(left - 0.03 * reach, right + 0.16 * reach)
    for k in np.flatnonzero(np.isfinite(value)):
        end = max(value[k] + error[1][k], 0.0)
        axes.text(end + 0.012 * reach, k, f"{value[k]:.3f}", va="center", fontsize=8)
    axes.set_yticks(at, names, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel(f"{unit}; whiskers: 95 % bootstrap interval", fontsize=9)
    figure.suptitle(title, fontsize=11)
    plain(axes)
    save(figure, path)


def dimension_plot(
    rows: Mapping[str, ArrayLike],
    dimensions: Sequence[tuple[str, str]],
    path: Path_,
    *,
    ceiling: ArrayLike | None = None,
    lowest: ArrayLike | None = None,
    marks: Sequence[str] = (),
    interval: ArrayLike | None = None,
    title: str = "",
    unit: str = "R²",
) -> None:
    """Draw the score of each dimension, a mark a model, against the noise ceiling [shape=(d,)].

    ``rows``: name -> values [shape=(d,)]; up to four, the first in front; ``dimensions``: low and high pole
    of each; ``lowest``: low end of the ceiling [shape=(d,)]; ``marks``: a remark on each dimension, or "";
    ``interval``: of the first row [shape=(d, 2)]; ``unit``: label of the axis.
    """
    d = len(dimensions)
    figure = Figure(figsize=(9.0, 0.3 * d + 1.7), layout="constrained")
    axes = figure.subplots()
    at = np.arange(d)
    if ceiling is not None:
        axes.barh(
            at, np.nan_to_num(np.asarray(ceiling, float)), color="#eeeeee", height=0.8, label="noise ceiling"
        )
    if lowest is not None and np.isfinite(np.asarray(lowest, float)).any():
        axes.barh(
            at, np.nan_to_num(np.asarray(lowest, float)), color="#d8d8d8", height=0.8, label="its low end"
        )
    if interval is not None:
        low, high = np.asarray(interval, float).T
        axes.hlines(at, low, high, color=BLUE, linewidth=1.2, alpha=0.6)
    for zorder, (name, (mark, colour)) in enumerate(
        zip(reversed(list(rows)), MARKS[len(rows) - 1 :: -1], strict=True)
    ):
        axes.scatter(rows[name], at, marker=mark, s=26, color=colour, label=name, zorder=3 + zorder)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    names = [poles(*dimension) for dimension in dimensions]
    names = [
        f"{name} ({mark})" if mark else name for name, mark in zip(names, marks or [""] * d, strict=True)
    ]
    axes.set_yticks(at, names, fontsize=8.5)
    axes.set_ylim(d - 0.4, -0.6)
    axes.set_xlabel(unit + ("; line: 95 % bootstrap interval" if interval is not None else ""), fontsize=9)
    figure.suptitle(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=5, fontsize=8.5, frameon=False)
    plain(axes)
    save(figure, path)


def reliability_plot(table: pd.DataFrame, path: Path_, *, title: str = "") -> None:
    """Draw how well raters agree on each dimension, which limits what can be learned.

    ``table``: a row a dimension, columns ``low_pole``, ``high_pole``, ``icc1``, ``icck``, and the low
    and high ends of the ceilings of mean and apex (and ``n_segments``, ``mean_raters`` for the title).
    Raises `KeyError` (a column is missing).
    """
    table = table.sort_values("ceiling_mean_low", ascending=False)
    at = np.arange(len(table))
    figure = Figure(figsize=(9.0, 0.3 * len(table) + 1.7), layout="constrained")
    axes = figure.subplots()
    axes.barh(at, table["ceiling_mean_high"], color="#e2eef7", height=0.75, label="ceiling of mean labels")
    axes.barh(at, table["ceiling_mean_low"], color="#c9dff0", height=0.75, label="its low end")
    apex = [table[f"ceiling_apex_{end}"] for end in ("low", "high")]
    axes.hlines(at, *apex, color=ORANGE, linewidth=3, label="ceiling of apex labels", zorder=3)
    axes.scatter(table["icck"], at, marker="|", s=80, color=BLACK, label="ICC(1,k), all raters", zorder=3)
    axes.scatter(table["icc1"], at, marker="o", s=22, color=GREEN, label="ICC(1,1), one rater", zorder=3)
    names = [poles(low, high) for low, high in zip(table["low_pole"], table["high_pole"], strict=True)]
    axes.set_yticks(at, names, fontsize=8.5)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlim(
        min(0.0, float(np.nanmin(table[["icc1", "ceiling_apex_low"]].to_numpy(float), initial=0.0)) - 0.02), 1
    )
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set_xlabel("reliability: share of the variance of the labels that is not rater noise", fontsize=9)
    if not title:
        title = (
            f"Agreement of raters (up to {int(table['n_segments'].max())} segments, "
            f"{table['mean_raters'].mean():.1f} raters each on average)"
        )
    figure.suptitle(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8.5, frameon=False)
    plain(axes)
    save(figure, path)
