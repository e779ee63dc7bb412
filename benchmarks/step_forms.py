"""Forms of parts of a training step that ``step_ideas.py`` measures, and the products that it needs."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from musicbert.config import ModelConfig
from musicbert.model.blocks.attention import joint_projection
from musicbert.model.blocks.dropout import dropped_sum
from musicbert.model.blocks.embedding import PAD, _present_pairs
from musicbert.model.blocks.masked_positions import MaskedPlaces, Queries


def plain_attend(layer: Any, *given: Any) -> torch.Tensor:
    return layer.self_attn(*given)


def plain_norm(norm: Any, x: torch.Tensor, y: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    return norm(dropped_sum(x, y, rate, training))


def plain_feed(layer: Any, x: torch.Tensor) -> torch.Tensor:
    return layer.fc2(F.gelu(layer.fc1(x)))


def layer(
    self: Any,
    x: torch.Tensor,
    padding_mask: torch.Tensor | None = None,
    segments: Any = None,
    first: bool = False,
    queries: Queries | None = None,
    *,
    attend: Callable[..., torch.Tensor] = plain_attend,
    norm: Callable[..., torch.Tensor] = plain_norm,
    feed: Callable[..., torch.Tensor] = plain_feed,
) -> torch.Tensor:
    """A block of the encoder, with parts to be exchanged."""
    y = attend(self, x, padding_mask, segments, first, queries)
    x = x if queries is None else queries.rows(x)
    x = norm(self.self_attn_layer_norm, x, y, self.dropout, self.training)
    return norm(self.final_layer_norm, x, feed(self, x), self.dropout, self.training)


def checkpointed(block: Any, *given: Any) -> torch.Tensor:
    return checkpoint(block.self_attn, *given, use_reentrant=False)


class FeedForward(torch.autograd.Function):
    """Keeps the input of GELU, and not its output."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w1: Any, b1: Any, w2: Any, b2: Any) -> torch.Tensor:
        rows = x.flatten(0, -2)
        inner = torch.addmm(b1, rows, w1.t())
        ctx.save_for_backward(rows, inner, w1, w2)
        return torch.addmm(b2, F.gelu(inner), w2.t()).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows, inner, w1, w2 = ctx.saved_tensors
        shape, grad = grad.shape, grad.flatten(0, -2)
        of_inner = torch.ops.aten.gelu_backward(grad @ w2, inner)
        of_w2 = grad.t() @ F.gelu(inner)
        of_x = (of_inner @ w1).view(*shape[:-1], -1)
        return of_x, of_inner.t() @ rows, of_inner.sum(0), of_w2, grad.sum(0)


def feed_forward(block: Any, x: torch.Tensor) -> torch.Tensor:
    one, two = block.fc1, block.fc2
    return FeedForward.apply(x, one.weight, one.bias, two.weight, two.bias)


class AddNorm(torch.autograd.Function):
    """Layer norm of a sum, which is written over the second summand."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, y: torch.Tensor, weight: Any, bias: Any, eps: float
    ) -> torch.Tensor:
        total = x + y
        out, mean, rstd = torch.native_layer_norm(total, total.shape[-1:], weight, bias, eps)
        ctx.save_for_backward(total, mean, rstd, weight, bias)
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        total, mean, rstd, weight, bias = ctx.saved_tensors
        of_total, of_weight, of_bias = torch.ops.aten.native_layer_norm_backward(
            grad, total, total.shape[-1:], mean, rstd, weight, bias, [True, True, True]
        )
        return of_total, of_total, of_weight, of_bias, None


def add_norm(norm: Any, x: torch.Tensor, y: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    from musicbert.model.blocks.dropout import dropped

    return AddNorm.apply(x, dropped(y, rate, training), norm.weight, norm.bias, norm.eps)


def joint_projected(self: Any, x: torch.Tensor, _: bool, queries: Queries | None) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values by one product, where all notes ask."""
    layers = (self.q_proj, self.k_proj, self.v_proj)
    if queries is None:
        parts: Sequence[torch.Tensor] = joint_projection(x, layers)
    else:
        parts = [queries.spread(self.q_proj(queries.rows(x))), *joint_projection(x, layers[1:])]
    return tuple(part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)


def bits_of_torch(count: int, _: bool) -> torch.Tensor:
    return torch.empty(count, dtype=torch.int64).random_(-(2**63), None)


def apart_by_field(
    x: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor | None, counts: Sequence[int]
) -> torch.Tensor:
    """A product for each field, put together."""
    every: Sequence[Any] = [None] * len(counts) if biases is None else biases.unbind(0)
    parts = zip(x.split(list(counts)), weights.unbind(0), every, strict=True)
    return torch.cat([F.linear(*part) for part in parts])


def strassen(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Matrix product by seven products of quarters (Strassen 1969, in Winograd's form)."""
    (a11, a12), (a21, a22) = (half.chunk(2, 1) for half in a.chunk(2, 0))
    (b11, b12), (b21, b22) = (half.chunk(2, 1) for half in b.chunk(2, 0))
    s1, t1 = a21 + a22, b12 - b11
    s2, t2 = s1 - a11, b22 - t1
    p1 = a11 @ b11
    u2 = p1 + s2 @ t2
    u3 = u2 + (a11 - a21) @ (b22 - b12)
    p5 = s1 @ t1
    out = a.new_empty(len(a), b.shape[1])
    (c11, c12), (c21, c22) = (half.chunk(2, 1) for half in out.chunk(2, 0))
    torch.add(p1, a12 @ b21, out=c11)
    torch.add(u2, p5, out=c12)
    c12 += (a12 - s2) @ b22
    torch.sub(u3, a22 @ (t2 - b21), out=c21)
    torch.add(u3, p5, out=c22)
    return out


@functools.cache
def product_time(batch: int, m: int, k: int, n: int) -> float:
    """Processor milliseconds of a product, and of the two of its gradients; best of three."""
    a, b, c = torch.randn(batch, m, k), torch.randn(batch, k, n), torch.randn(batch, m, n)
    grads = torch.empty_like(a), torch.empty_like(b)

    def run() -> None:
        for x, y, z, of_x, of_y in zip(a, b, c, *grads, strict=True):
            torch.mm(x, y, out=z)
            torch.mm(z, y.t(), out=of_x)
            torch.mm(x.t(), z, out=of_y)

    best = float("inf")
    for _ in range(3):
        begin = time.process_time()
        run()
        best = min(best, time.process_time() - begin)
    return 1000 * best


def products_alone(config: ModelConfig, source: torch.Tensor, target: torch.Tensor) -> float:
    """Milliseconds of the products of our step: last block, look-ups and logits where they are read."""
    D, H, fields, V = config.width, config.heads, config.fields, config.vocabulary_size
    rows, notes = len(source), source.shape[1] // fields
    every, places = rows * notes, MaskedPlaces.of(target.ne(PAD), fields)
    asking, tokens = len(places.notes.unique()), len(places.notes)
    _, _, pairs = _present_pairs(source.view(every, fields), V)
    sizes = [(1, count, D, D) for count in (*pairs, *places.counts) if count]
    sizes += [(1, tokens, D, D), (1, tokens, D, V)]
    for number in range(config.layers):
        asked = asking if number == config.layers - 1 else every
        sizes += 2 * [(1, every, D, D)] + 2 * [(1, asked, D, D)]
        sizes += [(1, asked, D, config.ffn_width), (1, asked, config.ffn_width, D)]
        here = max(asked // rows, 1)
        sizes += [(rows * H, here, D // H, notes), (rows * H, here, notes, D // H)]
    return sum(product_time(*size) for size in sizes)
