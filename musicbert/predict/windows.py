"""Pieces cut into windows (see `musicbert.encoding.covering`), and rows as tokens of a model.

Legend: ``n`` notes of a window, ``B`` windows, ``T`` rows of the longest, ``F`` fields of a note.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from musicbert.arrays import Floats, Ints
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.covering import OVERLAP, WINDOW, Window, cover
from musicbert.encoding.vocabulary import FIELD_SIZES, FIELDS, MASK, PAD, rows_to_ids
from musicbert.errors import DatasetError

__all__ = ["OVERLAP", "WINDOW", "Layout", "Window", "WindowChoice", "cover", "cut", "trained_positions"]

WindowChoice = Literal["all", "first"]


def cut(
    piece: int, rows: Ints, codec: str, *, window: int, overlap: int = 0, choice: WindowChoice = "all"
) -> list[Window]:
    """Cut the rows of a piece [shape=(n, F), int64] into windows (see :func:`cover`).

    ``choice="first"`` keeps only the first window, as MusicBERT's published tasks read a piece.
    """
    # compound words count no bars: a window of them is bounded by its notes only
    bars = rows[:, 0] if codec == "octuple" else np.zeros(len(rows), np.int64)
    windows = cover(bars, window=window, overlap=overlap, piece=piece)
    return windows if choice == "all" else [replace(windows[0], share=np.ones(len(windows[0])))]


def trained_positions(table: Floats) -> int | None:
    """Number of learned positions that training has reached [shape=(positions, D)]; None: no end shows.

    Training on windows shorter than the positions leaves the last ones as they were drawn: all of one size,
    and without likeness to their neighbours, where trained ones are like them and larger.
    """
    D, last = table.shape[1], 32
    size = np.linalg.norm(table, axis=1)
    if len(table) < 3 * last or last > D or not size[-last:].all():
        return None
    middle = float(np.median(size[-last:]))
    # six deviations of the length of a normal vector, and of the cosine of two
    drawn = np.abs(size / middle - 1) < 6 / np.sqrt(2 * D)
    cosine = (table[1:] * table[:-1]).sum(1) / np.maximum(size[1:] * size[:-1], 1e-12)
    drawn[1:] &= np.abs(cosine) < 6 / np.sqrt(D)
    reached = np.flatnonzero(~drawn)
    end = int(reached[-1]) + 1 if len(reached) else 0
    clear = end >= last and len(table) - end >= last and size[end - last : end].mean() > 1.5 * middle
    return end if clear else None


class Layout:
    """How rows of a codec become the tokens of a backbone.

    MusicBERT reads ids of one vocabulary, flat, with ``<s>`` and ``</s>`` around the notes (OctupleMIDI
    only). M2BERT and MidiBERT read the columns of notes as they are (``cells``; see
    `musicbert.objectives.note_fields`), octuples too. ``lead`` is the number of special rows before the first
    note, ``special`` that of all special rows of a window.
    Raises `DatasetError` (``wrong-codec``: the backbone cannot read this encoding).
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
        self.names = FIELDS if self.octuple else tuple(field.name for field in fields)
        self.fields = len(fields)
        self.lead, self.special = (0, 0) if cells else (1, 2)
        pads = FIELD_SIZES if self.octuple else [field.pad for field in fields]
        self._pad = torch.tensor(pads if cells else [PAD] * self.fields)
        #: ids of hidden tokens [shape=(F,)]; MASK follows PAD in a column
        self.mask = self._pad + 1 if cells else torch.full((self.fields,), MASK)

    def tokens(self, rows: Ints, first_bar: int) -> torch.Tensor:
        """Tokens of a window [shape=(n + special, F), int64]."""
        moved = rows.copy()
        if self.octuple:
            # a window that was shifted at random, or a filled bar, may lie beyond 256 bars
            moved[:, 0] = np.clip(moved[:, 0] - first_bar, 0, FIELD_SIZES[0] - 1)
        return torch.from_numpy(moved if self.cells else rows_to_ids(moved)).view(-1, self.fields)

    def collate(self, windows: Sequence[torch.Tensor]) -> torch.Tensor:
        """Pad to the longest: [shape=(B, T*F)] for MusicBERT, [shape=(B, T, F)] for M2BERT."""
        longest = max(len(window) for window in windows)
        tokens = self._pad.repeat(len(windows), longest, 1)  # (B, T, F)
        for row, window in zip(tokens, windows, strict=True):
            row[: len(window)] = window
        return tokens if self.cells else tokens.flatten(1)
