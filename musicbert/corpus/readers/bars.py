"""Times to beats by known bar lines: each bar is stretched linearly to four beats.

Verified against the published note lists in ``tests/parity/test_readers_bps_motif.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicbert.encoding.beat_notes import BEATS_PER_BAR
from musicbert.errors import DatasetError

__all__ = ["fill_gaps", "times_to_beats"]

Floats = NDArray[np.float64]


def times_to_beats(times: ArrayLike, bar_lines: ArrayLike) -> Floats:
    """Convert times to beats.

    Parameters
    ----------
    times
        [shape=(n,)], any unit; times before the first and after the last bar line lie in bars as long as the
        first and the last one.
    bar_lines
        Beginnings of bars, strictly ascending [shape=(m,), m > 1, the same unit].

    Returns
    -------
    [shape=(n,), float64, beats], 0 at the first bar line.

    Raises
    ------
    DatasetError
        ``bad-bars``: fewer than two bar lines, or not ascending.

    Examples
    --------
    >>> times_to_beats([-3.0, 0.0, 1.5, 4.0], [0.0, 3.0, 5.0])
    array([-4.,  0.,  2.,  6.])
    """
    lines = np.asarray(bar_lines, np.float64)
    if len(lines) < 2 or not (np.diff(lines) > 0).all():
        raise DatasetError("bad-bars", "The bar lines are not two or more ascending times")
    at = np.asarray(times, np.float64)
    bar = np.clip(np.searchsorted(lines, at, side="right") - 1, 0, len(lines) - 2)
    beats: Floats = BEATS_PER_BAR * (bar + (at - lines[bar]) / (lines[bar + 1] - lines[bar]))
    return beats


def fill_gaps(bar_lines: ArrayLike, *, longest: float = 8.0) -> Floats:
    """Return bar lines with regular ones put into gaps.

    A bar that is at least ``longest`` times as long as the one before it is no bar but a hole in the
    annotation (BPS-FH has one of 202 beats in its third sonata): it is cut into bars of the length before it,
    the last of which takes what remains.

    Examples
    --------
    >>> fill_gaps([0, 4, 8, 50]).tolist()
    [0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 36.0, 40.0, 44.0, 48.0, 50.0]
    """
    lines = np.asarray(bar_lines, np.float64)
    lengths = np.diff(lines)
    pieces = [lines[:1]]
    usual = 0.0
    for start, length in zip(lines[:-1], lengths, strict=True):
        if usual and length >= longest * usual:
            pieces.append(start + usual * np.arange(1, np.ceil(length / usual - 1e-9)))
        else:
            usual = length
        pieces.append(np.array([start + length]))
    return np.concatenate(pieces)
