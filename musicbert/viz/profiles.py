"""Picture of a profile: how a performance is heard, a line a dimension, with its range."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from musicbert.viz.canvas import BLACK, BLUE, WIDTH, Path_, check_suffix, plain, save

#: letters of a pole that fit beside the axis
_LETTERS = 42


def profile_plot(
    poles: Sequence[tuple[str, str]],
    values: ArrayLike,
    path: Path_,
    *,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    percentiles: ArrayLike | None = None,
    coverage: float | None = None,
    scale: tuple[float, float] = (0, 1),
    title: str = "",
) -> None:
    """Draw a profile: low poles at the left, high poles at the right.

    Parameters
    ----------
    poles
        What the low and the high end of each dimension mean.
    values
        On the ``scale`` [shape=(d,)].
    path
        Picture to write: .png, .svg or .pdf.
    low, high
        Ends of the ranges [shape=(d,) each]; NaN where there is none.
    percentiles
        Per cent of the training set with a lower value [shape=(d,)]; NaN where it is not known.
    coverage
        Share of unknown music whose rating lies in the ranges, for the legend.
    scale
        Lowest and highest rating.
    title
        Text above the picture.

    Raises
    ------
    ConfigError
        ``bad-suffix``.
    ValueError
        There are no dimensions, or columns of different length.

    Examples
    --------
    >>> viz.profile_plot([("slow", "fast")], [0.6], "profile.png", low=[0.5], high=[0.7])  # doctest: +SKIP
    """
    check_suffix(path)
    d = len(poles)
    nothing = np.full(d, np.nan)
    columns = [
        np.asarray(nothing if each is None else each, float) for each in (values, low, high, percentiles)
    ]
    if not d or any(column.shape != (d,) for column in columns):
        raise ValueError("a profile has one value a dimension, and at least one dimension")
    value, begin, end, rank = columns
    figure = Figure(figsize=(WIDTH, 0.32 * d + 1.3), layout="constrained")
    axes, at = figure.subplots(), np.arange(d)
    said = f"range, which holds for {coverage:.0%} of unknown music" if coverage is not None else "range"
    known = np.isfinite(begin) & np.isfinite(end)
    if known.any():
        axes.hlines(at[known], begin[known], end[known], color=BLUE, alpha=0.35, linewidth=6, label=said)
    axes.plot(value, at, "o", color=BLUE, markersize=6, label="this performance")
    first, last = scale
    axes.axvline((first + last) / 2, color=BLACK, linewidth=0.6, linestyle=":")
    axes.set(xlim=scale, ylim=(d - 0.5, -0.5))
    axes.set_yticks(at, [_short(left) for left, _ in poles], fontsize=8.5)
    right = axes.secondary_yaxis("right")
    right.set_yticks(at, [_short(pole) for _, pole in poles], fontsize=8.5)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    ticks = np.linspace(0, 1, 5) if last - first == 1 else np.arange(np.ceil(first), last + 0.5)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8)
    axes.set_xlabel(f"{first:g}: the words at the left; {last:g}: those at the right", fontsize=9)
    for k in np.flatnonzero(np.isfinite(rank)).tolist():
        side, x = ("right", 0.99) if value[k] < first + 0.75 * (last - first) else ("left", 0.01)
        axes.text(
            first + x * (last - first), k, f"{rank[k]:.0f}", ha=side, va="center", fontsize=8, color="#555555"
        )
    if np.isfinite(rank).any():
        axes.plot([], [], " ", label="grey numbers: per cent of the training set below it")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5, frameon=False)
    figure.suptitle(title, fontsize=11)
    plain(axes)
    axes.tick_params(axis="y", length=0)
    save(figure, path)


def _short(pole: str) -> str:
    """Words of a pole, cut where they would not fit."""
    return pole if len(pole) <= _LETTERS else pole[: _LETTERS - 1].rstrip() + "…"
