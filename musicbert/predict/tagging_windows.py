"""Windows of pieces, and their rows as tokens of a model.

A piece is cut into windows of at most so many notes (and, in OctupleMIDI, 256 bars), one after the other or
overlapping. How rows become tokens follows from the backbone: MusicBERT reads ids of one vocabulary, with
``<s>`` and ``</s>`` around the notes, lying flat; M2BERT reads the columns of notes as they are
(`musicbert.objectives.note_fields`), octuples too.

Legend: ``n`` notes of a window, ``F`` fields of a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from musicbert.encoding.codec import get_codec
from musicbert.encoding.vocabulary import FIELD_SIZES, PAD, rows_to_ids
from musicbert.errors import DatasetError
from musicbert.predict.spans import cover

__all__ = ["Layout", "TagWindow", "cut"]

Ints = NDArray[np.int64]
WindowChoice = Literal["all", "first"]


@dataclass(frozen=True, eq=False)
class TagWindow:
    """One window of one piece.

    Attributes
    ----------
    piece
        Number of the piece in its shards.
    start, stop
        Rows ``start`` to ``stop - 1`` of the piece.
    first_bar
        Bar of the piece that is bar 0 of the window (OctupleMIDI).
    share
        How much of each note's result comes from this window [shape=(n,), float64, 0-1].
    """

    piece: int
    start: int
    stop: int
    first_bar: int
    share: NDArray[np.float64]

    def __len__(self) -> int:
        return self.stop - self.start


class Layout:
    """How rows of a codec become the tokens of a backbone.

    Parameters
    ----------
    codec
        Name of the codec.
    cells
        Columns as they are (M2BERT), in place of ids of one vocabulary (MusicBERT, OctupleMIDI only).

    Attributes
    ----------
    fields
        ``F``.
    lead
        Special rows before the first note.
    special
        Special rows of a window in all.

    Raises
    ------
    DatasetError
        ``wrong-codec`` where the backbone cannot read this encoding.
    """

    def __init__(self, codec: str, *, cells: bool) -> None:
        self.codec, self.cells = codec, cells
        self.octuple = codec == "octuple"
        if not (cells or self.octuple):
            raise DatasetError(
                "wrong-codec",
                f"MusicBERT reads octuples, and this data set holds {codec!r}",
                hint="write it with the codec 'octuple', or take an architecture m2bert_*",
            )
        fields = get_codec(codec).fields
        self.fields = len(fields)
        self.lead, self.special = (0, 0) if cells else (1, 2)
        pads = FIELD_SIZES if self.octuple else [field.pad for field in fields]
        self._pad = torch.tensor(pads if cells else [PAD] * self.fields)

    def tokens(self, rows: Ints, first_bar: int) -> torch.Tensor:
        """Tokens of a window [shape=(n + special, F), int64]."""
        moved = rows.copy()
        if self.octuple:
            # a window that was shifted at random may hold more than 256 bars: its last ones are one
            moved[:, 0] = np.clip(moved[:, 0] - first_bar, 0, FIELD_SIZES[0] - 1)
        return torch.from_numpy(moved if self.cells else rows_to_ids(moved)).view(-1, self.fields)

    def collate(self, windows: Sequence[torch.Tensor]) -> torch.Tensor:
        """Pad to the longest: [shape=(B, T*F)] for MusicBERT, [shape=(B, T, F)] for M2BERT."""
        longest = max(len(window) for window in windows)
        tokens = self._pad.repeat(len(windows), longest, 1)  # (B, T, F)
        for row, window in zip(tokens, windows, strict=True):
            row[: len(window)] = window
        return tokens if self.cells else tokens.flatten(1)


def cut(
    piece: int,
    rows: Ints,
    codec: str,
    *,
    window: int,
    overlap: int = 0,
    choice: WindowChoice = "all",
) -> list[TagWindow]:
    """Cut a piece into windows.

    Parameters
    ----------
    piece
        Its number.
    rows
        Its rows [shape=(n, F), int64].
    codec
        Name of the codec.
    window, overlap
        Notes of a window, at most; notes that neighbours share.
    choice
        ``first``: only the first window, as MusicBERT's published tasks read a piece.
    """
    # compound words count no bars: a window of them is bounded by its notes only
    bars = rows[:, 0] if codec == "octuple" else np.zeros(len(rows), np.int64)
    spans = cover(bars, window=window, overlap=overlap)
    if choice == "first":
        spans = [spans[0]._replace(share=np.ones(spans[0].stop))]
    return [TagWindow(piece, span.start, span.stop, span.first_bar, span.share) for span in spans]
