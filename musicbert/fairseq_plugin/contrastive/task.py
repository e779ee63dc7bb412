"""The fairseq task ``xai_pretrain_task``: contrastive pre-training, and fine-tuning from it.

The target of a piece is ``[performer, ratings..., class]``. The performer is the class of the labels, whose
names are in the data-bin; with ``--compat`` it is read off the identifier as in the published code (0-12,
13 for the score), and there are 14 classes, of which 11 never occurs.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from fairseq import models
from fairseq.tasks import register_task
from omegaconf import OmegaConf, open_dict

from musicbert.corpus.labelled.rating_bin import PUBLISHED_CLASSES, RatingLabels, published_performer
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.labels.ratings import RatingConfig, RatingTask
from musicbert.fairseq_plugin.labels.terms import Term

__all__ = ["ContrastiveTask"]


@register_task("xai_pretrain_task", dataclass=RatingConfig)
class ContrastiveTask(RatingTask):
    """Bring performances near their annotations, or near those of the same performer."""

    def __init__(self, cfg, dictionary, schema):
        super().__init__(cfg, dictionary, schema)
        self.performer = "published" if self.compat else "performer"
        self.terms = (Term(self.performer, "classes"),)

    def performers(self, labels: RatingLabels) -> np.ndarray:
        """Return the performer of each piece [shape=(n,), int64].

        Raises
        ------
        DatasetError
            ``missing-ids`` or ``bad-identifier``, with ``--compat`` only.
        """
        if not self.compat:
            return None
        if not labels.ids:
            raise DatasetError(
                "missing-ids",
                "the data-bin has no identifiers, from which --compat reads performers",
                path=self.cfg.data,
                hint="binarise again, or leave --compat out",
            )
        return np.array([published_performer(name) for name in labels.ids], dtype=np.int64)

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        """Build the model; its sizes come from the data (and from the published code with ``--compat``)."""
        if not self.compat:
            self.head_size("performers", "num_cls_classes")  # raises where the option is wrong
        with open_dict(cfg) if OmegaConf.is_config(cfg) else contextlib.nullcontext():
            cfg.max_positions = self.cfg.max_positions
            cfg.performance_features = self.performance_features
        return models.build_model(cfg, self, from_checkpoint)

    @property
    def performer_count(self) -> int:
        """Number of performer classes."""
        return PUBLISHED_CLASSES if self.compat else len(self.schema.classes)

    @property
    def annotation_width(self) -> int:
        """Number of inputs of the annotation encoder: the ratings, and the class with ``--compat``."""
        return len(self.schema.dimensions) + int(self.compat)
