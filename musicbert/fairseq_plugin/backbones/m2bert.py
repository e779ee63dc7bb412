"""The fairseq model ``m2bert`` and its architectures ``m2bert_{tiny,mini,small,base}``.

The columns of a note and the outputs of the piano-roll head come from the task, sizes from flags.
"""

from dataclasses import dataclass
from typing import Any

from fairseq.models import BaseFairseqModel, register_model

from musicbert.config import M2BERT_PRESETS
from musicbert.fairseq_plugin.backbones.adapter import Backbone, BackboneFlags, register_presets
from musicbert.fairseq_plugin.data.task import flag
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.objectives.note_fields import CP, NoteFields, note_fields
from musicbert.weights.families.m2bert import HEADS, M2BERT

BASE = M2BERT_PRESETS["base"]


@dataclass
class M2BertFlags(BackboneFlags):
    """Flags of the model; the defaults are those of ``m2bert_base``, the published one."""

    encoder_layers: int = flag(BASE.layers, "number of blocks")
    encoder_embed_dim: int = flag(BASE.width, "width of the model")
    encoder_ffn_embed_dim: int = flag(BASE.ffn_width, "inner width of the gated feed-forward layer")
    encoder_attention_heads: int = flag(BASE.heads, "attention heads")
    field_embed_dim: int = flag(BASE.embedding_width, "width of the embedding of one column")
    attention_dropout: float = flag(BASE.attention_dropout, "dropout of attention and after it")
    dropout: float = flag(BASE.mlp_dropout, "dropout in the feed-forward layer")
    global_every: int = flag(BASE.global_every, "every so many layers attend to everything")
    local_window: int = flag(BASE.window, "notes to each side that the other layers see")
    final_norm: bool = flag(False, "use the last LayerNorm (the published model reads what is before it)")
    max_positions: int = flag(8192, "longest input in notes")
    compile: bool = flag(False, "torch.compile of the blocks: a slow start, then faster")
    half_sums: bool = flag(
        False, "in mixed precision, keep the sums over the blocks in half precision too: faster on a GPU"
    )


def _columns(task: Any) -> NoteFields:
    """Columns of the notes of a task, or of the codec of its labelled set."""
    fields = getattr(task, "fields", None)
    if isinstance(fields, NoteFields):
        return fields
    codec = getattr(getattr(task, "data", None), "codec", None)
    return CP if codec is None else note_fields(codec)


@register_model("m2bert", dataclass=M2BertFlags)
class M2BertModel(Backbone, M2Bert, BaseFairseqModel):
    """M2BERT as fairseq sees it."""

    family, flags, warn_of = M2BERT, M2BertFlags, (HEADS,)

    def __init__(self, cfg: Any, columns: NoteFields, roll_outputs: int) -> None:
        super().__init__(
            self.config_of(cfg, field_sizes=columns.sizes, field_pads=columns.pads, roll_outputs=roll_outputs)
        )
        self.longest = int(cfg.max_positions)
        self.encoder.note_bert1.half_sums = bool(self.option(cfg, "half_sums"))
        self.set_speed(cfg)

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "M2BertModel":
        """Build the model for the task's notes, with ``--init-from`` if given."""
        model = cls(cfg, _columns(task), int(getattr(task, "roll_outputs", 0)))
        model.prepare_start(cfg)
        return model


#: names for ``--arch``; ``m2bert`` alone is ``m2bert_base``
M2BERT_ARCHITECTURES = register_presets(M2BertModel)
