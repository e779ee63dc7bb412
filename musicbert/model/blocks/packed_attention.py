"""Attention within sequences that follow each other in a single row, without padding.

Legend: ``N`` positions in all, ``S`` sequences, ``H`` heads, ``D`` width.

A batch is either padded to the longest sequence, (B, T, D), or one stream, (1, N, D), with :class:`Segments`
saying where each sequence begins. A stream wastes no work on padding and needs no mask. Three ways give the
same numbers (those of the padded form up to rounding):

* in half precision on a GPU with FlashAttention (Dao 2023): its kernel for sequences of different lengths,
  which reads queries, keys and values in place and is traced by ``torch.compile`` for any lengths;
* otherwise on a GPU: ``scaled_dot_product_attention`` on nested tensors;
* elsewhere: one call per sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from musicbert.model.blocks.dot_product import dot_product_attention
from musicbert.model.blocks.embedding import PAD


@dataclass(frozen=True)
class Segments:
    """Sequences of a stream.

    ``offsets``: where each begins, and the end of the last [shape=(S+1,), int32, on the device of the model];
    ``lengths``: positions of each [length S]; ``longest``: their maximum; ``flash``: whether the device has
    FlashAttention's kernel.
    """

    offsets: torch.Tensor
    lengths: Sequence[int]
    longest: int = field(init=False)
    flash: bool = field(init=False)

    def __post_init__(self) -> None:
        # Here and not where they are used: a compiled block must not depend on the list of lengths.
        object.__setattr__(self, "longest", max(self.lengths, default=0))
        object.__setattr__(self, "flash", has_flash(self.offsets.device))

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


def segment_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    segments: Segments,
    dropout: float = 0.0,
    counts: Sequence[int] | None = None,
) -> torch.Tensor:
    """Attend within each sequence: ``q``, ``k``, ``v`` and the result [shape=(1, H, N, D/H)].

    ``counts``: queries of each sequence, where they are not as many as keys (on a CPU).
    """
    if counts is not None:
        return _one_by_one(q, k, v, list(counts), list(segments.lengths), dropout)
    if segments.flash and takes_flash(q.dtype, q.shape[-1]):
        rows = (x.squeeze(0).transpose(0, 1) for x in (q, k, v))  # (N, H, D/H), views, as their gradients
        return flash_attention(*rows, segments.offsets, segments.longest, dropout).transpose(0, 1)[None]
    return _ATTENTION["other"](q, k, v, segments, dropout)


def has_flash(device: torch.device) -> bool:
    """Whether a device has the kernel of FlashAttention, and it is switched on."""
    if device.type != "cuda" or not torch.backends.cuda.is_flash_attention_available():
        return False
    return torch.backends.cuda.flash_sdp_enabled() and torch.cuda.get_device_capability(device) >= (8, 0)


def takes_flash(dtype: torch.dtype, width: int) -> bool:
    """Whether the kernel takes queries of this type and width of a head."""
    return width <= 256 and width % 8 == 0 and dtype in (torch.float16, torch.bfloat16)


def flash_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    offsets: torch.Tensor,
    longest: int,
    dropout: float,
    window: int | None = None,
) -> torch.Tensor:
    """Attend within all sequences in one call [shape=(N, H, D/H)].

    The operator is the one that ``scaled_dot_product_attention`` calls for nested tensors, without their
    copies; ``torch.nn.attention.varlen`` has no dropout. ``q``, ``k``, ``v`` [shape=(N, H, D/H)];
    ``offsets``, ``longest``: as in `Segments`; ``window``: positions visible on each side, or None for all.
    """
    attend = torch.ops.aten._flash_attention_forward
    near = {} if window is None else {"window_size_left": window, "window_size_right": window}
    return attend(q, k, v, offsets, offsets, longest, longest, dropout, False, False, **near)[0]


def keep_untraced() -> None:
    """Keep `_other_attention` out of compiled blocks: one call between two compiled parts, for any lengths.

    Called before blocks are compiled, and not at import: the compiler takes a second to import.
    """
    if _ATTENTION["other"] is _other_attention:
        _ATTENTION["other"] = torch.compiler.disable(_other_attention)


def _other_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, segments: Segments, dropout: float
) -> torch.Tensor:
    if len(segments.lengths) == 1:
        return dot_product_attention(q, k, v, dropout=dropout)
    if q.is_cuda:
        return _jagged_attention(q, k, v, segments, dropout)
    lengths = list(segments.lengths)
    return _one_by_one(q, k, v, lengths, lengths, dropout)


def _one_by_one(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, counts: list[int], lengths: list[int], dropout: float
) -> torch.Tensor:
    parts = zip(q.split(counts, dim=2), k.split(lengths, dim=2), v.split(lengths, dim=2), strict=True)
    return torch.cat([dot_product_attention(*part, dropout=dropout) for part in parts], dim=2)


def _jagged_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, segments: Segments, dropout: float
) -> torch.Tensor:
    shortest, longest = min(segments.lengths), segments.longest

    def jagged(x: torch.Tensor) -> torch.Tensor:
        rows = x.squeeze(0).transpose(0, 1)  # (N, H, D/H)
        nested = torch.nested.nested_tensor_from_jagged(
            rows.contiguous(), segments.offsets, min_seqlen=shortest, max_seqlen=longest
        )
        return nested.transpose(1, 2)  # (S, H, *, D/H)

    out = F.scaled_dot_product_attention(jagged(q), jagged(k), jagged(v), dropout_p=dropout)
    return out.transpose(1, 2).values().transpose(0, 1)[None]  # (1, H, N, D/H)


#: what `segment_attention` calls; `keep_untraced` changes it
_ATTENTION = {"other": _other_attention}
