"""Reading pickled ``.npy`` and ``.pkl`` files of lists and numbers without running anything that they say.

Upstream's ragged data are object arrays: a NumPy header, then a pickle. A pickle is a program; `numpy.load`
with ``allow_pickle=True`` would run it. Here the names that such files use (arrays, dtypes, scalars of NumPy)
stand for recorders of this module, every other name is refused, and arrays are made from the recorded bytes
afterwards, of numbers only. So a file can neither call nor import anything; it can still be large: everything
is in memory at once (about 250 bytes a note of nested lists), and `max_numbers` bounds what is made of it.

Verified, also on hostile files, in ``tests/unit/corpus/files/test_object_npy.py``.
"""

import ast
import io
import mmap
import pickle
import re
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from musicbert.errors import DatasetError

#: Numbers that a file may hold in all: a piece repeated by reference counts each time.
MAX_NUMBERS = 1 << 32
_NUMBER_TYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
_ORDERS = {"<", ">", "|", "="}
#: Bytes of the length of a header, by version of the format; NumPy's own limit for headers.
_LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}
_MAX_HEADER = 10_000
#: What reading a damaged pickle raises.
DAMAGE = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError,
    ImportError, OverflowError, MemoryError, RecursionError, AssertionError,
)  # fmt: skip


def _text(value: Any) -> str:
    """The value, which must be text: the text of another one may be of any length."""
    if not isinstance(value, str):
        raise pickle.UnpicklingError(f"a {type(value).__name__} in place of text")
    return value


class _Dtype:
    """Stands for `numpy.dtype`."""

    def __init__(self, kind: str, *_: object) -> None:
        self.kind = _text(kind).lstrip("".join(_ORDERS))
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])

    def numbers(self) -> np.dtype[Any]:
        """The dtype, of numbers only."""
        if self.kind not in _NUMBER_TYPES or self.order not in _ORDERS:
            raise pickle.UnpicklingError(f"an array of type {self.order}{self.kind}")
        return np.dtype(self.order + self.kind)


class _Array:
    """Stands for `numpy.ndarray`; gets its content by its state."""

    def __init__(self, *_: object) -> None:
        self.content: Any = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if dtype.kind.startswith("O"):
            if len(shape) != 1 or not isinstance(data, list) or len(data) != shape[0]:
                raise pickle.UnpicklingError("an object array of several dimensions")
            self.content = data
        else:
            self.content = _numbers(data, dtype, shape, "F" if fortran else "C")


def _numbers(data: Any, dtype: _Dtype, shape: Any, order: str) -> NDArray[Any]:
    """An array from recorded bytes."""
    if not isinstance(data, bytes | bytearray):  # `bytes` of a number makes so many of them
        raise pickle.UnpicklingError(f"a {type(data).__name__} in place of bytes")
    values = np.frombuffer(bytes(data), dtype.numbers())
    return values.reshape(tuple(int(size) for size in shape), order="F" if order == "F" else "C")


def _scalar(dtype: _Dtype, data: Any) -> Any:
    """Stands for NumPy's maker of scalars."""
    return _numbers(data, dtype, (), "C").item()


def _buffer(data: Any, dtype: _Dtype, shape: Any, order: str) -> _Array:
    """Stands for NumPy's maker of arrays in protocol 5."""
    array = _Array()
    array.content = _numbers(data, dtype, shape, order)
    return array


def _encode(text: str, encoding: str) -> bytes:
    """Stands for ``_codecs.encode``, by which old protocols write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes as {encoding}")
    return text.encode("latin1")


#: (module, name) -> what stands for it; `musicbert.weights.pickles` uses it too.
STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    **{
        (f"numpy.{core}.multiarray", name): stand_in
        for core in ("core", "_core")
        for name, stand_in in (("_reconstruct", _Array), ("scalar", _scalar))
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): _buffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    """Knows the names above and no other."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return STAND_INS[module_name, global_name]
        except KeyError:
            raise ForbiddenError(f"{module_name}.{global_name}") from None


class ForbiddenError(Exception):
    """A name that no data need."""


#: Opcodes with arguments of a fixed length, in a row; numbers of objects in the memo are below 2^24.
_FIXED = re.compile(
    rb"(?:[(012NQRabdesltuo)}\]\x81\x85-\x89\x8f-\x94\x97\x98]|[Khq\x80\x82].|[M\x83]..|[Jj\x84].{4}"
    rb"|[G\x95].{8}|r...\x00)*",
    re.DOTALL,
)
#: Bytes of the length of what follows an opcode; opcodes followed by lines.
_COUNTED = {
    **dict.fromkeys(b"U\x8cC\x8a", 1),
    **dict.fromkeys(b"TXB\x8b", 4),
    **dict.fromkeys(b"\x8d\x8e\x96", 8),
}
_LINES = {**dict.fromkeys(b"ILFSVPg", 1), **dict.fromkeys(b"ci", 2)}


def _check_memo(content: Any, at: int) -> None:
    """Raise unless a pickle numbers its objects as it makes them: the memo gets memory by these numbers."""
    while True:
        run = _FIXED.match(content, at)
        assert run is not None  # it matches the empty text too
        at = run.end()
        code = content[at]
        number = 0
        if code in _COUNTED:
            begin = at + 1 + _COUNTED[code]
            at = begin + int.from_bytes(content[at + 1 : begin], "little")
        elif code in _LINES or code == ord("p"):
            begin = at
            for _ in range(_LINES.get(code, 1)):
                at = content.find(b"\n", at) + 1
                if not at:
                    raise EOFError("it ends inside a line")
            number = int(content[begin + 1 : at]) if code == ord("p") else 0
        elif code == ord("r"):
            number, at = int.from_bytes(content[at + 1 : at + 5], "little"), at + 5
        elif code == ord("."):
            return
        else:
            raise pickle.UnpicklingError(f"opcode {code}")
        if number > at:
            raise pickle.UnpicklingError(f"object {number} of a pickle of {at} bytes")


def _unpickle(stream: IO[bytes], path: Path) -> Any:
    """Read one pickle from a stream."""
    try:
        if isinstance(stream, io.BytesIO):
            _check_memo(stream.getvalue(), stream.tell())
        else:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _check_memo(content, stream.tell())
        return _Unpickler(stream).load()
    except ForbiddenError as error:
        raise DatasetError(
            "unsafe-pickle",
            f"the file asks for {error}, which lists of numbers do not need",
            path=path,
            hint="do not open it with allow_pickle=True: it may run a program",
        ) from error
    except DAMAGE as error:
        raise DatasetError("unreadable", f"the pickle is damaged: {error}", path=path) from error


class _Plain:
    """Turns recorders into lists and arrays, counting numbers."""

    def __init__(self, path: Path, max_numbers: int) -> None:
        self.path, self.left = path, max_numbers

    def of(self, value: Any, depth: int = 0) -> Any:
        """The value without recorders."""
        if isinstance(value, _Array):
            value = value.content
        self.left -= value.size if isinstance(value, np.ndarray) else 1
        if self.left < 0 or depth > 8:
            raise DatasetError("too-large", "the file nests or holds more than data would", path=self.path)
        if isinstance(value, (list, tuple)):
            if set(map(type, value)) <= {int, float}:
                self.left -= len(value)
                return list(value)
            return [self.of(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {self.of(key, depth + 1): self.of(item, depth + 1) for key, item in value.items()}
        if value is None or isinstance(value, (bool, int, float, str, np.ndarray)):
            return value
        raise DatasetError("bad-value", f"the file holds a {type(value).__name__}", path=self.path)


def load_pickle(
    path: str | PathLike[str], *, content: bytes | None = None, max_numbers: int = MAX_NUMBERS
) -> Any:
    """Read a pickle of lists, tuples (as lists), dictionaries, numbers, text and arrays of numbers.

    ``content`` holds the bytes where the pickle is a member of an archive; ``path`` is then its name in
    errors. Raises `DatasetError`: ``not-found``, ``unreadable``, ``unsafe-pickle``, ``too-large``,
    ``bad-value``.
    """
    path = Path(path)
    if content is not None:
        return _Plain(path, max_numbers).of(_unpickle(io.BytesIO(content), path))
    try:
        with path.open("rb") as stream:
            return _Plain(path, max_numbers).of(_unpickle(stream, path))
    except FileNotFoundError as error:
        raise DatasetError("not-found", "there is no such file", path=path) from error
    except OSError as error:
        raise DatasetError("unreadable", f"the file cannot be opened: {error}", path=path) from error


def _header(stream: IO[bytes]) -> dict[str, Any]:
    """The header of an ``.npy`` file; the stream is behind it then. NumPy's own reader warns, or worse."""
    start = stream.read(len(npy_format.MAGIC_PREFIX) + 2)
    version = start[len(npy_format.MAGIC_PREFIX) :]
    if not start.startswith(npy_format.MAGIC_PREFIX) or version not in _LENGTH_BYTES:
        raise ValueError("it does not begin as one")
    size = int.from_bytes(stream.read(_LENGTH_BYTES[version]), "little")
    if size > _MAX_HEADER:
        raise ValueError(f"its header has {size} bytes")
    header = ast.literal_eval(stream.read(size).decode("latin1").strip())
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header is of another kind")
    return header


def _kind(header: dict[str, Any]) -> str:
    """Type of the numbers of an ``.npy`` file without its byte order, ``O`` for objects."""
    described = header["descr"]
    kind = described.lstrip("".join(_ORDERS)) if isinstance(described, str) else ""
    if kind != "O" and kind not in _NUMBER_TYPES:
        raise ValueError(f"it is of type {described}, not of numbers")
    return kind


def load_npy(path: str | PathLike[str], *, max_numbers: int = MAX_NUMBERS) -> NDArray[Any] | list[Any]:
    """Read an ``.npy`` file: an array of numbers (memory-mapped, read-only), or the list of an object array.

    Raises the errors of `load_pickle`.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            header = _header(stream)
            if _kind(header) != "O":
                empty = 0 in tuple(header["shape"])  # what has no numbers cannot be mapped
                array: NDArray[Any] = np.load(path, mmap_mode=None if empty else "r")
                return array
            content = _Plain(path, max_numbers).of(_unpickle(stream, path))
    except FileNotFoundError as error:
        raise DatasetError("not-found", "there is no such file", path=path) from error
    except (OSError, ValueError, TypeError, EOFError, SyntaxError, MemoryError, RecursionError) as error:
        raise DatasetError("unreadable", f"this is not a whole .npy file: {error}", path=path) from error
    if not isinstance(content, list):
        raise DatasetError("bad-value", "the object array holds no list", path=path)
    return content
