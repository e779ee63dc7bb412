"""Sequences of octuples with a label each, for the sentence tasks.

Batches hold sequences of similar length. Legend: ``B`` sequences, ``T`` notes (the two special octuples
included), ``F`` fields of a note, ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from musicbert.encoding.vocabulary import FIELDS, PAD
from musicbert.fairseq_plugin.sized_dataset import SizedDataset, similar_lengths_together

__all__ = ["SentenceDataset"]

WIDTH = len(FIELDS)


class SentenceDataset(SizedDataset):
    """Sequences of one split.

    Parameters
    ----------
    tokens
        Ids of each sequence [shape=(T*F,)], special octuples included.
    sizes
        Lengths in tokens [shape=(n,)].
    targets
        Class of each sequence [shape=(n,), int64], or one row each [shape=(n, C), float32].
    shorten, max_tokens
        ``truncate`` or ``random_crop`` sequences longer than ``max_tokens``, by whole notes; else ``none``.
    shuffle
        Draw a new order among sequences of similar length in every epoch.
    seed
        With the epoch (and the index), seed of everything that is random.
    """

    def __init__(
        self,
        tokens: Sequence[torch.Tensor],
        sizes: np.ndarray,
        targets: torch.Tensor,
        *,
        shorten: str = "none",
        max_tokens: int = 8192,
        shuffle: bool = True,
        seed: int = 1,
    ) -> None:
        super().__init__()
        self.tokens, self.targets = tokens, targets
        self.shorten, self.shuffle, self.seed = shorten, shuffle, seed
        self.epoch = 1
        self.most_notes = max_tokens // WIDTH - 2
        self.sizes = np.asarray(sizes, np.int64)
        if shorten != "none":
            self.sizes = np.minimum(self.sizes, (self.most_notes + 2) * WIDTH)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Batches are made again in each epoch where anything is random."""
        return not (self.shuffle or self.shorten == "random_crop")

    def set_epoch(self, epoch: int) -> None:
        """Take note of the epoch, which seeds the draws."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        source = self.tokens[index].long()
        spare = (len(source) - int(self.sizes[index])) // WIDTH
        if spare:
            begin = 0
            if self.shorten == "random_crop":
                begin = int(np.random.default_rng((self.seed, self.epoch, index)).integers(spare + 1))
            start = (1 + begin) * WIDTH
            notes = source[start : start + self.most_notes * WIDTH]
            source = torch.cat([source[:WIDTH], notes, source[-WIDTH:]])
        return {"id": index, "source": source, "target": self.targets[index]}

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch, padded to its longest sequence.

        Returns
        -------
        dict
            ``id`` [shape=(B,)], ``nsentences``, ``ntokens``, ``target`` [shape=(B,)] or [shape=(B, C)], and
            ``net_input``: ``src_tokens`` [shape=(B, T*F), int64] and ``src_lengths`` [shape=(B,)].
        """
        if not samples:
            return {}
        rows = [sample["source"] for sample in samples]
        lengths = torch.tensor([len(row) for row in rows])
        tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)  # (B, T*F)
        return {
            "id": torch.tensor([sample["id"] for sample in samples]),
            "nsentences": len(samples),
            "ntokens": int(lengths.sum()),
            "net_input": {"src_tokens": tokens, "src_lengths": lengths},
            "target": torch.stack([sample["target"] for sample in samples]),
        }

    def ordered_indices(self) -> np.ndarray:
        """Return all indices by rising length, in random order among similar lengths (when shuffled)."""
        if not self.shuffle:
            return np.argsort(self.sizes, kind="stable")
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self))
        return similar_lengths_together(self.sizes, order)
