"""Classifiers of notes and pieces in the layout of Hugging Face, read as a `Tagger`.

``BertForTokenClassification``
    ``classifier.{weight,bias}`` on the state of each note, before the up-projection; with two layers
    ``classifier.dense.*`` and ``classifier.out_proj.*``, and between them the function that
    ``classifier_activation`` of ``config.json`` names.
``BertForMultiTaskTokenClassification``
    The same for several labels, ``classifier.<number>.*``; ``multitask_id2label`` maps each label to the
    names of its classes.
``BertForSequenceClassification``
    ``bert.pooler.dense.*``, tanh and ``classifier.*`` on the state of the first row, before the
    up-projection.

A class may have another prefix than ``Bert``. Names of classes are those of ``id2label``, else transformers'
own (``LABEL_0``). The ``.pt`` of RNBert has the first two as
``classification_heads.sequence_tagging_head.*`` and
``classification_heads.sequence_multitask_tagging_head.multi_tag_sub_heads.<number>.*``, and says the function
in ``pooler_activation_fn``. Dense layers of several labels become one, and their last layers one with zeros
between labels: the outputs are the same numbers. What this package knows beyond (windows, kinds of labels) is
the entry ``musicbert`` of ``config.json``. Other tensors and settings are refused: what they compute is not
known here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from musicbert.atomic import read_json
from musicbert.encoding.covering import OVERLAP, WINDOW
from musicbert.errors import CheckpointError
from musicbert.model.tagger import TagSettings
from musicbert.weights.container import load_checkpoint, read_tensors
from musicbert.weights.families.hugging_face import (
    check_layout,
    from_hugging_face,
    hugging_face_settings,
)
from musicbert.weights.families.known import FAMILIES, infer_config

CONFIG = "config.json"
NOTES, SEVERAL, PIECES = (
    "BertForTokenClassification",
    "BertForMultiTaskTokenClassification",
    "BertForSequenceClassification",
)
_CLASS = re.compile(r"\w*?(MultiTask|Multitask)?(Token|Sequence)Classification")
_HEAD = re.compile(
    r"(?:classifiers?|classification_heads\.sequence_(?:multi(?:task|target)_)?tagging_head)\."
    r"(?:multi_tag_sub_heads\.)?(?:(\d+)\.)?((?:dense\.|out_proj\.)?(?:weight|bias))"
)
POOLER = "bert.pooler.dense."
#: parts of a MusicBERT that no classifier reads; a file may lack them
_UNREAD = ("encoder.lm_head.", "encoder.sentence_encoder.upsampling.")
KINDS_OF_PROBLEMS = {
    "single_label_classification": "classes",
    "multi_label_classification": "multilabel",
    "regression": "regression",
}
#: entries of ``config.json`` that are read here, beside those of the encoder
_READ = ("multitask_id2label", "classifier_activation", "musicbert")
Weights = dict[str, torch.Tensor]


def is_classifier_folder(path: str | PathLike[str]) -> bool:
    """Whether the ``config.json`` of a folder names a classifier of transformers."""
    try:
        content = read_json(Path(path) / CONFIG)
    except (OSError, ValueError):  # no such folder; its reader says what is wrong with it
        return False
    return isinstance(content, dict) and _class_of(content) is not None


def _class_of(content: Mapping[str, Any]) -> re.Match[str] | None:
    """Kind of classifier that a ``config.json`` names."""
    names = content.get("architectures")
    names = names if isinstance(names, list) else []
    return next((found for name in names if (found := _CLASS.fullmatch(str(name)))), None)


def read_classifier(path: str | PathLike[str]) -> tuple[dict[str, Any], Weights]:
    """Read a classifier: the settings that ``tagger.json`` would have, and the state dict of a `Tagger`.

    ``path``: a folder of transformers, or a ``.pt`` of fairseq with heads of notes.
    Raises `CheckpointError`: ``other-model`` (its head is not one of those above), ``bad-config`` (settings
    that the network here does not have, or that leave open what it computes), ``missing-weights``; those of
    `load_checkpoint`.
    """
    path = Path(path)
    try:
        return _from_folder(path) if path.is_dir() else _from_fairseq(path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            "bad-config", f"Its settings do not fit: {error}", path=path, hint="see docs/library.md"
        ) from error


def _from_folder(folder: Path) -> tuple[dict[str, Any], Weights]:
    content, tensors = read_json(folder / CONFIG), read_tensors(folder)
    kind = _class_of(content)
    assert kind is not None  # is_classifier_folder
    heads = {name: value for name, value in tensors.items() if _HEAD.fullmatch(name)}
    pooler = {name: tensors.pop(name) for name in [*tensors] if name.startswith(POOLER)}
    backbone = from_hugging_face(
        {name: value for name, value in tensors.items() if name not in heads}, path=folder, classifier=True
    )
    settings = hugging_face_settings(content, backbone)
    settings.pop("tie_word_embeddings", None)  # of a head that is not read
    if unknown := [name for name in check_layout(content, backbone) if name not in _READ]:
        raise ValueError(f"{unknown[0]} is {content[unknown[0]]!r}, which is not known here")
    config = _config(backbone, settings, folder)
    dropout = content.get("classifier_dropout")
    dropout = config.dropout if dropout is None else dropout
    problem = content.get("problem_type")
    if problem is not None and problem not in KINDS_OF_PROBLEMS:
        raise ValueError(f"problem_type {problem!r} is not one of {', '.join(KINDS_OF_PROBLEMS)}")
    if kind[2] == "Sequence":
        state, counts = _sentence_head(heads, pooler, kind[0], backbone, folder)
        if problem is None and counts == [1]:
            raise ValueError("one output and no problem_type: say whether it is a regression")
        head = TagSettings(counts[0], head="first-row", dropout=dropout)
    else:
        activation = content.get("classifier_activation")
        state, head, counts = _note_head(heads, activation, dropout, folder, several=bool(kind[1]))
    level = "sequence" if kind[2] == "Sequence" else "note"
    tasks = _tasks(
        content, counts, level, KINDS_OF_PROBLEMS[problem or "single_label_classification"], bool(kind[1])
    )
    more = content.get("musicbert") or {}
    _agree(more, tasks)
    origin = {"file": folder.name, "container": "hugging-face", **(more.get("origin") or {})}
    return _settings(config, head, more.get("tasks") or tasks, origin, more), _state(backbone, config, state)


def _from_fairseq(path: Path) -> tuple[dict[str, Any], Weights]:
    checkpoint, family = load_checkpoint(path), FAMILIES["musicbert"]
    weights = family.rename(checkpoint.weights, path=path)
    heads = {name: value for name, value in weights.items() if _HEAD.fullmatch(name)}
    if not heads:
        raise CheckpointError("other-model", "It has no head of notes", path=path, hint="see checkpoint info")
    backbone = {name: value for name, value in weights.items() if name not in heads}
    deep = any(".dense." in name for name in heads)
    asked = checkpoint.settings.get("pooler_activation_fn") if deep else None
    settings = {**checkpoint.settings, "pooler_activation_fn": None}  # read by this head
    _refuse_unknown([name for name in backbone if not name.startswith("encoder.sentence_encoder.")], path)
    config = _config(backbone, settings, path)
    several = any("multi_tag_sub_heads" in name for name in heads)
    state, head, counts = _note_head(heads, asked, config.pooler_dropout, path, several=several)
    origin = {"file": path.name, "container": checkpoint.container}
    tasks = _tasks({}, counts, "note", "classes", several)
    return _settings(config, head, tasks, origin, {}), _state(backbone, config, state)


def _refuse_unknown(names: Sequence[str], path: Path) -> None:
    left = [name for name in names if not name.startswith("encoder.lm_head.")]
    if left:
        message = f"It is a classifier with parts that are not known here: {', '.join(left[:3])}"
        hint = "conditions and chained heads are not read; from_pretrained opens the encoder of a .pt"
        raise CheckpointError("other-model", message, path=path, hint=hint)


def _config(backbone: Weights, settings: Mapping[str, Any], path: Path) -> Any:
    """Architecture; the tensors are all known ones."""
    config = infer_config(backbone, settings, family=FAMILIES["musicbert"], path=path)
    with torch.device("meta"):
        known = FAMILIES["musicbert"].module(config).state_dict()
    _refuse_unknown([name for name in backbone if name not in known], path)
    return config


def _state(backbone: Weights, config: Any, head: Weights) -> Weights:
    """State dict of a `Tagger`; zeros for parts that no classifier reads and the file lacks."""
    with torch.device("meta"):
        known = FAMILIES["musicbert"].module(config).state_dict()
    unread = {name: torch.zeros(value.shape) for name, value in known.items() if name.startswith(_UNREAD)}
    outputs = len(head[next(reversed(head))])
    state = {f"backbone.{name}": value for name, value in {**unread, **backbone}.items()}
    state |= {f"head.{name}": value for name, value in head.items()}
    return {**state, "centre": torch.zeros(outputs), "spread": torch.ones(outputs)}


def _sentence_head(
    heads: Weights, pooler: Weights, name: str, backbone: Weights, path: Path
) -> tuple[Weights, list[int]]:
    """Head of pieces, and its number of outputs."""
    parts = {key.removeprefix("classifier."): value for key, value in heads.items()}
    if set(parts) != {"weight", "bias"} or set(pooler) != {f"{POOLER}weight", f"{POOLER}bias"}:
        message = "Its head is not that of BertForSequenceClassification: a pooler and one linear layer"
        raise CheckpointError("other-model", message, path=path)
    if name != PIECES and any(key.startswith(_UNREAD[1]) for key in backbone):
        raise ValueError(
            f"{name} is not a class of transformers, and has an up-projection that its pooler may or may not "
            f"read: if it does not, name {PIECES} in architectures"
        )
    state = {"dense.weight": pooler[f"{POOLER}weight"], "dense.bias": pooler[f"{POOLER}bias"]}
    state |= {"out_proj.weight": parts["weight"], "out_proj.bias": parts["bias"]}
    return state, [len(parts["bias"])]


def _note_head(
    heads: Weights, activation: Any, dropout: float, path: Path, *, several: bool
) -> tuple[Weights, TagSettings, list[int]]:
    """Head of notes: its tensors, settings, and the number of outputs of each label."""
    labels: dict[int, Weights] = {}
    for name, value in heads.items():
        found = _HEAD.fullmatch(name)
        assert found is not None
        part = labels.setdefault(int(found[1] or 0), {})
        if found[2] in part or (found[1] is None) == several:
            message = f"{name} is not a part of {'several labels' if several else 'one label'}"
            raise CheckpointError("other-model", message, path=path)
        part[found[2]] = value
    deep = {f"{layer}.{part}" for layer in ("dense", "out_proj") for part in ("weight", "bias")}
    parts = [labels[number] for number in sorted(labels)]
    whole = sorted(labels) == list(range(len(labels))) and parts
    if not whole or any(
        set(part) not in ({"weight", "bias"}, deep) or len(part) != len(parts[0]) for part in parts
    ):
        message = "The head of notes is not whole, or not one or two linear layers a label"
        raise CheckpointError("missing-weights", message, path=path)
    if "weight" in parts[0]:
        if activation is not None:
            raise ValueError(f"classifier_activation is {activation!r}, and the head has one layer")
        rows = {f"classifier.0.{end}": torch.cat([part[end] for part in parts]) for end in ("weight", "bias")}
        counts = [len(part["bias"]) for part in parts]
        return rows, TagSettings(sum(counts), dropout=dropout), counts
    if activation is None:
        raise ValueError(
            "the head has two layers, and nothing says the function between them: add "
            'classifier_activation ("tanh", "relu" or "gelu") to config.json'
        )
    state = {
        f"classifier.1.{end}": torch.cat([part[f"dense.{end}"] for part in parts])
        for end in ("weight", "bias")
    }
    state["classifier.3.weight"] = torch.block_diag(*(part["out_proj.weight"] for part in parts))
    state["classifier.3.bias"] = torch.cat([part["out_proj.bias"] for part in parts])
    counts = [len(part["out_proj.bias"]) for part in parts]
    inner = len(state["classifier.1.bias"])
    head = TagSettings(sum(counts), inner=inner, activation=activation, dropout=dropout)
    return state, head, counts


def _tasks(
    content: Mapping[str, Any], counts: Sequence[int], level: str, kind: str, several: bool
) -> list[dict[str, Any]]:
    """What the outputs mean, by the settings of transformers."""
    if several:
        if content.get("id2label") not in (None, {}, _numbered(2)):
            raise ValueError("id2label of a model of several labels: give multitask_id2label")
        tables = content.get("multitask_id2label")
        tables = {str(k): None for k in range(len(counts))} if tables is None else dict(tables)
    else:
        if content.get("multitask_id2label") is not None:
            raise ValueError("multitask_id2label of a model of one label")
        tables = {"label": content.get("id2label")}
    if len(tables) != len(counts):
        raise ValueError(f"{len(counts)} labels, but multitask_id2label has {len(tables)}")
    tasks = []
    for (label, names), count in zip(tables.items(), counts, strict=True):
        inverse = None if several else content.get("label2id")
        classes = _classes(names, inverse, count)
        tasks.append(
            {"name": label, "label": label, "level": level, "kind": kind, "classes": classes, "ignore": []}
        )
    if not several and content.get("num_labels", counts[0]) != counts[0]:
        raise ValueError(f"num_labels is {content['num_labels']!r}, the tensors show {counts[0]}")
    return tasks


def _numbered(count: int) -> dict[str, str]:
    """Names that transformers gives to classes."""
    return {str(number): f"LABEL_{number}" for number in range(count)}


def _classes(names: Any, inverse: Any, count: int) -> list[str]:
    """Names of classes; raises `ValueError` where they are not those of all outputs."""
    if names is None:
        names = _numbered(count) if inverse is None else {str(k): name for name, k in inverse.items()}
    names = {str(number): name for number, name in dict(names).items()}
    if sorted(names) != sorted(_numbered(count)) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(f"id2label has {len(names)} entries, and they are not the names of {count} classes")
    classes = [names[str(number)] for number in range(count)]
    if inverse is not None and dict(inverse) != {name: number for number, name in enumerate(classes)}:
        raise ValueError("label2id is not the inverse of id2label")
    return classes


def _agree(more: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> None:
    """Compare what this package wrote with what transformers reads; raises `ValueError`."""
    for own, shown in zip(more.get("tasks") or tasks, tasks, strict=True):
        for name in ("classes", "kind", "level"):
            if own[name] != shown[name]:
                raise ValueError(
                    f"{name} of the entry musicbert are {own[name]!r}, those of the rest {shown[name]!r}"
                )


def _settings(
    config: Any, head: TagSettings, tasks: Sequence[Mapping[str, Any]], origin: Any, more: Mapping[str, Any]
) -> dict[str, Any]:
    window = min(WINDOW, config.max_positions - 2)
    use = {"codec": "octuple", "window": window, "overlap": min(OVERLAP, window - 1), "windows": "all"}
    return {
        "model_type": "musicbert-tagger",
        "format_version": 1,
        "family": "musicbert",
        "architecture": asdict(config),
        **{name: more.get(name, value) for name, value in use.items()},
        "head": asdict(head),
        **({"task": dict(tasks[0])} if len(tasks) == 1 else {"tasks": [dict(task) for task in tasks]}),
        "origin": origin,
    }
