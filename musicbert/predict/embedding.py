"""Results of windows put together: the mean over windows for every note, bar or piece, and embeddings.

Only sums are kept, so that memory does not grow with the number of windows.

Legend: ``n`` notes, ``B`` windows, ``T`` rows, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from musicbert.predict.pieces import Piece
from musicbert.predict.runner import Runner
from musicbert.predict.windows import Window

__all__ = ["Level", "Stitch", "TokenPooling", "check_layer", "embed_pieces"]

Ints = NDArray[np.int64]
Level = Literal["piece", "note", "bar"]
TokenPooling = Literal["first", "mean"]


class Stitch:
    """Means over windows for the items (notes, bars or the whole) of pieces.

    Parameters
    ----------
    items
        Of each piece, the item that each note belongs to, ascending from 0 [shape=(n,), int64].
    width
        Numbers of an item, ``D``.
    votes
        Count every window once, in place of by its notes (for results of whole windows).
    """

    def __init__(self, items: Sequence[Ints], width: int, *, votes: bool = False) -> None:
        self.items, self.votes = items, votes
        self.sums = [np.zeros((int(at[-1]) + 1, width)) for at in items]
        self.weights = [np.zeros(len(total)) for total in self.sums]

    def add(self, window: Window, values: NDArray[np.float32]) -> None:
        """Add the result of a window, for each note [shape=(n, D)] or for all of it [shape=(D,)]."""
        sums, weights = self.sums[window.piece], self.weights[window.piece]
        if values.ndim == 1:
            weight = 1.0 if self.votes else float(window.share.sum())
            sums[0] += weight * values
            weights[0] += weight
            return
        at = self.items[window.piece][window.start : window.stop]
        first = np.flatnonzero(np.diff(at, prepend=-1))  # first note of each item
        sums[at[first]] += np.add.reduceat(values * window.share[:, None], first)
        weights[at[first]] += np.add.reduceat(window.share, first)

    def covered(self) -> list[NDArray[np.bool_]]:
        """Whether a window said something about each item [shape=(items,)], of each piece."""
        return [weights > 0 for weights in self.weights]

    def means(self) -> list[NDArray[np.float64]]:
        """Means of each piece [shape=(items, D)]; zeros where no window said anything."""
        return [
            total / np.where(weights > 0, weights, 1)[:, None]
            for total, weights in zip(self.sums, self.weights, strict=True)
        ]


def check_layer(layer: int, depth: int) -> int:
    """Number of the state after block ``layer``, counted from 0, the input of the first block.

    Raises
    ------
    ValueError
        Where a model of ``depth`` blocks has no such state.
    """
    if not -depth - 1 <= layer <= depth:
        raise ValueError(f"layer is in {-depth - 1} to {depth}, not {layer}")
    return layer % (depth + 1)


def embed_pieces(
    runner: Runner,
    pieces: Sequence[Piece],
    forward: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
    *,
    level: Level,
    width: int,
    bars: Callable[[Ints], Ints],
) -> list[NDArray[np.float32]]:
    """Embed pieces, their bars or their notes.

    Parameters
    ----------
    runner, pieces
        The model, and what to embed.
    forward
        Tokens and performance inputs -> states of rows [shape=(B, T, D)] or of windows [shape=(B, D)].
    level
        What gets a vector.
    width
        ``D``.
    bars
        Rows -> bar of each note, counting only bars with notes [shape=(n,), int64].

    Returns
    -------
    list of numpy.ndarray
        float32, of each piece [shape=(D,)], [shape=(n, D)] or [shape=(bars, D)].

    Raises
    ------
    ValueError
        For another level.
    """
    if level not in get_args(Level):
        raise ValueError(f"level is one of {get_args(Level)}, not {level!r}")
    items: list[Ints] = [
        bars(piece.rows) if level == "bar" else np.arange(len(piece.rows)) * (level == "note")
        for piece in pieces
    ]
    stitch, windows, lead = Stitch(items, width), runner.windows(pieces), runner.layout.lead

    def take(chosen: list[int], states: torch.Tensor) -> None:
        for index, state in zip(chosen, states.float().cpu().numpy(), strict=True):
            window = windows[index]
            stitch.add(window, state if state.ndim == 1 else state[lead : lead + len(window)])

    runner.run(pieces, windows, forward, take)
    means = [mean.astype(np.float32) for mean in stitch.means()]
    return [mean[0] for mean in means] if level == "piece" else means
