"""Data set of pieces with ratings: token ids, performance inputs, ratings and the performer's class.

Batches hold pieces of similar length, so little is padding. Legend: ``B`` pieces, ``T`` notes (the two
special octuples included), ``F`` fields of a note, ``P`` performance inputs, ``R`` ratings of a piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from musicbert.corpus.labelled.rating_bin import RatingLabels
from musicbert.fairseq_plugin.data.sized_dataset import SizedDataset, similar_lengths_together
from musicbert.fairseq_plugin.labels.note_augmentation import NoteAugmentation

__all__ = ["FIELDS", "RatingDataset"]

#: tokens of one note
FIELDS = 8


class RatingDataset(SizedDataset):
    """Pieces of one split.

    Parameters
    ----------
    tokens
        Token ids of each piece [shape=(T*F,)], special octuples included.
    sizes
        Lengths in tokens [shape=(n,)].
    labels
        Ratings and classes.
    performance
        Performance inputs of all notes of the split [shape=(notes, P), float32], or None.
    performers
        Class put before the ratings of each piece [shape=(n,)] (contrastive tasks), or None.
    pad
        Id of the padding.
    augmentation
        Changes of the notes, for training only.
    shorten, max_tokens
        ``truncate`` or ``random_crop`` pieces longer than ``max_tokens``, by whole notes; else ``none``.
    shuffle
        Draw a new order among pieces of similar length in every epoch.
    seed
        Seed of everything that is random, with the epoch and the index of the piece.
    compat
        Order each batch by falling length and count as ``ntokens`` the label values that are not 1.0, as the
        published code does. Otherwise ``ntokens`` is the number of tokens.
    """

    def __init__(
        self,
        tokens: Sequence[torch.Tensor],
        sizes: np.ndarray,
        labels: RatingLabels,
        *,
        performance: np.ndarray | None = None,
        performers: np.ndarray | None = None,
        pad: int = 1,
        augmentation: NoteAugmentation | None = None,
        shorten: str = "none",
        max_tokens: int = 8192,
        shuffle: bool = True,
        seed: int = 1,
        compat: bool = False,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.full_sizes = np.asarray(sizes, dtype=np.int64)
        self.labels = labels
        self.performance = performance
        self.pad = pad
        self.augmentation = augmentation
        self.shorten = shorten
        self.max_notes = max_tokens // FIELDS - 2
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 1
        self.compat = compat
        self.published = performers is not None
        parts = [labels.ratings, labels.class_of[:, None]]
        if performers is not None:
            parts.insert(0, performers[:, None])
        self.targets = torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))  # (n, R + 1 [+ 1])
        notes = self.full_sizes // FIELDS - 2
        self.note_starts = np.concatenate([[0], np.cumsum(notes)])
        self.sizes = self.full_sizes
        if shorten != "none":
            self.sizes = np.minimum(self.full_sizes, (self.max_notes + 2) * FIELDS)

    def __len__(self) -> int:
        return len(self.full_sizes)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Batches, and worker processes, are made again in each epoch where anything is random."""
        return not (self.shuffle or self.augmentation is not None or self.shorten == "random_crop")

    def set_epoch(self, epoch: int) -> None:
        """Take note of the epoch, which seeds the draws."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        source = self.tokens[index]
        performance = None
        if self.performance is not None:
            start, stop = self.note_starts[index : index + 2]
            performance = np.array(self.performance[start:stop])  # (T - 2, P)
        crop = self.shorten != "none" and len(source) > self.sizes[index]
        if self.augmentation is not None or crop:
            notes = source.numpy().astype(np.int64).reshape(-1, FIELDS)  # (T, F)
            first, last, notes = notes[:1], notes[-1:], notes[1:-1]
            rng = np.random.default_rng((self.seed, self.epoch, index))
            if crop:
                spare = len(notes) - self.max_notes
                begin = int(rng.integers(spare + 1)) if self.shorten == "random_crop" else 0
                notes = notes[begin : begin + self.max_notes]
                performance = None if performance is None else performance[begin : begin + self.max_notes]
            if self.augmentation is not None:
                notes, performance = self.augmentation(notes, performance, rng)
            source = torch.from_numpy(np.concatenate([first, notes, last]).reshape(-1))
        item = {"id": index, "source": source.long(), "target": self.targets[index]}
        if performance is not None:
            item["performance"] = torch.from_numpy(performance)
        return item

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch, padded to its longest piece.

        Returns
        -------
        dict
            ``id`` [shape=(B,)], ``nsentences``, ``ntokens``, ``target`` [shape=(B, R + 1), float32] (the
            class last; with performers put before, [shape=(B, R + 2)]) and ``net_input``: ``src_tokens``
            [shape=(B, T*F), int64], ``src_lengths`` [shape=(B,)], and ``performance`` [shape=(B, T, P),
            float32].
        """
        if not samples:
            return {}
        if self.compat:
            samples = sorted(samples, key=lambda item: -len(item["source"]))
        lengths = torch.tensor([len(item["source"]) for item in samples])
        longest = int(lengths.max())
        tokens = torch.full((len(samples), longest), self.pad, dtype=torch.long)  # (B, T*F)
        for row, item in zip(tokens, samples, strict=True):
            row[: len(item["source"])] = item["source"]
        net_input: dict[str, torch.Tensor] = {"src_tokens": tokens, "src_lengths": lengths}
        if self.performance is not None:
            width = self.performance.shape[1]
            inputs = torch.zeros(len(samples), longest // FIELDS, width)  # (B, T, P)
            for row, item in zip(inputs, samples, strict=True):
                row[1 : 1 + len(item["performance"])] = item["performance"]
            net_input["performance"] = inputs
        target = torch.stack([item["target"] for item in samples])
        return {
            "id": torch.tensor([item["id"] for item in samples]),
            "nsentences": len(samples),
            "ntokens": int((target != 1.0).sum()) if self.compat else int(lengths.sum()),
            "net_input": net_input,
            "target": target,
            "targets": self.split_targets(target),
        }

    def split_targets(self, target):
        first = int(self.published)
        parts = {"ratings": target[:, first:-1], "performer": target[:, -1].long()}
        return parts | ({"published": target[:, 0].long()} if first else {})

    def ordered_indices(self) -> np.ndarray:
        """Return all indices by rising length, in random order among similar lengths (when shuffled)."""
        if not self.shuffle:
            return np.argsort(self.sizes, kind="stable")
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self))
        return similar_lengths_together(self.sizes, order)
