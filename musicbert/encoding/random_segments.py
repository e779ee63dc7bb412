"""`segments`: overlapping windows of a piece, with the bars of each moved by a random offset.

Window starts are ``p = -k, -k + step, ...`` with ``k`` drawn from 0 to ``window - 1`` and ``step = window /
overlap``: so a short piece gives several prefixes, and every note is in at most `overlap` windows. The bar
offset is drawn from all that keep the window within bars 0-255. Each draw is one call, in upstream's order:
first ``k``, then one for each window that fits.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.encoding.policies import COMPATIBLE, Policies
from musicbert.encoding.vocabulary import FIELD_SIZES, check_rows
from musicbert.errors import MidiError

#: ``f(low, high)`` with both ends included.
RandomInteger = Callable[[int, int], int]
BARS = FIELD_SIZES[0]


class Segment(NamedTuple):
    """Rows of a piece from index `start` on [shape=(n, 8), int64], bars moved into 0-255."""

    start: int
    rows: Ints


class Window(NamedTuple):
    """A segment as numbers: rows ``start`` to ``stop`` of a piece, `offset` added to their bars."""

    start: int
    stop: int
    offset: int


def segments(
    rows: ArrayLike,
    rng: np.random.Generator | RandomInteger,
    *,
    window: int = 1000,
    overlap: int = 4,
    policies: Policies = COMPATIBLE,
) -> Iterator[Segment]:
    """Cut a piece into segments of training text.

    Parameters
    ----------
    rows
        [shape=(n, 8), integers], sorted as `encode` makes them.
    rng
        A NumPy generator, or a function ``(low, high) -> int`` with both ends included.
    window, overlap
        Notes of a window; largest number of windows that a note is in.
    policies
        `Policies.bar_overflow` says what happens to a window of more than 256 bars.

    Raises
    ------
    MidiError
        ``bad-value``; ``too-large`` with ``bar_overflow="error"``.
    """
    table = check_rows(rows, bars=1 << 16)
    for start, stop, offset in plan_windows(
        table[:, 0], rng, window=window, overlap=overlap, policies=policies
    ):
        moved = table[start:stop].copy()
        moved[:, 0] += offset
        yield Segment(start, moved)


def plan_windows(
    bars: Ints,
    rng: np.random.Generator | RandomInteger,
    *,
    window: int = 1000,
    overlap: int = 4,
    policies: Policies = COMPATIBLE,
) -> Iterator[Window]:
    """Choose the segments of a piece without cutting them; ``bars[start:stop] + offset`` lies in 0-255.

    ``bars``: bar of each row [shape=(n,), integers, ascending]. Otherwise as `segments`.
    """
    if window < 1 or overlap < 1:
        raise ValueError("window and overlap are at least 1")
    draw = _draw(rng)
    step = max(round(window / overlap), 1)
    for begin in range(-draw(0, window - 1), len(bars), step):
        start, stop = max(begin, 0), min(begin + window, len(bars))
        while start < stop:
            offset = _bar_offset(int(bars[start]), int(bars[stop - 1]), draw)
            fits = int(np.searchsorted(bars[start:stop], BARS - offset))
            if fits < stop - start and policies.bar_overflow == "error":
                raise MidiError(
                    "too-large",
                    f"the window from note {start} has more than {BARS} bars",
                    hint='choose --bar-overflow drop or restart (in Python bar_overflow="drop")',
                )
            yield Window(start, start + fits, offset)
            if policies.bar_overflow != "restart":
                break
            start += fits


def shift_bars(rows: Ints, rng: np.random.Generator | RandomInteger) -> Ints:
    """Move all bars by one random offset that keeps them in 0-255.

    Rows that span more than 256 bars are moved so that the first bar is 0, without a draw; the last ones then
    have bars above 255.
    """
    moved = rows.copy()
    moved[:, 0] += _bar_offset(int(rows[:, 0].min()), int(rows[:, 0].max()), _draw(rng))
    return moved


def _bar_offset(first: int, last: int, draw: RandomInteger) -> int:
    """Offset that keeps both bars in 0-255, drawn where there is a choice; otherwise the first becomes 0."""
    low, high = -first, BARS - 1 - last
    return draw(low, high) if low <= high else low


def _draw(rng: np.random.Generator | RandomInteger) -> RandomInteger:
    """Random integers with both ends included."""
    if isinstance(rng, np.random.Generator):
        generator = rng
        return lambda low, high: int(generator.integers(low, high, endpoint=True))
    return rng
