"""The criterion ``sentence_prediction_multilabel``: binary cross entropy over classes.

Loss: Σ over sequences and classes, sample size the sequences, logged in base 2, as published. The metrics are
those of the whole set, not of mini-batches: batches and workers add sums. ``f1_score_{micro,macro,weighted,
samples}`` at a threshold of 0.5 and ``accuracy`` (all classes right, in percent) are exact;
``roc_auc_score_*`` come from histograms of the logits (error below the width of a bin, 1/64). The same
metrics with intervals: `musicbert.evaluation.metrics.multilabel`.

Legend: ``B`` sequences, ``C`` classes, ``K`` bins.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

__all__ = ["MultilabelCriterion", "multilabel_sums"]

#: logits are counted in bins of this width, up to +-16
_BIN, _LARGEST = 1 / 64, 16.0
BINS = int(2 * _LARGEST / _BIN)
_AVERAGES = ("micro", "macro", "weighted", "samples")
_COUNTS, _SCORES, _PIECES = "_counts", "_scores", "_pieces"  # fairseq does not print these


@dataclass
class MultilabelCriterionConfig(FairseqDataclass):
    """Options."""

    classification_head_name: str = field(
        default="sentence_classification_head", metadata={"help": "name of the classification head"}
    )


@register_criterion("sentence_prediction_multilabel", dataclass=MultilabelCriterionConfig)
class MultilabelCriterion(FairseqCriterion):
    """Binary cross entropy over all classes."""

    def __init__(self, cfg: MultilabelCriterionConfig, task: Any) -> None:
        super().__init__(task)
        self.classification_head_name = cfg.classification_head_name

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, int, dict]:
        """Return the loss, its sample size and what to log."""
        del reduce
        logits, _ = model(
            **sample["net_input"],
            features_only=True,
            classification_head_name=self.classification_head_name,
        )  # (B, C)
        targets = sample["target"]
        loss = F.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="sum")
        log = {
            "loss": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": len(targets),
            "sample_size": len(targets),
            "ncorrect": ((logits > 0) == (targets > 0)).all(dim=1).sum(),
        }
        if not model.training:
            log.update(multilabel_sums(logits.detach(), targets))
        return loss, len(targets), log

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All logged values are sums."""
        return True

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the metrics of what has been added up."""
        loss, size, pieces, correct = (
            _total(logging_outputs, key) for key in ("loss", "sample_size", "nsentences", "ncorrect")
        )
        if size == 0:
            return
        metrics.log_scalar("loss", loss / size / math.log(2), size, round=3)
        metrics.log_scalar("accuracy", 100.0 * correct / pieces, pieces, round=1)
        if not any("counts" in log for log in logging_outputs):
            return
        for name, key in ((_COUNTS, "counts"), (_SCORES, "scores"), (_PIECES, "pieces")):
            metrics.log_scalar_sum(name, _total(logging_outputs, key))
        for average in _AVERAGES:
            metrics.log_derived(f"f1_score_{average}", _derived(_f1, average))
            metrics.log_derived(f"roc_auc_score_{average}", _derived(_roc_auc, average))


def _total(logs: Sequence[dict[str, Any]], key: str) -> Any:
    return sum(log.get(key, 0) for log in logs)


def multilabel_sums(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return what batches and workers add up.

    Parameters
    ----------
    logits, targets
        [shape=(B, C)], targets 0 or 1.

    Returns
    -------
    dict
        ``counts`` [shape=(3, C)]: true positives, predicted and true labels; ``scores`` [shape=(2, C, K)]:
        histograms of the logits of false and true labels; ``pieces`` [shape=(4,)]: sum of each sequence's F1
        and number of sequences, sum of each sequence's ROC-AUC and number of those that have one. float64.
    """
    true = targets > 0
    said = logits > 0
    counts = torch.stack([(said & true).sum(0), said.sum(0), true.sum(0)]).double()  # (3, C)
    bins = (
        ((logits.float().clamp(-_LARGEST, _LARGEST) + _LARGEST) / _BIN).long().clamp(max=BINS - 1)
    )  # (B, C)
    classes = logits.shape[1]
    place = (true.long() * classes + torch.arange(classes, device=logits.device)) * BINS + bins
    scores = torch.bincount(place.reshape(-1), minlength=2 * classes * BINS).double()
    hits, size = (said & true).sum(1).double(), (said.sum(1) + true.sum(1)).double()
    f1 = 2 * hits / size.clamp(min=1)
    # share of (true, false) pairs of classes in order, ties half
    before = (logits[:, :, None] > logits[:, None, :]).double() + 0.5 * (
        logits[:, :, None] == logits[:, None, :]
    ).double()
    pairs = (true[:, :, None] & ~true[:, None, :]).double()
    number = pairs.sum((1, 2))
    auc = (before * pairs).sum((1, 2)) / number.clamp(min=1)
    pieces = torch.stack(
        [f1.sum(), torch.tensor(float(len(f1))).to(f1), auc.sum(), (number > 0).sum().double()]
    )
    return {"counts": counts, "scores": scores.reshape(2, classes, BINS), "pieces": pieces}


def _f1(average: str, counts: Tensor, scores: Tensor, pieces: Tensor) -> float:
    del scores
    if average == "samples":
        return float(pieces[0] / pieces[1])
    hits, said, true = counts
    if average == "micro":
        hits, said, true = (each.sum()[None] for each in (hits, said, true))
    each = 2 * hits / (said + true).clamp(min=1)
    weight = true if average == "weighted" else torch.ones_like(true)
    return float((each * weight).sum() / weight.sum().clamp(min=1))


def _roc_auc(average: str, counts: Tensor, scores: Tensor, pieces: Tensor) -> float:
    if average == "samples":
        return float(pieces[2] / pieces[3]) if pieces[3] > 0 else math.nan
    false, true = scores  # (C, K)
    if average == "micro":
        false, true = false.sum(0, keepdim=True), true.sum(0, keepdim=True)
    below = false.cumsum(1) - false
    wins = (true * (below + 0.5 * false)).sum(1)
    pairs = true.sum(1) * false.sum(1)
    known = pairs > 0
    if not known.any():
        return math.nan
    each = wins[known] / pairs[known]
    weight = counts[2][known] if average == "weighted" else torch.ones_like(each)
    return float((each * weight).sum() / weight.sum())


def _derived(function: Callable[..., float], average: str) -> Callable[[Any], float]:
    def read(meters: Any) -> float:
        sums = [meters[name].sum for name in (_COUNTS, _SCORES, _PIECES)]
        if not all(torch.is_tensor(each) for each in sums):
            return math.nan
        return round(function(average, *sums), 5)

    return read
