"""The fairseq model ``musicbert`` and its architectures ``musicbert_{tiny,mini,small,medium,base,large}``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.dataclass import ChoiceEnum
from fairseq.models import BaseFairseqModel, register_model
from torch import nn

from musicbert.config import PRESETS
from musicbert.errors import CheckpointError, ConfigError
from musicbert.fairseq_plugin.backbones.adapter import Backbone, BackboneFlags, register_presets
from musicbert.fairseq_plugin.data.task import flag
from musicbert.model import MusicBert
from musicbert.model.backbones.musicbert import INIT_STD
from musicbert.model.backbones.musicbert_columns import column_outputs
from musicbert.objectives.note_fields import OCTUPLE, NoteFields
from musicbert.weights import rename
from musicbert.weights.families.musicbert import MUSICBERT, OPTIONAL

BASE = PRESETS["base"]
POOLINGS = ChoiceEnum(["first", "mean", "mean+sd"])


@dataclass
class MusicBertConfig(BackboneFlags):
    """Flags of the model; the defaults are those of ``musicbert_base``."""

    encoder_layers: int = flag(BASE.layers, "number of blocks")
    encoder_embed_dim: int = flag(BASE.width, "width of the model")
    encoder_ffn_embed_dim: int = flag(BASE.ffn_width, "width of the feed-forward layer")
    encoder_attention_heads: int = flag(BASE.heads, "attention heads")
    dropout: float = flag(BASE.dropout, "dropout of hidden states")
    attention_dropout: float = flag(BASE.attention_dropout, "dropout of attention")
    activation_dropout: float = flag(BASE.activation_dropout, "dropout after GELU")
    pooler_dropout: float = flag(BASE.pooler_dropout, "dropout in sentence heads")
    layer_norm_eps: float = flag(BASE.norm_eps, "added to the variance in LayerNorm")
    max_positions: int = flag(BASE.max_positions, "longest input in tokens")
    pooling: POOLINGS = flag(  # type: ignore[valid-type]  # noqa: RUF009
        "first",
        "sentence heads read the first token (published), the mean over notes, specials left out, or "
        "(mean+sd) this and the standard deviation",
    )
    performance_features: int = flag(0, "performance inputs of a note (plain weights can be loaded)")
    spectral_norm_classification_head: bool = flag(False, "spectral norm on classification heads")
    spectral_norm_regression_head: bool = flag(False, "spectral norm on regression heads")
    load_checkpoint_heads: bool = flag(False, "register the sentence heads that a checkpoint holds")
    no_compound: bool = flag(False, "no compound embedding: every token is a position (ablation)")
    compile: bool = flag(False, "torch.compile of the blocks: a slow start, then faster")


@register_model("musicbert", dataclass=MusicBertConfig)
class MusicBertModel(Backbone, MusicBert, BaseFairseqModel):
    """MusicBERT as fairseq sees it; the forward pass is :meth:`musicbert.model.MusicBert.forward`."""

    family, flags = MUSICBERT, MusicBertConfig

    def __init__(
        self, cfg: Any, vocabulary_size: int, *, columns: NoteFields | None = None, roll_outputs: int = 0
    ) -> None:
        fields = 1 if self.option(cfg, "no_compound") else len(columns or OCTUPLE)
        super().__init__(
            self.config_of(cfg, vocabulary_size=vocabulary_size, fields=fields),
            pooling=str(self.option(cfg, "pooling")),
        )
        self.longest = self.config.max_positions
        self.spectral = {
            kind: self.option(cfg, f"spectral_norm_{kind}_head") for kind in ("classification", "regression")
        }
        self.set_speed(cfg)
        self.load_checkpoint_heads = self.option(cfg, "load_checkpoint_heads")
        #: columns of the notes, where the task gives cells (see
        #: `musicbert.model.backbones.musicbert_columns`)
        self.columns = columns
        #: predicts the piano roll of a note
        self.roll_head = nn.Linear(cfg.encoder_embed_dim, roll_outputs) if roll_outputs else None

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

    def keep(self, blocks: int, *, started: bool) -> None:
        """Freeze blocks (`MusicBert.freeze`); ``started``: weights have been loaded or are to come.

        Without weights the projection of performance inputs, which begins at zero, is drawn like the others.
        Raises `CheckpointError` (``missing-weights``: the weights have no such projection) and `ConfigError`
        (``bad-options``: there are fewer blocks).
        """
        try:
            self.freeze(blocks)
        except ValueError as error:
            raise ConfigError("bad-options", f"--freeze-layers: {error}") from error
        inputs = self.encoder.sentence_encoder.performance_projection
        if inputs is None or self.weights_expected is not None:
            return
        if not started:
            nn.init.normal_(inputs.weight, std=INIT_STD)
        self._refuse_frozen(not inputs.weight.any())

    def _refuse_frozen(self, unknown: bool) -> None:
        """Refuse to freeze performance inputs that the weights do not know."""
        encoder = self.encoder.sentence_encoder
        if unknown and encoder.frozen and encoder.performance_projection is not None:
            message = (
                "--freeze-layers would keep performance inputs untrained: these weights do not know them"
            )
            hint = "take weights with performance inputs, or leave --freeze-layers or --performance-input out"
            raise CheckpointError("missing-weights", message, hint=hint)

    def load_weights(self, weights: Mapping[str, torch.Tensor], *, path: str | None = None) -> None:
        """Load a checkpoint's tensors (see `Backbone.load_weights`), and its heads if asked for."""
        named = rename(weights)
        self._refuse_frozen(OPTIONAL[0] not in named)
        if self.load_checkpoint_heads:
            self._register_heads_of(named)
        super().load_weights(weights, path=path)

    def _register_heads_of(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, value in weights.items():
            kind, _, rest = name.partition(".")
            if rest.endswith(".out_proj.weight") and kind in ("classification_heads", "regression_heads"):
                head = rest.removesuffix(".out_proj.weight")
                if head not in getattr(self, kind):
                    register = getattr(self, f"register_{kind.removesuffix('s')}")
                    register(head, value.shape[0], value.shape[1])

    def forward(self, src_tokens: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Run the model (see `Backbone.forward`); cells [shape=(B, T, F)] give `column_outputs`."""
        self.refuse_without_weights()
        if src_tokens.dim() == 3:
            padding, notes = kwargs.get("padding_mask"), kwargs.get("note_index")
            columns = self.columns or OCTUPLE
            return column_outputs(self, src_tokens, padding, notes, columns, self.roll_head), {}
        return super().forward(src_tokens, *args, **kwargs)


#: names for ``--arch``; ``musicbert`` alone is ``musicbert_base``
ARCHITECTURES = register_presets(MusicBertModel)
