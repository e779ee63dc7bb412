"""`Score`: one piece of music as NumPy columns, in ticks.

Contract: all columns of one group have the same length; ticks are int64 counted from 0; notes keep the order
of the file (tracks one after the other), changes of tempo and metre are sorted by tick. Nothing is inserted
that the file does not say: a file without a tempo has an empty tempo column (120 BPM is then implied, and so
is 4/4 for an empty metre column).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike

import numpy as np
from numpy.typing import NDArray

__all__ = ["Score"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Tempo of a file that names none (Standard MIDI Files 1.0, "Set Tempo").
DEFAULT_BPM = 120.0


def _no_ints() -> Ints:
    return np.zeros(0, np.int64)


def _no_floats() -> Floats:
    return np.zeros(0, np.float64)


@dataclass(frozen=True, eq=False)
class Score:
    """Notes, tempi, metres and controllers of one piece.

    Attributes
    ----------
    ticks_per_beat
        Ticks of a quarter note.
    onset, offset
        Start and end of each note [shape=(n,), int64, ticks].
    pitch, velocity, program
        [shape=(n,), int64]; pitch 0-127, velocity 1-127, General MIDI program 0-127.
    drum
        Whether the note is on a percussion track [shape=(n,), bool].
    track
        Index of the note's track [shape=(n,), int64].
    tempo_tick, tempo_bpm
        Changes of tempo [shape=(t,), int64 ticks and float64 quarter notes a minute].
    metre_tick, metre_numerator, metre_denominator
        Changes of time signature [shape=(m,), int64].
    control_tick, control_number, control_value, control_track
        Control changes (pedals are 64, 66 and 67) [shape=(c,), int64], sorted by tick.
    track_name
        Name of each track with notes, as the file says it; may be empty, and so may the names. The writer
        leaves names out.
    """

    ticks_per_beat: int
    onset: Ints
    offset: Ints
    pitch: Ints
    velocity: Ints
    program: Ints
    drum: NDArray[np.bool_]
    track: Ints
    tempo_tick: Ints = field(default_factory=_no_ints)
    tempo_bpm: Floats = field(default_factory=_no_floats)
    metre_tick: Ints = field(default_factory=_no_ints)
    metre_numerator: Ints = field(default_factory=_no_ints)
    metre_denominator: Ints = field(default_factory=_no_ints)
    control_tick: Ints = field(default_factory=_no_ints)
    control_number: Ints = field(default_factory=_no_ints)
    control_value: Ints = field(default_factory=_no_ints)
    control_track: Ints = field(default_factory=_no_ints)
    track_name: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of notes."""
        return len(self.onset)

    def seconds(self, ticks: Ints) -> Floats:
        """Convert ticks to seconds by the piece's tempo map.

        Parameters
        ----------
        ticks
            [shape=(k,), int64, ticks], any order.

        Returns
        -------
        [shape=(k,), float64, seconds]
        """
        starts = np.concatenate([[0], self.tempo_tick])
        bpm = np.concatenate([[DEFAULT_BPM], self.tempo_bpm])
        seconds_per_tick = 60.0 / (bpm * self.ticks_per_beat)
        elapsed = np.concatenate([[0.0], np.cumsum(np.diff(starts) * seconds_per_tick[:-1])])
        ticks = np.asarray(ticks, np.int64)
        at = np.maximum(np.searchsorted(starts, ticks, side="right") - 1, 0)
        result: Floats = elapsed[at] + (ticks - starts[at]) * seconds_per_tick[at]
        return result

    def save(self, path: str | PathLike[str]) -> None:
        """Write the score as a Standard MIDI File (atomically)."""
        from musicbert.midi.writer import write_midi

        write_midi(self, path)
