"""Attention within sequences that stand one after the other in a single row, without padding.

Legend: ``N`` positions in all, ``S`` sequences, ``H`` heads, ``D`` width.

A batch of sequences of different lengths is either padded to the longest, (B, T, D), or one stream,
(1, N, D), with :class:`Segments` saying where each begins. A stream spends no work on padding and needs no
mask, so that a GPU can use its fastest kernel.

On a GPU the work is done by ``scaled_dot_product_attention`` on jagged nested tensors (FlashAttention in half
precision, with dropout), elsewhere by one call a sequence. The numbers are those of the padded form up to
rounding, verified in ``tests/unit/model/test_segments.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from musicbert.model.embedding import PAD

__all__ = ["Segments", "segment_attention"]


@dataclass(frozen=True)
class Segments:
    """Sequences of a stream.

    Attributes
    ----------
    offsets
        Where each begins, and the end of the last [shape=(S+1,), int32, on the device of the model].
    lengths
        Positions of each, known without asking the device [length S].
    """

    offsets: torch.Tensor
    lengths: Sequence[int]

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device | str = "cpu") -> Segments:
        """Segments of these lengths, on a device."""
        ends = torch.tensor([0, *lengths], dtype=torch.int64).cumsum(0)
        return cls(ends.to(device, torch.int32), list(lengths))

    def positions(self) -> torch.Tensor:
        """Rows of the position table, 2, 3, ... in each sequence [shape=(N,), int64]."""
        begins, counts = self.offsets[:-1].long(), self.offsets.diff().long()
        total = sum(self.lengths)
        begin = torch.repeat_interleave(begins, counts, output_size=total)
        return torch.arange(total, device=begin.device) - begin + PAD + 1


# Not traced: inside a compiled block this is one call between two compiled parts, whatever the lengths.
@torch.compiler.disable
def segment_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, segments: Segments, dropout: float = 0.0
) -> torch.Tensor:
    """Attend within each sequence.

    Parameters
    ----------
    q, k, v
        [shape=(1, H, N, D/H)]
    segments
        Where the sequences are; their lengths add up to N.
    dropout
        Dropout of the attention weights, in 0-1.

    Returns
    -------
    torch.Tensor
        [shape=(1, H, N, D/H)]
    """
    if len(segments.lengths) == 1:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    if not q.is_cuda:
        lengths = list(segments.lengths)
        parts = zip(*(x.split(lengths, dim=2) for x in (q, k, v)), strict=True)
        return torch.cat([F.scaled_dot_product_attention(*p, dropout_p=dropout) for p in parts], dim=2)
    return _jagged_attention(q, k, v, segments, dropout)


def _jagged_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, segments: Segments, dropout: float
) -> torch.Tensor:
    shortest, longest = min(segments.lengths), max(segments.lengths)

    def jagged(x: torch.Tensor) -> torch.Tensor:
        rows = x[0].transpose(0, 1)  # (N, H, D/H)
        nested = torch.nested.nested_tensor_from_jagged(
            rows.contiguous(), segments.offsets, min_seqlen=shortest, max_seqlen=longest
        )
        return nested.transpose(1, 2)  # (S, H, *, D/H)

    out = F.scaled_dot_product_attention(jagged(q), jagged(k), jagged(v), dropout_p=dropout)
    return out.transpose(1, 2).values().transpose(0, 1)[None]  # (1, H, N, D/H)
