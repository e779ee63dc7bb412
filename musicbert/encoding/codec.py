"""`Codec`: one contract for all encodings of notes, so that tasks, shards and models need not know which.

A codec turns a `Score` (or `BeatNotes`) into rows, one a note, and says which note each row came from: labels
of notes are joined through that index and cannot shift when an encoding sorts or drops notes.

==============  =========================================================================================
name            rows
==============  =========================================================================================
``octuple``     eight columns of OctupleMIDI, as `encode` makes them
``cp``          four columns of compound words (bar, position, pitch, duration), nothing lost on the way
``cp-m2bert``   the same as M2BERT's own program makes them, faults included
``cp-midibert`` the same as MidiBERT's own program makes them
==============  =========================================================================================
"""

from dataclasses import dataclass
from typing import Protocol

from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.encoding.beat_notes import BeatNotes, beat_notes_to_score
from musicbert.encoding.decode import decode
from musicbert.encoding.octuple import encode_notes
from musicbert.encoding.vocabulary import FIELD_SIZES, FIELDS, MASK, PAD
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


class OctupleCodec:
    """OctupleMIDI (Zeng et al. 2021) with the published policies; `BeatNotes` become 4/4 at 120 BPM."""

    name = "octuple"
    fields = tuple(Field(name, size, PAD, MASK) for name, size in zip(FIELDS, FIELD_SIZES, strict=True))

    def encode(self, notes: Score | BeatNotes) -> tuple[Ints, Ints]:
        """Encode notes (see `Codec`)."""
        return encode_notes(beat_notes_to_score(notes) if isinstance(notes, BeatNotes) else notes)

    def decode(self, rows: ArrayLike) -> Score:
        """Turn rows back into music (see `Codec`)."""
        return decode(rows)


#: Names of the codecs.
CODECS = ("octuple", "cp", "cp-m2bert", "cp-midibert")


def get_codec(name: str) -> Codec:
    """Codec of a name.

    Raises
    ------
    ValueError
        The name is not one of `CODECS`.

    Examples
    --------
    >>> [field.size for field in get_codec("octuple").fields]
    [256, 128, 129, 256, 128, 32, 254, 49]
    """
    if name == "octuple":
        return OctupleCodec()
    if name in CODECS:
        from musicbert.encoding.compound_word.codec import CompoundWordCodec

        return CompoundWordCodec(name)
    raise ValueError(f"an encoding is one of {', '.join(CODECS)}, not {name!r}")
