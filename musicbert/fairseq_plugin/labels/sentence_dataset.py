"""Sequences of octuples with a label each, for the sentence tasks.

Batches hold sequences of similar length. Legend: ``B`` sequences, ``T`` notes (the two special octuples
included), ``F`` fields of a note, ``C`` classes. In the CP-like form ``T`` counts rows of eight cells, in
the REMI-like form tokens (``F`` is 1); sequences are converted as they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from musicbert.encoding.sequence_views import latest_begin, position_width, sequence_in_view
from musicbert.encoding.views import View
from musicbert.encoding.vocabulary import PAD
from musicbert.fairseq_plugin.data.sized_dataset import SizedDataset, similar_lengths_together

__all__ = ["SentenceDataset"]


class SentenceDataset(SizedDataset):
    """Sequences of one split.

    Parameters
    ----------
    tokens
        Octuples of each sequence [shape=(8 * notes,)], special ones included.
    sizes
        Lengths in tokens of the form that is read, as `musicbert.encoding.sequence_views.sizes_in_view`
        gives them [shape=(n,)].
    targets
        Class of each sequence [shape=(n,), int64], or one row each [shape=(n, C), float32].
    shorten, max_tokens
        ``truncate`` or ``random_crop`` sequences longer than ``max_tokens``, by whole notes; else ``none``.
    shuffle
        Draw a new order among sequences of similar length in every epoch.
    seed
        With the epoch (and the index), seed of everything that is random.
    view
        ``octuple``, or a form of the ablation (`musicbert.encoding.views`).
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
        view: View = "octuple",
    ) -> None:
        super().__init__()
        self.tokens, self.targets = tokens, targets
        self.shorten, self.shuffle, self.seed = shorten, shuffle, seed
        self.epoch = 1
        self.view, self.width = view, position_width(view)
        self.most = max_tokens // self.width - 2
        self.whole = self.sizes = np.asarray(sizes, np.int64)
        if shorten != "none":
            self.sizes = np.minimum(self.whole, (self.most + 2) * self.width)

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
        begin, most = 0, None
        if self.sizes[index] < self.whole[index]:
            most = self.most
            if self.shorten == "random_crop":
                last = latest_begin(self.tokens[index], self.view, most)
                begin = int(np.random.default_rng((self.seed, self.epoch, index)).integers(last + 1))
        source = sequence_in_view(self.tokens[index], self.view, most=most, begin=begin)
        return {"id": index, "source": torch.from_numpy(source), "target": self.targets[index]}

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
        target = torch.stack([sample["target"] for sample in samples])
        return {
            "targets": {"label": target},
            "id": torch.tensor([sample["id"] for sample in samples]),
            "nsentences": len(samples),
            "ntokens": int(lengths.sum()),
            "net_input": {"src_tokens": tokens, "src_lengths": lengths},
            "target": target,
        }

    def ordered_indices(self) -> np.ndarray:
        """Return all indices by rising length, in random order among similar lengths (when shuffled)."""
        if not self.shuffle:
            return np.argsort(self.sizes, kind="stable")
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self))
        return similar_lengths_together(self.sizes, order)
