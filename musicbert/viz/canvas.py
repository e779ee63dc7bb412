"""Shared by all pictures: colours, plain axes, both poles of a dimension, and writing the file."""

from os import PathLike
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Path_ = str | PathLike[str]
#: Okabe and Ito (2008)
BLUE, ORANGE, GREEN, PINK, GREY, BLACK = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#999999", "#222222"
MARKS = (("o", BLUE), ("s", ORANGE), ("^", GREEN), ("D", PINK))
DPI = 110


def save(figure: Figure, path: Path_) -> None:
    """Draw a figure with Agg and write it; missing folders are made."""
    FigureCanvasAgg(figure)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, bbox_inches="tight", facecolor="white", metadata={"Software": None})


def plain(axes: Axes) -> None:
    """Hide the frame above and at the right, and draw a grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)


def poles(low: str, high: str) -> str:
    """Return both poles as one label."""
    return f"{low} ↔ {high}"
