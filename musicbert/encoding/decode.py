"""`decode`: OctupleMIDI rows as a `Score`.

The time signature of a bar is the most frequent one of its notes (the lowest code of equals); an empty bar
copies the bar before, the first is 4/4. The tempo at a position is the rounded mean of its notes' codes and
holds until the next note; before the first it is 120 BPM. A note of duration 0 lasts one tick. One track a
program. 480 ticks a quarter note, 30 a position.

``encode(decode(rows)) == rows`` for all rows that `encode` makes, except in bars whose notes differ in time
signature.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicbert.encoding.octuple import DRUM_PITCH, DRUM_PROGRAM, MAX_POSITIONS
from musicbert.encoding.quantise import (
    BAR_LENGTHS,
    METRES,
    POSITIONS_PER_BEAT,
    duration_value,
    tempo_code,
    tempo_value,
    velocity_value,
)
from musicbert.encoding.vocabulary import check_rows
from musicbert.errors import MidiError
from musicbert.midi import Score
from musicbert.midi.score import DEFAULT_BPM

__all__ = ["decode"]

Ints = NDArray[np.int64]

TICKS_PER_BEAT = 480
_COMMON_TIME = METRES.index((4, 4))
TICKS_PER_POSITION = TICKS_PER_BEAT // POSITIONS_PER_BEAT


def decode(rows: ArrayLike) -> Score:
    """Turn rows back into music.

    Parameters
    ----------
    rows
        [shape=(n, 8), integers], n >= 1, in any order; bars 0-65535.

    Returns
    -------
    Score
        With ``.save(path)``.

    Raises
    ------
    MidiError
        ``no-notes``; ``bad-value`` for a wrong shape or a value out of range.
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
    bar_metre = _bar_metres(bar, metre)
    lengths = BAR_LENGTHS[bar_metre]
    bar_start = np.cumsum(lengths) - lengths
    onset = bar_start[bar] + position
    tempo_at, tempo_codes = _tempo_changes(onset, tempo)
    changes = np.flatnonzero(np.diff(bar_metre, prepend=-1))
    numerators, denominators = np.array(METRES, np.int64)[bar_metre[changes]].T
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
        metre_tick=bar_start[changes] * TICKS_PER_POSITION,
        metre_numerator=numerators,
        metre_denominator=denominators,
    )


def _bar_metres(bar: Ints, metre: Ints) -> Ints:
    """Time signature code of each bar [shape=(last bar + 1,)]."""
    pairs, counts = np.unique(bar * len(METRES) + metre, return_counts=True)
    pair_bar, pair_metre = np.divmod(pairs, len(METRES))
    best = np.lexsort((pair_metre, -counts, pair_bar))
    filled, first = np.unique(pair_bar[best], return_index=True)
    source = np.full(int(bar.max()) + 1, -1)
    source[filled] = np.arange(len(filled))
    source = np.maximum.accumulate(source)
    codes: Ints = np.where(source < 0, _COMMON_TIME, pair_metre[best[first]][source]).astype(np.int64)
    return codes


def _tempo_changes(onset: Ints, tempo: Ints) -> tuple[Ints, Ints]:
    """Positions and codes of the tempo changes, the first at position 0."""
    at, inverse, counts = np.unique(onset, return_inverse=True, return_counts=True)
    codes = np.rint(np.bincount(inverse, weights=tempo) / counts).astype(np.int64)
    if at[0] > 0:
        at = np.concatenate([[0], at])
        codes = np.concatenate([[int(tempo_code(DEFAULT_BPM))], codes])
    changed = np.flatnonzero(np.diff(codes, prepend=-1))
    return at[changed], codes[changed]
