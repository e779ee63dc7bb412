"""The four fields of a compound word, their ids, and the dictionary of M2BERT and MidiBERT.

=====  ==========  ====  ==============================================================  ====  ====
index  field       size  ids of values                                                   PAD   MASK
=====  ==========  ====  ==============================================================  ====  ====
0      bar         4     0 first note of a bar that has notes ("New"), 1 later note      2     3
1      position    18    0-15, sixteenths of a whole note from the bar line              16    17
2      pitch       88    0-85, MIDI pitch 22-107                                         86    87
3      duration    66    0-63, (id + 1) / 32 of a whole note                             64    65
=====  ==========  ====  ==============================================================  ====  ====

There are no tokens for velocity, tempo, program, time signature, or the ends of a sequence.

Reference: Chou et al. 2021 (MidiBERT-Piano), section 3.1; Hsiao et al. 2021 (compound words).
"""

from typing import Final

from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.encoding.vocabulary import check_table

#: Names of the columns of a row.
FIELDS: Final = ("bar", "position", "pitch", "duration")
N_FIELDS: Final = len(FIELDS)
#: Values of the field bar.
NEW, CONTINUE = 0, 1
#: Sixteenths of a bar, and durations (multiples of 1/32 of a whole note).
POSITIONS, DURATIONS = 16, 64
#: Lowest and highest MIDI pitch that has an id.
LOW_PITCH, HIGH_PITCH = 22, 107
#: Number of values of each column, without PAD and MASK.
FIELD_VALUES: Final = (2, POSITIONS, HIGH_PITCH - LOW_PITCH + 1, DURATIONS)
#: Number of ids of each column, PAD and MASK included.
FIELD_SIZES: Final = tuple(values + 2 for values in FIELD_VALUES)
#: The row of PAD, and that of MASK.
PAD_ROW: Final = FIELD_VALUES
MASK_ROW: Final = tuple(values + 1 for values in FIELD_VALUES)


def dictionary() -> tuple[dict[str, dict[str, int]], dict[str, dict[int, str]]]:
    """Words and ids of each field under upstream's names, as in its ``CP.pkl``.

    Returns ``event2word`` (``["Position"]["Position 1/16"] == 0``) and its inverse ``word2event``.
    """
    names: tuple[list[str], ...] = (
        ["New", "Continue"],
        [f"{slot + 1}/{POSITIONS}" for slot in range(POSITIONS)],
        [str(pitch) for pitch in range(LOW_PITCH, HIGH_PITCH + 1)],
        [str(duration) for duration in range(DURATIONS)],
    )
    event2word = {
        field.title(): {
            f"{field.title()} {name}": number for number, name in enumerate([*values, "<PAD>", "<MASK>"])
        }
        for field, values in zip(FIELDS, names, strict=True)
    }
    word2event = {field: {number: word for word, number in ids.items()} for field, ids in event2word.items()}
    return event2word, word2event


def check_rows(rows: ArrayLike) -> Ints:
    """Return rows as an int64 matrix whose ids are in range (PAD and MASK included); see `check_table`."""
    return check_table(rows, FIELDS, FIELD_SIZES)
