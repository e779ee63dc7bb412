"""Binarised pieces as blocks, masked on the fly.

A data folder holds ``dict.txt``, ``<split>.{bin,idx}`` (one item a piece, 8 * (notes + 2) tokens) and, for
models with performance inputs, ``<split>.performance.npy`` (float32 [shape=(notes, P)], a row for each note
in the order of the pieces, special octuples left out).

One pass gives source and target. The random numbers of an item depend on (seed, epoch, item) alone, so masks
differ from epoch to epoch, do not depend on the number of workers, and a resumed run sees what the
interrupted one would have seen. The epoch is kept in shared memory: fairseq reuses its worker processes from
epoch to epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.data import Dictionary, FairseqDataset, data_utils
from numpy.typing import NDArray

from musicbert.encoding.vocabulary import BOS, EOS, FIELDS, PAD, TOKENS
from musicbert.errors import DatasetError
from musicbert.masking import MaskPolicy, mask_tokens
from musicbert.performance_masking import hide_performance

__all__ = [
    "MaskedOctuples",
    "is_octuple_dictionary",
    "load_dictionary",
    "load_performance",
    "load_pieces",
    "pack",
    "performance_width",
]

WIDTH = len(FIELDS)
#: octuples of a piece that are no notes: ``<s>`` and ``</s>``
SPECIAL_OCTUPLES = 2


def is_octuple_dictionary(dictionary: Dictionary) -> bool:
    """Say whether a dictionary, with ``<mask>`` or without, is that of OctupleMIDI."""
    symbols = tuple(dictionary.symbols)
    return symbols in (TOKENS, TOKENS[:-1])


def load_dictionary(folder: str | Path) -> Dictionary:
    """Read ``dict.txt`` of a data folder and add ``<mask>``.

    Raises
    ------
    DatasetError
        ``not-found``, or ``other-dictionary`` if the data were not made with the dictionary of OctupleMIDI.
    """
    path = Path(folder) / "dict.txt"
    if not path.is_file():
        hint = "binarise the data first, or give the folder that holds dict.txt"
        raise DatasetError("not-found", "The data folder has no dict.txt", path=path, hint=hint)
    dictionary = Dictionary.load(str(path))
    if not is_octuple_dictionary(dictionary):
        raise DatasetError(
            "other-dictionary",
            f"This dictionary of {len(dictionary)} tokens is not that of OctupleMIDI",
            path=path,
            hint="binarise again with --srcdict <the dict.txt written beside the text>",
        )
    dictionary.add_symbol("<mask>")
    return dictionary


def load_pieces(folder: str | Path, split: str, dictionary: Dictionary, *, combine: bool = False) -> Any:
    """Open the binarised pieces of a split.

    Raises
    ------
    DatasetError
        ``not-found``, ``no-pieces``, or ``wrong-tokens`` if the items are no octuple sequences.
    """
    path = Path(folder) / split
    tokens = Path(f"{path}.bin")
    if tokens.is_file() and tokens.stat().st_size == 0:  # fairseq cannot open it
        hint = "make the data with a larger --valid-share, or train with --disable-validation"
        raise DatasetError("no-pieces", "The split is empty", path=tokens, hint=hint)
    pieces = data_utils.load_indexed_dataset(str(path), dictionary, combine=combine)
    if pieces is None:
        hint = "binarise the data first, or check the name of the split"
        raise DatasetError("not-found", f"There is no binarised split {split!r}", path=path, hint=hint)
    wrong = np.flatnonzero(np.asarray(pieces.sizes) % WIDTH)
    ends = [] if len(wrong) else [pieces[0], pieces[len(pieces) - 1]]
    if len(wrong) or any((p[:WIDTH] != BOS).any() or (p[-WIDTH:] != EOS).any() for p in ends):
        raise DatasetError(
            "wrong-tokens",
            f"Piece {wrong[0] if len(wrong) else 0} is no sequence of octuples between <s> and </s>",
            path=path,
            hint="binarise the text lines as they are, with fairseq's end-of-line token",
        )
    return pieces


def load_performance(folder: str | Path, split: str, sizes: NDArray[np.integer]) -> NDArray[np.float32]:
    """Open the performance inputs of a split [shape=(notes, P), float32].

    Raises
    ------
    DatasetError
        ``not-found``, or ``wrong-length`` if there is not one row for each note.
    """
    path, rows = _open_performance(folder, split)
    notes = int(np.sum(np.asarray(sizes) // WIDTH - SPECIAL_OCTUPLES))
    if rows.ndim != 2 or len(rows) != notes:
        message = f"It has the shape {rows.shape} for {notes} notes"
        raise DatasetError("wrong-length", message, path=path, hint="make the data again")
    return rows


def performance_width(folder: str | Path, split: str) -> int:
    """Say how many performance inputs a note of a split has; errors as :func:`load_performance`."""
    path, rows = _open_performance(folder, split)
    if rows.ndim != 2:
        raise DatasetError("wrong-length", f"It has the shape {rows.shape}, not (notes, inputs)", path=path)
    return int(rows.shape[1])


def _open_performance(folder: str | Path, split: str) -> tuple[Path, NDArray[np.float32]]:
    path = Path(folder) / f"{split}.performance.npy"
    beside = Path(folder).parent / "performance" / path.name  # where a data-bin of ratings has them
    if not path.is_file() and beside.is_file():
        path = beside
    if not path.is_file():
        hint = "make the data with performance inputs, or leave out --performance-input"
        raise DatasetError("not-found", "There are no performance inputs", path=path, hint=hint)
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise DatasetError("unreadable", f"It is no array: {error}", path=path) from error
    return path, rows


def pack(sizes: NDArray[np.integer], limit: int, mode: str) -> NDArray[np.int64]:
    """Group pieces into blocks: first piece and one past the last [shape=(blocks, 2), int64].

    Parameters
    ----------
    sizes
        Tokens of each piece [shape=(pieces,)].
    limit
        Most tokens of a block; a longer piece is a block of its own.
    mode
        ``complete`` puts as many consecutive pieces as fit into a block, ``eos`` one.
    """
    if mode == "eos":
        return np.stack([np.arange(len(sizes)), np.arange(1, len(sizes) + 1)], axis=1)
    starts, filled = [], limit
    for piece, size in enumerate(np.asarray(sizes).tolist()):
        if filled + size > limit:
            starts.append(piece)
            filled = 0
        filled += size
    return np.stack([starts, [*starts[1:], len(sizes)]], axis=1).astype(np.int64)


class MaskedOctuples(FairseqDataset):
    """Masked blocks of octuples.

    Parameters
    ----------
    pieces
        Indexed data set of token ids, with ``sizes``.
    blocks
        What :func:`pack` returns.
    policy
        How to mask.
    seed
        With the epoch and the number of the item, decides the masks.
    performance
        Performance inputs [shape=(notes, P), float32]. Which are hidden: see `hide_performance`.
    """

    def __init__(
        self,
        pieces: Any,
        blocks: NDArray[np.int64],
        policy: MaskPolicy,
        *,
        seed: int = 1,
        performance: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        self.pieces, self.blocks, self.policy, self.seed = pieces, blocks, policy, seed
        self.performance = performance
        sizes = np.asarray(pieces.sizes)
        self.sizes = np.add.reduceat(sizes, blocks[:, 0]) if len(blocks) else sizes
        self._first_note = np.concatenate([[0], np.cumsum(sizes // WIDTH - SPECIAL_OCTUPLES)])
        self._epoch = torch.ones(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Let the masks of this epoch be drawn, in worker processes too."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Masked block: ``source`` and ``target`` [shape=(T*8,)], ``performance`` [shape=(T, P)] or None.

        With performance inputs also ``performance_hidden`` [shape=(T, P), bool].
        """
        first, end = self.blocks[index]
        tokens = np.concatenate([np.asarray(self.pieces[piece]) for piece in range(first, end)])
        rng = np.random.default_rng([self.seed, int(self._epoch), int(index)])
        source, target = mask_tokens(tokens, rng, self.policy)
        item = {
            "id": index,
            "source": torch.from_numpy(source),
            "target": torch.from_numpy(target),
            "performance": self._performance_of(first, end, len(target) // WIDTH),
        }
        if self.performance is not None:
            hidden = hide_performance(
                tokens, target, rng, self.policy.mask_prob, width=self.performance.shape[1]
            )
            item["performance_hidden"] = torch.from_numpy(hidden)
        return item

    def _performance_of(self, first: int, end: int, notes: int) -> torch.Tensor | None:
        if self.performance is None:
            return None
        inputs = np.zeros((notes, self.performance.shape[1]), np.float32)
        at = 0
        for piece in range(first, end):
            begin, stop = self._first_note[piece : piece + 2]
            inputs[at + 1 : at + 1 + stop - begin] = self.performance[begin:stop]
            at += stop - begin + SPECIAL_OCTUPLES
        return torch.from_numpy(inputs)

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def num_tokens(self, index: int) -> int:
        """Tokens of a block, for ``--max-tokens``."""
        return int(self.sizes[index])

    def size(self, index: int) -> int:
        """Tokens of a block."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of several blocks."""
        return self.sizes[indices]

    def ordered_indices(self) -> NDArray[np.int64]:
        """Blocks by length, in random order where equal: batches need little padding.

        The order depends on the seed alone: a resumed run makes the same batches.
        """
        shuffled = np.random.default_rng(self.seed).permutation(len(self))
        return shuffled[np.argsort(self.sizes[shuffled], kind="stable")]

    def batch_by_size(
        self,
        indices: NDArray[np.int64],
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,  # noqa: ARG002 - see below
    ) -> Sequence[NDArray[np.int64]]:
        """Make batches of every block.

        ``--required-batch-size-multiple`` (8 unless given) makes fairseq drop the last batch, and so a whole
        validation set of a few blocks; it is not followed.
        """
        return super().batch_by_size(indices, max_tokens, max_sentences, required_batch_size_multiple=1)

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Pad blocks to the longest: ``src_tokens`` and ``target`` [shape=(B, T*8)]."""
        if not samples:
            return {}
        source = _pad([s["source"] for s in samples], PAD)
        net_input: dict[str, Any] = {
            "src_tokens": source,
            "src_lengths": torch.tensor([len(s["source"]) for s in samples]),
        }
        if samples[0]["performance"] is not None:
            net_input["performance"] = _pad([s["performance"] for s in samples], 0.0)
            net_input["performance_hidden"] = _pad([s["performance_hidden"] for s in samples], False)
        return {
            "id": torch.tensor([s["id"] for s in samples]),
            "net_input": net_input,
            "target": _pad([s["target"] for s in samples], PAD),
            "nsentences": len(samples),
            "ntokens": int(net_input["src_lengths"].sum()),
        }


def _pad(rows: list[torch.Tensor], value: float) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
