"""Compound words as a line of text: ``<j-v>`` is id ``v`` of field ``j``, as in the text of OctupleMIDI.

There are no tokens for the ends of a piece; PAD and MASK are ids of each field.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicbert.encoding.compound_word.vocabulary import FIELD_SIZES, check_rows
from musicbert.errors import MidiError

__all__ = ["line_to_rows", "rows_to_line"]

_TOKENS = [[f"<{field}-{number}>" for number in range(size)] for field, size in enumerate(FIELD_SIZES)]
_IDS = {token: (field, number) for field, tokens in enumerate(_TOKENS) for number, token in enumerate(tokens)}
_WIDTH = len(FIELD_SIZES)


def rows_to_line(rows: ArrayLike) -> str:
    """Write rows as one line, without a line break.

    Raises
    ------
    MidiError
        ``bad-value`` for a wrong shape or an id out of range.
    """
    columns = [
        map(tokens.__getitem__, column)
        for tokens, column in zip(_TOKENS, check_rows(rows).T.tolist(), strict=True)
    ]
    return " ".join(" ".join(note) for note in zip(*columns, strict=True))


def line_to_rows(line: str) -> NDArray[np.int64]:
    """Read a line that `rows_to_line` wrote.

    Returns
    -------
    [shape=(n, 4), int64]

    Raises
    ------
    MidiError
        ``bad-value`` for an unknown token, a token in the wrong place, or part of a note.
    """
    words = line.split()
    if len(words) % _WIDTH:
        raise MidiError("bad-value", f"{len(words)} tokens are not a multiple of {_WIDTH}")
    numbers = np.empty(len(words), np.int64)
    for place, word in enumerate(words):
        field, number = _IDS.get(word, (-1, -1))
        if field != place % _WIDTH:
            raise MidiError("bad-value", f"token {place + 1} is {word!r}, not one of field {place % _WIDTH}")
        numbers[place] = number
    return numbers.reshape(-1, _WIDTH)
