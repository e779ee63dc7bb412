"""Moving the notes of OctupleMIDI on the grid of bars: every onset by a function, or the bar line itself."""

from collections.abc import Callable

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.encoding.quantise import BAR_LENGTHS, WHOLE_NOTE
from musicbert.encoding.vocabulary import FIELD_SIZES, FIELDS

_BAR, _POSITION, _METRE = (FIELDS.index(name) for name in ("bar", "position", "time_signature"))
LAST_BAR = FIELD_SIZES[_BAR] - 1
#: most places of the bar line: the positions of a bar of four quarter notes
MOST_PHASES = WHOLE_NOTE


def move_onsets(
    rows: Ints, move: Callable[[Ints], Ints | Floats], *, last_bar: int | None = LAST_BAR
) -> bool:
    """Move onsets in positions from the start of the first bar, in place.

    False, and nothing is moved, where bars have several lengths or notes would be after ``last_bar``.
    """
    metres = np.unique(rows[:, _METRE])
    length = int(BAR_LENGTHS[metres[0]])
    if len(metres) > 1 or rows[:, _POSITION].max() >= length:
        return False  # with several metres, bars have several lengths
    first = rows[:, _BAR].min()
    onsets = (rows[:, _BAR] - first) * length + rows[:, _POSITION]  # (n,)
    onsets = np.rint(move(onsets)).astype(np.int64)
    bars = first + onsets // length
    if last_bar is not None and bars.max() > last_bar:
        return False
    rows[:, _BAR], rows[:, _POSITION] = bars, onsets % length
    return True


def in_phase(rows: Ints, phase: int, phases: int, *, last_bar: int | None = LAST_BAR) -> Ints:
    """Rows whose clock began ``phase / phases`` of a bar earlier (to a whole position) [shape=(n, 8)].

    This is what encoding gives after the clock was moved before quantising. Phase 0, and what cannot be moved
    (`move_onsets`), are the rows as they are.
    """
    if phase and len(rows):
        rows = rows.copy()
        shift = round(phase * int(BAR_LENGTHS[rows[0, _METRE]]) / phases)
        move_onsets(rows, lambda onsets: onsets + shift, last_bar=last_bar)
    return rows
