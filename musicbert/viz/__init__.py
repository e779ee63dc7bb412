"""Pictures of labels and predictions: the only door to matplotlib.

Figures are made as objects and drawn by the Agg canvas, so no display, no global state and no backend setting
is involved. Every axis of a dimension names both poles: a published name is the low pole only. Colours are
those of Okabe and Ito (2008), which colour-blind readers can tell apart.
"""

from musicbert.viz.canvas import BLUE, GREY, ORANGE, poles
from musicbert.viz.panels import curves_plot, interval_grid, line_grid
from musicbert.viz.predictions import confusion_plot, scatter_grid
from musicbert.viz.scores import dimension_plot, reliability_plot, score_bars

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "confusion_plot",
    "curves_plot",
    "dimension_plot",
    "interval_grid",
    "line_grid",
    "poles",
    "reliability_plot",
    "scatter_grid",
    "score_bars",
]
