"""`Tagger`: a backbone with one head that labels notes or windows of notes.

Legend: ``B`` windows, ``T`` rows, ``D`` width, ``C`` outputs, ``L`` blocks.

State-dict names: ``backbone.*`` (those of the backbone), ``head.*``, ``mix.*`` where layers are mixed, and
``centre`` and ``spread`` [shape=(C,)], which turn the outputs of a regression into values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import nn

from musicbert.model.backbones.note_states import NoteStates, first_row, note_states
from musicbert.model.heads.notes import AttentionHead, LayerMix, NoteHead, pooled
from musicbert.model.heads.sentence import SentenceHead

HeadKind = Literal["note", "first", "first-row", "mean", "mean+sd", "attention"]
Between = Literal["relu", "tanh", "gelu"]
_BLOCK = re.compile(r"(?:^|\.)layers?\.(\d+)\.")
#: parts of a backbone that come after its last block
_ON_TOP = ("upsampling", "final_norm")
#: parts of a backbone that no tagging head reads
_UNREAD = ("lm_head", "classification_heads", "regression_heads", "mask_lm", "tok_embeddings")


@dataclass(frozen=True)
class TagSettings:
    """Shape of the head.

    ``head``: ``note``: one label per note; for windows ``first`` (what the published sentence heads of
    MusicBERT read), ``first-row`` (the first row without an up-projection), ``mean`` (over notes),
    ``mean+sd`` (with their standard deviation) or ``attention`` (structured self-attention, M2BERT's);
    ``inner``: width between two layers (0: one layer, or the backbone's width for the first row and the
    means); ``activation``: between the two layers of a head with ``inner`` (the first row and the means have
    tanh); ``dropout``: in 0-1; ``attend_padding``: see `AttentionHead`; ``layer``: state that the head reads,
    -1 the last one, 0 the input of the first block; ``mix_layers``: read a learned mixture of all states
    instead.
    """

    outputs: int
    head: HeadKind = "note"
    inner: int = 0
    dropout: float = 0.1
    attend_padding: bool = False
    layer: int = -1
    mix_layers: bool = False
    activation: Between = "relu"

    def __post_init__(self) -> None:
        if type(self.outputs) is not int or self.outputs < 1:
            raise ValueError(f"a head needs at least one output, not {self.outputs!r}")
        if type(self.inner) is not int or self.inner < 0:
            raise ValueError(f"inner is a width or 0, not {self.inner!r}")
        if type(self.layer) is not int or not isinstance(self.mix_layers, bool):
            raise ValueError(f"layer {self.layer!r} and mix_layers {self.mix_layers!r} are of other types")
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout is in 0-1, not {self.dropout!r}")
        if self.head not in get_args(HeadKind):
            raise ValueError(f"a head is one of {', '.join(get_args(HeadKind))}, not {self.head!r}")
        if self.activation not in get_args(Between):
            names = ", ".join(get_args(Between))
            raise ValueError(f"the function between layers is one of {names}, not {self.activation!r}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TagSettings:
        """Read settings; raises `ValueError` where a name is not known, as in a later version's."""
        known = {entry.name for entry in fields(cls)}
        if unknown := [name for name in values if name not in known]:
            raise ValueError(f"{unknown[0]} of its head is not known to this program")
        return cls(**values)


class Tagger(nn.Module):
    """A backbone (see `musicbert.model.backbones.note_states`) with a head.

    Raises `ValueError` (the backbone has no such layer).
    """

    def __init__(self, backbone: nn.Module, settings: TagSettings) -> None:
        super().__init__()
        blocks = backbone.config.layers
        if not -blocks - 1 <= settings.layer <= blocks:
            raise ValueError(f"layer is in {-blocks - 1} to {blocks}, not {settings.layer}")
        self.backbone = backbone
        self.settings = settings
        D, outputs = backbone.config.width, settings.outputs
        self.mix = LayerMix(blocks + 1) if settings.mix_layers else None
        common: dict[str, Any] = {"dropout": settings.dropout}
        layers = {**common, "inner": settings.inner, "activation": settings.activation}
        self.head: nn.Module
        if settings.head == "note":
            self.head = NoteHead(D, outputs, **layers)
        elif settings.head == "attention":
            self.head = AttentionHead(D, outputs, attend_padding=settings.attend_padding, **layers)
        else:
            width = 2 * D if settings.head == "mean+sd" else D
            self.head = SentenceHead(width, outputs, inner_width=settings.inner or D, **common)
        self.register_buffer("centre", torch.zeros(outputs))
        self.register_buffer("spread", torch.ones(outputs))
        self._freeze_unread()

    def _freeze_unread(self) -> None:
        """Freeze what the head never reads: other heads, blocks above its layer."""
        blocks = self.backbone.config.layers
        highest = blocks if self.mix is not None else self.settings.layer % (blocks + 1)
        unread = set(_UNREAD)
        if self.settings.head != "first":
            unread.add("upsampling")
        if highest < blocks or not getattr(self.backbone.config, "final_norm", False):
            unread.add("final_norm")
        for name, parameter in self.backbone.named_parameters():
            above = highest < parameter_depth(f"backbone.{name}", blocks) <= blocks
            if above or unread & set(name.split(".")):
                parameter.requires_grad_(False)

    @property
    def last_only(self) -> bool:
        """Whether the head reads nothing but the last state."""
        return self.mix is None and self.settings.layer in (-1, self.backbone.config.layers)

    def forward(self, src_tokens: torch.Tensor, performance: torch.Tensor | None = None) -> torch.Tensor:
        """Label notes or windows (arguments: see `musicbert.model.backbones.note_states.note_states`).

        Returns float32 logits: [shape=(B, T, C)] of a note head, else [shape=(B, C)].
        """
        blocks = self.backbone.config.layers
        wanted: dict[str, Any] = {"all_layers": not self.last_only}
        if self.mix is None and not self.training:  # nothing above the layer that is read
            depth = None if self.last_only else self.settings.layer % (blocks + 1)
            wanted = {"depth": depth, "first": self.settings.head in ("first", "first-row")}
        states = note_states(self.backbone, src_tokens, performance=performance, **wanted)
        hidden = self.read(states)  # (B, T, D)
        if self.settings.head == "first":
            logits = self.head(first_row(self.backbone, hidden))  # (B, C)
        elif self.settings.head == "first-row":
            logits = self.head(hidden[:, 0])  # (B, C)
        elif self.settings.head in ("mean", "mean+sd"):
            deviation = self.settings.head == "mean+sd"
            logits = self.head(pooled(hidden, states.notes, deviation=deviation))  # (B, C)
        else:
            logits = self.head(hidden, states.notes)
        return logits.float()

    def values(self, logits: torch.Tensor) -> torch.Tensor:
        """Values of a regression from standardised outputs [shape=(..., C)]."""
        return logits * self.spread + self.centre

    def read(self, states: NoteStates) -> torch.Tensor:
        """State that the head reads [shape=(B, T, D)]."""
        hidden = states.states[0 if len(states.states) == 1 else self.settings.layer]
        hidden = hidden if self.mix is None else self.mix(states.states)
        # the backbone may have computed in bfloat16; heads are small and stay in their own type
        weight = next(self.head.parameters())
        return hidden if torch.is_autocast_enabled(hidden.device.type) else hidden.to(weight.dtype)


def parameter_depth(name: str, blocks: int) -> int:
    """Depth of a parameter of a `Tagger` of L ``blocks``: 0 embeddings, 1 to L blocks, L + 1 the rest."""
    if not name.startswith("backbone."):
        return blocks + 1
    if found := _BLOCK.search(name):
        return int(found[1]) + 1
    return blocks + 1 if any(part in name.split(".") for part in _ON_TOP) else 0


def freeze(tagger: Tagger, blocks: int) -> None:
    """Freeze the embeddings and the first ``blocks`` blocks; 0 freezes nothing.

    Raises `ValueError` (where the backbone has fewer blocks).
    """
    have = tagger.backbone.config.layers
    if not 0 <= blocks <= have:
        raise ValueError(f"0 to {have} blocks can be frozen, not {blocks}")
    for name, parameter in tagger.named_parameters():
        if blocks and parameter_depth(name, have) <= blocks:
            parameter.requires_grad_(False)


def scale_rates(tagger: Tagger, decay: float) -> None:
    """Set each parameter's factor of the learning rate: ``decay`` for each block above it.

    The optimiser `layerwise_adamw` reads this attribute ``rate_scale`` (Howard and Ruder 2018,
    "discriminative fine-tuning").
    """
    blocks = tagger.backbone.config.layers
    for name, parameter in tagger.named_parameters():
        parameter.rate_scale = decay ** (blocks + 1 - parameter_depth(name, blocks))  # type: ignore[attr-defined]
