"""The same small piece in five notations, as the tests of written scores need it, and pieces of MusicXML.

Pickup, a scale, a note tied over its bar, a chord, a change to 3/4 with a triplet and a grace note; two
staves.
"""

import io
import zipfile
from fractions import Fraction

#: onset and duration [quarter notes, from the first full bar], pitch; upper and lower staff
UPPER = [
    (-1, 1, 60), (0, 1, 62), (1, 1, 64), (2, 1, 65), (3, 1, 67), (4, 3, 69), (7, 1, 72),
    (8, Fraction(1, 3), 74), (Fraction(25, 3), Fraction(1, 3), 76), (Fraction(26, 3), Fraction(1, 3), 77),
    (9, 1, 76), (10, 1, 74),
]  # fmt: skip
LOWER = [(-1, 1, 48), (0, 4, 48), (4, 2, 43), (6, 2, 52), (6, 2, 55), (8, 3, 48)]

ABC = """X:1
T:Scale
M:4/4
L:1/4
Q:1/4=90
V:high clef=treble
V:low clef=bass
K:C
V:high
C|DEFG|
V:low
C,|C,4|
V:high
A2- A c|[M:3/4](3d/e/f/ {g}e d|]
V:low
G,,2 [E,G,]2|[M:3/4]C,3|]
"""

KRN = """**kern\t**kern
*staff2\t*staff1
*M4/4\t*M4/4
*MM90\t*MM90
4C\t4c
=1\t=1
1C\t4d
.\t4e
.\t4f
.\t4g
=2\t=2
2GG\t[2a
2E 2G\t4a]
.\t4cc
=3\t=3
*M3/4\t*M3/4
2.C\t12dd
.\t12ee
.\t12ff
.\tggq
.\t4ee
.\t4dd
==\t==
*-\t*-
"""


def _mei_note(text: str, more: str = "") -> str:
    name, octave, length = text
    return f'<note pname="{name}" oct="{octave}" dur="{length}" {more}/>'


def mei_measure(upper: str, lower: str, more: str = "") -> str:
    """A measure of two staves."""
    staves = (f'<staff n="{n}"><layer n="1">{each}</layer></staff>' for n, each in ((1, upper), (2, lower)))
    return f"<measure {more}>{''.join(staves)}</measure>"


def mei(
    *content: str,
    metre: str = 'meter.count="4" meter.unit="4"',
    inside: str = "",
    staff: str = "",
    staves: int = 2,
) -> str:
    """An MEI file with the measures."""
    staff_defs = "".join(
        f'<staffDef n="{n}" lines="5" clef.shape="G" clef.line="2" {staff}/>' for n in range(1, staves + 1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<mei xmlns="http://www.music-encoding.org/ns/mei"><music><body>'
        f"<mdiv><score><scoreDef {metre}>{inside}<staffGrp>{staff_defs}</staffGrp></scoreDef>"
        f"<section>{''.join(content)}</section></score></mdiv></body></music></mei>"
    )


MEI = mei(
    mei_measure(_mei_note("c44"), _mei_note("c34"), 'n="0" metcon="false"'),
    mei_measure("".join(map(_mei_note, ("d44", "e44", "f44", "g44"))), _mei_note("c31"), 'n="1"'),
    mei_measure(
        _mei_note("a42", 'tie="i"') + _mei_note("a44", 'tie="t"') + _mei_note("c54"),
        _mei_note("g22") + '<chord dur="2"><note pname="e" oct="3"/><note pname="g" oct="3"/></chord>',
        'n="2"',
    ),
    '<scoreDef><meterSig count="3" unit="4"/></scoreDef>',
    mei_measure(
        f'<tuplet num="3" numbase="2">{"".join(map(_mei_note, ("d58", "e58", "f58")))}</tuplet>'
        + _mei_note("g58", 'grace="acc"')
        + _mei_note("e54")
        + _mei_note("d54"),
        _mei_note("c32", 'dots="1"'),
        'n="3"',
    ),
    metre='meter.count="4" meter.unit="4" midi.bpm="90"',
)


def note(
    name: str, quarters: int | float, more: str = "", *, voice: int = 1, staff: int = 1, divisions: int = 6
) -> str:
    """A note of MusicXML such as ``C4``; ``more``: elements before its pitch (chord, cue, grace)."""
    pitch = f"<pitch><step>{name[0]}</step><octave>{name[1:]}</octave></pitch>"
    length = f"<duration>{round(quarters * divisions)}</duration>" if quarters else ""
    return f"<note>{more}{pitch}{length}<voice>{voice}</voice><staff>{staff}</staff></note>"


def attributes(beats: int = 4, unit: int = 4, more: str = "", *, divisions: int = 6) -> str:
    """The attributes of a first measure."""
    time = f"<time><beats>{beats}</beats><beat-type>{unit}</beat-type></time>"
    return f"<attributes><divisions>{divisions}</divisions>{time}{more}</attributes>"


def musicxml(*measures: str, part: str = "<part-name>Piano</part-name>") -> str:
    """A MusicXML file of one part."""
    bars = "".join(f'<measure number="{n}">{each}</measure>' for n, each in enumerate(measures, 1))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD '
        'MusicXML 4.0 Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">\n'
        '<score-partwise version="4.0"><part-list>'
        f'<score-part id="P1">{part}</score-part></part-list><part id="P1">{bars}</part></score-partwise>'
    )


def _two(upper: str, lower: str, quarters: int) -> str:
    return f"{upper}<backup><duration>{quarters * 6}</duration></backup>{lower}"


def _low(name: str, quarters: int, more: str = "") -> str:
    return note(name, quarters, more, voice=5, staff=2)


_TEMPO = (
    "<direction><direction-type><metronome><beat-unit>quarter</beat-unit><per-minute>90</per-minute>"
    '</metronome></direction-type><sound tempo="90"/></direction>'
)
_GRACE = note("G5", 0, "<grace/>")
MUSICXML = musicxml(
    attributes(more="<staves>2</staves>") + _TEMPO + _two(note("C4", 1), _low("C3", 1), 1),
    _two("".join(note(name, 1) for name in ("D4", "E4", "F4", "G4")), _low("C3", 4), 4),
    _two(
        note("A4", 2).replace("<voice>", "<tie type='start'/><voice>")
        + note("A4", 1).replace("<voice>", "<tie type='stop'/><voice>")
        + note("C5", 1),
        _low("G2", 2) + _low("E3", 2) + _low("G3", 2, "<chord/>"),
        4,
    ),
    attributes(3, 4)
    + _two(
        "".join(note(name, 1 / 3) for name in ("D5", "E5", "F5")) + _GRACE + note("E5", 1) + note("D5", 1),
        _low("C3", 3),
        3,
    ),
)


def compressed(text: str, *, name: str = "score.xml", container: str | None = None) -> bytes:
    """A compressed MusicXML file."""
    if container is None:
        container = f'<container><rootfiles><rootfile full-path="{name}"/></rootfiles></container>'
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", container)
        archive.writestr(name, text)
    return file.getvalue()


#: name of a file -> its bytes
FILES = {
    "scale.musicxml": MUSICXML.encode(),
    "scale.mxl": compressed(MUSICXML),
    "scale.abc": ABC.encode(),
    "scale.krn": KRN.encode(),
    "scale.mei": MEI.encode(),
}
