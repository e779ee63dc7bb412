"""Masked batches for ``pretrain_step.py``: made or stored pieces, in blocks, masked as in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from musicbert.encoding.vocabulary import FIELD_SIZES, rows_to_ids
from musicbert.model.blocks.packed_attention import Segments
from musicbert.objectives.batches import MaskedBatch, collate
from musicbert.objectives.masking import MaskPolicy, mask_tokens

FIELDS = 8


class Blocks(torch.utils.data.Dataset):
    """Masked batches: item ``i`` is a whole batch, made from blocks of about ``notes`` notes."""

    def __init__(self, pieces: list[np.ndarray], batch: int, notes: int, layout: str, separate: bool) -> None:
        self.layout, self.separate, self.batch = layout, separate, batch
        self.blocks: list[list[np.ndarray]] = [[]]
        filled = 0
        for piece in pieces:  # as many consecutive pieces as fit
            size = len(piece) // FIELDS
            if self.blocks[-1] and filled + size > notes:
                self.blocks.append([])
                filled = 0
            self.blocks[-1].append(piece)
            filled += size

    def __len__(self) -> int:
        return len(self.blocks) // self.batch

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng([1, index])
        rows = self.blocks[index * self.batch : (index + 1) * self.batch]
        masked = [
            mask_tokens(np.concatenate(row).astype(np.int64), rng, MaskPolicy(per_piece=self.separate))
            for row in rows
        ]
        segments = [[len(piece) // FIELDS for piece in row] for row in rows] if self.separate else None
        return as_tensors(collate(*zip(*masked, strict=True), layout=self.layout, segments=segments), rows)


def as_tensors(batch: MaskedBatch, rows: list[list[np.ndarray]]) -> dict[str, Any]:
    tensors = {name: torch.from_numpy(getattr(batch, name)) for name in ("tokens", "notes", "wanted")}
    sequences = batch.lengths or [sum(map(len, row)) // FIELDS for row in rows]
    if batch.lengths is not None:
        tensors["offsets"] = Segments.of(batch.lengths).offsets
    return {**tensors, "counts": batch.counts, "padded": batch.padded, "sequences": sequences}


def made_pieces(count: int, seed: int = 0) -> list[np.ndarray]:
    """Piano-like windows of 30 to 1,000 notes: most windows of a corpus are full."""
    rng, pieces = np.random.default_rng(seed), []
    for _ in range(count):
        notes = 1000 if rng.random() < 0.7 else int(rng.integers(30, 1000))
        rows = rng.integers(0, np.minimum(FIELD_SIZES, (256, 64, 1, 88, 96, 32, 1, 4)), (notes, FIELDS))
        rows[:, 0] = np.sort(rng.integers(0, max(notes // 12, 1), notes))
        pieces.append(rows_to_ids(rows))
    return pieces


def stored_pieces(prefix: str, count: int) -> list[np.ndarray]:
    from musicbert.corpus.bins.databin import read_index

    sizes = read_index(prefix)[:count]
    tokens = np.memmap(f"{prefix}.bin", dtype="<u2", mode="r")
    return [np.asarray(part) for part in np.split(tokens[: sizes.sum()], np.cumsum(sizes)[:-1])]
