"""Writing weights as a ``.pt`` that fairseq reads.

The container is that of fairseq 0.12: ``cfg`` with a Namespace of the model's settings, ``args`` None,
``model``, and the bookkeeping that fairseq looks for. There is no state of an optimiser, so it is something
to start from (``--init-from``, ``--finetune-from-model``), not to resume. What ``config.json`` says lies
under ``musicbert``, so that a folder written from it again is the same.
"""

from __future__ import annotations

from argparse import Namespace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from musicbert.atomic import replacing
from musicbert.config import PRESETS, ModelConfig
from musicbert.errors import CheckpointError
from musicbert.weights.bundle import Bundle

__all__ = ["architecture_name", "save_fairseq"]

_SIZES = ("layers", "width", "ffn_width", "heads")
_GROUPS = ("common", "checkpoint", "criterion")


def architecture_name(config: ModelConfig) -> str:
    """Name for ``--arch``: the preset of these sizes, or ``musicbert`` where there is none."""
    for name, preset in PRESETS.items():
        if all(getattr(preset, size) == getattr(config, size) for size in _SIZES):
            return f"musicbert_{name}"
    return "musicbert"


def save_fairseq(bundle: Bundle, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a checkpoint of fairseq, whole or not at all.

    Parameters
    ----------
    bundle
        What to write.
    path
        The ``.pt``; its folder must exist.
    overwrite
        Replace a file that is there already.

    Raises
    ------
    CheckpointError
        ``output-exists``.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise CheckpointError(
            "output-exists", "It is there already", path=path, hint="choose another name, or pass --overwrite"
        )
    config, name = bundle.config, architecture_name(bundle.config)
    model = Namespace(
        _name=name,
        arch=name,
        encoder_layers=config.layers,
        encoder_embed_dim=config.width,
        encoder_ffn_embed_dim=config.ffn_width,
        encoder_attention_heads=config.heads,
        max_positions=config.max_positions,
        tokens_per_sample=config.max_positions,
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        activation_dropout=config.activation_dropout,
        pooler_dropout=config.pooler_dropout,
        activation_fn="gelu",
        pooler_activation_fn="tanh",
        performance_features=config.performance_features,
        pooling=bundle.pooling,
        pad=1,
    )
    cfg: dict[str, Any] = {"_name": None, **{group: {} for group in _GROUPS}, "model": model}
    cfg["task"] = Namespace(_name="masked_lm", data="")
    state = {
        "args": None,
        "cfg": cfg,
        "model": dict(bundle.weights),
        "criterion": None,
        "optimizer_history": [
            {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
        ],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
        "musicbert": _lists(bundle.settings()),
    }
    with replacing(path) as file:
        torch.save(state, file)
    return path


def _lists(value: object) -> object:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {key: _lists(entry) for key, entry in value.items()}
    return [_lists(entry) for entry in value] if isinstance(value, list | tuple) else value
