"""What all data sets of the plug-in share: lengths, the order of an epoch, batches that leave nothing out."""

from collections.abc import Sequence

import numpy as np
import torch
from fairseq.data import FairseqDataset
from numpy.typing import NDArray

#: lengths that differ by less than a ninth count as similar
_BUCKETS_AN_OCTAVE = 8


class SizedDataset(FairseqDataset):
    """A data set whose items have lengths.

    ``sizes``: length of each item in tokens (or rows, or notes), for ``--max-tokens`` [shape=(n,)];
    ``shuffle``: draw a new order among items of similar length in every epoch.
    """

    sizes: NDArray[np.integer]
    shuffle = False
    seed = 1
    epoch = 1

    def __len__(self) -> int:
        return len(self.sizes)

    def set_epoch(self, epoch: int) -> None:
        """Take note of the epoch, which seeds the draws."""
        self.epoch = epoch

    def ordered_indices(self) -> NDArray[np.integer]:
        """Return all indices by rising length, in random order among similar lengths (when shuffled)."""
        if not self.shuffle:
            return np.argsort(self.sizes, kind="stable")
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self))
        return similar_lengths_together(self.sizes, order)

    def num_tokens(self, index: int) -> int:
        """Return the length of an item."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: NDArray[np.int64]) -> NDArray[np.integer]:
        """Return the lengths of items."""
        return self.sizes[indices]

    def size(self, index: int) -> int:
        """Return the length of an item."""
        return self.num_tokens(index)

    def batch_by_size(
        self,
        indices: NDArray[np.int64],
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,  # noqa: ARG002 - see below
    ) -> Sequence[NDArray[np.int64]]:
        """Make batches of all items.

        fairseq drops the last batch if ``--required-batch-size-multiple`` (default 8) does not divide it, and
        so a whole small validation set; that option is ignored here.
        """
        return super().batch_by_size(indices, max_tokens, max_sentences, required_batch_size_multiple=1)


class DrawnDataset(SizedDataset):
    """A data set whose random numbers depend on (seed, epoch, item) alone.

    Draws do not depend on the number of workers, and a resumed run continues with the same ones. The epoch is
    in shared memory, since fairseq reuses its worker processes. ``fixed``: always draw as in the first epoch.
    """

    fixed = False

    def __init__(self) -> None:
        super().__init__()
        self._epoch = torch.ones(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, in worker processes too."""
        self._epoch.fill_(1 if self.fixed else epoch)

    def rng(self, index: int) -> np.random.Generator:
        """Return the generator of an item in this epoch."""
        return np.random.default_rng([self.seed, int(self._epoch), int(index)])

    def ordered_indices(self) -> NDArray[np.integer]:
        """Items by length, in random order where equal: batches need little padding.

        The order depends on the seed alone: a resumed run makes the same batches.
        """
        shuffled = np.random.default_rng(self.seed).permutation(len(self))
        return shuffled[np.argsort(self.sizes[shuffled], kind="stable")]


def similar_lengths_together(sizes: NDArray[np.integer], order: NDArray[np.integer]) -> NDArray[np.integer]:
    """Sort shuffled indices by rising length, and leave those of similar lengths in their order [shape=(n,)].

    Batches then need little padding, and differ from epoch to epoch.
    """
    buckets = np.floor(_BUCKETS_AN_OCTAVE * np.log2(np.maximum(sizes, 1)))
    return order[np.argsort(buckets[order], kind="stable")]
