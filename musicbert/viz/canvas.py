"""Shared by all pictures: colours, plain axes, both poles of a dimension, and writing the file.

Classes have the colours of Okabe and Ito (2008), amounts those of cividis (Nuñez, Anderton, Renslow 2018),
differences blue to vermilion over grey: colour-blind readers can tell all of them apart.
"""

from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure

from musicbert.atomic import replacing
from musicbert.errors import ConfigError

Path_ = str | PathLike[str]
#: Okabe and Ito (2008)
BLUE, ORANGE, GREEN, PINK, GREY, BLACK = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#999999", "#222222"
SKY, VERMILION, PURPLE = "#56B4E9", "#D55E00", "#7A4E9C"
CLASSES = (BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, PURPLE)
LIGHT = "#eeeeee"
MARKS = (("o", BLUE), ("s", ORANGE), ("^", GREEN), ("D", PINK))
DPI = 110


#: inches across of a picture that is still read at 600 pixels
WIDTH = 7.0
#: format by suffix, and metadata that would differ from day to day
_FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


def check_suffix(path: Path_) -> str:
    """Suffix of a picture; raises `ConfigError` (``bad-suffix``)."""
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise ConfigError("bad-suffix", "The name of a picture ends in .png, .svg or .pdf", path=path)
    return suffix


def save(figure: Figure, path: Path_) -> None:
    """Draw a figure with Agg and write it, whole or not at all; missing folders are made.

    The same figure gives the same bytes. Raises `ConfigError` (``bad-suffix``) and `OSError`.
    """
    suffix = check_suffix(path)
    FigureCanvasAgg(figure)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "musicbert"}), replacing(path) as file:
        figure.savefig(
            file,
            format=suffix[1:],
            dpi=DPI,
            bbox_inches="tight",
            facecolor="white",
            metadata=_FORMATS[suffix],
        )


def amounts() -> Colormap:
    """Colours of small to large amounts: light to dark; the lightest are left out, which white swallows."""
    return ListedColormap(matplotlib.colormaps["cividis_r"](np.linspace(0.12, 1, 256)))


def differences() -> Colormap:
    """Colours of negative to positive numbers; zero is grey."""
    return LinearSegmentedColormap.from_list("differences", [BLUE, "#d9d9d9", VERMILION])


def plain(axes: Axes) -> None:
    """Hide the frame above and at the right, and draw a grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)


def poles(low: str, high: str) -> str:
    """Return both poles as one label."""
    return f"{low} ↔ {high}"
