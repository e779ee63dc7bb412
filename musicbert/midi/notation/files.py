"""What a file holds, and its text: compressed MusicXML unpacked with bounds, XML without entities.

No address in a file is ever opened. XML that declares entities is refused, since a few lines of them can grow
to gigabytes; the document types of MusicXML and MEI declare none in the file itself.
"""

import contextlib
import io
import zipfile
import zlib
from collections import Counter
from xml.parsers import expat

from musicbert.errors import MidiError, first_line
from musicbert.file_kinds import ABC, HUMDRUM, MEI, MUSICXML, MXL, file_kind
from musicbert.midi.limits import ReadLimits

_CONTAINER = "META-INF/container.xml"
#: deepest nesting of elements, and most elements, of a score in XML
_MAX_DEPTH, _MAX_ELEMENTS = 100, 5_000_000
#: bytes of a score in a compressed file, in those that `ReadLimits` allows a file
_UNPACKED = 4
_ROOTS = {"score-partwise": MUSICXML, "score-timewise": MUSICXML, "mei": MEI}


class _RefusedError(Exception):
    """What is wrong with XML, in words."""


def notation_format(data: bytes, name: str | None = None) -> str | None:
    """Name of the notation that a file holds, by its bytes and else by its name; None: another kind."""
    if data.startswith(b"MThd") or not data:
        return None
    if data.startswith(b"PK"):
        return MXL if _is_container(data, name) else None
    kind = file_kind(data, name)
    if kind is None or not kind.notation:
        start = data[:4].lstrip(b"\xef\xbb\xbf \t\r\n")
        if start.startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
            return _ROOTS.get(_root(data))
        return None
    return None if kind.notation == MXL else kind.notation


def _is_container(data: bytes, name: str | None) -> bool:
    if (name or "").lower().endswith(".mxl"):
        return True
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _CONTAINER in archive.namelist() and "mimetype" not in archive.namelist()[:1]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return False


def unpacked(data: bytes, limits: ReadLimits, path: str | None = None) -> bytes:
    """Score of a compressed MusicXML file: the one that its container names first.

    Raises `MidiError`: ``bad-score``, ``too-large``.
    """
    if not data.startswith(b"PK"):  # some files carry the suffix and are not compressed
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if _CONTAINER in names:
                name = _root_file(_member(archive, _CONTAINER, limits.max_bytes, path))
            else:
                scores = [each for each in names if each.lower().endswith((".xml", ".musicxml"))]
                name = scores[0] if len(scores) == 1 else None
            if name not in names:
                raise MidiError(
                    "bad-score", "the compressed file does not say which score it holds", path=path
                )
            return _member(archive, str(name), _UNPACKED * limits.max_bytes, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError,
            expat.ExpatError, _RefusedError) as error:  # fmt: skip
        raise MidiError(
            "bad-score", f"the compressed MusicXML is damaged: {first_line(error)}", path=path
        ) from error


def _member(archive: zipfile.ZipFile, name: str, limit: int, path: str | None) -> bytes:
    with archive.open(name) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise MidiError("too-large", f"{name} unpacks to more than {limit} bytes", path=path)
    return content


def _root_file(container: bytes) -> str | None:
    found: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag.rpartition(":")[2] == "rootfile" and "full-path" in attributes:
            found.append(attributes["full-path"])

    _parser(start).Parse(container, True)
    return found[0] if found else None


def _parser(start: object) -> expat.XMLParserType:
    """Parser that refuses entities."""
    parser = expat.ParserCreate()

    def entity(name: str, *_: object) -> None:
        raise _RefusedError(f"it declares an entity ({name[:20]}), which is not read")

    parser.EntityDeclHandler = entity
    parser.StartElementHandler = start  # type: ignore[assignment]
    return parser


def _root(data: bytes) -> str:
    """Name of the outermost element, or an empty text."""
    found: list[str] = []

    def start(tag: str, _attributes: dict[str, str]) -> None:
        found.append(tag.rpartition(":")[2])
        raise _RefusedError

    with contextlib.suppress(_RefusedError, expat.ExpatError, ValueError):
        _parser(start).Parse(data, True)
    return found[0] if found else ""


def xml_text(data: bytes, what: str, path: str | None = None) -> tuple[str, Counter[str]]:
    """Text of a document, and how often it has each element.

    Raises `MidiError`: ``bad-score`` (damaged, or with entities), ``too-large``.
    """
    tags: Counter[str] = Counter()
    depth, encoding = 0, "utf-8-sig"

    def start(tag: str, _attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise _RefusedError(f"its elements are nested more than {_MAX_DEPTH} deep")
        tags[tag.rpartition(":")[2]] += 1

    def end(_tag: str) -> None:
        nonlocal depth
        depth -= 1

    def declared(_version: str, name: str | None, _standalone: int) -> None:
        nonlocal encoding
        if name and name.lower() not in ("utf-8", "utf8"):
            encoding = "utf-16" if name.lower().startswith("utf-16") else name

    parser = _parser(start)
    parser.EndElementHandler, parser.XmlDeclHandler = end, declared
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    try:
        parser.Parse(data, True)
        text = data.decode(encoding)
    except _RefusedError as error:
        raise MidiError("bad-score", f"the {what} is refused: {error}", path=path) from error
    except (expat.ExpatError, LookupError, ValueError) as error:
        hint = "export it again from the program that made it"
        raise MidiError("bad-score", f"the {what} is damaged: {error}", path=path, hint=hint) from error
    if sum(tags.values()) > _MAX_ELEMENTS:
        raise MidiError("too-large", f"the {what} has more than {_MAX_ELEMENTS} elements", path=path)
    return text, tags


def plain_text(data: bytes) -> str:
    """Text of ABC or Humdrum: UTF-8, or else Latin-1, as older collections have it."""
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        return data.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")


__all__ = [
    "ABC",
    "HUMDRUM",
    "MEI",
    "MUSICXML",
    "MXL",
    "notation_format",
    "plain_text",
    "unpacked",
    "xml_text",
]
