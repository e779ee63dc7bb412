"""MEI as music21 is to read it.

music21 10 passes over endings, time signatures in elements of their own, rests of several bars and sounding
octaves without a word. Here they are put into the form that it reads; what cannot be is refused, or said.
"""

import contextlib
from collections import Counter
from copy import deepcopy
from xml.etree import ElementTree

from musicbert.errors import MidiError

_NS = "{http://www.music-encoding.org/ns/mei}"
#: without these notes would be missing, or last too long
_REFUSED = ("mRpt", "mRpt2", "multiRpt", "beatRpt", "halfmRpt", "fTrem", "app", "choice", "subst")
_NOTES = ("note", "chord", "rest")
#: marks of editors, and groups, whose notes stand for themselves
_UNWRAPPED = (
    "bTrem",
    "graceGrp",
    "supplied",
    "unclear",
    "add",
    "corr",
    "reg",
    "orig",
    "sic",
    "damage",
    "restore",
)


def mei_text(
    text: str, tags: Counter[str], remarks: list[str], path: str | None
) -> tuple[str, list[tuple[float, float]], int]:
    """Rewrite MEI; return it, the tempo at the beginning as in `parts.read_parts`, and the number of notes.

    Raises `MidiError`: ``several-pieces``, ``unsupported-notation``.
    """
    if tags["score"] != 1:
        raise MidiError(
            "several-pieces" if tags["score"] else "unsupported-notation",
            f"the MEI file holds {tags['score']} scores (mdiv)",
            path=path,
            hint="give each movement a file of its own",
        )
    root = ElementTree.fromstring(text)
    refused = [name for name in _REFUSED if _sounds(root, name)]
    if refused:
        raise MidiError(
            "unsupported-notation",
            f"the MEI has {', '.join(refused)}, which music21 cannot read",
            path=path,
            hint="export it as MusicXML, for example with MuseScore or Verovio",
        )
    for part in root.iter(f"{_NS}ending"):
        part.tag = f"{_NS}section"
    for name in _UNWRAPPED:
        if tags[name]:
            _unwrap(root, f"{_NS}{name}")
    for parent in root.iter():
        for ossia in parent.findall(f"{_NS}ossia"):
            parent.remove(ossia)
    for name in ("scoreDef", "staffDef"):
        for definition in root.iter(f"{_NS}{name}"):
            metre = definition.find(f"{_NS}meterSig")
            if metre is not None and metre.get("count") and metre.get("unit"):
                definition.set("meter.count", metre.get("count", ""))
                definition.set("meter.unit", metre.get("unit", ""))
    if any(each.get("trans.semi") for each in root.iter()):
        for staff in root.iter(f"{_NS}staffDef"):  # music21 makes a transposition up, or fails at zero steps
            semitones = int(staff.get("trans.semi") or 0)
            staff.set("trans.semi", str(semitones))
            staff.set("trans.diat", str(round(semitones * 7 / 12) or 1))
    _rests(root)
    for note in root.iter(f"{_NS}note"):
        for written, sounding in (("oct", "oct.ges"), ("pname", "pname.ges")):
            if note.get(sounding):
                note.set(written, note.get(sounding, ""))
    _say(root, tags, remarks)
    score = root.find(f".//{_NS}score")
    notes = 0 if score is None else sum(1 for _ in score.iter(f"{_NS}note"))
    return ElementTree.tostring(root, encoding="unicode"), _tempo(root, tags, remarks), notes


def _sounds(root: ElementTree.Element, name: str) -> bool:
    """Whether an element of this name may change the notes."""
    for each in root.iter(f"{_NS}{name}"):
        if name not in ("app", "choice", "subst"):
            return True
        if any(each.find(f".//{_NS}{note}") is not None for note in _NOTES):
            return True
    return False


def _unwrap(root: ElementTree.Element, tag: str) -> None:
    for parent in list(root.iter()):
        for place, child in reversed(list(enumerate(parent))):
            if child.tag == tag:
                parent.remove(child)
                for note in reversed(list(child)):
                    parent.insert(place, note)


def _rests(root: ElementTree.Element) -> None:
    """Write rests of several bars as that many bars."""
    for section in list(root.iter(f"{_NS}section")):
        for place, measure in reversed(list(enumerate(section))):
            if measure.tag != f"{_NS}measure":
                continue
            found = list(measure.iter(f"{_NS}multiRest"))
            if not found:
                continue
            bars = max(int(each.get("num", "1") or 1) for each in found)
            for each in found:
                each.tag = f"{_NS}mRest"
            for _ in range(min(bars, 1000) - 1):
                section.insert(place + 1, deepcopy(measure))


def _tempo(root: ElementTree.Element, tags: Counter[str], remarks: list[str]) -> list[tuple[float, float]]:
    marks = {each.get("midi.bpm", "") for each in root.iter()} - {""}
    if tags["tempo"] > len(marks) or len(marks) > 1:
        remarks.append("tempo marks after the first, or without midi.bpm, are not read")
    first = next((each.get("midi.bpm", "") for each in root.iter() if each.get("midi.bpm")), "")
    with contextlib.suppress(ValueError):
        if first and float(first) > 0:
            return [(0.0, float(first))]
    return []


def _say(root: ElementTree.Element, tags: Counter[str], remarks: list[str]) -> None:
    sounding = any(note.get("oct.ges") for note in root.iter(f"{_NS}note"))
    if tags["octave"] and not sounding:
        remarks.append(f"{tags['octave']} octave lines (8va) are not played: the notes sound where written")
    keyed = any(
        (each.get("key.sig") or each.get("keysig") or each.get("sig") or "0") not in ("0", "mixed")
        for name in ("scoreDef", "staffDef", "keySig")
        for each in root.iter(f"{_NS}{name}")
    )
    explicit = any(each.get("accid.ges") for each in root.iter())
    if keyed and not explicit:
        remarks.append("accidentals of the key signature are not in the notes (accid.ges) and do not sound")
