"""Files of ``torch.save``, read without ``torch.load``: nothing in them is run, and sizes are bounded.

A pickle is a program that can call any function, and ``torch.load`` depends on settings of the whole process:
its list of allowed classes, and ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD`` in the environment. Here the names that
checkpoints use stand for functions and inert records of this package, and every other name is refused.
Storages are read from the file at the size that it has there; a tensor has to lie inside its storage.

Two layouts: the zip archive of torch 1.6 and later (``NAME/data.pkl`` and one stored member for each storage,
their checksums compared), and the older stream of pickles followed by the storages.
"""

import errno
import math
import pickle
import struct
import zipfile
from argparse import Namespace
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import IO, Any, ClassVar

import torch

from musicbert.atomic import replacing
from musicbert.corpus.files.object_npy import DAMAGE, STAND_INS, ForbiddenError
from musicbert.errors import CheckpointError, first_line

#: Bytes of the pickles of a file, without the numbers of its tensors; real ones take less than a megabyte.
MAX_PICKLE = 4 << 20
#: Entries of the settings beside the weights.
MAX_SETTINGS = 1_000_000
_MAX_DEPTH = 100
#: First number and version of the layout before torch 1.6.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_CHUNK = 1 << 20
#: Opcodes that make much of a few bytes, or that reach objects without their names; no checkpoint has them.
_REFUSED = (
    pickle.EMPTY_SET, pickle.FROZENSET, pickle.ADDITEMS, pickle.BYTEARRAY8, pickle.NEXT_BUFFER,
    pickle.EXT1, pickle.EXT2, pickle.EXT4,
)  # fmt: skip
_STORAGES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip


class Record:
    """An object of a class that is not made: keeps its state and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def _not_dense(*_: Any) -> Any:
    raise CheckpointError("bad-weights", "It holds a tensor that is not a whole dense tensor")


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _dictionary(*_: Any) -> dict[Any, Any]:
    return {}


def _lengths(values: Any) -> tuple[int, ...]:
    """Whole numbers from 0 on."""
    if not isinstance(values, tuple | list) or not all(type(each) is int and each >= 0 for each in values):
        raise pickle.UnpicklingError("sizes that are not whole numbers")
    return tuple(values)


_NAMES: dict[tuple[str, str], Any] = {
    **STAND_INS,
    ("argparse", "Namespace"): Namespace,
    ("collections", "OrderedDict"): _dictionary,
    ("collections", "defaultdict"): _dictionary,
    ("torch", "Size"): _lengths,
    ("torch.serialization", "_get_layout"): _not_dense,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    **{("torch", f"{kind}Storage"): dtype for kind, dtype in _STORAGES.items()},
    # containers and values of omegaconf, and the types of their content
    **dict.fromkeys(
        [
            ("omegaconf.dictconfig", "DictConfig"),
            ("omegaconf.listconfig", "ListConfig"),
            *(("omegaconf.base", name) for name in ("ContainerMetadata", "Metadata")),
            *(
                ("omegaconf.nodes", f"{kind}Node")
                for kind in ("Any", "Boolean", "Bytes", "Enum", "Float", "Integer", "Path", "String")
            ),
            ("typing", "Any"),
            *(
                ("builtins", name)
                for name in ["bool", "dict", "float", "int", "list", "str", "tuple", "long", "unicode"]
            ),
        ],
        Record,
    ),
}


class _Stream:
    """Reads no more than the pickles of a checkpoint take."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.left = file, MAX_PICKLE

    def read(self, size: int) -> bytes:
        """Read so many bytes."""
        self.left -= size
        if self.left < 0 or size < 0:
            raise pickle.UnpicklingError(f"its pickle has more than {MAX_PICKLE} bytes")
        return self.file.read(size)

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def readline(self) -> bytes:
        """Read a line."""
        line = self.file.readline(self.left + 1)
        self.left -= len(line)
        return line if self.left >= 0 else self.read(1)


class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """The unpickler in Python: it allocates nothing at a size that the file states."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        code: method
        for code, method in pickle._Unpickler.dispatch.items()  # type: ignore[attr-defined]
        if bytes([code]) not in _REFUSED
    }

    def __init__(self, stream: _Stream, storage: Callable[..., torch.Tensor]) -> None:
        super().__init__(stream)
        self.storage = storage

    def find_class(self, module: str, name: str, /) -> Any:
        """Return what a name stands for."""
        module = "builtins" if module == "__builtin__" else module
        if (module, name) in _NAMES:
            return _NAMES[module, name]
        if module == "torch._utils" and name.startswith("_rebuild"):
            return self._rebuild if name in ("_rebuild_tensor", "_rebuild_tensor_v2") else _not_dense
        raise ForbiddenError(f"{module}.{name}")

    def persistent_load(self, named: Any) -> torch.Tensor:
        """Content of a storage."""
        kind, dtype, key, _, count, *view = named
        known = kind == "storage" and isinstance(dtype, torch.dtype) and isinstance(key, str)
        if not known or not _lengths([count]) or view not in ([], [None]):
            raise pickle.UnpicklingError("a storage of another kind")
        return self.storage(dtype, key, count)

    def _rebuild(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
        """Make a tensor that lies inside its storage."""
        (offset,), size, stride = _lengths([offset]), _lengths(size), _lengths(stride)
        if not isinstance(storage, torch.Tensor) or len(size) != len(stride):
            _not_dense()
        if 0 in size:
            return storage.new_empty(size)
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if max(last + 1, math.prod(size)) > storage.numel():
            _not_dense()
        return storage.as_strided(size, stride, offset)

    def load_build(self) -> None:
        """Give an object its state, where that is one of ours."""
        state = self.stack.pop()
        owner = self.stack[-1]
        if isinstance(owner, Namespace) and isinstance(state, dict):
            vars(owner).update(state)
        elif type(owner) in _STATEFUL:
            owner.__setstate__(state)
        elif not isinstance(owner, dict):  # of dictionaries: `_metadata`, which is not used
            raise pickle.UnpicklingError(f"a state of {type(owner).__name__}")

    def load_setitems(self) -> None:
        """Fill a dictionary; its keys are text or numbers."""
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def load_setitem(self) -> None:
        """Set one entry."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set(key, value)

    def load_dict(self) -> None:
        """Make a dictionary of the items above the mark."""
        items = self.pop_mark()
        self.append({})
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def _set(self, key: Any, value: Any) -> None:
        owner = self.stack[-1]
        if not isinstance(owner, dict | Record) or not isinstance(key, str | int | float | bytes | None):
            raise pickle.UnpicklingError(f"a key of {type(key).__name__} in {type(owner).__name__}")
        owner[key] = value

    dispatch |= {
        pickle.BUILD[0]: load_build,
        pickle.SETITEMS[0]: load_setitems,
        pickle.SETITEM[0]: load_setitem,
        pickle.DICT[0]: load_dict,
    }


_STATEFUL = {Record, *(each for each in STAND_INS.values() if isinstance(each, type))}


def _fill(memory: torch.Tensor, file: IO[bytes]) -> None:
    """Read the bytes of a storage; those of a ``meta`` tensor are only passed."""
    view = None if memory.is_meta else memoryview(memory.numpy())
    for begin in range(0, memory.numel(), _CHUNK):
        length = min(_CHUNK, memory.numel() - begin)
        content = file.read(length)
        if len(content) < length:
            raise EOFError("it ends inside a tensor")
        if view is not None:
            view[begin : begin + length] = content


def _from_zip(archive: zipfile.ZipFile, size: int, device: str) -> Any:
    """Read the layout of torch 1.6 and later from a file of so many bytes."""
    members = {member.filename: member for member in archive.infolist()}
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ValueError("it is not an archive of torch.save")
    packed = [name for name, member in members.items() if member.compress_type]
    if packed:  # torch never compresses: a small file could claim any size
        raise ValueError(f"its member {packed[0]} is compressed")
    if sum(member.file_size for member in members.values()) > size:
        raise ValueError("its members are larger than the file")
    order = f"{roots[0]}byteorder"
    if order in members and archive.read(order) != b"little":
        raise ValueError("its numbers are big-endian")
    storages: dict[str, torch.Tensor] = {}

    def storage(dtype: torch.dtype, key: str, count: int) -> torch.Tensor:
        if key not in storages:
            member = members[f"{roots[0]}data/{key}"]
            memory = torch.empty(member.file_size, dtype=torch.uint8, device=device)
            with archive.open(member) as file:
                _fill(memory, file)
                file.read(1)  # compares the checksum
            storages[key] = memory
        if storages[key].numel() != count * dtype.itemsize:
            raise ValueError(f"its storage {key} has another size")
        return storages[key].view(dtype)

    with archive.open(f"{roots[0]}data.pkl") as file:
        return _Unpickler(_Stream(file), storage).load()


def _from_stream(file: IO[bytes], size: int, device: str) -> Any:
    """Read the layout before torch 1.6 from a file of so many bytes."""
    storages: dict[str, torch.Tensor] = {}
    left = size

    def storage(dtype: torch.dtype, key: str, count: int) -> torch.Tensor:
        nonlocal left
        if key not in storages:
            left -= count * dtype.itemsize
            if left < 0:
                raise EOFError("it ends inside a tensor")
            storages[key] = torch.empty(count * dtype.itemsize, dtype=torch.uint8, device=device)
        if storages[key].numel() != count * dtype.itemsize:
            raise ValueError(f"its storage {key} has another size")
        return storages[key].view(dtype)

    stream = _Stream(file)
    start = [_Unpickler(stream, storage).load() for _ in range(2)]
    if start != [_MAGIC, _VERSION]:
        raise ValueError("it is not a file of torch.save")
    _Unpickler(stream, storage).load()  # the system that wrote it
    content = _Unpickler(stream, storage).load()
    for key in _Unpickler(stream, storage).load():
        (count,) = struct.unpack("<q", file.read(8))
        memory = storages[key]
        if bool(count) != bool(memory.numel()) or (count and memory.numel() % count):
            raise ValueError(f"its storage {key} has another size")
        _fill(memory, file)
    return content


def read_pickle(path: Path, *, numbers: bool = True) -> Any:
    """Content of a file of ``torch.save``: tensors on the CPU, containers, numbers, text and records.

    Without ``numbers``, tensors are on the device ``meta``; the file is read, its checksums are compared.
    Raises `CheckpointError` (``unsafe-pickle``, ``unreadable``, ``bad-weights``).
    """
    device = "cpu" if numbers else "meta"
    try:
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _from_zip(archive, size, device)
        with path.open("rb") as file:
            return _from_stream(file, size, device)
    except ForbiddenError as error:
        raise CheckpointError(
            "unsafe-pickle",
            f"It was refused: it holds more than weights ({error})",
            path=path,
            hint="do not load it by other means; ask its author for safetensors",
        ) from error
    except CheckpointError as error:
        error.path = str(path)
        raise
    except (*DAMAGE, zipfile.BadZipFile, struct.error, RuntimeError, OSError, LookupError) as error:
        reason = first_line(error)
        message, hint = f"It is damaged: {reason[:200]}", "download or copy it again"
        raise CheckpointError("unreadable", message, path=path, hint=hint) from error


def write_pickle(content: Any, path: str | PathLike[str]) -> None:
    """Write a file as ``torch.save`` does, whole or not at all; raises `OSError`."""
    with replacing(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch does not say what the disk said
            raise OSError(errno.ENOSPC, "not all bytes could be written: is the disk full?") from error


def plain(value: Any, *, namespaces: bool = False) -> Any:
    """Turn records into dictionaries and values; ``namespaces``: keep those of argparse as they are.

    Raises `ValueError` (more entries than settings have).
    """
    left = MAX_SETTINGS

    def of(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > _MAX_DEPTH:
            raise ValueError("its settings nest or hold more than settings do")
        if isinstance(value, Record):
            state = value.state if isinstance(value.state, dict) else {}
            content = state.get("_content", state.get("_val"))  # a container, or a value, of omegaconf
            return of(content, depth + 1)
        if isinstance(value, Namespace):
            entries = {str(key): of(entry, depth + 1) for key, entry in vars(value).items()}
            return Namespace(**entries) if namespaces else entries
        if isinstance(value, dict):
            return {key: of(entry, depth + 1) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [of(entry, depth + 1) for entry in value]
        return None if value is Record else value

    return of(value, 0)
