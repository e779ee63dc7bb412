"""Onset, pitch, duration and place in the bar of the notes in rows of any codec.

For rules, baselines and scores that look at the music and not at the encoding. Onsets and durations are in
units of the codec (1/16 of a quarter note for octuples, 1/4 for compound words), and bars are as long as the
longest that it can hold, so onsets order and group notes but do not measure time across bars.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.encoding.compound_word import LOW_PITCH, bar_numbers
from musicbert.encoding.compound_word.vocabulary import POSITIONS
from musicbert.encoding.quantise import WHOLE_NOTE, duration_value

#: positions of the longest bar of OctupleMIDI
_OCTUPLE_BAR = 2 * WHOLE_NOTE


@dataclass(frozen=True, eq=False)
class NoteColumns:
    """Columns [shape=(n,), int64] of the notes of a piece, in the order of its rows.

    ``bar``, ``position``, ``onset``: number of the bar; place in it; ``bar`` times the longest bar plus
    ``position``; ``duration``: in the same unit, at least 0; ``pitch``: MIDI pitch; of percussion plus 128 in
    octuples; ``program``: 0-127, 128 percussion; 0 in compound words, which do not hold it.
    """

    bar: Ints
    position: Ints
    onset: Ints
    duration: Ints
    pitch: Ints
    program: Ints


def note_columns(rows: ArrayLike, codec: str) -> NoteColumns:
    """Read rows [shape=(n, F), int64] of a codec."""
    table = np.asarray(rows, np.int64)
    if codec == "octuple":
        bar, position, program, pitch, duration = table.T[:5]
        onset = bar * _OCTUPLE_BAR + position
        return NoteColumns(bar, position, onset, duration_value(duration), pitch, program)
    bar = bar_numbers(table)
    position, pitch = table[:, 1], table[:, 2] + LOW_PITCH
    onset = bar * POSITIONS + position
    return NoteColumns(bar, position, onset, (table[:, 3] + 1) // 2, pitch, np.zeros_like(pitch))
