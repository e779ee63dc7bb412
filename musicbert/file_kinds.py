"""What a file is that was given in place of another: told by its first bytes, and else by its suffix."""

import re
from typing import NamedTuple

#: bytes that are enough to tell
HEAD_BYTES = 1024


class FileKind(NamedTuple):
    """Words for a file, what to do with it where MIDI is wanted, and its notation where that can be read."""

    what: str
    hint: str
    notation: str = ""


#: names of the notations that `musicbert.midi.notation` reads
MUSICXML, MXL, ABC, HUMDRUM, MEI = "MusicXML", "compressed MusicXML", "ABC", "Humdrum", "MEI"


_AUDIO = FileKind("an audio file", "transcribe it to MIDI first, for example with basic-pitch")
_EXPORT = "export it as MIDI first, for example with MuseScore or music21"
_SCAN = "recognise the notes first, for example with Audiveris, and export them as MIDI"
_UNPACK = "unpack it first"
_DOWNLOAD = "download the file itself"
_SCORE = FileKind("a score in another format", _EXPORT)
_NOTATIONS = {name: FileKind(name, _EXPORT, name) for name in (MUSICXML, MXL, ABC, HUMDRUM, MEI)}
#: the beginning of a file without blanks and in lower case -> what it is, in this order
_BEGINNINGS: tuple[tuple[bytes, FileKind], ...] = (
    (rb"(riff|rf64).{4}wave|form.{4}aif[fc]|id3|flac|oggs|\.snd|.{4}ftyp|#!amr", _AUDIO),
    (rb"\xff[\xe0-\xfd\xff]", _AUDIO),  # the sync word of an MPEG or ADTS frame; FF FE begins UTF-16
    (rb"riff.{4}rmid", FileKind("a RIFF (RMID) file", "unpack the RIFF (RMID) wrapper first")),
    (rb"pk\x03\x04.*meta-inf/container\.xml", _NOTATIONS[MXL]),
    (rb"pk[\x03\x05\x07]", FileKind("a zip archive", _UNPACK)),
    (rb"\x1f\x8b", FileKind("a gzip file", _UNPACK)),
    (rb"bzh|\xfd7zxz|7z\xbc\xaf|rar!", FileKind("a packed file", _UNPACK)),
    (rb"%pdf", FileKind("a PDF", _SCAN)),
    (rb"\x89png|\xff\xd8\xff|gif8|ii\*\x00|mm\x00\*", FileKind("a picture", _SCAN)),
    (rb".*<(score-partwise|score-timewise)", _NOTATIONS[MUSICXML]),
    (rb".*<(\w+:)?mei[ >]", _NOTATIONS[MEI]),
    (rb".*<(musescore|opus)[ >]", FileKind("a score in XML", _EXPORT)),
    (rb"version https://git-lfs", FileKind("a Git LFS pointer", f"{_DOWNLOAD} (git lfs pull)")),
    (rb"<!doctype html|<html|.*<html", FileKind("a web page", _DOWNLOAD)),
    (rb"<\?xml", FileKind("XML", "if it is a score, export it as MIDI first")),
    (rb"(!!?[^\n]*\n)*\*\*[a-z]|!!!", _NOTATIONS[HUMDRUM]),
    (rb"(%[^\n]*\n)*\s*x: ?\d+\s*[\r\n%]", _NOTATIONS[ABC]),
    (rb"\\version|\x18fichier guitar pro", _SCORE),
    (rb"\x93numpy", FileKind("a NumPy array", "give the MIDI file that it was made from")),
)  # fmt: skip
_BY_SUFFIX = (
    (_AUDIO, ".wav .mp3 .flac .ogg .oga .opus .m4a .aac .aif .aiff .wma"),
    (_NOTATIONS[MUSICXML], ".musicxml"),
    (_NOTATIONS[MXL], ".mxl"),
    (_NOTATIONS[MEI], ".mei"),
    (_NOTATIONS[HUMDRUM], ".krn"),
    (_NOTATIONS[ABC], ".abc"),
    (_SCORE, ".mscz .mscx .ly .gp5 .gpx .sib"),
    (FileKind("a PDF", _SCAN), ".pdf"),
)


def file_kind(head: bytes, name: str | None = None) -> FileKind | None:
    """Tell what a file is that is not what it should be; None if unknown.

    ``head``: its first bytes; ``name``: its name or path, whose suffix decides where the bytes do not.
    """
    start = head[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").lower()
    for pattern, kind in _BEGINNINGS:
        if re.match(pattern, start, re.DOTALL):
            return kind
    suffix = "." + (name or "").rpartition(".")[2].lower()
    return next((kind for kind, suffixes in _BY_SUFFIX if suffix in suffixes.split()), None)
