"""Checkpoint containers, read without running anything that is inside.

A checkpoint is a pickle, and a pickle can call any function: `musicbert.weights.pickles` reads tensors, plain
containers, and the few other classes in MusicBERT's checkpoints (``argparse.Namespace`` of fairseq 0.10,
omegaconf's ``DictConfig`` of 1.0.0a0, NumPy scalars in the training state), and refuses anything else with
``CheckpointError("unsafe-pickle")``. ``.safetensors`` files hold only tensors; their settings are in the
``config.json`` beside them. A folder stands for its ``model.safetensors`` or ``pytorch_model.bin``. Tensors
in the layout of Hugging Face, in either file, get their published names, and settings of ``config.json``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from musicbert import atomic
from musicbert.errors import CheckpointError, first_line
from musicbert.weights.checks import check_kind_of_file
from musicbert.weights.families.family import WITHOUT_FLAG
from musicbert.weights.families.hugging_face import (
    check_layout,
    from_hugging_face,
    hugging_face_settings,
    is_hugging_face,
)
from musicbert.weights.families.known import FAMILIES
from musicbert.weights.pickles import plain, read_pickle

logger = logging.getLogger(__name__)
#: Bytes of the list of tensors of a safetensors file.
MAX_HEADER = 8 << 20
#: Bytes of the length at the beginning of a safetensors file.
_LENGTH_BYTES = 8
#: Files of weights that a folder stands for, the first that is there.
IN_FOLDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
#: Files of one checkpoint.
MAX_SHARDS = 1000
#: Ending of the list of weights that are in several files.
_SHARDED = ".index.json"


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
    #: all groups of settings of fairseq, those of ``args`` as one for model and task
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: content of a ``config.json`` that :mod:`musicbert.weights.bundle` wrote
    folder_settings: dict[str, Any] = field(default_factory=dict)
    #: what the outputs of the heads mean, as a training of this package stored it
    outputs: list[Any] = field(default_factory=list)


def load_checkpoint(path: str | PathLike[str]) -> Checkpoint:
    """Read a checkpoint on the CPU.

    ``path``: a ``.pt`` of fairseq (any of its containers), a pickled state dict, a ``.safetensors`` file, or
    a folder with one of :data:`IN_FOLDER`.
    Raises `CheckpointError` (``not-found``, ``unsafe-pickle``, ``unreadable``, ``no-weights``,
    ``bad-weights``; ``bad-config``: ``config.json``).
    """
    path = Path(path)
    if path.is_dir():
        path = next((path / name for name in IN_FOLDER if (path / name).is_file()), path / IN_FOLDER[0])
    if not path.is_file():
        raise CheckpointError("not-found", "There is no such checkpoint", path=path, hint="check the path")
    if path.name.endswith(_SHARDED):
        return _with_config(read_shards(path), path.name.removesuffix(_SHARDED).rpartition(".")[2], path)
    check_kind_of_file(path)
    if path.suffix == ".safetensors":
        return _with_config(read_safetensors(path), "safetensors", path)
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise CheckpointError("no-weights", f"It holds a {type(content).__name__}, not weights", path=path)
    try:
        groups, container = _groups_of(content)
        saved = plain(content.get("musicbert"))  # by `save_fairseq`
        state = plain(content.get("task_state"))
    except (ValueError, TypeError) as error:
        raise CheckpointError("bad-config", f"Its settings do not fit: {error}", path=path) from error
    weights: Any = content.get("model")
    if not isinstance(weights, dict):
        weights = content.get("state_dict", content)
        heads = content.get("mask_lm")  # M2BERT keeps its heads beside the backbone
        if weights is not content and isinstance(heads, dict):
            weights = {**weights, **{f"mask_lm.{name}": value for name, value in heads.items()}}
    weights = {
        name: value
        for name, value in (weights.items() if isinstance(weights, dict) else ())
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    if not weights:
        raise CheckpointError("no-weights", "It holds no weights", path=path)
    if is_hugging_face(weights):
        return _with_config(weights, container, path)
    folder_settings = saved if isinstance(saved, dict) else {}
    settings, task = groups.get("model", {}), groups.get("task", {})
    outputs = state.get("outputs") if isinstance(state, dict) else None
    outputs = outputs if isinstance(outputs, list) else []
    return Checkpoint(weights, settings, str(path), container, task, groups, folder_settings, outputs)


def _groups_of(content: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], str]:
    """Return groups of settings and the container; raises `ValueError`."""
    if isinstance(content.get("model"), dict):
        for container in ("args", "cfg"):  # fairseq too prefers `args`
            if content.get(container) is not None:
                found = plain(content[container])
                groups = {"model": found, "task": found} if container == "args" else found
                named = {name: dict(group) for name, group in dict(groups).items() if isinstance(group, dict)}
                return {"model": {}, "task": {}, **named}, container
    return {}, "plain"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises `CheckpointError` (``unreadable``).
    """
    try:
        content = atomic.read_json(path)
    except (ValueError, OSError) as error:
        raise CheckpointError("unreadable", f"It is not JSON: {error}", path=path) from error
    if not isinstance(content, dict):
        raise CheckpointError("unreadable", "It is not a JSON object", path=path)
    return content


def _with_config(weights: dict[str, torch.Tensor], container: str, path: Path) -> Checkpoint:
    """Tensors with the settings of the ``config.json`` beside them."""
    beside = path.with_name("config.json")
    content = read_json(beside) if beside.is_file() else {}
    if is_hugging_face(weights):
        weights, container = from_hugging_face(weights, path=path), "hugging-face"
    architecture = content.get("architecture")
    if isinstance(architecture, dict):
        settings = {"encoder_attention_heads": architecture.get("heads")}
        family = next((f for name, f in FAMILIES.items() if name == content.get("model_type")), None)
        if family is None:
            message = f"Its settings do not fit: model_type is {content.get('model_type')!r}"
            raise CheckpointError("bad-config", message, path=beside)
        settings |= {flag: architecture.get(name) for name, flag in family.unseen.items()}
        settings |= {name: architecture[name] for name in WITHOUT_FLAG if name in architecture}
    else:
        try:
            settings = hugging_face_settings(content, weights)
            unknown = check_layout(content, weights) if container == "hugging-face" else []
        except ValueError as error:
            raise CheckpointError("bad-config", f"Its settings do not fit: {error}", path=beside) from error
        if unknown:
            logger.warning("%s: settings that are not known here: %s", beside, ", ".join(unknown))
    heads = settings.get("encoder_attention_heads")
    if heads is not None and (type(heads) is not int or heads < 1):
        raise CheckpointError("bad-config", f"{heads!r} is not a number of attention heads", path=beside)
    ours = content.get("model_type") in ("musicbert", "m2bert", "midibert")
    recorded = content if ours and "architecture" in content else {}
    return Checkpoint(weights, settings, str(path), container, folder_settings=recorded)


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a folder, under the names that its files have.

    Raises `CheckpointError` (``not-found``, ``unreadable``, ``unsafe-pickle``, ``missing-weights``).
    """
    path = next((folder / name for name in IN_FOLDER if (folder / name).is_file()), None)
    if path is None:
        message = f"This folder does not hold a {' or '.join(IN_FOLDER)}"
        raise CheckpointError("not-found", message, path=folder, hint="check the path")
    if path.name.endswith(_SHARDED):
        return read_shards(path)
    check_kind_of_file(path)
    content = read_safetensors(path) if path.suffix == ".safetensors" else read_pickle(path)
    tensors = content.items() if isinstance(content, dict) else ()
    return {str(name): value for name, value in tensors if isinstance(value, torch.Tensor)}


def read_shards(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors of several files, which a list names (``weight_map``: tensor -> file beside the list).

    Raises `CheckpointError` (``unreadable``: not such a list; ``missing-weights``: a file, or a tensor in it,
    is missing or in two files; those of the files).
    """
    places = read_json(path).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError("unreadable", "It has no weight_map: not a list of files of weights", path=path)
    files = {file for file in places.values() if isinstance(file, str) and Path(file).name == file}
    if len(files) > MAX_SHARDS or not all(file in files for file in map(str, places.values())):
        message = "Its weight_map names something other than files beside it"
        raise CheckpointError("unreadable", message, path=path)
    weights: dict[str, torch.Tensor] = {}
    for file in sorted(files):
        part = path.with_name(file)
        if not part.is_file():
            message = f"{file}, which holds a part of the weights, is missing"
            raise CheckpointError("missing-weights", message, path=path, hint="copy the whole folder again")
        check_kind_of_file(part)
        found = read_safetensors(part) if part.suffix == ".safetensors" else read_pickle(part)
        tensors = found if isinstance(found, dict) else {}
        if set(tensors) != {name for name, place in places.items() if place == file}:
            message = f"The tensors of {file} are not those that the list names"
            raise CheckpointError("missing-weights", message, path=path, hint="copy the whole folder again")
        weights |= {name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)}
    return weights


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors.

    Raises `CheckpointError` (``unreadable``).
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with path.open("rb") as file:
            if int.from_bytes(file.read(_LENGTH_BYTES), "little") > MAX_HEADER:
                raise OSError(f"its list of tensors has more than {MAX_HEADER} bytes")
        return load_file(path)
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = first_line(error)
        raise CheckpointError("unreadable", f"It is damaged: {reason}", path=path) from error
