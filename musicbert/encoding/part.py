"""Parts of a score: its bars, and the notes of some of them or of some seconds."""

from dataclasses import replace

import numpy as np

from musicbert.arrays import Bools, Ints
from musicbert.encoding.metre import bar_table
from musicbert.encoding.policies import WHOLE
from musicbert.encoding.quantise import POSITIONS_PER_BEAT, positions
from musicbert.errors import ConfigError, MidiError
from musicbert.midi import Score


def score_bars(score: Score) -> tuple[Ints, Ints]:
    """Bar of each note [shape=(n,), int64], and the ticks of all bar lines [shape=(bars + 1,), int64].

    Bars are counted from 0, as `musicbert.encode` counts them; a time signature without a token has bars of
    the nearest length. The last line is the end of the last bar in which a note begins.
    """
    onset = positions(score.onset, score.ticks_per_beat)
    last = onset.max(initial=0)
    table = bar_table(score, int(last) + 1, replace(WHOLE, unsupported_metre="nearest"))
    bars, _ = table.bars(onset)
    lines = table.start(np.arange(int(bars.max(initial=0)) + 2))
    return bars, np.rint(lines * score.ticks_per_beat / POSITIONS_PER_BEAT).astype(np.int64)


def part_of(
    score: Score,
    *,
    bars: tuple[int, int] | None = None,
    start: float | None = None,
    end: float | None = None,
    name: str | None = None,
) -> tuple[Bools, float, float | None]:
    """Notes that begin in a part of a score [shape=(n,), bool], and its ends in seconds (None: of itself).

    ``bars``: first and last, from 1, as in a printed score; ``start``, ``end``: or seconds.
    Raises `MidiError` (``no-notes``) and `ConfigError` (``bad-part``).
    """
    if bars is not None and (start is not None or end is not None):
        raise ConfigError("bad-part", "A part is given in bars or in seconds, not both")
    stop = end
    if bars is not None:
        first, last = bars[0] - 1, bars[1] - 1
        bar, lines = score_bars(score)
        if not 0 <= first <= last or first > bar.max():
            raise ConfigError(
                "bad-part",
                f"There are no bars {bars[0]}-{bars[1]}",
                path=name,
                hint=f"bars are 1-{bar.max() + 1}",
            )
        ends = score.seconds(lines[[first, min(last + 1, len(lines) - 1)]])
        notes, begin = (bar >= first) & (bar <= last), float(ends[0])
        if last < bar.max():
            stop = float(ends[1])
    else:
        begin = start or 0.0
        if begin < 0 or (end is not None and not begin < end):
            raise ConfigError("bad-part", f"There is no music from {begin:g} to {end or 0:g} seconds")
        onset = score.seconds(score.onset)
        notes = (onset >= begin) & (onset < (np.inf if end is None else end))
    if not notes.any():
        raise MidiError("no-notes", "no note begins in this part", path=name)
    return notes, begin, stop
