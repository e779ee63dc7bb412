"""`decode`: compound words as a `Score`.

Defaults replace what the rows do not hold: 4/4 bars of 1,920 ticks at 480 a quarter note and 120 BPM,
velocity 64, one piano track. Rows do not hold empty bars either, so silent bars are skipped, and a bar of
another metre is filled up to 4/4.

``encode(decode(rows)) == rows`` for all rows that the codec ``cp`` makes, except that a chunk that begins
inside a bar (with Continue) then begins a bar.
"""

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.encoding.compound_word.vocabulary import (
    DURATIONS,
    FIELD_VALUES,
    FIELDS,
    LOW_PITCH,
    NEW,
    PAD_ROW,
    POSITIONS,
    check_rows,
)
from musicbert.errors import MidiError
from musicbert.midi import Score
from musicbert.midi.score import TICKS_PER_BEAT, piano_score

BAR_TICKS = 4 * TICKS_PER_BEAT
SLOT_TICKS = BAR_TICKS // POSITIONS
DURATION_TICKS = 2 * BAR_TICKS // DURATIONS
VELOCITY = 64


def bar_numbers(rows: Ints) -> Ints:
    """Number the bars of rows [shape=(..., n, 4)] from 0, without empty bars [shape=(..., n), int64].

    PAD rows belong to the bar before; the first row may be inside a bar.
    """
    new = rows[..., 0] == NEW
    new[..., :1] = False
    numbers: Ints = np.cumsum(new, axis=-1)
    return numbers


def decode(rows: ArrayLike, *, velocity: ArrayLike = VELOCITY) -> Score:
    """Turn rows back into music.

    ``rows`` [shape=(n, 4), integers]: note k is the k-th row that is not PAD. ``velocity``: 1-127, of all
    notes or of each row [shape=(n,)].

    Raises
    ------
    MidiError
        ``no-notes``; ``bad-value`` for a wrong shape, an id out of range, MASK, or PAD in part of a row.
    """
    table = check_rows(rows)
    loudness = np.broadcast_to(np.asarray(velocity, np.int64), (len(table),))
    pad = (table == np.array(PAD_ROW)).all(axis=1)
    table, loudness = table[~pad], loudness[~pad]
    if len(table) == 0:
        raise MidiError("no-notes", "there are no rows to decode")
    special = table >= np.array(FIELD_VALUES)
    if special.any():
        row, field = (int(index) for index in np.argwhere(special)[0])
        what = "PAD" if table[row, field] == PAD_ROW[field] else "MASK"
        row = int(np.flatnonzero(~pad)[row])
        raise MidiError("bad-value", f"row {row}: {FIELDS[field]} is {what}, which is not a note")
    if loudness.min() < 1 or loudness.max() > 127:
        raise MidiError("bad-value", "a velocity is outside 1-127")
    onset = bar_numbers(table) * BAR_TICKS + table[:, 1] * SLOT_TICKS
    offset = onset + (table[:, 3] + 1) * DURATION_TICKS
    return piano_score(onset, offset, table[:, 2] + LOW_PITCH, loudness.copy())
