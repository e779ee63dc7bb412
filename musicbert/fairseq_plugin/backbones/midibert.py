"""The fairseq model ``midibert``: the older MidiBERT's backbone, to be fine-tuned from its checkpoints.

It has no heads of its own and reads compound words, at most ``--max-distance`` notes at a time.
"""

from dataclasses import dataclass
from typing import Any

from fairseq.models import BaseFairseqModel, register_model

from musicbert.config import MidiBertConfig
from musicbert.errors import ConfigError
from musicbert.fairseq_plugin.backbones.adapter import Backbone, BackboneFlags, register_presets
from musicbert.fairseq_plugin.data.task import flag
from musicbert.model.backbones.midibert import MidiBert
from musicbert.objectives.note_fields import CP, note_fields
from musicbert.weights.families.midibert import MIDIBERT

BASE = MidiBertConfig()


@dataclass
class MidiBertFlags(BackboneFlags):
    """Flags of the model; the defaults are those of the published one."""

    encoder_layers: int = flag(BASE.layers, "number of blocks")
    encoder_embed_dim: int = flag(BASE.width, "width of the model")
    encoder_ffn_embed_dim: int = flag(BASE.ffn_width, "inner width of the feed-forward layer")
    encoder_attention_heads: int = flag(BASE.heads, "attention heads")
    field_embed_dim: int = flag(BASE.embedding_width, "width of the embedding of one column")
    dropout: float = flag(BASE.dropout, "dropout")
    attention_dropout: float = flag(BASE.attention_dropout, "dropout of attention")
    max_distance: int = flag(BASE.max_positions, "distances that have embeddings: longest input in notes")
    max_positions: int = flag(BASE.max_positions, "longest input in notes")


@register_model("midibert", dataclass=MidiBertFlags)
class MidiBertModel(Backbone, MidiBert, BaseFairseqModel):
    """MidiBERT as fairseq sees it."""

    family, flags = MIDIBERT, MidiBertFlags

    def __init__(self, cfg: Any) -> None:
        super().__init__(self.config_of(cfg))
        self.longest = min(int(cfg.max_positions), self.config.max_positions)
        self.set_speed(cfg)

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "MidiBertModel":
        """Build the model, with ``--init-from`` if given.

        Raises `ConfigError` (``bad-options``: a task of pre-training, or notes that are not compound words).
        """
        data = getattr(task, "data", None)
        if data is None:
            message = "MidiBERT has no heads to pre-train: it is fine-tuned from its checkpoints"
            hint = "take --arch m2bert_base; --objective mask --mask-strategy midibert is its objective"
            raise ConfigError("bad-options", message, hint=hint)
        if note_fields(data.codec) is not CP:
            hint = "write the data with the codec cp"
            raise ConfigError("bad-options", f"MidiBERT reads compound words, not {data.codec}", hint=hint)
        model = cls(cfg)
        model.prepare_start(cfg)
        return model


register_presets(MidiBertModel)
