"""The fairseq model ``musicbert`` and its architectures ``musicbert_{tiny,mini,small,medium,base,large}``.

All computing is in :class:`musicbert.model.MusicBert`. What fairseq adds: flags, presets, loading with a
report of the keys, and the refusal to train from scratch when pre-trained weights were asked for but not
found (fairseq only logs it, and looks for ``X_s.pt`` when ``--restore-file X.pt`` meets ``--checkpoint-suffix
_s``).
"""

# No postponed annotations here: fairseq reads the types of a dataclass when it builds its flags.
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Optional

import torch
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from omegaconf import II
from torch import nn

from musicbert.config import PRESETS, ModelConfig
from musicbert.encoding.views import View
from musicbert.errors import CheckpointError
from musicbert.fairseq_plugin.backbones.starting_weights import expected_weights, refuse_without_weights
from musicbert.fairseq_plugin.data.flags import flag
from musicbert.model import MusicBert, SentenceHead
from musicbert.model.backbones.musicbert_columns import column_outputs
from musicbert.objectives.note_fields import OCTUPLE, NoteFields
from musicbert.weights import check_heads, check_view, fit_weights, load_checkpoint, rename

__all__ = ["ARCHITECTURES", "MusicBertConfig", "MusicBertModel"]

logger = logging.getLogger(__name__)

BASE = PRESETS["base"]
POOLINGS = ChoiceEnum(["first", "mean"])


@dataclass
class MusicBertConfig(FairseqDataclass):
    """Flags of the model; the defaults are those of ``musicbert_base``."""

    encoder_layers: int = flag(BASE.layers, "number of blocks")
    encoder_embed_dim: int = flag(BASE.width, "width of the model")
    encoder_ffn_embed_dim: int = flag(BASE.ffn_width, "width of the feed-forward layer")
    encoder_attention_heads: int = flag(BASE.heads, "attention heads")
    dropout: float = flag(BASE.dropout, "dropout of hidden states")
    attention_dropout: float = flag(BASE.attention_dropout, "dropout of attention")
    activation_dropout: float = flag(BASE.activation_dropout, "dropout after GELU")
    pooler_dropout: float = flag(BASE.pooler_dropout, "dropout in sentence heads")
    max_positions: int = flag(BASE.max_positions, "longest input in tokens")
    pooling: POOLINGS = flag(  # type: ignore[valid-type]  # noqa: RUF009
        "first", "sentence heads read the first token (published) or the mean over notes, specials left out"
    )
    performance_features: int = flag(0, "performance inputs of a note (plain weights can be loaded)")
    spectral_norm_classification_head: bool = flag(False, "spectral norm on classification heads")
    spectral_norm_regression_head: bool = flag(False, "spectral norm on regression heads")
    load_checkpoint_heads: bool = flag(False, "register the sentence heads that a checkpoint holds")
    no_compound: bool = flag(False, "no compound embedding: every token is a position (ablation)")
    compile: bool = flag(False, "torch.compile of the blocks: a slow start, then faster")
    autocast_bf16: bool = flag(False, "mixed precision in bfloat16, on a CPU too (--bf16 needs a GPU)")
    init_from: Optional[str] = flag(  # noqa: UP045 - fairseq knows this spelling only
        None, "start from this checkpoint; an error if it is missing or of another architecture or vocabulary"
    )
    restore_file: str = II("checkpoint.restore_file")
    checkpoint_suffix: str = II("checkpoint.checkpoint_suffix")


@register_model("musicbert", dataclass=MusicBertConfig)
class MusicBertModel(MusicBert, BaseFairseqModel):
    """MusicBERT as fairseq sees it; the forward pass is :meth:`musicbert.model.MusicBert.forward`."""

    def __init__(
        self, cfg: Any, vocabulary_size: int, *, columns: NoteFields | None = None, roll_outputs: int = 0
    ) -> None:
        super().__init__(
            ModelConfig(
                layers=cfg.encoder_layers,
                width=cfg.encoder_embed_dim,
                ffn_width=cfg.encoder_ffn_embed_dim,
                heads=cfg.encoder_attention_heads,
                dropout=cfg.dropout,
                attention_dropout=cfg.attention_dropout,
                activation_dropout=cfg.activation_dropout,
                pooler_dropout=cfg.pooler_dropout,
                max_positions=cfg.max_positions,
                vocabulary_size=vocabulary_size,
                fields=1 if _option(cfg, "no_compound") else len(columns or OCTUPLE),
                performance_features=_option(cfg, "performance_features"),
            ),
            pooling=str(_option(cfg, "pooling")),
        )
        self.spectral = {
            "classification": _option(cfg, "spectral_norm_classification_head"),
            "regression": _option(cfg, "spectral_norm_regression_head"),
        }
        self.autocast_bf16 = _option(cfg, "autocast_bf16")
        if _option(cfg, "compile"):
            self.compile_blocks()
        self.load_checkpoint_heads = _option(cfg, "load_checkpoint_heads")
        #: columns of the notes, where the task gives cells (see
        #: `musicbert.model.backbones.musicbert_columns`)
        self.columns = columns
        #: says the piano roll of a note
        self.roll_head = nn.Linear(cfg.encoder_embed_dim, roll_outputs) if roll_outputs else None
        #: checkpoint that has to be loaded before the first step of training, None once one was
        self.weights_expected: str | None = None

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "MusicBertModel":
        """Build the model for the task's dictionary or its columns, with ``--init-from`` if given."""
        columns = getattr(task, "fields", None)
        if isinstance(columns, NoteFields):
            model = cls(cfg, columns.vocabulary_size, columns=columns, roll_outputs=task.roll_outputs)
        else:
            model = cls(cfg, len(task.source_dictionary))
        model.prepare_start(cfg, view=getattr(task, "view", None))
        return model

    def prepare_start(self, cfg: Any, *, view: View | None = None) -> None:
        """Load ``--init-from``, and remember which weights have to come before training starts.

        Weights that were trained on another form of the music than ``view`` are refused (None: taken).
        """
        self.weights_expected = expected_weights(cfg) or self.weights_expected
        init_from = _option(cfg, "init_from")
        if init_from:
            # Models are also built to be evaluated, when this file may be gone: then it is no error.
            self.weights_expected = init_from
            try:
                checkpoint = load_checkpoint(init_from)
            except CheckpointError as error:
                if error.reason != "not-found":
                    raise
                logger.warning("%s", error)
            else:
                check_heads(checkpoint.settings, cfg.encoder_attention_heads, path=init_from)
                if view is not None:
                    check_view(checkpoint, view, path=init_from)
                self.load_weights(checkpoint.weights, path=init_from)

    def load_weights(self, weights: Mapping[str, torch.Tensor], *, path: str | None = None) -> None:
        """Load a checkpoint's tensors and log which were loaded, missing and unexpected."""
        if self.load_checkpoint_heads:
            self._register_heads_of(rename(weights))
        state, report = fit_weights(weights, self.state_dict(), path=path)
        nn.Module.load_state_dict(self, state, strict=True)
        self.weights_expected = None
        logger.info("weights%s: %s", f" of {path}" if path else "", report)

    def _register_heads_of(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, value in weights.items():
            kind, _, rest = name.partition(".")
            if rest.endswith(".out_proj.weight") and kind in ("classification_heads", "regression_heads"):
                head = rest.removesuffix(".out_proj.weight")
                if head not in getattr(self, kind):
                    register = getattr(self, f"register_{kind.removesuffix('s')}")
                    register(head, value.shape[0], value.shape[1])

    def load_state_dict(
        self,
        state_dict: Mapping[str, torch.Tensor],
        strict: bool = True,  # noqa: ARG002 - always strict
        model_cfg: Any = None,  # noqa: ARG002 - fairseq's signature
        args: Any = None,  # noqa: ARG002
    ) -> None:
        """Load a checkpoint that fairseq has read; stricter than fairseq, with clear errors.

        Raises
        ------
        CheckpointError
            If it is of another architecture or vocabulary, or lacks tensors of the encoder.
        """
        try:
            self.load_weights(state_dict)
        except CheckpointError as error:
            logger.error("%s", error)  # fairseq puts a general message of its own on top
            raise

    def register_classification_head(
        self, name: str, num_classes: int, inner_dim: int | None = None, **options: Any
    ) -> SentenceHead:
        """Add a classification head (see :class:`~musicbert.model.MusicBert`)."""
        options.setdefault("spectral", self.spectral["classification"])
        return super().register_classification_head(name, num_classes, inner_dim, **options)

    def register_regression_head(
        self, name: str, num_outputs: int, inner_dim: int | None = None, **options: Any
    ) -> SentenceHead:
        """Add a regression head (see :class:`~musicbert.model.MusicBert`)."""
        options.setdefault("spectral", self.spectral["regression"])
        return super().register_regression_head(name, num_outputs, inner_dim, **options)

    def forward(self, src_tokens: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Run the model; refuse to train when the weights that were asked for never came.

        Cells [shape=(B, T, F)] in place of tokens give the outputs of
        :func:`musicbert.model.backbones.musicbert_columns.column_outputs`.

        Raises
        ------
        CheckpointError
            ``weights-not-loaded``.
        """
        refuse_without_weights(self)
        if src_tokens.dim() == 3:
            padding, notes = kwargs.get("padding_mask"), kwargs.get("note_index")
            columns = self.columns or OCTUPLE
            return column_outputs(self, src_tokens, padding, notes, columns, self.roll_head), {}
        return super().forward(src_tokens, *args, **kwargs)

    def get_normalized_probs(
        self,
        net_output: tuple[Any, Any],
        log_probs: bool,
        sample: Any = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """(Log-)probabilities of the logits, in float32."""
        logits = net_output[0].float()
        return logits.log_softmax(-1) if log_probs else logits.softmax(-1)

    def max_positions(self) -> int:
        """Longest input in tokens (fairseq leaves out what is longer)."""
        return self.config.max_positions


def _option(cfg: Any, name: str) -> Any:
    """Value of a flag, or its default for a checkpoint that is older than the flag."""
    value = getattr(cfg, name, None)
    return MusicBertConfig.__dataclass_fields__[name].default if value is None else value


def _architecture(preset: ModelConfig) -> Any:
    """Function that fills in what the command line leaves open."""
    sizes = {
        "encoder_layers": preset.layers,
        "encoder_embed_dim": preset.width,
        "encoder_ffn_embed_dim": preset.ffn_width,
        "encoder_attention_heads": preset.heads,
    }

    def fill(args: Any) -> None:
        for entry in fields(MusicBertConfig):
            if not entry.name.startswith("_") and getattr(args, entry.name, None) is None:
                setattr(args, entry.name, sizes.get(entry.name, entry.default))

    return fill


#: names for ``--arch``; ``musicbert`` alone is ``musicbert_base``
ARCHITECTURES = {f"musicbert_{name}": preset for name, preset in PRESETS.items()}
for _name, _preset in ARCHITECTURES.items():
    register_model_architecture("musicbert", _name)(_architecture(_preset))
