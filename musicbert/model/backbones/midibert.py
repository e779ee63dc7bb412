"""MidiBERT (Chou et al. 2021): compound embedding of a note and BERT blocks with relative positions.

Legend: ``B`` pieces, ``T`` notes, ``F`` columns of a note, ``D`` width, ``H`` heads, ``d`` width of a head,
``L`` blocks.

Notes are embedded as in M2BERT (:func:`~musicbert.model.backbones.m2bert.embed_columns`). Blocks are BERT's
(post-norm, biases, exact GELU). No position is added to the notes; instead, each distance has an embedding
``e`` in every block that is compared with queries and keys (``relative_key_query``; Huang et al. 2020, method
4)::

    score(l, r) = (q_l . k_r + q_l . e[l - r] + k_r . e[l - r]) / sqrt(d)

The products with all 2 T - 1 distances are computed once, in (B, H, T, 2 T - 1), without a (T, T, d) table of
distances. transformers dropped this form of attention in version 5.

State-dict names are the published ones: ``bert.*``, ``word_emb.*``, ``in_linear.*``. The checkpoints' token
and position embeddings and pooler are never used and left out.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from musicbert.config import MidiBertConfig
from musicbert.model.backbones.m2bert import ColumnTable, cells_of_notes, embed_columns
from musicbert.model.blocks.attention import mixed_precision

NORM_EPS = 1e-12
#: standard deviation of new weights
INIT_STD = 0.02


def _norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=NORM_EPS)


class SelfAttention(nn.Module):
    """Attention by content and distance."""

    def __init__(self, config: MidiBertConfig) -> None:
        super().__init__()
        if config.width % config.heads:
            raise ValueError(f"width {config.width} is not a multiple of {config.heads} heads")
        self.heads, self.dropout = config.heads, config.attention_dropout
        self.query, self.key, self.value = (nn.Linear(config.width, config.width) for _ in range(3))
        self.distance_embedding = nn.Embedding(2 * config.max_positions - 1, config.width // config.heads)

    def forward(self, x: torch.Tensor, padding_mask: torch.Tensor | None) -> torch.Tensor:
        """Attend: [shape=(B, T, D)] -> [shape=(B, T, D)]."""
        q, k, v = (
            linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )  # (B, H, T, d)
        bias = self._distances(q, k)  # (B, H, T, T)
        if padding_mask is not None:
            bias = bias.masked_fill(padding_mask[:, None, None], torch.finfo(bias.dtype).min)
        dropout = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)  # (B, H, T, d)
        return y.transpose(1, 2).flatten(2)  # (B, T, D)

    def _distances(self, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """Scaled scores from distances [shape=(B, H, T, T)]."""
        T, d = q.shape[2:]
        middle = self.distance_embedding.num_embeddings // 2
        e = self.distance_embedding.weight[middle - T + 1 : middle + T].to(q.dtype)  # (2 T - 1, d)
        place = torch.arange(T, device=q.device)
        index = (place[:, None] - place + T - 1).expand(*q.shape[:2], T, T)  # row of l - r
        by_query = (q @ e.t()).gather(-1, index)  # (B, H, T queries, T keys)
        # of key r and query l the distance is still l - r: rows are keys here
        by_key = (k @ e.t()).gather(-1, index.transpose(-1, -2)).transpose(-1, -2)
        return (by_query + by_key) * d**-0.5


class Added(nn.Module):
    """Projection, residual connection and LayerNorm, after attention and after the feed-forward layer."""

    def __init__(self, inner: int, config: MidiBertConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.dense = nn.Linear(inner, config.width)
        self.LayerNorm = _norm(config.width)

    def forward(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Project y [shape=(B, T, inner)] and add x [shape=(B, T, D)]."""
        return self.LayerNorm(x + F.dropout(self.dense(y), self.dropout, self.training))  # (B, T, D)


class Block(nn.Module):
    """One layer."""

    def __init__(self, config: MidiBertConfig) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": SelfAttention(config), "output": Added(config.width, config)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.width, config.ffn_width)})
        self.output = Added(config.ffn_width, config)

    def forward(self, x: torch.Tensor, padding_mask: torch.Tensor | None) -> torch.Tensor:
        """Transform: [shape=(B, T, D)] -> [shape=(B, T, D)]."""
        x = self.attention["output"](self.attention["self"](x, padding_mask), x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class Embeddings(nn.Module):
    """Before the blocks: the vector of the first segment is added, then a LayerNorm."""

    def __init__(self, config: MidiBertConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.token_type_embeddings = nn.Embedding(2, config.width)
        self.LayerNorm = _norm(config.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform: [shape=(B, T, D)] -> [shape=(B, T, D)]."""
        return F.dropout(
            self.LayerNorm(x + self.token_type_embeddings.weight[0]), self.dropout, self.training
        )


class Bert(nn.Module):
    """Blocks over embedded notes."""

    def __init__(self, config: MidiBertConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Block(config) for _ in range(config.layers))})

    def forward(
        self, x: torch.Tensor, padding_mask: torch.Tensor | None, depth: int | None = None
    ) -> list[torch.Tensor]:
        """Input of the first block and output of each, L + 1 times [shape=(B, T, D)].

        ``depth``: run only so many blocks (None: all).
        """
        states = [self.embeddings(x)]
        for layer in list(self.encoder["layer"])[:depth]:
            states.append(layer(states[-1], padding_mask))
        return states


class MidiBert(nn.Module):
    """The backbone; the checkpoints have no heads."""

    def __init__(self, config: MidiBertConfig) -> None:
        super().__init__()
        self.config = config
        #: multiply in bfloat16, keep float32 weights
        self.autocast_bf16 = False
        self.bert = Bert(config)
        self.word_emb = nn.ModuleList(
            ColumnTable(size, config.embedding_width) for size in config.field_sizes
        )
        self.in_linear = nn.Linear(len(config.field_sizes) * config.embedding_width, config.width)
        for module in self.bert.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, 0.0, INIT_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(
        self,
        src_tokens: torch.Tensor,
        padding_mask: torch.Tensor | None = None,
        return_all_hiddens: bool = False,
        depth: int | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Run the model; arguments and results are those of :class:`musicbert.model.backbones.m2bert.M2Bert`.

        Raises `ValueError` (not a whole number of notes, or more notes than there are distances).
        """
        cells, padding_mask = cells_of_notes(src_tokens, padding_mask, self.config.field_pads)
        if cells.shape[1] > self.config.max_positions:
            raise ValueError(f"{cells.shape[1]} notes for a model of at most {self.config.max_positions}")
        with mixed_precision(self, cells):
            x = embed_columns(cells, self.word_emb, self.in_linear, by_table=self.training)  # (B, T, D)
            states = self.bert(x, padding_mask, depth)
        extra = {
            "hidden": states[-1],
            "padding_mask": padding_mask,
            "inner_states": states if return_all_hiddens else None,
        }
        return states[-1], extra
