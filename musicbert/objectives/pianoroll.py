"""The piano-roll target of M2BERT: for every note, what sounds in its bar and at its onset.

A bar is a grid of 16 sixteenths by 98 columns: 12 of chroma (``pitch % 12`` counted from MIDI 22, so column 0
is A sharp) and 86 of pitch (MIDI 22-107). Every note adds 1 to its chroma column and its pitch column in the
sixteenths that it sounds; what exceeds the bar goes into the first sixteenths of the next one, once.
Each row is then divided so that its chroma part and its pitch part sum to 1 each; silent rows are 0. The
target of a note is the grid of its bar, row by row, and after it the row of its own onset (the tatum):
``17 * 98 = 1,666`` numbers. ``chroma=False`` leaves out the 12 columns: ``17 * 86 = 1,462``.

Compound words (published, and compatible by default): a bar is what lies between two tokens "Bar New"; a
crop's first bar may begin in the middle; the next bar is the next one with notes. A duration token ``d`` (``d
+ 1`` thirty-seconds) fills ``round((d + 1) / 2)`` sixteenths, halves to even, so a thirty-second fills none;
``shortest=1`` lets it fill one.

OctupleMIDI (ours): bars by their number, and overflow only into a bar whose number follows; onset ``position
// 4``; duration rounded to sixteenths, at least one; what lies after the 16th sixteenth of a longer bar is
left out (its notes have a silent tatum), and shorter bars end where their time signature says; pitches
outside MIDI 22-107 go to the nearest column, and drums have no column.

The work is in two steps: `roll_events` (five small integers a note, made by the data loader) and the raster,
here in NumPy (`rasterise`) and in ``musicbert.model.losses.pianoroll`` on the device.
"""

from typing import Final

import numpy as np

from musicbert.arrays import Ints, Singles
from musicbert.encoding.compound_word.vocabulary import DURATIONS, HIGH_PITCH, LOW_PITCH, POSITIONS
from musicbert.encoding.quantise import BAR_LENGTHS, duration_value
from musicbert.objectives.note_fields import NoteFields

ROWS, CHROMA, PITCHES = POSITIONS, 12, HIGH_PITCH - LOW_PITCH + 1
#: least sum of a row that it is divided by
_LEAST_SUM = 0.1
#: sixteenths of each duration token of compound words (Python and NumPy round halves to even)
DURATION_SIXTEENTHS: Final[Ints] = np.rint((np.arange(DURATIONS) + 1) / 2).astype(np.int64)
#: columns of `roll_events`
EVENT = ("bar", "row", "end", "spill", "pitch")
#: positions of OctupleMIDI in a sixteenth
_FINER = 4
_DRUMS = 128


def roll_size(*, chroma: bool = True) -> int:
    """Numbers of a target: 1,666, or 1,462 without chroma."""
    return (ROWS + 1) * (PITCHES + CHROMA * chroma)


def roll_events(cells: Ints, fields: NoteFields, *, shortest: int | None = None) -> Ints:
    """Compute where each note sounds.

    ``cells``: undisturbed notes of one crop [shape=(n, F), int64]; rows of PAD may follow; ``shortest``:
    fewest sixteenths that a note fills; None: 0 for compound words (published), 1 for octuples.
    Returns [shape=(n, 5), int64] columns `EVENT`: bar of the crop from 0; row of the onset (16: none, the
    tatum is silent); end of the rows in this bar and in the next, both exclusive; column of the pitch from 0
    (-1: sounds nowhere).
    """
    events = np.zeros((len(cells), len(EVENT)), np.int64)
    events[:, 1], events[:, 4] = ROWS, -1
    real = cells[:, 0] != fields.pads[0]
    bar = fields.bars(cells[real]) if real.any() else np.zeros(0, np.int64)
    events[~real, 0] = bar[-1] if len(bar) else 0
    events[real, 0] = bar
    if fields.encoding == "cp":
        events[real, 1:] = _cp_events(cells[real], shortest or 0)
    else:
        events[real, 1:] = _octuple_events(cells[real], bar, fields, 1 if shortest is None else shortest)
    return events


def _cp_events(cells: Ints, shortest: int) -> Ints:
    row = cells[:, 1]
    end = row + np.maximum(DURATION_SIXTEENTHS[cells[:, 3]], shortest)
    return np.stack([row, np.minimum(end, ROWS), np.clip(end - ROWS, 0, ROWS), cells[:, 2]], axis=1)


def _octuple_events(cells: Ints, bar: Ints, fields: NoteFields, shortest: int) -> Ints:
    names = ("bar", "position", "program", "pitch", "duration", "time_signature")
    number, position, program, pitch, duration, metre = (cells[:, fields.index(name)] for name in names)
    length = np.maximum(-(-BAR_LENGTHS[metre] // _FINER), 1)  # sixteenths, a part of one counts as one
    row = position // _FINER
    end = row + np.maximum(np.rint(duration_value(duration) / _FINER).astype(np.int64), shortest)
    first = np.flatnonzero(np.diff(bar, prepend=-1))  # first note of each bar
    follows = np.append(np.diff(number[first]) == 1, False)[bar]
    spill = np.where(follows, np.clip(end - np.maximum(length, row + 1), 0, ROWS), 0)
    inside = np.minimum(np.minimum(end, np.maximum(length, row + 1)), ROWS)
    column = np.clip(pitch - LOW_PITCH, 0, PITCHES - 1)
    column = np.where((program == _DRUMS) | (pitch >= _DRUMS), -1, column)
    late = row >= ROWS
    return np.stack([np.where(late, ROWS, row), np.where(late, ROWS, inside), spill, column], axis=1)


def rasterise(events: Ints, *, chroma: bool = True) -> tuple[Singles, Singles]:
    """Draw the events of one crop.

    Returns ``bars`` [shape=(bars, 16, 98 or 86), float32]; ``tatums`` [shape=(n, 98 or 86), float32].
    """
    columns = CHROMA + PITCHES
    count = int(events[:, 0].max()) + 1 if len(events) else 0
    sounding = events[events[:, 4] >= 0]
    bar, row, end, spill, pitch = sounding.T
    spilling = (spill > 0) & (bar + 1 < count)
    # a note opens at its first row and closes at its end: the running sum over rows is what sounds
    begins = np.concatenate([bar * (ROWS + 1) + row, (bar + 1)[spilling] * (ROWS + 1)])
    ends = np.concatenate([bar * (ROWS + 1) + end, ((bar + 1) * (ROWS + 1) + spill)[spilling]])
    tone = np.concatenate([pitch, pitch[spilling]])
    cells = count * (ROWS + 1) * columns
    steps = np.zeros(cells, np.int64)
    for column in (tone % CHROMA, CHROMA + tone):
        steps += np.bincount(begins * columns + column, minlength=cells)
        steps -= np.bincount(ends * columns + column, minlength=cells)
    grid = steps.reshape(count, ROWS + 1, columns).cumsum(axis=1).astype(np.float32)
    grid = grid / np.maximum(grid.sum(axis=2, keepdims=True), np.float32(_LEAST_SUM)) * np.float32(2)
    if not chroma:
        grid = grid[:, :, CHROMA:]
    return grid[:, :ROWS], grid[events[:, 0], events[:, 1]]


def roll_target(
    cells: Ints, fields: NoteFields, *, chroma: bool = True, shortest: int | None = None
) -> Singles:
    """Target of every note of a crop [shape=(n, 1666 or 1462), float32] (see `roll_events`)."""
    events = roll_events(cells, fields, shortest=shortest)
    bars, tatums = rasterise(events, chroma=chroma)
    return np.concatenate([bars.reshape(len(bars), -1)[events[:, 0]], tatums], axis=1)
