"""Beats and downbeats of a piece: from the file where its bars are real, else found in the playing.

Found beats are the best path through the onsets, given the network's probability that each is on a beat. A
path goes from onset to onset; between two of them lie one to `SKIP` beats of equal length, of which all but
the last fall on no onset. It gains the log odds of each onset on it, and pays for changes of the beat's
length (their logarithm) and for beats without an onset. Downbeats are the best path through bars of two,
three and four beats. Both are exact dynamic programs (as Ellis 2007, "Beat tracking by dynamic programming",
with probabilities in place of onset strengths and a length that may change from beat to beat).
"""

from dataclasses import dataclass

import numpy as np

from musicbert.arrays import Bools, Floats, Ints
from musicbert.midi.score import Score

#: shortest and longest beat in seconds, and the factor between two lengths that are told apart
SHORTEST, LONGEST, STEP = 0.2, 2.4, 1.06
#: seconds within which onsets count as one, and within which an onset is on a beat
TOGETHER, NEAR = 0.05, 0.07
#: beats from one onset of the path to the next, at most; seconds of silence after which a new path begins
SKIP, SILENCE = 3, 5.0
#: cost of a change of the beat's length, per unit of its logarithm, and the largest; of a beat without onset
CHANGE, LARGEST_CHANGE, WITHOUT_ONSET = 5.0, 6.0, 1.0
#: largest log odds of an onset; what is added to them, since beats are missed more often than made up
SURE, MISSED, MISSED_BARS = 4.0, 0.5, 1.0
#: beats of the bars that are looked for; cost of a change of metre
METRES, CHANGE_OF_METRE = (2, 3, 4), 3.0
#: concentration of the onsets at sixteenths or triplets from which on the beats of a file are real, in 0-1
ON_GRID = 0.5


@dataclass(frozen=True, eq=False)
class Onsets:
    """Onsets of a piece, those within `TOGETHER` as one: seconds and log odds [all: shape=(k,)]."""

    seconds: Floats
    beat: Floats
    downbeat: Floats

    @classmethod
    def of(cls, seconds: Floats, beat: Floats, downbeat: Floats) -> "Onsets":
        """Join notes [all: shape=(n,)]; ``beat`` and ``downbeat`` are probabilities in 0-1."""
        order = np.argsort(seconds, kind="stable")
        times = seconds[order]
        begins, last = [], -np.inf
        for k, time in enumerate(times.tolist()):
            if time - last > TOGETHER:
                begins.append(k)
                last = time
        counts = np.diff([*begins, len(times)])
        mean = [np.add.reduceat(x[order], begins) / counts for x in (seconds, beat, downbeat)]
        return cls(mean[0], _log_odds(mean[1]) + MISSED, _log_odds(mean[2]) + MISSED_BARS)


def _log_odds(probability: Floats) -> Floats:
    safe = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.clip(np.log(safe / (1 - safe)), -SURE, SURE))


def grid_strength(score: Score) -> float:
    """How well the onsets lie on the sixteenths or the triplets of the file's quarter notes, in 0-1.

    Length of the mean vector of the onsets on the circle of such a step: 1 for quantised music, near 0 for a
    performance that was recorded without a click.
    """
    phase = score.onset / score.ticks_per_beat
    turns = (np.abs(np.exp(2j * np.pi * steps * phase).mean()) for steps in (4, 3, 6))
    return float(max(turns)) if len(phase) else 0.0


def file_beats(score: Score) -> tuple[Ints, Ints]:
    """Beats and downbeats that a file states, in ticks, up to the last onset.

    A beat is the unit of the time signature, three of them in 6/8, 9/8 and 12/8. Without a time signature
    bars have four quarter notes.
    """
    changes = {0: (4, 4)}
    for tick, *metre in zip(
        *(x.tolist() for x in (score.metre_tick, score.metre_numerator, score.metre_denominator)), strict=True
    ):
        changes[tick] = (metre[0], metre[1])
    ends = [*list(changes)[1:], int(score.onset.max()) + 1]
    beats, downbeats = [], []
    for (begin, (numerator, denominator)), end in zip(changes.items(), ends, strict=True):
        group = 3 if denominator >= 8 and numerator % 3 == 0 and numerator > 3 else 1
        unit = 4 * score.ticks_per_beat / denominator
        for length, where in ((group * unit, beats), (numerator * unit, downbeats)):
            count = max(int(np.ceil((end - begin) / max(length, 1.0))), 0)
            where.append(begin + np.floor(np.arange(count) * max(length, 1.0)).astype(np.int64))
    return np.concatenate(beats), np.concatenate(downbeats)


def track_beats(onsets: Onsets) -> Floats:
    """Beats of a performance in seconds [shape=(b,)], each path of `_path` after the other."""
    times = onsets.seconds
    cuts = np.flatnonzero(np.diff(times) > SILENCE) + 1
    bounds = zip([0, *cuts], [*cuts, len(times)], strict=True)
    found = [_path(times[a:b], onsets.beat[a:b]) for a, b in bounds if b - a > 1]
    return np.concatenate(found) if found else np.zeros(0)


def _path(times: Floats, gain: Floats) -> Floats:
    """Best path through onsets [shape=(k,)]: beats in seconds."""
    log_step = np.log(STEP)
    lengths = int(np.ceil(np.log(LONGEST / SHORTEST) / log_step)) + 1
    bins = np.arange(lengths)
    cost = np.minimum(CHANGE * log_step * np.abs(bins[:, None] - bins), LARGEST_CHANGE)  # (from, to)
    best = np.tile(gain[:, None], (1, lengths))  # a path may begin at any onset
    best -= WITHOUT_ONSET * (times - times[0])[:, None] / (SHORTEST * STEP**bins)
    moved = np.empty_like(best)  # the best value from which a beat of each length goes on
    origin = np.zeros(best.shape, np.int64)  # length before
    back = np.full((*best.shape, 2), -1, np.int64)  # onset before, and beats since it
    skips = np.arange(1, SKIP + 1)
    for j in range(len(times)):
        first = int(np.searchsorted(times, times[j] - SKIP * LONGEST))
        if first < j:
            each = (times[j] - times[first:j])[:, None] / skips  # (i, skips): length of a beat
            at = np.rint(np.log(each / SHORTEST) / log_step).astype(np.int64)
            i, n = np.nonzero((at >= 0) & (at < lengths))
            to = at[i, n]
            value = moved[first + i, to] + gain[j] - WITHOUT_ONSET * n
            order = np.argsort(value, kind="stable")  # the best of each length is written last
            to, value, i, n = to[order], value[order], i[order], n[order]
            known = np.full(lengths, -np.inf)
            chosen = np.full(lengths, -1)
            known[to], chosen[to] = value, np.arange(len(to))
            better = known > best[j]
            best[j, better] = known[better]
            which = chosen[better]
            back[j, better] = np.stack([first + i[which], skips[n[which]]], axis=1)
        through = best[j][:, None] - cost
        origin[j] = through.argmax(0)
        moved[j] = through.max(0)
    left = WITHOUT_ONSET * (times[-1] - times)[:, None] / (SHORTEST * STEP**bins)
    j, length = np.unravel_index(int((best - left).argmax()), best.shape)
    beats = [float(times[j])]
    while back[j, length, 0] >= 0:
        i, n = back[j, length]
        beats += (times[j] - (times[j] - times[i]) / n * np.arange(1, n + 1)).tolist()
        j, length = i, origin[i, length]
    return np.array(beats[::-1])


def track_bars(beats: Floats, onsets: Onsets) -> Bools:
    """Which beats are downbeats [shape=(b,)]: the best path through bars of `METRES` beats."""
    if not len(beats):
        return np.zeros(0, np.bool_)
    after = np.clip(np.searchsorted(onsets.seconds, beats), 0, len(onsets.seconds) - 1)
    near = np.where(
        np.abs(onsets.seconds[after] - beats) < np.abs(onsets.seconds[after - 1] - beats), after, after - 1
    )
    on = np.abs(onsets.seconds[near] - beats) <= NEAR
    odds = np.where(on, onsets.downbeat[near], 0.0)
    states = [(metre, place) for metre in METRES for place in range(metre)]
    number = {state: k for k, state in enumerate(states)}
    best = np.array([odds[0] if place == 0 else 0.0 for _, place in states])
    back = np.zeros((len(beats), len(states)), np.int64)
    ends = [number[metre, metre - 1] for metre in METRES]
    for b in range(1, len(beats)):
        last = best
        best = np.empty(len(states))
        for k, (metre, place) in enumerate(states):
            if place:
                back[b, k], best[k] = k - 1, last[k - 1]
                continue
            costs = [last[end] - CHANGE_OF_METRE * (states[end][0] != metre) for end in ends]
            which = int(np.argmax(costs))
            back[b, k], best[k] = ends[which], costs[which] + odds[b]
    state = int(best.argmax())
    down = np.zeros(len(beats), np.bool_)
    for b in range(len(beats) - 1, -1, -1):
        down[b] = states[state][1] == 0
        state = back[b, state]
    return down


def ticks_of(score: Score, seconds: Floats) -> Ints:
    """Nearest ticks of times in seconds [shape=(k,)], the inverse of ``score.seconds``."""
    last = int(score.offset.max())
    marks = np.unique(np.append(score.tempo_tick[score.tempo_tick <= last], [0, last + score.ticks_per_beat]))
    return np.rint(np.interp(seconds, score.seconds(marks), marks)).astype(np.int64)
