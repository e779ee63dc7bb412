"""A fine-tuned tagger as a folder, for use without fairseq and without its training data.

``tagger.json``
    ``model_type`` (``musicbert-tagger``), ``format_version``, ``family`` (``musicbert``, ``m2bert``
    or ``midibert``), ``architecture`` (attributes of the configuration), ``codec``, ``window`` and
    ``overlap`` in notes,
    ``head`` (`musicbert.model.tagger.TagSettings`), ``task`` (name, label, level, kind, classes, ignored
    classes; where known poles, scale and training ranges), and ``origin`` (model it started from, seed).
``model.safetensors``
    Tensors of `musicbert.model.tagger.Tagger`.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from musicbert.encoding.codecs import CODECS
from musicbert.errors import CheckpointError
from musicbert.model.tagger import Tagger, TagSettings
from musicbert.weights.checks import check_values, check_version, whole_number
from musicbert.weights.container import read_json, read_safetensors
from musicbert.weights.families.family import Family
from musicbert.weights.families.known import FAMILIES
from musicbert.weights.folder import WEIGHTS, write_folder
from musicbert.weights.output_names import Head, head_from_json

SETTINGS = "tagger.json"
KINDS, LEVELS = ("classes", "multilabel", "regression"), ("note", "sequence")
MODEL_TYPE, FORMAT_VERSION = "musicbert-tagger", 1


def output_of(task: Mapping[str, Any]) -> Head:
    """What the outputs of a tagger mean; raises `ValueError` or `TypeError`."""
    kind, activations = task["kind"], {"classes": "softmax", "multilabel": "sigmoid", "regression": "none"}
    family = "regression" if kind == "regression" else "classification"
    names = {"name": task.get("name") or task["label"], "names": task["classes"], "task": kind}
    known = {name: task[name] for name in ("poles", "scale", "ranges") if name in task}
    size = {"kind": family, "activation": activations[kind], "outputs": len(task["classes"])}
    return head_from_json({**names, **size, **known})


def is_tagger_folder(path: str | PathLike[str]) -> bool:
    """Whether this is a folder that `save_tagger_folder` wrote."""
    return (Path(path) / SETTINGS).is_file()


def save_tagger_folder(
    folder: str | PathLike[str],
    weights: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a tagger, whole or not at all.

    ``folder``: folder to write; ``weights``: state dict of a `Tagger`; ``settings``: the entries of
    ``tagger.json`` from ``family`` on; ``overwrite``: replace an earlier tagger.
    """
    content = {"model_type": MODEL_TYPE, "format_version": FORMAT_VERSION, **settings}
    return write_folder(folder, weights, {SETTINGS: content}, overwrite=overwrite, recognise=is_tagger_folder)


def _check_use(settings: Mapping[str, Any]) -> None:
    """Check how the tagger is applied to music; raises `ValueError`."""
    whole_number(settings["window"], 1, "window")
    whole_number(settings["overlap"], 0, "overlap")
    if settings["overlap"] >= settings["window"]:
        raise ValueError(f"overlap {settings['overlap']} is not below the window {settings['window']}")
    task, outputs = settings["task"], settings["head"]["outputs"]
    if task["kind"] not in KINDS or task["level"] not in LEVELS:
        raise ValueError(f"kind {task['kind']!r} of {task['level']!r} is not one of {KINDS} of {LEVELS}")
    if settings["codec"] not in CODECS:
        raise ValueError(f"codec {settings['codec']!r} is not one of {', '.join(CODECS)}")
    if not isinstance(task["classes"], list) or len(task["classes"]) != outputs:
        raise ValueError(f"{outputs} outputs, but classes {task['classes']!r}"[:200])
    output_of(task)


def _check_sizes(family: Family, config: Any, head: TagSettings, weights: Mapping[str, torch.Tensor]) -> None:
    """Compare sizes with the tensors before anything is allocated; raises `ValueError`."""
    backbone = {
        name.removeprefix("backbone."): value
        for name, value in weights.items()
        if name.startswith("backbone.")
    }
    shown = family.infer(backbone)
    differ = [name for name in family.from_shapes if getattr(config, name) != getattr(shown, name)]
    if differ:
        raise ValueError(
            f"{differ[0]} is {getattr(config, differ[0])}, the tensors show {getattr(shown, differ[0])}"
        )
    if tuple(weights["centre"].shape) != (head.outputs,):
        raise ValueError(f"{head.outputs} outputs, the tensors show {tuple(weights['centre'].shape)}")
    widths = {size for name, value in weights.items() if name.startswith("head.") for size in value.shape}
    if head.inner and head.inner not in widths:
        raise ValueError(f"inner is {head.inner}, which no tensor of the head shows")


def load_tagger_folder(folder: str | PathLike[str]) -> tuple[Tagger, dict[str, Any]]:
    """Read a tagger: the module in evaluation mode, and its settings.

    Raises `CheckpointError`: ``not-found``, ``unreadable``, ``bad-config`` (settings and tensors do not fit
    together), ``bad-weights``.
    """
    folder = Path(folder)
    if not ((folder / SETTINGS).is_file() and (folder / WEIGHTS).is_file()):
        raise CheckpointError("not-found", "This folder does not hold a fine-tuned model", path=folder)
    settings, weights = read_json(folder / SETTINGS), read_safetensors(folder / WEIGHTS)
    try:
        if settings["model_type"] != MODEL_TYPE:
            raise ValueError("another type of model")
        check_version(settings["format_version"], FORMAT_VERSION)
        _check_use(settings)
        family = FAMILIES[settings["family"]]
        config, head = family.config_from(settings["architecture"]), TagSettings.from_dict(settings["head"])
        _check_sizes(family, config, head, weights)
        check_values(weights, path=folder)
        tagger = Tagger(family.module(config), head)
        tagger.load_state_dict(weights, strict=True)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError("bad-config", f"Its settings do not fit: {reason}", path=folder) from error
    return tagger.eval(), settings
