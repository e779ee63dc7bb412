"""The criterion ``compound_token``: cross-entropy per column, weighted by its size, and a piano roll.

As published, a batch gives ``sum_f w_f L_f + w_roll L_roll`` over ``sum_f w_f + w_roll``. ``L_f`` is the mean
cross-entropy of column f over the selected cells, ``w_f`` the number of ids of the column (4, 18, 88, 66 of
compound words) and ``w_roll`` 1; ``L_roll`` is the squared error of a note summed over the outputs, averaged
over all notes (see `musicbert.model.losses.pianoroll`).

fairseq sums gradients over devices and accumulated batches and divides by the sum of sample sizes. The sample
size is the number of corrupted notes, and the loss is multiplied by it: a mean over notes, not a mean of
means. Losses and accuracies in the log are over everything that is reported together. ``accuracy`` is the
mean of the columns' accuracies weighted by ``w_f`` (published: it selects the best checkpoint).
"""

from dataclasses import dataclass
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics

from musicbert.errors import ConfigError
from musicbert.fairseq_plugin.data.task import SummedCriterion, flag
from musicbert.model.losses.masked_lm import column_sums
from musicbert.model.losses.pianoroll import roll_loss


@dataclass
class CompoundTokenConfig(FairseqDataclass):
    """Flags of the criterion."""

    field_weights: str = flag("", "weight of each column, with commas (default: its number of ids)")
    roll_weight: float = flag(1.0, "weight of the piano roll")


@register_criterion("compound_token", dataclass=CompoundTokenConfig)
class CompoundTokenCriterion(SummedCriterion):
    """Loss over the columns of selected notes, and over the piano roll of all notes.

    Raises `ConfigError` (``bad-options``: the weights do not fit the columns).
    """

    def __init__(self, cfg: CompoundTokenConfig, task: Any) -> None:
        super().__init__(task)
        self.fields = task.fields
        self.roll_weight = float(cfg.roll_weight)
        try:
            given = [float(part) for part in cfg.field_weights.split(",")] if cfg.field_weights else None
            self.weights = tuple(given or map(float, self.fields.sizes))
            if len(self.weights) != len(self.fields) or min(self.weights) < 0 or sum(self.weights) == 0:
                raise ValueError(f"{len(self.weights)} weights for {len(self.fields)} columns")
        except ValueError as error:
            names = ", ".join(self.fields.names)
            hint = f"give --field-weights one number from 0 for each of {names}"
            raise ConfigError("bad-options", f"The weights do not fit: {error}", hint=hint) from error

    def forward(
        self, model: Any, sample: dict[str, Any], reduce: bool = True
    ) -> tuple[torch.Tensor, int, dict[str, Any]]:
        """Loss times the number of corrupted notes, this number, and what is logged."""
        del reduce
        outputs, _ = model(**sample["net_input"])
        sums = column_sums(outputs.columns, sample["target"], sample["selected"])
        weights = torch.tensor(self.weights, device=sums.loss.device)
        loss = (weights * sums.loss / sums.count.clamp(min=0.1)).sum()
        total = sum(self.weights)
        size = len(sample["target"])
        logged: dict[str, Any] = {"batches": 1}
        if outputs.roll is not None and "events" in sample:
            padding = sample["net_input"].get("padding_mask")
            real = None if padding is None else ~padding
            error = roll_loss(outputs.roll, sample["events"], sample["bars"], real)
            loss = loss + self.roll_weight * error / max(sample["ntokens"], 1)
            total += self.roll_weight
            logged["roll_error"], logged["roll_notes"] = error.detach(), sample["ntokens"]
        loss = loss / total * size
        for number, name in enumerate(self.fields.names):
            logged[f"nll_{name}"] = sums.loss[number].detach()
            logged[f"correct_{name}"] = sums.correct[number]
            logged[f"count_{name}"] = sums.count[number]
            logged[f"weight_{name}"] = self.weights[number]
        return loss, size, self.log(loss, size, sample, **logged)

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log losses in nats a cell, the roll's error a note, and accuracies in per cent."""

        def total(key: str) -> float:
            return float(sum(log.get(key, 0) for log in logging_outputs))

        size = total("sample_size")
        metrics.log_scalar("loss", total("loss") / max(size, 1.0), size, round=4)
        columns = [key.removeprefix("correct_") for key in logging_outputs[0] if key.startswith("correct_")]
        weighted = weights = 0.0
        for name in columns:
            count = total(f"count_{name}")
            share = 100.0 * total(f"correct_{name}") / max(count, 1.0)
            weight = total(f"weight_{name}") / max(total("batches"), 1.0)
            weighted, weights = weighted + weight * share, weights + weight
            metrics.log_scalar(f"nll_{name}", total(f"nll_{name}") / max(count, 1.0), count, round=4)
            metrics.log_scalar(f"accuracy_{name}", share, count, priority=200, round=2)
        metrics.log_scalar("accuracy", weighted / max(weights, 1e-9), size, priority=190, round=3)
        if total("roll_notes"):
            notes = total("roll_notes")
            metrics.log_scalar("roll", total("roll_error") / notes, notes, round=3)
