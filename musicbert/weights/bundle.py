"""A checkpoint with everything that is needed to use it: architecture, weights, what its heads mean.

``config.json`` of the folder format (:mod:`musicbert.weights.folder`) is :meth:`Bundle.settings`:

``model_type``, ``format_version``
    ``musicbert`` and 1.
``architecture``
    The attributes of :class:`~musicbert.config.ModelConfig`.
``pooling``
    What the sentence heads read, ``first`` or ``mean``.
``heads``
    One object a sentence head: :class:`Head`.
``view``
    ``cp`` or ``remi`` where the model reads such a form (`musicbert.encoding.views`), else left out.
``origin``
    File name, container and SHA-256 of the checkpoint it was converted from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from musicbert.config import ModelConfig
from musicbert.encoding.views import VIEWS, View
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert, Pooling
from musicbert.weights.container import Checkpoint, load_checkpoint
from musicbert.weights.mapping import HEADS, KeyReport, fit_weights, infer_config, rename
from musicbert.weights.view import view_of

__all__ = ["Activation", "Bundle", "Head", "build_model", "read_bundle", "read_labels"]

FORMAT_VERSION = 1
Activation = Literal["softmax", "sigmoid", "none"]
#: heads of the published recipes that give several labels at once
_MULTI_LABEL = ("topmagd_head", "masd_head")
#: criterion -> what its classification head gives (ratings are on 0-1)
_RATING_CRITERIA = ("M2PF_xai", "M2PF_xai_adv")
_DROPOUTS = ("dropout", "attention_dropout", "activation_dropout", "pooler_dropout")
#: heads a note of derivatives (RNBert): kept in the weights, but no sentence heads
_TOKEN_HEAD = re.compile(r"sequence_\w*tagging_head")
_SPECTRAL = ".out_proj.parametrizations.weight.original"


@dataclass(frozen=True)
class Head:
    """One sentence head.

    Attributes
    ----------
    name
        As in the names of its tensors.
    kind
        ``classification`` or ``regression``: which group of heads it is in.
    outputs
        Number of its outputs.
    activation
        What makes scores of its outputs: ``softmax`` (one class of several), ``sigmoid`` (several labels, or
        ratings on 0-1) or ``none``.
    names
        Name of each output; empty if unknown.
    poles
        Words for the low and the high end of each output; empty if it has none.
    """

    name: str
    kind: Literal["classification", "regression"]
    outputs: int
    activation: Activation
    names: tuple[str, ...] = ()
    poles: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            raise ValueError(f"activation {self.activation!r} is none of {get_args(Activation)}")
        for what in ("names", "poles"):
            count = len(getattr(self, what))
            if count not in (0, self.outputs):
                raise ValueError(f"head {self.name!r} has {self.outputs} outputs but {count} {what}")


@dataclass(frozen=True)
class Bundle:
    """A checkpoint, ready to be used or written.

    Attributes
    ----------
    config
        Architecture.
    weights
        Published name -> tensor; every tensor of the file, also such as the model has no place for.
    heads
        The sentence heads.
    pooling
        What the sentence heads read.
    origin
        ``file``, ``container`` and ``sha256`` of the checkpoint this came from, as far as known.
    view
        Form of the music that the model reads.
    """

    config: ModelConfig
    weights: Mapping[str, torch.Tensor]
    heads: tuple[Head, ...] = ()
    pooling: Pooling = "first"
    origin: Mapping[str, str] = field(default_factory=dict)
    view: View = "octuple"

    def settings(self) -> dict[str, Any]:
        """Content of ``config.json``."""
        return {
            "model_type": "musicbert",
            "format_version": FORMAT_VERSION,
            "encoding": "OctupleMIDI",
            "architecture": asdict(self.config),
            "pooling": self.pooling,
            "heads": [asdict(head) for head in self.heads],
            **({} if self.view == "octuple" else {"view": self.view}),
            "origin": dict(self.origin),
        }


def read_bundle(path: str | PathLike[str], *, labels: str | PathLike[str] | None = None) -> Bundle:
    """Read a checkpoint in any container, or a folder.

    Parameters
    ----------
    path
        See :func:`~musicbert.weights.container.load_checkpoint`.
    labels
        A ``classes.json`` (see ``docs/architecture.md``) that names the outputs of the heads. If None: what
        the checkpoint says, else the ``classes.json`` of the data-bin it was trained on, where that is
        still there.

    Raises
    ------
    CheckpointError
        As ``load_checkpoint`` and ``infer_config``; ``bad-config``, ``bad-labels``.
    """
    checkpoint = load_checkpoint(path)
    weights = rename(checkpoint.weights)
    config = infer_config(weights, checkpoint.settings, path=path)
    own = checkpoint.folder_settings
    if own:
        bundle = _from_settings(own, config, weights, path)
    else:
        config = config.with_(**_dropouts(checkpoint.settings))
        pooling: Pooling = "mean" if checkpoint.settings.get("pooling") == "mean" else "first"
        origin = {"file": Path(path).name, "container": checkpoint.container}
        beside = _heads_beside(Path(path)) if checkpoint.container == "hugging-face" else None
        heads = _heads(weights, checkpoint, path) if beside is None else beside
        view = view_of(checkpoint) or "octuple"
        bundle = Bundle(config, weights, heads, pooling, origin, view)
    if labels is None:
        labels = None if own else _labels_of_data(checkpoint.task)
    return bundle if labels is None else replace(bundle, heads=_named(bundle.heads, read_labels(labels)))


def _dropouts(settings: Mapping[str, Any]) -> dict[str, float]:
    known = {name: settings.get(name) for name in _DROPOUTS}
    return {name: float(value) for name, value in known.items() if isinstance(value, int | float)}


def _from_settings(
    own: Mapping[str, Any], found: ModelConfig, weights: Mapping[str, torch.Tensor], path: str | PathLike[str]
) -> Bundle:
    """Bundle from a ``config.json``, checked against the shapes of the tensors."""
    try:
        if int(own["format_version"]) > FORMAT_VERSION:
            raise ValueError(f"format_version {own['format_version']} is newer than this program")
        names = {entry.name for entry in fields(ModelConfig)}
        config = ModelConfig(**{name: v for name, v in own["architecture"].items() if name in names})
        heads = tuple(_head(entry) for entry in own["heads"])
        pooling = own.get("pooling", "first")
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling {pooling!r}")
        view = own.get("view", "octuple")
        if view not in VIEWS:
            raise ValueError(f"view {view!r}")
        same = replace(found, heads=config.heads, **{name: getattr(config, name) for name in _DROPOUTS})
        if config.width % config.heads:
            raise ValueError(f"width {config.width} is not a multiple of {config.heads} heads")
        if same != config:
            raise ValueError(f"the tensors are those of {found}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError("bad-config", f"Its config.json does not fit: {error}", path=path) from error
    return Bundle(config, weights, heads, pooling, dict(own.get("origin") or {}), view)


def _head(entry: Mapping[str, Any]) -> Head:
    """Head from JSON."""
    return Head(
        entry["name"],
        entry["kind"],
        int(entry["outputs"]),
        entry["activation"],
        tuple(map(str, entry.get("names", ()))),
        tuple((str(low), str(high)) for low, high in entry.get("poles", ())),
    )


def _heads_beside(path: Path) -> tuple[Head, ...] | None:
    """Heads from the ``heads.json`` of a folder in the layout of Hugging Face."""
    file = (path if path.is_dir() else path.parent) / "heads.json"
    if not file.is_file():
        return None
    try:
        return tuple(_head(entry) for entry in json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError("bad-config", f"It does not describe heads: {error}", path=file) from error


def _heads(
    weights: Mapping[str, torch.Tensor], checkpoint: Checkpoint, path: str | PathLike[str]
) -> tuple[Head, ...]:
    """Sentence heads by the names of their tensors; heads of other shapes are no sentence heads."""
    criterion = str(checkpoint.task.get("criterion_name") or checkpoint.task.get("criterion") or "")
    heads = []
    for name, value in weights.items():
        parts = name.split(".", 2)
        ends = ("out_proj.weight", _SPECTRAL.removeprefix("."))
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


def _labels_of_data(task: Mapping[str, Any]) -> Path | None:
    data = task.get("data")
    path = Path(data) / "label" / "classes.json" if isinstance(data, str) else None
    return path if path is not None and path.is_file() else None


def read_labels(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a ``classes.json``: names of the classes, names and poles of the rated dimensions.

    Raises
    ------
    CheckpointError
        ``bad-labels``.
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
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            "bad-labels", f"No JSON object with classes and dimensions ({error})", path=path
        ) from error


def _named(heads: tuple[Head, ...], labels: Mapping[str, Any]) -> tuple[Head, ...]:
    """Give names to the heads whose number of outputs fits."""

    def named(head: Head) -> Head:
        if head.activation == "softmax":
            return replace(head, names=labels["classes"]) if len(labels["classes"]) == head.outputs else head
        if len(labels["dimensions"]) == head.outputs:
            return replace(head, names=labels["dimensions"], poles=labels["poles"])
        return replace(head, names=labels["classes"]) if len(labels["classes"]) == head.outputs else head

    return tuple(map(named, heads))


def build_model(bundle: Bundle, *, path: str | PathLike[str] | None = None) -> tuple[MusicBert, KeyReport]:
    """Build the model, in evaluation mode, and say what became of each tensor.

    Parameters
    ----------
    bundle
        Architecture, weights, heads.
    path
        Named in errors.

    Raises
    ------
    CheckpointError
        As :func:`~musicbert.weights.mapping.fit_weights`.
    """
    model = MusicBert(bundle.config, pooling=bundle.pooling)
    for head in bundle.heads:
        prefix = f"{head.kind}_heads.{head.name}"
        register = getattr(model, f"register_{head.kind}_head")
        dense = bundle.weights.get(f"{prefix}.dense.weight")
        if dense is None:
            raise CheckpointError("missing-weights", f"The head {head.name!r} is not whole", path=path)
        register(head.name, head.outputs, dense.shape[0], spectral=f"{prefix}{_SPECTRAL}" in bundle.weights)
    state, report = fit_weights(bundle.weights, model.state_dict(), path=path)
    model.load_state_dict(state, strict=True)
    return model.eval(), report
