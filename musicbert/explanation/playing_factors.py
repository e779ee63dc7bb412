"""How a performance is played, as seven factors that can be weakened, strengthened or taken away.

A performance is written as coordinates of its factors; :func:`with_strengths` scales them and writes the
music again. A strength of 1 is the factor as played, 0 is neutral, above 1 exaggerates it.

``tempo``
    Pace: chords a second from the first to the last. Neutral: `PACE`. Ratios (log2) are scaled.
``timing``
    What makes the pace uneven: time from chord to chord against note values at a steady tempo (log2), and
    the onset of each note against the mean of its chord (seconds). Neutral: a steady tempo, chords struck
    together; the pace stays. Note values are not in a recording, so they are estimated
    (`musicbert.explanation.note_values`).
``loudness``
    Mean velocity of all notes. Neutral: `LOUDNESS`.
``dynamics``
    Mean velocity of each chord against that of all notes. Neutral: none; the loudness stays.
``voicing``
    Velocity of each note against the mean of its chord. Neutral: none.
``articulation``
    When a key is released: the share of the interval before the chord at which it ends (for a key that ends
    at the next chord, from its own onset). A key ends at the first chord after its release, or at the one
    before where it overlaps that by at most `OVERLAP` of an interval. Neutral: `RELEASE`. Keys released after
    the last chord stay.
``pedal``
    Values of the controllers 64, 66 and 67. Neutral: no pedal.

The coordinates do not depend on each other and all are those of the music as played. So the order in which
factors are changed makes no difference, and a factor of strength 1 keeps its columns to the tick wherever no
other change moves them. Pedals and rests move with the chords. The clock of the file stays as it is (tempo
marks, time signatures): a recording that is slower has later ticks.

Chords are onset clusters as in `musicbert.features.playing`. Clusters at most `SPREAD` apart that are at
least three times as far from their neighbours are one spread chord; a pitch that is struck again begins a new
one. Results are rounded to ticks and legal MIDI: velocities are 1-127, a key is held for a tick at least, and
not beyond the next stroke of the same key unless it was.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from musicbert.arrays import Bools, Floats, Ints
from musicbert.explanation.note_values import neutral_intervals
from musicbert.features.playing import CHORD_GAP
from musicbert.midi import Score
from musicbert.midi.columns import DEFAULT_BPM

FACTORS = ("tempo", "timing", "loudness", "dynamics", "voicing", "articulation", "pedal")
#: Medians over PercePiano's performances (results/explanations/references.json): chords a second, mean
#: velocity, and when a key is released (share of an interval).
PACE, LOUDNESS, RELEASE = 5.66, 57.2, 0.551
#: Share of an interval for which a key may sound into the chord at which it ends, and the least share of an
#: interval after which it is released.
OVERLAP, SHORTEST = 0.25, 0.05
#: Seconds between the clusters of a spread chord, and that over the gaps beside it.
SPREAD, SPREAD_SHARE = 0.08, 1 / 3
#: Sustain, sostenuto, soft.
PEDALS = (64, 66, 67)
#: Largest strength: twice what makes a performance what it is (in log2 for times).
STRONGEST = 2.0
#: Seconds below which an interval is not divided any more.
TINY = 1e-4


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A performance as coordinates of its factors; of notes in the order of the score [shape=(n,)].

    ``chord``: index of each note's chord; ``time``: mean onset of each chord [shape=(c,), seconds];
    ``interval``, ``steady``: log2 of the seconds to the next chord, as played and neutral [shape=(c - 1,)];
    ``spread``: onset against the chord's mean (seconds); ``end``: the chord at which a key
    ends, -1 after the last; ``release``: share of the interval before it; ``again``:
    the note that strikes the same key next, -1 where none does or it sounds already; ``level``: mean
    velocity; ``chord_level``: of each chord against it [shape=(c,)]; ``voice``: of each note against its
    chord.
    """

    score: Score
    chord: Ints
    time: Floats
    interval: Floats
    steady: Floats
    spread: Floats
    end: Ints
    release: Floats
    again: Ints
    level: float
    chord_level: Floats
    voice: Floats
    _made: dict[tuple[str, ...], Score] = field(default_factory=dict, repr=False)

    def once(self, key: tuple[float, ...], name: str, make: Callable[[], Score]) -> Score:
        """Return what ``make`` makes, kept where the key has strengths of 0 and 1 alone (some dozens)."""
        if not set(key) <= {0.0, 1.0}:
            return make()
        at = (name, *map(str, key))
        if at not in self._made:
            self._made[at] = make()
        return self._made[at]

    @property
    def pace(self) -> float:
        """Chords a second; NaN where there is only one chord."""
        span = float(self.time[-1] - self.time[0])
        return (len(self.time) - 1) / span if span > TINY else float("nan")


def coordinates(score: Score) -> Coordinates:
    """Write a performance as the coordinates of its factors."""
    onset, offset = score.seconds(score.onset), score.seconds(score.offset)
    order = np.lexsort((score.pitch, onset))
    chord = np.empty(len(order), np.int64)
    chord[order] = _chords(onset[order], score.pitch[order])
    size = np.bincount(chord).astype(np.float64)
    time = np.bincount(chord, onset) / size
    interval = np.log2(np.maximum(np.diff(time), TINY))

    end = _ends(time, chord, offset)
    begin = np.where(end == chord + 1, onset, time[np.maximum(end - 1, 0)])
    release = np.where(end < 0, 0.0, (offset - begin) / np.maximum(time[end] - begin, TINY))

    velocity = score.velocity.astype(np.float64)
    level = float(velocity.mean())
    of_chord = np.bincount(chord, velocity) / size
    return Coordinates(
        score=score,
        chord=chord,
        time=time,
        interval=interval,
        steady=neutral_intervals(interval),
        spread=onset - time[chord],
        end=end,
        release=release,
        again=_again(score),
        level=level,
        chord_level=of_chord - level,
        voice=velocity - of_chord[chord],
    )


def with_strengths(music: Score | Coordinates, strengths: Mapping[str, float]) -> Score:
    """Return the performance with factors of other strengths (1 where none is given).

    Raises `ValueError` for an unknown factor, or a strength outside 0 to `STRONGEST`.
    """
    unknown = [name for name in strengths if name not in FACTORS]
    if unknown:
        raise ValueError(f"no factor {', '.join(map(repr, unknown))}; factors are {', '.join(FACTORS)}")
    if not all(0 <= value <= STRONGEST for value in strengths.values()):
        raise ValueError(f"a strength is a number from 0 to {STRONGEST:g}")
    parts = music if isinstance(music, Coordinates) else coordinates(music)
    of = {name: float(strengths.get(name, 1.0)) for name in FACTORS}
    score = parts.score
    force = (of["loudness"], of["dynamics"], of["voicing"])
    time = (of["tempo"], of["timing"], of["articulation"])
    if any(each != 1 for each in time):
        score = parts.once(time, "time", lambda: _retimed(parts, parts.score, *time))
    if any(each != 1 for each in force):
        made = parts.once(force, "force", lambda: _struck(parts, *force))
        score = replace(score, velocity=made.velocity)
    if of["pedal"] != 1:
        score = _pedalled(score, of["pedal"])
    return score


def neutral(music: Score | Coordinates, *factors: str) -> Score:
    """Return the performance with these factors neutral (all, if none is named)."""
    return with_strengths(music, dict.fromkeys(factors or FACTORS, 0.0))


def _chords(onset: Floats, pitch: Ints) -> Ints:
    """Chord of each note, by onset and pitch [shape=(n,)]."""
    apart = np.diff(onset, prepend=-np.inf)
    new = apart > CHORD_GAP
    first = np.flatnonzero(new)
    gap = np.r_[apart[first], np.inf]  # before each cluster
    close = gap[1:-1] <= np.minimum(SPREAD, SPREAD_SHARE * np.minimum(gap[:-2], gap[2:]))
    new[first[1:][close]] = False
    inside: set[int] = set()
    for k, (starts, key) in enumerate(zip(new.tolist(), pitch.tolist(), strict=True)):
        if not starts and key in inside and apart[k] > 0:
            new[k] = starts = True
        if starts:
            inside = set()
        inside.add(key)
    return np.cumsum(new) - 1


def _ends(time: Floats, chord: Ints, offset: Floats) -> Ints:
    """Chord at which each key ends, -1 after the last [shape=(n,)]."""
    last = len(time) - 1
    after = np.maximum(np.searchsorted(time, offset), chord + 1)
    before = np.minimum(after - 1, last)
    gap = np.append(np.diff(time), time[-1] - time[max(last - 1, 0)])[before]
    overlaps = (before > chord) & (offset - time[before] <= OVERLAP * gap)
    end = np.where(overlaps, before, after)
    return np.where(end > last, -1, end)


def _again(score: Score) -> Ints:
    """Note that strikes the key of each note next, -1 where none does or where they overlap."""
    key = ((score.track * 128 + score.program) * 2 + score.drum) * 128 + score.pitch
    order = np.lexsort((score.onset, key))
    result = np.full(len(score), -1, np.int64)
    first, then = order[:-1], order[1:]
    same = (key[first] == key[then]) & (score.offset[first] <= score.onset[then])
    result[first[same]] = then[same]
    return result


def _struck(parts: Coordinates, loudness: float, dynamics: float, voicing: float) -> Score:
    """Strike notes with other velocities."""
    velocity = (
        LOUDNESS
        + loudness * (parts.level - LOUDNESS)
        + dynamics * parts.chord_level[parts.chord]
        + voicing * parts.voice
    )
    return replace(parts.score, velocity=np.clip(np.rint(velocity), 1, 127).astype(np.int64))


def _retimed(parts: Coordinates, score: Score, tempo: float, timing: float, articulation: float) -> Score:
    """Move notes and pedals in time."""
    time, spread = parts.time, parts.spread
    ratio = 1.0
    if tempo != 1 and np.isfinite(parts.pace):
        ratio = float((parts.pace / PACE) ** (1 - tempo))  # new over old seconds
    if timing != 1 and len(time) > 1:
        steps = np.exp2(parts.steady + timing * (parts.interval - parts.steady))
        time = time[0] + np.r_[0.0, np.cumsum(steps * (time[-1] - time[0]) / steps.sum())]
        spread = _in_order(parts, time, timing * spread)
    moved = timing != 1 or ratio != 1
    new_time = time[0] + ratio * (time - time[0])
    onset = score.onset
    if moved:
        at = new_time[parts.chord] + spread
        new_time, at = new_time - min(at.min(), 0.0), at - min(at.min(), 0.0)
        onset = _ticks(score, at)
        score = replace(
            score, onset=onset, control_tick=_ticks(score, _warped(parts.time, new_time, ratio, score))
        )
    start, end = score.seconds(onset), parts.end
    share = parts.release
    if articulation != 1:
        share = np.maximum(RELEASE + articulation * (share - RELEASE), SHORTEST)
    begin = np.where(end == parts.chord + 1, start, new_time[np.maximum(end - 1, 0)])
    stop = begin + share * (new_time[end] - begin)
    late = parts.score.seconds(parts.score.offset) - parts.time[-1]
    stop = np.where(end < 0, new_time[-1] + ratio * late, stop)
    offset = np.maximum(_ticks(score, stop), onset + 1)
    offset = np.where(
        (parts.again >= 0) & (onset[parts.again] > onset), np.minimum(offset, onset[parts.again]), offset
    )
    if not moved:
        offset = np.where(parts.end < 0, score.offset, offset)
    return replace(score, offset=offset)


def _in_order(parts: Coordinates, time: Floats, spread: Floats) -> Floats:
    """Spread of the notes of chords, no wider than keeps all notes between the neighbouring chords."""
    gap = np.diff(time)
    before = np.r_[np.inf, gap][parts.chord] / 2
    after = np.r_[gap, np.inf][parts.chord] / 2
    return np.clip(spread, -before, after)


def _warped(old: Floats, new: Floats, ratio: float, score: Score) -> Floats:
    """Seconds of controllers, which move with the chords around them [shape=(e,)]."""
    at = score.seconds(score.control_tick)
    inside = np.interp(at, old, new)
    inside = np.where(at < old[0], new[0] - ratio * (old[0] - at), inside)
    inside = np.where(at > old[-1], new[-1] + ratio * (at - old[-1]), inside)
    return np.maximum(inside, 0.0)


def _ticks(score: Score, seconds: Floats) -> Ints:
    """Ticks of the score's clock at these seconds, rounded [shape=(k,)]."""
    starts = np.concatenate([[0], score.tempo_tick])
    begins = score.seconds(starts)
    bpm = np.concatenate([[DEFAULT_BPM], score.tempo_bpm])
    at = np.maximum(np.searchsorted(begins, seconds, side="right") - 1, 0)
    ticks = starts[at] + (seconds - begins[at]) * bpm[at] * score.ticks_per_beat / 60.0
    return np.maximum(np.rint(ticks), 0).astype(np.int64)


def _pedalled(score: Score, strength: float) -> Score:
    """Scale the values of pedals; strength 0 removes their events."""
    pedal: Bools = np.isin(score.control_number, PEDALS)
    value = np.where(
        pedal, np.minimum(np.rint(strength * score.control_value), 127), score.control_value
    ).astype(np.int64)
    keep = ~pedal if strength == 0 else np.ones(len(pedal), np.bool_)
    return replace(
        score,
        control_tick=score.control_tick[keep],
        control_number=score.control_number[keep],
        control_value=value[keep],
        control_track=score.control_track[keep],
    )
