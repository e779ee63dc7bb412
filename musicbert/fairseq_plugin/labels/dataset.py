"""Data set of windows of labelled pieces, read from shards as they are asked for.

Legend: ``B`` windows, ``T`` rows of the longest (special ones included), ``F`` fields, ``C`` outputs, ``P``
performance inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from musicbert.corpus.labelled import LabelColumn, Shards
from musicbert.corpus.labelled.pieces import NO_CLASS
from musicbert.fairseq_plugin.data.sized_dataset import SizedDataset, similar_lengths_together
from musicbert.fairseq_plugin.labels.note_augmentation import NoteAugmentation
from musicbert.predict.windows import Layout, Window

__all__ = ["TaggingDataset"]


class TaggingDataset(SizedDataset):
    """Windows of one part of a split.

    Parameters
    ----------
    shards
        The labelled pieces.
    column
        The label.
    windows
        What to read.
    layout
        How rows become tokens.
    ignore
        Classes that count as missing.
    performance
        Read performance inputs.
    augmentation
        Changes of the notes, for training only (OctupleMIDI).
    random_shift
        Move each window by up to half its length, newly drawn in every epoch, within its piece.
    weights
        Weight of each piece in the loss [shape=(pieces of the shards,)], or None.
    shuffle
        Draw a new order among windows of similar length in every epoch.
    seed
        Seed of everything that is random, with the epoch and the number of the window.
    """

    def __init__(
        self,
        shards: Shards,
        column: LabelColumn,
        windows: Sequence[Window],
        layout: Layout,
        *,
        ignore: Sequence[int] = (),
        performance: bool = False,
        augmentation: NoteAugmentation | None = None,
        random_shift: bool = False,
        weights: np.ndarray | None = None,
        shuffle: bool = False,
        seed: int = 1,
    ) -> None:
        super().__init__()
        self.shards = shards
        self.column = column
        self.windows = windows
        self.layout = layout
        self.ignore = np.asarray(list(ignore), np.int64)
        self.performance = performance
        self.augmentation = augmentation
        self.random_shift = random_shift
        self.weights = weights
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 1
        self.sizes = np.array([len(window) + layout.special for window in windows], np.int64)
        self.labels = shards.label(column.name)
        self.note_level = column.level == "note"

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Batches, and worker processes, are made again in each epoch where anything is random."""
        return not (self.shuffle or self.augmentation is not None or self.random_shift)

    def set_epoch(self, epoch: int) -> None:
        """Take note of the epoch, which seeds the draws."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        window = self.windows[index]
        start, stop = window.start, window.stop
        length = int(self.shards.lengths[window.piece])
        if self.random_shift and len(window) < length:
            half = len(window) // 2
            shift = int(self._rng(index, 0).integers(-half, half, endpoint=True))
            start = int(np.clip(start + shift, 0, length - len(window)))
            stop = start + len(window)
        rows = self.shards.rows(window.piece, start, stop)
        first_bar = window.first_bar if start == window.start else int(rows[0, 0])
        cut = slice(start, stop)
        performance = self.shards.performance(window.piece, start, stop) if self.performance else None
        target = self._target(window.piece, cut)
        tokens = self.layout.tokens(rows, first_bar)  # (n + special, F)
        if self.augmentation is not None:
            plain = tokens.numpy()[1:-1]
            notes, performance = self.augmentation(plain, performance, self._rng(index, 1))
            if self.note_level:  # the same draws once more say where each note went
                place = np.arange(len(plain), dtype=np.float32)[:, None]
                _, moved = self.augmentation(plain, place, self._rng(index, 1))
                assert moved is not None
                target = target[moved[:, 0].astype(np.int64)]
            tokens = torch.cat([tokens[:1], torch.from_numpy(notes), tokens[-1:]])
        item = {"id": index, "source": tokens, "target": torch.from_numpy(target)}
        if performance is not None:
            item["performance"] = torch.from_numpy(np.ascontiguousarray(performance))
        return item

    def _rng(self, index: int, use: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.epoch, index, use))

    def _target(self, piece: int, cut: slice) -> np.ndarray:
        """Labels of a window, with ignored classes missing."""
        if self.note_level:
            begin = int(self.shards.offsets[piece])
            values = np.array(self.labels[begin + cut.start : begin + cut.stop])
        else:
            values = np.array(self.labels[piece])
        if self.column.kind == "classes":
            values = values.astype(np.int64)
            if len(self.ignore):
                values = np.where(np.isin(values, self.ignore), NO_CLASS, values)
            return values
        return values.astype(np.float32)

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch, padded to its longest window.

        Returns
        -------
        dict
            ``id`` [shape=(B,)], ``nsentences``, ``ntokens`` (notes), ``weight`` [shape=(B,)], ``target`` and
            ``net_input`` (``src_tokens``, ``performance`` [shape=(B, T, P)]). Targets of notes are aligned
            with the rows of the tokens, -1 (NaN) at special rows and padding: [shape=(B, T)] or
            [shape=(B, T, C)]; of pieces [shape=(B,)] or [shape=(B, C)].
        """
        if not samples:
            return {}
        longest = max(len(item["source"]) for item in samples)
        net_input = {"src_tokens": self.layout.collate([item["source"] for item in samples])}
        if self.performance:
            width = samples[0]["performance"].shape[1]
            inputs = torch.zeros(len(samples), longest, width)  # (B, T, P)
            for row, item in zip(inputs, samples, strict=True):
                row[self.layout.lead : self.layout.lead + len(item["performance"])] = item["performance"]
            net_input["performance"] = inputs
        targets = [item["target"] for item in samples]
        if self.note_level:
            missing = NO_CLASS if self.column.kind == "classes" else float("nan")
            shape = (len(samples), longest, *self.column.width)
            target = torch.full(shape, missing, dtype=targets[0].dtype)  # (B, T) or (B, T, C)
            for row, values in zip(target, targets, strict=True):
                row[self.layout.lead : self.layout.lead + len(values)] = values
        else:
            target = torch.stack(targets)  # (B,) or (B, C)
        more = {}
        if self.weights is not None:
            pieces = [self.windows[item["id"]].piece for item in samples]
            more["weight"] = torch.from_numpy(self.weights[pieces].astype(np.float32))  # (B,)
        return {
            **more,
            "id": torch.tensor([item["id"] for item in samples]),
            "nsentences": len(samples),
            "ntokens": sum(len(item["source"]) - self.layout.special for item in samples),
            "net_input": net_input,
            "target": target,
            "targets": {self.column.name: target},
        }

    def ordered_indices(self) -> np.ndarray:
        """Return all indices by rising length, in random order among similar lengths (when shuffled)."""
        if not self.shuffle:
            return np.argsort(self.sizes, kind="stable")
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self))
        return similar_lengths_together(self.sizes, order)
