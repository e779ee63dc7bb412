"""Checkpoint containers, read without running anything that is inside.

A checkpoint is a pickle, and a pickle can call any function. Only tensors and plain containers are loaded
(``torch.load(weights_only=True)``); the few other classes in MusicBERT's checkpoints (``argparse.Namespace``
of fairseq 0.10, omegaconf's ``DictConfig`` of 1.0.0a0, NumPy scalars in the training state) are read as inert
records. Anything else is refused with ``CheckpointError("unsafe-pickle")``. ``.safetensors`` files hold only
tensors; their settings are in the ``config.json`` beside them. A folder stands for its
``model.safetensors``, and tensors in the layout of Hugging Face get their published names.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import torch

from musicbert.errors import CheckpointError
from musicbert.weights.checks import check_kind_of_file, check_storage, check_zip
from musicbert.weights.families.hugging_face import from_hugging_face, is_hugging_face

#: harmless classes that are read as records; only the settings beside the weights use them
RECORDS = (
    "argparse.Namespace",
    "collections.defaultdict",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "_codecs.encode",
    # containers and values of omegaconf, and the types of their content
    "omegaconf.dictconfig.DictConfig",
    "omegaconf.listconfig.ListConfig",
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
    *(
        f"omegaconf.nodes.{kind}Node"
        for kind in ("Any", "Boolean", "Bytes", "Enum", "Float", "Integer", "Path", "String")
    ),
    "typing.Any",
    *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str", "tuple")),
)
#: errors of torch for a damaged file
DAMAGE = (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True)
class Checkpoint:
    """Weights with the settings they were trained under; settings that the file does not have are empty."""

    #: name -> tensor, as in the file
    weights: dict[str, torch.Tensor]
    #: of the model, as a flat dictionary (``encoder_layers``, ...)
    settings: dict[str, Any] = field(default_factory=dict)
    #: where it was read
    path: str = ""
    #: ``args`` (fairseq up to 0.10), ``cfg`` (fairseq from 1.0.0a0), ``plain`` (only weights),
    #: ``safetensors`` or ``hugging-face``
    container: str = "plain"
    #: settings of the training task (``data``, ``criterion_name``, ...)
    task: dict[str, Any] = field(default_factory=dict)
    #: content of a ``config.json`` that :mod:`musicbert.weights.bundle` wrote
    folder_settings: dict[str, Any] = field(default_factory=dict)
    #: what the outputs of the heads mean, as a training of this package stored it
    outputs: list[Any] = field(default_factory=list)


class _Record:
    """Placeholder for an object of a class that must not be run: keeps its state and does nothing."""

    def __new__(cls, *args: Any, **_: Any) -> _Record:
        record = super().__new__(cls)
        record.__dict__["_arguments"] = args
        return record

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {"_state": state})

    def __setitem__(self, key: Any, value: Any) -> None:
        self.__dict__.setdefault("_items", {})[key] = value


def _plain(value: Any) -> Any:
    """Turn records into dictionaries and values."""
    if isinstance(value, _Record):
        state = value.__dict__
        if "_content" in state:  # a container of omegaconf
            return _plain(state["_content"])
        if "_val" in state:  # a value of omegaconf
            return _plain(state["_val"])
        return {key: _plain(entry) for key, entry in state.items() if not key.startswith("_")}
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def load_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read a checkpoint on the CPU.

    ``path``: a ``.pt`` of fairseq (any of its containers), a pickled state dict, a ``.safetensors`` file, or
    a folder with ``model.safetensors``.
    Raises `CheckpointError` (``not-found``, ``unsafe-pickle``, ``unreadable``, ``no-weights``,
    ``bad-weights``; ``bad-config``: ``config.json``).
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise CheckpointError("not-found", "There is no such checkpoint", path=path, hint="check the path")
    check_kind_of_file(path)
    if path.suffix == ".safetensors":
        return _from_safetensors(path)
    check_zip(path)
    content = _read_pickle(path)
    if not isinstance(content, dict):
        raise CheckpointError("no-weights", f"It holds a {type(content).__name__}, not weights", path=path)
    settings: dict[str, Any] = {}
    task: dict[str, Any] = {}
    container = "plain"
    if isinstance(content.get("model"), dict):
        weights = content["model"]
        if content.get("cfg") is not None:
            groups, container = _plain(content["cfg"]), "cfg"
            settings, task = groups.get("model") or {}, groups.get("task") or {}
        elif content.get("args") is not None:
            settings, container = _plain(content["args"]), "args"
            task = settings
    else:
        weights = content.get("state_dict", content)
        heads = content.get("mask_lm")  # M2BERT keeps its heads beside the backbone
        if weights is not content and isinstance(heads, dict):
            weights = {**weights, **{f"mask_lm.{name}": value for name, value in heads.items()}}
    weights = {
        name: value
        for name, value in weights.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    if not weights:
        raise CheckpointError("no-weights", "It holds no weights", path=path)
    check_storage(weights, path=path)
    saved = content.get("musicbert")  # by `save_fairseq`
    folder_settings = saved if isinstance(saved, dict) else {}
    state = content.get("task_state")
    outputs = _plain(state.get("outputs")) if isinstance(state, dict) else None
    outputs = outputs if isinstance(outputs, list) else []
    return Checkpoint(weights, settings, str(path), container, task, folder_settings, outputs)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises `CheckpointError` (``unreadable``).
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError("unreadable", "It is not JSON", path=path) from error
    if not isinstance(content, dict):
        raise CheckpointError("unreadable", "It is not a JSON object", path=path)
    return content


def _from_safetensors(path: Path) -> Checkpoint:
    weights, container = read_safetensors(path), "safetensors"
    beside = path.with_name("config.json")
    content = read_json(beside) if beside.is_file() else {}
    if is_hugging_face(weights):
        weights, container = from_hugging_face(weights, path=path), "hugging-face"
    architecture = content.get("architecture")
    heads = content.get("num_attention_heads")
    if isinstance(architecture, dict):
        heads = architecture.get("heads")
    if heads is not None and (type(heads) is not int or heads < 1):
        raise CheckpointError("bad-config", f"{heads!r} is not a number of attention heads", path=beside)
    settings = {"encoder_attention_heads": heads} if heads else {}
    ours = content.get("model_type") in ("musicbert", "m2bert", "midibert")
    recorded = content if ours and "architecture" in content else {}
    return Checkpoint(weights, settings, str(path), container, {}, recorded)


@contextmanager
def _only_records() -> Iterator[None]:
    """Let torch read records and nothing else, whatever else this process allows."""
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals([(_Record, name) for name in RECORDS]):
            yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(allowed)


def _read_pickle(path: Path) -> Any:
    try:
        with _only_records(), catch_warnings():
            simplefilter("ignore", UserWarning)  # pickles of another protocol: they fail or they do not
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names = re.findall(r"GLOBAL (\S+) was not", str(error))
        raise CheckpointError(
            "unsafe-pickle",
            f"It was refused: it holds more than weights ({', '.join(names) or 'or is damaged'})",
            path=path,
            hint="do not load it by other means; ask its author for safetensors",
        ) from error
    except DAMAGE as error:
        raise CheckpointError("unreadable", f"It is damaged: {_first_line(error)}", path=path) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors.

    Raises `CheckpointError` (``unreadable``).
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError("unreadable", f"It is damaged: {_first_line(error)}", path=path) from error
