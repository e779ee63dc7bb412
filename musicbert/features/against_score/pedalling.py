"""Pedalling against the score: where in the beat the pedal moves, and whether it clears a change of bass."""

import numpy as np

from musicbert.arrays import Ints
from musicbert.features.against_score.alignment import TOGETHER, Written
from musicbert.features.against_score.reading import Reading, coarse_enough
from musicbert.features.playing import DOWN
from musicbert.features.summary import average, ratio, spread

#: Value (of 127) below which the dampers touch the strings; quarter notes before and after a change of bass
#: in which the pedal may be lifted, and points sampled there.
CLEAR, BEFORE, AFTER, POINTS = 40, 0.25, 0.35, 13
#: Seconds after a chord at which the pedal has caught it, seconds before the first chord that still count,
#: and quarter notes between samples.
CAUGHT, EARLY, SAMPLE = 0.08, 0.2, 0.25
#: Distance from the nearest beat (quarter notes): on it below the first, between beats above the second.
ON, BETWEEN = 0.13, 0.2


def _bass(score: Written) -> Ints:
    """Return the lowest written pitch at each chord, notes held from earlier ones included [shape=(c,)]."""
    bass = np.full(len(score.beat), 128)
    until = np.searchsorted(score.beat, score.onset + score.length - TOGETHER)
    for pitch, begin, end in zip(score.pitch.tolist(), score.chord.tolist(), until.tolist(), strict=True):
        held = slice(begin, max(end, begin + 1))
        bass[held] = np.minimum(bass[held], pitch)
    return bass


def pedalling(read: Reading) -> dict[str, float]:
    """Describe pedalling (phases in quarter notes from the beat, pedal over 127)."""
    beat, time, sustain = read.course_beat, read.course_time, read.play.sustain

    def phase(moves: np.ndarray) -> np.ndarray:
        place = np.interp(moves, time, beat)
        return np.asarray(place - np.round(place))

    presses, releases = (
        moves[(moves >= time[0] - EARLY) & (moves <= time[-1])] for moves in sustain.edges(DOWN)
    )
    change = np.flatnonzero(np.diff(_bass(read.score)[read.course_chord] % 12)) + 1
    around = np.linspace(-BEFORE, AFTER, POINTS)[None] * read.period(beat[change])[:, None]
    lowest = sustain.at((time[change][:, None] + around).ravel()).reshape(-1, POINTS).min(1)
    points = np.arange(beat[0], beat[-1], coarse_enough(SAMPLE, beat[-1] - beat[0]))
    level = sustain.at(np.interp(points, beat, time)) / 127.0
    apart = np.abs(points - np.round(points))
    return {
        "press_per_beat": ratio(len(presses), float(beat[-1] - beat[0])),
        "press_phase": average(phase(presses)),
        "press_phase_sd": spread(phase(presses)),
        "release_phase": average(phase(releases)),
        "bass_change_cleared": average((lowest < CLEAR).astype(float)),
        "bass_change_lowest": average(lowest) / 127.0,
        "pedal_in_score_time": average(level),
        "pedal_after_chord": average(sustain.at(time + CAUGHT)) / 127.0,
        "pedal_between_beats": average(level[apart > BETWEEN]) - average(level[apart < ON]),
    }
