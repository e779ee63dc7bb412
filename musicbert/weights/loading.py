"""From a checkpoint to a model, without fairseq."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike

from torch import nn

from musicbert.model import MusicBert, Pooling
from musicbert.weights.bundle import build_model, read_bundle
from musicbert.weights.container import load_checkpoint
from musicbert.weights.mapping import KeyReport, check_heads, fit_weights

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
    pooling: Pooling | None = None,
    performance_features: int | None = None,
) -> MusicBert:
    """Build the model that a checkpoint holds, sentence heads included, in evaluation mode.

    Parameters
    ----------
    path
        A checkpoint in any container of :func:`~musicbert.weights.container.load_checkpoint`.
    pooling
        What the sentence heads read (see :class:`~musicbert.model.MusicBert`); what the checkpoint says if
        None.
    performance_features
        Number of performance inputs; what the checkpoint has if None.

    Raises
    ------
    CheckpointError
        As :func:`load_into`.
    """
    bundle = read_bundle(path)
    if pooling is not None:
        bundle = replace(bundle, pooling=pooling)
    if performance_features is not None:
        config = replace(bundle.config, performance_features=performance_features)
        bundle = replace(bundle, config=config)
    return build_model(bundle, path=path)[0]
