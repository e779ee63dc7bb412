"""A fine-tuned tagger as a folder, for use without fairseq and without its training data.

``tagger.json``
    ``model_type`` (``musicbert-tagger``), ``format_version``, ``family`` (``musicbert``, ``m2bert``
    or ``midibert``), ``architecture`` (attributes of the configuration), ``codec``, ``window`` and
    ``overlap`` in notes,
    ``head`` (`musicbert.model.tagger.TagSettings`), ``task`` (name, label, level, kind, classes, ignored
    classes; where known poles, scale and training ranges) or, of a head that learned several labels,
    ``tasks``, in the order of their outputs, and ``origin`` (model it started from, seed, frozen layers).
``model.safetensors``
    Tensors of `musicbert.model.tagger.Tagger`.

Classifiers in the layout of Hugging Face (`musicbert.weights.classifier_folder`) are read as such a folder.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from musicbert.config import ModelConfig
from musicbert.corpus.files.folders import read_steadily
from musicbert.encoding.codecs import CODECS, get_codec
from musicbert.errors import CheckpointError, first_line
from musicbert.model.tagger import Tagger, TagSettings
from musicbert.objectives.note_fields import OCTUPLE
from musicbert.weights.checks import check_values, check_version, whole_number
from musicbert.weights.classifier_folder import is_classifier_folder, read_classifier
from musicbert.weights.container import read_json, read_safetensors
from musicbert.weights.families.family import Family
from musicbert.weights.families.known import FAMILIES, infer_config
from musicbert.weights.folder import WEIGHTS, write_folder
from musicbert.weights.output_names import Head, head_from_json
from musicbert.weights.shapes import shapes_only

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


def tasks_of(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Labels of a tagger in the order of its outputs; raises `KeyError` or `TypeError`."""
    return [dict(task) for task in settings["tasks"]] if "tasks" in settings else [dict(settings["task"])]


def is_tagger_folder(path: str | PathLike[str]) -> bool:
    """Whether this is a folder that `load_tagger_folder` reads: a tagger, or a classifier of transformers."""
    return _is_ours(path) or is_classifier_folder(path)


def _is_ours(path: str | PathLike[str]) -> bool:
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
    return write_folder(folder, weights, {SETTINGS: content}, overwrite=overwrite, recognise=_is_ours)


def _check_use(settings: Mapping[str, Any]) -> None:
    """Check how the tagger is applied to music; raises `ValueError`."""
    whole_number(settings["window"], 1, "window")
    whole_number(settings["overlap"], 0, "overlap")
    if settings["overlap"] >= settings["window"]:
        raise ValueError(f"overlap {settings['overlap']} is not below the window {settings['window']}")
    tasks, outputs = tasks_of(settings), settings["head"]["outputs"]
    if settings["codec"] not in CODECS:
        raise ValueError(f"codec {settings['codec']!r} is not one of {', '.join(CODECS)}")
    for task in tasks:
        _check_task(task)
    if {task["level"] == "note" for task in tasks} != {settings["head"]["head"] == "note"}:
        raise ValueError(f"a head {settings['head']['head']!r} of another level than its label")
    count = sum(len(task["classes"]) for task in tasks)
    if count != outputs:
        raise ValueError(f"{outputs} outputs, but {count} classes")
    if len(tasks) > 1 and {(task["kind"], task["level"]) for task in tasks} != {("classes", "note")}:
        raise ValueError("several labels that are not all classes of notes")
    if settings.get("windows", "all") not in ("all", "first"):
        raise ValueError(f"windows {settings['windows']!r} is not all or first")


def _check_task(task: Mapping[str, Any]) -> None:
    """Check what is said of a label; raises `ValueError`."""
    if task["kind"] not in KINDS or task["level"] not in LEVELS:
        raise ValueError(f"kind {task['kind']!r} of {task['level']!r} is not one of {KINDS} of {LEVELS}")
    classes = task["classes"]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"classes are a list of names, not {classes!r}"[:200])
    if not isinstance(task.get("name") or task["label"], str):
        raise ValueError("its label has no name")
    output_of(task)


def _check_reading(settings: Mapping[str, Any], config: Any) -> None:
    """Check that the backbone reads the encoding; raises `ValueError`."""
    fields, octuples = get_codec(settings["codec"]).fields, settings["codec"] == "octuple"
    sizes = OCTUPLE.sizes if octuples else tuple(field.mask + 1 for field in fields)
    musicbert = isinstance(config, ModelConfig)
    fits = octuples and config.fields == len(fields) if musicbert else config.field_sizes == sizes
    if not fits:
        raise ValueError(f"the backbone does not read the codec {settings['codec']!r}")


def _check_sizes(family: Family, config: Any, head: TagSettings, weights: Mapping[str, torch.Tensor]) -> None:
    """Compare sizes with the tensors before anything is allocated; raises `ValueError`."""
    backbone = {
        name.removeprefix("backbone."): value
        for name, value in weights.items()
        if name.startswith("backbone.")
    }
    shown = infer_config(backbone, family=family)
    differ = [name for name in family.from_shapes if getattr(config, name) != getattr(shown, name)]
    if differ:
        raise ValueError(
            f"{differ[0]} is {getattr(config, differ[0])}, the tensors show {getattr(shown, differ[0])}"
        )
    with shapes_only():
        expected = Tagger(family.module(config), head).state_dict()
    names = [name for name in {**expected, **weights} if (name in expected) != (name in weights)]
    names += [name for name in weights if name in expected and weights[name].shape != expected[name].shape]
    if names:
        raise ValueError(f"tensors are missing, unknown or of another shape: {', '.join(names[:3])}")


def load_tagger_folder(folder: str | PathLike[str]) -> tuple[Tagger, dict[str, Any]]:
    """Read a tagger: the module in evaluation mode, and its settings.

    ``folder``: of a tagger, of a classifier of transformers, or a ``.pt`` of fairseq with heads of notes.
    Raises `CheckpointError`: ``not-found``, ``unreadable``, ``bad-config`` (settings and tensors do not fit
    together), ``bad-weights``; those of `musicbert.weights.classifier_folder.read_classifier`.
    """
    return read_steadily(folder, lambda: _load(Path(folder)))


def _load(folder: Path) -> tuple[Tagger, dict[str, Any]]:
    if _is_ours(folder) and (folder / WEIGHTS).is_file():
        settings, weights = read_json(folder / SETTINGS), read_safetensors(folder / WEIGHTS)
    elif folder.is_file() or is_classifier_folder(folder):
        settings, weights = read_classifier(folder)
    else:
        raise CheckpointError("not-found", "This folder does not hold a fine-tuned model", path=folder)
    try:
        if settings["model_type"] != MODEL_TYPE:
            raise ValueError("another type of model")
        check_version(settings["format_version"], FORMAT_VERSION)
        _check_use(settings)
        family = FAMILIES[settings["family"]]
        config, head = family.config_from(settings["architecture"]), TagSettings.from_dict(settings["head"])
        _check_sizes(family, config, head, weights)
        _check_reading(settings, config)
        check_values(weights, path=folder)
        tagger = Tagger(family.module(config), head)
        tagger.load_state_dict(weights, strict=True)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        reason = first_line(error)
        raise CheckpointError("bad-config", f"Its settings do not fit: {reason}", path=folder) from error
    return tagger.eval(), settings
