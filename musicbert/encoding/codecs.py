"""The codecs by name (see `Codec`).

==============  =========================================================================================
name            rows
==============  =========================================================================================
``octuple``     eight columns of OctupleMIDI, as `encode` makes them
``cp``          four columns of compound words (bar, position, pitch, duration), nothing lost on the way
``cp-m2bert``   the same as M2BERT's program makes them, faults included
``cp-midibert`` the same as MidiBERT's program makes them
==============  =========================================================================================
"""

from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.encoding.beat_notes import BeatNotes, beat_notes_to_score
from musicbert.encoding.codec import Codec, Field
from musicbert.encoding.compound_word.codec import CompoundWordCodec
from musicbert.encoding.decode import decode
from musicbert.encoding.octuple import encode_notes
from musicbert.encoding.policies import WHOLE
from musicbert.encoding.vocabulary import FIELD_SIZES, FIELDS, MASK, PAD
from musicbert.midi import Score


class OctupleCodec:
    """OctupleMIDI (Zeng et al. 2021) of whole pieces, otherwise with the published policies.

    `BeatNotes` become 4/4 at 120 BPM.
    """

    name = "octuple"
    fields = tuple(Field(name, size, PAD, MASK) for name, size in zip(FIELDS, FIELD_SIZES, strict=True))

    def encode(self, notes: Score | BeatNotes) -> tuple[Ints, Ints]:
        """Encode notes (see `Codec`)."""
        score = beat_notes_to_score(notes) if isinstance(notes, BeatNotes) else notes
        return encode_notes(score, policies=WHOLE)

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
        return CompoundWordCodec(name)
    raise ValueError(f"an encoding is one of {', '.join(CODECS)}, not {name!r}")
