"""`Codec`: one contract for all encodings of notes, so that tasks, shards and models need not know which.

A codec turns a `Score` (or `BeatNotes`) into rows, one a note, and says which note each row came from: labels
of notes are joined through that index and cannot shift when an encoding sorts or drops notes. The codecs
themselves are in `musicbert.encoding.codecs`.
"""

from dataclasses import dataclass
from typing import Protocol

from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.midi import Score


@dataclass(frozen=True)
class Field:
    """One column of rows.

    ``name``: such as ``pitch``. ``size``: ids of the column. Of compound words PAD and MASK are two of them;
    OctupleMIDI's are not, since its fields share one vocabulary (`rows_to_ids`), in which PAD and MASK are
    tokens of their own. ``pad``, ``mask``: id of PAD and of MASK: in the column (compound words), or in the
    shared vocabulary (OctupleMIDI).
    """

    name: str
    size: int
    pad: int
    mask: int


class Codec(Protocol):
    """An encoding of notes as rows of integers."""

    @property
    def name(self) -> str:
        """Name that `get_codec` knows it by."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns of a row."""

    def encode(self, notes: Score | BeatNotes) -> tuple[Ints, Ints]:
        """Encode notes.

        Returns
        -------
        rows
            [shape=(n, F), int64]
        note_index
            [shape=(n,), int64]: row i is note ``note_index[i]``. Notes that were dropped are missing.

        Raises
        ------
        MidiError
            What cannot be encoded.
        """

    def decode(self, rows: ArrayLike) -> Score:
        """Turn rows back into music.

        Raises
        ------
        MidiError
            ``no-notes``, ``bad-value``.
        """
