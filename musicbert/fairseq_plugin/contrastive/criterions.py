"""Criterions of contrastive pre-training in four forms, and of fine-tuning on performers.

* ``xai_pretrain_loss``, ``xai_pretrain_loss_ntxent``: music against annotation (2B views); positives are
  views of the same performer, or only the two views of the same piece.
* ``xai_pretrain_loss_unimodal``, ``xai_pretrain_loss_unimodal_ntxent``: the first half of the batch against
  the second. The positives of the last one are arbitrary pairs, so it teaches nothing; it is kept because it
  was published. It needs an even batch: the last piece of an odd one is dropped (``--compat``: error).
* ``xai_finetuning_loss``: Σ cross entropy of the performer.

Where annotations (performers) are contrasted, pieces without one are left out. Legend: ``B`` pieces, ``R``
ratings of a piece, ``D`` width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from torch import Tensor

from musicbert.fairseq_plugin.data.task import flag
from musicbert.fairseq_plugin.labels.criterion import RatingCriterion
from musicbert.model.losses.contrastive import lascon
from musicbert.model.losses.labels import UNKNOWN_CLASS, known_items


@dataclass
class ContrastiveConfig(FairseqDataclass):
    """Options of the contrastive criterions."""

    contrastive_temperature: float = flag(0.5, "divisor of the cosines")


class ContrastiveCriterion(RatingCriterion):
    """What the four forms share."""

    similarity = "supcon"
    unimodal = False

    def __init__(self, cfg: ContrastiveConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.performer: str = task.performer

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict]:
        """Return the loss, its sample size and what to log."""
        del reduce
        targets = sample["targets"]
        ratings, performers = targets["ratings"], targets[self.performer]  # (B, R), (B,)
        music, annotation, _ = model(
            **sample["net_input"], ratings=ratings, performer=targets["performer"]
        )  # (B, D) each
        keep = torch.ones_like(performers, dtype=torch.bool)
        if not self.unimodal:
            keep &= known_items(ratings, "regression")
        if self.similarity == "supcon":
            keep &= performers != UNKNOWN_CLASS
        music, performers = music[keep], performers[keep]
        options = {
            "similarity": self.similarity,
            "temperature": self.cfg.contrastive_temperature,
            "compat": self.compat,
        }
        if self.unimodal:
            half = len(music) // 2
            stop = 2 * half if self.similarity == "nt-xent" and not self.compat else len(music)
            loss = lascon(music[:half], music[half:stop], performers[:half], performers[half:stop], **options)
            loss = loss + 0.0 * annotation.sum()  # so that its parameters have gradients, for DDP
        else:
            loss = lascon(music, annotation[keep], performers, performers, **options)
        size = len(ratings)
        if not self.compat:
            size = len(music)
            loss = loss * size  # fairseq divides by the sample size
        more = {"minus_loss": -loss.detach()} if self.compat else {}
        return loss, size, self.log(loss, size, sample, **more)


@register_criterion("xai_pretrain_loss", dataclass=ContrastiveConfig)
class MusicAnnotationCriterion(ContrastiveCriterion):
    """Music against annotation; positives have the same performer."""


@register_criterion("xai_pretrain_loss_ntxent", dataclass=ContrastiveConfig)
class MusicAnnotationPairsCriterion(ContrastiveCriterion):
    """Music against annotation; positives are of the same piece."""

    similarity = "nt-xent"


@register_criterion("xai_pretrain_loss_unimodal", dataclass=ContrastiveConfig)
class MusicMusicCriterion(ContrastiveCriterion):
    """One half of the batch against the other; positives have the same performer."""

    unimodal = True


@register_criterion("xai_pretrain_loss_unimodal_ntxent", dataclass=ContrastiveConfig)
class MusicMusicPairsCriterion(ContrastiveCriterion):
    """One half of the batch against the other; positives have the same place in their half."""

    similarity = "nt-xent"
    unimodal = True


@register_criterion("xai_finetuning_loss", dataclass=FairseqDataclass)
class FineTuningCriterion(RatingCriterion):
    """Performers, by the classification head of the contrastive model (``--is-fine-tuning``)."""
