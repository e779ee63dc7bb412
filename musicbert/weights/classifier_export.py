"""Taggers written as classifiers in the layout of Hugging Face (`musicbert.weights.classifier_folder`)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from musicbert.errors import CheckpointError
from musicbert.model.tagger import TagSettings
from musicbert.weights.classifier_folder import (
    CONFIG,
    KINDS_OF_PROBLEMS,
    NOTES,
    PIECES,
    POOLER,
    SEVERAL,
    Weights,
    is_classifier_folder,
)
from musicbert.weights.families.hugging_face import hugging_face_config, to_hugging_face
from musicbert.weights.families.known import FAMILIES
from musicbert.weights.folder import write_folder

_LAYERS = "encoder.sentence_encoder.layers."


def _refusal(reason: str, folder: str | PathLike[str]) -> CheckpointError:
    message = f"transformers has no such classifier: {reason}"
    return CheckpointError("not-exportable", message, path=folder, hint="keep it as a tagger folder")


def save_classifier_folder(
    folder: str | PathLike[str],
    weights: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a tagger of a MusicBERT as a folder that transformers opens, whole or not at all.

    ``weights``, ``settings``: those of `load_tagger_folder`. The classes of transformers need the
    octuple embedding, ``bert.embeddings.downsampling`` (see docs/library.md). The centre and spread of a
    regression go into its last layer; the head of the masked language model, which a classifier does not
    read, is left out.
    Raises `CheckpointError` (``not-exportable``: another family, encoding or head than transformers has).
    """
    tasks = settings.get("tasks") or [settings["task"]]
    head, config = _exportable(settings, tasks, folder)
    parts: dict[str, Weights] = {"backbone": {}, "head": {}}
    for name, value in weights.items():
        part, _, rest = name.partition(".")
        if rest:
            parts[part][rest] = value.float()
    kept = {
        name: value
        for name, value in parts["backbone"].items()
        if not (name.startswith(_LAYERS) and int(name.removeprefix(_LAYERS).split(".")[0]) >= config.layers)
    }
    tensors = to_hugging_face(kept, path=folder)
    tensors = {name: value for name, value in tensors.items() if not name.startswith("cls.")}
    own = {name: value.double() for name, value in parts["head"].items()}
    if tasks[0]["kind"] == "regression":
        last = max(name for name in own if name.endswith("weight")).removesuffix("weight")
        spread = weights["spread"].double()
        own[f"{last}weight"] = own[f"{last}weight"] * spread[:, None]
        own[f"{last}bias"] = own[f"{last}bias"] * spread + weights["centre"].double()
    tensors |= {name: value.float() for name, value in _exported(own, head, tasks, kept).items()}
    names = [dict(enumerate(task["classes"])) for task in tasks]
    labels: dict[str, Any] = {
        "id2label": names[0],
        "label2id": {name: number for number, name in names[0].items()},
    }
    if len(tasks) > 1:
        tables = zip(tasks, names, strict=True)
        labels = {"multitask_id2label": {task["label"]: table for task, table in tables}}
    kinds = {ours: theirs for theirs, ours in KINDS_OF_PROBLEMS.items()}
    content = {
        **hugging_face_config(config),
        "architectures": [PIECES if head.head != "note" else SEVERAL if len(tasks) > 1 else NOTES],
        "classifier_dropout": head.dropout,
        "problem_type": kinds[tasks[0]["kind"]],
        **labels,
        **({"classifier_activation": head.activation} if head.inner and head.head == "note" else {}),
        "musicbert": {
            **{name: settings[name] for name in ("codec", "window", "overlap")},
            "tasks": tasks,
            "origin": settings.get("origin") or {},
        },
    }
    return write_folder(
        folder, tensors, {CONFIG: content}, overwrite=overwrite, recognise=is_classifier_folder
    )


def _exportable(
    settings: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]], folder: str | PathLike[str]
) -> tuple[TagSettings, Any]:
    """Head, and architecture up to the layer that it reads; raises `CheckpointError`."""
    head = TagSettings.from_dict(dict(settings["head"]))
    config: Any = FAMILIES[settings["family"]].config_from(settings["architecture"])
    depth = config.layers if head.layer == -1 else head.layer % (config.layers + 1)
    piece = head.head in ("first", "first-row")
    reasons = {
        "it is not a MusicBERT that reads octuples": (settings["family"], settings["codec"])
        != ("musicbert", "octuple"),
        f"its head reads {head.head}": not piece and head.head != "note",
        "its head reads a mixture of layers": head.mix_layers,
        "its head reads the input of the first block": depth == 0,
        "it does not read all windows of a piece": settings.get("windows", "all") != "all",
        f"its inner width is {head.inner}, not {config.width}": piece and head.inner not in (0, config.width),
        "two of its classes have one name": any(len(set(t["classes"])) < len(t["classes"]) for t in tasks),
    }
    if wrong := [reason for reason, holds in reasons.items() if holds]:
        raise _refusal(wrong[0], folder)
    return head, config.with_(layers=depth)


def _exported(own: Weights, head: TagSettings, tasks: Sequence[Any], backbone: Weights) -> Weights:
    """Tensors of a head by their names in transformers."""
    if head.head != "note":
        dense, bias = own["dense.weight"], own["dense.bias"]
        if (
            head.head == "first"
        ):  # the up-projection of the first field, and the layer after it, are one layer
            up = "encoder.sentence_encoder.upsampling.0."
            width = dense.shape[1]
            bias = bias + dense @ backbone[f"{up}bias"][:width].double()
            dense = dense @ backbone[f"{up}weight"][:width].double()
        state = {f"{POOLER}weight": dense, f"{POOLER}bias": bias}
        return {**state, "classifier.weight": own["out_proj.weight"], "classifier.bias": own["out_proj.bias"]}
    last = "classifier.3." if head.inner else "classifier.0."
    ends = torch.tensor([0, *(len(task["classes"]) for task in tasks)]).cumsum(0).tolist()
    state = {}
    for number, (begin, end) in enumerate(pairwise(ends)):
        prefix = f"classifier.{number}." if len(tasks) > 1 else "classifier."
        prefix += "out_proj." if head.inner else ""
        state |= {f"{prefix}{part}": own[f"{last}{part}"][begin:end] for part in ("weight", "bias")}
        if head.inner:  # the numbers of the inner layer that this label reads
            read = own[f"{last}weight"][begin:end].ne(0).any(0)
            read[0] |= not bool(read.any())
            dense = prefix.replace("out_proj.", "dense.")
            state[f"{prefix}weight"] = state[f"{prefix}weight"][:, read]
            state |= {f"{dense}{part}": own[f"classifier.1.{part}"][read] for part in ("weight", "bias")}
    return state
