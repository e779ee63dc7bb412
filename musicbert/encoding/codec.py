"""`Codec`: one contract for all encodings of notes, so that tasks, shards and models work with any of them.

A codec turns a `Score` (or `BeatNotes`) into rows, one a note, and says which note each row came from. Labels
of notes are joined through that index, so they stay right when an encoding sorts or drops notes. The codecs
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

    ``name``: such as ``pitch``. ``size``: number of ids of the column; those of compound words include PAD
    and MASK, those of OctupleMIDI do not. ``pad``, ``mask``: id of PAD and of MASK: in the column (compound
    words), or in the vocabulary that all fields share (OctupleMIDI, `rows_to_ids`).
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
        """Encode notes; raises `MidiError` for music that cannot be encoded.

        Returns ``rows`` [shape=(n, F), int64] and ``note_index`` [shape=(n,), int64]: row i is note
        ``note_index[i]``. Notes that were dropped are missing.
        """

    def decode(self, rows: ArrayLike) -> Score:
        """Turn rows back into music; raises `MidiError` (``no-notes``, ``bad-value``)."""
