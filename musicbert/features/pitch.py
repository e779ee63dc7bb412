"""Pitch: register, chords, intervals and key, which describe the score more than the performance.

The key profiles are those of Krumhansl and Kessler (1982), correlated with the duration-weighted pitch
classes.
"""

import numpy as np

from musicbert.features.playing import Playing
from musicbert.features.summary import average, percentiles, ratio, spread

#: Krumhansl and Kessler (1982), probe-tone profiles of C major and C minor.
MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


def _key_fit(weights: np.ndarray, profile: np.ndarray) -> float:
    """Return the best correlation of pitch-class weights with a profile over its 12 transpositions."""
    keys = np.stack([np.roll(profile, k) for k in range(12)])
    keys = (keys - keys.mean(1, keepdims=True)) / keys.std(1, keepdims=True)
    sd = spread(weights)
    return float((keys @ (weights - weights.mean()) / 12 / sd).max()) if sd > 1e-9 else 0.0


def pitch(play: Playing) -> dict[str, float]:
    """Describe pitches and intervals (in semitones, over 12)."""
    note = play.pitch
    p5, p50, p95 = percentiles(note / 12, (5, 50, 95))
    classes = np.bincount(note.astype(np.int64) % 12, play.offset - play.onset + 1e-3, minlength=12)
    share = classes[classes > 0] / classes.sum()
    melody, bass = note[play.top], note[play.bottom]
    leap = np.abs(np.diff(melody))
    width = (melody - bass)[play.size > 1]
    within = np.diff(note[np.lexsort((note, play.chord))])[np.diff(play.chord) == 0]
    major, minor = _key_fit(classes, MAJOR), _key_fit(classes, MINOR)
    return {
        "pitch_mean": average(note) / 12,
        "pitch_sd": spread(note) / 12,
        "pitch_p5": p5,
        "pitch_p50": p50,
        "pitch_p95": p95,
        "pitch_range": p95 - p5,
        "melody_pitch_mean": average(melody) / 12,
        "melody_pitch_sd": spread(melody) / 12,
        "bass_pitch_mean": average(bass) / 12,
        "low_share": average((note < 48).astype(float)),
        "high_share": average((note >= 72).astype(float)),
        "notes_per_chord": ratio(len(note), len(play.time)),
        "chord_share": average((play.size > 1).astype(float)),
        "chord_width": average(width) / 12,
        "chord_size_p90": percentiles(play.size, (90,))[0],
        "pitch_class_entropy": float(-(share * np.log2(share)).sum()),
        "pitch_count_log": float(np.log2(len(np.unique(note)))),
        "major_fit": major,
        "minor_fit": minor,
        "mode_balance": major - minor,
        "melody_leap": average(leap) / 12,
        "melody_step_share": average(((leap > 0) & (leap <= 2)).astype(float)),
        "melody_repeat_share": average((leap == 0).astype(float)),
        "octave_share": average((within % 12 == 0).astype(float)),
        "semitone_share": average((within == 1).astype(float)),
    }
