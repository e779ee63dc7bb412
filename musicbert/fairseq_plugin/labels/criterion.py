"""The criterion of labels: a weighted sum of losses, one for each `Term` of the task, and its registrations.

================================== =================== ============================= ======================
criterion                          terms               sample size                   logged metrics
================================== =================== ============================= ======================
``music_tagging``                  the task's label    known labels (their weights)  `METRICS` of its kind
``sentence_prediction_multilabel`` classes (any)       sequences                     ``f1_score_*``, ...
``M2P_xai``                        performer           pieces with a performer       ``accuracy``
``M2PF_xai``                       ratings             ratings                       ``R2``, ``MSE``, ...
``M2PF_xai_adv``                   ratings             ratings                       ``R2``, ``MSE``, ...
``M2PFnP_xai``                     performer, ratings  pieces                        those of both
================================== =================== ============================= ======================

A term that the task adds (means of raters, `musicbert.fairseq_plugin.labels.ratings`) is in the loss alone.

Metrics (`musicbert.fairseq_plugin.labels.sums`) are those of the whole set, from sums over batches and
workers. Published names and units of metrics are kept, since scripts select checkpoints by them (``accuracy``
in percent).

With ``--compat`` the criterions of ratings follow the published code: the sample size is the number of
pieces, the loss of M2PF is a mean, losses are logged in base 2, and R² is that of each mini-batch with all
dimensions as one, averaged.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor

from musicbert.evaluation.metrics.multilabel import AVERAGES
from musicbert.fairseq_plugin.data.task import SummedCriterion, flag
from musicbert.fairseq_plugin.labels.sums import METRICS, metrics_of, r2, sums_of
from musicbert.fairseq_plugin.labels.terms import Term, outputs_of
from musicbert.model.losses.adversary import Adversary, adversarial_loss
from musicbert.model.losses.labels import label_loss


@dataclass(frozen=True)
class Logged:
    """How a metric is logged: its name in `metrics_of`, a factor, decimals, and its value where undefined."""

    metric: str
    factor: float = 1.0
    digits: int = 5
    undefined: float = math.nan


#: kind of label -> name in the log -> metric
Names = Mapping[str, Mapping[str, Logged]]


def total(logs: Sequence[dict[str, Any]], key: str) -> Any:
    """Sum of the values that batches and workers have logged."""
    return sum(log.get(key, 0) for log in logs)


def log_loss(logs: Sequence[dict[str, Any]], *, base_2: bool) -> None:
    """Log the loss of a sample, in nats or in base 2."""
    loss, size = total(logs, "loss"), total(logs, "sample_size")
    if size > 0:
        metrics.log_scalar(
            "loss", loss / size / (math.log(2) if base_2 else 1), size, round=3 if base_2 else 5
        )


def log_sums(logs: Sequence[dict[str, Any]], names: Names) -> None:
    """Log sums, and metrics that are derived from them whenever they are shown."""
    for kind, logged in names.items():
        sums = total(logs, _key(kind))
        if torch.is_tensor(sums):
            metrics.log_scalar_sum(_key(kind), sums)
            for name, how in logged.items():
                metrics.log_derived(name, _derived(kind, how))


def _key(kind: str) -> str:
    return f"_{kind}_sums"  # fairseq does not print names that begin with an underscore


def _derived(kind: str, how: Logged) -> Callable[[Any], float]:
    def read(meters: Any) -> float:
        sums = meters[_key(kind)].sum
        value = metrics_of(kind, sums)[how.metric] if torch.is_tensor(sums) else math.nan
        return how.undefined if math.isnan(value) else round(how.factor * value, how.digits)

    return read


def log_score(
    kind: str, metric: str, classes: tuple[str, ...], *, name: str = "score", sums_name: str = ""
) -> None:
    """Log a metric under a name: one of `METRICS`, or ``f1:<class>``; undefined: -inf.

    ``score`` is the one to select by. ``sums_name``: label of the sums, where a head learns several labels.
    """
    key = _key(sums_name or kind)

    def read(meters: Any) -> float:
        sums = meters[key].sum if key in meters else None
        if not torch.is_tensor(sums):
            return -math.inf
        value = metrics_of(kind, sums, classes)[metric]
        return -math.inf if math.isnan(value) else round(value, 6)

    metrics.log_derived(name, read)


def log_mean_score(logs: Sequence[dict[str, Any]], chosen: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
    """Log a metric of each label of a shared head, and as ``score`` the mean of those that are defined.

    ``chosen``: label -> metric and names of its classes; all labels are classes.
    """
    for label, (metric, classes) in chosen.items():
        sums = total(logs, _key(label))
        if torch.is_tensor(sums):
            metrics.log_scalar_sum(_key(label), sums)
            log_score("classes", metric, classes, name=label, sums_name=label)

    def mean(meters: Any) -> float:
        values = [meters[label].fn(meters) for label in chosen if label in meters]
        known = [value for value in values if math.isfinite(value)]
        return round(sum(known) / len(known), 6) if known else -math.inf

    metrics.log_derived("score", mean)


class LabelCriterion(SummedCriterion):
    """A weighted sum of the losses of the task's terms, which are of different kinds.

    A task of a single label may have ``class_weight``, ``centre`` and ``spread`` [shape=(C,)].
    """

    #: names of the metrics in the log
    names: ClassVar[Names] = {}
    #: the loss is a mean over sequences, not over labels
    over_sequences = False
    #: the loss is logged in base 2, not in nats
    base_2 = False

    def __init__(self, cfg: Any, task: Any) -> None:
        super().__init__(task)
        self.cfg = cfg
        self.terms: Sequence[Term] = task.terms
        for name in ("class_weight", "centre", "spread"):
            self.register_buffer(name, getattr(task, name, None), persistent=False)

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Tensor, Any, dict]:
        """Return the loss, its sample size and what to log."""
        del reduce
        outputs = outputs_of(model, self.terms, sample["net_input"])
        summed: Any = 0.0
        size, sums = 0.0, {}
        for term, logits in zip(self.terms, outputs, strict=True):
            loss, number = self.loss(model, sample, term, logits)
            summed = summed + term.weight * loss
            size += float(number)
            target = sample["targets"][term.label]
            values = term.values(logits)
            if self.spread is not None and term.kind == "regression":
                values = values * self.spread + self.centre
            key = _key(term.kind if term.columns is None else term.label)
            if key not in sums:  # a second target of a kind is learned, and not what is reported
                sums[key] = sums_of(term.kind, values, target)
        if self.over_sequences:
            size = sample["nsentences"]
        return summed, size, self.log(summed, size, sample, **sums)

    def loss(self, model: Any, sample: dict[str, Any], term: Term, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a term and the number of labels that it is the sum over."""
        del model
        target = sample["targets"][term.label]
        if self.spread is not None and term.kind == "regression":
            target = (target - self.centre) / self.spread
        return label_loss(
            term.kind,
            term.values(logits),
            target,
            weight=sample.get("weight"),
            class_weight=self.class_weight,
            smoothing=getattr(self.cfg, "label_smoothing", 0.0),
        )

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the metrics of the sums."""
        log_loss(logging_outputs, base_2=cls.base_2)
        log_sums(logging_outputs, cls.names)


@dataclass
class TaggingCriterionConfig(FairseqDataclass):
    """Options of the criterion."""

    label_smoothing: float = flag(0.0, "label smoothing of classes, in 0-1")


@register_criterion("music_tagging", dataclass=TaggingCriterionConfig)
class TaggingCriterion(LabelCriterion):
    """One label of notes or pieces; the task also logs ``score``, the metric to select by."""

    names: ClassVar[Names] = {
        "classes": {name: Logged(name) for name in METRICS["classes"]},
        "multilabel": {name: Logged(name) for name in METRICS["multilabel"]},
        "regression": {name: Logged(name) for name in (*METRICS["regression"], "mse", "mae")},
    }


@dataclass
class MultilabelCriterionConfig(FairseqDataclass):
    """Options of the criterion."""

    classification_head_name: str = flag("sentence_classification_head", "name of the classification head")


@register_criterion("sentence_prediction_multilabel", dataclass=MultilabelCriterionConfig)
class MultilabelCriterion(LabelCriterion):
    """Any number of classes a sequence; the loss is logged in base 2, as published."""

    over_sequences = base_2 = True
    names: ClassVar[Names] = {
        "multilabel": {
            "accuracy": Logged("exact", 100.0, 1),
            **{f"f1_score_{average}": Logged(f"{average}_f1") for average in AVERAGES},
            # NaN would be compared with: the first checkpoint would stay the best
            **{
                f"roc_auc_score_{average}": Logged(f"roc_auc_{average}", undefined=-math.inf)
                for average in AVERAGES
            },
        }
    }


class RatingCriterion(LabelCriterion):
    """Performers and ratings of pieces, as published with ``--compat``."""

    names: ClassVar[Names] = {
        "classes": {"accuracy": Logged("accuracy", 100.0, 2)},
        "regression": {
            "R2": Logged("r2"),
            "MSE": Logged("mse"),
            "MAE": Logged("mae"),
            "pearson": Logged("pearson"),
        },
    }

    def __init__(self, cfg: Any, task: Any) -> None:
        super().__init__(cfg, task)
        self.compat = bool(task.cfg.compat)
        self.over_sequences = self.over_sequences or self.compat

    def loss(self, model: Any, sample: dict[str, Any], term: Term, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a term and the number of labels that it is the sum over."""
        loss, number = super().loss(model, sample, term, logits)
        if self.compat and term.kind == "regression" and len(self.terms) == 1:
            loss = loss / number.clamp(min=1)
        return loss, number

    def log(self, loss: Tensor, size: Any, sample: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Return what is summed over batches and workers."""
        return super().log(loss, size, sample, compat=int(self.compat), **more)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the metrics of the sums."""
        if total(logging_outputs, "compat"):
            log_as_published(logging_outputs)
        else:
            super().reduce_metrics(logging_outputs)


def log_as_published(logs: Sequence[dict[str, Any]]) -> None:
    """Log the loss in base 2 (also per ``ntokens``), and averages of the mini-batches' metrics."""
    log_loss(logs, base_2=True)
    loss, size, tokens, pieces = (
        total(logs, key) for key in ("loss", "sample_size", "ntokens", "nsentences")
    )
    if size != tokens:
        metrics.log_scalar("nll_loss", loss / tokens / math.log(2), tokens, round=3)
    log_sums(logs, {"classes": {"accuracy": Logged("accuracy", 100.0, 1)}})
    sums = total(logs, _key("regression"))
    if torch.is_tensor(sums):
        metrics.log_scalar("MSE", metrics_of("regression", sums)["mse"], pieces, round=4)
        metrics.log_scalar("R2", r2(sums.sum(dim=1, keepdim=True)).item(), pieces, round=4)


@register_criterion("M2P_xai", dataclass=FairseqDataclass)
class PerformerCriterion(RatingCriterion):
    """Music to performer."""


@register_criterion("M2PF_xai", dataclass=FairseqDataclass)
class FeatureCriterion(RatingCriterion):
    """Music to ratings of its features."""


@dataclass
class AdversaryConfig(FairseqDataclass):
    """Options of the adversary; the defaults are the published values."""

    adv_alpha: float = flag(1.0, "weight of the virtual term")
    adv_step_size: float = flag(1e-3, "step along the gradient")
    adv_noise_scale: float = flag(1e-5, "deviation of the first noise")
    adv_epsilon: float = flag(1e-6, "added to the norm before the division")
    adv_radius: float = flag(1.0, "largest move of an embedding (infinity norm)")


@register_criterion("M2PF_xai_adv", dataclass=AdversaryConfig)
class AdversaryCriterion(RatingCriterion):
    """Music to ratings, under the worst small noise on the embeddings.

    In evaluation there is no noise, so that epochs can be compared (with ``--compat`` there is, as
    published).
    """

    def loss(self, model: Any, sample: dict[str, Any], term: Term, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a term and the number of labels that it is the sum over."""
        if not model.training and not self.compat:
            return super().loss(model, sample, term, logits)
        inputs, ratings = sample["net_input"], sample["targets"][term.label]
        names = ("alpha", "step_size", "noise_scale", "epsilon", "radius")
        loss = adversarial_loss(
            model.embed_tokens(inputs["src_tokens"]),  # (B, T*F, D)
            lambda moved: outputs_of(model, self.terms, inputs, token_embeddings=moved)[0],
            ratings,
            logits,
            settings=Adversary(
                **{name: getattr(self.cfg, f"adv_{name}") for name in names}, compat=self.compat
            ),
        )["loss"]
        number = (~ratings.isnan()).sum()
        return (loss if self.compat else loss * number), number


@dataclass
class BothConfig(FairseqDataclass):
    """Weights of the two terms."""

    cls_weight: float = flag(1.0, "weight of the performer's cross entropy")
    reg_weight: float = flag(1.0, "weight of the ratings' summed squared error")


@register_criterion("M2PFnP_xai", dataclass=BothConfig)
class BothCriterion(RatingCriterion):
    """Music to ratings of its features and to its performer."""

    over_sequences = True

    def __init__(self, cfg: BothConfig, task: Any) -> None:
        super().__init__(cfg, task)
        weights = {"classes": cfg.cls_weight, "regression": cfg.reg_weight}
        self.terms = [replace(term, weight=weights[term.kind] * term.weight) for term in self.terms]
