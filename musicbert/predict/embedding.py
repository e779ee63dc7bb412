"""Embeddings of windows, stitched to those of pieces, bars or notes.

Everything is a sum over windows with the shares of :mod:`musicbert.predict.spans`, so nothing but sums is
kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from musicbert.model import EncoderOutput
from musicbert.predict.runner import Runner, Window

__all__ = ["Level", "TokenPooling", "embed_windows"]

Level = Literal["piece", "note", "bar"]
TokenPooling = Literal["first", "mean"]


def embed_windows(
    runner: Runner,
    windows: Sequence[Window],
    owners: Sequence[int],
    sizes: Sequence[tuple[int, ...]],
    bars: Sequence[NDArray[np.int64]],
    level: Level,
    pooling: TokenPooling,
    number: int,
) -> list[NDArray[np.float64]]:
    """Embed pieces (see :meth:`~musicbert.predict.Model.embed`).

    Parameters
    ----------
    runner
        The model.
    windows, owners
        Windows of all pieces, and the piece that each belongs to.
    sizes
        Shape of each piece's result without the width: (), (n,) or (bars,).
    bars
        Number of the bar of each note, counting bars with notes only [shape=(n,)], of each piece.
    level, pooling
        What is wanted.
    number
        Block, 0 for the input of the first.

    Returns
    -------
    list of numpy.ndarray
        [shape=(*size, D), float64] of each piece.
    """
    depth = runner.model.config.layers
    results = [np.zeros((*size, runner.model.config.width)) for size in sizes]
    whole = level == "piece" and pooling == "first"

    def use(chosen: list[int], output: EncoderOutput, _: torch.Tensor) -> None:
        states = output.inner_states[number] if output.inner_states is not None else output.hidden
        if whole:
            last = number == depth
            states = runner.model.encoder.sentence_encoder.up_first(states) if last else states[:, 0]
        vectors = states.float().cpu().numpy()  # (B, D) or (B, T, D)
        for row, index in enumerate(chosen):
            owner, span = owners[index], windows[index].span
            result, notes = results[owner], slice(span.start, span.stop)
            if whole:
                result += vectors[row] * (span.share.sum() / len(bars[owner]))
                continue
            shared = vectors[row, 1 : 1 + len(span.share)] * span.share[:, None]  # (notes, D)
            if level == "piece":
                result += shared.sum(axis=0) / len(bars[owner])
            elif level == "note":
                result[notes] += shared
            else:
                np.add.at(result, bars[owner][notes], shared)

    runner.run(windows, use, layers=number != depth)
    if level == "bar":
        results = [r / np.bincount(at)[:, None] for r, at in zip(results, bars, strict=True)]
    return results
