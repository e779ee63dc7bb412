"""Where the bars of a score lie, and in which sixteenth of which bar a note begins.

A bar lasts as long as its time signature says, in exact fractions of a tick, and ends where the signature
changes. A bar longer than a whole note has more sixteenths than the field position has values: it counts as
the fewest parts of nearly equal length in units of its denominator, none longer than a whole note (5/4 as 3/4
and 2/4, 12/8 as 6/8 and 6/8). A bar shorter than a sixteenth counts as a sixteenth. A signature that repeats
the one in force changes nothing.
"""

from dataclasses import astuple, dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np

from musicbert.arrays import Ints
from musicbert.encoding.compound_word.vocabulary import POSITIONS
from musicbert.midi import Score

#: Sixteenths of a whole note are this many of a quarter note.
SLOTS_PER_BEAT = POSITIONS // 4
#: Finest fraction of a tick (metres over 2^16 and more are rounded to it; all common ones are exact).
_FINEST = 1 << 16


@dataclass(frozen=True)
class _Run:
    """Bars of one time signature. Times are in ``1 / scale`` ticks after ``tick``."""

    tick: int
    scale: int
    unit: int  # length of a unit of the denominator
    units: int  # units of a bar
    parts: int  # parts that a bar counts as
    first: int = 0  # number of the first bar (or part)
    end: int = 1 << 60

    def bars(self) -> int:
        """Bars and parts that begin before the end."""
        full, rest = divmod(self.end, self.unit * self.units)
        begun = ((rest - 1) // self.unit * self.parts // self.units + 1) if rest else 0
        return full * self.parts + begun


def places(onset: Ints, score: Score, *, written: bool) -> Ints:
    """Nearest sixteenth of each onset, ``16 * bar + sixteenth`` [shape=(n,), int64].

    ``onset`` in ticks of the score, any order; ``written``: use the bars of the score's time signatures, else
    4/4 throughout. Halves go to the earlier sixteenth; an onset that is nearer to the next bar line than to
    any sixteenth of its bar is in the next bar.
    """
    runs = [astuple(run) for run in _runs(score, written=written)]
    if len(runs) == 1:
        return _places(onset, score.ticks_per_beat, *runs[0])
    of_note = np.searchsorted([run[0] for run in runs], onset, side="right") - 1
    return _places(onset, score.ticks_per_beat, *np.array(runs, np.int64)[of_note].T)


def _places(
    onset: Ints,
    ticks_per_beat: int,
    tick: Ints | int,
    scale: Ints | int,
    unit: Ints | int,
    units: Ints | int,
    parts: Ints | int,
    first: Ints | int,
    end: Ints | int,
) -> Ints:
    """Places of onsets whose runs are known: a number for all, or one for each."""
    since = (onset - tick) * scale
    if isinstance(parts, int) and parts == 1:
        length: Ints | int = unit * units
        bar = since // length
        inside = since - bar * length
        number = first + bar
    else:
        unit_number: Ints = since // unit
        bar, at = unit_number // units, unit_number % units
        part: Ints = at * parts // units
        begin: Ints = -(-part * units // parts)  # unit that the part begins with
        after: Ints = -(-(part + 1) * units // parts)
        inside = since - (bar * units + begin) * unit
        length = (after - begin) * unit
        number = first + bar * parts + part
    bar_end: Ints | int = end - (since - inside)  # of the run: a change of metre may cut the bar
    lasts: Ints = np.minimum(length, bar_end) * SLOTS_PER_BEAT
    slot = ticks_per_beat * scale  # of a quarter note, so that it stays a whole number
    position = -((slot - 2 * SLOTS_PER_BEAT * inside) // (2 * slot))
    reached = position * slot
    late = (reached >= lasts) | (2 * SLOTS_PER_BEAT * inside - reached > lasts)
    place: Ints = np.where(late, (number + 1) * POSITIONS, number * POSITIONS + position)
    return place


def _runs(score: Score, *, written: bool) -> list[_Run]:
    """Runs of equal time signature, the first from tick 0."""
    changes = {0: (4, 4)}
    if written and len(score.metre_tick):
        order = np.argsort(score.metre_tick, kind="stable")
        columns = (score.metre_tick, score.metre_numerator, score.metre_denominator)
        for tick, *metre in zip(*(column[order].tolist() for column in columns), strict=True):
            changes[tick] = (metre[0], metre[1])  # the last of one tick holds
    runs: list[_Run] = []
    before, first = None, 0
    for tick, signature in changes.items():
        if signature == before:
            continue
        if runs:
            runs[-1] = replace(runs[-1], end=(tick - runs[-1].tick) * runs[-1].scale)
            first += runs[-1].bars()
        runs.append(_Run(tick, *_bar(*signature, score.ticks_per_beat), first))
        before = signature
    return runs


@lru_cache(maxsize=256)
def _bar(numerator: int, denominator: int, ticks_per_beat: int) -> tuple[int, int, int, int]:
    """``scale``, ``unit``, ``units`` and ``parts`` of a time signature; a corpus has few of them."""
    whole_note = 4 * ticks_per_beat
    length = Fraction(whole_note * numerator, denominator)
    if length <= whole_note:
        length = max(length, Fraction(whole_note, POSITIONS)).limit_denominator(_FINEST)
        return length.denominator, length.numerator, 1, 1
    unit = max(Fraction(whole_note, denominator), Fraction(1, _FINEST)).limit_denominator(_FINEST)
    return unit.denominator, unit.numerator, numerator, -(-numerator // denominator)
