"""Velocity: level, range, shape over time, balance of voices and registers (MIDI velocity 1-127 over 127)."""

import numpy as np

from musicbert.features.playing import Playing
from musicbert.features.summary import average, correlation, percentiles, ratio, skewness, slope, spread

#: Registers: below C3, and from C5 up (MIDI 48 and 72).
LOW, HIGH = 48, 72
#: Seconds of the windows of the envelope and of a phrase.
ENVELOPE, PHRASE = 1.0, 4.0
#: Velocities that count as soft (about p) and loud (about f), of 127.
SOFT, LOUD = 45, 85


def _windows(play: Playing, values: np.ndarray, seconds: float) -> np.ndarray:
    """Return the mean of a note column in successive windows, empty windows left out."""
    _, index = np.unique(play.onset // seconds, return_inverse=True)  # only windows that hold notes
    return np.asarray(np.bincount(index, values) / np.bincount(index))


def velocity(play: Playing) -> dict[str, float]:
    """Describe velocities (over 127; slope and arch over the whole piece)."""
    v = play.velocity / 127.0
    level = float(v.mean())
    p5, p25, p50, p75, p95 = percentiles(v, (5, 25, 50, 75, 95))
    chords = play.per_chord(v)
    step = np.abs(np.diff(chords))
    position = play.onset / play.span - 0.5
    envelope = _windows(play, v, ENVELOPE)
    melody, bass = v[play.top], v[play.bottom]
    many = play.size > 1
    rest = np.maximum(play.size - 1, 1)
    total = chords * play.size
    emphasis = (melody - (total - melody) / rest)[many]
    low, high = play.pitch < LOW, play.pitch >= HIGH
    variance = play.per_chord(v**2) - chords**2
    ioi = np.log2(np.maximum(np.diff(play.time), 1e-3))
    return {
        "velocity_mean": level,
        "velocity_sd": spread(v),
        "velocity_p5": p5,
        "velocity_p25": p25,
        "velocity_p50": p50,
        "velocity_p75": p75,
        "velocity_p95": p95,
        "velocity_range": p95 - p5,
        "velocity_skew": skewness(v),
        "velocity_levels_log": float(np.log2(len(np.unique(v)))),
        "velocity_slope": slope(position, v),
        "velocity_arch": -slope((position**2 - 1 / 12), v),
        "velocity_step": average(step),
        "velocity_step_p90": percentiles(step, (90,))[0],
        "envelope_sd": spread(envelope),
        "envelope_range": float(np.ptp(envelope)),
        "phrase_sd": spread(_windows(play, v, PHRASE)),
        "velocity_pitch_correlation": correlation(play.pitch, v),
        "velocity_ioi_correlation": correlation(ioi, chords[:-1]),
        "velocity_size_correlation": correlation(play.size.astype(float), chords),
        "melody_velocity_mean": average(melody),
        "melody_velocity_sd": spread(melody),
        "melody_velocity_step": average(np.abs(np.diff(melody))),
        "melody_emphasis": average(emphasis),
        "melody_emphasis_sd": spread(emphasis),
        "bass_emphasis": average((bass - (total - bass) / rest)[many]),
        "chord_velocity_sd": average(np.sqrt(np.maximum(variance[many], 0.0))),
        "low_velocity": average(v[low], level) - level,
        "middle_velocity": average(v[~low & ~high], level) - level,
        "high_velocity": average(v[high], level) - level,
        "soft_share": ratio(float((play.velocity < SOFT).sum()), len(v)),
        "loud_share": ratio(float((play.velocity >= LOUD).sum()), len(v)),
    }
