"""Windows that cover a piece, and how much each window contributes to each note.

A window has at most 1,000 notes and, in OctupleMIDI, 256 bars, as in training. Neighbours overlap by a
quarter of a window; in the overlap the weight of the one falls linearly while that of the other rises (the
cross-fade of musicbert_hf's ``collate_logits``), and the weights of all windows at a note add up to 1. A
window with bars beyond 255 is moved so that its first bar is 0; others keep their bars.

Legend: ``n`` notes of a window.
"""

from dataclasses import dataclass

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.encoding.vocabulary import FIELD_SIZES

#: notes of a window in training (specification of the published preprocessing)
WINDOW = 1000
#: notes that neighbours share
OVERLAP = 250
BARS = FIELD_SIZES[0]


@dataclass(frozen=True, eq=False)
class Window:
    """Rows ``start`` to ``stop - 1`` of piece number ``piece``.

    ``first_bar``: bar of the piece that is bar 0 of the window (OctupleMIDI). ``share`` [shape=(n,), float64,
    0-1]: how much of each note's result comes from this window.
    """

    piece: int
    start: int
    stop: int
    first_bar: int
    share: Floats

    def __len__(self) -> int:
        return self.stop - self.start


def cover(bars: Ints, *, window: int = WINDOW, overlap: int = OVERLAP, piece: int = 0) -> list[Window]:
    """Cover a piece with windows, in order; every row is in at least one.

    ``bars`` [shape=(n,), int64], n >= 1: bar of each row, ascending. ``window``: largest number of notes in a
    window. ``overlap``: notes that neighbours share; fewer where 256 bars hold fewer notes.
    Raises `ValueError` unless ``0 <= overlap < window``.
    """
    if not 0 <= overlap < window:
        raise ValueError(f"overlap {overlap} is not in 0 to window - 1, {window - 1}")
    n = len(bars)
    bounds: list[tuple[int, int]] = []
    start = 0
    while True:
        stop = min(start + window, int(np.searchsorted(bars, bars[start] + BARS)))
        bounds.append((start, stop))
        if stop == n:
            break
        # the next window holds row `stop`, so it cannot begin more than 255 bars before that
        earliest = int(np.searchsorted(bars, bars[stop] - BARS, side="right"))
        shared = min(overlap, (stop - start) // 2)
        start = max(stop - shared, earliest, start + 1)
    weights = [_ramp(index, bounds) for index in range(len(bounds))]
    total = np.zeros(n)
    for (start, stop), weight in zip(bounds, weights, strict=True):
        total[start:stop] += weight
    return [
        Window(
            piece, start, stop, 0 if bars[stop - 1] < BARS else int(bars[start]), weight / total[start:stop]
        )
        for (start, stop), weight in zip(bounds, weights, strict=True)
    ]


def _ramp(index: int, bounds: list[tuple[int, int]]) -> Floats:
    """Weights before normalisation: 1, falling towards 0 where a neighbour overlaps."""
    start, stop = bounds[index]
    at = np.arange(stop - start, dtype=np.float64)
    weight = np.ones(stop - start)
    if index:
        shared = bounds[index - 1][1] - start
        weight = np.minimum(weight, (at + 1) / (shared + 1))
    if index + 1 < len(bounds):
        shared = stop - bounds[index + 1][0]
        weight = np.minimum(weight, (stop - start - at) / (shared + 1))
    return weight
