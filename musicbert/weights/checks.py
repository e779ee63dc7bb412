"""What is checked of tensors and settings before a model is built from them.

Settings are checked for types and ranges, and compared with shapes of tensors before anything of the size
that they state is allocated. Tensors have to be dense, whole, of floating point and finite: nothing is cast.
"""

import math
from collections.abc import Mapping
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from musicbert.errors import CheckpointError
from musicbert.file_kinds import HEAD_BYTES, FileKind, file_kind

#: types of weights that a model takes
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
#: numbers of an architecture that may be 0
_MAY_BE_ZERO = ("performance_features", "roll_outputs", "window")


def whole_number(value: object, least: int, name: str) -> None:
    """Raise `ValueError` unless this is an integer of at least ``least``."""
    if type(value) is not int or value < least:
        raise ValueError(f"{name} is {value!r}, not a whole number from {least} on")


def fraction(value: object, name: str) -> None:
    """Raise `ValueError` unless this is a number in 0-1."""
    if type(value) not in (int, float) or not 0 <= value <= 1:  # type: ignore[operator]
        raise ValueError(f"{name} is {value!r}, not a number in 0-1")


def check_version(version: object, newest: int) -> None:
    """Raise `ValueError` unless this is the number of a format that this program reads."""
    whole_number(version, 1, "format_version")
    if version > newest:  # type: ignore[operator]
        raise ValueError(f"format_version {version} is newer than this program")


def check_architecture(config: Any) -> None:
    """Check types and ranges of an architecture; raises `ValueError`."""
    for entry in fields(config):
        name, value, default = entry.name, getattr(config, entry.name), entry.default
        if isinstance(default, bool):
            if not isinstance(value, bool):
                raise ValueError(f"{name} is {value!r}, not true or false")
        elif isinstance(default, int):
            whole_number(value, 0 if name in _MAY_BE_ZERO else 1, name)
        elif name.endswith("dropout"):
            fraction(value, name)
        elif isinstance(default, float):
            if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
                raise ValueError(f"{name} is {value!r}, not a positive number")
        elif not (isinstance(value, tuple) and value):
            raise ValueError(f"{name} is {value!r}, not a list of numbers")
        else:
            for number in value:
                whole_number(number, 0, name)
    if config.width % config.heads:
        raise ValueError(f"width {config.width} is not a multiple of {config.heads} heads")


def check_values(weights: Mapping[str, torch.Tensor], *, path: str | PathLike[str] | None = None) -> None:
    """Refuse weights that are no finite real numbers; raises `CheckpointError` (``bad-weights``)."""
    for name, value in weights.items():
        if value.dtype not in FLOATS:
            kind = str(value.dtype).removeprefix("torch.")
            message = f"The tensor {name} is of the type {kind}, not of floating point"
            raise CheckpointError("bad-weights", message, path=path)
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(
                "bad-weights",
                f"The tensor {name} holds values that are not finite (NaN or infinite)",
                path=path,
            )


#: given as a model by mistake
_MIDI = FileKind("a MIDI file", "check the path")


def check_kind_of_file(path: Path) -> None:
    """Refuse what is no checkpoint, such as a web page; raises `CheckpointError` (``unreadable``)."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    kind = _MIDI if head.startswith(b"MThd") else file_kind(head)
    if kind and not head.startswith(b"PK"):  # a .pt is a zip archive, too
        hint = kind.hint if "download" in kind.hint else "check the path"
        raise CheckpointError("unreadable", f"This is {kind.what}, not a checkpoint", path=path, hint=hint)
