"""One loop over windows, in batches of similar length, for embeddings, predictions, filling and evaluation.

Legend: ``B`` windows, ``T`` rows of the longest (special rows included), ``F`` fields, ``P`` performance
inputs.

:func:`run_batches` knows only lengths: it sorts, batches, and hands results back. :class:`Runner` puts
windows of pieces through it. In float32 a window gives the same numbers in any batch up to rounding (1e-5,
tested); with bfloat16 products, the default on a GPU, the rounding is coarser.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from musicbert.arrays import Ints
from musicbert.predict.pieces import Piece
from musicbert.predict.windows import OVERLAP, WINDOW, Layout, Window, WindowChoice, cut
from musicbert.progress import progress_bar

Precision = Literal["auto", "float32", "bfloat16"]
#: rows of a batch, padding included: four windows of 1,000 notes
BATCH_ROWS = 4096
#: a window stays out of a batch if more than this share of its rows would be padding, and a few rows more
PADDING, SLACK = 0.2, 14

Batch = TypeVar("Batch")
Output = TypeVar("Output")


def run_batches(
    lengths: ArrayLike,
    make_batch: Callable[[Ints], Batch],
    forward: Callable[[Batch], Output],
    take: Callable[[Ints, Output], None],
    *,
    batch_rows: int,
    batch_items: int | None = None,
    padding: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run items of different lengths through a model, the longest first, without gradients.

    ``lengths``: rows of each item, special rows included [shape=(n,), integers]. ``make_batch`` gets the
    indices of a batch's items [shape=(B,), int64], ``forward`` runs the batch, and ``take`` gets the indices
    and the output. A batch has at most ``batch_rows`` rows, padding included (a longer item is a batch of its
    own), and at most ``batch_items`` items. At most the share ``padding`` (0-1) of an item's rows is padding;
    `SLACK` rows more are tolerated. ``progress`` is called with the number of items done and of all items.
    """
    sizes = np.asarray(lengths, np.int64)
    order = np.argsort(-sizes, kind="stable")  # the longest first: too little memory shows at once
    done = 0
    with torch.inference_mode():
        while done < len(order):
            longest = int(sizes[order[done]])
            count = max(batch_rows // max(longest, 1), 1)
            chosen = order[done : done + min(count, batch_items or count)]
            chosen = chosen[sizes[chosen] >= int(longest * (1 - padding)) - SLACK]  # sorted: the first ones
            take(chosen, forward(make_batch(chosen)))
            done += len(chosen)
            if progress is not None:
                progress(done, len(order))


def pick_device(device: str | torch.device | None) -> torch.device:
    """Device of this name; a GPU if there is one when None."""
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def multiplies_in_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether matrices are multiplied in bfloat16: ``auto`` does so on a GPU, not on a CPU.

    Raises `ValueError` (for an unknown precision).
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision is auto, float32 or bfloat16, not {precision!r}")
    return device.type == "cuda" if precision == "auto" else precision == "bfloat16"


class Runner:
    """A model on a device, in one precision, that reads windows of pieces.

    ``model`` is moved to ``device`` (None: a GPU if there is one); ``layout`` turns rows into its tokens.
    ``performance`` is the number of performance inputs of a note. For ``window``, ``overlap`` and ``choice``
    see :func:`~musicbert.predict.windows.cut`, for ``batch_rows`` :func:`run_batches`. The ``precision``
    ``auto`` is float32 on a CPU and bfloat16 on a GPU (weights stay float32).
    """

    def __init__(
        self,
        model: nn.Module,
        layout: Layout,
        *,
        performance: int = 0,
        window: int = WINDOW,
        overlap: int = OVERLAP,
        choice: WindowChoice = "all",
        device: str | torch.device | None = None,
        precision: Precision = "auto",
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        self.device = pick_device(device)
        self.model = model.to(self.device).eval()
        self.layout = layout
        self.performance = performance
        self.window, self.overlap, self.choice = window, overlap, choice
        self.bfloat16 = multiplies_in_bfloat16(precision, self.device)
        self.batch_rows = batch_rows

    def windows(self, pieces: Sequence[Piece]) -> list[Window]:
        """Windows of all pieces, in order."""
        size: dict[str, Any] = {"window": self.window, "overlap": self.overlap, "choice": self.choice}
        return [
            window
            for number, piece in enumerate(pieces)
            for window in cut(number, piece.rows, self.layout.codec, **size)
        ]

    def run(
        self,
        pieces: Sequence[Piece],
        windows: Sequence[Window],
        forward: Callable[[torch.Tensor, torch.Tensor | None], Output],
        take: Callable[[list[int], Output], None],
    ) -> None:
        """Run windows (``window.piece`` is an index into ``pieces``).

        ``forward`` runs the model on tokens (see :class:`~musicbert.predict.windows.Layout`) and performance
        inputs [shape=(B, T, P), float32], in the runner's precision. ``take`` receives the indices of a
        batch's windows and its output.
        """

        def make_batch(chosen: Ints) -> tuple[torch.Tensor, torch.Tensor | None]:
            return self.collate([(pieces[windows[index].piece], windows[index]) for index in chosen])

        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            run_batches(
                [len(window) + self.layout.special for window in windows],
                make_batch,
                lambda batch: forward(*batch),
                lambda chosen, output: take(chosen.tolist(), output),
                batch_rows=self.batch_rows,
                padding=PADDING,
            )

    def collate(self, chosen: Sequence[tuple[Piece, Window]]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens and performance inputs of windows; the latter are zero at special rows and masked notes."""
        sequences = []
        lead = self.layout.lead
        longest = max(len(window) for _, window in chosen) + self.layout.special
        inputs = torch.zeros(len(chosen), longest, self.performance)  # (B, T, P)
        for row, (piece, window) in zip(inputs, chosen, strict=True):
            part = slice(window.start, window.stop)
            tokens = self.layout.tokens(piece.rows[part], window.first_bar)
            notes = slice(lead, lead + len(window))
            if piece.hidden is not None:
                hidden = torch.from_numpy(piece.hidden[part])
                tokens[notes] = torch.where(hidden, self.layout.mask, tokens[notes])
            if piece.performance is not None and self.performance:
                row[notes] = torch.from_numpy(piece.performance[part])
                if piece.hidden is not None:
                    row[notes][torch.from_numpy(piece.hidden[part].any(axis=1))] = 0
            sequences.append(tokens)
        tokens = self.layout.collate(sequences).to(self.device)
        return tokens, inputs.to(self.device) if self.performance else None


def line_progress(unit: str) -> Callable[[int, int], None]:
    """Return a function of (done, all) that shows a bar on a terminal, and nothing elsewhere."""
    bar: Any = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = progress_bar(total=total, unit=unit)
        bar.update(done - bar.n)
        if done >= total:
            bar.close()
            bar = None

    return show
