"""Sentence heads: what their outputs mean, and where that is stored.

The folder format keeps it in ``config.json``, the layout of Hugging Face in ``heads.json``. For a checkpoint
of fairseq it follows from the names and shapes of tensors, and from the ``classes.json`` of its data.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from musicbert.atomic import read_json
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
    #: lowest and highest rating of the questionnaire, and the rating whose score is 0; empty if unknown
    scale: tuple[float, ...] = ()
    #: least and greatest score among the training labels of each output; empty if unknown
    ranges: tuple[tuple[float, float] | None, ...] = ()
    #: kind of label that is predicted: ``classes``, ``multilabel`` or ``regression``; empty if unknown
    task: str = ""

    def __post_init__(self) -> None:
        whole_number(self.outputs, 1, f"number of outputs of the head {self.name!r}")
        if not isinstance(self.name, str) or not self.name or "." in self.name:
            raise ValueError(f"{self.name!r} is not a name of a head")
        if self.kind not in ("classification", "regression"):
            raise ValueError(f"kind of head {self.kind!r} is not classification or regression")
        if self.activation not in get_args(Activation):
            raise ValueError(f"activation {self.activation!r} is not one of {get_args(Activation)}")
        for what in ("names", "poles", "ranges"):
            count = len(getattr(self, what))
            if count not in (0, self.outputs):
                raise ValueError(f"head {self.name!r} has {self.outputs} outputs but {count} {what}")
        numbers = [*self.scale, *(number for ends in self.ranges if ends for number in ends)]
        if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
            raise ValueError(f"scale or ranges of head {self.name!r} are not numbers")
        if self.scale and not (len(self.scale) == 3 and self.scale[1] > max(self.scale[0], self.scale[2])):
            raise ValueError(f"{self.scale!r} is not the lowest rating, the highest, and that of the score 0")

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of the outputs; their numbers where they have no names."""
        return self.names or tuple(map(str, range(self.outputs)))

    def rating(self, score: float) -> float:
        """A score as a rating on the scale of the questionnaire, where that is known."""
        if not self.scale:
            return score
        _, highest, zero = self.scale
        return zero + score * (highest - zero)

    def details(self, scores: Sequence[float] | None = None) -> dict[str, dict[str, Any]]:
        """What is known of each output by its name.

        ``low``, ``high``: what the ends mean; ``scale``: lowest and highest rating; ``rating``: the score on
        that scale; ``trained``: least and greatest rating (or score, without a scale) of the training labels.
        """
        told: dict[str, dict[str, Any]] = {name: {} for name in self.all_names}
        for k, entry in enumerate(told.values()):
            if self.poles:
                entry |= dict(zip(("low", "high"), self.poles[k], strict=True))
            if self.scale:
                entry["scale"] = [*self.scale[:2]]
                if scores is not None:
                    entry["rating"] = self.rating(scores[k])
            if self.ranges and (ends := self.ranges[k]):
                entry["trained"] = [*map(self.rating, ends)]
        return {name: entry for name, entry in told.items() if entry}

    def shown_names(self) -> tuple[str, ...]:
        """Names of the outputs; with a scale or poles ``Long (1 long, 7 short)``."""
        if not self.scale and not self.poles:
            return self.all_names
        least, most = (f"{number:g}" for number in self.scale[:2]) if self.scale else ("low", "high")
        if not self.poles:
            return tuple(f"{name} ({least}-{most})" for name in self.all_names)
        pairs = zip(self.all_names, self.poles, strict=True)
        return tuple(f"{name} ({least} {low}, {most} {high})" for name, (low, high) in pairs)


def head_from_json(entry: Mapping[str, Any]) -> Head:
    """Head from its entry in a ``config.json`` or ``heads.json``."""
    return Head(
        entry["name"],
        entry["kind"],
        entry["outputs"],
        entry["activation"],
        tuple(map(str, entry.get("names", ()))),
        tuple((str(low), str(high)) for low, high in entry.get("poles", ())),
        tuple(entry.get("scale", ())),
        tuple(None if ends is None else (ends[0], ends[1]) for ends in entry.get("ranges", ())),
        str(entry.get("task", "")),
    )


def heads_of(
    weights: Mapping[str, torch.Tensor], checkpoint: Checkpoint, path: str | PathLike[str]
) -> tuple[Head, ...]:
    """Sentence heads of a checkpoint, from ``heads.json`` beside it or by the names of their tensors.

    What their outputs mean is in the checkpoints of trainings of this package.
    Raises `CheckpointError`: ``bad-config`` (``heads.json``, meaning of outputs), ``missing-weights``.
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
        head = Head(parts[1], kind, value.shape[0], "sigmoid" if rates else "softmax")
        heads.append(_described(head, checkpoint.outputs, path))
    return tuple(heads)


def _described(head: Head, outputs: Sequence[Any], path: str | PathLike[str]) -> Head:
    """A head with what a checkpoint says of its outputs."""
    try:
        for entry in outputs:
            if (entry["name"], entry["kind"]) == (head.name, head.kind):
                found = head_from_json(entry)
                if found.outputs != head.outputs:
                    raise ValueError(f"{found.outputs} outputs are described, there are {head.outputs}")
                return found
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        message = f"It does not describe the outputs of {head.name!r}: {error}"
        raise CheckpointError("bad-config", message, path=path) from error
    return head


def _heads_beside(path: Path) -> tuple[Head, ...] | None:
    """Heads from the ``heads.json`` of a folder in the layout of Hugging Face."""
    file = (path if path.is_dir() else path.parent) / "heads.json"
    if not file.is_file():
        return None
    try:
        return tuple(head_from_json(entry) for entry in read_json(file))
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
        content = read_json(path)
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
