"""Sentence heads: what their outputs mean, and where that is stored.

The folder format keeps it in ``config.json``, the layout of Hugging Face in ``heads.json``. For a checkpoint
of fairseq it follows from the names and shapes of tensors, and from the ``classes.json`` of its data.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from musicbert.errors import CheckpointError
from musicbert.weights.checks import whole_number
from musicbert.weights.container import Checkpoint
from musicbert.weights.families.musicbert import HEADS

Activation = Literal["softmax", "sigmoid", "none"]
#: heads of the published recipes that predict several labels at once
_MULTI_LABEL = ("topmagd_head", "masd_head")
#: criterions whose classification head gives ratings on 0-1
_RATING_CRITERIA = ("M2PF_xai", "M2PF_xai_adv")
#: note-level heads of derived models (RNBert): kept in the weights, but not sentence heads
_TOKEN_HEAD = re.compile(r"sequence_\w*tagging_head")
#: suffix of the name of a weight with spectral norm
SPECTRAL = ".out_proj.parametrizations.weight.original"


@dataclass(frozen=True)
class Head:
    """One sentence head."""

    #: as in the names of its tensors
    name: str
    #: which group of heads it is in
    kind: Literal["classification", "regression"]
    outputs: int
    #: turns outputs into scores: ``softmax`` (one class of several), ``sigmoid`` (several labels, or ratings
    #: on 0-1) or ``none``
    activation: Activation
    #: of the outputs; empty if unknown
    names: tuple[str, ...] = ()
    #: words for the low and the high end of each output; empty if unknown
    poles: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        whole_number(self.outputs, 1, f"number of outputs of the head {self.name!r}")
        if not isinstance(self.name, str) or not self.name or "." in self.name:
            raise ValueError(f"{self.name!r} is not a name of a head")
        if self.kind not in ("classification", "regression"):
            raise ValueError(f"kind of head {self.kind!r} is not classification or regression")
        if self.activation not in get_args(Activation):
            raise ValueError(f"activation {self.activation!r} is not one of {get_args(Activation)}")
        for what in ("names", "poles"):
            count = len(getattr(self, what))
            if count not in (0, self.outputs):
                raise ValueError(f"head {self.name!r} has {self.outputs} outputs but {count} {what}")


def head_from_json(entry: Mapping[str, Any]) -> Head:
    """Head from its entry in a ``config.json`` or ``heads.json``."""
    return Head(
        entry["name"],
        entry["kind"],
        entry["outputs"],
        entry["activation"],
        tuple(map(str, entry.get("names", ()))),
        tuple((str(low), str(high)) for low, high in entry.get("poles", ())),
    )


def heads_of(
    weights: Mapping[str, torch.Tensor], checkpoint: Checkpoint, path: str | PathLike[str]
) -> tuple[Head, ...]:
    """Sentence heads of a checkpoint, from ``heads.json`` beside it or by the names of their tensors.

    Raises `CheckpointError`: ``bad-config`` (``heads.json``), ``missing-weights``.
    """
    if checkpoint.container == "hugging-face" and (beside := _heads_beside(Path(path))) is not None:
        return beside
    criterion = str(checkpoint.task.get("criterion_name") or checkpoint.task.get("criterion") or "")
    heads = []
    for name, value in weights.items():
        parts = name.split(".", 2)
        ends = ("out_proj.weight", SPECTRAL.removeprefix("."))
        complete = len(parts) == 3 and any(f"{parts[0]}.{parts[1]}.{end}" in weights for end in ends)
        first = name.startswith(HEADS) and parts[-1] == "dense.weight"
        if first and not complete and not _TOKEN_HEAD.fullmatch(parts[1]):
            raise CheckpointError("missing-weights", f"The head {parts[1]!r} is not whole", path=path)
        if not name.startswith(HEADS) or len(parts) < 3 or parts[2] not in ends:
            continue
        if _TOKEN_HEAD.fullmatch(parts[1]):
            continue
        if f"{parts[0]}.{parts[1]}.dense.weight" not in weights:
            raise CheckpointError("missing-weights", f"The head {parts[1]!r} is not whole", path=path)
        regression = parts[0] == "regression_heads"
        rates = regression or criterion in _RATING_CRITERIA or parts[1] in _MULTI_LABEL
        kind: Literal["classification", "regression"] = "regression" if regression else "classification"
        heads.append(Head(parts[1], kind, value.shape[0], "sigmoid" if rates else "softmax"))
    return tuple(heads)


def _heads_beside(path: Path) -> tuple[Head, ...] | None:
    """Heads from the ``heads.json`` of a folder in the layout of Hugging Face."""
    file = (path if path.is_dir() else path.parent) / "heads.json"
    if not file.is_file():
        return None
    try:
        return tuple(head_from_json(entry) for entry in json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError("bad-config", f"It does not describe heads: {error}", path=file) from error


def labels_of_data(task: Mapping[str, Any]) -> Path | None:
    """The ``classes.json`` of the data that a checkpoint was trained on, if it is still there."""
    data = task.get("data")
    path = Path(data) / "label" / "classes.json" if isinstance(data, str) else None
    return path if path is not None and path.is_file() else None


def read_labels(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a ``classes.json``: names of the classes, names and poles of the rated dimensions.

    Raises `CheckpointError` (``bad-labels``).
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        dimensions = [
            entry if isinstance(entry, dict) else {"name": entry} for entry in content.get("dimensions", [])
        ]
        poles = [(str(entry["low"]), str(entry["high"])) for entry in dimensions if "low" in entry]
        return {
            "classes": tuple(map(str, content.get("classes", []))),
            "dimensions": tuple(str(entry["name"]) for entry in dimensions),
            "poles": tuple(poles) if len(poles) == len(dimensions) else (),
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            "bad-labels", f"No JSON object with classes and dimensions ({error})", path=path
        ) from error


def named_heads(heads: tuple[Head, ...], labels: Mapping[str, Any]) -> tuple[Head, ...]:
    """Name the outputs of heads that have as many outputs as there are labels."""

    def named(head: Head) -> Head:
        if head.activation != "softmax" and len(labels["dimensions"]) == head.outputs:
            return replace(head, names=labels["dimensions"], poles=labels["poles"])
        return replace(head, names=labels["classes"]) if len(labels["classes"]) == head.outputs else head

    return tuple(map(named, heads))
