"""Multi-head self-attention with the parameters of MusicBERT's checkpoints.

Legend: ``B`` pieces, ``T`` notes, ``D`` width, ``H`` heads.

Separate ``q_proj``, ``k_proj``, ``v_proj`` and ``out_proj`` with biases, scores scaled by ``(D / H) ** -0.5``
(Vaswani et al. 2017), computed by `musicbert.model.blocks.dot_product`. On a GPU the three projections are
one product with the concatenated weights, which reads the input once (equal up to rounding).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from musicbert.model.blocks.dot_product import dot_product_attention
from musicbert.model.blocks.masked_positions import Queries
from musicbert.model.blocks.packed_attention import Segments, keep_untraced, segment_attention


class SelfAttention(nn.Module):
    """Bidirectional self-attention; ``dropout`` is that of the attention weights, in 0-1."""

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

    def _projected(self, x: torch.Tensor, first: bool, queries: Queries | None) -> tuple[torch.Tensor, ...]:
        """Queries, keys and values, each [shape=(B, H, T, D/H)]."""
        layers = (self.q_proj, self.k_proj, self.v_proj)
        if x.is_cuda and not first and queries is None:
            parts: Sequence[torch.Tensor] = joint_projection(x, layers)
        elif queries is None:
            parts = [self.q_proj(x[:, :1] if first else x), self.k_proj(x), self.v_proj(x)]  # (B, T, D)
        else:
            parts = [queries.spread(self.q_proj(queries.rows(x))), self.k_proj(x), self.v_proj(x)]
        return tuple(part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)

    def forward(
        self,
        x: torch.Tensor,
        padding_mask: torch.Tensor | None = None,
        segments: Segments | None = None,
        first: bool = False,
        queries: Queries | None = None,
    ) -> torch.Tensor:
        """Attend from every note to every note that is not padding: [shape=(B, T, D)] -> [shape=(B, T, D)].

        ``padding_mask``: True at padding [shape=(B, T), bool], or None if nothing is padded; ``segments``:
        sequences of a stream (B = 1, no padding) that do not see each other; ``first``: only from the first
        note of each piece [shape=(B, 1, D)]; ``queries``: only from some notes [shape=(1, M, D)].
        """
        q, k, v = self._projected(x, first, queries)
        dropout = self.dropout if self.training else 0.0
        if segments is not None:
            counts = None if queries is None else queries.counts
            y = segment_attention(q, k, v, segments, dropout, counts)
        else:
            mask = None if padding_mask is None else ~padding_mask[:, None, None, :]  # (B, 1, 1, T)
            y = dot_product_attention(q, k, v, mask, dropout)  # (B, H, T, D/H)
        y = y.transpose(1, 2).flatten(2)  # (B, T, D)
        return self.out_proj(y if queries is None else queries.gather(y))  # (B, T, D)


def joint_projection(x: torch.Tensor, layers: Sequence[nn.Linear]) -> tuple[torch.Tensor, ...]:
    """Outputs of ``n`` layers from D to W with biases on the same input, by one matrix product.

    Returns views of one tensor, each [shape=(..., W)], with a stride of n * W between rows.
    """
    weight = torch.cat([layer.weight for layer in layers])  # (n*W, D)
    bias = torch.cat([layer.bias for layer in layers])  # (n*W,)
    # unbind, not chunk: its backward pass writes the gradients side by side, once
    return F.linear(x, weight, bias).unflatten(-1, (len(layers), -1)).unbind(-2)


@contextmanager
def without_cudnn() -> Iterator[None]:
    """Do not let ``scaled_dot_product_attention`` choose cuDNN's kernels.

    torch prefers them on recent GPUs, but they are planned anew for each shape, and batches of music rarely
    have the same length. That the planning is what slows such batches down is inferred, not measured
    separately (``benchmarks/pretrain_step_h100_*.md``).
    """
    chosen = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(chosen)


def mixed_precision(model: Any, tokens: torch.Tensor) -> torch.autocast:
    """Compute in bfloat16 if ``model.autocast_bf16``, else in the precision that is set outside."""
    device = tokens.device.type
    outside = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if outside else torch.bfloat16
    return torch.autocast(device, dtype, enabled=outside or model.autocast_bf16)


#: graphs of all blocks together: 3 kinds, 2 modes, 4 forms of the mask, one piece or several, and then some
MAX_GRAPHS = 64


def compile_in_place(layers: Iterable[nn.Module], backend: str, *, dynamic: bool) -> None:
    """Compile modules that share their code, equal up to rounding.

    All blocks count as one function for `torch.compile`, which silently stops compiling a function after
    eight graphs (``recompile_limit``); kinds of blocks, modes and masks need more.
    """
    from torch._dynamo import config as settings  # slow to import, and not needed before

    # cache_size_limit is its older name
    limit = "recompile_limit" if hasattr(settings, "recompile_limit") else "cache_size_limit"
    setattr(settings, limit, max(getattr(settings, limit), MAX_GRAPHS))
    keep_untraced()
    for layer in layers:
        layer.compile(backend=backend, dynamic=dynamic)
