"""`Family`: what has to be known of a kind of model to read, check and write its weights."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from typing import Any, Literal

import torch
from torch import nn

from musicbert.config import M2BertConfig, MidiBertConfig, ModelConfig
from musicbert.errors import CheckpointError
from musicbert.weights.checks import check_architecture

FamilyName = Literal["musicbert", "m2bert", "midibert"]
Config = ModelConfig | M2BertConfig | MidiBertConfig
Weights = Mapping[str, torch.Tensor]
#: prefixes of wrappers, and of a fine-tuned model's backbone (M2BERT and MidiBERT)
WRAPPERS = re.compile(r"^(?:module\.|model\.|midibert\.|backbone\.)+")
#: width of an attention head in every published MusicBERT and M2BERT
HEAD_WIDTH = 64
#: flag of fairseq -> attribute that every architecture has
SIZE_FLAGS = {
    "encoder_layers": "layers",
    "encoder_embed_dim": "width",
    "encoder_ffn_embed_dim": "ffn_width",
    "encoder_attention_heads": "heads",
}
#: attributes that only ``config.json`` can set
WITHOUT_FLAG = ("global_theta", "local_theta")


@dataclass(frozen=True)
class Family:
    """A kind of model on disk."""

    #: ``model_type`` of ``config.json``
    name: FamilyName
    #: class of the architecture
    config: Callable[..., Any]
    #: class of the network
    module: Callable[..., nn.Module]
    #: architectures by size
    presets: Mapping[str, Any]
    #: (weights, path=None) -> the same tensors with the family's own names
    rename: Callable[..., dict[str, torch.Tensor]]
    #: (weights with the family's names, path=None) -> architecture as far as shapes show it
    infer: Callable[..., Any]
    #: flag of fairseq -> attribute of the architecture
    flags: Mapping[str, str]
    #: flags whose values no shape shows: they are read from a checkpoint's settings
    from_settings: tuple[str, ...]
    #: setting of a checkpoint -> the values under which it computes what the network does
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, kw_only=True)
    #: attributes that shapes show: they must agree with ``config.json``
    from_shapes: tuple[str, ...]
    #: attributes that must be equal in a checkpoint and the model that it is loaded into
    sizes: tuple[str, ...]
    #: attribute that says which tokens the model knows
    vocabulary: str
    #: (name, architecture) -> the tensor may be missing, and then keeps the model's value
    optional: Callable[[str, Any], bool]
    #: prefixes of heads that may have another shape, and then keep the model's value
    resizable: tuple[str, ...]
    #: what to do where the vocabularies differ
    encoding_hint: str
    #: for the model card, like ``about``
    title: str
    about: str
    #: (checkpoint's architecture, model's) -> further attributes that differ
    misfits: Callable[[Any, Any], list[str]] = lambda theirs, ours: []  # noqa: ARG005

    def architecture_name(self, config: Config) -> str:
        """Name for ``--arch``: the preset of these sizes, or the family's name where there is none."""
        sizes = ("layers", "width", "ffn_width", "heads")
        for name, preset in self.presets.items():
            if all(getattr(preset, size) == getattr(config, size) for size in sizes):
                return f"{self.name}_{name}"
        return self.name

    def config_from(self, architecture: Mapping[str, Any]) -> Config:
        """Architecture from its entry in ``config.json``.

        Raises `ValueError` and `TypeError` where a value cannot be used, or an attribute is not known.
        """
        known = {entry.name for entry in fields(self.config)}  # type: ignore[arg-type]
        if unknown := [name for name in architecture if name not in known]:
            raise ValueError(f"{unknown[0]} of its architecture is not known to this program")
        given = architecture.items()
        config: Config = self.config(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in given}
        )
        check_architecture(config)
        return config

    def flag_values(self, config: Config) -> dict[str, Any]:
        """Value of each flag of fairseq for an architecture."""
        return {flag: getattr(config, attribute) for flag, attribute in self.flags.items()}

    @property
    def unseen(self) -> dict[str, str]:
        """Attributes that decide what the network computes and that no shape shows, with their flags."""
        return {self.flags[flag]: flag for flag in self.from_settings if "dropout" not in flag}

    def size_flags(self, config: Config) -> dict[str, Any]:
        """Value of each flag of fairseq that must be given to load weights of this architecture.

        Raises `CheckpointError` (``other-architecture``: it differs from the usual in what no flag can say).
        """
        usual, sizes = self.config(), {*self.sizes, "heads"}
        sizes |= {name for name in self.unseen if getattr(config, name) != getattr(usual, name)}
        for name in WITHOUT_FLAG:
            if getattr(config, name, None) != getattr(usual, name, None):
                message = f"Its {name} is {getattr(config, name)}, and training has no flag for it"
                raise CheckpointError(
                    "other-architecture", message, hint=f"only {getattr(usual, name)} can be trained on"
                )
        return {flag: value for flag, value in self.flag_values(config).items() if self.flags[flag] in sizes}

    def with_settings(self, config: Config, settings: Mapping[str, Any]) -> Config:
        """Architecture with what the settings of a checkpoint say beyond the shapes.

        Raises `ValueError`: a setting is no number, or asks for what the network does not compute.
        """
        changes: dict[str, Any] = {}
        for name, values in self.fixed.items():
            if settings.get(name) not in (None, *values):
                raise ValueError(f"{name} is {settings[name]!r}, and the network here has {values[0]!r}")
        for flag in self.from_settings:
            value, attribute = settings.get(flag), self.flags[flag]
            if value is None:
                continue
            if not isinstance(value, int | float):
                raise ValueError(f"{flag} is {value!r}, not a number")
            changes[attribute] = type(getattr(config, attribute))(value)
        return config.with_(**changes)

    def check_sizes(self, config: Config, settings: Mapping[str, Any]) -> None:
        """Compare sizes among the settings of a checkpoint with those that its tensors show.

        A table of positions may have been cut. Raises `ValueError`.
        """
        for flag, attribute in self.flags.items():
            shown = getattr(config, attribute) if attribute in self.from_shapes else None
            if attribute != "max_positions" and shown is not None and settings.get(flag, shown) != shown:
                raise ValueError(f"{flag} is {settings[flag]!r}, the tensors show {shown}")

    def check(self, theirs: Config, ours: Config, *, path: str | PathLike[str] | None = None) -> None:
        """Check that the weights of one architecture go into a model of another.

        Raises `CheckpointError` (``other-vocabulary``, ``other-architecture``).
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
            if "performance_features" in differ:
                encoding += (
                    ", and --performance-input for weights that have performance inputs, only for them"
                )
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
    """What became of each tensor."""

    #: taken from the checkpoint
    loaded: tuple[str, ...] = ()
    #: of the model, not in the checkpoint: kept as they were
    missing: tuple[str, ...] = ()
    #: in the checkpoint, without a place in the model: left out
    unexpected: tuple[str, ...] = ()
    #: of another shape in the checkpoint (heads): kept as they were in the model
    resized: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        for word in ("missing", "unexpected", "resized"):
            names = getattr(self, word)
            parts.append(f"{len(names)} {word}" + (f" ({', '.join(names)})" if names else ""))
        return ", ".join(parts)


def layer_count(weights: Weights, prefix: str) -> int:
    """Number of layers: one more than the highest number after ``prefix``, 0 where there are none.

    Raises `CheckpointError` (``missing-weights``: a layer below the highest one is missing).
    """
    numbers = {name.removeprefix(prefix).partition(".")[0] for name in weights if name.startswith(prefix)}
    if numbers != {str(number) for number in range(len(numbers))}:
        message = f"The numbers of the tensors {prefix}* are not those of {len(numbers)} layers"
        raise CheckpointError("missing-weights", message)
    return len(numbers)
