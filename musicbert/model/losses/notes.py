"""Loss and accuracies of notes that are to be said column by column, as sums that can be added over batches.

Legend: ``N`` notes, ``F`` columns of a note, ``V_f`` ids of column f.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class ColumnSums:
    """Sums over the selected cells of a batch, by column [shape=(F,), float32].

    ``loss``: cross-entropy in nats; ``correct``, ``count``: cells whose most likely prediction is right, and
    cells.
    """

    loss: torch.Tensor
    correct: torch.Tensor
    count: torch.Tensor


def column_sums(logits: Sequence[torch.Tensor], target: torch.Tensor, selected: torch.Tensor) -> ColumnSums:
    """Compare logits with what stood there.

    ``logits``: one softmax a column, F x [shape=(N, V_f)]; ``target``: cells [shape=(N, F), int64];
    ``selected``: true at the cells that count [shape=(N, F), bool].
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
