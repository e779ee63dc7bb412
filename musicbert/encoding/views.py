"""CP-like and REMI-like forms of OctupleMIDI: what the encoding is compared with (Zeng et al. 2021, Table 5).

The tokens are those of OctupleMIDI, so all three share one vocabulary. Repeated values are written once:

``octuple``
    eight tokens a note.
``cp``
    rows of eight cells, ``<unk>`` where a cell is empty: bar and time signature when a bar begins, position
    and tempo when a position in it begins, the program when it changes at a position, then pitch, duration
    and velocity of each note. A row is one position of a model with compound embedding.
``remi``
    the cells of ``cp`` that are not empty, one after the other. A token is one position.

So a bar has one time signature and a position one tempo: those of their first notes. Every piece of
OctupleMIDI comes back as it was, except where a metre changes inside a bar (`is_lossless`). In 234 files of
Lakh MIDI a note takes 1.83 rows of ``cp`` and 4.09 tokens of ``remi``; Table 1 of the paper has 1.91 and 4.35
for the whole set.

These are not the compound words of M2BERT (`musicbert.encoding.compound_word`), which have other fields.
"""

from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicbert.arrays import Bools, Ints
from musicbert.encoding.vocabulary import BOS, EOS, FIELD_OFFSETS, FIELDS, MASK, N_FIELDS, UNK
from musicbert.errors import MidiError

View = Literal["octuple", "cp", "remi"]
VIEWS: tuple[View, ...] = get_args(View)

_BAR, _POSITION, _PROGRAM, _PITCH, _DURATION, _VELOCITY, _METRE, _TEMPO = range(N_FIELDS)
_NOTE = (_PITCH, _DURATION, _VELOCITY)
#: cells of the rows that begin a bar, a position and a program
_HEADS = ((_BAR, _METRE), (_POSITION, _TEMPO), (_PROGRAM,))
_OFFSETS = np.asarray(FIELD_OFFSETS)


def octuples_to_cp(octuples: ArrayLike) -> Ints:
    """Write repeated values once, in rows of cells.

    ``octuples``: token ids of notes, without special octuples [shape=(n, 8) or (8 * n,), integers].
    Returns [shape=(m, 8), int64], `UNK` in empty cells.
    """
    notes = _notes(octuples)
    begins = _begins(notes)  # (n, 3)
    last = np.cumsum(1 + begins.sum(axis=1)) - 1  # row of each note
    rows = np.full((int(last[-1]) + 1 if len(notes) else 0, N_FIELDS), UNK, np.int64)
    rows[last[:, None], _NOTE] = notes[:, _NOTE]
    before = begins[:, ::-1].cumsum(axis=1)[:, ::-1]  # rows from this head to the note
    for head, cells in enumerate(_HEADS):
        at = np.flatnonzero(begins[:, head])
        rows[(last[at] - before[at, head])[:, None], cells] = notes[at[:, None], cells]
    return rows


def cp_to_octuples(rows: ArrayLike) -> Ints:
    """Restore bar, position, program, time signature and tempo of every note.

    ``rows``: as `octuples_to_cp` returns them [shape=(m, 8) or (8 * m,), integers].
    Returns [shape=(n, 8), int64].
    Raises `MidiError` (``bad-value``: a token in the wrong cell, or a note before its bar, position or
    program).
    """
    cells = _notes(rows)
    filled = cells != UNK
    if (filled & (field_of_tokens(cells) != np.arange(N_FIELDS))).any():
        raise MidiError("bad-value", "a token is in a cell of another field")
    heads = np.array([cells_of[0] for cells_of in _HEADS])
    at = np.flatnonzero(filled[:, _PITCH])
    notes = cells[at]
    for field in range(N_FIELDS):
        if field not in _NOTE:
            seen = np.maximum.accumulate(np.where(filled[:, field], np.arange(len(cells)), -1))
            notes[:, field] = cells[seen[at], field]
            if (seen[at] < 0).any():
                raise MidiError("bad-value", f"a note comes before any {FIELDS[field]}")
    # a position belongs to its bar, a program to its position
    latest = [np.maximum.accumulate(np.where(filled[:, f], np.arange(len(cells)), -1))[at] for f in heads]
    if any((inner < outer).any() for outer, inner in pairwise(latest)):
        raise MidiError("bad-value", "a bar or a position begins without a position or a program in it")
    if (notes[:, _NOTE] == UNK).any():
        raise MidiError("bad-value", "a note lacks its duration or velocity")
    return notes


def octuples_to_remi(octuples: ArrayLike) -> Ints:
    """One token after the other, without empty cells (see `octuples_to_cp`) [shape=(k,), int64]."""
    rows = octuples_to_cp(octuples)
    flat: Ints = rows[rows != UNK]
    return flat


def is_lossless(octuples: ArrayLike) -> bool:
    """Whether every bar has one time signature and every position one tempo, so that nothing is lost."""
    notes = _notes(octuples)
    begins = _begins(notes)
    for head, field in ((0, _METRE), (1, _TEMPO)):
        first = np.flatnonzero(begins[:, head])
        group = np.cumsum(begins[:, head]) - 1
        if (notes[:, field] != notes[first[group], field]).any():
            return False
    return True


def cells_of_piece(tokens: ArrayLike, view: View, crop: int | None = None) -> Ints:
    """Rows of a piece in a view, between a row of ``<s>`` and one of ``</s>``.

    ``tokens``: octuples between one of ``<s>`` and one of ``</s>`` [shape=(8 * (n + 2),)]; ``view``: ``remi``
    gives the rows of ``cp``; ``crop``: largest number of rows (``remi``: of cells that are not empty) that
    stay, the two ends not counted; None keeps all.
    Returns [shape=(m + 2, 8), int64].
    """
    notes = _notes(tokens)[1:-1]
    rows = notes if view == "octuple" else octuples_to_cp(notes)
    if crop is not None and view == "remi":
        filled = rows != UNK
        rows = np.where(filled.cumsum().reshape(filled.shape) <= crop, rows, UNK)
        rows = rows[(rows != UNK).any(axis=1)]
    elif crop is not None:
        rows = rows[:crop]
    ends = np.full((1, N_FIELDS), BOS, np.int64), np.full((1, N_FIELDS), EOS, np.int64)
    return np.concatenate([ends[0], rows, ends[1]])


def field_of_tokens(tokens: ArrayLike) -> Ints:
    """Field of each token, -1 for ``<s>``, ``<pad>``, ``</s>``, ``<unk>`` and ``<mask>`` [same shape]."""
    ids = np.asarray(tokens, np.int64)
    field = np.searchsorted(_OFFSETS, ids, side="right") - 1
    return np.where(ids == MASK, -1, field)


def view_sizes(tokens: ArrayLike, sizes: ArrayLike, view: View) -> Ints:
    """Lengths of pieces in a view, without converting them.

    ``tokens``: pieces one after the other, each between an octuple of ``<s>`` and one of ``</s>``
    [shape=(k,)]; ``sizes``: tokens of each piece, multiples of 8 [shape=(pieces,)].
    Returns rows, of ``remi`` tokens [shape=(pieces,), int64], without the special octuples.
    """
    octuples = np.asarray(tokens).reshape(-1, N_FIELDS)
    counts = np.asarray(sizes, np.int64) // N_FIELDS
    notes = octuples[:, _BAR] >= FIELD_OFFSETS[0]
    if view == "octuple":
        weight = notes.astype(np.int64)
    else:
        # the octuple of <s> before a piece differs from its first note in every field
        begins = np.zeros((len(octuples), len(_HEADS)), bool)
        begins[1:] = _changes(octuples) & notes[1:, None]
        costs = (1, 1, 1) if view == "cp" else tuple(len(cells) for cells in _HEADS)
        weight = begins @ np.array(costs) + notes * (1 if view == "cp" else len(_NOTE))
    ends = np.concatenate([[0], np.cumsum(weight)])[np.concatenate([[0], np.cumsum(counts)])]
    lengths: Ints = np.diff(ends)
    return lengths


def _notes(octuples: ArrayLike) -> Ints:
    flat = np.asarray(octuples, np.int64).reshape(-1)
    if len(flat) % N_FIELDS:
        raise MidiError("bad-value", f"{len(flat)} tokens are not a multiple of {N_FIELDS}")
    return flat.reshape(-1, N_FIELDS)


def _begins(notes: Ints) -> Bools:
    """Whether a bar, a position, a program begins with each note [shape=(n, 3)]."""
    begins = np.ones((len(notes), len(_HEADS)), bool)
    begins[1:] = _changes(notes)
    return begins


def _changes(notes: NDArray[np.integer]) -> Bools:
    """Whether bar, position and program differ from those of the row before [shape=(n - 1, 3)]."""
    heads = notes[:, [cells[0] for cells in _HEADS]]
    return np.asarray(np.logical_or.accumulate(heads[1:] != heads[:-1], axis=1))
