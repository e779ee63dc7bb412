"""Files written atomically: a reader sees the old file or the whole new one, never a part.

A file is written beside its destination, flushed to disk and renamed over it. All files of this package are
written here; whole folders in `musicbert.corpus.files.folders`.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

#: Permissions of a written file before the umask; ``mkstemp`` alone would leave it private to its owner.
_FILE_MODE = 0o666


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary file that takes the destination's place when the block ends without an exception.

    The folder of ``path`` must exist. An existing file stays until the new one, a hidden sibling, is
    complete.
    Raises `OSError` (the folder is missing, full or not writable; ``filename`` is the destination).
    """
    path = Path(path)
    prefix = f".{path.name}."
    partial = None
    try:
        handle, partial = tempfile.mkstemp(prefix=prefix, suffix=".partial", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(partial).chmod(_FILE_MODE & ~_umask())
        Path(partial).replace(path)
    except BaseException as error:  # also an interrupt: remove the half-written sibling
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            named = error.filename
            if named is None or Path(os.fsdecode(named)).name.startswith(prefix):
                # name the destination, not the sibling
                raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file atomically (see `replacing`)."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically, with line ends as given (see `replacing`)."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = 2) -> None:
    """Write JSON atomically, ending in a newline; raises `ValueError` for NaN or infinity."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False) + "\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
