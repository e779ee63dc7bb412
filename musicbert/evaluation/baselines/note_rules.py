"""A note described by simple rules: its place in its chord, and a few numbers around it.

A chord is the notes of one onset. The order of the rows is not used, so an order that gives the label away
(vocal notes first) does not help.
"""

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.encoding.note_columns import NoteColumns

#: larger ranks and sizes of chords count as this one
MAX_CHORD = 5
NOTE_FEATURES = (
    "pitch", "pitch class", "position", "duration", "program", "rank from the top", "rank from below",
    "notes of the chord", "above the note below", "below the note above", "top moves by", "next top moves by",
    "since the chord before", "until the next chord", "mean pitch around",
)  # fmt: skip
#: chords on each side whose mean pitch counts as around
_AROUND = 8


def chord_rank(columns: NoteColumns) -> tuple[Ints, Ints]:
    """Rank of each note in its chord, from the top (0), and the size of its chord [shape=(n,)] each.

    Notes of one pitch share the better rank.
    """
    order = np.lexsort((-columns.pitch, columns.onset))
    onset, pitch = columns.onset[order], columns.pitch[order]
    starts = np.flatnonzero(np.diff(onset, prepend=onset[0] - 1)) if len(onset) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(starts, len(onset)))
    begin = np.repeat(starts, sizes)
    place = np.arange(len(onset)) - begin
    same = (np.diff(pitch, prepend=-1) == 0) & (place > 0)
    last = np.maximum.accumulate(np.where(same, 0, np.arange(len(onset))))
    rank, size = np.empty_like(order), np.empty_like(order)
    rank[order], size[order] = place[last], np.repeat(sizes, sizes)
    return rank, size


def chord_cell(columns: NoteColumns) -> Ints:
    """Rank of each note in its chord and size of the chord as one number [shape=(n,)]."""
    rank, size = chord_rank(columns)
    return np.minimum(rank, MAX_CHORD - 1) * (MAX_CHORD + 1) + np.minimum(size, MAX_CHORD)


def note_features(columns: NoteColumns) -> Floats:
    """Features of the notes of a piece [shape=(n, 15), float64], in the order of `NOTE_FEATURES`."""
    n = len(columns.onset)
    rank, size = chord_rank(columns)
    order = np.lexsort((-columns.pitch, columns.onset))
    onset, pitch = columns.onset[order], columns.pitch[order].astype(np.float64)
    starts = np.flatnonzero(np.diff(onset, prepend=onset[0] - 1))
    chord = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, n)))
    top, time = pitch[starts], onset[starts].astype(np.float64)
    moves = np.diff(top, prepend=top[0])[chord]
    next_moves = np.diff(top, append=top[-1])[chord]
    before = np.diff(time, prepend=time[0])[chord]
    after = np.diff(time, append=time[-1])[chord]
    inside = np.diff(chord, prepend=-1) == 0  # the note above is of the same chord
    below_above = np.where(inside, np.diff(pitch, prepend=0.0), 0.0)
    above_below = np.where(np.append(inside[1:], False), -np.diff(pitch, append=0.0), 0.0)
    total = np.concatenate([[0.0], np.cumsum(pitch)])
    edges = np.append(starts, n)
    low = edges[np.maximum(chord - _AROUND, 0)]
    high = edges[np.minimum(chord + _AROUND + 1, len(starts))]
    around = pitch - (total[high] - total[low]) / (high - low)
    found = np.empty((n, len(NOTE_FEATURES)))
    found[:, :8] = np.column_stack(
        [
            columns.pitch, columns.pitch % 12, columns.position, columns.duration, columns.program, rank,
            size - 1 - rank, size,
        ]
    )  # fmt: skip
    found[order, 8:] = np.column_stack([above_below, below_above, moves, next_moves, before, after, around])
    return found
