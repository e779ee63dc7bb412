"""`Family`: what has to be known of a kind of model to read, check and write its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import torch
from torch import nn

from musicbert.config import M2BertConfig, MidiBertConfig, ModelConfig
from musicbert.errors import CheckpointError

FamilyName = Literal["musicbert", "m2bert", "midibert"]
Config = ModelConfig | M2BertConfig | MidiBertConfig
Weights = Mapping[str, torch.Tensor]
#: flag of fairseq -> attribute that every architecture has
SIZE_FLAGS = {
    "encoder_layers": "layers",
    "encoder_embed_dim": "width",
    "encoder_ffn_embed_dim": "ffn_width",
    "encoder_attention_heads": "heads",
}


@dataclass(frozen=True)
class Family:
    """A kind of model on disk.

    Attributes
    ----------
    name
        ``model_type`` of ``config.json``.
    config, module, presets
        Class of the architecture, of the network, and sizes by name.
    rename
        (weights, path=None) -> the same tensors with the family's own names.
    infer
        (weights with the family's names, path=None) -> architecture as far as shapes show it.
    flags
        Flag of fairseq -> attribute of the architecture.
    told
        Those flags whose values no shape shows: they are read from a checkpoint's settings.
    shown
        Attributes that shapes show: they must agree with ``config.json``.
    sizes
        Attributes that must be equal in a checkpoint and the model that it is loaded into.
    vocabulary
        Attribute that says which tokens the model knows.
    optional
        (name, architecture) -> the tensor may be missing, and then keeps the model's value.
    resizable
        Beginnings of the names of heads that may have another shape, and then keep the model's value.
    encoding_hint
        What to do where the vocabularies differ.
    title, about
        For the model card.
    misfits
        (checkpoint's architecture, model's) -> further attributes that differ.
    """

    name: FamilyName
    config: Callable[..., Any]
    module: Callable[..., nn.Module]
    presets: Mapping[str, Any]
    rename: Callable[..., dict[str, torch.Tensor]]
    infer: Callable[..., Any]
    flags: Mapping[str, str]
    told: tuple[str, ...]
    shown: tuple[str, ...]
    sizes: tuple[str, ...]
    vocabulary: str
    optional: Callable[[str, Any], bool]
    resizable: tuple[str, ...]
    encoding_hint: str
    title: str
    about: str
    misfits: Callable[[Any, Any], list[str]] = lambda theirs, ours: []  # noqa: ARG005

    def architecture_name(self, config: Config) -> str:
        """Name for ``--arch``: the preset of these sizes, or the family's name where there is none."""
        sizes = ("layers", "width", "ffn_width", "heads")
        for name, preset in self.presets.items():
            if all(getattr(preset, size) == getattr(config, size) for size in sizes):
                return f"{self.name}_{name}"
        return self.name

    def flag_values(self, config: Config) -> dict[str, Any]:
        """Value of each flag of fairseq for an architecture."""
        return {flag: getattr(config, attribute) for flag, attribute in self.flags.items()}

    def size_flags(self, config: Config) -> dict[str, Any]:
        """Value of each flag of fairseq that must be given to load weights of this architecture."""
        sizes = (*self.sizes, "heads")
        return {flag: value for flag, value in self.flag_values(config).items() if self.flags[flag] in sizes}

    def with_told(self, config: Config, settings: Mapping[str, Any]) -> Config:
        """Architecture with what the settings of a checkpoint say beyond the shapes."""
        changes: dict[str, Any] = {}
        for flag in self.told:
            value, attribute = settings.get(flag), self.flags[flag]
            if isinstance(value, int | float):
                changes[attribute] = type(getattr(config, attribute))(value)
        return config.with_(**changes)

    def check(self, theirs: Config, ours: Config, *, path: str | PathLike[str] | None = None) -> None:
        """Check that the weights of one architecture go into a model of another.

        Raises
        ------
        CheckpointError
            ``other-vocabulary``, ``other-architecture``.
        """
        tokens, known = getattr(theirs, self.vocabulary), getattr(ours, self.vocabulary)
        if tokens != known:
            raise CheckpointError(
                "other-vocabulary",
                f"Its vocabulary is {tokens}, the model's {known} ({self.vocabulary.replace('_', ' ')})",
                path=path,
                hint=self.encoding_hint,
            )
        differ = [name for name in self.sizes if getattr(theirs, name) != getattr(ours, name)]
        differ += self.misfits(theirs, ours)
        if differ:
            encoding = " and the --encoding (remi: 1 field; octuple, cp: 8)" if "fields" in differ else ""
            values = ", ".join(
                f"{name} {getattr(theirs, name)} (not {getattr(ours, name)})" for name in differ
            )
            raise CheckpointError(
                "other-architecture",
                f"It is of another architecture: {values}",
                path=path,
                hint=f"choose the --arch it was trained with{encoding}",
            )


@dataclass(frozen=True)
class KeyReport:
    """What became of each tensor.

    Attributes
    ----------
    loaded
        Taken from the checkpoint.
    missing
        Of the model, not in the checkpoint: kept as they were.
    unexpected
        In the checkpoint, without a place in the model: left out.
    resized
        Of another shape in the checkpoint (heads): kept as they were in the model.
    """

    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        for word in ("missing", "unexpected", "resized"):
            names = getattr(self, word)
            parts.append(f"{len(names)} {word}" + (f" ({', '.join(names)})" if names else ""))
        return ", ".join(parts)


def layer_count(weights: Weights, prefix: str) -> int:
    """Number of layers: one more than the highest number after ``prefix``, 0 where there are none."""
    rests = (name.removeprefix(prefix) for name in weights if name.startswith(prefix))
    return max((int(rest.partition(".")[0]) + 1 for rest in rests), default=0)
