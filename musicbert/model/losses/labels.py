"""Losses of labels of notes or pieces: sums over what is known, with the number that they are sums over.

* ``classes``: cross entropy in nats; an item without a class has the class -1.
* ``multilabel``: binary cross entropy of each label in nats; a missing label is NaN.
* ``regression``: squared error of each value; a missing value is NaN.

Legend: ``B`` windows, ``T`` rows, ``C`` outputs, ``M`` labelled items (notes or windows).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

#: class of an item without a label
UNKNOWN_CLASS = -1


def known_items(target: Tensor, kind: str) -> Tensor:
    """Which items have a label [shape=(B,) or (B, T), bool].

    ``target``: classes [shape=(B,) or (B, T)], or values [shape=(..., C)].
    """
    return target != UNKNOWN_CLASS if kind == "classes" else ~target.isnan().all(dim=-1)


def label_loss(
    kind: str,
    outputs: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the loss summed over the known labels, and their number (the sum of their weights).

    ``outputs``: logits, or values of a regression [shape=(..., C)]; ``target`` [shape=(...), int64] of
    classes, else [shape=(..., C), float]; ``weight``: of each window [shape=(B,)]; ``class_weight``: of each
    class, or of the positive labels of each output [shape=(C,)]; ``smoothing``: label smoothing of classes,
    in 0-1.
    """
    known = known_items(target, kind)
    items = torch.ones_like(known, dtype=torch.float32)
    if weight is not None:
        items = items * weight.view(-1, *[1] * (known.dim() - 1))
    outputs, target, items = outputs[known].float(), target[known], items[known]  # (M, C), (M,) or (M, C)
    if kind == "classes":
        losses = F.cross_entropy(
            outputs, target, weight=class_weight, reduction="none", label_smoothing=smoothing
        )
        number = items if class_weight is None else items * class_weight[target]
        return (losses * items).sum(), number.sum()
    number = ~target.isnan() * items[:, None]  # (M, C)
    target = target.nan_to_num()  # before the subtraction: 0 * NaN would put NaN into the gradient
    if kind == "multilabel":
        losses = F.binary_cross_entropy_with_logits(
            outputs, target, pos_weight=class_weight, reduction="none"
        )
    else:
        losses = (outputs - target).square()
    return (losses * number).sum(), number.sum()


def mean_squared_error(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the known values [shape=(B, C), NaN where missing]; 0 without any."""
    total, number = label_loss("regression", outputs, target)
    return total / number.clamp(min=1)
