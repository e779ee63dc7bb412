"""ABC as music21 is to read it.

music21 10 passes over much of a tune without a word: fields inside a line (``[L:1/16]``), changes of the
time signature, rests of whole bars, invisible rests, accidentals and ties of chords, voices that return or
are not numbered; and it cuts bars that are too long. Here each voice is put together and numbered, fields get
lines of their own, accidentals, rests and tuplets are written out, time signatures are kept apart, counted
in bars. What cannot be put right is refused (overlays), or said.
"""

import re
from copy import copy
from dataclasses import dataclass, field
from fractions import Fraction

from musicbert.errors import MidiError

_TUNE = re.compile(r"^X:", re.MULTILINE)
_FIELD = re.compile(r"^([A-Za-z+]):(?!\|)(.*)")
_INLINE = re.compile(r"\[([A-Za-z]):([^\]\n]*)\]")
#: chord names, annotations and decorations: nothing of them is played
_UNPLAYED = re.compile(r'"[^"\n]*"|![^!\n]*!')
_SIGN = re.compile(r"[~.HLMOPSTuv]+(?=[\^_=A-Ga-gxzZ\[({])")
_BAR_LINE = re.compile(r"[\[\]:|]*(?:\||::)[\[\]:|]*[\d,.-]*")
_CHORD_TIE = re.compile(r"\[([^\]\n|]*)\]([\d/]*)-")
_TUPLET = re.compile(r"\(([2-9])(?![\d:])")
#: between a note and a colon, which look like a field
_FIELD_LIKE = re.compile(r"(?<=[A-Ga-gz])(?=:)")
_GRACE = re.compile(r"\{[^}]*\}")
#: a note, tie and sign of a dotted rhythm before another note: music21 passes over the sign at a tie
_UNEVEN = re.compile(
    r"(?P<note>[\^_=]{0,2}[A-Ga-g][,']*)(?P<length>[\d/]*)-?(?P<sign>[<>]+)-?(?=(?P<next>[\^_=]{0,2}[A-Ga-g][,']*))"
)
_SLUR = re.compile(r"\((?!\d)|\)")
_REST = re.compile(r"[ZX](\d*)")
_MOST_BARS = 1000
_DIALECT = "%abc-2.1\n%%propagate-accidentals not"
#: a bar line, a note with its length and tie, or the end of a chord
_PITCH = re.compile(
    r"(?P<bar>\||::)|(?P<begin>\[)|(?P<sign>[\^_=]{0,2})(?P<name>[A-Ga-g][,']*)(?P<length>[\d/]*)(?P<tie>-?)"
    r"|(?P<end>\][\d/]*)(?P<chord>-?)"
)
#: the name of this chord before a chord says that it is tied (see `abc_text`)
TIED = '"C"'


@dataclass
class Tune:
    """What music21 is given, the time signatures by bar, which it does not take, and the number of notes."""

    text: str
    metres: dict[int, tuple[int, int]]
    notes: int


@dataclass
class _Voice:
    """Lines of a voice; lengths in whole notes; bars so far, and whether the present one has notes.

    ``held``: accidentals of the bar by letter; ``tied``: those of notes tied to the next; ``chord``: those of
    the present chord.
    """

    bar: Fraction = Fraction(1)
    metre: tuple[int, int] = (4, 4)
    unit: Fraction = Fraction(1, 8)
    given: bool = False
    lines: list[str] = field(default_factory=list)
    metres: dict[int, tuple[int, int]] = field(default_factory=dict)
    bars: int = 0
    notes: int = 0
    graces: int = 0
    held: dict[str, str] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    chord: dict[str, str] = field(default_factory=dict)
    begun: bool = False

    def take(self, name: str, value: str) -> None:
        """Follow the fields M and L."""
        value = value.strip()
        metre = {"C": (4, 4), "C|": (2, 2)}.get(value) or _fraction(value)
        if metre is None:
            return
        share = Fraction(*metre)
        if name == "L":
            self.unit, self.given = share, True
            return
        self.bar, self.metre = share, metre
        self.metres[self.bars + self.begun] = metre
        if not self.given and not self.lines:
            self.unit = Fraction(1, 8 if share >= Fraction(3, 4) else 16)

    def change(self, name: str, value: str) -> None:
        """Take a field inside the tune; the time signature stays here."""
        if name in "LM":
            self.take(name, value)
        if name in "KL":
            self.lines.append(f"{name}:{value}")

    def accidentals(self, text: str) -> str:
        """Write the accidentals of a bar, and of ties, before every note that they hold for.

        They hold in all octaves (ABC 2.1, 11.3: "pitch" is the default).
        """

        def written(match: re.Match[str]) -> str:
            if match["bar"]:
                self.held, self.chord = {}, {}
                return match[0]
            if match["begin"]:
                self.chord = {}
                return match[0]
            if match["end"]:
                if match["chord"]:
                    self.tied.update({name: sign for name, sign in self.chord.items() if sign})
                self.chord = {}
                return match[0]
            name, sign = match["name"], match["sign"]
            letter = name[0].lower()
            if sign:
                self.held[letter] = sign
            sign = sign or self.held.get(letter, "") or self.tied.get(name, "")
            self.tied.pop(name, None)
            if match["tie"] and sign:
                self.tied[name] = sign
            self.chord[name] = sign
            return f"{sign}{name}{match['length']}{match['tie']}"

        return _PITCH.sub(written, text)

    def count(self, text: str) -> None:
        """Count the bars of a piece of music."""
        at = 0
        for line in _BAR_LINE.finditer(text):
            self.begun |= _has_notes(text[at : line.start()])
            self.bars += self.begun
            self.begun, at = False, line.end()
        self.begun |= _has_notes(text[at:])


def abc_text(text: str, remarks: list[str], path: str | None) -> Tune:
    """Rewrite a tune. Chord names are left out, but one (`TIED`) stands before every tied chord.

    Raises `MidiError`: ``several-pieces`` (a tune book), ``unsupported-notation``.
    """
    tunes = len(_TUNE.findall(text))
    if tunes > 1:
        hint = "give each a file of its own"
        raise MidiError("several-pieces", f"the ABC file holds {tunes} tunes", path=path, hint=hint)
    header = [_DIALECT, "X:1", "K:C"]
    start, voices, unread = _Voice(), dict[str, _Voice](), dict[str, None]()
    now, in_header = "", True
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if voices and not line.strip():  # an empty line ends a tune (ABC 2.1, 2.2.2)
            if any(rest.strip() and not rest.startswith("%") for rest in lines[number:]):
                unread["what follows an empty line"] = None
            break
        if line.startswith("%%MIDI"):
            unread["%%MIDI directives"] = None
        if "propagate-accidentals" in line:
            unread[line.strip("% ")] = None
        bare = re.sub(r"(?<!\\)%.*", "", line).strip()
        if found := _FIELD.match(bare):
            name, value = found[1], found[2].strip()
            _look(name, value, in_header, unread, path)
            if name == "V":
                now = value.split()[0] if value else now
                if not in_header:
                    voices.setdefault(now, _fresh(start))
            elif in_header:
                if name in "ML":
                    start.take(name, value)
                if name == "Q":
                    header.insert(2, f"Q:{start.unit}={value}" if value.isdecimal() else bare)
                elif name == "K":
                    header[-1] = bare
                in_header = name != "K"
                if not in_header:
                    now = ""
            elif name in "KLM":
                voices.setdefault(now, _fresh(start)).change(name, value)
        elif bare:
            at, bare = 0, _UNPLAYED.sub("", f"{bare[0]} {bare[1:]}" if bare[1:2] == ":" else bare)
            for inline in _INLINE.finditer(bare):
                name, value = inline[1], inline[2].strip()
                _music(bare[at : inline.start()], voices.setdefault(now, _fresh(start)), path)
                at = inline.end()
                _look(name, value, False, unread, path)
                if name == "V" and value:
                    now = value.split()[0]
                elif name in "KLM":
                    voices.setdefault(now, _fresh(start)).change(name, value)
            _music(bare[at:], voices.setdefault(now, _fresh(start)), path)
    header[-1:-1] = ["M:none", f"L:{start.unit}"]  # before the key
    sounding = [voice for voice in voices.values() if voice.bars or voice.begun]
    for number, voice in enumerate(sounding, start=1):
        header += [f"V:{number}"] * (len(sounding) > 1) + voice.lines
    if graces := sum(voice.graces for voice in sounding):
        remarks.append(f"{graces} grace note{'s' * (graces != 1)} left out")
    if unread:
        remarks.append(f"not read: {', '.join(unread)}")
    return Tune(
        "\n".join(header) + "\n", sounding[0].metres if sounding else {}, sum(v.notes for v in sounding)
    )


def _fresh(start: _Voice) -> _Voice:
    voice = copy(start)
    voice.lines, voice.metres = [], dict(start.metres)
    voice.held, voice.tied, voice.chord = {}, {}, {}
    return voice


def _look(name: str, value: str, header: bool, unread: dict[str, None], path: str | None) -> None:
    """Notice what a field asks for and music21 does not do."""
    if name == "K" and re.search(r"\bexp\b|^H[Pp]\b", value):
        raise MidiError("unsupported-notation", f"music21 misreads the key {value!r}", path=path)
    if name in "KV":
        for found in re.finditer(r"(?:octave|transpose|shift|score|sound)=\S+|(?:clef=)?[\w]*[+-]8\b", value):
            unread[found[0]] = None
    if name == "Q" and not header:
        unread["changes of tempo"] = None
    if name == "m":
        unread["macros"] = None
    if name == "P" and header and len(value) > 1:
        unread[f"the order of parts {value}"] = None


def _fraction(text: str) -> tuple[int, int] | None:
    match = re.match(r"([\d+]+)\s*/\s*(\d+)", text.strip("() "))
    if not match or int(match[2]) == 0:
        return None
    count = sum(int(each) for each in match[1].split("+") if each)
    return (count, int(match[2])) if count else None


def _has_notes(text: str) -> bool:
    return re.search(r"[A-Ga-gz]", text) is not None


def _without_tie(match: re.Match[str]) -> str:
    """Leave out a tie to another note, which is a slur."""
    if match["note"] == match["next"]:
        return match[0]
    return f"{match['note']}{match['length']}{match['sign']}"


def _music(text: str, voice: _Voice, path: str | None) -> None:
    """Add notes to a voice."""
    if "&" in text:
        hint = "write them as voices (V:)"
        message = "the ABC overlays voices (&), which music21 reads one after the other"
        raise MidiError("unsupported-notation", message, path=path, hint=hint)

    def bars(match: re.Match[str]) -> str:
        return "|".join([f"z{voice.bar / voice.unit}"] * min(int(match[1] or 1), _MOST_BARS))

    text = _REST.sub(bars, _SIGN.sub("", text)).replace("x", "z").replace("y", " ")
    voice.count(text)
    text = voice.accidentals(_SLUR.sub("", text))
    compound = voice.metre[0] % 3 == 0 and voice.metre[0] > 3
    played = {3: 2, 6: 2, 2: 3, 4: 3, 8: 3}  # notes in the time of that many (ABC 2.1, 4.13)
    text = _TUPLET.sub(lambda m: f"({m[1]}:{played.get(int(m[1]), 3 if compound else 2)}:{m[1]}", text)
    for grace in _GRACE.findall(text):  # in a tuplet music21 takes them for one of its notes
        voice.graces += len(re.findall("[A-Ga-g]", grace))
    text = _UNEVEN.sub(_without_tie, _GRACE.sub("", text))
    voice.notes += len(re.findall("[A-Ga-g]", text))
    text = _CHORD_TIE.sub(rf"{TIED}[\1]\2", text)
    if re.search(r"\[[^\]\n|:]*-[^\]\n|:]*\]", text):
        message = "the ABC ties single notes of a chord, which music21 does not read"
        raise MidiError("unsupported-notation", message, path=path)
    if text.strip():
        voice.lines.append(_FIELD_LIKE.sub(" ", text))
