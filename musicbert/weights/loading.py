"""From a checkpoint to a model, without fairseq."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike

from torch import nn

from musicbert.errors import CheckpointError
from musicbert.model import MusicBert, Pooling
from musicbert.weights.container import load_checkpoint
from musicbert.weights.mapping import HEADS, KeyReport, check_heads, fit_weights, infer_config, rename

__all__ = ["load_into", "load_model"]


def load_into(model: MusicBert, path: str | PathLike[str]) -> KeyReport:
    """Copy a checkpoint into a model of the same architecture.

    Raises
    ------
    CheckpointError
        As :func:`~musicbert.weights.container.load_checkpoint` and
        :func:`~musicbert.weights.mapping.fit_weights`.
    """
    checkpoint = load_checkpoint(path)
    check_heads(checkpoint.settings, model.config.heads, path=path)
    state, report = fit_weights(checkpoint.weights, model.state_dict(), path=path)
    nn.Module.load_state_dict(model, state, strict=True)
    return report


def load_model(
    path: str | PathLike[str],
    *,
    pooling: Pooling = "first",
    performance_features: int | None = None,
) -> MusicBert:
    """Build the model that a checkpoint holds, sentence heads included, in evaluation mode.

    Parameters
    ----------
    path
        A checkpoint in any container of :func:`~musicbert.weights.container.load_checkpoint`.
    pooling
        What the sentence heads read (see :class:`~musicbert.model.MusicBert`).
    performance_features
        Number of performance inputs; what the checkpoint has if None.

    Raises
    ------
    CheckpointError
        As :func:`load_into`.
    """
    checkpoint = load_checkpoint(path)
    weights = rename(checkpoint.weights)
    config = infer_config(weights, checkpoint.settings, path=path)
    if performance_features is not None:
        config = replace(config, performance_features=performance_features)
    model = MusicBert(config, pooling=pooling)
    for name, value in weights.items():
        if name.startswith(HEADS) and name.endswith(".out_proj.weight"):
            kind, head = name.split(".")[:2]
            register = model.register_classification_head
            if kind == "regression_heads":
                register = model.register_regression_head
            dense = weights.get(f"{kind}.{head}.dense.weight")
            if dense is None:
                raise CheckpointError("missing-weights", f"The head {head!r} is not whole", path=path)
            register(head, value.shape[0], dense.shape[0])
    state, _ = fit_weights(weights, model.state_dict(), path=path)
    model.load_state_dict(state, strict=True)
    return model.eval()
