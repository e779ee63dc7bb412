"""`Playing`: a score's notes and pedals in seconds, the input of the features.

Chords are onset clusters: a new one starts where the gap to the previous onset (of any note) exceeds
``CHORD_GAP``. Pedal curves are step functions of time that hold the last value of a controller (all tracks
merged), 0 before its first event. A note sounds from its onset to its offset, or to the next release of the
sustain pedal if that is down (value >= 64, MIDI 1.0) at the offset, but not beyond the next onset of the same
pitch.
"""

from dataclasses import dataclass

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.errors import MidiError
from musicbert.midi.score import Score, piano_score

#: Seconds between successive onsets above which a new chord starts; chord asynchrony of pianists is mostly
#: under 30 ms (Goebl 2001, "Melody lead in piano performance"), the fastest trills repeat after about 60 ms.
CHORD_GAP = 0.035
#: Value from which a pedal controller counts as down (MIDI 1.0: 0-63 off, 64-127 on).
DOWN = 64
#: Seconds between the points at which pedals and polyphony are sampled, and the maximum of points of a piece.
GRID_STEP, GRID_POINTS = 0.05, 20_000
#: Seconds of music below which a piece has no rate: avoids division by zero for a single note.
SHORTEST = 0.05
#: Four quarter notes, from whose description the names of the features are read.
SCALE = piano_score(480 * np.arange(4), 480 * np.arange(1, 5), 60 + np.arange(4), 64 + np.arange(4))


@dataclass(frozen=True, eq=False)
class Steps:
    """A controller as a step function: ``value[i]`` (0-127) holds from ``time[i]`` [shape=(e,), seconds]."""

    time: Floats
    value: Floats

    def at(self, time: Floats) -> Floats:
        """Return the value at each time [shape=(k,), float64, 0-127], events at that very time included."""
        index = np.searchsorted(self.time, time, side="right")
        return np.concatenate([[0.0], self.value])[index]

    def edges(self, threshold: float = DOWN) -> tuple[Floats, Floats]:
        """Return the times at which the pedal goes down and comes up [shape=(p,) and (r,), seconds]."""
        down = np.concatenate([[False], self.value >= threshold])
        change = np.diff(down.astype(np.int8))
        return self.time[change > 0], self.time[change < 0]


@dataclass(frozen=True, eq=False)
class Playing:
    """Notes (by onset, then pitch), chords and pedals of one piece.

    Attributes
    ----------
    onset, offset, sounding_end
        [shape=(n,), float64, seconds from the first onset]
    pitch, velocity
        [shape=(n,), float64, MIDI numbers]
    chord
        Index of each note's onset cluster [shape=(n,), int64].
    time
        Onset of each cluster's first note [shape=(c,), float64, seconds].
    top, bottom
        Note index of each cluster's highest and lowest note [shape=(c,), int64].
    size
        Notes of each cluster [shape=(c,), int64].
    span
        From the first onset to the last offset [seconds].
    grid
        Times at which curves are sampled [shape=(g,), float64, seconds].
    sustain, soft, sostenuto
        Controllers 64, 67 and 66.
    """

    onset: Floats
    offset: Floats
    sounding_end: Floats
    pitch: Floats
    velocity: Floats
    chord: Ints
    time: Floats
    top: Ints
    bottom: Ints
    size: Ints
    span: float
    grid: Floats
    sustain: Steps
    soft: Steps
    sostenuto: Steps

    def per_chord(self, values: Floats) -> Floats:
        """Return the mean of a note column in each cluster [shape=(c,), float64]."""
        return np.bincount(self.chord, values) / self.size

    def sounding(self, end: Floats) -> Ints:
        """Count the notes of each pitch that sound on the grid, from onset to ``end`` [shape=(128, g)]."""
        counts = np.zeros((128, len(self.grid) + 1), np.int64)
        first = np.searchsorted(self.grid, self.onset)
        last = np.maximum(np.searchsorted(self.grid, end), first)
        np.add.at(counts, (self.pitch.astype(np.int64), first), 1)
        np.add.at(counts, (self.pitch.astype(np.int64), last), -1)
        return np.cumsum(counts[:, :-1], axis=1)


def _steps(score: Score, number: int, start: float) -> Steps:
    """Return one controller on the time axis that begins at the first onset."""
    mine = score.control_number == number
    return Steps(
        np.round(score.seconds(score.control_tick[mine]) - start, 6), score.control_value[mine].astype(float)
    )


def _sounding_end(onset: Floats, offset: Floats, pitch: Floats, sustain: Steps) -> Floats:
    """Return when each note stops sounding, the sustain pedal and repeated keys considered."""
    _, releases = sustain.edges()
    held = sustain.at(offset) >= DOWN
    release = np.concatenate([releases, [np.inf]])[np.searchsorted(releases, offset, side="right")]
    last = max(offset.max(), sustain.time[-1] if len(sustain.time) else 0.0)
    end = np.where(held, np.minimum(release, last), offset)
    by_pitch = np.lexsort((onset, pitch))
    again = np.full(len(onset), np.inf)  # the next onset of the same pitch
    same = pitch[by_pitch][1:] == pitch[by_pitch][:-1]
    again[by_pitch[:-1][same]] = onset[by_pitch[1:][same]]
    return np.maximum(np.minimum(end, again), np.minimum(offset, end))


def playing(score: Score) -> Playing:
    """Prepare a score for the features; drum notes are left out.

    Raises `MidiError` (``"no-notes"``: there is no pitched note).
    """
    keep = np.flatnonzero(~score.drum)
    if len(keep) == 0:
        raise MidiError("no-notes", "the score has no pitched note to describe", hint="leave the file out")
    onset = score.seconds(score.onset[keep])
    order = np.lexsort((score.pitch[keep], onset))
    keep, onset = keep[order], onset[order]
    start = float(onset[0])
    onset = np.round(onset - start, 6)  # microseconds: equal times stay equal whatever the tempo map
    offset = np.maximum(np.round(score.seconds(score.offset[keep]) - start, 6), onset)
    pitch, velocity = score.pitch[keep].astype(float), score.velocity[keep].astype(float)

    first = np.flatnonzero(np.diff(onset, prepend=-np.inf) > CHORD_GAP)
    size = np.diff(np.append(first, len(onset)))
    chord = np.repeat(np.arange(len(first)), size)
    by_pitch = np.lexsort((pitch, chord))
    span = float(max(offset.max(), SHORTEST))
    step = max(GRID_STEP, span / GRID_POINTS)
    sustain = _steps(score, 64, start)
    return Playing(
        onset=onset,
        offset=offset,
        sounding_end=_sounding_end(onset, offset, pitch, sustain),
        pitch=pitch,
        velocity=velocity,
        chord=chord,
        time=onset[first],
        top=by_pitch[first + size - 1],
        bottom=by_pitch[first],
        size=size,
        span=span,
        grid=np.arange(step / 2, span, step),
        sustain=sustain,
        soft=_steps(score, 67, start),
        sostenuto=_steps(score, 66, start),
    )
