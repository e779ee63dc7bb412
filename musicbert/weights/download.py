"""Downloading a file with a checksum, resuming where an earlier attempt stopped.

The bytes are written to ``.NAME.partial`` beside the target, which is renamed when its SHA-256 is as
expected; a file under its own name is therefore whole. An interrupted attempt leaves the partial file, and
the next one asks only for the rest (HTTP ``Range``).
"""

import hashlib
from collections.abc import Callable
from http.client import HTTPException
from os import PathLike
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from musicbert.errors import CheckpointError

CHUNK = 1 << 20
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
    timeout: float = 30.0,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Download a file unless it exists.

    ``url``, ``target``: address (``http`` or ``https``) and file; missing folders are made; ``sha256``:
    expected checksum in hexadecimal; None accepts anything; ``timeout``: seconds without a byte after which
    an attempt ends; ``progress``: called with the number of bytes received and of all (None if the server
    does not say).
    Raises `CheckpointError`: ``bad-url``; ``no-network`` where the server cannot be reached;
    ``download-failed`` where it refuses; ``download-cut`` where it stops before the end (the part is kept);
    ``bad-checksum``.
    """
    target = Path(target)
    if target.is_file():
        return target
    if urlsplit(url).scheme not in ("http", "https"):
        raise CheckpointError("bad-url", "Only http and https can be downloaded", path=url)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    for attempt in range(ATTEMPTS):
        if _fetch(url, partial, timeout, progress):
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


def _fetch(
    url: str, partial: Path, timeout: float, progress: Callable[[int, int | None], None] | None
) -> bool:
    """One attempt; True if the file is complete."""
    have = partial.stat().st_size if partial.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urlopen(request, timeout=timeout) as answer:
            if answer.status != _PARTIAL_CONTENT:
                have = 0  # the server does not support ranges: start again
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length else None
            with partial.open("ab" if have else "wb") as file:
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    if progress is not None:
                        progress(have, total)
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
    except (HTTPException, OSError):  # interrupted: the received part is kept
        partial.touch()
        return False
