"""Hand-made features of pairs of phrases: what a network for ``next`` and ``acc`` has to beat.

Each phrase is described by its pitch classes (weighted by duration), onsets on the sixteenth grid of the bar,
register, loudness, note lengths and density; a pair by how these agree, and by the step from the end of the
first phrase to the beginning of the second. `PAIR_FEATURES` names the columns. Duration and velocity are
codes of OctupleMIDI; intervals are semitones.
"""

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Bools, Floats, Ints
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.corpus.labelled.token_bin import Notes
from musicbert.encoding.quantise import duration_value
from musicbert.errors import DatasetError

BAR, POSITION, PROGRAM, PITCH, DURATION, VELOCITY = range(6)
BAR_POSITIONS, GRID = 64, 16
#: program of the first phrase of ``acc``
MELODY = 80

_OF_PHRASE = (
    "notes", "mean pitch", "lowest pitch", "highest pitch", "mean velocity", "mean duration", "last onset",
)  # fmt: skip
PAIR_FEATURES = (
    *(f"{which}: {name}" for which in ("first", "second", "difference", "distance") for name in _OF_PHRASE),
    "pitch classes: cosine",
    "pitch classes: cosine of the best transposition",
    "pitch classes: shared of all",
    "onsets: cosine",
    "durations: cosine",
    "pitches: shared of all",
    "step between the phrases",
    "size of that step",
)


def pair_features(pairs: SentenceBin) -> Floats:
    """Describe every pair [shape=(n, len(PAIR_FEATURES)), float64, finite].

    Raises `DatasetError` (``no-boundaries`` where nothing says which notes belong to the second phrase).
    """
    blocks = [_describe(block, _second(block, pairs)) for block in pairs.blocks()]
    return np.concatenate(blocks) if blocks else np.zeros((0, len(PAIR_FEATURES)))


def _second(block: Notes, pairs: SentenceBin) -> Ints:
    """Which notes belong to the second phrase [shape=(notes,), 0 or 1]."""
    program = block.rows[:, PROGRAM]
    if (program != MELODY).any():
        return (program != MELODY).astype(np.int64)
    if pairs.firsts is None:
        raise DatasetError(
            "no-boundaries",
            "Nothing says where the second phrase begins (label/<part>.first)",
            path=pairs.path,
            hint="make the data with scripts/gen_nsp.py",
        )
    at = block.rows[:, BAR] * BAR_POSITIONS + block.rows[:, POSITION]
    return (at >= pairs.firsts[block.start : block.stop][block.owner]).astype(np.int64)


def _describe(block: Notes, second: Ints) -> Floats:
    rows, n = block.rows, len(block)
    voice = 2 * block.owner + second  # phrases as 0 .. 2 n - 1
    count = np.bincount(voice, minlength=2 * n).astype(float)

    def average(values: NDArray) -> Floats:
        total = np.bincount(voice, weights=values, minlength=2 * n)
        return np.divide(total, count, out=np.zeros(2 * n), where=count > 0)

    def extreme(values: NDArray, kind: np.ufunc, empty: float) -> Floats:
        result = np.full(2 * n, empty)
        kind.at(result, voice, values)
        return np.where(count > 0, result, 0.0)

    def shares(bins: NDArray, size: int, weights: NDArray | None = None) -> Floats:
        return np.bincount(voice * size + bins, weights=weights, minlength=2 * n * size).reshape(2 * n, size)

    pitch = rows[:, PITCH].astype(float)
    onset = (rows[:, BAR] * BAR_POSITIONS + rows[:, POSITION]).astype(float)
    phrases = np.stack(
        [
            np.log1p(count),
            average(pitch),
            extreme(pitch, np.minimum, np.inf),
            extreme(pitch, np.maximum, -np.inf),
            average(rows[:, VELOCITY]),
            average(rows[:, DURATION]),
            extreme(onset, np.maximum, -np.inf),
        ],
        axis=1,
    )  # (2 n, features)
    one, other = phrases[0::2], phrases[1::2]
    length = duration_value(rows[:, DURATION]) + 1.0
    classes = shares(rows[:, PITCH] % 12, 12, length)
    grid = shares(rows[:, POSITION] * GRID // BAR_POSITIONS % GRID, GRID)
    durations = shares(np.minimum(rows[:, DURATION] // 4, 31), 32)
    pitches = shares(rows[:, PITCH], 256) > 0
    step = _step(block, second, onset, pitch, n)
    turned = np.stack([_cosine(classes[0::2], np.roll(classes[1::2], k, axis=1)) for k in range(12)])
    columns = [
        _cosine(classes[0::2], classes[1::2]),
        turned.max(axis=0),
        _shared(classes[0::2] > 0, classes[1::2] > 0),
        _cosine(grid[0::2], grid[1::2]),
        _cosine(durations[0::2], durations[1::2]),
        _shared(pitches[0::2], pitches[1::2]),
        step,
        np.abs(step),
    ]
    return np.concatenate([one, other, other - one, np.abs(other - one), np.stack(columns, axis=1)], axis=1)


def _step(block: Notes, second: Ints, onset: Floats, pitch: Floats, n: int) -> Floats:
    """Interval from the last, highest note of the first phrase to the first, highest of the second."""
    order = np.lexsort((pitch, onset, block.owner))
    owner, which, sorted_pitch = block.owner[order], second[order], pitch[order]
    last, first = np.full(n, np.nan), np.full(n, np.nan)
    last[owner[which == 0]] = sorted_pitch[which == 0]  # the last to write stays
    order = np.lexsort((-pitch, onset, block.owner))[::-1]
    owner, which, sorted_pitch = block.owner[order], second[order], pitch[order]
    first[owner[which == 1]] = sorted_pitch[which == 1]
    return np.nan_to_num(first - last)


def _cosine(one: Floats, other: Floats) -> Floats:
    size = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    return np.divide((one * other).sum(1), size, out=np.zeros(len(one)), where=size > 0)


def _shared(one: Bools, other: Bools) -> Floats:
    union = (one | other).sum(1)
    return np.divide((one & other).sum(1), union, out=np.zeros(len(one)), where=union > 0)
