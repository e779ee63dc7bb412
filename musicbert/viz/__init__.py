"""Pictures of music, of what networks read, of labels and predictions: the only door to matplotlib.

Figures are made as objects and drawn by the Agg canvas, so no display, no global state and no backend setting
is involved. Every axis of a dimension names both poles: a published name is the low pole only. Colours are
those of Okabe and Ito (2008), which colour-blind readers can tell apart.
"""

from musicbert.viz.canvas import BLUE, GREY, ORANGE, poles
from musicbert.viz.music import piano_roll
from musicbert.viz.panels import curves_plot, interval_grid, line_grid
from musicbert.viz.predictions import confusion_plot, scatter_grid
from musicbert.viz.profiles import profile_plot
from musicbert.viz.scores import dimension_plot, reliability_plot, score_bars
from musicbert.viz.tokens import attention_map, field_lines, mask_lines

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "attention_map",
    "confusion_plot",
    "curves_plot",
    "dimension_plot",
    "field_lines",
    "interval_grid",
    "line_grid",
    "mask_lines",
    "piano_roll",
    "poles",
    "profile_plot",
    "reliability_plot",
    "scatter_grid",
    "score_bars",
]
