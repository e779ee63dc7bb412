"""Pictures with a panel a task or quantity: training curves, intervals around zero, scores over an amount."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from musicbert.viz.canvas import BLACK, BLUE, GREY, MARKS, ORANGE, Path_, plain, save


def _panels(
    panels: Mapping[str, Mapping[str, object]], columns: int, what: str
) -> tuple[list[str], int, int]:
    """Names in the order of the first panel that has them, columns and rows of the grid."""
    names = list(dict.fromkeys(name for rows in panels.values() for name in rows))
    if not names:
        raise ValueError(f"there is no {what} to draw")
    columns = min(columns, len(panels))
    return names, columns, -(-len(panels) // columns)


def curves_plot(
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    path: Path_,
    *,
    title: str = "",
    unit: str = "epoch",
    columns: int | None = None,
) -> None:
    """Draw training curves, a panel a quantity and a line a part or run.

    ``curves``: quantity -> line name -> points (epoch or update, value); ``unit``: label of the horizontal
    axis; ``columns``: panels in a row (all).
    """
    if not curves:
        raise ValueError("there is no curve to draw")
    columns = min(columns or len(curves), len(curves))
    rows = -(-len(curves) // columns)
    width = 4.6 if columns > 2 else 3.6
    figure = Figure(figsize=(width * columns, (3.4 if columns > 2 else 2.7) * rows), layout="constrained")
    grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axes in grid[len(curves) :]:
        axes.set_axis_off()
    for axes, (quantity, lines) in zip(grid, curves.items(), strict=False):
        for name, points in lines.items():
            x, y = np.array(sorted(points), float).reshape(-1, 2).T
            valid = "valid" in name
            axes.plot(
                x,
                y,
                color=BLUE if valid else ORANGE,
                alpha=0.9 if len(lines) < 4 else 0.4,
                linewidth=1.3,
                marker="o" if len(x) < 3 else None,
                markersize=4,
            )
        shown = [part for part in ("train", "valid") if any(part in name for name in lines)]
        for part in shown:
            axes.plot([], [], color=BLUE if part == "valid" else ORANGE, label=part)
        axes.set_title(quantity, fontsize=9)
        axes.set_xlabel(unit, fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.tick_params(labelsize=8)
        axes.grid(color="#e5e5e5", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        if shown:
            axes.legend(fontsize=8, frameon=False)
    figure.suptitle(title or "Training curves", fontsize=11)
    save(figure, path)


def interval_grid(
    panels: Mapping[str, Mapping[str, tuple[float, float, float]]],
    path: Path_,
    *,
    title: str = "",
    unit: str = "",
    columns: int = 4,
) -> None:
    """Draw values with their intervals around zero, a panel a task and a line a variant.

    ``panels``: title -> name -> value, low and high end of the interval (NaN: no whisker), grey if the
    interval contains zero; ``unit``: label of the axis; ``columns``: panels in a row.
    Raises `ValueError` (there is nothing to draw).
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
        axes.locator_params(axis="x", nbins=5)  # so that numbers of narrow panels do not overlap
        plain(axes)
    grid[0].set_yticks(range(len(names)), names, fontsize=8)
    grid[0].invert_yaxis()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel(unit, fontsize=9)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def line_grid(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]],
    path: Path_,
    *,
    title: str = "",
    unit: str = "",
    columns: int = 4,
) -> None:
    """Draw scores over an amount, a panel a task and a line a variant.

    ``panels``: title -> name -> points (amount, value, low and high end of the interval; NaN: no whisker);
    ``unit``: label of the horizontal axis; ``columns``: panels in a row.
    Raises `ValueError` (there is nothing to draw).
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
    save(figure, path)
