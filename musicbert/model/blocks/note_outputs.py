"""What a model says about notes, column by column, whatever its backbone.

Legend: ``N`` notes, ``F`` columns of a note, ``V_f`` ids of column f, ``R`` outputs of the piano-roll head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

__all__ = ["NoteOutputs"]


class NoteOutputs(NamedTuple):
    """Outputs of the heads.

    Attributes
    ----------
    columns
        Logits of every column of the wanted notes, F x [shape=(N, V_f)].
    roll
        Piano roll of all notes of the batch, padding included [shape=(B*T, R)], or None without the head.
    """

    columns: list[torch.Tensor]
    roll: torch.Tensor | None = None
