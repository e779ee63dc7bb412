"""`Bundle`: a checkpoint with all that is needed to use it: architecture, weights, meaning of its heads.

``config.json`` of the folder format (:mod:`musicbert.weights.folder`) is :meth:`Bundle.settings`:

``model_type``, ``format_version``
    ``musicbert``, ``m2bert`` or ``midibert``, and 1.
``encoding``
    ``OctupleMIDI`` of MusicBERT, else ``cp`` or ``octuple``.
``architecture``
    The attributes of the family's configuration (`musicbert.config`).
``pooling``, ``heads``, ``view``
    Of MusicBERT: what the sentence heads read, ``first``, ``mean`` or ``mean+sd``; one object a sentence head
    (:class:`~musicbert.weights.output_names.Head`); ``cp`` or ``remi`` where the model reads such a form
    (`musicbert.encoding.views`), else left out.
``performance_inputs``
    Names of the performance inputs of a note, where it has any and they are known.
``phases``
    Places of the bar line over which the sentence heads' predictions are averaged; left out where it is one.
``origin``
    File name, container and SHA-256 of the checkpoint it was converted from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from typing import Any, get_args

import torch

from musicbert.config import ModelConfig
from musicbert.encoding.clock import MOST_PHASES
from musicbert.encoding.performance import KNOWN_INPUTS
from musicbert.encoding.views import VIEWS, View
from musicbert.encoding.vocabulary import TOKENS
from musicbert.errors import CheckpointError
from musicbert.model import Pooling
from musicbert.objectives.note_fields import CP, OCTUPLE, NoteFields
from musicbert.weights.checks import check_values, check_version, whole_number
from musicbert.weights.families.family import Config, Family
from musicbert.weights.families.known import family_of_config
from musicbert.weights.output_names import Head, head_from_json

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Bundle:
    """A checkpoint of any family, ready to be used or written."""

    #: architecture; its class says which family this is
    config: Config
    #: name in the family -> tensor; every tensor of the file, including those this model does not use
    weights: Mapping[str, torch.Tensor]
    #: the sentence heads (MusicBERT)
    heads: tuple[Head, ...] = ()
    #: what the sentence heads read
    pooling: Pooling = "first"
    #: ``file``, ``container`` and ``sha256`` of the checkpoint this came from, as far as known
    origin: Mapping[str, str] = field(default_factory=dict)
    #: form of the music that a MusicBERT reads
    view: View = "octuple"
    #: places of the bar line over which predictions of the sentence heads are averaged
    phases: int = 1

    @property
    def family(self) -> Family:
        """Kind of model."""
        return family_of_config(self.config)

    @property
    def columns(self) -> NoteFields:
        """Columns of the notes that the model reads."""
        if isinstance(self.config, ModelConfig):
            return OCTUPLE
        return CP if self.config.field_sizes == CP.sizes else OCTUPLE

    def settings(self) -> dict[str, Any]:
        """Content of ``config.json``."""
        musicbert = isinstance(self.config, ModelConfig)
        settings: dict[str, Any] = {
            "model_type": self.family.name,
            "format_version": FORMAT_VERSION,
            "encoding": "OctupleMIDI" if musicbert else self.columns.encoding,
            "architecture": asdict(self.config),
        }
        if musicbert:
            settings |= {"pooling": self.pooling, "heads": [asdict(head) for head in self.heads]}
            settings |= {} if self.view == "octuple" else {"view": self.view}
            settings |= {} if self.phases == 1 else {"phases": self.phases}
            inputs = KNOWN_INPUTS.get(self.config.performance_features)
            settings |= {"performance_inputs": inputs} if inputs else {}
        plain: dict[str, Any] = _lists({**settings, "origin": dict(self.origin)})
        return plain

    def vocabulary(self) -> dict[str, Any]:
        """Content of ``vocab.json``: id of each token of MusicBERT, or values and ids of each column."""
        if isinstance(self.config, ModelConfig):
            return {token: index for index, token in enumerate(TOKENS)}
        return {
            name: {"values": values, "PAD": values, "MASK": values + 1}
            for name, values in zip(self.columns.names, self.columns.values, strict=True)
        }

    def half(self) -> Bundle:
        """The same in float16: half the size, read back into float32.

        Raises `CheckpointError` (``bad-weights``: a value that float16 cannot hold).
        """
        halved = {name: v.half() if v.is_floating_point() else v for name, v in self.weights.items()}
        check_values({name: v for name, v in halved.items() if v.is_floating_point()})
        return replace(self, weights=halved)


def _lists(value: Any) -> Any:
    """Turn tuples into lists, as in JSON."""
    if isinstance(value, dict):
        return {key: _lists(entry) for key, entry in value.items()}
    return [_lists(entry) for entry in value] if isinstance(value, list | tuple) else value


def bundle_from_settings(
    settings: Mapping[str, Any], shown: Config, weights: Mapping[str, torch.Tensor], path: str | PathLike[str]
) -> Bundle:
    """Bundle from the content of a ``config.json``, checked against the architecture that the shapes show.

    Raises `CheckpointError` (``bad-config``).
    """
    family = family_of_config(shown)
    try:
        check_version(settings["format_version"], FORMAT_VERSION)
        if settings.get("model_type", family.name) != family.name:
            raise ValueError(
                f"model_type is {settings['model_type']!r}, the tensors are those of {family.name}"
            )
        config = family.config_from(settings["architecture"])
        if any(getattr(config, name) != getattr(shown, name) for name in family.from_shapes):
            raise ValueError(f"the tensors are those of {shown}")
        origin = dict(settings.get("origin") or {})
        said = Bundle(config, {}).settings()
        for name in ("encoding", "performance_inputs"):
            if settings.get(name, said.get(name)) != said.get(name):
                raise ValueError(f"{name} is {settings[name]!r}, the architecture says {said.get(name)!r}")
        if not isinstance(config, ModelConfig):
            return Bundle(config, weights, origin=origin)
        heads = tuple(head_from_json(entry) for entry in settings["heads"])
        pooling, view = settings.get("pooling", "first"), settings.get("view", "octuple")
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling {pooling!r}")
        if view not in VIEWS:
            raise ValueError(f"view {view!r}")
        phases = settings.get("phases", 1)
        whole_number(phases, 1, "number of phases")
        if phases > MOST_PHASES:
            raise ValueError(f"{phases} phases")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError("bad-config", f"Its config.json does not fit: {error}", path=path) from error
    return Bundle(config, weights, heads, pooling, origin, view, phases)
