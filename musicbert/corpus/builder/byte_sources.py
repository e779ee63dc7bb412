"""Where the bytes of one file are: a file, a range of an archive, a URL, or here.

A place is small, can be sent to another process or machine, and opens nothing before it is read: no handle is
shared between processes, and a worker never reads the list of a large archive.
"""

import bz2
import json
import lzma
import struct
import time
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, Any, Protocol

from musicbert.errors import DatasetError

#: Local header of a zip member (APPNOTE.TXT 4.3.7): signature, then lengths of name and extra field at 26.
_ZIP_HEADER = 30
#: Bytes that packing may add to a file.
_PACKING = 1 << 16
_ZIP_SIGNATURE = b"PK\x03\x04"
#: Seconds before a URL is tried again.
_RETRIES_S = (0.5, 2.0, 8.0)
#: Reasons of a URL that did not come, which say nothing about the file.
UNREACHED = ("cannot-read", "cannot-open")
#: What fsspec's file systems call an identity of the bytes: HTTP and S3, GCS and Azure, others
_IDENTITIES = ("ETag", "etag", "Content-MD5", "Digest", "md5Hash", "generation")
_DAMAGE = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError)
#: HTTP status of a file that is not there, or no more; of a server that wants to be asked again later
_ABSENT, _LATER = (404, 410), (408, 425, 429)
_SERVER_ERROR = 500


class Place(Protocol):
    """Anything that gives the bytes of one file."""

    def read(self, limit: int) -> bytes:
        """Return the bytes; `DatasetError` where there are more than `limit` or they cannot be read."""


@dataclass(frozen=True)
class Inline:
    """Bytes that travel with the task (members of compressed tar archives)."""

    content: bytes

    def read(self, limit: int) -> bytes:
        """Return the bytes."""
        return _bounded(self.content, limit)


@dataclass(frozen=True)
class FilePlace:
    """A file of a folder."""

    path: str

    def read(self, limit: int) -> bytes:
        """Return the bytes."""
        return _bounded(_read_range(self.path, 0, limit + 1), limit)


@dataclass(frozen=True)
class RangePlace:
    """A stretch of a file: a member of a tar archive that is not compressed."""

    path: str
    offset: int
    size: int

    def read(self, limit: int) -> bytes:
        """Return the bytes."""
        content = _bounded(_read_range(self.path, self.offset, min(self.size, limit + 1)), limit)
        if len(content) < self.size:
            raise DatasetError("damaged-member", "The archive ends inside this file")
        return content


@dataclass(frozen=True)
class ZipPlace:
    """A member of a zip archive, by the place of its local header."""

    path: str
    header: int
    packed: int
    size: int
    method: int
    crc: int

    def read(self, limit: int) -> bytes:
        """Return the bytes, their checksum verified."""
        if max(self.size, self.packed - _PACKING) > limit:
            raise _too_large(limit)
        head = _read_range(self.path, self.header, _ZIP_HEADER)
        if len(head) < _ZIP_HEADER or not head.startswith(_ZIP_SIGNATURE):
            raise DatasetError("damaged-member", "The archive holds no file where its list says")
        name, extra = struct.unpack_from("<HH", head, 26)
        packed = _read_range(self.path, self.header + _ZIP_HEADER + name + extra, self.packed)
        try:
            content = self._unpack(packed)
        except _DAMAGE as error:
            raise DatasetError(
                "damaged-member", f"The file in the archive cannot be unpacked: {error}"
            ) from error
        if len(content) != self.size or zlib.crc32(content) != self.crc:
            raise DatasetError("bad-checksum", "The file in the archive is damaged: its checksum differs")
        return content

    def _unpack(self, packed: bytes) -> bytes:
        """Unpack no more than the size that the list says."""
        if self.method == zipfile.ZIP_STORED:
            return packed
        if self.method == zipfile.ZIP_DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, self.size + 1)
        if self.method == zipfile.ZIP_BZIP2:
            return bz2.BZ2Decompressor().decompress(packed, self.size + 1)
        if self.method == zipfile.ZIP_LZMA:
            return _unpack_lzma(packed, self.size)
        raise ValueError(f"compression method {self.method} is not known")


@dataclass(frozen=True)
class UrlPlace:
    """A file anywhere that fsspec reaches (s3, gs, http, a local path)."""

    url: str

    def read(self, limit: int) -> bytes:
        """Return the bytes; a failing connection, or a server that is not well, is tried again."""
        import fsspec

        for pause in (*_RETRIES_S, None):
            try:
                with fsspec.open(self.url, "rb") as file:
                    return _bounded(_whole(file, limit + 1), limit)
            except (ImportError, ValueError) as error:  # an unknown protocol, or its package is missing
                raise DatasetError("cannot-open", f"{error}", path=self.url) from error
            except DatasetError:
                raise
            except Exception as error:  # each protocol has errors of its own
                cause = _cause(error)
                status = getattr(cause, "status", None)
                if isinstance(cause, FileNotFoundError) or status in _ABSENT:
                    raise DatasetError("not-found", "There is no such file", path=self.url) from error
                refused = status is not None and status < _SERVER_ERROR and status not in _LATER
                if pause is None or refused:
                    what = repr(cause) if status is None else f"the server answered {status}"
                    raise DatasetError("cannot-read", f"Reading failed: {what}", path=self.url) from error
            time.sleep(pause)
        raise AssertionError("unreachable")

    @property
    def remote(self) -> bool:
        """Whether this is a URL, and not a path of this machine."""
        return "://" in self.url

    def version(self) -> str | None:
        """Return what the server says that identifies the bytes; None where it says nothing that does.

        A date or a size does not: a file can change within a second, or keep its size. Nor does a weak ETag.
        """
        import fsspec

        try:
            system, path = fsspec.core.url_to_fs(self.url)
            info = system.info(path)
        except Exception:  # each protocol has errors of its own; `read` says what is wrong
            return None
        told = {name: str(info[name]) for name in _IDENTITIES if info.get(name)}
        strong = {name: text for name, text in told.items() if not text.startswith("W/")}
        return json.dumps(strong, sort_keys=True) if strong else None


def _cause(error: Exception) -> BaseException:
    """What happened: of HTTP, fsspec calls every failure to open a file one that is not found."""
    cause = error.__cause__
    over_http = type(cause).__module__.startswith("aiohttp") or isinstance(cause, TimeoutError)
    return cause if isinstance(error, FileNotFoundError) and cause is not None and over_http else error


def _read_range(path: str, offset: int, size: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - Path costs as much as the reading
            file.seek(offset)
            return _whole(file, size)
    except (OSError, OverflowError) as error:  # OverflowError: an archive names a place beyond 2^63
        reason = "not-found" if isinstance(error, FileNotFoundError) else "cannot-read"
        message = f"The file cannot be read: {getattr(error, 'strerror', None) or error}"
        raise DatasetError(reason, message) from error


def _whole(file: IO[bytes], size: int) -> bytes:
    """Read up to so many bytes; one read of an unbuffered file or of a connection may give fewer."""
    content = file.read(size)
    if len(content) == size:
        return content
    parts, missing = [content], size - len(content)
    while missing and (more := file.read(missing)):
        parts.append(more)
        missing -= len(more)
    return b"".join(parts)


def _bounded(content: Any, limit: int) -> bytes:
    if len(content) > limit:
        raise _too_large(limit)
    return bytes(content)


def _too_large(limit: int) -> DatasetError:
    return DatasetError("too-large", f"The file is larger than {limit} bytes")


def _unpack_lzma(packed: bytes, size: int) -> bytes:
    """Unpack zip's LZMA: version (2 bytes), length of the properties (2), properties (5), data."""
    (length,) = struct.unpack_from("<H", packed, 2)
    properties = packed[4 : 4 + length]
    if length != 5:
        raise ValueError("the properties of LZMA are damaged")
    first, dictionary = struct.unpack("<BI", properties)
    first, lc = divmod(first, 9)
    pb, lp = divmod(first, 5)
    filters = [
        {
            "id": lzma.FILTER_LZMA1,
            "dict_size": min(dictionary, max(size, 1 << 12)),
            "lc": lc,
            "lp": lp,
            "pb": pb,
        }
    ]
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    return unpacker.decompress(packed[4 + length :], size + 1)
