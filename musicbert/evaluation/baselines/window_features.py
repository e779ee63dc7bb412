"""Hand-made features of a window of OctupleMIDI rows: what a network for genre and style has to beat.

Instruments (share of the notes and presence of each program), drum sounds, metre, tempo, note lengths,
density, register, loudness, pitch classes and onsets in the bar; beside them the features of playing of
`musicbert.features` on the decoded window (zero where there is no pitched note).
"""

from hashlib import sha256
from os import PathLike

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.encoding import decode
from musicbert.encoding.vocabulary import FIELD_SIZES
from musicbert.errors import MidiError
from musicbert.features import FEATURES, features

BAR, POSITION, PROGRAM, PITCH, DURATION, VELOCITY, METRE, TEMPO = range(8)
DRUMS = 128
#: codes of the time signatures that occur (2/4, 3/4, 4/4, 6/8, 12/8); the others are left out
_METRES = (7, 8, 9, 19, 25)


def window_features(
    folder: str | PathLike[str], part: str, chosen: Ints, *, known: dict[bytes, Floats] | None = None
) -> Floats:
    """Describe some sequences (ascending numbers) of a part of one fold [shape=(n, k), float64, finite].

    ``known``: features by window, looked up and filled: folds share their windows.
    """
    known = {} if known is None else known
    table: list[Floats] = []
    for rows in map(SentenceBin(folder, parts=[part]).rows, chosen.tolist()):
        key = sha256(rows.tobytes()).digest()
        if key not in known:
            known[key] = _describe(rows)
        table.append(known[key])
    return np.stack(table) if table else np.zeros((0, 0))


def _shares(values: Ints, size: int) -> Floats:
    return np.bincount(values, minlength=size)[:size] / max(len(values), 1)


def _spread(values: Ints) -> list[float]:
    if len(values) == 0:
        return [0.0] * 5
    return [float(values.mean()), float(values.std()), *np.percentile(values, [10, 50, 90]).tolist()]


def _describe(rows: Ints) -> Floats:
    drums = rows[:, PROGRAM] == DRUMS
    tuned = rows[~drums]
    programs = _shares(rows[:, PROGRAM], FIELD_SIZES[2])
    bars = int(rows[-1, BAR] - rows[0, BAR]) + 1 if len(rows) else 1
    metre = [float((rows[:, METRE] == code).mean()) if len(rows) else 0.0 for code in _METRES]
    chords = len(np.unique(tuned[:, [BAR, POSITION]], axis=0)) if len(tuned) else 0
    try:
        playing = features(decode(rows)) if len(tuned) else np.zeros(len(FEATURES))
    except MidiError:  # nothing that lasts
        playing = np.zeros(len(FEATURES))
    parts = [
        programs,
        (programs > 0).astype(float),
        [float((programs > 0).sum())],
        _shares(rows[drums, PITCH] - DRUMS, 128)[27:88],  # General MIDI percussion keys
        metre,
        _spread(rows[:, TEMPO]),
        _spread(tuned[:, DURATION]),
        _spread(tuned[:, PITCH]),
        _spread(rows[:, VELOCITY]),
        _shares(tuned[:, PITCH] % 12, 12),
        _shares(rows[:, POSITION] // 4, 32),
        [len(rows) / bars, len(tuned) / max(chords, 1), float(np.log(bars))],
        playing,
    ]
    return np.nan_to_num(np.concatenate([np.asarray(part, np.float64) for part in parts]))
