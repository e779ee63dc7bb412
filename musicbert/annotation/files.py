"""Files written whole or not at all, and their hashes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from musicbert.errors import RatingError

__all__ = ["sha256", "write_whole"]


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that a reader sees the old one or the complete new one, never a part.

    Raises
    ------
    RatingError
        ``cannot-write`` when the folder is missing or not writable.
    """
    target = Path(path)
    try:
        handle, part = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise RatingError(
            "cannot-write", f"cannot write here: {error.strerror}", path=target, hint="does the folder exist?"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(part).chmod(0o666 & ~umask)  # mkstemp makes files for the owner only
        Path(part).replace(target)
    except BaseException as error:
        with suppress(OSError):
            Path(part).unlink()
        if isinstance(error, OSError):
            raise RatingError("cannot-write", f"cannot write: {error.strerror}", path=target) from error
        raise
