"""MIDI files in a zip archive or a folder, read one at a time and never extracted to disk.

A file is known by its name: the last part of its path without its last extension and without spaces around it
(``Schubert_D935_no.3_4bars_2_1.mid`` is ``Schubert_D935_no.3_4bars_2_1``), whatever folders lie above it.
Hidden files and ``__MACOSX`` are passed over; what else cannot be taken (links in an archive, unsafe names,
archives in the archive, encrypted members) is listed with its reason instead. Verified in
``tests/unit/corpus/files/test_archive.py``.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from musicbert.errors import DatasetError
from musicbert.midi.notation import NOTATION_SUFFIXES
from musicbert.walk import LINKED_FOLDER, UNREADABLE_FOLDER, is_hidden, walk

MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".smf", ".rmi")
#: also written scores, which `read_score` reads with the extra ``scores``
MUSIC_SUFFIXES = MIDI_SUFFIXES + NOTATION_SUFFIXES
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".7z", ".rar")
#: First bytes of a zip file: a member, an empty archive, a spanned one (APPNOTE.TXT 4.3).
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
#: What the decompressors raise for damaged data, or for a dictionary that does not fit into memory.
_UNPACKING = (
    zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError, MemoryError
)  # fmt: skip
_COPY = re.compile(r"(?P<base>.+?)\s*\((?P<number>[1-9]\d?)\)")


@dataclass(frozen=True)
class ArchiveLimits:
    """Bounds against damaged and hostile archives.

    Bytes of a file, entries, bytes of all MIDI files together.
    """

    member_bytes: int = 32 << 20
    members: int = 2_000_000
    total_bytes: int = 64 << 30


@dataclass(frozen=True)
class Member:
    """One file of a source, and why it cannot be taken (None where it can).

    ``name`` is the `stem` of ``path``, ``size`` is in bytes, uncompressed. Reasons: ``symlink``,
    ``linked-folder``, ``unreadable-folder``, ``unsafe-name``, ``nested-archive``, ``encrypted``,
    ``too-large``, ``not-a-file``, ``ambiguous-path``.
    """

    name: str
    path: str
    size: int = 0
    reason: str | None = None
    detail: str | None = None


def is_wanted(member: Member, suffixes: tuple[str, ...] = MIDI_SUFFIXES) -> bool:
    """Whether this looks like music: a MIDI file, an archive, or a folder that is not walked."""
    folder = member.reason in (LINKED_FOLDER, UNREADABLE_FOLDER)
    return folder or member.path.lower().endswith(suffixes + ARCHIVE_SUFFIXES)


def stem(path: str) -> str:
    """Return the last part of a path, cut at its LAST dot, without spaces around it.

    Examples
    --------
    >>> stem("midi/ Schubert_D935_no.3_4bars_2_1.mid")
    'Schubert_D935_no.3_4bars_2_1'
    """
    return path.rstrip("/").rpartition("/")[2].rpartition(".")[0].strip()


def copy_base(name: str) -> str | None:
    """Return the name that a copy was made from (``x(1)`` or ``x (1)`` is a copy of ``x``), or None."""
    match = _COPY.fullmatch(name)
    return match["base"] if match else None


class MidiSource:
    """The MIDI files of a zip archive or of a folder, or those of other ``suffixes``; a context manager.

    ``members`` can be read and come in the order of their paths, whatever the order of the archive or the
    file system; ``rejected`` look like music or archives and cannot be taken, each with its reason.

    Raises `DatasetError`: ``not-found``, ``not-an-archive``, ``damaged-archive``, ``empty-archive``,
    ``nested-archive``, ``no-midi``, ``too-many-members``, ``too-large``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        limits: ArchiveLimits | None = None,
        suffixes: tuple[str, ...] = MIDI_SUFFIXES,
    ) -> None:
        if not os.fspath(path):
            hint = "is a variable of the shell not set?"
            raise DatasetError("not-found", "The path of the MIDI files is empty", hint=hint)
        self.path, self.suffixes = Path(path), suffixes
        self.limits = limits or ArchiveLimits()
        self._zip = None if self.path.is_dir() else open_zip(self.path)
        try:
            listed = list_folder(self.path) if self._zip is None else list_zip(self._zip)
            members = [judge(member, self.limits) for member in self._bounded(listed)]
            members.sort(key=lambda member: member.path)
            self.members = tuple(member for member in members if member.reason is None)
            self.rejected = tuple(member for member in members if member.reason is not None)
            self._require_some()
        except BaseException:
            self.close()
            raise

    def read(self, member: Member) -> bytes:
        """Return the bytes of a member, its checksum verified (see `read_member`)."""
        return read_member(self.path, self._zip, member.path, self.limits.member_bytes)

    def close(self) -> None:
        """Close the archive."""
        if self._zip is not None:
            self._zip.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_zip": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the archive again in another process, which must not share this one's position in the file."""
        self.__dict__.update(state)
        self._zip = None if self.path.is_dir() else open_zip(self.path)

    def __enter__(self) -> MidiSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bounded(self, listed: Iterator[Member]) -> Iterator[Member]:
        """Yield MIDI files and archives within the limits; pass over everything else."""
        total = 0
        for number, member in enumerate(listed, start=1):
            if number > self.limits.members:
                raise DatasetError(
                    "too-many-members",
                    f"More than {self.limits.members} files",
                    path=self.path,
                    hint="split it up",
                )
            lower = member.path.lower()
            if not is_wanted(member, self.suffixes) or is_hidden(lower):
                continue
            if PurePosixPath(lower).suffix in self.suffixes:
                total += member.size
            if total > self.limits.total_bytes:
                raise DatasetError(
                    "too-large",
                    f"The MIDI files unpack to more than {self.limits.total_bytes} bytes",
                    path=self.path,
                    hint="it may be a zip bomb; look into it, or split it up",
                )
            yield member

    def _require_some(self) -> None:
        if self.members:
            return
        reasons = {member.reason for member in self.rejected}
        if reasons == {"nested-archive"}:
            raise DatasetError(
                "nested-archive",
                f"There is no MIDI file, only an archive in it: {self.rejected[0].path}",
                path=self.path,
                hint="unpack it once and pass the inner archive or the folder",
            )
        if self.rejected:
            first = self.rejected[0]
            message = f"None of the MIDI files can be taken; {first.path}: {first.detail}"
            raise DatasetError("no-midi", message, path=self.path)

        if self._zip is not None and not self._zip.filelist:
            raise DatasetError(
                "empty-archive", "The archive is empty", path=self.path, hint="download it again"
            )
        raise DatasetError(
            "no-midi",
            "There is no .mid or .midi file in it",
            path=self.path,
            hint="check the path",
        )


def read_member(root: Path, archive: zipfile.ZipFile | None, name: str, limit: int) -> bytes:
    """Return the bytes of a file of a zip archive, or of a folder (``archive`` is None).

    Raises `DatasetError`: ``bad-checksum``, ``damaged-member``, ``not-found``, ``too-large`` (more
    than ``limit`` bytes).
    """
    where = f"{root}/{name}"
    try:
        with (root / name).open("rb") if archive is None else archive.open(name) as file:
            content = file.read(limit + 1)
    except zipfile.BadZipFile as error:
        reason = "bad-checksum" if "CRC" in str(error) else "damaged-member"
        raise DatasetError(reason, f"The file in the archive is damaged: {error}", path=where) from error
    except _UNPACKING as error:
        message = f"The file in the archive cannot be unpacked: {error}"
        raise DatasetError("damaged-member", message, path=where) from error
    except OSError as error:
        reason = "not-found" if error.strerror else "damaged-member"  # bz2 raises OSError for bad data
        message = f"The file cannot be read: {error.strerror or error}"
        raise DatasetError(reason, message, path=where) from error
    if len(content) > limit:
        raise DatasetError("too-large", f"The file is larger than {limit} bytes", path=where)
    return content


def judge(member: Member, limits: ArchiveLimits) -> Member:
    """Return the member with the reason why it cannot be taken, where there is one."""
    reason, detail = member.reason, member.detail
    parts = re.split(r"[/\\]", member.path)
    if reason is None and member.path.lower().endswith(ARCHIVE_SUFFIXES):
        reason, detail = "nested-archive", "an archive inside; unpack it and pass its folder"
    elif not member.name.isprintable() or not member.name or ".." in parts or member.path.startswith("/"):
        reason, detail = "unsafe-name", "the path is empty, leads outside, or holds control characters"
    elif reason is None and member.size > limits.member_bytes:
        reason, detail = "too-large", f"{member.size} bytes, more than {limits.member_bytes}"
    return Member(member.name, member.path, member.size, reason, detail)


def _look_at(path: str) -> tuple[int, str | None, str | None]:
    """Size of a file, and why it cannot be taken. Of large folders this is most of the work: no `Path`."""
    try:
        status = os.stat(path)  # noqa: PTH116
        if stat.S_ISREG(status.st_mode):
            return status.st_size, None, None
    except OSError:  # a link to nothing
        pass
    return 0, "not-a-file", "not a regular file"  # a pipe would block


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip archive; `DatasetError` says what is wrong with it."""
    if path.exists() and not path.is_file():  # a pipe would block
        raise DatasetError("not-an-archive", "This is neither a file nor a folder", path=path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise DatasetError(
            "not-found",
            f"The archive or folder of MIDI files cannot be opened: {error.strerror}",
            path=path,
            hint="check the path: it is to be a zip archive or a folder",
        ) from error
    try:
        return _with_utf8_names(zipfile.ZipFile(path))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        if start in _ZIP_MAGIC:
            raise DatasetError(
                "damaged-archive", f"The zip archive is damaged: {error}", path=path, hint="download it again"
            ) from error
        raise DatasetError(
            "not-an-archive", "This is not a zip archive", path=path, hint="pass a zip archive or a folder"
        ) from error


def _with_utf8_names(archive: zipfile.ZipFile) -> zipfile.ZipFile:
    """Read names as UTF-8 that are UTF-8 but lack its flag, as macOS writes them; the module says cp437."""
    for info in archive.filelist:
        if not info.flag_bits & 0x800:  # general purpose bit 11: the name is UTF-8 (APPNOTE.TXT 4.4.4)
            with contextlib.suppress(UnicodeError):
                info.filename = info.filename.encode("cp437").decode("utf-8")
    archive.NameToInfo = {info.filename: info for info in archive.filelist}
    return archive


def list_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    """Yield the files of an archive in its order."""
    contents = {(info.filename, info.CRC, info.file_size) for info in archive.infolist()}
    versions = Counter(name for name, _, _ in contents)
    for info in archive.infolist():
        if info.is_dir():
            continue
        reason, detail = None, None
        if stat.S_ISLNK(info.external_attr >> 16):
            reason, detail = "symlink", "a symbolic link in the archive"
        elif info.flag_bits & 0x1:  # general purpose bit 0: encrypted (APPNOTE.TXT 4.4.4)
            reason, detail = "encrypted", "the file is encrypted; unpack it with its password first"
        elif versions[info.filename] > 1:  # only the last of them could be opened by its path
            reason, detail = "ambiguous-path", "the archive holds different files under this path"
        yield Member(stem(info.filename), info.filename, info.file_size, reason, detail)


def list_folder(folder: str | PathLike[str]) -> Iterator[Member]:
    """Yield the files below a folder, and the folders that are not walked (see `musicbert.walk`)."""
    for inside, path, reason, detail in walk(folder):
        if reason is not None:
            yield Member(inside.rpartition("/")[2], inside, 0, reason, detail)
        else:
            yield Member(stem(inside), inside, *_look_at(path))


#: What reading a damaged archive raises.
DAMAGED = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError, OverflowError, MemoryError)


#: Bytes of a long name, or of the extended header of a member, in a tar archive.
_MAX_TAR_NAME = 1 << 20
_TAR_NAMES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


class _Header(tarfile.TarInfo):
    """Header of a member; one that cannot be read is an error wherever it stands."""

    @classmethod
    def frombuf(cls, *arguments: Any, **options: Any) -> _Header:
        header = super().frombuf(*arguments, **options)
        if header.size < 0 or (header.type in _TAR_NAMES and header.size > _MAX_TAR_NAME):
            raise tarfile.ReadError(f"a header of the archive claims {header.size} bytes")
        return header

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the block of zeros; not public by its name
                raise
            raise tarfile.ReadError(f"the archive ends too early, or is not one: {error}") from error


def open_tar(path: str | PathLike[str], mode: Literal["r:", "r|*"] = "r|*") -> tarfile.TarFile:
    """Open an archive for reading: ``"r|*"`` once from start to end, ``"r:"`` with seeks (not compressed).

    Raises `FileNotFoundError` or one of `DAMAGED`, as does reading the members.
    """
    try:
        return tarfile.open(path, mode, tarinfo=_Header)
    except TypeError as error:  # of a gzip file that ends within its first bytes
        raise tarfile.ReadError("the archive ends too early") from error


def tar_headers(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Headers one after the other, none kept (`tarfile` keeps each it has read)."""
    for info in archive:
        archive.members = []  # type: ignore[attr-defined]
        yield info
