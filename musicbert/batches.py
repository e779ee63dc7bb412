"""Masked blocks put together to batches: padded to the longest, or one stream without padding.

Legend: ``B`` blocks, ``T`` notes, ``F`` fields of a note, ``N`` selected tokens.

``padded``
    tokens (B, T*F), ``<pad>`` behind the shorter blocks: what fairseq's models expect.
``stream``
    tokens (1, sum of T * F), one block after the other; ``lengths`` says where the sequences are.

Selected tokens are listed here, on the processor that makes the batch (in a worker process), sorted by field:
a model need not search for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from musicbert.encoding.vocabulary import FIELDS, PAD

__all__ = ["Layout", "MaskedBatch", "collate", "pad_rows"]

Ints = NDArray[np.int64]
Layout = Literal["padded", "stream"]


@dataclass(frozen=True)
class MaskedBatch:
    """Arrays of a batch.

    Attributes
    ----------
    tokens, target
        What the model sees, and what it is to say (``<pad>`` where nothing) [shape=(B, T*F), int64].
    notes
        Note of each selected token as an index into the B*T notes, sorted by field [shape=(N,), int64].
    wanted
        What stood there [shape=(N,), int64].
    counts
        Selected tokens of each field [length F].
    padded
        Whether a first field is ``<pad>``, as filling or as a random token.
    lengths
        Notes of each sequence of a stream, else None.
    """

    tokens: Ints
    target: Ints
    notes: Ints
    wanted: Ints
    counts: list[int]
    padded: bool
    lengths: list[int] | None


def collate(
    sources: Sequence[Ints],
    targets: Sequence[Ints],
    *,
    layout: Layout = "padded",
    segments: Sequence[Sequence[int]] | None = None,
    fields: int = len(FIELDS),
) -> MaskedBatch:
    """Put masked blocks together.

    Parameters
    ----------
    sources, targets
        As `mask_tokens` returns them, each [shape=(T*F,)].
    layout
        See the module docstring.
    segments
        With ``stream``: notes of the sequences of each block that are not to see each other; None makes each
        block one sequence.
    fields
        ``F``.

    Raises
    ------
    ValueError
        For another layout, or for segments that do not fill their blocks.
    """
    if layout not in get_args(Layout):
        raise ValueError(f"layout {layout!r} is none of {get_args(Layout)}")
    lengths = None
    if layout == "stream":
        lengths = [len(source) // fields for source in sources]
        if segments is not None:
            if [sum(parts) for parts in segments] != lengths:
                raise ValueError("the segments do not fill their blocks")
            lengths = list(chain.from_iterable(segments))
        tokens, target = np.concatenate(sources)[None], np.concatenate(targets)[None]
        padded = False
    else:
        tokens, target = pad_rows(sources, PAD), pad_rows(targets, PAD)
        padded = bool((tokens[:, ::fields] == PAD).any())
    by_note = target.reshape(-1, fields)
    field, notes = np.nonzero(by_note.T != PAD)  # sorted by field
    counts = np.bincount(field, minlength=fields).tolist()
    return MaskedBatch(tokens, target, notes, by_note[notes, field], counts, padded, lengths)


def pad_rows(rows: Sequence[Ints], value: int) -> Ints:
    """Rows of different lengths as one array, `value` behind the shorter ones [shape=(B, longest), int64]."""
    whole = np.full((len(rows), max(len(row) for row in rows)), value, np.int64)
    for place, row in zip(whole, rows, strict=True):
        place[: len(row)] = row
    return whole
