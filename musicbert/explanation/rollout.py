"""Attention rollout (Abnar, Zuidema 2020): a picture of where a MusicBERT looks, not a reason.

The weights of each block, averaged over its heads and with half of the identity added for the residual
connection, are multiplied from the first block to the last. Nothing here depends on the output that is asked
about, and no test of faithfulness is claimed for it: use `note_reasons` or `occlude` for reasons.

Legend: ``T`` rows of a window, the two special octuples included, ``H`` heads, ``D`` width.
"""

from typing import Any

import torch

from musicbert.arrays import Floats
from musicbert.model.backbones.musicbert import MusicBert
from musicbert.model.blocks.attention import SelfAttention
from musicbert.predict.embedding import Embedder
from musicbert.predict.pieces import Source


def attention_rollout(model: Embedder, source: Source, *, window: int = 0) -> Floats:
    """How much each row of a window looks at each other one [shape=(T, T), float64], rows add up to 1.

    Raises `TypeError` (not a MusicBERT), `IndexError` (there is no such window) and `MidiError`.
    """
    if not isinstance(model.module, MusicBert):
        raise TypeError(f"attention is read from a MusicBERT, not from {type(model.module).__name__}")
    piece = model.read(source)
    chosen = model.runner.windows([piece])[window]
    weights: list[torch.Tensor] = []

    def keep(module: SelfAttention, arguments: tuple[Any, ...]) -> None:
        q, k, _ = module._projected(arguments[0], first=False, queries=None)  # (1, H, T, D/H)
        weights.append((q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)[0].mean(0))  # (T, T)

    layers = model.module.encoder.sentence_encoder.layers
    handles = [layer.self_attn.register_forward_pre_hook(keep) for layer in layers]
    try:
        with torch.inference_mode():
            tokens, performance = model.runner.collate([(piece, chosen)])
            model.module.encoder.sentence_encoder(tokens, performance=performance)
    finally:
        for handle in handles:
            handle.remove()
    total = torch.eye(len(weights[0]), dtype=torch.float64)
    for each in weights:
        total = (each.double().cpu() + torch.eye(len(each), dtype=torch.float64)) / 2 @ total
    rows: Floats = total.numpy()
    return rows
