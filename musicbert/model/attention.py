"""Multi-head self-attention with the parameters of MusicBERT's checkpoints.

Legend: ``B`` pieces, ``T`` notes, ``D`` width, ``H`` heads.

Separate ``q_proj``, ``k_proj``, ``v_proj`` and ``out_proj`` with biases, scores scaled by ``(D / H) ** -0.5``
(Vaswani et al. 2017). The work is done by ``scaled_dot_product_attention``, which picks the fastest kernel:
with ``padding_mask=None`` no mask exists at all, otherwise one row of booleans per piece is broadcast.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from musicbert.model.segments import Segments, segment_attention

__all__ = ["SelfAttention"]


class SelfAttention(nn.Module):
    """Bidirectional self-attention.

    Parameters
    ----------
    width, heads
        Model width ``D`` and number of heads ``H``; ``D`` is a multiple of ``H``.
    dropout
        Dropout of the attention weights, in 0-1.
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

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, T, D/H)

    def forward(
        self, x: torch.Tensor, padding_mask: torch.Tensor | None = None, segments: Segments | None = None
    ) -> torch.Tensor:
        """Attend from every note to every note that is no padding.

        Parameters
        ----------
        x
            Hidden states [shape=(B, T, D)].
        padding_mask
            True at padding [shape=(B, T), bool], or None if nothing is padded.
        segments
            Sequences of a stream (B = 1, no padding) that do not see each other.

        Returns
        -------
        torch.Tensor
            [shape=(B, T, D)]
        """
        q, k, v = (self._split(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        dropout = self.dropout if self.training else 0.0
        if segments is not None:
            return self.out_proj(segment_attention(q, k, v, segments, dropout).transpose(1, 2).flatten(2))
        attend = None if padding_mask is None else ~padding_mask[:, None, None, :]  # (B, 1, 1, T)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=attend, dropout_p=dropout)  # (B, H, T, D/H)
        return self.out_proj(x.transpose(1, 2).flatten(2))  # (B, T, D)
