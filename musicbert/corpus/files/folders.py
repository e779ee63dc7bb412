"""Folders and arrays written atomically: a reader sees the old one or the whole new one, never a half.

A folder is built as a hidden sibling (``.NAME.partial``) and renamed when it is complete, so a run that is
killed leaves at most that sibling, which the next run clears away. Files are in `musicbert.atomic`, whose
functions are passed on here. Verified in ``tests/unit/corpus/files/test_folders.py``.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import tempfile
import time
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Ints
from musicbert.atomic import MAX_MANIFEST, replacing
from musicbert.errors import DatasetError, MusicBertError
from musicbert.reuse import hold_folder

Result = TypeVar("Result")
#: Bytes that an ``.npz`` may unpack to, whatever its size, and how many times its size.
_UNPACKED_BYTES, _UNPACKED_TIMES = 1 << 29, 50
#: How often a folder that is replaced all the time is read again, and the pause while it is away.
_READ_AGAIN, _PAUSE_S = 1000, 0.002


def read_whole(
    path: str | os.PathLike[str], content: str, *, hint: str | None = None, most: int | None = MAX_MANIFEST
) -> bytes:
    """Read a file of at most so many bytes (None: of any size); ``content`` says in messages what it is.

    Raises `DatasetError` (``not-found``, ``too-large``).
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read() if most is None else file.read(most + 1)
        if most is not None and len(data) > most:
            raise DatasetError("too-large", f"{content} has more than {most:,} bytes", path=path, hint=hint)
        return data
    except OSError as error:
        message = f"{content} cannot be read: {error.strerror}"
        raise DatasetError("not-found", message, path=path, hint=hint) from error


def write_npy(path: str | os.PathLike[str], array: NDArray[Any], *, sync: bool = True) -> None:
    """Write an array of numbers as ``.npy``, atomically (`musicbert.atomic.replacing`), never as a pickle."""
    with replacing(path, sync=sync) as file:
        try:
            np.save(file, array, allow_pickle=False)
        except OSError as error:
            if error.errno is not None:
                raise
            # np.save writes with fwrite and gives a number of bytes in place of the system's reason
            raise OSError(errno.ENOSPC, "not all bytes could be written: is the disk full?") from error


def read_npz(path: str | os.PathLike[str], *names: str) -> dict[str, NDArray[Any]]:
    """Arrays of an ``.npz``, or those of some names, none pickled.

    Raises `OSError`, and `ValueError` where it is none, or unpacks to far more than such arrays do.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as data:
            unpacked = sum(member.file_size for member in data.zip.infolist())
            if unpacked > max(_UNPACKED_BYTES, _UNPACKED_TIMES * os.fstat(file.fileno()).st_size):
                raise ValueError(f"it unpacks to {unpacked} bytes")
            return {name: data[name] for name in names or data.files}
    except (EOFError, KeyError, AttributeError, RuntimeError, MemoryError, SyntaxError, TypeError) as error:
        raise ValueError(f"it is not a whole .npz file: {error!r}") from error
    except (zipfile.BadZipFile, zlib.error, struct.error) as error:
        raise ValueError(f"it is damaged: {error}") from error


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as a compressed ``.npz``, whole or not at all; parent folders are made."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


@contextmanager
def build_directory(
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    recognise: Callable[[Path], bool] = lambda _: True,
) -> Iterator[Path]:
    """Build a folder beside its destination and rename it when the block ends without an exception.

    Yields the hidden sibling to fill. ``overwrite`` replaces an earlier folder once the new one is complete,
    and only one that ``recognise`` accepts.

    Raises `DatasetError`: ``output-exists``, ``output-is-file``, ``output-not-ours``, ``cannot-write``, or
    ``output-busy`` (another run writes it).
    """
    path = Path(path).absolute()
    check_destination(path, overwrite, recognise)
    partial = path.parent / f".{path.name}.partial"
    with hold_folder(partial, path=path):
        try:
            _clear(partial)  # what a killed run left
            yield partial
            check_destination(path, overwrite, recognise)
            replace_folder(partial, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def replace_folder(partial: Path, path: Path) -> None:
    """Rename a complete folder to its destination, and remove the folder that was there."""
    old = _old(path)
    if path.is_dir():
        shutil.rmtree(old, ignore_errors=True)  # a killed run may have left one
        path.rename(old)
    partial.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def read_steadily(folder: str | os.PathLike[str], read: Callable[[], Result]) -> Result:
    """Read several files of a folder, again if `replace_folder` replaced it meanwhile."""
    path = Path(folder)
    for _ in range(_READ_AGAIN):
        before = _identity(path)
        try:
            result = read()
        except (MusicBertError, OSError):
            if before is not None and _identity(path) == before:
                raise
        else:
            if _identity(path) == before:
                return result
        if before is None:
            if not _old(path).exists():
                break
            time.sleep(_PAUSE_S)
    return read()


def _identity(folder: Path) -> tuple[int, int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _old(path: Path) -> Path:
    """Place of the folder that is being replaced."""
    return path.absolute().parent / f".{path.absolute().name}.old"


def check_destination(path: Path, overwrite: bool, recognise: Callable[[Path], bool]) -> None:
    """Raise the error of `build_directory` where a folder may not be written."""
    if path.is_dir():
        if not any(path.iterdir()):
            return
        if not overwrite:
            raise DatasetError(
                "output-exists",
                "The output folder is there already and is not empty",
                path=path,
                hint="remove it, choose another with --output, or pass --overwrite",
            )
        if not recognise(path):
            raise DatasetError(
                "output-not-ours",
                "The output folder holds something other than such a data set, so it is not replaced",
                path=path,
                hint="choose another with --output",
            )
    elif path.exists() or path.is_symlink():
        raise DatasetError(
            "output-is-file",
            "The output is a file, not a folder",
            path=path,
            hint="choose another with --output",
        )


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


_LARGEST = 0xFFFF


class Spool:
    """Arrays of 16-bit values set aside in a scratch file of a folder, for sets larger than memory.

    `append` returns the number by which an array is read back; the file is removed when the block ends.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".spool")  # noqa: SIM115 - closed by __exit__
        self._starts = array("q", [0])

    def append(self, values: NDArray[np.integer]) -> int:
        """Set an array aside (flattened) and return its number; `ValueError` for a value beyond 16 bits."""
        if values.size and not 0 <= int(values.min()) <= int(values.max()) <= _LARGEST:
            raise ValueError("a value does not fit into 16 bits")
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(values, np.uint16).data)
        self._starts.append(self._starts[-1] + values.size)
        return len(self) - 1

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> Ints:
        """Return an array, flat [shape=(size,), int64]."""
        begin, end = self._starts[number], self._starts[number + 1]
        self._file.seek(2 * begin)
        return np.frombuffer(self._file.read(2 * (end - begin)), np.uint16).astype(np.int64)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
