"""The criterion ``octuple_masked_lm``: cross-entropy over the selected tokens, accuracy by field.

Logged in bits per token, as fairseq does. Accuracies are over everything that is reported together (a logging
interval, or the whole validation set), not averages of mini-batches. Computing a batch never synchronises a
GPU: the batch lists the selected tokens (`musicbert.objectives.batches`), and sums stay on the device until
they are logged.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from fairseq import utils
from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics

from musicbert.encoding.vocabulary import FIELDS
from musicbert.fairseq_plugin.data.task import SummedCriterion, flag
from musicbert.model.blocks.masked_positions import MaskedPlaces
from musicbert.model.blocks.packed_attention import Segments
from musicbert.model.losses.masked_lm import listed_lm_sums


@dataclass
class OctupleMaskedLMCriterionConfig(FairseqDataclass):
    """Flags of the criterion."""

    performance_weight: float = flag(1.0, "weight of a hidden performance input beside a selected token")


@register_criterion("octuple_masked_lm", dataclass=OctupleMaskedLMCriterionConfig)
class OctupleMaskedLMCriterion(SummedCriterion):
    """Masked-LM loss in nats, summed over the selected tokens.

    With performance inputs, the Huber loss of every hidden one (`hide_performance`) is added.
    """

    def __init__(self, cfg: OctupleMaskedLMCriterionConfig, task: Any) -> None:
        super().__init__(task)
        self.performance_weight = cfg.performance_weight

    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Loss, number of selected tokens, and what is logged."""
        del reduce
        masked = sample["masked"]
        segments = Segments(**sample["segments"]) if "segments" in sample else None
        logits, extra = model(
            **sample["net_input"],
            masked_places=MaskedPlaces(masked["notes"], masked["counts"]),
            padded=sample["padded"],
            segments=segments,
        )  # (N, V)
        sums = listed_lm_sums(logits, masked["wanted"], masked["counts"])
        sample_size = sum(masked["counts"])
        logged = self.log(sums.loss, sample_size, sample, correct=sums.correct, count=sums.count)  # (F,)
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
        totals = _totals(logging_outputs)
        (loss,), (size,) = totals["loss"], totals["sample_size"]
        metrics.log_scalar("loss", loss / max(size, 1.0) / math.log(2), size, round=3)
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["loss"].avg))
        (hidden,), (error,) = totals["performance_count"], totals["performance_loss"]
        if hidden:
            metrics.log_scalar("performance_loss", error / hidden, hidden, priority=200, round=4)
        correct = dict(zip(FIELDS, totals["correct"], strict=True))
        count = dict(zip(FIELDS, totals["count"], strict=True))
        correct["all"], count["all"] = sum(correct.values()), sum(count.values())
        for name in correct:
            # a weighted mean of means is the mean over everything
            share = 100.0 * correct[name] / max(count[name], 1.0)
            metrics.log_scalar(f"accuracy_{name}", share, count[name], priority=200, round=2)


def _totals(logging_outputs: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Sums of what was logged, brought from the device at once."""
    names = ("loss", "sample_size", "correct", "count", "performance_loss", "performance_count")
    sums = [torch.as_tensor(sum(log.get(name, 0) for log in logging_outputs)).reshape(-1) for name in names]
    device = next((part.device for part in sums if part.device.type != "cpu"), torch.device("cpu"))
    flat = torch.cat([part.to(device, torch.float64) for part in sums]).cpu()
    parts = flat.split([len(part) for part in sums])
    return {name: part.tolist() for name, part in zip(names, parts, strict=True)}
