"""Continuous performance inputs: details of how a note was played that an OctupleMIDI row loses.

Everything is computed from seconds, velocities, pitches and the three pedals. Names, tempi, metres and
programs are ignored, so two files that sound the same give the same numbers. Columns, all clipped to -3..3
(``r`` is the reference value at which the column is 0):

==  ==================  ======================================================================================
 0  ioi_previous        ln(seconds since the previous chord / r), r = 0.15 s; 0 at the first chord
 1  ioi_next            ln(seconds to the next chord / r), r = 0.15 s; 0 at the last chord
 2  duration            ln(seconds from key press to release / r), r = 0.3 s
 3  sounding            ln(seconds until the damper falls / r), r = 0.6 s: a note sounds until its release or
                        while the sustain pedal is down (64 or more), until its pitch is struck again
 4  velocity            (velocity - 64) / 32
 5  pitch               (pitch - 64) / 20
 6  sustain_onset       sustain pedal (controller 64) at the onset, value / 64 - 1
 7  sustain_after       the same 0.1 s after the onset (pianists change the pedal just after a chord)
 8  sustain_mean        its mean from onset to release
 9  sustain_release     at the release
10  soft_onset          soft pedal (67) at the onset, value / 64 - 1
11  sostenuto_onset     sostenuto pedal (66) at the onset, value / 64 - 1
12  legato              duration / seconds to the next chord, clipped to 0-3, minus 1; 0 at the last chord
13  asynchrony          seconds after the first note of its chord / 0.05 s
14  time                place of the onset in the piece, 0 (first onset) to 1 (last)
==  ==================  ======================================================================================

`score_inputs` adds three columns where the beats of a performance are aligned with those of its score:

==  ==================  ======================================================================================
15  beat_position       place of the onset in its beat, -1 (the beat) to 1 (the next beat)
16  beat_period         ln(seconds of the beat in the performance / in the score)
17  beat_known          1 between the first beat and the last; elsewhere 0, and so are the two others
==  ==================  ======================================================================================

A chord is a chain of onsets at most 30 ms apart. A pedal is merged over all tracks by its highest value;
before its first event it is up. Seconds below 1 ms count as 1 ms in logarithms.
"""

from typing import Final, NamedTuple

import numpy as np

from musicbert.arrays import Floats, Ints, Singles
from musicbert.midi import Score

#: Names of the columns.
PERFORMANCE_INPUTS: Final = (
    "ioi_previous",
    "ioi_next",
    "duration",
    "sounding",
    "velocity",
    "pitch",
    "sustain_onset",
    "sustain_after",
    "sustain_mean",
    "sustain_release",
    "soft_onset",
    "sostenuto_onset",
    "legato",
    "asynchrony",
    "time",
)

#: Names of the further columns where the score is known, and the columns by their number.
SCORE_INPUTS: Final = ("beat_position", "beat_period", "beat_known")
KNOWN_INPUTS: Final = {len(names): names for names in (PERFORMANCE_INPUTS, PERFORMANCE_INPUTS + SCORE_INPUTS)}

SUSTAIN, SOSTENUTO, SOFT = 64, 66, 67
#: Value from which the sustain pedal is down (MIDI 1.0).
PEDAL_DOWN = 64
CHORD_GAP = 0.03
_AFTER_ONSET = 0.1
_SHORTEST = 1e-3
_IOI, _DURATION, _SOUNDING, _ASYNCHRONY = 0.15, 0.3, 0.6, 0.05
_LIMIT = 3.0
#: Seconds added to look-ups, so that events at the same instant count in spite of rounding.
_EPSILON = 1e-6


class _Pedal(NamedTuple):
    """A step function: `value[i]` from `time[i]` on; the first step is 0 from minus infinity on."""

    time: Floats
    value: Floats

    def at(self, when: Floats) -> Floats:
        """Value at some times."""
        return self.value[np.searchsorted(self.time, when + _EPSILON, side="right") - 1]

    def integral(self, when: Floats) -> Floats:
        """Integral from the first event to some times."""
        steps = np.diff(self.time[1:]) * self.value[1:-1]
        sums = np.concatenate([[0.0, 0.0], np.cumsum(steps)])[: len(self.time)]
        index = np.searchsorted(self.time, when, side="right") - 1
        inside = index > 0
        begun = np.where(inside, self.time[index], 0.0)
        result: Floats = np.where(inside, sums[index] + self.value[index] * (when - begun), 0.0)
        return result

    def up_after(self, when: Floats) -> Floats:
        """First time, not before `when`, at which the pedal is up (infinity if never)."""
        n = len(self.time)
        up = np.where(self.value < PEDAL_DOWN, np.arange(n), n)
        next_up = np.minimum.accumulate(up[::-1])[::-1]
        index = next_up[np.searchsorted(self.time, when + _EPSILON, side="right") - 1]
        times = np.append(self.time, np.inf)
        result: Floats = np.maximum(times[index], when)
        return result


def performance_inputs(score: Score, note_index: Ints) -> Singles:
    """Compute the performance inputs of some notes of a piece; all its notes are the context.

    ``note_index``: the notes, as from `encode_notes` [shape=(n,), int64].
    Returns [shape=(n, len(PERFORMANCE_INPUTS)), float32], finite, in -3..3.
    """
    columns = np.zeros((len(PERFORMANCE_INPUTS), len(score)))
    if len(score) == 0:
        return columns.T.astype(np.float32)[note_index]
    onset, release = score.seconds(score.onset), score.seconds(score.offset)
    length = release - onset
    previous, following, first = _chords(onset)
    sustain, soft, sostenuto = (_pedal(score, number) for number in (SUSTAIN, SOFT, SOSTENUTO))

    columns[0] = np.where(np.isnan(previous), 0.0, _log(previous, _IOI))
    columns[1] = np.where(np.isnan(following), 0.0, _log(following, _IOI))
    columns[2] = _log(length, _DURATION)
    columns[3] = _log(_damped(score, onset, release, sustain) - onset, _SOUNDING)
    columns[4] = (score.velocity - 64) / 32
    columns[5] = (score.pitch - 64) / 20
    columns[6] = sustain.at(onset) / 64 - 1
    columns[7] = sustain.at(onset + _AFTER_ONSET) / 64 - 1
    columns[8] = _mean(sustain, onset, release) / 64 - 1
    columns[9] = sustain.at(release) / 64 - 1
    columns[10] = soft.at(onset) / 64 - 1
    columns[11] = sostenuto.at(onset) / 64 - 1
    legato = length / np.maximum(following, _SHORTEST)
    columns[12] = np.where(np.isnan(following), 0.0, np.clip(legato, 0, 3) - 1)
    columns[13] = (onset - first) / _ASYNCHRONY
    columns[14] = (onset - onset.min()) / max(float(np.ptp(onset)), _SHORTEST)
    chosen = np.clip(columns, -_LIMIT, _LIMIT).T[note_index]
    return np.ascontiguousarray(chosen, np.float32)


def score_inputs(onset: Floats, beats: Floats, score_beats: Floats) -> Singles:
    """Compute the columns of notes whose score is known.

    ``onset``: seconds of the notes [shape=(n,)]; ``beats``, ``score_beats``: seconds of the same beats in the
    performance and in the score [shape=(b,), ascending, b >= 2].
    Returns [shape=(n, len(SCORE_INPUTS)), float32], finite, in -3..3.
    """
    beat = np.clip(np.searchsorted(beats, onset + _EPSILON, side="right") - 1, 0, len(beats) - 2)
    seconds, notated = np.diff(beats)[beat], np.diff(score_beats)[beat]
    known = (onset >= beats[0] - _EPSILON) & (onset <= beats[-1] + _EPSILON)
    columns = np.stack(
        [2 * (onset - beats[beat]) / seconds - 1, np.log(seconds / notated), np.ones(len(onset))]
    )
    return np.ascontiguousarray(np.where(known, np.clip(columns, -_LIMIT, _LIMIT), 0.0).T, np.float32)


def _log(seconds: Floats, reference: float) -> Floats:
    """Natural logarithm of seconds over a reference; NaN stays NaN."""
    result: Floats = np.log(np.maximum(seconds, _SHORTEST) / reference)
    return result


def _chords(onset: Floats) -> tuple[Floats, Floats, Floats]:
    """Seconds to the previous and the next chord (NaN where there is none), and the chord's first onset."""
    order = np.argsort(onset, kind="stable")
    times = onset[order]
    begins = np.diff(times, prepend=-np.inf) > CHORD_GAP + _EPSILON
    chord = np.cumsum(begins) - 1
    starts = times[begins]
    gaps = np.diff(starts)
    result = np.empty((3, len(onset)))
    result[0, order] = np.concatenate([[np.nan], gaps])[chord]
    result[1, order] = np.concatenate([gaps, [np.nan]])[chord]
    result[2, order] = starts[chord]
    return result[0], result[1], result[2]


def _pedal(score: Score, number: int) -> _Pedal:
    """One controller of all tracks as a step function, the highest track at each time."""
    of_number = np.flatnonzero(score.control_number == number)
    tick, track = score.control_tick[of_number], score.control_track[of_number]
    value = score.control_value[of_number]
    when, inverse = np.unique(tick, return_inverse=True)
    highest = np.zeros(len(when))
    for index in np.unique(track):
        on_track = track == index
        steps = np.full(len(when), -1)
        steps[inverse[on_track]] = np.flatnonzero(on_track)  # the last event of a tick stays
        steps = np.maximum.accumulate(steps)
        highest = np.maximum(highest, np.where(steps >= 0, value[steps], 0))
    return _Pedal(np.concatenate([[-np.inf], score.seconds(when)]), np.concatenate([[0.0], highest]))


def _mean(pedal: _Pedal, onset: Floats, release: Floats) -> Floats:
    """Mean value from onset to release; the value at the onset for a note of no length."""
    length = release - onset
    instant = length < _SHORTEST
    total = pedal.integral(release) - pedal.integral(onset)
    mean: Floats = np.where(instant, pedal.at(onset), total / np.where(instant, 1.0, length))
    return np.clip(mean, 0, 127)


def _damped(score: Score, onset: Floats, release: Floats, sustain: _Pedal) -> Floats:
    """Time at which each note stops sounding."""
    order = np.lexsort((onset, score.pitch))
    struck = np.full(len(onset), np.inf)
    same = score.pitch[order[1:]] == score.pitch[order[:-1]]
    struck[order[:-1]] = np.where(same, onset[order[1:]], np.inf)
    end = float(release.max())
    sounding: Floats = np.minimum(np.minimum(sustain.up_after(release), end), struck)
    return np.maximum(sounding, release)
