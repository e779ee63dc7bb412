"""The files of a corpus, one after the other: from folders, zip and tar archives, and lists of URLs.

A source is a folder; a file of music (MIDI, or a written score: `musicbert.midi.notation`); a zip archive; a
tar archive (``.tar``, ``.tar.gz``, ``.tgz``, ``.tar.xz``, ``.tar.bz2``); a text file (any other suffix) of
URLs or paths, one a line, ``#`` for remarks, relative paths from the folder of the list; or a URL of a folder
(``s3://bucket/midi/``). Files come in an order that only the source determines: sorted in folders, as listed
in archives and lists. Nothing is kept but the file in hand, except that a zip archive's own list is in memory
while it is read.

Hidden files and files of other types are passed over; what looks like music and cannot be taken comes with
its reason.
"""

import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from musicbert.corpus.builder.byte_sources import FilePlace, Inline, Place, RangePlace, UrlPlace, ZipPlace
from musicbert.corpus.files.archive import (
    DAMAGED,
    MUSIC_SUFFIXES,
    ArchiveLimits,
    Member,
    is_wanted,
    judge,
    list_folder,
    list_zip,
    open_tar,
    open_zip,
    stem,
    tar_headers,
)
from musicbert.errors import DatasetError
from musicbert.file_kinds import HEAD_BYTES, file_kind
from musicbert.walk import is_hidden

#: Outcome of files that ``exclude`` matches.
EXCLUDED = "excluded"
_TAR = re.compile(r"\.(tar(\.(gz|xz|bz2))?|tgz|txz|tbz2?)$", re.IGNORECASE)
_PLAIN_TAR = re.compile(r"\.tar$", re.IGNORECASE)
#: letters of a line in a list of URLs, or paths
_MOST_LINE = 1 << 16
_OTHER_ARCHIVES = (".7z", ".rar", ".gz", ".xz", ".bz2")


Listed = Iterator[tuple[Member, Place | None]]


@dataclass(frozen=True)
class Entry:
    """One file of a source (as given); ``place`` says where its bytes are, None where it cannot be taken."""

    source: str
    member: Member
    place: Place | None = None


def list_files(
    sources: Iterable[str], *, exclude: str = "", limits: ArchiveLimits | None = None
) -> Iterator[Entry]:
    """Yield every file of music of the sources, and every one that cannot be taken.

    Raises `DatasetError`: ``not-found``, ``not-an-archive``, ``damaged-archive``, ``cannot-open``,
    ``unknown-source``.
    """
    limits = limits or ArchiveLimits()
    pattern = re.compile(exclude) if exclude else None
    for source in sources:
        for member, place in _lister(source)(_absolute(source), limits):
            if "://" not in member.path and is_hidden(member.path):
                continue
            judged = member if isinstance(place, UrlPlace) else judge(member, limits)
            if judged.reason is None and pattern and pattern.search(judged.path):
                judged = replace(judged, reason=EXCLUDED)
            yield Entry(source, judged, place if judged.reason is None else None)


def check_sources(sources: Iterable[str]) -> None:
    """Open each local source before any work is begun; raises what `list_files` raises."""
    for source in sources:
        if "://" not in source:
            next(iter(_lister(source)(_absolute(source), ArchiveLimits())), None)


def _absolute(source: str) -> str:
    """Path that a worker in another folder finds."""
    return source if "://" in source else os.path.abspath(source)  # noqa: PTH100


def _lister(source: str) -> Callable[[str, ArchiveLimits], Listed]:
    if "://" in source:
        return _remote_folder
    if not source:
        hint = "is a variable of the shell not set?"
        raise DatasetError("not-found", "The path of a source is empty", hint=hint)
    path = Path(source)
    if path.is_dir():
        return _folder
    if path.exists() and not path.is_file():  # a pipe would block
        raise DatasetError("unknown-source", "This is neither a file nor a folder", path=source)
    if _TAR.search(source):
        return _tar
    if source.lower().endswith(_OTHER_ARCHIVES):
        raise DatasetError(
            "unknown-source", "Archives of this kind are not read", path=source, hint="unpack it first"
        )
    if path.is_file() and (source.lower().endswith(MUSIC_SUFFIXES) or _is_notation(path)):
        return _one_file
    if source.lower().endswith(".zip") or not path.exists() or zipfile.is_zipfile(path):
        return _zip
    return _url_list


def _is_notation(path: Path) -> bool:
    """Whether a file with another suffix, such as ``.xml``, is a written score."""
    with path.open("rb") as file:
        kind = file_kind(file.read(HEAD_BYTES))
    return kind is not None and bool(kind.notation)


def _folder(source: str, _limits: ArchiveLimits) -> Listed:
    for member in list_folder(source):
        if is_wanted(member, MUSIC_SUFFIXES):
            yield member, FilePlace(os.path.join(source, member.path))  # noqa: PTH118 - Path costs 10 times


def _one_file(source: str, _limits: ArchiveLimits) -> Listed:
    name = Path(source).name
    yield Member(stem(name), name, Path(source).stat().st_size), FilePlace(source)


def _zip(source: str, _limits: ArchiveLimits) -> Listed:
    with open_zip(Path(source)) as archive:
        infos = (info for info in archive.infolist() if not info.is_dir())
        for member, info in zip(list_zip(archive), infos, strict=True):
            if not is_wanted(member, MUSIC_SUFFIXES):
                continue
            if member.reason == "ambiguous-path":  # here each is read by its place, not by its name
                member = replace(member, reason=None, detail=None)
            place = ZipPlace(
                source, info.header_offset, info.compress_size, info.file_size,
                info.compress_type, info.CRC,
            )  # fmt: skip
            yield member, place


def _tar(source: str, limits: ArchiveLimits) -> Listed:
    plain = bool(_PLAIN_TAR.search(source))
    try:
        with open_tar(source, "r:" if plain else "r|*") as archive:
            for info in tar_headers(archive):
                path = info.name.removeprefix("./")
                member = Member(stem(path), path, info.size)
                if info.isdir() or not is_wanted(member, MUSIC_SUFFIXES):
                    continue
                if not info.isreg() or info.issparse():
                    detail = "a link, a device or a sparse file in the archive"
                    yield replace(member, reason="not-a-file", detail=detail), None
                elif plain:
                    yield member, RangePlace(source, info.offset_data, info.size)
                elif info.size > limits.member_bytes or is_hidden(path):
                    yield member, None
                else:
                    file = archive.extractfile(info)
                    assert file is not None  # it is a regular file
                    yield member, Inline(file.read())
    except FileNotFoundError as error:
        raise DatasetError("not-found", "There is no such archive", path=source) from error
    except (*DAMAGED, OSError) as error:
        raise DatasetError(
            "damaged-archive",
            f"The tar archive is damaged: {error}",
            path=source,
            hint="download it again, or unpack what can be saved and pass the folder",
        ) from error


def _url_list(source: str, _limits: ArchiveLimits) -> Listed:
    folder = Path(source).parent
    with Path(source).open("rb") as file:
        kind = file_kind(file.read(HEAD_BYTES), source)
    if kind:
        message = f"This is {kind.what}, not MIDI and not a list of files"
        raise DatasetError("unknown-source", message, path=source, hint=kind.hint)
    try:
        with Path(source).open(encoding="utf-8-sig") as lines:  # Notepad begins it with a mark
            for line in iter(lambda: lines.readline(_MOST_LINE), ""):
                if len(line) == _MOST_LINE:
                    message = f"A line has more than {_MOST_LINE:,} letters: this is not a list of files"
                    raise DatasetError("unknown-source", message, path=source)
                url = line.strip()
                if not url or url.startswith("#"):
                    continue
                if "://" not in url:
                    yield Member(stem(url), url), UrlPlace(str(folder / url))
                else:
                    yield Member(stem(url), url), UrlPlace(url)
    except UnicodeDecodeError as error:
        raise DatasetError(
            "unknown-source",
            "This is neither a folder, nor a zip or tar archive, nor a list of URLs in UTF-8",
            path=source,
        ) from error


def _remote_folder(source: str, _limits: ArchiveLimits) -> Listed:
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(source)
        listed = system.find(root, detail=True)
        if not listed:
            system.ls(root)  # `find` passes over a server that is not there, this says so
    except FileNotFoundError as error:
        raise DatasetError("not-found", "There is no such folder", path=source) from error
    except Exception as error:  # each protocol has errors of its own
        raise DatasetError("cannot-open", f"The folder cannot be listed: {error}", path=source) from error
    if not listed:
        raise DatasetError("not-found", "There is no file below this URL", path=source)
    for path in sorted(listed):
        if path.lower().endswith(MUSIC_SUFFIXES):
            inside = path.removeprefix(root).lstrip("/")
            yield (
                Member(stem(inside), inside, int(listed[path].get("size") or 0)),
                UrlPlace(system.unstrip_protocol(path)),
            )
