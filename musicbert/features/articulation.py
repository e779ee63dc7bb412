"""Articulation: how long keys are held, alone and against the next onset (legato, staccato, rests)."""

import numpy as np

from musicbert.features.playing import Playing
from musicbert.features.summary import average, correlation, percentiles, ratio, spread

#: Key-held share of the time to the next chord (log2): legato from 0.95, staccato below 0.5, overlap from
#: 1.1.
LEGATO, STACCATO, OVERLAP = np.log2(0.95), np.log2(0.5), np.log2(1.1)
#: Seconds under which a note is short, and bounds of log2 hold that keep single outliers harmless.
SHORT, BOUND = 0.12, 3.0


def articulation(play: Playing) -> dict[str, float]:
    """Describe durations (log2 s) and hold (log2 of the duration over the time to the next chord)."""
    duration = np.maximum(play.offset - play.onset, 1e-3)
    log_duration = np.log2(duration)
    d10, d25, d50, d75, d90 = percentiles(log_duration, (10, 25, 50, 75, 90))
    last = play.chord == len(play.time) - 1  # no next chord
    gap = np.append(play.time[1:], np.inf)[play.chord] - play.onset
    hold = np.clip(log_duration - np.log2(np.maximum(np.where(last, duration, gap), 1e-3)), -BOUND, BOUND)
    inner = hold[~last]
    h10, h25, h50, h75, h90 = percentiles(inner, (10, 25, 50, 75, 90))
    melody, bass = hold[play.top][:-1], hold[play.bottom][:-1]

    reached = np.maximum.accumulate(play.offset)[:-1]  # the last key is up
    rests = np.maximum(play.onset[1:] - reached, 0.0)
    overlap = np.clip(play.offset - play.onset - gap, 0.0, 2.0)[~last]
    return {
        "duration_p10_log": d10,
        "duration_p25_log": d25,
        "duration_p50_log": d50,
        "duration_p75_log": d75,
        "duration_p90_log": d90,
        "duration_log_sd": spread(log_duration),
        "short_note_share": average((duration < SHORT).astype(float)),
        "hold_p10": h10,
        "hold_p25": h25,
        "hold_p50": h50,
        "hold_p75": h75,
        "hold_p90": h90,
        "hold_sd": spread(inner),
        "legato_share": average((inner >= LEGATO).astype(float)),
        "staccato_share": average((inner < STACCATO).astype(float)),
        "overlap_share": average((inner >= OVERLAP).astype(float)),
        "overlap_mean": average(overlap),
        "melody_hold_p50": percentiles(melody, (50,))[0],
        "melody_hold_sd": spread(melody),
        "melody_legato_share": average((melody >= LEGATO).astype(float)),
        "bass_hold_p50": percentiles(bass, (50,))[0],
        "hold_velocity_correlation": correlation(inner, play.velocity[~last]),
        "duration_pitch_correlation": correlation(log_duration, play.pitch),
        "rest_share": ratio(float(rests.sum()), play.span),
        "rest_rate": ratio(float((rests > 0.03).sum()), play.span),
        "key_polyphony": ratio(float(duration.sum()), play.span),
    }
