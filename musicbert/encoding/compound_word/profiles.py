"""`Profile`: how notes become compound words: as in M2BERT, as in MidiBERT, or without their faults.

========================  ===========================  ==========================  ========================
question                  `M2BERT`                     `MIDIBERT`                  `CLEAN` (the default)
========================  ===========================  ==========================  ========================
ticks                     cut down to 480 a quarter    taken for 480 a quarter,    exact
                          note                         whatever the file says
notes shorter than 1/16   dropped                      kept                        kept
of a quarter note
pitch outside 22-107      moved to 22 or 107           error ``pitch-range``       moved by octaves
onset                     nearest sixteenth, but the   the same                    nearest sixteenth
                          one of the last note and
                          later ones are not allowed:
                          the end of the piece moves
                          a sixteenth early
all onsets 0              error ``no-grid`` (crash)    the same                    encoded
bars                      windows of 4/4               the same                    of the time signatures;
                                                                                   longer ones than 4/4 in
                                                                                   parts
order of notes            onset in ticks, track,       the same                    quantised onset, pitch,
                          pitch                                                    duration
`BeatNotes`: late onset   the last sixteenth of its    next bar's first            next bar's first
(3.95 of 4 beats)         bar
`BeatNotes`: pickup       dropped                      kept                        kept
`BeatNotes`: end          notes after the last whole   kept                        kept
                          bar line may be dropped
========================  ===========================  ==========================  ========================

MidiBERT's program converts `BeatNotes` to a score first.

Why the order differs: M2BERT sorts notes of one onset by track, and in POP909 the first track is the melody,
so the order gives the label away. The order by pitch does not (only notes that are equal in all four fields
keep the order of the source).
"""

from dataclasses import dataclass
from typing import Literal, get_args

Steps = Literal["published", "mended"]
Pitch = Literal["clip", "octave", "error"]
Metre = Literal["common", "written"]
Drums = Literal["keep", "drop"]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Choices of the encoder; see the table of this module for the three that have names.

    Attributes
    ----------
    name
        Name of the codec, such as ``cp``.
    steps
        Quantisation, order and bars: ``"published"``, or ``"mended"`` (without faults).
    pitch
        A pitch outside 22-107: ``"clip"`` to the nearest of the two (a C8 becomes a B7), move by
        ``"octave"`` (a C8 becomes a C7), or ``"error"``.
    min_duration
        Shortest note that is kept, in quarter notes; 0 keeps all.
    rescale
        Published steps: read ticks at the resolution of the file (M2BERT) or as if it were 480 (MidiBERT).
    metre
        Mended steps: bars of the ``"written"`` time signatures, or windows of ``"common"`` time as published.
    drums
        ``"keep"`` percussion as if its numbers were pitches, as published, or ``"drop"`` it.
    """

    name: str
    steps: Steps = "mended"
    pitch: Pitch = "octave"
    min_duration: float = 0.0
    rescale: bool = True
    metre: Metre = "written"
    drums: Drums = "keep"

    def __post_init__(self) -> None:
        for name, choices in (("steps", Steps), ("pitch", Pitch), ("metre", Metre), ("drums", Drums)):
            if getattr(self, name) not in get_args(choices):
                options = ", ".join(map(repr, get_args(choices)))
                raise ValueError(f"{name} is one of {options}, not {getattr(self, name)!r}")
        if not 0 <= self.min_duration < float("inf"):
            raise ValueError(f"min_duration is 0 or more quarter notes, not {self.min_duration}")
        if self.steps == "published" and self.metre != "common":
            raise ValueError('published steps know only metre="common"')
        if self.steps == "mended" and not self.rescale:
            raise ValueError("rescale=False belongs to the published steps")


#: Nothing lost on the way: the default.
CLEAN = Profile(name="cp")
#: M2BERT's program; its threshold leaves room for rounding.
M2BERT = Profile(
    name="cp-m2bert", steps="published", pitch="clip", min_duration=1 / 16 - 1e-4, metre="common"
)
#: MidiBERT's program.
MIDIBERT = Profile(name="cp-midibert", steps="published", pitch="error", rescale=False, metre="common")
PROFILES = {profile.name: profile for profile in (CLEAN, M2BERT, MIDIBERT)}
