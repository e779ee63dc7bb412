"""Rows that are sorted by field, each times the matrix of its field.

Legend: ``N`` rows, ``F`` fields, ``D`` width of a row, ``W`` width of a result.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


def linear_by_field(
    x: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor | None, counts: Sequence[int]
) -> torch.Tensor:
    """``F.linear`` of the rows of each field [shape=(N, W)].

    ``x`` [shape=(N, D)]; ``weights`` [shape=(F, W, D)], ``biases`` [shape=(F, W)]; ``counts``: rows of each
    field [length F, adding up to N].
    """
    if x.device.type == "cpu" and x.dtype == weights.dtype and not torch.is_autocast_enabled("cpu"):
        out: torch.Tensor = _ByField.apply(x, weights, biases, list(counts))
        return out
    every: Sequence[Any] = [None] * len(counts) if biases is None else biases.unbind(0)
    parts = zip(x.split(list(counts)), weights.unbind(0), every, strict=True)
    return torch.cat([F.linear(*part) for part in parts])


class _ByField(torch.autograd.Function):
    """Writes results and gradients of the fields into one tensor, without copies."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor | None, counts: list[int]
    ) -> torch.Tensor:
        """Multiply."""
        ctx.save_for_backward(x, weights)
        ctx.counts = counts
        out = x.new_empty(len(x), weights.shape[1])
        for field, (rows, product) in enumerate(zip(x.split(counts), out.split(counts), strict=True)):
            if biases is None:
                torch.mm(rows, weights[field].t(), out=product)
            else:
                torch.addmm(biases[field], rows, weights[field].t(), out=product)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return gradients of rows, weights and biases."""
        (x, weights), counts = ctx.saved_tensors, ctx.counts
        of_x, of_weights, biased = ctx.needs_input_grad[:3]
        xs = torch.empty_like(x) if of_x else None
        ws = torch.empty_like(weights) if of_weights else None  # laid out as the weights are
        parts = enumerate(zip(x.split(counts), grad.split(counts), strict=True))
        begin = 0
        for field, (rows, part) in parts:
            if xs is not None:
                torch.mm(part, weights[field], out=xs[begin : begin + len(rows)])
            if ws is not None:
                torch.mm(part.t(), rows, out=ws[field])
            begin += len(rows)
        bias = torch.stack([part.sum(0) for part in grad.split(counts)]) if biased else None
        return xs, ws, bias, None
