"""A whole piece as overlapping windows, and how much each window says about each note.

A window has at most 1,000 notes and 256 bars, as in training. Neighbours overlap by a quarter of a window;
in the overlap the weight of the one falls linearly while that of the other rises (the cross-fade of
musicbert_hf's ``collate_logits``), and the weights of all windows at a note add up to 1. A window whose
bars do not fit 0-255 is moved so that its first bar is 0; others keep their bars.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicbert.encoding.vocabulary import FIELD_SIZES

__all__ = ["OVERLAP", "WINDOW", "Span", "cover"]

Ints = NDArray[np.int64]

#: notes of a window in training (specification of the published preprocessing)
WINDOW = 1000
#: notes that neighbours share
OVERLAP = 250
BARS = FIELD_SIZES[0]


class Span(NamedTuple):
    """One window.

    Attributes
    ----------
    start, stop
        Rows ``start`` to ``stop - 1`` of the piece.
    first_bar
        Bar of the piece that is bar 0 of the window.
    share
        How much of each note's result comes from this window [shape=(stop - start,), float64, 0-1].
    """

    start: int
    stop: int
    first_bar: int
    share: NDArray[np.float64]


def cover(bars: Ints, *, window: int = WINDOW, overlap: int = OVERLAP) -> list[Span]:
    """Cover a piece with windows.

    Parameters
    ----------
    bars
        Bar of each row, ascending [shape=(n,), int64], n >= 1.
    window
        Notes of a window, at most.
    overlap
        Notes that neighbours share; fewer where 256 bars hold fewer notes.

    Returns
    -------
    list of Span
        In order; every row is in at least one.

    Raises
    ------
    ValueError
        Unless ``0 <= overlap < window``.
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
        Span(
            start,
            stop,
            0 if bars[stop - 1] < BARS else int(bars[start]),
            weight / total[start:stop],
        )
        for (start, stop), weight in zip(bounds, weights, strict=True)
    ]


def _ramp(index: int, bounds: list[tuple[int, int]]) -> NDArray[np.float64]:
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
