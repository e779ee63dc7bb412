"""The criterion ``octuple_masked_lm``: cross-entropy over the selected tokens, accuracy by field.

Logged in bits per token, as fairseq does. Accuracies are right predictions over tokens, summed over
everything that is reported together (a logging interval, or the whole validation set), never averages of
mini-batches.
"""

# No postponed annotations here: fairseq reads the types of a dataclass when it builds its flags.
import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from fairseq import utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics

from musicbert.encoding.vocabulary import FIELDS
from musicbert.model.masked_lm import masked_lm_sums

__all__ = ["OctupleMaskedLMCriterion", "OctupleMaskedLMCriterionConfig"]


@dataclass
class OctupleMaskedLMCriterionConfig(FairseqDataclass):
    """Flags of the criterion."""

    performance_weight: float = field(
        default=1.0, metadata={"help": "weight of a hidden performance input beside a selected token"}
    )


@register_criterion("octuple_masked_lm", dataclass=OctupleMaskedLMCriterionConfig)
class OctupleMaskedLMCriterion(FairseqCriterion):
    """Masked-LM loss in nats, summed over the selected tokens.

    With performance inputs, the Huber loss of every hidden one (`hide_performance`) is added.
    """

    def __init__(self, cfg: OctupleMaskedLMCriterionConfig, task: Any) -> None:
        super().__init__(task)
        self.performance_weight = cfg.performance_weight

    def forward(
        self,
        model: torch.nn.Module,
        sample: dict[str, Any],
        reduce: bool = True,  # noqa: ARG002 - fairseq's signature
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Loss, number of selected tokens, and what is logged."""
        target = sample["target"]  # (B, T*F)
        selected = target.ne(self.padding_idx)
        logits, extra = model(**sample["net_input"], masked_tokens=selected)  # (N, V)
        sums = masked_lm_sums(logits, target, selected, fields=len(FIELDS))
        sample_size = sums.count.sum()
        logged = {
            "loss": sums.loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": sample_size,
        }
        for name, correct, count in zip(FIELDS, sums.correct, sums.count, strict=True):
            logged[f"correct_{name}"] = correct
            logged[f"count_{name}"] = count
        loss = sums.loss
        if "performance" in extra:
            inputs, hidden = (sample["net_input"][name] for name in ("performance", "performance_hidden"))
            error = F.huber_loss(extra["performance"].float(), inputs, reduction="none")  # (B, T, P)
            error = (error * hidden).sum()
            loss = loss + self.performance_weight * error
            logged |= {"performance_loss": error.detach(), "performance_count": hidden.sum()}
        return loss, sample_size, logged

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log the loss in bits, the perplexity, and the accuracy of each field and overall in per cent."""

        def total(key: str) -> float:
            return float(sum(log.get(key, 0) for log in logging_outputs))

        size = total("sample_size")
        metrics.log_scalar("loss", total("loss") / max(size, 1.0) / math.log(2), size, round=3)
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["loss"].avg))
        hidden = total("performance_count")
        if hidden:
            error = total("performance_loss") / hidden
            metrics.log_scalar("performance_loss", error, hidden, priority=200, round=4)
        correct = {name: total(f"correct_{name}") for name in FIELDS}
        count = {name: total(f"count_{name}") for name in FIELDS}
        correct["all"], count["all"] = sum(correct.values()), sum(count.values())
        for name in correct:
            # a weighted mean of means is the mean over everything
            share = 100.0 * correct[name] / max(count[name], 1.0)
            metrics.log_scalar(f"accuracy_{name}", share, count[name], priority=200, round=2)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """All that is logged are sums."""
        return True
