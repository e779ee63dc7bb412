"""Attention of every query to every key: torch's fused kernels, or plain products where those are faster.

Legend: ``B`` pieces, ``H`` heads, ``T`` queries, ``S`` keys, ``d`` width of a head.

On a CPU, torch's fused kernel computes bfloat16 in float32; with dropout it is not used, and its substitute
draws random numbers slowly. Two plain matrix products with a softmax between them, for so many heads at a
time that the weights stay in the cache, are faster (``benchmarks/model_step.py``, forward and backward). They
keep the weights for the backward pass, which the fused kernel does not, so very long sequences without
dropout still use it. With dropout in float32 a backward pass of its own works block by block, too; of long
rows it keeps only which weights were dropped, and computes the weights again (Chen et al. 2016, "Training
Deep Nets with Sublinear Memory Cost"), with equal results.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from musicbert.model.blocks.dropout import kept_mask

#: attention weights of one product: eight megabytes in bfloat16. Smaller parts cost more than the cache
#: gives where two threads share them, since threads meet after each.
CHUNK = 2**22
#: attention weights that a layer in float32 with dropout keeps for the backward pass (a product of three
#: tensors, 100 megabytes): more are computed again. Fewer take no memory to speak of, and a little less time.
KEPT_WEIGHTS = 2**23
#: attention weights that a layer keeps at most where the fused kernel would keep none: half a gigabyte
MAX_WEIGHTS = 2**28
#: attention weights of a block with dropout in one thread: two megabytes, as large as many a cache
BLOCK = 2**19
#: width of a head below which a seed draws as it always did
WIDE = 64


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
    plain = q.dtype == torch.float32 and not torch.is_autocast_enabled("cpu") and 0 < dropout < 1
    # several threads meet after each block, and wait for each other where other programs run
    if plain and (torch.get_num_threads() == 1 or q.shape[:-1].numel() * k.shape[-2] > KEPT_WEIGHTS):
        out: torch.Tensor = _Dropped.apply(q, k, v, mask, dropout)
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
            yield slice(first, min(first + at_once, shape[0])), slice(head, min(head + of_piece, shape[1]))


def _part_of(mask: torch.Tensor | None, part: tuple[Any, ...]) -> torch.Tensor | None:
    """Mask of a part or a block, whose dimensions of size 1 stand for all."""
    if mask is None:
        return None
    one = (0 if isinstance(part[0], int) else slice(None), slice(None), slice(None))
    return mask[tuple(o if n == 1 else each for n, each, o in zip(mask.shape, part, one, strict=False))]


class _Dropped(torch.autograd.Function):
    """Attention with dropout in float32, a block of weights at a time, while the block is in the cache.

    Keeps which weights were dropped (a byte each), and the weights themselves where they are few; more are
    computed again by the backward pass. Values and gradients are those of `_plain`.
    """

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, dropout: float
    ) -> torch.Tensor:
        """Attend [shape=(B, H, T, d)]."""
        B, H, T, d = q.shape
        scaled, keys = q * q.shape[-1] ** -0.5, k.transpose(-1, -2)
        few = B * H * T * k.shape[-2] <= KEPT_WEIGHTS
        shares = q.new_empty(B, H, T, k.shape[-2]) if few else None
        out = _empty(q)
        kept: list[torch.Tensor] = []
        weights, factors = _Scratch(q), _Scratch(q)
        for part in _parts(q.shape, k.shape[-2]):
            shape = (*out[part].shape[:3], k.shape[-2])
            kept.append(kept_mask(shape, dropout, torch.int8, fast=d >= WIDE))
            for where, inner in _blocks(part, T, k.shape[-2]):
                here, rows = where[:2], scaled[where]
                into = None if shares is None else shares[where]
                share = _shares(rows, keys[here], _part_of(mask, where), weights, into)
                factor = factors.like(share).copy_(kept[-1][inner]).mul_(share)
                torch.bmm(factor, v[here], out=out[where])
        ctx.save_for_backward(q, k, v, mask, shares, *kept)
        ctx.dropout = dropout
        return out.div_(1 - dropout)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return gradients of q, k and v."""
        q, k, v, mask, shares, *masks = ctx.saved_tensors
        grad, scale = grad / (1 - ctx.dropout), q.shape[-1] ** -0.5
        scaled, keys, values = q * scale, k.transpose(-1, -2), v.transpose(-1, -2)
        of_q, of_k, of_v = _empty(q), _empty(k), _empty(v)
        weights, factors, gradients = _Scratch(q), _Scratch(q), _Scratch(q)
        for part, kept in zip(_parts(q.shape, k.shape[-2]), masks, strict=True):
            for where, inner in _blocks(part, q.shape[2], k.shape[-2]):
                here, hidden = where[:2], _part_of(mask, where)
                rows, of_out = scaled[where], grad[where]
                share = _shares(rows, keys[here], hidden, weights) if shares is None else shares[where]
                factor = factors.like(share).copy_(kept[inner])
                of_share = _product(of_out, values[here], gradients.like(share)).mul_(factor)
                _add_product(of_v[here], factor.mul_(share).transpose(-1, -2), of_out, where)
                torch.ops.aten._softmax_backward_data.out(
                    of_share, share, -1, share.dtype, grad_input=of_share
                )
                if hidden is not None:
                    of_share.masked_fill_(~hidden, 0.0)
                torch.bmm(of_share, k[here], out=of_q[where])
                _add_product(of_k[here], of_share.transpose(-1, -2), rows, where)
        return of_q.mul_(scale), of_k, of_v, None, None


Block = tuple[int, slice, slice]


def _blocks(part: tuple[slice, slice], queries: int, keys: int) -> Iterator[tuple[Block, Block]]:
    """Heads and queries of one piece whose weights stay in the cache: within all, and within the part."""
    most = BLOCK if torch.get_num_threads() == 1 else CHUNK
    pieces, heads = part
    rows = max(min(most // max(keys, 1), queries), 1)
    rows = -(-queries // -(-queries // rows)) if queries else 1
    many = max(most // max(rows * keys, 1), 1)
    for piece in range(pieces.start, pieces.stop):
        for head in range(heads.start, heads.stop, many):
            end = min(head + many, heads.stop)
            for row in range(0, queries, rows):
                span = slice(row, row + rows)
                inner = slice(head - heads.start, end - heads.start)
                yield (piece, slice(head, end), span), (piece - pieces.start, inner, span)


def _empty(x: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the shape (B, H, T, d) whose heads of a note are side by side."""
    return x.new_empty(x.transpose(1, 2).shape).transpose(1, 2)


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


def _product(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Matrix product [shape=(H, T, S)]."""
    return torch.bmm(a, b, out=out)


def _add_product(total: torch.Tensor, a: torch.Tensor, b: torch.Tensor, where: Block) -> None:
    """Add a matrix product to a total, which begins with the first queries."""
    if where[2].start == 0:
        torch.bmm(a, b, out=total)
    else:
        torch.baddbmm(total, a, b, out=total)


def _shares(
    scaled: torch.Tensor,
    keys: torch.Tensor,
    mask: torch.Tensor | None,
    scratch: _Scratch,
    into: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention weights of scaled queries [shape=(H, T, S)]."""
    out = scratch.of(*scaled.shape[:2], keys.shape[-1]) if into is None else into
    scores = _product(scaled, keys, out)
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
    kept = kept_mask(share.shape, dropout, share.dtype, fast=q.shape[-1] >= WIDE)
    return (share * kept) @ v / (1 - dropout)
