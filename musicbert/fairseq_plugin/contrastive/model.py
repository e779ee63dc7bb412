"""The fairseq model ``xai_pretrain_model``: MusicBERT, an encoder of annotations, and a head for performers.

Architectures: ``xai_pretrain_arch`` (base, as published) and ``xai_pretrain_{tiny,...,large}``. State-dict
names are the published ones (``mainEncoder.*``, ``annotationEncoder.*``, ``classificationHead.*``; with
``--compat`` also the unused ``projectionHead.*``). Plain MusicBERT weights load into ``mainEncoder``.

Legend: ``B`` pieces, ``T`` notes, ``F`` fields of a note, ``P`` performance inputs, ``R`` ratings, ``D``
width, ``C`` performers.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor, nn

from musicbert.config import PRESETS
from musicbert.fairseq_plugin.backbones.adapter import Backbone
from musicbert.fairseq_plugin.backbones.musicbert import MusicBertConfig, MusicBertModel
from musicbert.fairseq_plugin.data.task import flag
from musicbert.model.heads.sentence import AnnotationEncoder, projection

logger = logging.getLogger(__name__)

_MAIN = "mainEncoder."


@dataclass
class ContrastiveModelConfig(MusicBertConfig):
    """Flags of MusicBERT, and which of the two stages it is."""

    is_fine_tuning: bool = flag(False, "predict performers, in place of contrasting")
    from_scratch: bool = flag(False, "allow --is-fine-tuning without pre-trained weights")


@register_model("xai_pretrain_model", dataclass=ContrastiveModelConfig)
class ContrastiveModel(Backbone, BaseFairseqModel):
    """Music and annotation in one space.

    ``compat``: exactly the published parameters; the annotation encoder also reads the performer's class.
    """

    flags: ClassVar[type[MusicBertConfig]] = ContrastiveModelConfig

    def __init__(
        self,
        cfg: Any,
        *,
        vocabulary_size: int,
        annotation_width: int,
        performer_count: int,
        compat: bool = False,
    ) -> None:
        super().__init__()
        width = cfg.encoder_embed_dim
        self.mainEncoder = MusicBertModel(cfg, vocabulary_size)
        self.config = self.mainEncoder.config
        self.annotationEncoder = AnnotationEncoder(annotation_width, width, compat=compat)
        self.classificationHead = projection(width, performer_count)
        if compat:
            self.projectionHead = projection(width, width)
        self.fine_tuning = bool(getattr(cfg, "is_fine_tuning", False))
        self.compat = compat
        self.longest = self.mainEncoder.max_positions()

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "ContrastiveModel":
        """Build the model for the task's data, with ``--init-from`` if given."""
        if not hasattr(task, "annotation_width"):
            raise ValueError("xai_pretrain_model needs --task xai_pretrain_task")
        model = cls(
            cfg,
            vocabulary_size=len(task.source_dictionary),
            annotation_width=task.annotation_width,
            performer_count=task.performer_count,
            compat=task.compat,
        )
        if model.fine_tuning and not getattr(cfg, "from_scratch", False):
            model.weights_expected = "--init-from (not given; add --from-scratch to train without)"
        model.prepare_start(cfg)
        return model

    def load_weights(self, weights: Mapping[str, Tensor], *, path: str | None = None) -> None:
        """Load plain MusicBERT weights, or those of this model; heads of another size stay as they are.

        Raises `CheckpointError` (the encoder is of another architecture or vocabulary, or lacks tensors).
        """
        main = {name.removeprefix(_MAIN): value for name, value in weights.items() if name.startswith(_MAIN)}
        self.mainEncoder.load_weights(main or weights, path=path)
        heads = {name: value for name, value in self.state_dict().items() if not name.startswith(_MAIN)}
        fitting = {
            name: weights[name]
            for name, value in heads.items()
            if name in weights and weights[name].shape == value.shape
        }
        nn.Module.load_state_dict(self, fitting, strict=False)
        self.weights_expected = None
        new = ", ".join(sorted(set(heads) - set(fitting)))
        logger.info("%d tensors of the heads loaded%s", len(fitting), f"; new: {new}" if new else "")

    def sentence_features(self, src_tokens: Tensor, *, performance: Tensor | None = None) -> Tensor:
        """Return the embeddings of pieces [shape=(B, D)]."""
        return self.mainEncoder.sentence_features(src_tokens, performance=performance)

    def label_outputs(
        self, src_tokens: Tensor, performance: Tensor | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Logits of the performers [shape=(B, C)], NaN before fine-tuning, and embeddings [shape=(B, D)]."""
        embedding = self.sentence_features(src_tokens, performance=performance)
        logits = self.classificationHead(embedding)
        return [logits if self.fine_tuning else torch.full_like(logits, torch.nan)], [embedding]

    def forward(
        self,
        src_tokens: Tensor,
        ratings: Tensor | None = None,
        performer: Tensor | None = None,
        performance: Tensor | None = None,
        **_: Any,
    ) -> tuple[Any, ...]:
        """Run the model.

        ``src_tokens`` [shape=(B, T*F), int64]; ``performance`` [shape=(B, T, P)] or None; ``ratings``
        [shape=(B, R)], NaN where missing, not needed for fine-tuning; ``performer``: classes [shape=(B,)],
        read with ``compat`` only.

        Returns logits [shape=(B, C)] and None for fine-tuning, else the embeddings of music and annotation,
        both [shape=(B, D)], and None.
        """
        self.refuse_without_weights()
        music = self.sentence_features(src_tokens, performance=performance)  # (B, D)
        if self.fine_tuning:
            return self.classificationHead(music), None
        if ratings is None:
            raise ValueError("contrastive pre-training needs ratings; --is-fine-tuning does without")
        if self.compat and performer is not None:
            ratings = torch.cat([ratings, performer[:, None]], dim=1)  # (B, R + 1)
        return music, self.annotationEncoder(ratings), None


for _name in PRESETS:
    register_model_architecture("xai_pretrain_model", f"xai_pretrain_{_name}")(
        ARCH_CONFIG_REGISTRY[f"musicbert_{_name}"]
    )
register_model_architecture("xai_pretrain_model", "xai_pretrain_arch")(ARCH_CONFIG_REGISTRY["musicbert_base"])
