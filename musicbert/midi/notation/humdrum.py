"""Humdrum before music21 reads it: one piece, whole, with notes; what is in it besides is said."""

import re

from musicbert.errors import MidiError

_SOUNDING = re.compile(r"\*\*(?:drum|mens|recip|IPA|semits?|MIDI|pitch|solfg|deg\b)[^\t\n]*")


def humdrum_text(text: str, remarks: list[str], path: str | None) -> str:
    """Check a Humdrum file; return it.

    Raises `MidiError`: ``bad-score`` (no ``**kern``, or cut off before ``*-``), ``several-pieces``.
    """
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("!")]
    begun = [line for line in lines if line.startswith("**")]
    if not any("**kern" in line for line in begun):
        raise MidiError("bad-score", "the Humdrum file has no **kern spine", path=path)
    if len(begun) > 1:
        hint = "give each a file of its own"
        raise MidiError("several-pieces", f"the Humdrum file holds {len(begun)} pieces", path=path, hint=hint)
    if set(lines[-1].split("\t")) != {"*-"}:
        raise MidiError("bad-score", "the Humdrum file does not end with *-: it is cut off", path=path)
    if other := sorted(set(_SOUNDING.findall(begun[0]))):
        remarks.append(f"not read: {', '.join(other)}")
    if any(line.startswith("*>[") for line in lines):
        remarks.append("the order of sections (*>[...]) is not followed: they come once, as on the page")
    return text
