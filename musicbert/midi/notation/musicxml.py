"""MusicXML as music21 is to read it.

music21 10 takes the first instrument of a part for all of its notes, knows no score by measures, lets cue
notes sound, and transposes a clarinet whether the file says so or not. Here the sound of a note is kept in
its colour where a part has percussion or several instruments, and parts say that they are not transposed.
"""

from collections import Counter
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

#: what music21 passes over although it sounds
_UNREAD = ("measure-repeat", "beat-repeat")
_SOUND = "sound"
_DRUMS = 10  # channel, from 1


def musicxml_text(text: str, tags: Counter[str], remarks: list[str]) -> tuple[str, int]:
    """Rewrite MusicXML, where it needs that; return it and the number of its notes.

    ``tags``: how often each element occurs.

    A score by measures (``score-timewise``) is turned to one by parts, cue notes, which another player
    sounds, become rests, and notes get colours (`sound_of`).
    """
    unread = [f"{tags[name]} x {name}" for name in _UNREAD if tags[name]]
    if unread:
        remarks.append(f"signs that repeat music are not played: {', '.join(unread)}")
    several = tags["unpitched"] or tags["midi-instrument"] > tags["score-part"]
    notes = tags["pitch"] + tags["unpitched"]
    if not (tags["cue"] or tags["score-timewise"] or tags["transpose"] or several):
        return text, notes
    root = ElementTree.fromstring(text)
    if root.tag == "score-timewise":
        _by_parts(root)
    cues = _silence_cues(root)
    if cues:
        remarks.append(f"{cues} cue note{'s' * (cues != 1)} left out")
    if tags["transpose"]:
        _write_transpositions(root)
    if several:
        _name_sounds(root)
    return ElementTree.tostring(root, encoding="unicode"), notes - cues


def _by_parts(root: Element) -> None:
    parts: dict[str, Element] = {}
    for measure in root.findall("measure"):
        for part in measure.findall("part"):
            name = part.get("id", "")
            whole = parts.setdefault(name, Element("part", {"id": name}))
            ElementTree.SubElement(whole, "measure", measure.attrib).extend(list(part))
        root.remove(measure)
    root.tag = "score-partwise"
    root.extend(parts.values())


def _silence_cues(root: Element) -> int:
    """Turn cue notes into rests; return their number."""
    count = 0
    for measure in root.iter("measure"):
        for note in measure.findall("note"):
            sound = note.find("pitch")
            if note.find("cue") is None or sound is None:
                continue
            count += 1
            if note.find("chord") is not None:
                measure.remove(note)
                continue
            note[list(note).index(sound)] = Element("rest")
            for each in [*note.findall("tie"), *note.findall("cue")]:
                note.remove(each)
    return count


def _write_transpositions(root: Element) -> None:
    """Write a transposition of nothing where a part begins without one: music21 would make it up."""
    for part in root.iter("part"):
        measure = part.find("measure")
        if measure is None or measure.find("attributes/transpose") is not None:
            continue
        attributes = measure.find("attributes")
        if attributes is None:
            attributes = Element("attributes")
            measure.insert(0, attributes)
        transpose = ElementTree.SubElement(attributes, "transpose")
        for name in ("diatonic", "chromatic"):
            ElementTree.SubElement(transpose, name).text = "0"


def _name_sounds(root: Element) -> None:
    instruments = {}
    for part in root.iter("score-part"):
        for each in part.findall("midi-instrument"):
            channel, program, key = (
                _number(each, name) for name in ("midi-channel", "midi-program", "midi-unpitched")
            )
            drum = channel == _DRUMS
            sound = (None if key is None else key - 1, 0 if drum or program is None else program - 1, drum)
            instruments[each.get("id")] = sound
            instruments.setdefault(part.get("id"), sound)
    number = 0
    for part in root.iter("part"):
        for note in part.iter("note"):
            given = note.find("instrument")
            found = instruments.get(part.get("id") if given is None else given.get("id"))
            if found is None or note.find("rest") is not None:
                continue
            key, program, drum = found
            unpitched = note.find("unpitched") is not None
            if unpitched and key is None:
                continue
            number += 1
            sounding = key if unpitched or drum else None
            drum |= unpitched
            note.set(
                "color", f"{_SOUND} {'' if sounding is None else sounding} {program} {int(drum)} {number}"
            )


def _number(parent: Element, name: str) -> int | None:
    text = (parent.findtext(name) or "").strip()
    return int(text) if text.isdecimal() else None


def sound_of(name: object) -> tuple[int | None, int, bool] | None:
    """Key (None: its pitch), program and percussion of a note by its colour; None where it is not ours."""
    parts = str(name).split(" ")
    if parts[0] != _SOUND or len(parts) != 5:
        return None
    return (int(parts[1]) if parts[1] else None), int(parts[2]), parts[3] == "1"
