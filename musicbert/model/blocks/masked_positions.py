"""Masked tokens as a list made with the batch, so that a GPU need not be synchronised to count them.

Legend: ``B`` pieces, ``T`` notes, ``F`` fields of a note, ``D`` width, ``N`` selected tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


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


def up_project_places(hidden: torch.Tensor, linear: nn.Linear | None, places: MaskedPlaces) -> torch.Tensor:
    """Vectors of the listed tokens [shape=(N, D)]: each field has its slice of the up-projection.

    ``hidden`` [shape=(B, T, D)]; ``linear``: the up-projection D -> F*D, or None in a model without compound
    embedding, where a token is a position.
    """
    D = hidden.shape[2]
    x = hidden.reshape(-1, D).index_select(0, places.notes)  # (N, D)
    if linear is None:
        return x
    weights = linear.weight.view(-1, D, D).unbind(0)
    biases = linear.bias.view(-1, D).unbind(0)
    parts = x.split(list(places.counts))  # F x (N_f, D)
    return torch.cat([F.linear(p, w, b) for p, w, b in zip(parts, weights, biases, strict=True)])


class NoteOutputs(NamedTuple):
    """Outputs of the heads.

    ``columns``: logits of every column of the wanted notes, F x [shape=(N, V_f)]; ``roll``: piano roll of all
    notes of the batch, padding included [shape=(B*T, R)], or None.
    """

    columns: list[torch.Tensor]
    roll: torch.Tensor | None = None
