"""Criteria of contrastive pre-training in four forms, and of fine-tuning on performers.

* ``xai_pretrain_loss``, ``xai_pretrain_loss_ntxent``: music against annotation (2B views); alike are views of
  the same performer, or only the two views of the same piece.
* ``xai_pretrain_loss_unimodal``, ``xai_pretrain_loss_unimodal_ntxent``: the first half of the batch against
  the second. The positives of the last one are arbitrary pairs, so it teaches nothing; it is here because it
  was published. It needs an even batch: the published code stops at an odd one, here the last piece is left
  out (with ``--compat`` it stops).
* ``xai_finetuning_loss``: Σ cross entropy of the performer.

Pieces without an annotation do not take part where annotations are contrasted, pieces without a performer
where performers are. Legend: ``B`` pieces, ``R`` ratings of a piece, ``D`` width, ``C`` performers.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from torch import Tensor

from musicbert.fairseq_plugin.labels.rating_criterions import count_correct, log_accuracy, log_loss
from musicbert.model.losses.contrastive import lascon
from musicbert.model.losses.ratings import UNKNOWN_CLASS, performer_cross_entropy, rated_rows

__all__ = ["ContrastiveCriterion", "FineTuningCriterion"]


@dataclass
class ContrastiveConfig(FairseqDataclass):
    """Options of the contrastive criteria."""

    contrastive_temperature: float = field(default=0.5, metadata={"help": "divisor of the cosines"})


class ContrastiveCriterion(FairseqCriterion):
    """What the four forms share."""

    similarity = "supcon"
    unimodal = False

    def __init__(self, cfg: ContrastiveConfig, task: Any) -> None:
        super().__init__(task)
        self.temperature = cfg.contrastive_temperature
        self.compat = bool(task.cfg.compat)

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict]:
        """Return the loss, its sample size and what to log."""
        del reduce
        target = sample["target"]  # (B, 1 + R + 1)
        performers = target[:, 0]  # (B,)
        music, annotation, _ = model(**sample["net_input"], target=target)  # (B, D) each
        keep = torch.ones_like(performers, dtype=torch.bool)
        if not self.unimodal:
            keep &= rated_rows(target[:, 1:-1])
        if self.similarity == "supcon":
            keep &= performers != UNKNOWN_CLASS
        music, performers = music[keep], performers[keep]
        options = {
            "similarity": self.similarity,
            "temperature": self.temperature,
            "compat": self.compat,
        }
        if self.unimodal:
            half = len(music) // 2
            stop = 2 * half if self.similarity == "nt-xent" and not self.compat else len(music)
            loss = lascon(music[:half], music[half:stop], performers[:half], performers[half:stop], **options)
            loss = loss + 0.0 * annotation.sum()  # its parameters take part, as distributed training wants
        else:
            loss = lascon(music, annotation[keep], performers, performers, **options)
        size = len(target)
        if not self.compat:
            size = len(music)
            loss = loss * size  # fairseq divides by the sample size
        return loss, size, self._logging(loss, size, sample)

    def _logging(self, loss: Tensor, size: int, sample: dict[str, Any]) -> dict[str, Any]:
        logging = {
            "loss": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": len(sample["target"]),
            "sample_size": size,
            "compat": int(self.compat),
        }
        if self.compat:
            logging["minus_loss"] = -loss.detach()
        return logging

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All logged values are sums."""
        return True

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the loss."""
        log_loss(logging_outputs)


@register_criterion("xai_pretrain_loss", dataclass=ContrastiveConfig)
class MusicAnnotationCriterion(ContrastiveCriterion):
    """Music against annotation, alike where the performer is the same."""


@register_criterion("xai_pretrain_loss_ntxent", dataclass=ContrastiveConfig)
class MusicAnnotationPairsCriterion(ContrastiveCriterion):
    """Music against annotation, alike where the piece is the same."""

    similarity = "nt-xent"


@register_criterion("xai_pretrain_loss_unimodal", dataclass=ContrastiveConfig)
class MusicMusicCriterion(ContrastiveCriterion):
    """One half of the batch against the other, alike where the performer is the same."""

    unimodal = True


@register_criterion("xai_pretrain_loss_unimodal_ntxent", dataclass=ContrastiveConfig)
class MusicMusicPairsCriterion(ContrastiveCriterion):
    """One half of the batch against the other, alike where the place in the half is the same."""

    similarity = "nt-xent"
    unimodal = True


@register_criterion("xai_finetuning_loss", dataclass=FairseqDataclass)
class FineTuningCriterion(FairseqCriterion):
    """Performers, by the classification head of the contrastive model (``--is-fine-tuning``)."""

    def __init__(self, cfg: FairseqDataclass, task: Any) -> None:
        super().__init__(task)
        del cfg
        self.compat = bool(task.cfg.compat)

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict]:
        """Return the loss, its sample size and what to log."""
        del reduce
        classes = sample["target"][:, 0].long()  # (B,)
        logits = model(**sample["net_input"], target=sample["target"])[0]  # (B, C)
        loss = performer_cross_entropy(logits, classes)
        counts = count_correct(logits, classes)
        size = len(classes) if self.compat else int(counts["nclassed"])
        logging = {
            "loss": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": len(classes),
            "sample_size": size,
            "compat": int(self.compat),
            **counts,
        }
        return loss, size, logging

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All logged values are sums."""
        return True

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the loss and the accuracy."""
        log_loss(logging_outputs)
        log_accuracy(logging_outputs)
