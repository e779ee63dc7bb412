"""Masked tokens as a list made with the batch, so that a GPU need not be synchronised to count them.

Legend: ``B`` pieces, ``T`` notes, ``F`` fields of a note, ``D`` width, ``N`` selected tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from musicbert.model.blocks.by_field import linear_by_field

if TYPE_CHECKING:
    from musicbert.model.blocks.packed_attention import Segments


@dataclass(frozen=True)
class MaskedPlaces:
    """Selected tokens of a batch, sorted by field.

    ``notes``: note of each token, an index into all notes of the batch [shape=(N,), int64]; ``counts``:
    tokens of each field [length F, adding up to N].
    """

    notes: torch.Tensor
    counts: Sequence[int]

    @classmethod
    def of(cls, selected: torch.Tensor, fields: int = 8) -> MaskedPlaces:
        """Find them in a mask [shape=(B, T*F), bool]; this synchronises a GPU."""
        by_field = selected.reshape(-1, fields).t()  # (F, B*T)
        notes = by_field.nonzero(as_tuple=True)[1]  # (N,), sorted by field
        return cls(notes, by_field.sum(1).tolist())

    def fields(self) -> torch.Tensor:
        """Field of each token [shape=(N,), int64]."""
        counts = torch.tensor(list(self.counts), device=self.notes.device)
        every = torch.arange(len(self.counts), device=self.notes.device)
        return torch.repeat_interleave(every, counts, output_size=len(self.notes))

    def order(self) -> torch.Tensor:
        """Bring them into the order of the tokens: an index [shape=(N,), int64]."""
        return (self.notes * len(self.counts) + self.fields()).argsort()

    def narrowed(self) -> tuple[torch.Tensor, MaskedPlaces]:
        """Their notes, each once and sorted [shape=(M,), int64], and the places within these alone."""
        notes, index = self.notes.unique(return_inverse=True)
        return notes, MaskedPlaces(index, self.counts)


@dataclass(frozen=True)
class Queries:
    """Some notes of a batch, which a block transforms while it reads all.

    ``notes``: sorted indices into all notes [shape=(M,), int64]; ``counts``: how many of each piece;
    ``slots``: where they are in a batch that is padded to the most of a piece [shape=(M,), int64], or None
    if they are not padded (a stream, or one piece).
    """

    notes: torch.Tensor
    counts: Sequence[int]
    slots: torch.Tensor | None

    @classmethod
    def of(cls, notes: torch.Tensor, shape: Sequence[int], segments: Segments | None = None) -> Queries:
        """Sort them into the pieces of a batch of this shape (B, T), or the sequences of a stream."""
        pieces, length = shape
        if segments is None:
            piece = notes // length
        else:
            pieces = len(segments.lengths)
            piece = torch.bucketize(notes, segments.offsets[1:], right=True)
        counts = piece.bincount(minlength=pieces)
        if segments is not None or pieces == 1:
            return cls(notes, counts.tolist(), None)
        within = torch.arange(len(notes), device=notes.device) - (counts.cumsum(0) - counts)[piece]
        return cls(notes, counts.tolist(), piece * counts.max() + within)

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """Take them from all notes: [shape=(B, T, D)] -> [shape=(1, M, D)]."""
        return x.flatten(0, 1).index_select(0, self.notes)[None]

    def spread(self, x: torch.Tensor) -> torch.Tensor:
        """Pad pieces to the longest: [shape=(1, M, D)] -> [shape=(B, Q, D)]."""
        if self.slots is None:
            return x
        most = max(self.counts)
        padded = x.new_zeros(len(self.counts) * most, x.shape[2]).index_copy(0, self.slots, x[0])
        return padded.unflatten(0, (-1, most))

    def gather(self, x: torch.Tensor) -> torch.Tensor:
        """Undo `spread`."""
        return x if self.slots is None else x.flatten(0, 1).index_select(0, self.slots)[None]


def up_project_places(hidden: torch.Tensor, linear: nn.Linear | None, places: MaskedPlaces) -> torch.Tensor:
    """Vectors of the listed tokens [shape=(N, D)]: each field has its slice of the up-projection.

    ``hidden`` [shape=(B, T, D)]; ``linear``: the up-projection D -> F*D, or None in a model without compound
    embedding, where a token is a position.
    """
    D = hidden.shape[2]
    x = hidden.reshape(-1, D).index_select(0, places.notes)  # (N, D)
    if linear is None:
        return x
    return linear_by_field(x, linear.weight.view(-1, D, D), linear.bias.view(-1, D), places.counts)


class NoteOutputs(NamedTuple):
    """Outputs of the heads.

    ``columns``: logits of every column of the wanted notes, F x [shape=(N, V_f)]; ``roll``: piano roll of all
    notes of the batch, padding included [shape=(B*T, R)], or None.
    """

    columns: list[torch.Tensor]
    roll: torch.Tensor | None = None
