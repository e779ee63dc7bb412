"""Model configurations: one frozen dataclass, one table of presets.

The sizes are those of MusicBERT (Zeng et al. 2021, Table 4) and of the smaller architectures of its code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["PRESETS", "ModelConfig"]


@dataclass(frozen=True)
class ModelConfig:
    """Shape and regularisation of a MusicBERT encoder.

    Attributes
    ----------
    layers, width, ffn_width, heads
        Number of blocks, model width ``D``, width of the feed-forward layer, attention heads.
    dropout, attention_dropout, activation_dropout, pooler_dropout
        Dropout probabilities in 0-1.
    max_positions
        Longest input in tokens. The table of positions has ``max_positions + 2`` rows (fairseq's offset).
    vocabulary_size
        1,232 data tokens, 4 specials and ``<mask>``.
    fields
        Tokens of one note; 1 switches the compound embedding off.
    performance_features
        Continuous performance inputs of one note (pedal, timing); 0 is the published model.
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

    def with_(self, **changes: object) -> ModelConfig:
        """Return a copy with some attributes changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


#: name -> configuration; names are those of ``--arch musicbert_<name>``.
PRESETS: dict[str, ModelConfig] = {
    "tiny": ModelConfig(layers=2, width=128, ffn_width=512, heads=2),
    "mini": ModelConfig(layers=4, width=256, ffn_width=1024, heads=4),
    "small": ModelConfig(layers=4, width=512, ffn_width=2048, heads=8),
    "medium": ModelConfig(layers=8, width=512, ffn_width=2048, heads=8),
    "base": ModelConfig(layers=12, width=768, ffn_width=3072, heads=12),
    "large": ModelConfig(layers=24, width=1024, ffn_width=4096, heads=16),
}
