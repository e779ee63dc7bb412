"""Loss and accuracy of the masked language model, as sums that can be added over batches.

Legend: ``N`` selected tokens, ``V`` vocabulary, ``F`` fields of a note.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class MaskedLMSums:
    """Sums over the selected tokens of a batch.

    ``loss``: cross-entropy in nats [scalar]; ``correct``, ``count``: tokens whose most likely prediction is
    right, and tokens, by field [shape=(F,)].
    """

    loss: torch.Tensor
    correct: torch.Tensor
    count: torch.Tensor


def masked_lm_sums(
    logits: torch.Tensor, target: torch.Tensor, selected: torch.Tensor, *, fields: int = 8
) -> MaskedLMSums:
    """Compare logits of the selected tokens with what stood there.

    ``logits``: one shared softmax over the vocabulary [shape=(N, V)], in the order of ``target[selected]``;
    ``target``: token ids [shape=(B, T*F), int64]; ``selected``: true at the selected tokens [shape=(B, T*F),
    bool]; ``fields``: ``F``.
    """
    wanted = target[selected]  # (N,)
    loss = F.cross_entropy(logits.float(), wanted, reduction="sum")
    with torch.no_grad():
        field = selected.nonzero()[:, 1] % fields  # (N,)
        right = (logits.max(-1).indices == wanted).to(torch.float32)
        by_field = F.one_hot(field, fields).to(torch.float32)  # (N, F)
        return MaskedLMSums(loss, right @ by_field, by_field.sum(0))


def listed_lm_sums(logits: torch.Tensor, wanted: torch.Tensor, counts: Sequence[int]) -> MaskedLMSums:
    """As :func:`masked_lm_sums`, for tokens that are listed by field: no device has to be waited for.

    ``logits`` [shape=(N, V)], in the order of ``wanted``; ``wanted``: token ids, sorted by field [shape=(N,),
    int64]; ``counts``: tokens of each field [length F].
    """
    loss = F.cross_entropy(logits.float(), wanted, reduction="sum")
    with torch.no_grad():
        right = (logits.max(-1).indices == wanted).to(torch.float32)  # (N,)
        correct = torch.stack([part.sum() for part in right.split(list(counts))])  # (F,)
        return MaskedLMSums(loss, correct, torch.tensor(counts, dtype=torch.float32))
