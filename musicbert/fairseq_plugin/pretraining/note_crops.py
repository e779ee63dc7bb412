"""Crops of pieces with their corruption and targets: what every objective of pre-training reads.

A data folder holds rows (``meta.json``, see :mod:`musicbert.corpus.bins.rows_bin`) or binarised octuples
(``dict.txt``). As published, a piece of n notes is visited ``ceil(min(n, 512000) / (crop / 2))`` times per
epoch, each time in a crop of ``crop`` notes with a random start. Validation uses the draws of the first
epoch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from musicbert.arrays import Bools, Ints
from musicbert.corpus.bins.rows_bin import META, RowsBin
from musicbert.encoding.vocabulary import EOS, N_FIELDS
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.data.databin import load_dictionary, load_pieces
from musicbert.fairseq_plugin.data.sized_dataset import DrawnDataset
from musicbert.objectives.note_fields import OCTUPLE, NoteFields, cells_of_ids
from musicbert.objectives.pianoroll import ROWS, roll_events

#: ``f(cells, rng) -> source, selected``
Corruption = Callable[[Ints, np.random.Generator], tuple[Ints, Bools]]

#: notes of a piece that are counted for its visits
LONGEST = 512_000


class NotePieces(Protocol):
    """Pieces of a split."""

    fields: NoteFields
    lengths: Ints

    def rows(self, piece: int, start: int = 0, stop: int | None = None) -> Ints:
        """Cells `start` to `stop` of a piece [shape=(n, F), int64]."""


class OctuplePieces:
    """Binarised octuples of a data-bin as cells."""

    fields = OCTUPLE

    def __init__(self, folder: str | Path, split: str) -> None:
        self._pieces = load_pieces(folder, split, load_dictionary(folder))
        #: notes of each piece, the special octuples left out [shape=(pieces,), int64]
        self.lengths = np.asarray(self._pieces.sizes, np.int64) // N_FIELDS - 2

    def rows(self, piece: int, start: int = 0, stop: int | None = None) -> Ints:
        """Cells of a piece (see `NotePieces`)."""
        ids = np.asarray(self._pieces[piece]).reshape(-1, N_FIELDS)
        stop = int(self.lengths[piece]) if stop is None else stop
        cells = cells_of_ids(ids[1 + start : 1 + stop])
        if len(cells) != min(stop, int(self.lengths[piece])) - start or (ids[-1] != EOS).any():
            raise DatasetError("wrong-tokens", f"Piece {piece} is not a sequence of octuples")
        return cells


def open_pieces(folder: str | Path, split: str, fields: NoteFields) -> NotePieces:
    """Open a split of rows or of binarised octuples.

    Raises `DatasetError` (``other-encoding``, ``no-pieces``; those of the two formats).
    """
    folder = Path(folder)
    if (folder / META).is_file() or fields.encoding != "octuple":
        pieces: NotePieces = RowsBin(folder, split)
    else:
        pieces = OctuplePieces(folder, split)
    if pieces.fields != fields:
        message = f"These are rows of {pieces.fields.encoding}, not of {fields.encoding}"
        hint = f"use --encoding {pieces.fields.encoding}, or build the data again"
        raise DatasetError("other-encoding", message, path=folder, hint=hint)
    if not (pieces.lengths > 0).any():
        raise DatasetError("no-pieces", "The split is empty", path=folder / split)
    return pieces


class NoteCrops(DrawnDataset):
    """Corrupted crops.

    ``pad_first``: pad a short crop to ``crop`` notes before it is corrupted (MidiBERT's masks reach into the
    padding); ``roll``: also give what the piano-roll target is drawn from; ``fixed``: always draw as in the
    first epoch.
    """

    def __init__(
        self,
        pieces: NotePieces,
        corrupt: Corruption,
        *,
        crop: int = 1024,
        pad_first: bool = False,
        roll: bool = False,
        fixed: bool = False,
        seed: int = 1,
    ) -> None:
        super().__init__()
        self.pieces, self.corrupt, self.crop, self.pad_first = pieces, corrupt, crop, pad_first
        self.roll, self.fixed, self.seed = roll, fixed, seed
        self.fields = pieces.fields
        lengths = np.asarray(pieces.lengths)
        visits = -(-np.minimum(lengths, LONGEST) // max(crop // 2, 1))
        self.piece_of = np.repeat(np.arange(len(lengths)), visits)
        self.sizes = np.minimum(np.maximum(lengths, crop * pad_first), crop)[self.piece_of]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Crop: ``clean``, ``source`` and ``selected`` [shape=(T, F)], ``events`` [shape=(T, 5)]."""
        piece = int(self.piece_of[index])
        rng = self.rng(index)
        beyond = int(self.pieces.lengths[piece]) - self.crop
        start = int(rng.integers(0, beyond, endpoint=True)) if beyond > 0 else 0
        clean = self.pieces.rows(piece, start, start + self.crop)
        length = len(clean)
        if self.pad_first and length < self.crop:
            padding = np.broadcast_to(np.asarray(self.fields.pads), (self.crop - length, len(self.fields)))
            clean = np.concatenate([clean, padding])
        source, selected = self.corrupt(clean, rng)
        return {
            "id": index,
            "length": length,
            "clean": clean,
            "source": source,
            "selected": selected,
            "events": roll_events(clean, self.fields) if self.roll else None,
        }

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Pad crops to the longest.

        ``net_input``: ``src_tokens`` [shape=(B, T, F)], ``padding_mask`` [shape=(B, T)] or None, ``lengths``
        [shape=(B,)] (unless crops were padded first), and ``note_index``, the N notes with a selected cell.
        ``target`` and ``selected``: of these notes [shape=(N, F)]. ``events`` [shape=(B, T, 5), int16],
        ``bars``: see `roll_events`.
        """
        if not samples:
            return {}
        B, T = len(samples), max(len(sample["source"]) for sample in samples)
        source = np.empty((B, T, len(self.fields)), np.int64)
        source[:] = self.fields.pads
        clean, selected = source.copy(), np.zeros(source.shape, bool)
        padding = np.ones((B, T), bool)
        events = np.zeros((B, T, 5), np.int16)
        events[:, :, 1], events[:, :, 4] = ROWS, -1
        for number, sample in enumerate(samples):
            n = len(sample["source"])
            source[number, :n], clean[number, :n] = sample["source"], sample["clean"]
            selected[number, :n], padding[number, : sample["length"]] = sample["selected"], False
            if self.roll:
                events[number, :n] = sample["events"]
        selected = selected.reshape(B * T, -1)
        notes = np.flatnonzero(selected.any(axis=1))
        batch = {
            "id": torch.tensor([sample["id"] for sample in samples]),
            "net_input": {
                "src_tokens": torch.from_numpy(source),
                "padding_mask": torch.from_numpy(padding) if padding.any() else None,
                # selected notes in the padding (MidiBERT) read real notes, which a mask lets them
                **({} if self.pad_first else {"lengths": torch.from_numpy((~padding).sum(1))}),
                "note_index": torch.from_numpy(notes),
            },
            "target": torch.from_numpy(clean.reshape(B * T, -1)[notes]),
            "selected": torch.from_numpy(selected[notes]),
            "nsentences": B,
            "ntokens": int(B * T - padding.sum()),
        }
        if self.roll:
            batch["events"], batch["bars"] = torch.from_numpy(events), int(events[:, :, 0].max()) + 1
        return batch
