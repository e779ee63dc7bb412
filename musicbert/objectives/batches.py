"""Batches of masked blocks: padded to the longest, or one stream without padding.

Legend: ``B`` blocks, ``T`` positions (notes), ``F`` tokens of a position, ``N`` selected tokens.

``padded``
    tokens (B, T*F), ``<pad>`` after the shorter blocks: what fairseq's models expect.
``stream``
    tokens (1, sum of T * F), one block after the other; ``lengths`` says where the sequences are.

Selected tokens are listed here, in the worker process that makes the batch, sorted by field, so that the
model need not search for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

import numpy as np

from musicbert.arrays import Ints
from musicbert.encoding.views import field_of_tokens
from musicbert.encoding.vocabulary import N_FIELDS, PAD

Layout = Literal["padded", "stream"]


@dataclass(frozen=True)
class MaskedBatch:
    """Arrays of a batch.

    Attributes
    ----------
    tokens, target
        Input and target of the model (``<pad>``: no target) [shape=(B, T*F), int64].
    notes
        Position of each selected token, an index into the B*T positions, sorted by field [shape=(N,), int64].
    wanted
        Target of each selected token [shape=(N,), int64].
    counts
        Selected tokens of each field [length F].
    padded
        Whether any first field is ``<pad>``, as padding or as a random token.
    lengths
        Positions of each sequence of a stream, else None.
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
    width: int = N_FIELDS,
    octuples: bool = True,
) -> MaskedBatch:
    """Put masked blocks together.

    ``sources``, ``targets``: as `mask_tokens` returns them, each [shape=(T*F,)]; ``segments``: with
    ``stream``, positions of the sequences of each block, which do not attend to each other; None makes each
    block one sequence; ``width``: tokens of one position of the model: ``F``, or 1 without compound
    embedding; ``octuples``: every eighth token is of the same field; False (REMI-like) reads the field off
    the token and counts specials as the first.
    Raises `ValueError` (an unknown layout, or segments that do not fill their blocks).
    """
    if layout not in get_args(Layout):
        raise ValueError(f"layout {layout!r} is none of {get_args(Layout)}")
    lengths = None
    if layout == "stream":
        lengths = [len(source) // width for source in sources]
        if segments is not None:
            if [sum(parts) for parts in segments] != lengths:
                raise ValueError("the segments do not fill their blocks")
            lengths = list(chain.from_iterable(segments))
        tokens, target = np.concatenate(sources)[None], np.concatenate(targets)[None]
        padded = False
    else:
        tokens, target = pad_rows(sources, PAD), pad_rows(targets, PAD)
        padded = bool((tokens[:, ::width] == PAD).any())
    flat = target.reshape(-1)
    places = np.flatnonzero(flat != PAD)
    wanted = flat[places]
    field = places % N_FIELDS if octuples else np.maximum(field_of_tokens(wanted), 0)
    order = np.argsort(field.astype(np.uint8), kind="stable")  # sorted by field
    counts = np.bincount(field, minlength=N_FIELDS).tolist()
    return MaskedBatch(tokens, target, places[order] // width, wanted[order], counts, padded, lengths)


def pad_rows(rows: Sequence[Ints], value: int) -> Ints:
    """Pad rows of different lengths with `value` at the end [shape=(B, longest), int64]."""
    padded = np.full((len(rows), max(len(row) for row in rows)), value, np.int64)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    return padded
