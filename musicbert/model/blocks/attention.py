"""Multi-head self-attention with the parameters of MusicBERT's checkpoints.

Legend: ``B`` pieces, ``T`` notes, ``D`` width, ``H`` heads.

Separate ``q_proj``, ``k_proj``, ``v_proj`` and ``out_proj`` with biases, scores scaled by ``(D / H) ** -0.5``
(Vaswani et al. 2017). The work is done by torch's fused kernels or by plain products, whichever is faster
(`musicbert.model.blocks.dot_product`): with ``padding_mask=None`` no mask exists at all, otherwise one row of
booleans per piece is broadcast.

cuDNN's kernels are left out (:func:`without_cudnn`).

On a GPU the three projections are one product with the weights one behind the other: the input is read once,
and three narrow products become a wide one. Parameters and numbers are the same (up to rounding).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from musicbert.model.blocks.dot_product import dot_product_attention
from musicbert.model.blocks.segments import Segments, segment_attention


class SelfAttention(nn.Module):
    """Bidirectional self-attention.

    ``width``, ``heads``: model width ``D`` and number of heads ``H``; ``D`` is a multiple of ``H``;
    ``dropout``: dropout of the attention weights, in 0-1.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.heads = heads
        self.dropout = dropout
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def _projected(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Queries, keys and values, each [shape=(B, H, T, D/H)]."""
        layers = (self.q_proj, self.k_proj, self.v_proj)
        parts = joint_projection(x, layers) if x.is_cuda else [layer(x) for layer in layers]  # (B, T, D)
        return tuple(part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)

    def forward(
        self, x: torch.Tensor, padding_mask: torch.Tensor | None = None, segments: Segments | None = None
    ) -> torch.Tensor:
        """Attend from every note to every note that is no padding.

        ``x``: hidden states [shape=(B, T, D)]; ``padding_mask``: true at padding [shape=(B, T), bool], or
        None if nothing is padded; ``segments``: sequences of a stream (B = 1, no padding) that do not see
        each other.
        Returns `torch.Tensor` [shape=(B, T, D)].
        """
        q, k, v = self._projected(x)
        dropout = self.dropout if self.training else 0.0
        if segments is not None:
            return self.out_proj(segment_attention(q, k, v, segments, dropout).transpose(1, 2).flatten(2))
        mask = None if padding_mask is None else ~padding_mask[:, None, None, :]  # (B, 1, 1, T)
        x = dot_product_attention(q, k, v, mask, dropout)  # (B, H, T, D/H)
        return self.out_proj(x.transpose(1, 2).flatten(2))  # (B, T, D)


def joint_projection(x: torch.Tensor, layers: Sequence[nn.Linear]) -> tuple[torch.Tensor, ...]:
    """What some layers of equal width make of the same input, by one matrix product.

    ``x`` [shape=(..., D)]; ``layers``: ``n`` layers from D to W, with biases.
    Returns tuple of torch.Tensor: views of the rows of one tensor, each [shape=(..., W)], with a step of n *
    W from row to row.
    """
    weight = torch.cat([layer.weight for layer in layers])  # (n*W, D)
    bias = torch.cat([layer.bias for layer in layers])  # (n*W,)
    # unbind, not chunk: its backward pass writes the gradients side by side, once
    return F.linear(x, weight, bias).unflatten(-1, (len(layers), -1)).unbind(-2)


@contextmanager
def without_cudnn() -> Iterator[None]:
    """Let ``scaled_dot_product_attention`` choose among the kernels that take any length as it comes.

    On recent GPUs torch prefers cuDNN's, for which a plan is made for each new shape, and batches of music
    are hardly ever of the same length. That plans are what slows such batches down is inferred, not measured
    apart (``benchmarks/pretrain_step_h100_*.md``).
    """
    chosen = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(chosen)
