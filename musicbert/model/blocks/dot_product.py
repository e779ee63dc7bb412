"""Attention of every query to every key: torch's fused kernels, or plain products where those are faster.

Legend: ``B`` pieces, ``H`` heads, ``T`` queries, ``S`` keys, ``d`` width of a head.

On a CPU, torch's fused kernel computes bfloat16 in float32; with dropout it is not used, and its substitute
draws random numbers slowly. Two plain matrix products with a softmax between them, for so many heads at a
time that the weights stay in the cache, are faster (``benchmarks/model_step.py``, forward and backward). They
keep the weights for the backward pass, which the fused kernel does not, so very long sequences without
dropout still use it. Long rows with dropout in float32 keep only which weights were dropped, and compute the
weights again (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"), with equal results.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

#: attention weights of one product: eight megabytes in bfloat16. Smaller parts cost more than the cache
#: gives where two threads share them, since threads meet after each.
CHUNK = 2**22
#: attention weights that a layer in float32 with dropout keeps for the backward pass (a product of three
#: tensors, 100 megabytes): more are computed again. Fewer take no memory to speak of, and a little less time.
KEPT_WEIGHTS = 2**23
#: attention weights that a layer keeps at most where the fused kernel would keep none: half a gigabyte
MAX_WEIGHTS = 2**28


def dot_product_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None, dropout: float = 0.0
) -> torch.Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017) [shape=(B, H, T, d)].

    ``q`` [shape=(B, H, T, d)], ``k``, ``v`` [shape=(B, H, S, d)]; ``mask``: True where a query may see a key
    [bool, broadcast to shape=(B, H, T, S)] (a query that may see nothing gets an undefined result);
    ``dropout``: of the attention weights, in 0-1.
    """
    if _plain_is_faster(q, k, dropout):
        return _in_chunks(q, k, v, mask, dropout)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def _plain_is_faster(q: torch.Tensor, k: torch.Tensor, dropout: float) -> bool:
    if q.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    weights = q.shape[:-1].numel() * k.shape[-2]
    if dropout:
        return weights > 0
    return q.dtype == torch.bfloat16 and 0 < weights <= MAX_WEIGHTS


def _in_chunks(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, dropout: float
) -> torch.Tensor:
    """Compute some pieces at a time, or some heads of one piece."""
    many = q.shape[:-1].numel() * k.shape[-2] > KEPT_WEIGHTS
    plain = q.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if many and plain and 0 < dropout < 1:
        out: torch.Tensor = _Recomputed.apply(q, k, v, mask, dropout)
        return out
    at_once, of_piece = _sizes(q.shape, k.shape[-2])
    parts = _parts(q.shape, k.shape[-2])
    rows = []
    for pieces in zip(*(x.split(at_once) for x in (q, k, v)), strict=True):
        heads = zip(*(x.split(of_piece, dim=1) for x in pieces), strict=True)
        done = [_plain(*x, _part_of(mask, next(parts)), dropout) for x in heads]
        rows.append(done[0] if len(done) == 1 else torch.cat(done, dim=1))
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def _sizes(shape: torch.Size, keys: int) -> tuple[int, int]:
    """Pieces, and heads of each, whose weights are one product."""
    weights, heads = shape[2] * keys, shape[1]
    if weights * heads <= CHUNK:
        return max(CHUNK // (weights * heads), 1), heads
    return 1, max(CHUNK // weights, 1)


def _parts(shape: torch.Size, keys: int) -> Iterator[tuple[slice, slice]]:
    """The parts that are computed one after the other: slices of pieces and of heads."""
    at_once, of_piece = _sizes(shape, keys)
    for first in range(0, shape[0], at_once):
        for head in range(0, shape[1], of_piece):
            yield slice(first, first + at_once), slice(head, head + of_piece)


def _part_of(mask: torch.Tensor | None, part: tuple[slice, slice]) -> torch.Tensor | None:
    if mask is None:
        return None
    pieces, heads = part
    every = slice(None)
    return mask[every if len(mask) == 1 else pieces, every if mask.shape[1] == 1 else heads]


class _Recomputed(torch.autograd.Function):
    """Attention with dropout that keeps which weights were dropped (a byte each), and not the weights.

    The backward pass computes the weights again. Values and gradients are those of `_plain`.
    """

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, dropout: float
    ) -> torch.Tensor:
        """Attend [shape=(B, H, T, d)]."""
        ctx.save_for_backward(q, k, v, mask)
        ctx.dropout, ctx.kept = dropout, []
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        weights, factors = _Scratch(q), _Scratch(q)
        for part in _parts(q.shape, k.shape[-2]):
            share = _shares(q[part] * q.shape[-1] ** -0.5, k[part], _part_of(mask, part), weights)
            kept = _kept(share.shape, dropout, torch.int8)
            ctx.kept.append(kept)
            share.mul_(factors.like(share).copy_(kept))
            out[part] = share @ v[part]
        return out.div_(1 - dropout)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return gradients of q, k and v."""
        q, k, v, mask = ctx.saved_tensors
        grad = grad / (1 - ctx.dropout)
        of_q, of_k, of_v = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
        scale = q.shape[-1] ** -0.5
        weights, factors, gradients = _Scratch(q), _Scratch(q), _Scratch(q)
        for part, kept in zip(_parts(q.shape, k.shape[-2]), ctx.kept, strict=True):
            scaled, hidden = q[part] * scale, _part_of(mask, part)
            share = _shares(scaled, k[part], hidden, weights)
            factor = factors.like(share).copy_(kept)
            of_share = _product(grad[part], v[part].transpose(-1, -2), gradients).mul_(factor)
            of_v[part] = factor.mul_(share).transpose(-1, -2) @ grad[part]
            torch.ops.aten._softmax_backward_data.out(of_share, share, -1, share.dtype, grad_input=of_share)
            if hidden is not None:
                of_share.masked_fill_(~hidden, 0.0)
            of_q[part] = of_share @ k[part]
            of_k[part] = (scaled.transpose(-1, -2) @ of_share).transpose(-1, -2)
        return of_q.mul_(scale), of_k, of_v, None, None


class _Scratch:
    """Memory that the parts of one call share: fresh memory of this size costs as much as computing in it."""

    def __init__(self, like: torch.Tensor) -> None:
        self.numbers = like.new_empty(0)

    def of(self, *shape: int) -> torch.Tensor:
        """Return a tensor of this shape with any values."""
        count = math.prod(shape)
        if len(self.numbers) < count:
            self.numbers = self.numbers.new_empty(count)
        return self.numbers[:count].view(shape)

    def like(self, x: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the shape of another."""
        return self.of(*x.shape)


def _product(a: torch.Tensor, b: torch.Tensor, scratch: _Scratch) -> torch.Tensor:
    """Matrix product [shape=(B, H, T, S)]."""
    out = scratch.of(*a.shape[:-1], b.shape[-1])
    torch.bmm(a.flatten(0, 1), b.flatten(0, 1), out=out.flatten(0, 1))
    return out


def _shares(
    scaled: torch.Tensor, k: torch.Tensor, mask: torch.Tensor | None, scratch: _Scratch
) -> torch.Tensor:
    """Attention weights of scaled queries."""
    scores = _product(scaled, k.transpose(-1, -2), scratch)
    if mask is not None:
        scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    return torch.softmax(scores, -1, out=scores)


def _plain(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, dropout: float
) -> torch.Tensor:
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, H, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    share = scores.softmax(-1)
    if not dropout:
        return share @ v
    if dropout >= 1:
        return torch.zeros_like(q)
    return (share * _kept(share.shape, dropout, share.dtype)) @ v / (1 - dropout)


def _kept(shape: torch.Size, dropout: float, dtype: torch.dtype) -> torch.Tensor:
    """Zero with the probability `dropout` (to 2 ** -17), otherwise one.

    Each drawn number serves four weights; clamping integers to two neighbours is faster than comparing.
    """
    count = math.prod(shape)
    drawn = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bound = min(max(round(dropout * 2**16), 1), 2**16 - 1) - 2**15
    return drawn.view(torch.int16)[:count].clamp_(bound - 1, bound).sub_(bound - 1).view(shape).to(dtype)
