"""Windows through the encoder in batches of similar length, whatever the order they came in.

Legend: ``B`` windows, ``T`` notes of the longest (the two special octuples included), ``F`` 8 fields, ``D``
width.

Windows are sorted by length, so that little is padded, and a batch is bounded by its padded notes. In
float32 a window gives the same numbers in any batch up to rounding (1e-5, tested); on a GPU the matrices
are multiplied in bfloat16, with less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from musicbert.encoding.vocabulary import FIELD_SIZES, FIELDS, MASK, PAD, rows_to_ids
from musicbert.model import EncoderOutput, MusicBert
from musicbert.predict.pieces import Piece
from musicbert.predict.spans import Span

__all__ = ["Precision", "Runner", "Window", "multiplies_in_bfloat16"]

Precision = Literal["auto", "float32", "bfloat16"]
#: padded notes of a batch, at most: four windows of 1,000 notes
BATCH_NOTES = 4096
#: a window shorter than this share of the longest of a batch, less a few notes, waits for the next batch
FILLED, SMALL = 0.8, 16
F = len(FIELDS)


def multiplies_in_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Say whether matrices are multiplied in bfloat16: ``auto`` does on a GPU, not on a CPU.

    Raises
    ------
    ValueError
        For another word.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision is auto, float32 or bfloat16, not {precision!r}")
    return device.type == "cuda" if precision == "auto" else precision == "bfloat16"


@dataclass(frozen=True, eq=False)
class Window:
    """One window of one piece.

    Attributes
    ----------
    piece
        The piece.
    span
        Which of its rows.
    mask
        True at tokens to hide [shape=(n, 8), bool] over the rows of the window, or None.
    """

    piece: Piece
    span: Span
    mask: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return self.span.stop - self.span.start

    def ids(self) -> NDArray[np.int64]:
        """Token ids with the special octuples [shape=(8 * (n + 2),)]."""
        rows = self.piece.rows[self.span.start : self.span.stop].copy()
        # no change, except where a hidden bar was filled from a window with another first bar
        rows[:, 0] = np.clip(rows[:, 0] - self.span.first_bar, 0, FIELD_SIZES[0] - 1)
        ids = rows_to_ids(rows)
        if self.mask is not None:
            ids[F:-F][self.mask.reshape(-1)] = MASK
        return ids

    def performance(self) -> NDArray[np.float32] | None:
        """Performance inputs, zero at special octuples and masked notes [shape=(n + 2, P)]."""
        if self.piece.performance is None:
            return None
        inputs = self.piece.performance[self.span.start : self.span.stop]
        if self.mask is not None:
            inputs = inputs * ~self.mask.any(axis=1, keepdims=True)
        return np.pad(inputs, ((1, 1), (0, 0)))


class Runner:
    """A model on a device, in one precision.

    Parameters
    ----------
    model
        In evaluation mode; it is moved to the device.
    device
        ``cpu``, ``cuda``, ...; a GPU if there is one when None.
    precision
        ``auto``: float32 on a CPU, bfloat16 on a GPU (weights stay float32).
    batch_notes
        Padded notes of a batch, at most (a longer window is a batch of its own).
    """

    def __init__(
        self,
        model: MusicBert,
        *,
        device: str | torch.device | None = None,
        precision: Precision = "auto",
        batch_notes: int = BATCH_NOTES,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval()
        self.bfloat16 = multiplies_in_bfloat16(precision, self.device)
        self.batch_notes = batch_notes

    def run(
        self,
        windows: Sequence[Window],
        use: Callable[[list[int], EncoderOutput, torch.Tensor], None],
        *,
        layers: bool = False,
    ) -> None:
        """Run windows.

        Parameters
        ----------
        windows
            In any order.
        use
            Called for each batch, without gradients and in the chosen precision, with the indices of the
            windows that it holds, what the encoder says, and the token ids [shape=(B, T*F), int64].
        layers
            Keep the states between the blocks.
        """
        order = sorted(range(len(windows)), key=lambda index: -len(windows[index]))
        at = 0
        while at < len(order):
            longest = len(windows[order[at]]) + 2
            chosen = order[at : at + max(self.batch_notes // longest, 1)]
            shortest = int(longest * FILLED) - SMALL
            chosen = [index for index in chosen if len(windows[index]) >= shortest]  # sorted: a prefix
            at += len(chosen)
            tokens, performance = self._collate([windows[index] for index in chosen], longest)
            autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)
            with torch.inference_mode(), autocast:
                output = self.model.encoder.sentence_encoder(
                    tokens, performance=performance, return_all_hiddens=layers
                )
                use(chosen, output, tokens)

    def _collate(self, windows: Sequence[Window], longest: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        tokens = np.full((len(windows), longest * F), PAD)
        features = self.model.config.performance_features
        inputs = np.zeros((len(windows), longest, features), np.float32) if features else None
        for row, window in enumerate(windows):
            ids = window.ids()
            tokens[row, : len(ids)] = ids
            found = window.performance()
            if inputs is not None and found is not None:
                inputs[row, : len(found)] = found
        performance = None if inputs is None else torch.from_numpy(inputs).to(self.device)
        return torch.from_numpy(tokens).to(self.device), performance
