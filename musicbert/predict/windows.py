"""Windows of a piece, how much each window contributes to each note, and rows as tokens of a model.

A window has at most 1,000 notes and, in OctupleMIDI, 256 bars, as in training. Neighbours overlap by a
quarter of a window; in the overlap the weight of the one falls linearly while that of the other rises (the
cross-fade of musicbert_hf's ``collate_logits``), and the weights of all windows at a note add up to 1. A
window with bars beyond 255 is moved so that its first bar is 0; others keep their bars.

Legend: ``n`` notes of a window, ``B`` windows, ``T`` rows of the longest, ``F`` fields of a note.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from musicbert.arrays import Floats, Ints
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.vocabulary import FIELD_SIZES, PAD, rows_to_ids
from musicbert.errors import DatasetError

WindowChoice = Literal["all", "first"]

#: notes of a window in training (specification of the published preprocessing)
WINDOW = 1000
#: notes that neighbours share
OVERLAP = 250
BARS = FIELD_SIZES[0]


@dataclass(frozen=True, eq=False)
class Window:
    """Rows ``start`` to ``stop - 1`` of piece number ``piece``.

    ``first_bar``: bar of the piece that is bar 0 of the window (OctupleMIDI). ``share`` [shape=(n,), float64,
    0-1]: how much of each note's result comes from this window.
    """

    piece: int
    start: int
    stop: int
    first_bar: int
    share: Floats

    def __len__(self) -> int:
        return self.stop - self.start


def cover(bars: Ints, *, window: int = WINDOW, overlap: int = OVERLAP, piece: int = 0) -> list[Window]:
    """Cover a piece with windows, in order; every row is in at least one.

    ``bars`` [shape=(n,), int64], n >= 1: bar of each row, ascending. ``window``: largest number of notes in a
    window. ``overlap``: notes that neighbours share; fewer where 256 bars hold fewer notes.
    Raises `ValueError` unless ``0 <= overlap < window``.
    """
    if not 0 <= overlap < window:
        raise ValueError(f"overlap {overlap} is not in 0 to window - 1, {window - 1}")
    n = len(bars)
    bounds: list[tuple[int, int]] = []
    start = 0
    while True:
        stop = min(start + window, int(np.searchsorted(bars, bars[start] + BARS)))
        bounds.append((start, stop))
        if stop == n:
            break
        # the next window holds row `stop`, so it cannot begin more than 255 bars before that
        earliest = int(np.searchsorted(bars, bars[stop] - BARS, side="right"))
        shared = min(overlap, (stop - start) // 2)
        start = max(stop - shared, earliest, start + 1)
    weights = [_ramp(index, bounds) for index in range(len(bounds))]
    total = np.zeros(n)
    for (start, stop), weight in zip(bounds, weights, strict=True):
        total[start:stop] += weight
    return [
        Window(
            piece, start, stop, 0 if bars[stop - 1] < BARS else int(bars[start]), weight / total[start:stop]
        )
        for (start, stop), weight in zip(bounds, weights, strict=True)
    ]


def _ramp(index: int, bounds: list[tuple[int, int]]) -> Floats:
    """Weights before normalisation: 1, falling towards 0 where a neighbour overlaps."""
    start, stop = bounds[index]
    at = np.arange(stop - start, dtype=np.float64)
    weight = np.ones(stop - start)
    if index:
        shared = bounds[index - 1][1] - start
        weight = np.minimum(weight, (at + 1) / (shared + 1))
    if index + 1 < len(bounds):
        shared = stop - bounds[index + 1][0]
        weight = np.minimum(weight, (stop - start - at) / (shared + 1))
    return weight


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
        self.fields = len(fields)
        self.lead, self.special = (0, 0) if cells else (1, 2)
        pads = FIELD_SIZES if self.octuple else [field.pad for field in fields]
        self._pad = torch.tensor(pads if cells else [PAD] * self.fields)

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
