"""`read_notation`: the bytes of a written score become a `Score`."""

import contextlib
import io
import warnings
from typing import Any, Literal

from musicbert.errors import MidiError, first_line
from musicbert.midi.limits import ReadLimits, TimeUpError, deadline
from musicbert.midi.notation.abc import abc_text
from musicbert.midi.notation.files import (
    ABC,
    HUMDRUM,
    MEI,
    MUSICXML,
    MXL,
    plain_text,
    unpacked,
    xml_text,
)  # fmt: skip
from musicbert.midi.notation.humdrum import humdrum_text
from musicbert.midi.notation.mei import mei_text
from musicbert.midi.notation.musicxml import musicxml_text
from musicbert.midi.notation.parts import read_parts
from musicbert.midi.score import Score

Repeats = Literal["once", "played"]
#: names of the formats in music21
_FORMATS = {MUSICXML: "musicxml", MXL: "musicxml", ABC: "abc", HUMDRUM: "humdrum", MEI: "mei"}
#: Largest file where nothing can interrupt music21, which takes some seconds for it.
_UNTIMED_BYTES = 4 << 20


def read_notation(
    data: bytes, notation: str, *, limits: ReadLimits, path: str | None = None, repeats: Repeats = "once"
) -> Score:
    """Read a written score in the format ``notation`` (`notation_format`).

    Raises `MidiError`: ``no-music21``, ``bad-score``, ``unsupported-notation``, ``several-pieces``,
    ``no-notes``, ``too-large``, ``too-many-notes``, ``timeout``.
    """
    converter = _music21(notation, path)
    remarks: list[str] = []
    transposed, written = False, None
    tempi: list[tuple[float, float]] = []
    metres: dict[int, tuple[int, int]] = {}
    if notation in (MUSICXML, MXL, MEI):
        content = unpacked(data, limits, path) if notation == MXL else data
        text, tags = xml_text(content, notation, path)
        if notation == MEI:
            text, tempi, written = mei_text(text, tags, remarks, path)
            transposed = "trans.semi" in text
        else:
            if not (tags["score-partwise"] or tags["score-timewise"]):
                raise MidiError("bad-score", "it is XML, but not a score in MusicXML", path=path)
            text, written = musicxml_text(text, tags, remarks)
            transposed = tags["transpose"] > 0
    else:
        text = plain_text(data)
        if notation == ABC:
            tune = abc_text(text, remarks, path)
            text, metres, written = tune.text, tune.metres, tune.notes
        else:
            text = humdrum_text(text, remarks, path)
    hint = "raise ReadLimits.timeout if you trust the file"
    with deadline(limits.timeout, len(text), path, most=_UNTIMED_BYTES, hint=hint):
        try:
            found = _parsed(converter, text, _FORMATS[notation], remarks)
            scores = list(found.scores) if "Opus" in found.classes else [found]
            if len(scores) != 1:
                hint = "give each a file of its own"
                raise MidiError(
                    "several-pieces", f"the file holds {len(scores)} pieces", path=path, hint=hint
                )
            score = scores[0].expandRepeats() if repeats == "played" else scores[0]
            how: dict[str, Any] = {"tempi": tempi, "metres": metres, "transposed": transposed}
            how["written"] = written if repeats == "once" else None
            return read_parts(score, notation, remarks, **how, max_notes=limits.max_notes, path=path)
        except (MidiError, MemoryError, TimeUpError):
            raise
        except Exception as error:  # music21 raises whatever its parsers meet
            raise MidiError(
                "bad-score",
                f"music21 cannot read the {notation}: {first_line(error)}",
                path=path,
                hint="the file is damaged, or uses what music21 does not know; export it again",
            ) from error


def _parsed(converter: Any, text: str, form: str, remarks: list[str]) -> Any:
    """Parse a text; what music21 warns of and prints becomes a remark."""
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stderr(printed):
        warnings.simplefilter("always")
        found = converter.parseData(text, format=form)
    said = [str(each.message) for each in caught] + printed.getvalue().splitlines()
    said = [" ".join(each.split()) for each in said if each.strip()]
    if said:
        more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
        remarks.append(f"music21: {said[0]}{more}")
    return found


def _music21(notation: str, path: str | None) -> Any:
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it advertises optional packages there
            from music21 import converter
    except ImportError as error:
        raise MidiError(
            "no-music21",
            f"it is {notation}, a written score, and reading it needs music21",
            path=path,
            hint="pip install 'musicbert[scores]'",
        ) from error
    return converter
