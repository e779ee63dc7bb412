"""Files written atomically: a reader sees the old file or the whole new one, never a part.

A file is written beside its destination, flushed to disk and renamed over it. A link stays and its target is
replaced; into a device or a pipe, the content is written when it is complete. All files of this package are
written here; whole folders in `musicbert.corpus.files.folders`.
"""

import errno
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

#: Permissions of a written file before the umask; ``mkstemp`` alone would leave it private to its owner.
_FILE_MODE = 0o666
#: Bytes of a file of settings, and of a list with entries for every file of a data set.
MAX_JSON, MAX_MANIFEST = 32 << 20, 256 << 20
#: Bytes of memory that the values of a JSON file may take, and about how many one value does.
_MAX_MEMORY, _VALUE = 10**9, 72
#: Links that lead to one file, as Linux counts.
_MAX_LINKS = 40


@contextmanager
def replacing(path: str | os.PathLike[str], *, sync: bool = True) -> Iterator[BinaryIO]:
    """Yield a binary file that takes the destination's place when the block ends without an exception.

    The folder of ``path`` must exist. An existing file stays until the new one, a hidden sibling, is
    complete. Without ``sync``, a power cut may leave an empty file: for many small files that can be made
    again; `flush_all` after them ends that.
    Raises `OSError` (the folder is missing, full or not writable; ``filename`` is the destination).
    """
    named_path = Path(path)
    path, in_place = _destination(named_path)
    if in_place:
        with tempfile.TemporaryFile() as whole:
            yield whole
            whole.seek(0)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as file:
                shutil.copyfileobj(whole, file)
        return
    prefix = f".{path.name}."
    partial = None
    try:
        handle, partial = tempfile.mkstemp(prefix=prefix, suffix=".partial", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if sync:
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
                raise OSError(error.errno, error.strerror, os.fspath(named_path)) from error
        raise


def remove_partial(folder: str | os.PathLike[str], *names: str) -> None:
    """Remove what killed processes left of files of these names (all) below a folder that is held."""
    for name in names or ("*",):
        for leftover in Path(folder).rglob(f".{name}.*partial"):
            leftover.unlink()


def flush_all() -> None:
    """Wait until all that was written is on the disk: once for many files."""
    if hasattr(os, "sync"):
        os.sync()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file atomically (see `replacing`)."""
    with replacing(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically, with line ends as given (see `replacing`).

    Bytes of file names that are not UTF-8 are surrogates in Python; they are written as escapes,
    which JSON reads back as they were.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = 2) -> None:
    """Write JSON atomically, ending in a newline; raises `ValueError` for NaN or infinity."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str], *, most: int = MAX_JSON) -> Any:
    """Read a JSON file of at most so many bytes.

    Raises `OSError`; `ValueError`: no JSON, nested too deeply, larger, or with numbers that are not finite.
    """
    with Path(path).open("rb") as file:
        text = file.read(most + 1)
    return parse_json(text, most=most)


def check_json(text: bytes | str, *, most: int = MAX_MANIFEST) -> None:
    """Raise `ValueError` for JSON of more bytes, or whose values would take more than a gigabyte."""
    if len(text) > most:
        raise ValueError(f"it has more than {most} bytes")
    count: Any = text.count
    values = sum(count(mark.encode() if isinstance(text, bytes) else mark) for mark in "[{,:")
    if 3 * len(text) + _VALUE * values > _MAX_MEMORY:
        raise ValueError(f"its {values} values do not fit into {_MAX_MEMORY} bytes of memory")


def parse_json(text: bytes | str, *, most: int = MAX_JSON) -> Any:
    """Read JSON (see `read_json`)."""
    check_json(text, most=most)
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_types(values: Any, **types: type | tuple[type, ...]) -> None:
    """Raise `ValueError` unless this is a JSON object with entries of these types; true is no number."""
    if not isinstance(values, dict):
        raise ValueError(f"{str(values)[:60]!r} is not a JSON object")
    for name, kinds in types.items():
        wanted = kinds if isinstance(kinds, tuple) else (kinds,)
        if name not in values or type(values[name]) not in wanted:
            names = " or ".join(kind.__name__ for kind in wanted)
            raise ValueError(f"{name} is {str(values.get(name, 'missing'))[:60]!r}, not {names}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it holds the number {text[:20]}")
    return number


def _destination(path: Path) -> tuple[Path, bool]:
    """Return the file that links lead to, and whether it is to be written in place: no regular file.

    Also in place: open files of a process, as ``/dev/stdout`` is one, whatever they are.
    """
    for _ in range(_MAX_LINKS):
        if Path(os.path.realpath(path.parent)).is_relative_to("/proc"):
            return path, True
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return path, True
        if not path.is_symlink():
            return path, False
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
