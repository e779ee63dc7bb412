"""The columns of a note as models see them, for every encoding: values, then PAD, then MASK.

A cell is one column of one note. The ids of a column with ``n`` values are ``0 .. n-1``, PAD ``n`` and MASK
``n + 1``. For compound words these are the published ids; for OctupleMIDI, whose columns share one vocabulary
in fairseq's data, :func:`cells_of_ids` makes them.

=========  ==========================================================  ======================================
encoding   columns                                                     values
=========  ==========================================================  ======================================
``cp``      bar, position, pitch, duration                              2, 16, 86, 64
``octuple`` bar, position, program, pitch, duration, velocity,          256, 128, 129, 256, 128, 32, 254, 49
            time_signature, tempo
=========  ==========================================================  ======================================
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.encoding.compound_word import bar_numbers
from musicbert.encoding.compound_word.vocabulary import FIELD_VALUES as CP_VALUES
from musicbert.encoding.compound_word.vocabulary import FIELDS as CP_FIELDS
from musicbert.encoding.quantise import BAR_LENGTHS
from musicbert.encoding.vocabulary import FIELD_OFFSETS, FIELD_SIZES, FIELDS, MASK, N_FIELDS, PAD

#: program and first pitch of drums (OctupleMIDI)
_DRUMS, _DRUM_PITCH = 128, 128


@dataclass(frozen=True)
class NoteFields:
    """Columns of an encoding.

    ``encoding``: ``cp`` or ``octuple``; ``names``: of the columns; ``values``: number of values of each
    column, PAD and MASK not counted.
    """

    encoding: str
    names: tuple[str, ...]
    values: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Ids of each column, PAD and MASK included."""
        return tuple(count + 2 for count in self.values)

    @property
    def pads(self) -> tuple[int, ...]:
        """Id of PAD in each column."""
        return self.values

    @property
    def masks(self) -> tuple[int, ...]:
        """Id of MASK in each column."""
        return tuple(count + 1 for count in self.values)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Id of value 0 of each column in a vocabulary that all columns share.

        Four specials, the values of the columns in turn, ``<mask>``: of octuples it is fairseq's dictionary.
        """
        return tuple(FIELD_OFFSETS[0] + sum(self.values[:column]) for column in range(len(self.values)))

    @property
    def vocabulary_size(self) -> int:
        """Tokens of the shared vocabulary."""
        return FIELD_OFFSETS[0] + sum(self.values) + 1

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self.names)

    def index(self, name: str) -> int:
        """Column of a name; raises `ValueError` if there is none."""
        return self.names.index(name)

    def bars(self, cells: ArrayLike) -> Ints:
        """Number the bars of one piece [shape=(n,), int64], from 0 on.

        Compound words begin a bar at the value 0 (New) of their first column; a crop may begin in the middle
        of one. Octuples name their bar.
        """
        if self.encoding == "cp":
            return bar_numbers(np.asarray(cells))
        bar = np.asarray(cells)[:, 0]
        begins = np.ones(len(bar), bool)
        begins[1:] = bar[1:] != bar[:-1]
        return np.cumsum(begins, dtype=np.int64) - 1

    def bounds(self, cells: Ints) -> tuple[Ints, Ints]:
        """Lowest value and one past the highest that a cell may have, given its note [shape=(n, F), int64].

        Octuples: a position lies within the bar of its time signature, and drums stay drums.
        """
        low = np.zeros_like(cells)
        high = np.broadcast_to(np.asarray(self.values, np.int64), cells.shape).copy()
        if self.encoding == "octuple" and len(cells):
            position, program, pitch, metre = (
                self.index(name) for name in ("position", "program", "pitch", "time_signature")
            )
            length = BAR_LENGTHS[np.minimum(cells[:, metre], len(BAR_LENGTHS) - 1)]
            high[:, position] = np.maximum(length, cells[:, position] + 1)  # a metre may change inside a bar
            drums = cells[:, program] == _DRUMS
            low[drums, pitch] = _DRUM_PITCH
            high[~drums, pitch] = _DRUM_PITCH
            # values that occur are always possible
            low[:, pitch] = np.minimum(low[:, pitch], cells[:, pitch])
            high[:, pitch] = np.maximum(high[:, pitch], cells[:, pitch] + 1)
        return low, high


CP: Final = NoteFields("cp", CP_FIELDS, CP_VALUES)
OCTUPLE: Final = NoteFields("octuple", FIELDS, FIELD_SIZES)


def note_fields(encoding: str) -> NoteFields:
    """Columns of an encoding: ``octuple``, or any profile of compound words (``cp``, ``cp-m2bert``, ...)."""
    if encoding == "octuple":
        return OCTUPLE
    if encoding == "cp" or encoding.startswith("cp-"):
        return CP
    raise ValueError(f"an encoding is octuple or cp, not {encoding!r}")


def cells_of_ids(ids: ArrayLike) -> Ints:
    """Cells [shape=(n, 8), int64] of fairseq's octuple ids [shape=(8 * k,)], without special octuples."""
    table = np.asarray(ids, np.int64).reshape(-1, N_FIELDS)
    table = table[table[:, 0] >= FIELD_OFFSETS[0]]
    cells: Ints = table - np.asarray(FIELD_OFFSETS)
    for column, count in enumerate(FIELD_SIZES):
        cells[table[:, column] == PAD, column] = count
        cells[table[:, column] == MASK, column] = count + 1
    return cells
