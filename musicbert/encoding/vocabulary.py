"""The 1,232 tokens of OctupleMIDI, and rows <-> token ids.

Columns of a row: bar, position, program, pitch, duration, velocity, time signature, tempo. Token ``<j-v>`` is
value ``v`` of column ``j``. Ids: ``<s>`` 0, ``<pad>`` 1, ``</s>`` 2, ``<unk>`` 3, then the tokens in the
order of ``dict.txt`` from 4 to 1235, then ``<mask>`` 1236, which is not in ``dict.txt``.

Reference: Zeng et al. 2021, section 3.2.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.errors import MidiError

BOS, PAD, EOS, UNK = 0, 1, 2, 3
#: Names of the columns of a row.
FIELDS: Final = ("bar", "position", "program", "pitch", "duration", "velocity", "time_signature", "tempo")
N_FIELDS: Final = len(FIELDS)
#: Number of values of each column.
FIELD_SIZES: Final = (256, 128, 129, 256, 128, 32, 254, 49)
_FIRST_DATA_ID = 4
#: Id of value 0 of each column.
FIELD_OFFSETS: Final = tuple(_FIRST_DATA_ID + sum(FIELD_SIZES[:field]) for field in range(len(FIELD_SIZES)))
MASK: Final = _FIRST_DATA_ID + sum(FIELD_SIZES)
VOCABULARY_SIZE: Final = MASK + 1

#: token of each id
TOKENS: Final = (
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
    *(f"<{field}-{value}>" for field, size in enumerate(FIELD_SIZES) for value in range(size)),
    "<mask>",
)


def dictionary_text() -> str:
    """Return the content of ``dict.txt``: 1,232 lines ``<j-v> 0``."""
    return "".join(f"{token} 0\n" for token in TOKENS[_FIRST_DATA_ID:MASK])


def check_rows(rows: ArrayLike, *, bars: int = FIELD_SIZES[0]) -> Ints:
    """Return rows as an int64 matrix whose values are in range; see `check_table`.

    ``bars``: bars allowed: 256 for tokens, more where rows are not yet shifted.
    """
    hint = "shift the bars, or cut the piece into windows: `musicbert encode --windows`"
    return check_table(rows, FIELDS, (bars, *FIELD_SIZES[1:]), first_hint=hint)


def check_table(
    rows: ArrayLike, names: Sequence[str], sizes: Sequence[int], *, first_hint: str | None = None
) -> Ints:
    """Return rows [shape=(n, F), integers] as an int64 matrix; an empty list is zero rows.

    ``names``, ``sizes``: of the F columns, with values from 0 to ``size - 1``; ``first_hint``: for the error
    of the first column.
    Raises `MidiError` (``bad-value``: the shape, or the first row and column that is out of range).
    """
    width = len(names)
    try:
        matrix = np.asarray(rows)
    except (ValueError, OverflowError) as error:
        raise MidiError(
            "bad-value", f"rows differ in length, or are not integers: a note has {width}"
        ) from error
    if matrix.size == 0 and (matrix.ndim <= 1 or matrix.shape[1:] == (width,)):
        return np.zeros((0, width), np.int64)
    if matrix.ndim != 2 or matrix.shape[1] != width:
        raise MidiError("bad-value", f"rows have shape (notes, {width}), not {matrix.shape}")
    if matrix.dtype.kind not in "iu":
        raise MidiError("bad-value", f"rows are integers, not {matrix.dtype}")
    checked: Ints = matrix.astype(np.int64)
    wrong = (checked < 0) | (checked >= np.array(sizes))
    if wrong.any():
        row, field = (int(index) for index in np.argwhere(wrong)[0])
        raise MidiError(
            "bad-value",
            f"row {row}: {names[field]} {matrix[row, field]} is outside 0-{sizes[field] - 1}",
            hint=first_hint if field == 0 else None,
        )
    return checked


def rows_to_ids(rows: ArrayLike, *, specials: bool = True) -> Ints:
    """Convert rows (bars 0-255) to fairseq token ids; raises as `check_rows`.

    Returns [shape=(8 * (n + 2),), int64], with an octuple of ``<s>`` before and one of ``</s>`` after the
    notes; ``specials=False`` leaves these out.
    """
    ids: Ints = check_rows(rows) + np.array(FIELD_OFFSETS, np.int64)
    if not specials:
        return ids.reshape(-1)
    return np.concatenate([np.full(N_FIELDS, BOS), ids.reshape(-1), np.full(N_FIELDS, EOS)])


def ids_to_rows(ids: ArrayLike) -> Ints:
    """Convert token ids back to rows; octuples of specials (``<s>``, ``</s>``, ``<pad>``) are left out.

    Returns [shape=(n, 8), int64].
    Raises `MidiError` (``bad-value``: the length is not a multiple of 8, or a token is in the wrong column or
    masked).
    """
    flat: Ints = np.asarray(ids, np.int64).reshape(-1)
    if len(flat) % N_FIELDS:
        raise MidiError("bad-value", f"{len(flat)} tokens are not a multiple of {N_FIELDS}")
    table = flat.reshape(-1, N_FIELDS)
    special = ((table >= BOS) & (table < UNK)).all(axis=1)
    return check_rows(table[~special] - np.array(FIELD_OFFSETS))
