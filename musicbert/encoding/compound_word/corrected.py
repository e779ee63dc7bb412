"""Compound words without the published faults: a row for every note, at the nearest sixteenth.

Steps: onset to the nearest sixteenth of its bar (halves to the earlier one; from the last half sixteenth of a
bar on, the first sixteenth of the next); duration, which the move leaves as it is, to the nearest multiple of
1/32 of a whole note (halves to the shorter; at least 1/32, at most two whole notes); pitches outside 22-107
by octaves into it. Rows are sorted by bar, position, pitch and duration; equal rows keep the order of the
notes. Everything is computed in whole numbers.

`BeatNotes` first become a 4/4 score at 480 ticks a beat, moved by whole bars where there is a pickup, so both
sources give the same rows for the same music.
"""

import numpy as np

from musicbert.arrays import Ints
from musicbert.encoding.compound_word.bars import places
from musicbert.encoding.compound_word.profiles import Profile
from musicbert.encoding.compound_word.rows import kept_notes, pack_rows, pitch_ids, sorted_order
from musicbert.encoding.compound_word.vocabulary import DURATIONS, POSITIONS
from musicbert.midi import Score

#: Units of duration (1/32 of a whole note) in a quarter note.
DURATIONS_PER_BEAT = 8


def score_rows(score: Score, profile: Profile) -> tuple[Ints, Ints]:
    """Rows of a score and the note of each (see `Codec`)."""
    kept = kept_notes(score, profile)
    onset, offset, pitch = score.onset, score.offset, score.pitch
    if kept is not None:
        onset, offset, pitch = onset[kept], offset[kept], pitch[kept]
    place = places(onset, score, written=profile.metre == "written")
    ids = pitch_ids(pitch, profile)
    duration = duration_ids(offset - onset, score.ticks_per_beat)
    order = sorted_order(place, ids, duration)
    bar, position = np.divmod(place[order], POSITIONS)
    rows = pack_rows(bar, position, ids[order], duration[order])
    return rows, order if kept is None else kept[order]


def duration_ids(ticks: Ints, ticks_per_beat: int) -> Ints:
    """Ids of durations in ticks: the nearest of (id + 1) / 32 of a whole note, halves to the shorter."""
    # ceil(8 ticks / ticks_per_beat - 1 - 1/2)
    nearest = -((3 * ticks_per_beat - 2 * DURATIONS_PER_BEAT * ticks) // (2 * ticks_per_beat))
    ids: Ints = np.minimum(np.maximum(nearest, 0), DURATIONS - 1)  # twice as fast as clip for short pieces
    return ids
