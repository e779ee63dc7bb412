"""The fairseq model ``midibert``: the older MidiBERT's backbone, to be fine-tuned from its checkpoints.

All computing is in :class:`musicbert.model.backbones.midibert.MidiBert`. It has no heads of its own: the
tagging tasks put theirs on it. It reads compound words, at most ``--max-distance`` notes at a time.
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

from musicbert.config import MidiBertConfig
from musicbert.errors import CheckpointError, ConfigError
from musicbert.fairseq_plugin.backbones.starting_weights import refuse_without_weights, start_from
from musicbert.fairseq_plugin.data.flags import flag
from musicbert.model.backbones.midibert import MidiBert
from musicbert.objectives.note_fields import CP, note_fields
from musicbert.weights.m2bert.midibert import fit_midibert

__all__ = ["MidiBertFlags", "MidiBertModel"]

logger = logging.getLogger(__name__)

BASE = MidiBertConfig()


@dataclass
class MidiBertFlags(FairseqDataclass):
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
    autocast_bf16: bool = flag(False, "mixed precision in bfloat16, on a CPU too (--bf16 needs a GPU)")
    init_from: Optional[str] = flag(  # noqa: UP045 - fairseq knows this spelling only
        None, "start from this checkpoint; an error if it is missing or of another architecture"
    )
    restore_file: str = II("checkpoint.restore_file")
    checkpoint_suffix: str = II("checkpoint.checkpoint_suffix")


@register_model("midibert", dataclass=MidiBertFlags)
class MidiBertModel(MidiBert, BaseFairseqModel):
    """MidiBERT as fairseq sees it."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(
            MidiBertConfig(
                layers=cfg.encoder_layers,
                width=cfg.encoder_embed_dim,
                ffn_width=cfg.encoder_ffn_embed_dim,
                heads=cfg.encoder_attention_heads,
                embedding_width=cfg.field_embed_dim,
                max_positions=cfg.max_distance,
                dropout=cfg.dropout,
                attention_dropout=cfg.attention_dropout,
            )
        )
        self.longest = min(int(cfg.max_positions), self.config.max_positions)
        self.autocast_bf16 = bool(cfg.autocast_bf16)
        #: checkpoint that has to be loaded before the first step of training, None once one was
        self.weights_expected: str | None = None

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "MidiBertModel":
        """Build the model, with ``--init-from`` if given.

        Raises
        ------
        ConfigError
            ``bad-options``: the task is one of pre-training, or its notes are no compound words.
        """
        shards = getattr(task, "shards", None)
        if shards is None:
            raise ConfigError(
                "bad-options",
                "MidiBERT has no heads to pre-train: it is fine-tuned from its checkpoints",
                hint="take --arch m2bert_base; --objective mask --mask-strategy midibert is its objective",
            )
        if note_fields(shards.codec) is not CP:
            hint = "write the data with the codec cp"
            raise ConfigError("bad-options", f"MidiBERT reads compound words, not {shards.codec}", hint=hint)
        model = cls(cfg)
        start_from(model, cfg)
        return model

    def load_weights(self, weights: Mapping[str, torch.Tensor], *, path: str | None = None) -> None:
        """Load a checkpoint's tensors.

        Raises
        ------
        CheckpointError
            As :func:`musicbert.weights.m2bert.midibert.fit_midibert`.
        """
        state, report = fit_midibert(weights, self, path=path)
        nn.Module.load_state_dict(self, state, strict=True)
        self.weights_expected = None
        logger.info("weights%s: %s", f" of {path}" if path else "", report)

    def load_state_dict(
        self,
        state_dict: Mapping[str, torch.Tensor],
        strict: bool = True,  # noqa: ARG002 - always strict
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
        """Longest input in notes."""
        return self.longest


@register_model_architecture("midibert", "midibert_base")
def _base(args: Any) -> None:
    """Fill in what the command line leaves open."""
    for entry in fields(MidiBertFlags):
        if not entry.name.startswith("_") and getattr(args, entry.name, None) is None:
            setattr(args, entry.name, entry.default)
