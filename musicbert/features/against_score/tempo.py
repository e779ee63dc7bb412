"""Tempo against the score: level, course over beats and bars, unevenness inside the beat.

Tempo is log2 of seconds a quarter note: larger is slower. ``beat_`` features sample the tempo every quarter
note, ``bar_`` features every three (a bar of the rated pieces).
"""

import numpy as np

from musicbert.arrays import Floats
from musicbert.features.against_score.reading import Reading
from musicbert.features.summary import average, correlation, percentiles, skewness, spread

#: Quarter notes of a beat and of a bar; distance from the beat above which an onset is off it; difference of
#: written intervals (all in quarter notes) below which they are equal.
BEAT, BAR, OFF, EQUAL = 1.0, 3.0, 0.05, 0.02


def _course(slow: Floats) -> dict[str, float]:
    """Describe a course of log2 seconds a quarter note: spread, steps, trend, bend and extremes."""
    place = np.linspace(-0.5, 0.5, len(slow))
    arch, slope = np.polyfit(place, slow, 2)[:2].tolist() if len(slow) > 3 else (0.0, 0.0)
    p10, p50, p90 = percentiles(slow, (10, 50, 90))
    return {
        "sd": spread(slow),
        "step": average(np.abs(np.diff(slow))),
        "autocorrelation": correlation(slow[:-1], slow[1:]),
        "range": p90 - p10,
        "slope": slope,
        "arch": arch,
        "skew": skewness(slow),
        "last": float(slow[-1]) - p50,
        "slowest": float(slow.max()) - p50,
    }


def tempo(read: Reading) -> dict[str, float]:
    """Describe tempo (log2 of seconds a quarter note, differences of it; delays in beats)."""
    beat, time = read.course_beat, read.course_time
    written, played = np.diff(beat), np.diff(time)
    local = np.log2(played / written)
    weight = written / written.sum()
    points, slow = read.grid(BEAT)
    _, slow_bars = read.grid(BAR)
    middle = points[:-1] + BEAT / 2
    smooth = np.interp((beat[:-1] + beat[1:]) / 2, middle, slow)

    place = (beat - beat[0]) / BEAT
    off = np.abs(place - np.round(place)) > OFF
    straight = np.interp(beat, beat[~off], time[~off])
    delay = ((time - straight) / read.period(beat))[off] if (~off).sum() > 2 else np.zeros(0)
    equal = np.abs(np.diff(written)) < EQUAL
    ratios = np.diff(local)[equal]
    level = float(weight @ local)
    return {
        "tempo_level": float(np.log2((time[-1] - time[0]) / (beat[-1] - beat[0]))),
        "tempo_local_sd": float(np.sqrt(weight @ (local - level) ** 2)),
        **{f"beat_{name}": value for name, value in _course(slow).items()},
        **{f"bar_{name}": value for name, value in _course(slow_bars).items()},
        "offbeat_delay": average(delay),
        "offbeat_delay_sd": spread(delay),
        "offbeat_delay_size": average(np.abs(delay)),
        "tempo_residual": float(np.sqrt(weight @ (local - smooth) ** 2)),
        "even_ratio_sd": spread(ratios),
        "even_ratio_size": average(np.abs(ratios)),
        "even_ratio_p90": percentiles(np.abs(ratios), (90,))[0],
    }
