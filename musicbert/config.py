"""Model configurations: one frozen dataclass, one table of presets.

The sizes are those of MusicBERT (Zeng et al. 2021, Table 4) and of the smaller architectures of its code,
that of M2BERT with smaller ones of the same proportions, and that of MidiBERT.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


class _Config:
    def with_(self, **changes: object) -> Self:
        """Return a copy with some attributes changed."""
        return replace(self, **changes)  # type: ignore[type-var]


@dataclass(frozen=True)
class ModelConfig(_Config):
    """Shape and regularisation of a MusicBERT encoder.

    Attributes
    ----------
    layers, width, ffn_width, heads
        Number of blocks, model width ``D``, width of the feed-forward layer, attention heads.
    max_positions
        Longest input in tokens. The table of positions has ``max_positions + 2`` rows (fairseq's offset).
    vocabulary_size
        1,232 data tokens, 4 specials and ``<mask>``.
    fields
        Tokens of one note; 1 switches the compound embedding off.
    performance_features
        Continuous performance inputs of one note (pedal, timing); 0 is the published model.
    norm_eps
        Added to the variance in LayerNorm. BERT of Hugging Face has 1e-12.
    """

    layers: int = 12
    width: int = 768
    ffn_width: int = 3072
    heads: int = 12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    pooler_dropout: float = 0.0
    max_positions: int = 8192
    vocabulary_size: int = 1237
    fields: int = 8
    performance_features: int = 0
    norm_eps: float = 1e-5


#: name -> configuration; names are those of ``--arch musicbert_<name>``.
PRESETS: dict[str, ModelConfig] = {
    "tiny": ModelConfig(layers=2, width=128, ffn_width=512, heads=2),
    "mini": ModelConfig(layers=4, width=256, ffn_width=1024, heads=4),
    "small": ModelConfig(layers=4, width=512, ffn_width=2048, heads=8),
    "medium": ModelConfig(layers=8, width=512, ffn_width=2048, heads=8),
    "base": ModelConfig(layers=12, width=768, ffn_width=3072, heads=12),
    "large": ModelConfig(layers=24, width=1024, ffn_width=4096, heads=16),
}


@dataclass(frozen=True)
class M2BertConfig(_Config):
    """Shape and regularisation of M2BERT: compound embedding, ModernBERT blocks, one head a column.

    Attributes
    ----------
    layers, width, ffn_width, heads
        Number of blocks, width ``D``, inner width of the gated feed-forward layer, attention heads.
    embedding_width
        Width of the embedding of one column.
    field_sizes
        Ids of each column of a note, PAD and MASK included (compound words).
    field_pads
        Id of PAD in each column.
    roll_outputs
        Outputs of the piano-roll head: 1,666, 1,462 without chroma, 0 without the head.
    global_every
        Every n-th layer, from the first on, attends to all notes; the others to ``window`` notes on each
        side.
    window
        Reach of local layers, in notes.
    global_theta, local_theta
        Bases of the rotary positions.
    final_norm
        Use the last LayerNorm. The published model reads the states before it, so it was never trained.
    """

    layers: int = 12
    width: int = 768
    ffn_width: int = 1152
    heads: int = 12
    embedding_width: int = 256
    field_sizes: tuple[int, ...] = (4, 18, 88, 66)
    field_pads: tuple[int, ...] = (2, 16, 86, 64)
    roll_outputs: int = 1666
    attention_dropout: float = 0.1
    mlp_dropout: float = 0.1
    global_every: int = 3
    window: int = 64
    global_theta: float = 160000.0
    local_theta: float = 10000.0
    final_norm: bool = False


#: name -> configuration; names are those of ``--arch m2bert_<name>``. ``base`` is published.
M2BERT_PRESETS: dict[str, M2BertConfig] = {
    "tiny": M2BertConfig(layers=4, width=128, ffn_width=192, heads=2, embedding_width=64),
    "mini": M2BertConfig(layers=8, width=256, ffn_width=384, heads=4, embedding_width=128),
    "small": M2BertConfig(layers=8, width=512, ffn_width=768, heads=8, embedding_width=256),
    "base": M2BertConfig(),
}


@dataclass(frozen=True)
class MidiBertConfig(_Config):
    """Shape and regularisation of the older MidiBERT: compound embedding, BERT with relative positions.

    The attributes are those of `M2BertConfig`. ``max_positions`` is the longest input in notes: distances of
    1 - max_positions to max_positions - 1 have embeddings.
    """

    layers: int = 12
    width: int = 768
    ffn_width: int = 3072
    heads: int = 12
    embedding_width: int = 256
    field_sizes: tuple[int, ...] = (4, 18, 88, 66)
    field_pads: tuple[int, ...] = (2, 16, 86, 64)
    max_positions: int = 512
    dropout: float = 0.1
    attention_dropout: float = 0.1
