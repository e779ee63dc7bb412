"""Weights of the older MidiBERT: ``bert.*``, ``word_emb.*`` and ``in_linear.*`` of its checkpoints.

A checkpoint is a dictionary whose ``state_dict`` holds the backbone; a fine-tuned one has ``midibert.``
before these names and ``classifier.*`` beside them. Every tensor that the model uses has to be there. What it
never uses is left out and said: the token embeddings of BERT, its position table (distances take its place),
its pooler, and heads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike

import torch

from musicbert.config import MidiBertConfig
from musicbert.errors import CheckpointError
from musicbert.model.backbones.midibert import MidiBert
from musicbert.objectives.note_fields import CP
from musicbert.weights.mapping import KeyReport

__all__ = ["fit_midibert", "infer_midibert_config", "is_midibert", "rename_midibert"]

#: prefixes of wrappers, and of a fine-tuned model's backbone
_WRAPPER = re.compile(r"^(?:module\.|model\.|midibert\.|backbone\.)+")
_LAYER = re.compile(r"bert\.encoder\.layer\.(\d+)\.")


def is_midibert(weights: Mapping[str, torch.Tensor]) -> bool:
    """Whether these are tensors of a MidiBERT."""
    names = set(rename_midibert(weights))
    return "word_emb.0.lut.weight" in names and any(_LAYER.match(name) for name in names)


def rename_midibert(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Take the prefixes of wrappers off."""
    return {_WRAPPER.sub("", name): value for name, value in weights.items()}


def infer_midibert_config(
    weights: Mapping[str, torch.Tensor], *, path: str | PathLike[str] | None = None
) -> MidiBertConfig:
    """Read the architecture off the shapes; only dropouts are those that were published.

    Raises
    ------
    CheckpointError
        ``other-model`` if this is no MidiBERT, or one without ``relative_key_query``; ``other-vocabulary``
        for other columns than those of compound words (version 2 has six).
    """
    weights = rename_midibert(weights)
    first = "bert.encoder.layer.0."
    try:
        width, inputs = weights["in_linear.weight"].shape
        ffn_width = weights[f"{first}intermediate.dense.weight"].shape[0]
        distances, head_width = weights[f"{first}attention.self.distance_embedding.weight"].shape
        embedding_width = weights["word_emb.0.lut.weight"].shape[1]
    except (KeyError, ValueError) as error:
        message = f"It holds no MidiBERT with relative positions: {error} is missing"
        raise CheckpointError("other-model", message, path=path) from error
    columns = inputs // embedding_width
    sizes = tuple(
        int(weights[name].shape[0])
        for column in range(columns)
        if (name := f"word_emb.{column}.lut.weight") in weights
    )
    if sizes != CP.sizes:
        message = f"Its columns have {sizes} ids, those of compound words {CP.sizes}"
        raise CheckpointError("other-vocabulary", message, path=path)
    return MidiBertConfig(
        layers=1 + max(int(found[1]) for name in weights if (found := _LAYER.match(name))),
        width=int(width),
        ffn_width=int(ffn_width),
        heads=int(width) // int(head_width),
        embedding_width=int(embedding_width),
        max_positions=(int(distances) + 1) // 2,
    )


def fit_midibert(
    weights: Mapping[str, torch.Tensor], model: MidiBert, *, path: str | PathLike[str] | None = None
) -> tuple[dict[str, torch.Tensor], KeyReport]:
    """Match a checkpoint with a model.

    Returns
    -------
    state, report
        A state dict for ``load_state_dict(strict=True)``, and what became of each tensor.

    Raises
    ------
    CheckpointError
        ``missing-weights``: tensors are missing or of another shape.
    """
    weights, own = rename_midibert(weights), model.state_dict()
    lacking = [name for name, v in own.items() if name not in weights or weights[name].shape != v.shape]
    if lacking:
        message = f"{len(lacking)} tensors are missing or of another shape: {', '.join(lacking[:3])} ..."
        raise CheckpointError("missing-weights", message, path=path)
    unexpected = tuple(name for name in weights if name not in own)
    return {name: weights[name] for name in own}, KeyReport(tuple(own), unexpected=unexpected)
