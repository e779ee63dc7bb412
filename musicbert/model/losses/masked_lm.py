"""Loss and accuracy of masked language models, as sums that can be added over batches.

Legend: ``N`` selected tokens (or notes), ``V`` vocabulary, ``F`` fields of a note, ``V_f`` ids of column f.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class MaskedLMSums:
    """Sums over the selected tokens of a batch.

    ``loss``: cross-entropy in nats [scalar]; ``correct``, ``count``: correct predictions and tokens, by field
    [shape=(F,)].
    """

    loss: torch.Tensor
    correct: torch.Tensor
    count: torch.Tensor


def listed_lm_sums(logits: torch.Tensor, wanted: torch.Tensor, counts: Sequence[int]) -> MaskedLMSums:
    """Compare logits of the selected tokens with the target, without synchronising a GPU.

    ``logits`` [shape=(N, V)]; ``wanted``: token ids, sorted by field [shape=(N,), int64]; ``counts``: tokens
    of each field [length F].
    """
    loss = F.cross_entropy(logits.float(), wanted, reduction="sum")
    with torch.no_grad():
        right = (logits.max(-1).indices == wanted).to(torch.float32)  # (N,)
        correct = torch.stack([part.sum() for part in right.split(list(counts))])  # (F,)
        return MaskedLMSums(loss, correct, torch.tensor(counts, dtype=torch.float32))


@dataclass
class ColumnSums:
    """Sums over the selected cells of a batch, by column [shape=(F,), float32].

    ``loss``: cross-entropy in nats; ``correct``, ``count``: correct predictions, and cells.
    """

    loss: torch.Tensor
    correct: torch.Tensor
    count: torch.Tensor


def column_sums(logits: Sequence[torch.Tensor], target: torch.Tensor, selected: torch.Tensor) -> ColumnSums:
    """Compare logits, F x [shape=(N, V_f)], with the selected cells of the target.

    ``target`` [shape=(N, F), int64]; ``selected`` [shape=(N, F), bool].
    """
    weight = selected.to(torch.float32)  # (N, F)
    losses, correct = [], []
    for column, scores in enumerate(logits):
        wanted = target[:, column]
        loss = F.cross_entropy(scores.float(), wanted, reduction="none")  # (N,)
        losses.append((loss * weight[:, column]).sum())
        with torch.no_grad():
            correct.append(((scores.argmax(-1) == wanted) * weight[:, column]).sum())
    return ColumnSums(torch.stack(losses), torch.stack(correct), weight.sum(0))


class FieldCounts:
    """Running counts on the device; only `read` synchronises it.

    ``fields``, ``values``: ``F``, and the largest ``V`` of a field.
    """

    def __init__(self, fields: int, values: int) -> None:
        self._shape = (fields, values)
        self._counts: torch.Tensor | None = None

    def _on(self, device: torch.device) -> torch.Tensor:
        if self._counts is None:
            self._counts = torch.zeros(self._shape, dtype=torch.int64, device=device)
        return self._counts

    def add_listed(self, wanted: torch.Tensor, counts: Sequence[int]) -> None:
        """Count token ids, sorted by field [shape=(N,), int64]; ``counts``: tokens of each field."""
        totals = self._on(wanted.device)
        one = totals.new_ones(1)
        for row, part in zip(totals, wanted.split(list(counts)), strict=True):
            row.scatter_add_(0, part, one.expand(len(part)))

    def add_cells(self, target: torch.Tensor, selected: torch.Tensor) -> None:
        """Count the ``selected`` [bool] cells of ``target`` [int64], both [shape=(N, F)]."""
        self._on(target.device).scatter_add_(1, target.T, selected.T.to(torch.int64))

    def read(self) -> tuple[int, float]:
        """Return the number of tokens, and the loss of guessing in nats per token; ``(0, 0.0)`` at first."""
        if self._counts is None:
            return 0, 0.0
        counts = self._counts.to("cpu", torch.float64)  # (F, V)
        total = float(counts.sum())
        of_field = counts.sum(1, keepdim=True)
        nats = torch.special.xlogy(counts, of_field / counts.clamp(min=1)).sum()
        return int(total), float(nats) / max(total, 1.0)
