"""Timing: how fast, how regular, how chords are spread in time.

Inter-onset intervals (IOI) are taken between onset clusters. nPVI is the normalised pairwise variability
index (Grabe and Low 2002), asynchrony and melody lead follow Goebl (2001): the melody is the highest note of
a chord.
"""

import numpy as np

from musicbert.arrays import Floats
from musicbert.features.playing import SHORTEST, Playing
from musicbert.features.summary import average, correlation, percentiles, ratio, skewness, slope, spread

#: Log2 ratio of successive IOIs within which they count as meant to be equal (about a quarter of a step from
#: one note value to the next), and seconds of one window of the local note rate.
EVEN, WINDOW = 0.25, 1.5
#: Onsets this close (seconds) count as simultaneous: half a tick of a score at 120 BPM and more.
TOGETHER = 0.002
#: More windows than these (nine days of music) are not laid out one by one.
MAX_WINDOWS = 1 << 20
#: Bins of an octave of IOI in the entropy.
BINS = 8


def _local_rate(play: Playing) -> tuple[float, float]:
    """Return how chords a second vary over windows of ``WINDOW`` seconds, and from one window to the next.

    Windows overlap by half. Memory is bounded by the chords, however far apart they are.
    """
    end = max(play.time[-1] - WINDOW, 0.0) + SHORTEST
    windows = int(np.ceil(end / (WINDOW / 2)))
    if windows <= MAX_WINDOWS:
        rate = _rate(play, np.arange(0.0, end, WINDOW / 2))
        return ratio(spread(rate), average(rate)), ratio(average(np.abs(np.diff(rate))), average(rate))
    # only windows around a chord and their neighbours can differ from 0
    place = np.floor(play.time / (WINDOW / 2)).astype(np.int64)
    near = np.unique(np.clip(place[:, None] + np.arange(-3, 3), 0, windows - 1))
    rate = _rate(play, near * (WINDOW / 2))
    mean = float(rate.sum()) / windows
    deviation = float(np.sqrt(max(float((rate**2).sum()) / windows - mean**2, 0.0)))
    change = float(np.abs(np.diff(rate)).sum()) / (windows - 1)
    return ratio(deviation, mean), ratio(change, mean)


def _rate(play: Playing, starts: Floats) -> Floats:
    """Return the chords a second in windows that begin at ``starts``."""
    count = np.searchsorted(play.time, starts + WINDOW) - np.searchsorted(play.time, starts)
    return np.asarray(count / WINDOW)


def timing(play: Playing) -> dict[str, float]:
    """Describe timing (times in log2 s, rates in log2 1/s, leads in s)."""
    ioi = np.diff(play.time)
    log_ioi = np.log2(np.maximum(ioi, 1e-3))
    step = np.diff(log_ioi)
    pairs = ioi[:-1] + ioi[1:]
    even = np.abs(step) < EVEN
    rate_variation, rate_change = _local_rate(play)
    spans = max(play.time[-1], SHORTEST)
    p10, p25, p50, p75, p90 = percentiles(log_ioi, (10, 25, 50, 75, 90))
    _, counts = np.unique(np.round(log_ioi * BINS), return_counts=True)
    share = counts / max(len(log_ioi), 1)
    edge = max(len(log_ioi) // 5, 1)

    many = play.size > 1
    last = play.onset[np.cumsum(play.size) - 1]
    asynchrony = (last - play.time)[many]
    others = (play.per_chord(play.onset) * play.size)[many]
    rest = play.size[many] - 1
    melody_lead = (others - play.onset[play.top][many]) / rest - play.onset[play.top][many]
    bass_lead = (others - play.onset[play.bottom][many]) / rest - play.onset[play.bottom][many]
    centre = np.linspace(-0.5, 0.5, len(log_ioi))
    return {
        "span_log": float(np.log2(play.span)),
        "note_rate_log": float(np.log2(len(play.onset) / spans)),
        "chord_rate_log": float(np.log2(len(play.time) / spans)),
        "ioi_p10_log": p10,
        "ioi_p25_log": p25,
        "ioi_p50_log": p50,
        "ioi_p75_log": p75,
        "ioi_p90_log": p90,
        "ioi_cv": ratio(spread(ioi), average(ioi)),
        "ioi_log_sd": spread(log_ioi),
        "ioi_log_skew": skewness(log_ioi),
        "ioi_log_autocorrelation": correlation(log_ioi[:-1], log_ioi[1:]),
        "ioi_entropy": float(-(share * np.log2(share)).sum()),
        "npvi": 200.0 * average(np.abs(np.diff(ioi)) / np.maximum(pairs, 1e-6)),
        "even_jitter": spread(step[even]),
        "even_share": average(even.astype(float)),
        "local_rate_cv": rate_variation,
        "local_rate_change": rate_change,
        "tempo_slope": slope(centre, log_ioi),
        "final_slowing": average(log_ioi[-edge:]) - p50,
        "opening_slowing": average(log_ioi[:edge]) - p50,
        "pause_share": average((log_ioi > p50 + 1.5).astype(float)),
        "longest_ioi_log": float(log_ioi.max(initial=p50)) - p50,
        "asynchrony_mean": average(asynchrony),
        "asynchrony_sd": spread(asynchrony),
        "asynchrony_p90": percentiles(asynchrony, (90,))[0],
        "together_share": average((asynchrony < TOGETHER).astype(float)),
        "melody_lead_mean": average(melody_lead),
        "melody_lead_sd": spread(melody_lead),
        "bass_lead_mean": average(bass_lead),
    }
