"""Touch against the score: chords together or spread, notes held as long as written, voices, metre, bars.

Unlike the features of the performance alone, a chord is what the score writes as one, however far it is
spread, and a note's length is measured against its written length at the tempo around it.
"""

import numpy as np

from musicbert.arrays import Bools, Floats
from musicbert.features.against_score.reading import Reading
from musicbert.features.summary import average, correlation, percentiles, slope, spread

#: Seconds from which a chord counts as rolled; bounds of log2 of played over written length; quarter notes
#: below which a note is short (shorter than an eighth with a dot or so), and of a bar.
ROLLED, SHORTENED, LENGTHENED, SHORT, BAR = 0.06, -4.0, 3.0, 0.6, 3.0
#: Quarter notes around a beat (a bar line) that count as on it.
ON_BEAT, ON_BAR = 0.05, 0.06


def _chords(read: Reading) -> dict[str, float]:
    """Asynchrony and emphasis of the outer voices in chords of at least two played notes."""
    count = len(read.score.beat)
    size = np.bincount(read.chord, minlength=count)
    many = np.flatnonzero(size > 1)
    first, last = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(first, read.chord, read.onset)
    np.maximum.at(last, read.chord, read.onset)
    distance = (last - first)[many]

    def of_others(values: Floats, voice: Bools) -> Floats:
        """Return a voice's value minus the mean of the other notes of its chord."""
        total, voices = np.bincount(read.chord, values, minlength=count), np.zeros(count)
        voices[read.chord[voice]] = values[voice]
        return np.asarray((voices - (total - voices) / np.maximum(size - 1, 1))[many])

    top_lead, bass_lead = -of_others(read.onset, read.top), -of_others(read.onset, read.bottom)
    top = of_others(read.velocity, read.top)
    return {
        "spread_mean": average(distance),
        "spread_sd": spread(distance),
        "spread_p90": percentiles(distance, (90,))[0],
        "rolled_share": average((distance > ROLLED).astype(float)),
        "top_lead": average(top_lead),
        "top_lead_sd": spread(top_lead),
        "bass_lead": average(bass_lead),
        "bass_lead_sd": spread(bass_lead),
        "top_emphasis": average(top),
        "top_emphasis_sd": spread(top),
        "bass_emphasis": average(of_others(read.velocity, read.bottom)),
    }


def _lengths(read: Reading) -> dict[str, float]:
    """Log2 of the played over the written length of notes."""
    length = np.log2(read.duration / (read.length * read.period(read.beat)))
    length = np.clip(length, SHORTENED, LENGTHENED)
    short = read.length < SHORT
    p10, p50, p90 = percentiles(length, (10, 50, 90))
    level = average(length)
    return {
        "length_mean": level,
        "length_sd": spread(length),
        "length_p10": p10,
        "length_p50": p50,
        "length_p90": p90,
        "length_top": average(length[read.top]),
        "length_top_sd": spread(length[read.top]),
        "length_bass": average(length[read.bottom]),
        "length_inner": average(length[~read.top & ~read.bottom], level),
        "length_of_short": average(length[short], level),
        "length_of_long": average(length[~short], level),
    }


def _dynamics(read: Reading) -> dict[str, float]:
    """Course of the melody's velocity over bars, accents on beats and bar lines."""
    beat, velocity = read.beat[read.top], read.velocity[read.top]
    start, span = read.course_beat[0], read.course_beat[-1] - read.course_beat[0]
    bar = np.maximum((beat - start) // BAR, 0).astype(np.int64)
    size = np.bincount(bar)
    level = np.bincount(bar, velocity) / np.maximum(size, 1)
    on_beat = np.abs(beat - np.round(beat)) < ON_BEAT
    place = (beat - start) / BAR
    on_bar = np.abs(place - np.round(place)) * BAR < ON_BAR
    mean = average(velocity)
    slow = np.diff(read.course_time) / np.diff(read.course_beat)
    return {
        "bar_velocity_sd": spread(level[size > 0]),
        "bar_velocity_step": average(np.abs(np.diff(level[size > 0]))),
        "bar_velocity_residual": spread(velocity - level[bar]),
        "top_velocity_step": average(np.abs(np.diff(velocity))),
        "onbeat_accent": average(velocity[on_beat], mean) - average(velocity[~on_beat], mean),
        "downbeat_accent": average(velocity[on_bar], mean) - average(velocity[~on_bar], mean),
        "top_velocity_slope": slope((beat - start) / max(span, 1.0), velocity),
        "top_velocity_pitch": correlation(read.pitch[read.top], velocity),
        "tempo_velocity": correlation(np.log2(slow), read.in_chords(read.velocity)[:-1]),
        "bass_velocity_sd": spread(read.velocity[read.bottom]),
        "top_over_rest": mean - average(read.velocity[~read.top], mean),
    }


def touch(read: Reading) -> dict[str, float]:
    """Describe touch (s; log2 of played over written length; velocities over 127)."""
    shares = {"notes_missing": read.missing, "notes_extra": read.extra}
    return {**shares, **_chords(read), **_lengths(read), **_dynamics(read)}
