"""`decode`: OctupleMIDI rows as a `Score`.

The time signature of a bar is the most frequent one of its notes (the lowest code in a tie); an empty bar
copies the bar before, those before all notes the first bar with notes. The tempo at a position is the rounded
mean of its notes' codes and holds until the next note; before the first it is 120 BPM. A note of duration 0
lasts one tick. One track a program. 480 ticks a quarter note, 30 a position.

Rows hold neither the length of a bar without notes nor, if the only notes of a bar come after a change inside
it, the signature that it began with. Such a bar begins with the signature of the bar before if that is long
enough, else with the shortest one over 64 that is, and changes at its first note. If the guessed empty bars
would push notes beyond the grid, they become as short as possible (1/64). Rows just made by `encode` remember
their silent bars (`PieceRows`): nothing is guessed. Where the music that the rows came from is known,
`musicbert.encoding.changes` loses none of this.

``encode(decode(rows)) == rows`` for all rows that `encode` makes, except in bars whose notes differ in time
signature.
"""

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Bools, Ints
from musicbert.encoding.octuple import DRUM_PITCH, DRUM_PROGRAM, PieceRows
from musicbert.encoding.quantise import (
    BAR_LENGTHS,
    MAX_POSITIONS,
    METRES,
    POSITIONS_PER_BEAT,
    WHOLE_NOTE,
    duration_value,
    tempo_code,
    tempo_value,
    velocity_value,
)
from musicbert.encoding.vocabulary import check_rows
from musicbert.errors import MidiError
from musicbert.midi import Score
from musicbert.midi.columns import DEFAULT_BPM

TICKS_PER_BEAT = 480
_COMMON_TIME = METRES.index((4, 4))
_SHORTEST = METRES.index((1, WHOLE_NOTE))
TICKS_PER_POSITION = TICKS_PER_BEAT // POSITIONS_PER_BEAT


def decode(rows: ArrayLike) -> Score:
    """Turn rows back into music.

    ``rows`` [shape=(n, 8), integers], n >= 1, in any order; bars 0-65535.
    Raises `MidiError` (``no-notes``; ``bad-value``: a wrong shape or a value out of range).
    """
    table = check_rows(rows, bars=MAX_POSITIONS)
    if len(table) == 0:
        raise MidiError("no-notes", "there are no rows to decode")
    bar, position, program, pitch, duration, velocity, metre, tempo = table.T
    drum = program == DRUM_PROGRAM
    if (drum != (pitch >= DRUM_PITCH)).any():
        row = int(np.flatnonzero(drum != (pitch >= DRUM_PITCH))[0])
        raise MidiError(
            "bad-value",
            f"row {row}: pitch {pitch[row]} does not belong to program {program[row]} (128 is drums)",
        )
    bar_metre, empty = _bar_metres(bar, metre)
    if isinstance(rows, PieceRows):
        silent, codes = rows.silent_bars()
        bar_metre[silent], empty[silent] = codes, False
    begin_metre = _fitting(bar_metre, bar, position, metre)
    bar_start = _bar_starts(begin_metre)
    last = position[bar == bar.max()].max()
    if bar_start[-1] + last >= MAX_POSITIONS:
        short = np.where(empty, _SHORTEST, begin_metre)
        if _bar_starts(short)[-1] + last < MAX_POSITIONS:  # not where a whole piece is longer than the grid
            begin_metre, bar_start = short, _bar_starts(short)
    onset = bar_start[bar] + position
    tempo_at, tempo_codes = _tempo_changes(onset, tempo)
    metre_at, metre_codes = _metre_changes(bar_metre, begin_metre, bar_start, bar, onset)
    numerators, denominators = np.array(METRES, np.int64)[metre_codes].T
    tick = onset * TICKS_PER_POSITION
    order = np.argsort(program, kind="stable")
    _, track = np.unique(program[order], return_inverse=True)
    return Score(
        ticks_per_beat=TICKS_PER_BEAT,
        onset=tick[order],
        offset=(tick + np.maximum(duration_value(duration) * TICKS_PER_POSITION, 1))[order],
        pitch=(pitch - DRUM_PITCH * drum)[order],
        velocity=velocity_value(velocity)[order],
        program=np.where(drum, 0, program)[order],
        drum=drum[order],
        track=track.astype(np.int64),
        tempo_tick=tempo_at * TICKS_PER_POSITION,
        tempo_bpm=tempo_value(tempo_codes),
        metre_tick=metre_at * TICKS_PER_POSITION,
        metre_numerator=numerators,
        metre_denominator=denominators,
    )


def _bar_metres(bar: Ints, metre: Ints) -> tuple[Ints, Bools]:
    """Time signature code of each bar, and which bars have no notes [shape=(last bar + 1,)]."""
    pairs, counts = np.unique(bar * len(METRES) + metre, return_counts=True)
    pair_bar, pair_metre = np.divmod(pairs, len(METRES))
    best = np.lexsort((pair_metre, -counts, pair_bar))
    filled, first = np.unique(pair_bar[best], return_index=True)
    source = np.full(int(bar.max()) + 1, -1)
    source[filled] = np.arange(len(filled))
    empty = source < 0
    source = np.maximum(np.maximum.accumulate(source), 0)
    return pair_metre[best[first]][source], empty


def _fitting(codes: Ints, bar: Ints, position: Ints, metre: Ints) -> Ints:
    """Code that each bar begins with: its own, unless notes of one signature lie beyond its end.

    Bars whose notes differ in time signature keep their code, as in upstream.
    """
    last = np.zeros(len(codes), np.int64)
    np.maximum.at(last, bar, position)
    last[bar[metre != codes[bar]]] = 0
    result = codes.copy()
    for at in np.flatnonzero(last >= BAR_LENGTHS[codes]).tolist():
        before = int(result[at - 1]) if at else _COMMON_TIME
        fits = last[at] < BAR_LENGTHS[before]
        result[at] = before if fits else METRES.index((int(last[at]) + 1, WHOLE_NOTE))
    return result


def _bar_starts(codes: Ints) -> Ints:
    """First position of each bar."""
    lengths = BAR_LENGTHS[codes]
    starts: Ints = np.cumsum(lengths) - lengths
    return starts


def _metre_changes(
    codes: Ints, begin_codes: Ints, bar_start: Ints, bar: Ints, onset: Ints
) -> tuple[Ints, Ints]:
    """Positions and codes of the time signatures: at bar lines, and at the first note after a change."""
    at, value = bar_start, begin_codes
    inside = np.flatnonzero(codes != begin_codes)
    inside = inside[np.isin(inside, bar)]  # a bar without notes has nothing to change for
    if len(inside):
        first = np.full(len(codes), np.iinfo(np.int64).max)
        np.minimum.at(first, bar, onset)
        at, value = np.concatenate([at, first[inside]]), np.concatenate([value, codes[inside]])
        order = np.argsort(at, kind="stable")
        at, value = at[order], value[order]
    changed = np.flatnonzero(np.diff(value, prepend=-1))
    return at[changed], value[changed]


def _tempo_changes(onset: Ints, tempo: Ints) -> tuple[Ints, Ints]:
    """Positions and codes of the tempo changes, the first at position 0."""
    at, inverse, counts = np.unique(onset, return_inverse=True, return_counts=True)
    codes = np.rint(np.bincount(inverse, weights=tempo) / counts).astype(np.int64)
    if at[0] > 0:
        at = np.concatenate([[0], at])
        codes = np.concatenate([[int(tempo_code(DEFAULT_BPM))], codes])
    changed = np.flatnonzero(np.diff(codes, prepend=-1))
    return at[changed], codes[changed]
