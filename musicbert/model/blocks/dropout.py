"""Dropout on a CPU (Srivastava et al. 2014): masks from whole random numbers, and sums with what is left.

torch draws a number and compares it for every element, which takes longer than the layer around it. Here a
number of 64 bits serves four elements, and the mask is kept as a byte each (`benchmarks/step_ideas.py`).
Narrow models, other types and other devices are left to torch.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

#: width of a model below which a seed draws as it always did
NARROW = 128


def kept_mask(
    shape: Sequence[int], dropout: float, dtype: torch.dtype, *, fast: bool = False
) -> torch.Tensor:
    """Zero with the probability `dropout` (to 2 ** -17), otherwise one; ``fast``: see `_bits`.

    Clamping integers to two neighbours is faster than comparing them.
    """
    count = math.prod(shape)
    drawn = _bits((count + 3) // 4, fast).view(torch.int16)[:count]
    bound = min(max(round(dropout * 2**16), 1), 2**16 - 1) - 2**15
    return drawn.clamp_(bound - 1, bound).sub_(bound - 1).view(shape).to(dtype)


def _bits(count: int, fast: bool) -> torch.Tensor:
    """Random numbers of 64 bits [shape=(count,), int64].

    ``fast``: by numpy's SFC64, from a seed that torch draws: half the time.
    """
    if not fast:
        return torch.empty(count, dtype=torch.int64).random_(-(2**63), None)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    return torch.from_numpy(np.random.SFC64(seed).random_raw(count).view(np.int64))


def by_torch(x: torch.Tensor) -> bool:
    """Whether torch draws the mask of a tensor."""
    other = x.device.type != "cpu" or x.dtype != torch.float32
    return other or x.shape[-1] < NARROW or torch.compiler.is_compiling()


def dropped(x: torch.Tensor, dropout: float, training: bool) -> torch.Tensor:
    """Drop elements and divide the others by their share."""
    if not training or not 0 < dropout < 1 or by_torch(x):
        return F.dropout(x, dropout, training)
    out: torch.Tensor = _Dropped.apply(None, x, dropout)
    return out


def dropped_sum(x: torch.Tensor, y: torch.Tensor, dropout: float, training: bool) -> torch.Tensor:
    """Return ``x + dropped(y)``, both of one shape."""
    if not training or not 0 < dropout < 1 or by_torch(y) or x.dtype != y.dtype:
        return x + F.dropout(y, dropout, training)
    out: torch.Tensor = _Dropped.apply(x, y, dropout)
    return out


class _Dropped(torch.autograd.Function):
    """A dropped tensor, or its sum with another, in one pass; keeps a byte an element."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor | None, y: torch.Tensor, dropout: float) -> torch.Tensor:
        """Drop elements of ``y``."""
        kept = kept_mask(y.shape, dropout, torch.int8, fast=True)
        ctx.save_for_backward(kept)
        ctx.scale, ctx.summed = 1 / (1 - dropout), x is not None
        factor = kept.to(y.dtype)
        if x is None:
            return factor.mul_(y).mul_(ctx.scale)
        return torch.addcmul(x, y, factor, value=ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return gradients of x and y."""
        (kept,) = ctx.saved_tensors
        return grad if ctx.summed else None, kept.to(grad.dtype).mul_(grad).mul_(ctx.scale), None
