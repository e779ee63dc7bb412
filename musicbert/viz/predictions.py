"""Pictures of single predictions: against labels, and confusion matrices."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from musicbert.viz.canvas import BLACK, BLUE, GREY, Path_, save


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
    """Draw predictions against labels [shape=(n, d), 0-1; NaN labels are left out], a panel a dimension.

    ``dimensions``: low and high pole of each; ``notes``: a line above each panel (its scores); ``columns``:
    panels in a row.
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
    save(figure, path)


def confusion_plot(
    matrix: ArrayLike, classes: Sequence[str], path: Path_, *, title: str = "", what: str = "performer"
) -> None:
    """Draw counts [shape=(c, c)] of each true class (row) predicted as each class (column).

    ``what``: what the classes are, for the axes.
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
    save(figure, path)
