"""Criteria of the task ``xai``: performers, ratings, ratings with an adversary, and both.

* ``M2P_xai``: Σ cross entropy over the pieces; sample size: pieces with a known performer.
* ``M2PF_xai``: Σ squared error over the ratings; sample size: ratings.
* ``M2PF_xai_adv``: number of ratings times (clean + virtual + labels); sample size: ratings.
* ``M2PFnP_xai``: w_r Σ squared error + w_c Σ cross entropy; sample size: pieces.

Scores are ``sigmoid(logits)``; missing ratings are masked everywhere. Metrics (R² averaged over the
dimensions, MSE, MAE, Pearson, accuracy in percent) are those of the whole set: batches and workers add sums.
With ``--compat`` the loss of M2PF is a mean with the number of pieces as its sample size, the loss is
logged in base 2, and R² is that of each mini-batch, dimensions flattened, then averaged.

Legend: ``B`` pieces, ``R`` ratings of a piece, ``C`` performers, ``T`` notes, ``F`` fields, ``D`` width.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

from musicbert.fairseq_plugin.labels import rating_sums
from musicbert.model.losses.ratings import (
    UNKNOWN_CLASS,
    Adversary,
    adversarial_loss,
    masked_mean_squared_error,
    masked_squared_error,
    performer_cross_entropy,
)

__all__ = [
    "AdversaryCriterion",
    "BothCriterion",
    "PerformerCriterion",
    "RatingCriterion",
    "log_accuracy",
    "log_loss",
]

#: metric -> function of the sums of a whole set
_FROM_SUMS: dict[str, Callable[[Tensor], float]] = {
    "R2": rating_sums.mean_r2,
    "MSE": rating_sums.mean_squared_error,
    "MAE": rating_sums.mean_absolute_error,
    "pearson": rating_sums.mean_pearson,
}
_SUMS = "_rating_sums"  # fairseq does not print what begins with an underscore


def _total(logs: Sequence[dict[str, Any]], key: str) -> Any:
    return sum(log.get(key, 0) for log in logs)


def log_loss(logs: Sequence[dict[str, Any]]) -> None:
    """Log the loss of a sample; in base 2, and once more over ``ntokens``, where compatible."""
    loss, samples, tokens = (_total(logs, key) for key in ("loss", "sample_size", "ntokens"))
    if _total(logs, "compat"):
        metrics.log_scalar("loss", loss / samples / math.log(2), samples, round=3)
        if samples != tokens:
            metrics.log_scalar("nll_loss", loss / tokens / math.log(2), tokens, round=3)
    elif samples > 0:
        metrics.log_scalar("loss", loss / samples, samples, round=5)


def log_accuracy(logs: Sequence[dict[str, Any]]) -> None:
    """Log the share of performers that are right, in percent."""
    known = _total(logs, "nclassed")
    if known > 0:
        digits = 1 if _total(logs, "compat") else 2
        metrics.log_scalar("accuracy", 100.0 * _total(logs, "ncorrect") / known, known, round=digits)


def _derived(function: Callable[[Tensor], float]) -> Callable[[Any], float]:
    def read(meters: Any) -> float:
        sums = meters[_SUMS].sum
        return round(function(sums), 5) if torch.is_tensor(sums) else math.nan

    return read


def log_ratings(logs: Sequence[dict[str, Any]]) -> None:
    """Log the metrics of ratings."""
    sums = _total(logs, "rating_sums")  # (8, R)
    if not torch.is_tensor(sums):
        return
    if _total(logs, "compat"):
        pieces = _total(logs, "nsentences")
        metrics.log_scalar("MSE", rating_sums.mean_squared_error(sums), pieces, round=4)
        metrics.log_scalar("R2", rating_sums.flat_r2(sums), pieces, round=4)
        return
    metrics.log_scalar_sum(_SUMS, sums)
    for name, function in _FROM_SUMS.items():
        metrics.log_derived(name, _derived(function))


def count_correct(logits: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Return how many performers are known, and how many of these the logits [shape=(B, C)] get right."""
    known = classes != UNKNOWN_CLASS
    right = (logits.detach().argmax(dim=-1) == classes) & known
    return {"ncorrect": right.sum().double(), "nclassed": known.sum().double()}


class _XaiCriterion(FairseqCriterion):
    """What the criteria share: the call of the model and the logging."""

    def __init__(self, cfg: FairseqDataclass, task: Any) -> None:
        super().__init__(task)
        self.cfg = cfg
        self.compat = bool(task.cfg.compat)
        self.heads: dict[str, str] = {"classification_head_name": task.cfg.classification_head_name}

    def run(self, model: Any, sample: dict[str, Any], **inputs: Any) -> Any:
        """Return the outputs of the heads."""
        return model(**sample["net_input"], features_only=True, **self.heads, **inputs)[0]

    def logging(self, loss: Tensor, sample_size: Any, sample: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Return what batches and workers add up."""
        return {
            "loss": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": len(sample["target"]),
            "sample_size": sample_size,
            "compat": int(self.compat),
            **more,
        }

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All logged values are sums."""
        return True

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the metrics of what has been added up."""
        log_loss(logging_outputs)
        log_accuracy(logging_outputs)
        log_ratings(logging_outputs)


def _ratings(sample: dict[str, Any]) -> Tensor:
    return sample["target"][:, :-1]  # (B, R)


def _classes(sample: dict[str, Any]) -> Tensor:
    return sample["target"][:, -1].long()  # (B,)


@register_criterion("M2P_xai", dataclass=FairseqDataclass)
class PerformerCriterion(_XaiCriterion):
    """Music to performer."""

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict]:
        """Return the loss, its sample size and what to log."""
        del reduce
        logits = self.run(model, sample)  # (B, C)
        classes = _classes(sample)
        loss = performer_cross_entropy(logits, classes)
        counts = count_correct(logits, classes)
        size = len(classes) if self.compat else int(counts["nclassed"])
        return loss, size, self.logging(loss, size, sample, **counts)


@register_criterion("M2PF_xai", dataclass=FairseqDataclass)
class RatingCriterion(_XaiCriterion):
    """Music to ratings of its features."""

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict]:
        """Return the loss, its sample size and what to log."""
        del reduce
        ratings = _ratings(sample)
        logits = self.run(model, sample)  # (B, R)
        scores = torch.sigmoid(logits.float())
        loss, size = self.loss(model, sample, logits, ratings)
        sums = rating_sums.rating_sums(scores, ratings)
        return loss, size, self.logging(loss, size, sample, rating_sums=sums)

    def loss(self, model: Any, sample: dict[str, Any], logits: Tensor, ratings: Tensor) -> tuple[Tensor, int]:
        """Return the loss and its sample size."""
        del model, sample
        scores = torch.sigmoid(logits.float())
        if self.compat:
            return masked_mean_squared_error(scores, ratings), len(ratings)
        total, count = masked_squared_error(scores, ratings)
        return total, int(count)


@dataclass
class AdversaryConfig(FairseqDataclass):
    """Options of the adversary; the defaults are the published values."""

    adv_alpha: float = field(default=1.0, metadata={"help": "weight of the virtual term"})
    adv_step_size: float = field(default=1e-3, metadata={"help": "step along the gradient"})
    adv_noise_scale: float = field(default=1e-5, metadata={"help": "deviation of the first noise"})
    adv_epsilon: float = field(default=1e-6, metadata={"help": "added to the norm before the division"})
    adv_radius: float = field(default=1.0, metadata={"help": "largest move of an embedding (infinity norm)"})


@register_criterion("M2PF_xai_adv", dataclass=AdversaryConfig)
class AdversaryCriterion(RatingCriterion):
    """Music to ratings, under the worst small noise on the embeddings.

    In evaluation the loss is the clean one, without noise, so that epochs can be compared (with
    ``--compat`` the adversary is at work in evaluation too, as published).
    """

    def loss(self, model: Any, sample: dict[str, Any], logits: Tensor, ratings: Tensor) -> tuple[Tensor, int]:
        """Return the loss and its sample size."""
        if not model.training and not self.compat:
            return super().loss(model, sample, logits, ratings)
        settings = Adversary(
            alpha=self.cfg.adv_alpha,
            step_size=self.cfg.adv_step_size,
            noise_scale=self.cfg.adv_noise_scale,
            epsilon=self.cfg.adv_epsilon,
            radius=self.cfg.adv_radius,
            compat=self.compat,
        )
        embeddings = model.embed_tokens(sample["net_input"]["src_tokens"])  # (B, T*F, D)
        loss = adversarial_loss(
            embeddings,
            lambda moved: self.run(model, sample, token_embeddings=moved),
            ratings,
            logits,
            settings=settings,
        )["loss"]
        if self.compat:
            return loss, len(ratings)
        count = int((~ratings.isnan()).sum())
        return loss * count, count


@dataclass
class BothConfig(FairseqDataclass):
    """Weights of the two tasks."""

    cls_weight: float = field(default=1.0, metadata={"help": "weight of the performer's cross entropy"})
    reg_weight: float = field(default=1.0, metadata={"help": "weight of the ratings' summed squared error"})


@register_criterion("M2PFnP_xai", dataclass=BothConfig)
class BothCriterion(_XaiCriterion):
    """Music to ratings of its features and to its performer."""

    def __init__(self, cfg: BothConfig, task: Any) -> None:
        super().__init__(cfg, task)
        self.heads["regression_head_name"] = task.cfg.regression_head_name

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict]:
        """Return the loss, its sample size and what to log."""
        del reduce
        logits, rated = self.run(model, sample)  # (B, C), (B, R)
        classes, ratings = _classes(sample), _ratings(sample)
        scores = torch.sigmoid(rated.float())
        error, _ = masked_squared_error(scores, ratings)
        loss = self.cfg.reg_weight * error + self.cfg.cls_weight * performer_cross_entropy(logits, classes)
        size = len(classes)
        more = {**count_correct(logits, classes), "rating_sums": rating_sums.rating_sums(scores, ratings)}
        return loss, size, self.logging(loss, size, sample, **more)
