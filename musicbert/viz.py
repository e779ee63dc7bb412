"""Pictures of labels and predictions: the only door to matplotlib.

Figures are made as objects and drawn by the Agg canvas, so no display, no global state and no backend setting
is involved. Every axis of a dimension names both poles: a published name is the low pole only. Colours are
those of Okabe and Ito (2008), which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

__all__ = [
    "confusion_plot",
    "curves_plot",
    "dimension_plot",
    "interval_grid",
    "line_grid",
    "reliability_plot",
    "scatter_grid",
    "score_bars",
]

Path_ = str | PathLike[str]
BLUE, ORANGE, GREEN, PINK, GREY, BLACK = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#999999", "#222222"
MARKS = (("o", BLUE), ("s", ORANGE), ("^", GREEN), ("D", PINK))
DPI = 110


def _save(figure: Figure, path: Path_) -> None:
    FigureCanvasAgg(figure)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, bbox_inches="tight", facecolor="white", metadata={"Software": None})


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)


def poles(low: str, high: str) -> str:
    """Return both poles as one label."""
    return f"{low} ↔ {high}"


def scatter_grid(
    labels: ArrayLike,
    predictions: ArrayLike,
    dimensions: Sequence[tuple[str, str]],
    path: Path_,
    *,
    title: str = "",
    notes: Sequence[str] | None = None,
    columns: int = 5,
) -> None:
    """Draw predictions against labels, a panel a dimension.

    Parameters
    ----------
    labels, predictions
        [shape=(n, d), float64, 0-1]; NaN labels are left out.
    dimensions
        Low and high pole of each dimension.
    path
        Picture to write.
    title, notes
        Title; a line above each panel (its scores).
    columns
        Panels in a row.
    """
    y, p = np.asarray(labels, float), np.asarray(predictions, float)
    rows = -(-len(dimensions) // columns)
    ends = np.concatenate([y[np.isfinite(y)], p[np.isfinite(p)], [0.14, 1.0]])
    limits = float(ends.min()) - 0.03, float(ends.max()) + 0.03
    figure = Figure(figsize=(2.75 * columns, 2.85 * rows + 0.4), layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for d, axes in enumerate(grid):
        if d >= len(dimensions):
            axes.set_axis_off()
            continue
        known = np.isfinite(y[:, d]) & np.isfinite(p[:, d])
        axes.plot(limits, limits, color=GREY, linewidth=0.8)
        axes.scatter(y[known, d], p[known, d], s=7, alpha=0.35, color=BLUE, edgecolors="none")
        axes.set(xlim=limits, ylim=limits, aspect="equal", xticks=(0.2, 0.6, 1), yticks=(0.2, 0.6, 1))
        low, high = dimensions[d]
        axes.set_xlabel(f"{low}\n↔ {high}", fontsize=8)
        axes.tick_params(labelsize=7)
        if notes:
            axes.set_title(notes[d], fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supylabel("predicted (0–1, low pole to high pole)", fontsize=9)
    figure.suptitle(title or "Predicted against labelled", fontsize=11)
    _save(figure, path)


def score_bars(
    rows: Mapping[str, tuple[float, float, float]],
    path: Path_,
    *,
    ceiling: float | None = None,
    highlight: Sequence[str] = (),
    title: str = "",
    unit: str = "R² (mean over dimensions)",
) -> None:
    """Draw one bar a model with its interval, and the noise ceiling.

    Parameters
    ----------
    rows
        Name -> value, low and high end of the interval (NaN: no whisker).
    path
        Picture to write.
    ceiling
        Highest value that can be expected.
    highlight
        Rows drawn in colour: the networks, among baselines in grey.
    title, unit
        Title and name of the axis.
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
    if ceiling is not None and np.isfinite(ceiling):
        axes.axvline(ceiling, color=ORANGE, linestyle="--", linewidth=1.4)
        axes.annotate(
            f"noise ceiling {ceiling:.2f}",
            (ceiling, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color="#9a6a00",
            fontsize=8,
        )
    least = float(np.nanmin([0.0, *(value - error[0])]))
    most = float(np.nanmax([0.05, *(value + error[1]), ceiling or 0.0]))
    reach = most - least
    axes.set_xlim(least - 0.03 * reach, most + 0.16 * reach)
    for k, each in enumerate(value):
        if np.isfinite(each):
            end = max(each + error[1][k], 0.0)
            axes.text(end + 0.012 * reach, k, f"{each:.3f}", va="center", fontsize=8)
    axes.set_yticks(at, names, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel(f"{unit}; whiskers: 95 % bootstrap interval", fontsize=9)
    figure.suptitle(title, fontsize=11)
    _plain(axes)
    _save(figure, path)


def dimension_plot(
    rows: Mapping[str, ArrayLike],
    dimensions: Sequence[tuple[str, str]],
    path: Path_,
    *,
    ceiling: ArrayLike | None = None,
    interval: ArrayLike | None = None,
    title: str = "",
    unit: str = "R²",
) -> None:
    """Draw the score of each dimension, a mark a model, against the noise ceiling.

    Parameters
    ----------
    rows
        Name -> values [shape=(d,)]; up to four, the first in front.
    dimensions
        Low and high pole of each dimension.
    path
        Picture to write.
    ceiling
        [shape=(d,)]
    interval
        Interval of the first row [shape=(d, 2)].
    title, unit
        Title and name of the axis.
    """
    d = len(dimensions)
    figure = Figure(figsize=(9.0, 0.3 * d + 1.7), layout="constrained")
    axes = figure.subplots()
    at = np.arange(d)
    if ceiling is not None:
        axes.barh(
            at, np.nan_to_num(np.asarray(ceiling, float)), color="#eeeeee", height=0.8, label="noise ceiling"
        )
    if interval is not None:
        low, high = np.asarray(interval, float).T
        axes.hlines(at, low, high, color=BLUE, linewidth=1.2, alpha=0.6)
    for zorder, (name, (mark, colour)) in enumerate(
        zip(reversed(list(rows)), MARKS[len(rows) - 1 :: -1], strict=True)
    ):
        axes.scatter(rows[name], at, marker=mark, s=26, color=colour, label=name, zorder=3 + zorder)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set_yticks(at, [poles(*each) for each in dimensions], fontsize=8.5)
    axes.set_ylim(d - 0.4, -0.6)
    axes.set_xlabel(unit + ("; line: 95 % bootstrap interval" if interval is not None else ""), fontsize=9)
    figure.suptitle(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=5, fontsize=8.5, frameon=False)
    _plain(axes)
    _save(figure, path)


def confusion_plot(
    matrix: ArrayLike, classes: Sequence[str], path: Path_, *, title: str = "", what: str = "performer"
) -> None:
    """Draw how often each true class (row) was taken for each class (column).

    Parameters
    ----------
    matrix
        Counts [shape=(c, c), int64].
    classes
        Names of the classes.
    path, title
        Picture to write; title.
    what
        What the classes are, for the axes.
    """
    counts = np.asarray(matrix, float)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = 0.42 * len(classes) + 2.2
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(counts), strict=True):
        ink = "white" if share[i, j] > 0.55 else BLACK
        axes.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=7.5, color=ink)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    axes.set_xlabel(f"predicted {what}", fontsize=9)
    axes.set_ylabel(what, fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the row")
    figure.suptitle(title or "Confusion matrix (counts)", fontsize=11)
    _save(figure, path)


def curves_plot(
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    path: Path_,
    *,
    title: str = "",
    unit: str = "epoch",
) -> None:
    """Draw training curves, a panel a quantity and a line a part or run.

    Parameters
    ----------
    curves
        Quantity -> line name -> points (epoch or update, value).
    path, title, unit
        Picture to write; title; name of the horizontal axis.
    """
    if not curves:
        raise ValueError("there is no curve to draw")
    figure = Figure(figsize=(4.6 * len(curves), 3.4), layout="constrained")
    for axes, (quantity, lines) in zip(
        np.ravel(figure.subplots(1, len(curves), squeeze=False)), curves.items(), strict=True
    ):
        for name, points in lines.items():
            x, y = np.array(sorted(points), float).reshape(-1, 2).T
            valid = "valid" in name
            axes.plot(
                x, y, color=BLUE if valid else ORANGE, alpha=0.9 if len(lines) < 4 else 0.4, linewidth=1.3
            )
        shown = [part for part in ("train", "valid") if any(part in name for name in lines)]
        for part in shown:
            axes.plot([], [], color=BLUE if part == "valid" else ORANGE, label=part)
        axes.set_title(quantity, fontsize=9)
        axes.set_xlabel(unit, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(color="#e5e5e5", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        if shown:
            axes.legend(fontsize=8, frameon=False)
    figure.suptitle(title or "Training curves", fontsize=11)
    _save(figure, path)


def _panels(
    panels: Mapping[str, Mapping[str, object]], columns: int, what: str
) -> tuple[list[str], int, int]:
    """Names of all panels in the order of their first one, columns and lines of the grid."""
    names = list(dict.fromkeys(name for rows in panels.values() for name in rows))
    if not names:
        raise ValueError(f"there is no {what} to draw")
    columns = min(columns, len(panels))
    return names, columns, -(-len(panels) // columns)


def interval_grid(
    panels: Mapping[str, Mapping[str, tuple[float, float, float]]],
    path: Path_,
    *,
    title: str = "",
    unit: str = "",
    columns: int = 4,
) -> None:
    """Draw values with their intervals beside zero, a panel a task and a line a variant.

    Parameters
    ----------
    panels
        Title -> name -> value, low and high end of the interval (NaN: no whisker); names in the order of the
        first panel that has them, grey where the interval holds zero.
    path, title, unit
        Picture to write; title; name of the axis.
    columns
        Panels in a row.

    Raises
    ------
    ValueError
        There is nothing to draw.
    """
    names, columns, lines = _panels(panels, columns, "interval")
    size = 2.4 * columns + 1.8, (0.24 * len(names) + 0.9) * lines + 0.5
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for axes, (panel, rows) in zip(grid, panels.items(), strict=False):
        for at, name in enumerate(names):
            value, low, high = rows.get(name, (np.nan, np.nan, np.nan))
            colour = BLUE if low > 0 else ORANGE if high < 0 else GREY
            axes.plot((low, high), (at, at), color=colour, linewidth=1.6)
            axes.plot(value, at, "o", color=colour, markersize=4)
        axes.axvline(0, color=BLACK, linewidth=0.8)
        axes.set_title(panel, fontsize=9)
        axes.tick_params(labelsize=7)
        _plain(axes)
    grid[0].set_yticks(range(len(names)), names, fontsize=8)
    grid[0].invert_yaxis()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel(unit, fontsize=9)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def line_grid(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]],
    path: Path_,
    *,
    title: str = "",
    unit: str = "",
    columns: int = 4,
) -> None:
    """Draw scores over an amount, a panel a task and a line a variant.

    Parameters
    ----------
    panels
        Title -> name -> points (amount, value, low and high end of the interval; NaN: no whisker).
    path, title, unit
        Picture to write; title; name of the horizontal axis.
    columns
        Panels in a row.

    Raises
    ------
    ValueError
        There is nothing to draw.
    """
    names, columns, lines = _panels(panels, columns, "line")
    figure = Figure(figsize=(2.9 * columns, 2.4 * lines + 0.9), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (panel, rows) in zip(grid, panels.items(), strict=False):
        for number, name in enumerate(names):
            mark, colour = MARKS[number % len(MARKS)]
            style = ("-", "--", ":")[number // len(MARKS) % 3]
            x, y, low, high = np.array(sorted(rows.get(name, ())), float).reshape(-1, 4).T
            axes.plot(x, y, color=colour, marker=mark, markersize=4, linestyle=style, label=name)
            axes.vlines(x, low, high, color=colour, linewidth=1, alpha=0.5)
        axes.set_title(panel, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(color="#e5e5e5", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    for axes in grid[max(len(panels) - columns, 0) : len(panels)]:
        axes.set_xlabel(unit, fontsize=8)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def reliability_plot(table: pd.DataFrame, path: Path_, *, title: str = "") -> None:
    """Draw how far raters agree on each dimension: which can be learned at all.

    Parameters
    ----------
    table
        Indexed by dimension name, columns ``low_pole``, ``high_pole``, ``icc1``, ``icck``, ``ceiling_mean``,
        ``ceiling_apex`` (and ``n_segments``, ``mean_raters`` for the title).
    path, title
        Picture to write; title.

    Raises
    ------
    KeyError
        Where a column is missing.
    """
    table = table.sort_values("ceiling_mean", ascending=False)
    at = np.arange(len(table))
    figure = Figure(figsize=(9.0, 0.3 * len(table) + 1.7), layout="constrained")
    axes = figure.subplots()
    axes.barh(at, table["ceiling_mean"], color="#c9dff0", height=0.75, label="ceiling of mean labels")
    axes.scatter(
        table["ceiling_apex"], at, marker="D", s=26, color=ORANGE, label="ceiling of apex labels", zorder=3
    )
    axes.scatter(table["icck"], at, marker="|", s=80, color=BLACK, label="ICC(1,k), all raters", zorder=3)
    axes.scatter(table["icc1"], at, marker="o", s=22, color=GREEN, label="ICC(1,1), one rater", zorder=3)
    names = [poles(low, high) for low, high in zip(table["low_pole"], table["high_pole"], strict=True)]
    axes.set_yticks(at, names, fontsize=8.5)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlim(
        min(0.0, float(np.nanmin(table[["icc1", "ceiling_apex"]].to_numpy(float), initial=0.0)) - 0.02), 1
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
    _plain(axes)
    _save(figure, path)
