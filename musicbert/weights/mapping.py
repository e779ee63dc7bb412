"""Names and shapes: which tensor of a checkpoint goes where, and what became of each.

The published names are in the specification of the checkpoint (``encoder.sentence_encoder.*``,
``encoder.lm_head.*``, ``classification_heads.<name>.*``). Older and newer spellings are translated, the
architecture is read off the shapes, and the fit to a model is checked with one clear error for each misfit.
Only the performance projection and the sentence heads may be missing: they then keep the values they have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch

from musicbert.config import ModelConfig
from musicbert.errors import CheckpointError

__all__ = ["KeyReport", "check_heads", "fit_weights", "infer_config", "rename"]

ENCODER = "encoder.sentence_encoder."
#: tensors that the published model lacks; they start at a neutral value
OPTIONAL = (
    f"{ENCODER}performance_projection.weight",
    f"{ENCODER}performance_hidden_projection.weight",
    "encoder.performance_head.weight",
    "encoder.performance_head.bias",
)
HEADS = ("classification_heads.", "regression_heads.")
#: heads that may be missing or of another size: they then start anew
NEW_HEADS = (*HEADS, "roll_head.")
#: prefixes that wrappers put before every name
WRAPPERS = ("module.", "model.", "mainEncoder.")
#: width of one attention head in every published size
HEAD_WIDTH = 64
#: rows of the position table before the first position (fairseq: padding index + 1)
POSITION_OFFSET = 2


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
        Sentence heads of another size: kept as they were in the model.
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


def rename(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give tensors their published names: no wrapper prefix, ``emb_layer_norm``, ``encoder``."""
    names = dict(weights)
    for prefix in WRAPPERS:
        if not any(name.startswith("encoder.") for name in names) and any(
            n.startswith(prefix) for n in names
        ):
            names = {name.removeprefix(prefix): value for name, value in names.items()}
    renamed = {}
    for name, value in names.items():
        name = re.sub(r"^decoder\.", "encoder.", name)
        name = name.replace(".layernorm_embedding.", ".emb_layer_norm.")
        if not name.endswith(".version"):
            renamed[name] = value
    return renamed


def infer_config(
    weights: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any] | None = None,
    *,
    path: str | PathLike[str] | None = None,
) -> ModelConfig:
    """Read the architecture off the shapes.

    Parameters
    ----------
    weights
        Tensors by published name (see :func:`rename`).
    settings
        Settings of the checkpoint. Only the number of heads is taken from them, for no shape shows it;
        without it, a head is 64 wide, as in every published size.
    path
        Named in errors.

    Raises
    ------
    CheckpointError
        ``other-model`` if this is no MusicBERT.
    """
    try:
        vocabulary, width = weights[f"{ENCODER}embed_tokens.weight"].shape
        rows = weights[f"{ENCODER}embed_positions.weight"].shape[0]
        ffn_width = weights[f"{ENCODER}layers.0.fc1.weight"].shape[0]
    except (KeyError, ValueError) as error:
        message = "It holds no MusicBERT: tensors of the encoder are missing"
        raise CheckpointError("other-model", message, path=path) from error
    down = weights.get(f"{ENCODER}downsampling.0.weight")
    performance = weights.get(OPTIONAL[0])
    heads = (settings or {}).get("encoder_attention_heads") or max(width // HEAD_WIDTH, 1)
    return ModelConfig(
        layers=_layers(weights),
        width=width,
        ffn_width=ffn_width,
        heads=int(heads),
        max_positions=rows - POSITION_OFFSET,
        vocabulary_size=vocabulary,
        fields=1 if down is None else down.shape[1] // width,
        performance_features=0 if performance is None else performance.shape[1],
    )


def _layers(weights: Mapping[str, torch.Tensor]) -> int:
    pattern = re.compile(re.escape(ENCODER) + r"layers\.(\d+)\.")
    return 1 + max((int(found[1]) for name in weights if (found := pattern.match(name))), default=-1)


def fit_weights(
    weights: Mapping[str, torch.Tensor],
    own: Mapping[str, torch.Tensor],
    *,
    path: str | PathLike[str] | None = None,
) -> tuple[dict[str, torch.Tensor], KeyReport]:
    """Match a checkpoint with the tensors of a model.

    Parameters
    ----------
    weights
        Tensors of the checkpoint, by any of the known spellings.
    own
        The model's state dict: names, shapes, and the values that stay where the checkpoint has none.
    path
        Named in errors.

    Returns
    -------
    state, report
        A state dict for ``load_state_dict(strict=True)``, and what became of each tensor. A position table
        that is longer than the model's is cut, and one that is shorter, but long enough for ``max_positions``
        tokens, is continued by the model's own rows: both count from the same row.

    Raises
    ------
    CheckpointError
        ``other-vocabulary``, ``other-architecture``, ``other-model``, ``missing-weights``.
    """
    weights = rename(weights)
    _check_architecture(weights, own, path)
    state, loaded, missing, resized = {}, [], [], []
    for name, value in own.items():
        found = weights.get(name)
        if found is None:
            missing.append(name)
        elif found.shape != value.shape and name.startswith(NEW_HEADS):
            resized.append(name)
        else:
            loaded.append(name)
            state[name] = _positions(found, value) if name.endswith("embed_positions.weight") else found
            continue
        state[name] = value
    lacking = [name for name in missing if name not in OPTIONAL and not name.startswith(NEW_HEADS)]
    if lacking:
        message = f"{len(lacking)} tensors are missing: {', '.join(lacking[:3])} ..."
        raise CheckpointError("missing-weights", message, path=path)
    unexpected = [name for name in weights if name not in own]
    return state, KeyReport(tuple(loaded), tuple(missing), tuple(unexpected), tuple(resized))


def _positions(found: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Rows of the checkpoint as far as they go, then the model's own [shape of ``own``]."""
    rows = found[: own.shape[0]]
    return rows if len(rows) == len(own) else torch.cat([rows, own[len(rows) :].to(rows)])


def check_heads(settings: Mapping[str, Any], heads: int, *, path: str | PathLike[str] | None = None) -> None:
    """Check the number of attention heads, which no shape shows, against the settings of a checkpoint.

    Raises
    ------
    CheckpointError
        ``other-architecture``.
    """
    theirs = settings.get("encoder_attention_heads") or heads
    if int(theirs) != heads:
        raise CheckpointError(
            "other-architecture",
            f"It is of another architecture: {theirs} attention heads (not {heads})",
            path=path,
            hint="choose the --arch it was trained with",
        )


def _check_architecture(
    weights: Mapping[str, torch.Tensor],
    own: Mapping[str, torch.Tensor],
    path: str | PathLike[str] | None,
) -> None:
    theirs, ours = infer_config(weights, path=path), infer_config(own)
    if theirs.vocabulary_size != ours.vocabulary_size:
        raise CheckpointError(
            "other-vocabulary",
            f"Its vocabulary has {theirs.vocabulary_size} tokens, the model's {ours.vocabulary_size}",
            path=path,
            hint="use a checkpoint trained on OctupleMIDI with the same dict.txt",
        )
    compared = ("layers", "width", "ffn_width", "fields")
    differ = [name for name in compared if getattr(theirs, name) != getattr(ours, name)]
    if theirs.max_positions < ours.max_positions // ours.fields:  # positions are counted in notes
        differ.append("max_positions")
    if theirs.performance_features not in (0, ours.performance_features):
        differ.append("performance_features")
    if differ:
        encoding = " and the --encoding (remi: 1 field; octuple, cp: 8)"
        values = ", ".join(f"{name} {getattr(theirs, name)} (not {getattr(ours, name)})" for name in differ)
        raise CheckpointError(
            "other-architecture",
            f"It is of another architecture: {values}",
            path=path,
            hint="choose the --arch it was trained with" + (encoding if "fields" in differ else ""),
        )
