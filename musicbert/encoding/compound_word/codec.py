"""The compound-word codec (see `musicbert.encoding.codec`)."""

from dataclasses import dataclass

from numpy.typing import ArrayLike

from musicbert.arrays import Ints
from musicbert.encoding.beat_notes import BeatNotes, beat_notes_to_score, check_beat_notes
from musicbert.encoding.codec import Field
from musicbert.encoding.compound_word import corrected, published
from musicbert.encoding.compound_word.decoder import decode
from musicbert.encoding.compound_word.profiles import CLEAN, PROFILES, Profile
from musicbert.encoding.compound_word.vocabulary import FIELD_SIZES, FIELDS, MASK_ROW, PAD_ROW
from musicbert.midi import Score
from musicbert.midi.columns import check_score


def encode_compound_words(notes: Score | BeatNotes, profile: Profile = CLEAN) -> tuple[Ints, Ints]:
    """Encode notes as rows [shape=(n, 4), int64] and their ``note_index`` (see `Codec`).

    ``profile``: `CLEAN`, `M2BERT`, `MIDIBERT`, or a variant (``dataclasses.replace(CLEAN, drums="drop")``).

    Raises
    ------
    MidiError
        As `check_score` or `check_beat_notes`; ``no-notes`` if no note is left, ``no-grid`` and
        ``pitch-range`` with published profiles.
    """
    if isinstance(notes, BeatNotes):
        if profile.steps == "published" and profile.rescale:  # M2BERT's benchmark; MidiBERT has no such path
            check_beat_notes(notes)
            return published.beat_rows(notes, profile)
        notes = beat_notes_to_score(notes)
    check_score(notes)
    if profile.steps == "published":
        return published.score_rows(notes, profile)
    return corrected.score_rows(notes, profile)


def accepted_for_pretraining(score: Score) -> bool:
    """Whether M2BERT pre-trains on a piece: it has one time signature event, and that is 4/4."""
    return (
        len(score.metre_tick) == 1
        and int(score.metre_numerator[0]) == 4
        and int(score.metre_denominator[0]) == 4
    )


@dataclass(frozen=True)
class CompoundWordCodec:
    """Compound words of one profile: ``cp``, ``cp-m2bert`` or ``cp-midibert`` (see `Codec`)."""

    name: str = CLEAN.name

    fields = tuple(Field(*field) for field in zip(FIELDS, FIELD_SIZES, PAD_ROW, MASK_ROW, strict=True))

    def __post_init__(self) -> None:
        if self.name not in PROFILES:
            raise ValueError(f"a profile is one of {', '.join(PROFILES)}, not {self.name!r}")

    @property
    def profile(self) -> Profile:
        """Profile of this name."""
        return PROFILES[self.name]

    def encode(self, notes: Score | BeatNotes) -> tuple[Ints, Ints]:
        """Encode notes (see `encode_compound_words`)."""
        return encode_compound_words(notes, self.profile)

    def decode(self, rows: ArrayLike) -> Score:
        """Turn rows back into music (see `decode`)."""
        return decode(rows)
