"""Written scores: MusicXML (also compressed), ABC, Humdrum and MEI become a `Score`.

music21 (BSD-3-Clause, extra ``scores``) parses all of them and is imported when the first is read. It is
pure Python: a thousand notes take about a second. What it passes over without a word is rewritten before
(`.abc`, `.mei`, `.musicxml`), refused (``unsupported-notation``), or said.

What a score does not hold is not invented: every note has the velocity `VELOCITY`, onsets and durations are
exactly as written. `Score.notation` names the format and `Score.remarks` says what was left out or assumed.

- ties become one note; grace and cue notes are left out, ornaments and articulation are not played
- repeats and endings come once, in the order on the page (``repeats="played"`` unfolds them)
- a tempo mark counts where it has a number; without one 120 quarter notes a minute are implied
- pitches are those that sound: transposing instruments are transposed
- a pickup bar is moved to the end of a first whole bar; a bar shorter or longer than its time signature has
  a time signature of its own
- each staff (MusicXML, MEI), spine (Humdrum) or voice (ABC) is a track
- unpitched notes are percussion, with the keys that the file names
"""

from musicbert.midi.notation.files import notation_format
from musicbert.midi.notation.parts import VELOCITY
from musicbert.midi.notation.reader import Repeats, read_notation

#: Suffixes of files that are written scores. ``.xml`` may be anything: such a file is read where it is named.
NOTATION_SUFFIXES = (".musicxml", ".mxl", ".abc", ".krn", ".mei")

__all__ = ["NOTATION_SUFFIXES", "VELOCITY", "Repeats", "notation_format", "read_notation"]
