"""Rows of compound words: which notes stay, their order, the four columns, and rows as a line of text.

In text ``<j-v>`` is id ``v`` of field ``j``, as in the text of OctupleMIDI. There are no tokens for the ends
of a piece; PAD and MASK are ids of each field.
"""

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.encoding.compound_word.profiles import Profile
from musicbert.encoding.compound_word.vocabulary import (
    CONTINUE,
    FIELD_SIZES,
    HIGH_PITCH,
    LOW_PITCH,
    N_FIELDS,
    NEW,
    check_rows,
)
from musicbert.errors import MidiError
from musicbert.midi import Score

_OCTAVE = 12
#: Bits of a packed sort key.
_KEY_BITS = 63


def kept_notes(score: Score, profile: Profile) -> Ints | None:
    """Indices of the notes to encode, or None for all.

    Raises `MidiError` (``no-notes`` if none is left).
    """
    dropped = np.zeros(len(score), np.bool_)
    if profile.min_duration > 0:
        dropped |= (score.offset - score.onset) / score.ticks_per_beat < profile.min_duration
    if profile.drums == "drop":
        dropped |= score.drum
    if not dropped.any():
        return None
    kept = np.flatnonzero(~dropped)
    if len(kept) == 0:
        raise MidiError("no-notes", "no note is left: all are too short, or percussion")
    return kept


def sorted_order(*keys: Ints) -> Ints:
    """Stable order that sorts by several keys of 0 or more, the first key first.

    Keys and index are packed into one number if 63 bits are enough: one plain sort is much faster than
    `numpy.lexsort`.
    """
    n = len(keys[0])
    bits = [max(int(key.max()).bit_length(), 1) for key in keys]
    index_bits = max((n - 1).bit_length(), 1)
    if sum(bits) + index_bits > _KEY_BITS:
        order: Ints = np.lexsort(keys[::-1])
        return order
    packed = keys[0]
    for key, width in zip(keys[1:], bits[1:], strict=True):
        packed = (packed << width) | key
    packed = (packed << index_bits) | np.arange(n)
    packed.sort()
    packed &= (1 << index_bits) - 1
    return packed


def pitch_ids(pitch: Ints, profile: Profile) -> Ints:
    """Ids of MIDI pitches.

    Raises `MidiError` (``pitch-range`` where the profile has no place for a pitch).
    """
    low, high = int(pitch.min()), int(pitch.max())
    if low < LOW_PITCH or high > HIGH_PITCH:
        if profile.pitch == "error":
            raise MidiError(
                "pitch-range",
                f"pitch {low if low < LOW_PITCH else high} is outside {LOW_PITCH}-{HIGH_PITCH}: "
                "the published program has no token for it",
                hint="encode with the codec cp",
            )
        if profile.pitch == "octave":
            below = np.maximum(LOW_PITCH - pitch + _OCTAVE - 1, 0) // _OCTAVE
            above = np.maximum(pitch - HIGH_PITCH + _OCTAVE - 1, 0) // _OCTAVE
            pitch = pitch + (below - above) * _OCTAVE
        else:
            pitch = np.clip(pitch, LOW_PITCH, HIGH_PITCH)
    return pitch - LOW_PITCH


def pack_rows(bar: Ints, position: Ints, pitch: Ints, duration: Ints) -> Ints:
    """Rows from sorted columns: numbers of bars (any), and ids of the other fields."""
    rows = np.empty((len(bar), N_FIELDS), np.int64)
    rows[0, 0] = NEW
    rows[1:, 0] = np.where(bar[1:] == bar[:-1], CONTINUE, NEW)
    rows[:, 1] = position
    rows[:, 2] = pitch
    rows[:, 3] = duration
    return rows


_TOKENS = [[f"<{field}-{number}>" for number in range(size)] for field, size in enumerate(FIELD_SIZES)]
_IDS = {token: (field, number) for field, tokens in enumerate(_TOKENS) for number, token in enumerate(tokens)}


def rows_to_line(rows: ArrayLike) -> str:
    """Write rows as one line, without a line break; raises as `check_rows`."""
    columns = [
        map(tokens.__getitem__, column)
        for tokens, column in zip(_TOKENS, check_rows(rows).T.tolist(), strict=True)
    ]
    return " ".join(" ".join(note) for note in zip(*columns, strict=True))


def line_to_rows(line: str) -> Ints:
    """Read a line of `rows_to_line` [shape=(n, 4), int64].

    Raises `MidiError` (``bad-value``: an unknown token, a token in the wrong place, or part of a note).
    """
    words = line.split()
    if len(words) % N_FIELDS:
        raise MidiError("bad-value", f"{len(words)} tokens are not a multiple of {N_FIELDS}")
    numbers = np.empty(len(words), np.int64)
    for place, word in enumerate(words):
        field, number = _IDS.get(word, (-1, -1))
        expected = place % N_FIELDS
        if field != expected:
            raise MidiError("bad-value", f"token {place + 1} is {word!r}, not one of field {expected}")
        numbers[place] = number
    return numbers.reshape(-1, N_FIELDS)
