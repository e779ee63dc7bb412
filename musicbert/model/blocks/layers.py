"""One block of the encoder: attention and a feed-forward layer, each with residual and LayerNorm behind it.

Legend: ``B`` pieces, ``T`` notes, ``D`` width.

Post-norm as in BERT and in the published MusicBERT: ``x = LN(x + drop(attention(x)))``,
``x = LN(x + drop(fc2(drop(gelu(fc1(x))))))`` with the exact (erf) GELU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from musicbert.config import ModelConfig
from musicbert.model.blocks.attention import SelfAttention
from musicbert.model.blocks.segments import Segments

__all__ = ["EncoderLayer"]


class EncoderLayer(nn.Module):
    """Post-norm transformer block; parameter names are those of the published checkpoints."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.activation_dropout = config.activation_dropout
        self.self_attn = SelfAttention(config.width, config.heads, config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.ffn_width)
        self.fc2 = nn.Linear(config.ffn_width, config.width)
        self.final_layer_norm = nn.LayerNorm(config.width)

    def forward(
        self, x: torch.Tensor, padding_mask: torch.Tensor | None = None, segments: Segments | None = None
    ) -> torch.Tensor:
        """Transform hidden states [shape=(B, T, D)]; ``padding_mask`` [shape=(B, T)] is True at padding."""
        y = self.self_attn(x, padding_mask, segments)  # (B, T, D)
        x = self.self_attn_layer_norm(x + F.dropout(y, self.dropout, self.training))
        y = F.gelu(self.fc1(x))  # (B, T, ffn_width)
        y = self.fc2(F.dropout(y, self.activation_dropout, self.training))  # (B, T, D)
        return self.final_layer_norm(x + F.dropout(y, self.dropout, self.training))
