"""Binarised pieces as blocks, masked on the fly: how pieces share a block, and blocks make a batch.

==========================  ==================================================================================
packing                     what sees what
==========================  ==================================================================================
``complete``, ``padded``    published: pieces of a block attend to each other, positions run on
``eos``, ``padded``         one piece a block; blocks of similar length make a batch
any, ``stream``             the same without padding (`musicbert.model.blocks.packed_attention`)
``complete``, ``separate``  as published, yet each piece for itself: attention, positions, groups of masks
==========================  ==================================================================================
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from musicbert.arrays import Ints, Singles
from musicbert.encoding.views import View, cells_of_piece, view_sizes
from musicbert.encoding.vocabulary import N_FIELDS, UNK
from musicbert.errors import ConfigError
from musicbert.fairseq_plugin.data.databin import SPECIAL_OCTUPLES
from musicbert.fairseq_plugin.data.sized_dataset import DrawnDataset
from musicbert.objectives.batches import Layout, collate
from musicbert.objectives.masking import MaskPolicy, mask_cells, mask_tokens
from musicbert.objectives.performance_masking import hide_performance

#: pieces whose lengths are found at a time
CHUNK = 1024
#: pitch, duration and velocity: tokens of every note in the REMI-like form
NOTE_TOKENS = 3


@dataclass(frozen=True)
class Form:
    """How pieces are written and put together.

    ``view``: see `musicbert.encoding.views`; ``crop``: largest number of rows (``remi``: tokens) of a piece,
    or None; ``compound``: eight tokens are one position of the model, else (always for ``remi``) one token;
    ``layout``: see `musicbert.objectives.batches`; ``separate``: the pieces of a block do not see each other
    and have their own positions; needs ``stream``.

    Raises `ConfigError` (``bad-options``: choices that exclude each other).
    """

    view: View = "octuple"
    crop: int | None = None
    compound: bool = True
    layout: Layout = "padded"
    separate: bool = False

    def __post_init__(self) -> None:
        if self.view == "remi" and self.compound:
            raise ConfigError("bad-options", "The REMI-like encoding has no compounds")
        if self.separate and self.layout != "stream":
            raise ConfigError("bad-options", "Pieces of a block are kept apart in the layout 'stream' only")
        if self.crop is not None and self.crop < 1:
            raise ConfigError("bad-options", f"A piece is cropped to at least one position, not {self.crop}")

    @property
    def as_stored(self) -> bool:
        """Whether pieces are used as they are binarised."""
        return self.view == "octuple" and self.crop is None

    @property
    def width(self) -> int:
        """Tokens of one position."""
        return N_FIELDS if self.compound else 1


#: octuples, whole pieces, padded rows: as published
AS_STORED = Form()


def piece_sizes(pieces: Any, form: Form) -> Ints:
    """Tokens of each piece in a form, both ends included [shape=(pieces,), int64]."""
    stored = np.asarray(pieces.sizes, np.int64)
    if form.as_stored:
        return stored
    inner = stored // N_FIELDS - SPECIAL_OCTUPLES
    if form.view != "octuple":
        # a note takes a row at least, or three tokens: pieces that are cropped anyway need not be read
        inner *= NOTE_TOKENS if form.view == "remi" else 1
        open_ended = np.flatnonzero(inner < form.crop) if form.crop is not None else np.arange(len(stored))
        for begin in range(0, len(open_ended), CHUNK):
            chosen = open_ended[begin : begin + CHUNK]
            tokens = np.concatenate([np.asarray(pieces[int(piece)], np.uint16) for piece in chosen])
            inner[chosen] = view_sizes(tokens, stored[chosen], form.view)
    if form.crop is not None:
        inner = np.minimum(inner, form.crop)
    return (inner + SPECIAL_OCTUPLES) * (1 if form.view == "remi" else N_FIELDS)


def pack(sizes: NDArray[np.integer], limit: int, mode: str) -> Ints:
    """Group pieces into blocks: first piece and one past the last [shape=(blocks, 2), int64].

    ``sizes``: tokens of each piece [shape=(pieces,)]; ``limit``: largest number of tokens of a block (a
    longer piece is its own block); ``mode``: ``complete``: as many consecutive pieces as fit; ``eos``: one
    piece.
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


class MaskedOctuples(DrawnDataset):
    """Masked blocks of pieces.

    ``pieces``: indexed data set of token ids, with ``sizes``; ``blocks``: from :func:`pack`; ``performance``:
    performance inputs [shape=(notes, P), float32], for pieces as they are stored (`hide_performance` hides
    some); ``sizes``: from :func:`piece_sizes`, if known.

    Raises `ValueError` (performance inputs with another encoding).
    """

    def __init__(
        self,
        pieces: Any,
        blocks: Ints,
        policy: MaskPolicy,
        *,
        seed: int = 1,
        performance: Singles | None = None,
        form: Form = AS_STORED,
        sizes: Ints | None = None,
    ) -> None:
        super().__init__()
        if performance is not None and not form.as_stored:
            raise ValueError("performance inputs belong to notes: they need whole pieces of octuples")
        self.pieces, self.blocks, self.policy, self.seed = pieces, blocks, policy, seed
        self.performance, self.form = performance, form
        self.piece_sizes = piece_sizes(pieces, form) if sizes is None else sizes
        self.sizes = np.add.reduceat(self.piece_sizes, blocks[:, 0]) if len(blocks) else self.piece_sizes
        if performance is not None:
            notes = np.asarray(pieces.sizes, np.int64) // N_FIELDS - SPECIAL_OCTUPLES
            self._first_note = np.concatenate([[0], np.cumsum(notes)])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Masked block: ``source``, ``target`` [shape=(T*F,)], ``lengths`` (positions of each piece).

        With performance inputs also ``performance`` [shape=(T, P)] and ``performance_hidden`` (bool).
        """
        first, end = self.blocks[index]
        rng = self.rng(index)
        policy = self.policy.drawn(rng)
        item: dict[str, Any] = {"id": index}
        item["lengths"] = (self.piece_sizes[first:end] // self.form.width).tolist()
        stored = [np.asarray(self.pieces[piece]) for piece in range(first, end)]
        if self.form.as_stored:
            tokens = np.concatenate(stored) if len(stored) > 1 else stored[0]
            item["source"], item["target"] = mask_tokens(tokens, rng, policy)
        else:
            item["source"], item["target"] = self._masked_view(stored, rng, policy)
        if self.performance is not None:
            columns = self.performance.shape[1]
            expression = policy.strategy == "expression"
            hidden = hide_performance(
                tokens, item["target"], rng, policy.mask_prob, width=columns, expression=expression
            )
            item["performance"] = self._performance_of(first, end, len(hidden))
            item["performance_hidden"] = hidden
        return item

    def _masked_view(
        self, stored: list[Ints], rng: np.random.Generator, policy: MaskPolicy
    ) -> tuple[Ints, Ints]:
        view = self.form.view
        cells = np.concatenate([cells_of_piece(piece, view, self.form.crop) for piece in stored])
        if view == "octuple":
            return mask_tokens(cells.reshape(-1), rng, policy)
        source, target = mask_cells(cells, rng, policy)
        if view == "cp":
            return source.reshape(-1), target.reshape(-1)
        present = cells != UNK
        present[cells[:, 0] < UNK, 1:] = False  # one token of <s> and one of </s>
        return source[present], target[present]

    def _performance_of(self, first: int, end: int, notes: int) -> Singles:
        inputs = np.zeros((notes, self.performance.shape[1]), np.float32)
        at = 0
        for piece in range(first, end):
            begin, stop = self._first_note[piece : piece + 2]
            inputs[at + 1 : at + 1 + stop - begin] = self.performance[begin:stop]
            at += stop - begin + SPECIAL_OCTUPLES
        return inputs

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch: ``src_tokens`` and ``target`` [shape=(B, T*F)], and the list of masked tokens.

        ``masked`` (``notes``, ``wanted``, ``counts``), ``padded`` and ``segments``: see
        `musicbert.objectives.batches`.
        """
        if not samples:
            return {}
        form = self.form
        batch = collate(
            [sample["source"] for sample in samples],
            [sample["target"] for sample in samples],
            layout=form.layout,
            segments=[sample["lengths"] for sample in samples] if form.separate else None,
            width=form.width,
            octuples=form.view != "remi",
        )
        lengths = [len(sample["source"]) for sample in samples]
        net_input: dict[str, Any] = {
            "src_tokens": torch.from_numpy(batch.tokens),
            "src_lengths": torch.tensor(lengths),
        }
        if self.performance is not None:
            for name in ("performance", "performance_hidden"):
                rows = [torch.from_numpy(sample[name]) for sample in samples]
                stream = form.layout == "stream"
                net_input[name] = torch.cat(rows)[None] if stream else pad_sequence(rows, batch_first=True)
        made = {
            "id": torch.tensor([sample["id"] for sample in samples]),
            "net_input": net_input,
            "target": torch.from_numpy(batch.target),
            "nsentences": len(samples),
            "ntokens": sum(lengths),
            "masked": {
                "notes": torch.from_numpy(batch.notes),
                "wanted": torch.from_numpy(batch.wanted),
                "counts": batch.counts,
            },
            "padded": batch.padded,
        }
        if batch.lengths is not None:
            ends = np.cumsum([0, *batch.lengths], dtype=np.int32)
            made["segments"] = {"offsets": torch.from_numpy(ends), "lengths": batch.lengths}
        return made
