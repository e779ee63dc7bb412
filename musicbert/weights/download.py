"""Downloading a file with a checksum, resuming where an earlier attempt stopped.

The bytes are written to ``.NAME.partial`` beside the target, which is renamed when its SHA-256 is as
expected; a file under its own name is therefore whole. An interrupted attempt leaves the partial file, and
the next one asks only for the rest (HTTP ``Range``). Processes that download the same file wait for the first
one. No more is written than the size that is known beforehand, or `MAX_BYTES`.
"""

import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from os import PathLike
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from musicbert.errors import CheckpointError
from musicbert.reuse import is_open_at

if sys.platform != "win32":
    import fcntl

CHUNK = 1 << 20
#: Bytes of a file whose size nobody has recorded: above those of published checkpoints.
MAX_BYTES = 2 << 30
ATTEMPTS = 3
_PARTIAL_CONTENT, _BEYOND_END = 206, 416


def sha256_of(path: str | PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(
    url: str,
    target: str | PathLike[str],
    *,
    sha256: str | None,
    size: int | None = None,
    timeout: float = 30.0,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Download a file unless it exists.

    ``url``, ``target``: address (``http`` or ``https``) and file; missing folders are made; ``sha256``:
    expected checksum in hexadecimal; None accepts anything; ``size``: bytes, if known; ``timeout``: seconds
    without a byte after which an attempt ends; ``progress``: called with the number of bytes received and of
    all (None if the server does not say).
    Raises `CheckpointError`: ``bad-url``; ``no-network`` where the server cannot be reached;
    ``download-failed`` where it refuses; ``download-cut`` where it stops before the end (the part is kept);
    ``bad-checksum``; ``too-large`` where it sends more bytes than the file has (they are removed).
    """
    target = Path(target)
    if target.is_file():
        return target
    if urlsplit(url).scheme not in ("http", "https"):
        raise CheckpointError("bad-url", "Only http and https can be downloaded", path=url)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    with _held(partial, target) as file:
        if file is None:  # another process has fetched it
            return target
        for attempt in range(ATTEMPTS):
            if _fetch(url, file, partial, size or MAX_BYTES, timeout, progress):
                break
            if attempt == ATTEMPTS - 1:
                raise CheckpointError(
                    "download-cut",
                    f"The connection ended early, {partial.stat().st_size} bytes are kept",
                    path=url,
                    hint="run it again: it resumes from there",
                )
        checksum = sha256_of(partial) if sha256 is not None else None
        if sha256 is not None and checksum != sha256.lower():
            partial.unlink()
            raise CheckpointError(
                "bad-checksum",
                f"The file has SHA-256 {checksum}, not {sha256.lower()}; it was removed",
                path=url,
                hint="download it again, or from somewhere else",
            )
        partial.replace(target)
    return target


@contextmanager
def _held(partial: Path, target: Path) -> Iterator[IO[bytes] | None]:
    """Open the partial file for this process alone; None once the target is there.

    A link in its place is removed and not followed, as is a second name of another file.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        if partial.is_symlink():
            partial.unlink()
        with os.fdopen(os.open(partial, flags, 0o666), "r+b", buffering=0) as file:
            if sys.platform != "win32":
                fcntl.flock(file, fcntl.LOCK_EX)
            if target.is_file():
                if is_open_at(file.fileno(), partial):  # made after the target got its name
                    with suppress(OSError):
                        partial.unlink()
                yield None
                return
            if not is_open_at(file.fileno(), partial):
                continue  # the process before this one has removed it
            mine = os.fstat(file.fileno())
            if mine.st_nlink > 1 or not stat.S_ISREG(mine.st_mode):
                partial.unlink()
                continue
            yield file
            return


def _fetch(
    url: str,
    file: IO[bytes],
    partial: Path,
    most: int,
    timeout: float,
    progress: Callable[[int, int | None], None] | None,
) -> bool:
    """One attempt; True if the file is complete."""
    have = file.seek(0, os.SEEK_END)
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urlopen(request, timeout=timeout) as answer:
            follows = answer.headers.get("Content-Range", f"bytes {have}-").startswith(f"bytes {have}-")
            if answer.status != _PARTIAL_CONTENT or not follows:
                have = 0  # the server does not support ranges: start again
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            file.seek(have)
            file.truncate()
            while (total or 0) <= most and (chunk := answer.read(CHUNK)):
                have += len(chunk)
                if have > most:
                    break
                _write(file, chunk, partial)
                if progress is not None:
                    progress(have, total)
        if max(total or 0, have) > most:
            partial.unlink()
            message = f"The server sends more than the {most} bytes that the file has; they were removed"
            raise CheckpointError("too-large", message, path=url, hint="fetch it from somewhere else")
        return total is None or have >= total
    except HTTPError as error:
        error.close()
        if error.code == _BEYOND_END and have:
            return True  # already complete; the checksum decides
        raise CheckpointError(
            "download-failed", f"The server answered {error.code} {error.reason}", path=url
        ) from error
    except URLError as error:
        raise CheckpointError(
            "no-network",
            f"The server cannot be reached: {error.reason}",
            path=url,
            hint="download the file elsewhere and give its path",
        ) from error
    except (HTTPException, OSError, ValueError):  # interrupted: the received part is kept
        return False


def _write(file: IO[bytes], chunk: bytes, partial: Path) -> None:
    """Write all bytes; raises `CheckpointError` (``cannot-write``: the disk is full)."""
    try:
        left = memoryview(chunk)
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        message = f"The download cannot be written: {error.strerror}"
        hint = "free some space, then run it again: it resumes from there"
        raise CheckpointError("cannot-write", message, path=partial, hint=hint) from error
