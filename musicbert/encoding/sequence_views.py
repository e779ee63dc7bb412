"""Labelled sequences in the CP-like and REMI-like forms: what fine-tuning reads (Zeng et al. 2021, Table 5).

Sequences are binarised as octuples between one of ``<s>`` and one of ``</s>``. Here they are written in
another form (`musicbert.encoding.views`) and cut to the positions of a model: eight tokens are a position in
``octuple`` and ``cp``, one token is one in ``remi``. A special octuple inside a sequence (a separator of two
phrases, where the data have one) stays as one position, and after it every field is written
again. Sequences that are too long are cut as in pre-training: the first rows (tokens) stay.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Bools, Ints
from musicbert.encoding.views import View, octuples_to_cp, view_sizes
from musicbert.encoding.vocabulary import N_FIELDS, UNK

#: sequences whose lengths are computed at a time
_CHUNK = 1024


def position_width(view: View) -> int:
    """Tokens of one position of the model."""
    return 1 if view == "remi" else N_FIELDS


def sequence_in_view(tokens: ArrayLike, view: View, *, longest: int | None = None, begin: int = 0) -> Ints:
    """Write a sequence in another form.

    ``tokens`` [shape=(8 * (n + 2),), integers]; ``longest``: largest number of positions that stay, without
    the two ends; None keeps all; ``begin``: first octuple that is read, 0 is the one after ``<s>``.
    Returns [shape=(T * 8,), int64], for ``remi`` [shape=(T,), int64]: T positions, the two ends counted.
    """
    octuples = np.asarray(tokens, np.int64).reshape(-1, N_FIELDS)
    first, inner, last = octuples[:1], octuples[1 + begin : -1], octuples[-1:]
    if view == "octuple":
        cells = inner
    else:
        marks = np.flatnonzero(_special(inner))
        parts = [octuples_to_cp(inner[: marks[0]] if len(marks) else inner)]
        for at, end in zip(marks, [*marks[1:], len(inner)][: len(marks)], strict=True):
            parts += [inner[at : at + 1], octuples_to_cp(inner[at + 1 : end])]
        cells = np.concatenate(parts)
    if view == "remi":
        filled = cells != UNK
        filled[_special(cells), 1:] = False  # one token of </s>
        return np.concatenate([first[0, :1], cells[filled][:longest], last[0, :1]])
    return np.concatenate([first, cells[:longest], last]).reshape(-1)


def sizes_in_view(read: Callable[[int, int], ArrayLike], sizes: ArrayLike, view: View) -> Ints:
    """Lengths of sequences in a form, without converting them.

    ``read``: ``read(begin, end)`` gives the tokens of these sequences, one after the other; ``sizes``: tokens
    of each sequence as octuples [shape=(n,)].
    Returns the tokens of each sequence in that form, the two ends counted [shape=(n,), int64].
    """
    stored = np.asarray(sizes, np.int64)
    if view == "octuple":
        return stored
    positions = np.zeros_like(stored)
    for begin in range(0, len(stored), _CHUNK):
        chosen = slice(begin, min(begin + _CHUNK, len(stored)))
        tokens = np.asarray(read(chosen.start, chosen.stop)).reshape(-1, N_FIELDS)
        ends = np.cumsum(stored[chosen] // N_FIELDS)
        special = np.diff(np.concatenate([[0], np.cumsum(_special(tokens))[ends - 1]]))
        positions[chosen] = view_sizes(tokens, stored[chosen], view) + special
    return positions * position_width(view)


def latest_begin(tokens: ArrayLike, view: View, count: int) -> int:
    """Last octuple (0 is the one after ``<s>``) from which a sequence has `count` positions or more."""
    octuples = np.asarray(tokens, np.int64).reshape(-1, N_FIELDS)[1:-1]
    low, high = 0, max(len(octuples) - 1, 0)
    while low < high:  # the later the beginning, the fewer positions
        middle = (low + high + 1) // 2
        rest = sequence_in_view(tokens, view, begin=middle)
        if len(rest) // position_width(view) - 2 >= count:
            low = middle
        else:
            high = middle - 1
    return low


def _special(octuples: Ints) -> Bools:
    """Whether an octuple is of ``<s>``, ``<pad>`` or ``</s>`` [shape=(n,)]."""
    return np.asarray(octuples[:, 0] < UNK)
