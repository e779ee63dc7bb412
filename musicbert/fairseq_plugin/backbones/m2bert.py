"""The fairseq model ``m2bert`` and its architectures ``m2bert_{tiny,mini,small,base}``.

All computing is in :class:`musicbert.model.backbones.m2bert.M2Bert`. The columns of a note and the
piano-roll head come
from the task (``fields``, ``roll_outputs``; or the codec of its shards), sizes from the command line.
"""

# No postponed annotations here: fairseq reads the types of a dataclass when it builds its flags.
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Optional

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from omegaconf import II
from torch import nn

from musicbert.config import M2BERT_PRESETS, M2BertConfig
from musicbert.errors import CheckpointError
from musicbert.fairseq_plugin.backbones.starting_weights import refuse_without_weights, start_from
from musicbert.fairseq_plugin.data.flags import flag
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.objectives.note_fields import CP, NoteFields, note_fields
from musicbert.weights.m2bert.mapping import HEADS, fit_m2bert

__all__ = ["M2BERT_ARCHITECTURES", "M2BertFlags", "M2BertModel"]

logger = logging.getLogger(__name__)

BASE = M2BERT_PRESETS["base"]


@dataclass
class M2BertFlags(FairseqDataclass):
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
    autocast_bf16: bool = flag(False, "mixed precision in bfloat16, on a CPU too (--bf16 needs a GPU)")
    compile: bool = flag(False, "torch.compile of the blocks: a slow start, then faster")
    half_sums: bool = flag(
        False, "in mixed precision, keep the sums over the blocks in half precision too: faster on a GPU"
    )
    init_from: Optional[str] = flag(  # noqa: UP045 - fairseq knows this spelling only
        None, "start from this checkpoint; an error if it is missing or of another architecture or encoding"
    )
    restore_file: str = II("checkpoint.restore_file")
    checkpoint_suffix: str = II("checkpoint.checkpoint_suffix")


def _columns(task: Any) -> NoteFields:
    """Columns of the notes of a task: its own, or those of the codec of its shards."""
    found = getattr(task, "fields", None)
    if isinstance(found, NoteFields):
        return found
    codec = getattr(getattr(task, "shards", None), "codec", None)
    return CP if codec is None else note_fields(codec)


@register_model("m2bert", dataclass=M2BertFlags)
class M2BertModel(M2Bert, BaseFairseqModel):
    """M2BERT as fairseq sees it; the forward pass is that of its base class."""

    def __init__(self, cfg: Any, columns: NoteFields, roll_outputs: int) -> None:
        super().__init__(
            M2BertConfig(
                layers=cfg.encoder_layers,
                width=cfg.encoder_embed_dim,
                ffn_width=cfg.encoder_ffn_embed_dim,
                heads=cfg.encoder_attention_heads,
                embedding_width=cfg.field_embed_dim,
                field_sizes=columns.sizes,
                field_pads=columns.pads,
                roll_outputs=roll_outputs,
                attention_dropout=cfg.attention_dropout,
                mlp_dropout=cfg.dropout,
                global_every=cfg.global_every,
                window=cfg.local_window,
                final_norm=cfg.final_norm,
            )
        )
        self.longest = int(cfg.max_positions)
        self.autocast_bf16 = bool(cfg.autocast_bf16)
        self.encoder.note_bert1.half_sums = bool(getattr(cfg, "half_sums", False))
        if getattr(cfg, "compile", False):  # not in checkpoints of before
            self.compile_blocks()
        #: checkpoint that has to be loaded before the first step of training, None once one was
        self.weights_expected: str | None = None

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "M2BertModel":
        """Build the model for the task's notes, with ``--init-from`` if given."""
        model = cls(cfg, _columns(task), int(getattr(task, "roll_outputs", 0)))
        start_from(model, cfg)
        return model

    def load_weights(self, weights: Mapping[str, torch.Tensor], *, path: str | None = None) -> None:
        """Load a checkpoint's tensors; what was loaded, missing and unexpected is logged.

        Raises
        ------
        CheckpointError
            As :func:`musicbert.weights.m2bert.mapping.fit_m2bert`.
        """
        state, report = fit_m2bert(weights, self, path=path)
        nn.Module.load_state_dict(self, state, strict=True)
        self.weights_expected = None
        new = [name for name in (*report.missing, *report.resized) if name.startswith(HEADS)]
        log = logger.warning if new or report.unexpected else logger.info
        log("weights%s: %s", f" of {path}" if path else "", report)

    def load_state_dict(
        self,
        state_dict: Mapping[str, torch.Tensor],
        strict: bool = True,  # noqa: ARG002 - always strict about the backbone
        model_cfg: Any = None,  # noqa: ARG002 - fairseq's signature
        args: Any = None,  # noqa: ARG002
    ) -> None:
        """Load a checkpoint that fairseq has read (see `load_weights`)."""
        try:
            self.load_weights(state_dict)
        except CheckpointError as error:
            logger.error("%s", error)  # fairseq puts a general message of its own on top
            raise

    def forward(self, src_tokens: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Run the model; refuse to train when the weights that were asked for never came.

        Raises
        ------
        CheckpointError
            ``weights-not-loaded``.
        """
        refuse_without_weights(self)
        return super().forward(src_tokens, *args, **kwargs)

    def max_positions(self) -> int:
        """Longest input in notes (fairseq leaves out what is longer)."""
        return self.longest


def _architecture(preset: M2BertConfig) -> Any:
    """Function that fills in what the command line leaves open."""
    sizes = {
        "encoder_layers": preset.layers,
        "encoder_embed_dim": preset.width,
        "encoder_ffn_embed_dim": preset.ffn_width,
        "encoder_attention_heads": preset.heads,
        "field_embed_dim": preset.embedding_width,
    }

    def fill(args: Any) -> None:
        for entry in fields(M2BertFlags):
            if not entry.name.startswith("_") and getattr(args, entry.name, None) is None:
                setattr(args, entry.name, sizes.get(entry.name, entry.default))

    return fill


#: names for ``--arch``; ``m2bert`` alone is ``m2bert_base``
M2BERT_ARCHITECTURES = {f"m2bert_{name}": preset for name, preset in M2BERT_PRESETS.items()}
for _name, _preset in M2BERT_ARCHITECTURES.items():
    register_model_architecture("m2bert", _name)(_architecture(_preset))
