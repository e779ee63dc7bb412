"""The criterion ``music_tagging``: losses of labels of notes or windows, by the kind of label.

* ``classes``: Σ cross entropy, classes weighted where asked for; sample size: labelled items (their weights).
* ``multilabel``: Σ binary cross entropy; sample size: known labels.
* ``regression``: Σ squared error (of standardised values, by the training part); sample size: known values.

Items of a piece with a weight count by it. What is missing (-1, NaN) or ignored is neither trained on nor
counted. Metrics are those of the whole set: batches and workers add sums. ``score`` is the metric to select
by (``--best-checkpoint-metric score --maximize-best-checkpoint-metric``); more of it is always better.

Legend: ``B`` windows, ``T`` rows, ``C`` outputs, ``M`` labelled items.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

from musicbert.corpus.labelled.pieces import NO_CLASS
from musicbert.fairseq_plugin.labels.sums import f1_of_class, metrics_of, sums_of

__all__ = ["TaggingCriterion", "labelled_items"]

_SUMS = {kind: f"_{kind}_sums" for kind in ("classes", "multilabel", "regression")}


def known_items(target: Tensor, kind: str) -> Tensor:
    """Return which items have a label [shape=(B,) or (B, T), bool]."""
    return target != NO_CLASS if kind == "classes" else ~target.isnan().all(dim=-1)


def labelled_items(logits: Tensor, target: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Return logits [shape=(M, C)] and targets [shape=(M,) or (M, C)] of the items that have a label."""
    known = known_items(target, kind)
    return logits[known], target[known]


@dataclass
class TaggingCriterionConfig(FairseqDataclass):
    """Options of the criterion."""

    label_smoothing: float = field(default=0.0, metadata={"help": "label smoothing of classes, in 0-1"})


@register_criterion("music_tagging", dataclass=TaggingCriterionConfig)
class TaggingCriterion(FairseqCriterion):
    """Loss of a tagging head."""

    def __init__(self, cfg: TaggingCriterionConfig, task: Any) -> None:
        super().__init__(task)
        self.smoothing = cfg.label_smoothing
        self.kind = task.column.kind
        for name, values in (("class_weight", task.class_weight), ("centre", task.centre)):
            self.register_buffer(name, values, persistent=False)
        self.register_buffer("spread", task.spread, persistent=False)

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict]:
        """Return the loss, its sample size and what to log."""
        del reduce
        logits = model(**sample["net_input"])  # (B, T, C) or (B, C)
        found, target = labelled_items(logits, sample["target"], self.kind)  # (M, C)
        weight = sample.get("weight")  # (B,)
        if weight is not None:
            known = known_items(sample["target"], self.kind)
            weight = weight.view(-1, *[1] * (known.dim() - 1)).expand_as(known)[known]  # (M,)
        loss, size = self.loss(found, target, weight)
        if not len(target):
            loss = loss + 0.0 * logits.sum()  # a batch without labels still reaches every parameter
        shown = found * self.spread + self.centre if self.kind == "regression" else found
        log = {
            "loss": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": size,
            _SUMS[self.kind]: sums_of(self.kind, shown, target),
        }
        return loss, size, log

    def loss(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the loss of labelled items, each weighted [shape=(M,)], and its sample size."""
        items = torch.ones(len(target), device=logits.device) if weight is None else weight
        if self.kind == "classes":
            each = F.cross_entropy(
                logits, target, weight=self.class_weight, reduction="none", label_smoothing=self.smoothing
            )
            size = items if self.class_weight is None else items * self.class_weight[target]
            return (each * items).sum(), float(size.sum())
        known = (~target.isnan()) * items[:, None]  # (M, C)
        if self.kind == "multilabel":
            wanted = target.nan_to_num()
            each = F.binary_cross_entropy_with_logits(
                logits, wanted, pos_weight=self.class_weight, reduction="none"
            )
        else:
            each = (logits - ((target - self.centre) / self.spread).nan_to_num()) ** 2
        return (each * known).sum(), float(known.sum())

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All logged values are sums."""
        return True

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log the metrics of what has been added up."""
        size = sum(log.get("sample_size", 0) for log in logging_outputs)
        if size > 0:
            loss = sum(log.get("loss", 0) for log in logging_outputs)
            metrics.log_scalar("loss", loss / size, size, round=5)
        for kind, name in _SUMS.items():
            found = [log[name] for log in logging_outputs if torch.is_tensor(log.get(name))]
            if found:
                metrics.log_scalar_sum(name, sum(found))
                for metric in metrics_of(kind, found[0]):
                    metrics.log_derived(metric, _derived(kind, name, metric))


def _derived(kind: str, sums: str, metric: str) -> Any:
    def read(meters: Any) -> float:
        found = meters[sums].sum
        return round(metrics_of(kind, found)[metric], 5) if torch.is_tensor(found) else math.nan

    return read


def log_score(kind: str, metric: str, classes: tuple[str, ...]) -> None:
    """Log the metric to select by as ``score``: one of `METRICS`, or ``f1:<class>``."""
    name = _SUMS[kind]

    def read(meters: Any) -> float:
        found = meters[name].sum if name in meters else None
        if not torch.is_tensor(found):
            return -math.inf
        if metric.startswith("f1:"):
            value = f1_of_class(found, classes.index(metric.removeprefix("f1:")))
        else:
            value = metrics_of(kind, found)[metric]
        return -math.inf if math.isnan(value) else round(value, 6)

    metrics.log_derived("score", read)
