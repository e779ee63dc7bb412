"""Self-attention to everything, or to ``window`` notes on each side.

Legend: ``B`` pieces, ``T`` notes, ``H`` heads, ``d`` width of a head, ``W`` window, ``n`` blocks.

In half precision on a GPU with FlashAttention (Dao 2023), its kernel computes both kinds of layers without
masks if the number of notes before the padding of each piece is known: notes and padding are two sequences of
a row, and each attends within itself.

Otherwise `musicbert.model.blocks.dot_product` is used. Global layers get no mask if nothing is padded, else
one row of booleans per piece. Local layers of long inputs work in blocks, ``2 W`` queries against the ``4 W``
keys around them, so the work grows with ``T * 4 W`` and not ``T * T``; short inputs use a band of the dense
mask.

Every note may attend to itself, also padding, so no row of a mask is empty. What padding reads matters only
to MidiBERT's objective, which corrupts padding and therefore gets masks (``note_crops.py``).
``benchmarks/m2bert_step.py`` compares FlashAttention's numbers on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from musicbert.model.blocks.dot_product import dot_product_attention
from musicbert.model.blocks.packed_attention import flash_attention


@dataclass
class Reach:
    """Masks of a batch, made once for all layers.

    ``mask``: of global layers [shape=(B, 1, 1, T), bool], True where a key may be read, or None if nothing is
    padded; ``local``: of local layers: [shape=(B or 1, 1, T, T), bool], or of blocks [shape=(B * n, 1, 2 W, 4
    W), bool], or None if the window holds everything; ``window``: ``W`` where local layers work in blocks, or
    with `offsets`, else 0; ``offsets``: FlashAttention instead of masks: where the notes and the padding of
    each piece begin, and the end [shape=(2 B + 1,), int32], or without padding where the pieces begin
    [shape=(B + 1,)]; ``longest``: at least the length of the longest sequence of `offsets`.
    """

    mask: torch.Tensor | None
    local: torch.Tensor | None
    window: int
    offsets: torch.Tensor | None = None
    longest: int = 0

    @classmethod
    def in_sequences(
        cls, batch: int, length: int, window: int, lengths: torch.Tensor | None, device: torch.device
    ) -> Reach:
        """What FlashAttention needs instead of masks.

        ``lengths``: notes before the padding of each piece [shape=(B,), integers on the device], or None if
        nothing is padded.
        """
        begin = torch.arange(batch + 1, device=device, dtype=torch.int32) * length
        if lengths is None:
            return cls(None, None, window, begin, length)
        ends = torch.stack([begin[:-1], begin[:-1] + lengths.to(torch.int32)], dim=1)  # (B, 2)
        return cls(None, None, window, torch.cat([ends.flatten(), begin[-1:]]), length)

    @classmethod
    def of(
        cls, batch: int, length: int, window: int, padding: torch.Tensor | None, device: torch.device
    ) -> Reach:
        """Make the masks; ``padding``: True at padding [shape=(B, T), bool], or None if nothing is padded."""
        mask = None
        if padding is not None:
            real = ~padding
            # a piece without notes would leave nothing to read
            real = torch.cat([real[:, :1] | padding.all(1, keepdim=True), real[:, 1:]], dim=1)
            mask = real[:, None, None, :]  # (B, 1, 1, T)
        if window >= length - 1:
            return cls(mask, mask, 0)
        place = torch.arange(length, device=device)
        if length <= 4 * window:
            band = (place[:, None] - place).abs() <= window  # (T, T)
            itself = place[:, None] == place
            local = band[None, None] if mask is None else (band & mask) | itself
            return cls(mask, local, 0)
        blocks = -(-length // (2 * window))
        query = torch.arange(2 * window * blocks, device=device).view(blocks, 2 * window, 1)
        key = query[:, :1] - window + torch.arange(4 * window, device=device)  # (n, 1, 4W)
        inside = (key >= 0) & (key < length)
        band = (query - key).abs() <= window  # (n, 2W, 4W)
        if mask is None:
            allowed = (band & inside)[None].expand(batch, -1, -1, -1)
        else:
            readable = mask[:, 0, 0][:, key.clamp(0, length - 1)] & inside  # (B, n, 1, 4W)
            allowed = readable & band
        allowed = allowed | (query == key)
        return cls(mask, allowed.flatten(0, 1)[:, None], window)


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, reach: Reach, *, local: bool, dropout: float = 0.0
) -> torch.Tensor:
    """Attention of one layer [shape=(B, H, T, d)].

    ``q``, ``k``, ``v``: rotated by their positions [shape=(B, H, T, d)]; ``local``: whether the layer sees
    only the window.
    """
    if reach.offsets is not None:
        rows = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))  # (B*T, H, d)
        near = reach.window if local else None
        y = flash_attention(*rows, reach.offsets, reach.longest, dropout, near)
        return y.unflatten(0, (len(q), q.shape[2])).transpose(1, 2)
    if not local or not reach.window:
        mask = reach.local if local else reach.mask
        return dot_product_attention(q, k, v, mask, dropout)
    B, H, T, d = q.shape
    W = reach.window
    n = -(-T // (2 * W))
    rest = 2 * W * n - T
    q = F.pad(q, (0, 0, 0, rest)).unflatten(2, (n, 2 * W)).transpose(1, 2).flatten(0, 1)  # (B*n, H, 2W, d)
    k, v = (
        F.pad(x, (0, 0, W, W + rest)).unfold(2, 4 * W, 2 * W).permute(0, 2, 1, 4, 3).flatten(0, 1)
        for x in (k, v)
    )  # (B*n, H, 4W, d)
    x = dot_product_attention(q, k, v, reach.local, dropout)
    return x.unflatten(0, (B, n)).transpose(1, 2).reshape(B, H, 2 * W * n, d)[:, :, :T]
