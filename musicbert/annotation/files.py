"""Files written whole or not at all, and their hashes."""

from __future__ import annotations

import hashlib
import os

from musicbert.atomic import write_bytes
from musicbert.errors import RatingError

__all__ = ["sha256", "write_whole"]


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file atomically (see `musicbert.atomic.replacing`).

    Raises
    ------
    RatingError
        ``cannot-write`` when the folder is missing or not writable.
    """
    try:
        write_bytes(path, data)
    except OSError as error:
        raise RatingError(
            "cannot-write", f"cannot write: {error.strerror}", path=path, hint="does the folder exist?"
        ) from error
