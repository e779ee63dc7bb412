"""`BeatNotes`: notes in beats instead of ticks, for music with known bars that is not a MIDI file.

Unit: beats, scaled so that a bar is 4 beats whatever the metre was; bar 0 begins at beat 0 and a pickup lies
before it, at negative beats.
"""

from dataclasses import dataclass

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.errors import MidiError
from musicbert.midi import Score
from musicbert.midi.score import TICKS_PER_BEAT, piano_score

#: Beats of every bar of `BeatNotes`.
BEATS_PER_BAR = 4
#: Latest beat: the last tick that a MIDI file may have, at 480 ticks a beat.
MAX_BEATS = (2**31 - 1) // TICKS_PER_BEAT - BEATS_PER_BAR


@dataclass(frozen=True, eq=False)
class BeatNotes:
    """Notes: times in beats [float64], MIDI pitch and velocity (64 if unknown) [int64], all shape=(n,)."""

    onset: Floats
    offset: Floats
    pitch: Ints
    velocity: Ints

    def __len__(self) -> int:
        """Return the number of notes."""
        return len(self.onset)


def check_beat_notes(notes: BeatNotes, *, max_notes: int = 1_000_000) -> None:
    """Check that notes can be encoded.

    Raises `MidiError`: ``no-notes``, ``too-many-notes``, ``bad-value`` (columns of different lengths, a time
    that is not finite or out of range, a note that ends before it begins, a pitch or velocity outside 0-127).
    """
    n = len(notes.onset)
    if n == 0:
        raise MidiError("no-notes", "the piece has no notes")
    if n > max_notes:
        raise MidiError("too-many-notes", f"{n} notes, more than {max_notes}")
    if any(column.shape != (n,) for column in (notes.onset, notes.offset, notes.pitch, notes.velocity)):
        raise MidiError("bad-value", "the columns of the notes differ in length")
    for name, times in (("onset", notes.onset), ("offset", notes.offset)):
        wrong = ~(np.abs(times) <= MAX_BEATS)  # also true for NaN
        if wrong.any():
            note = int(np.flatnonzero(wrong)[0])
            raise MidiError("bad-value", f"note {note}: {name} {times[note]} is not a time in beats")
    if (notes.offset < notes.onset).any():
        note = int(np.flatnonzero(notes.offset < notes.onset)[0])
        raise MidiError("bad-value", f"note {note} ends before it begins")
    for name, values in (("pitch", notes.pitch), ("velocity", notes.velocity)):
        if values.min() < 0 or values.max() > 127:
            note = int(np.flatnonzero((values < 0) | (values > 127))[0])
            raise MidiError("bad-value", f"note {note}: {name} {values[note]} is outside 0-127")


def first_bar(notes: BeatNotes) -> int:
    """Bar of the earliest note if that is before bar 0 (a pickup), else 0."""
    return min(int(np.floor(notes.onset.min() / BEATS_PER_BAR)), 0)


def beat_notes_to_score(notes: BeatNotes) -> Score:
    """Turn notes in beats into a score of one piano track.

    4/4 at 480 ticks a beat and 120 BPM; times are rounded to ticks. A pickup moves all notes later by whole
    bars. Note i of the score is note i of ``notes``.

    Raises `MidiError` (as `check_beat_notes`).
    """
    check_beat_notes(notes)
    shift = -first_bar(notes) * BEATS_PER_BAR
    onset, offset = (
        np.rint((times + shift) * TICKS_PER_BEAT).astype(np.int64) for times in (notes.onset, notes.offset)
    )
    return piano_score(onset, offset, notes.pitch.astype(np.int64), notes.velocity.astype(np.int64))
