"""Which note of a performance plays which note of the written score.

Both are read as rows of chords: the performance in onset clusters (:mod:`musicbert.features.playing`), the
score in notes that begin together. Dynamic time warping (Sakoe and Chiba 1978) finds the path of least cost
through all pairs of a played and a written chord; a pair costs the share of played pitches that are not
written, half the share of written pitches that are not played, and the distance of their relative positions
in time. Along that path each written note is matched with the unused played note of the same pitch that is
nearest in time, from its chord or, if none is left there, from a neighbouring chord. Ornaments, slips and
notes left out have no match.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Floats, Ints
from musicbert.errors import MidiError
from musicbert.features.playing import Playing
from musicbert.midi.score import Score

#: Quarter notes between written onsets of one chord: less than a 64th note (0.0625), more than an off-by-one
#: tick of a rendered score.
TOGETHER = 0.06
#: Weight of written pitches that are not played (chords come in several clusters when they are rolled), and
#: cost of a step along one side only.
MISSING, STEP = 0.5, 0.05
#: Largest table of costs: 16 million cells, 128 MB.
MAX_CELLS = 16_000_000


@dataclass(frozen=True, eq=False)
class Written:
    """The notes of a score in quarter notes, by onset, then pitch.

    ``onset``, ``length`` [shape=(n,), float64, quarter notes]; ``pitch`` [shape=(n,), int64, MIDI numbers];
    ``chord``: index of the chord of each note [shape=(n,), int64]; ``beat``: onset of each chord [shape=(c,),
    float64, quarter notes].
    """

    onset: Floats
    length: Floats
    pitch: Ints
    chord: Ints
    beat: Floats


def written(score: Score) -> Written:
    """Read a written score, whose ticks are quarter notes; raises `MidiError` (``"no-notes"``)."""
    keep = np.flatnonzero(~score.drum)
    if len(keep) == 0:
        raise MidiError("no-notes", "the score has no pitched note to compare with", hint="leave it out")
    keep = keep[np.lexsort((score.pitch[keep], score.onset[keep]))]
    onset = score.onset[keep] / score.ticks_per_beat
    new = np.diff(onset, prepend=-np.inf) > TOGETHER
    return Written(
        onset=onset,
        length=(score.offset[keep] - score.onset[keep]) / score.ticks_per_beat,
        pitch=score.pitch[keep],
        chord=np.cumsum(new) - 1,
        beat=onset[new],
    )


def _pitches(chord: Ints, pitch: NDArray[np.generic], count: int) -> Floats:
    table = np.zeros((count, 128))
    table[chord, pitch.astype(np.int64)] = 1.0
    return table


def _relative(time: Floats) -> Floats:
    span = time[-1] - time[0]
    return np.asarray((time - time[0]) / span) if span > 0 else np.zeros(len(time))


def _path(cost: Floats) -> Ints:
    """Return the cheapest path through a table of costs, both ends included [shape=(steps, 2)]."""
    rows, columns = cost.shape
    back = np.zeros((rows, columns), np.int8)
    above = [0.0] + [float("inf")] * columns
    for i, line in enumerate(cost.tolist()):
        here = [float("inf")] * (columns + 1)
        moves = [0] * columns
        for j, price in enumerate(line):
            both, down, right = above[j], above[j + 1] + STEP, here[j] + STEP
            if both <= down and both <= right:
                best, moves[j] = both, 0
            elif down <= right:
                best, moves[j] = down, 1
            else:
                best, moves[j] = right, 2
            here[j + 1] = best + price
        back[i], above = moves, here
    i, j = rows - 1, columns - 1
    path = [(i, j)]
    while i or j:
        move = back[i, j] if i and j else (1 if i else 2)
        i, j = i - (move != 2), j - (move != 1)
        path.append((i, j))
    return np.array(path[::-1], np.int64)


def align(play: Playing, score: Written) -> Ints:
    """Find the played note of every written note [shape=(n written,), int64], -1 if it was not played.

    Raises `MidiError` (``"too-many-notes"``: more than 16 million pairs of chords).
    """
    n_played, n_written = len(play.time), len(score.beat)
    if max(n_played, n_written) * 128 > MAX_CELLS or n_played * n_written > MAX_CELLS:
        raise MidiError(
            "too-many-notes",
            f"{n_played} played and {n_written} written chords are too many to align",
            hint="cut the piece into sections",
        )
    a, b = _pitches(play.chord, play.pitch, n_played), _pitches(score.chord, score.pitch, n_written)
    common, size_a, size_b = a @ b.T, a.sum(1)[:, None], b.sum(1)[None]
    centre = play.per_chord(play.onset)
    apart = np.abs(_relative(centre)[:, None] - _relative(score.beat)[None])
    path = _path((size_a - common) / size_a + MISSING * (size_b - common) / size_b + apart)

    first, last = np.full(n_written, n_played), np.full(n_written, -1)
    np.minimum.at(first, path[:, 1], path[:, 0])
    np.maximum.at(last, path[:, 1], path[:, 0])
    expected = np.bincount(path[:, 1], centre[path[:, 0]]) / np.bincount(path[:, 1])
    of_pitch: dict[int, list[int]] = defaultdict(list)
    for note, pitch in enumerate(play.pitch.astype(np.int64).tolist()):
        of_pitch[pitch].append(note)
    match = np.full(len(score.pitch), -1)
    for reach in (0, 1):  # first in the chord's own part of the path, then in its neighbours'
        low = first[np.maximum(np.arange(n_written) - reach, 0)]
        high = last[np.minimum(np.arange(n_written) + reach, n_written - 1)]
        for n in np.flatnonzero(match < 0).tolist():
            j, left = score.chord[n], of_pitch[int(score.pitch[n])]
            near = [q for q in left if low[j] <= play.chord[q] <= high[j]]
            if near:
                match[n] = near[int(np.argmin(np.abs(play.onset[near] - expected[j])))]
                left.remove(int(match[n]))
    return match
