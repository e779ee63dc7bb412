"""Pedals: how deep, how often and when they move, and what they let sound together.

Sustain is controller 64, soft (una corda) 67, sostenuto 66. Blur counts pitch classes, clashes count pairs of
neighbouring pitch classes (semitones) that sound at the same time under the pedal.
"""

import numpy as np

from musicbert.arrays import Bools, Ints
from musicbert.features.playing import DOWN, Playing
from musicbert.features.summary import average, percentiles, ratio, spread

#: Values (of 127) of a half pedal and of one fully down; seconds after an onset at which the pedal has caught
#: it.
HALF, FULL, CAUGHT = 20, 100, 0.15


def _classes(sounding: Ints) -> Bools:
    """Fold sounding pitches [shape=(128, g)] to pitch classes [shape=(12, g)]."""
    padded = np.zeros((132, sounding.shape[1]), np.int64)
    padded[:128] = sounding
    return padded.reshape(11, 12, -1).any(0)


def _lag(play: Playing, times: np.ndarray) -> np.ndarray:
    """Return the seconds from the chord before each time to it (clipped at 2)."""
    index = np.searchsorted(play.time, times, side="right") - 1
    return np.minimum((times - play.time[np.maximum(index, 0)])[index >= 0], 2.0)


def pedal(play: Playing) -> dict[str, float]:
    """Describe pedals (positions over 127, times in log2 s or s, rates in 1/s)."""
    curve = play.sustain.at(play.grid) / 127.0
    inside = (play.sustain.time >= 0) & (play.sustain.time <= play.span)
    presses, releases = play.sustain.edges()
    presses = presses[(presses >= 0) & (presses <= play.span)]
    end = np.append(releases, play.span)
    length = np.maximum(end[np.searchsorted(releases, presses, side="right")] - presses, 1e-3)
    begin = np.append(presses, play.span)
    releases = releases[(releases >= 0) & (releases <= play.span)]
    up = np.maximum(begin[np.searchsorted(presses, releases, side="right")] - releases, 1e-3)
    s25, s50, s75, s95 = percentiles(curve, (25, 50, 75, 95))
    lag = _lag(play, presses)
    onset = play.sustain.at(play.time) / 127.0

    keys, sounds = play.sounding(play.offset), play.sounding(play.sounding_end)
    polyphony = (sounds > 0).sum(0)
    classes = _classes(sounds)
    blur, dry = classes.sum(0), _classes(keys).sum(0)
    clash = (classes & np.roll(classes, 1, axis=0)).sum(0)
    sounding = np.log2(np.maximum(play.sounding_end - play.onset, 1e-3))
    held = np.log2(np.maximum(play.offset - play.onset, 1e-3))
    l50, l90 = percentiles(sounding, (50, 90))
    soft = play.soft.at(play.grid) / 127.0
    soft_events = int(((play.soft.time >= 0) & (play.soft.time <= play.span)).sum())
    return {
        "sustain_mean": average(curve),
        "sustain_sd": spread(curve),
        "sustain_p25": s25,
        "sustain_p50": s50,
        "sustain_p75": s75,
        "sustain_p95": s95,
        "sustain_down_share": average((curve >= DOWN / 127).astype(float)),
        "sustain_half_share": average(((curve >= HALF / 127) & (curve < FULL / 127)).astype(float)),
        "sustain_full_share": average((curve >= FULL / 127).astype(float)),
        "sustain_touched_share": average((curve > 0).astype(float)),
        "sustain_press_rate": len(presses) / play.span,
        "sustain_event_rate_log": float(np.log2(1 + inside.sum() / play.span)),
        "sustain_travel": float(np.abs(np.diff(curve)).sum()) / play.span,
        "sustain_press_length_p50_log": percentiles(np.log2(length), (50,), -5.0)[0],
        "sustain_up_length_p50_log": percentiles(np.log2(up), (50,), -5.0)[0],
        "sustain_chords_per_press_log": float(np.log2(len(play.time) / (1 + len(presses)))),
        "sustain_lag": average(lag),
        "sustain_lag_sd": spread(lag),
        "sustain_release_lag": average(_lag(play, releases)),
        "sustain_at_onset": average(onset),
        "sustain_at_onset_sd": spread(onset),
        "sustain_after_onset": average(play.sustain.at(play.time + CAUGHT)) / 127.0,
        "sounding_p50_log": l50,
        "sounding_p90_log": l90,
        "sounding_gain": average(sounding - held),
        "sounding_polyphony": average(polyphony),
        "sounding_polyphony_p90": percentiles(polyphony, (90,))[0],
        "blur_mean": average(blur),
        "blur_p90": percentiles(blur, (90,))[0],
        "blur_gain": average(blur - dry),
        "clash_mean": average(clash),
        "clash_p90": percentiles(clash, (90,))[0],
        "silence_share": average((polyphony == 0).astype(float)),
        "soft_mean": average(soft),
        "soft_down_share": average((soft >= DOWN / 127).astype(float)),
        "soft_event_rate_log": float(np.log2(1 + ratio(soft_events, play.span))),
        "sostenuto_down_share": average((play.sostenuto.at(play.grid) >= DOWN).astype(float)),
    }
