"""Contrastive pre-training: label-aware contrast (LASCon).

LASCon contrasts ``n`` pairs of views. With the unit vectors of both views stacked, ``S = Z Zᵀ /
temperature`` and

    log u_ij = S_ij - log Σ_{k≠i} exp S_ik            (softmax over the row, without the diagonal)
    loss     = -mean_i Σ_{j≠i} w_ij log u_ij / Σ_{j≠i} w_ij

where ``w_ij`` says how alike the labels of two views are. The published code divides by the partition
function of the *column* (``k≠j``, ``S_jk``); ``compat=True`` does so too. For ``nt-xent`` both give the
same number.

Shapes: ``N`` pairs, ``M = 2N`` views, ``E`` width of an embedding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

#: how the weight of a pair follows from its labels
SIMILARITIES = ("supcon", "nt-xent", "tanh", "linear")

#: weight of a pair with different labels (the published constant)
_UNLIKE = 0.01


def label_similarity(labels: Tensor, kind: str, *, slope: float = 1.0) -> Tensor:
    """Return how alike the labels of every two views are: weights in 0-1 [shape=(M, M)].

    The diagonal is meaningless. ``labels`` [shape=(M,)], the second views after the first ones; ``kind``:
    ``supcon``: 1 for the same class (labels at most 0.5 apart), else 0.01; ``nt-xent``: 1 only for the other
    view of the same piece; ``tanh`` and ``linear``: falling with the distance of the labels, after division
    by the largest absolute label; ``slope``: steepness of ``tanh``.

    Raises `ValueError` (another kind).
    """
    if kind == "nt-xent":
        half = len(labels) // 2
        return torch.eye(len(labels), device=labels.device).roll(half, dims=1)  # (M, M)
    labels = labels.float()
    if kind == "supcon":
        apart = (labels[:, None] - labels[None, :]).abs()  # (M, M)
        return torch.where(apart <= 0.5, 1.0, _UNLIKE)
    if kind not in SIMILARITIES:
        raise ValueError(f"similarity is one of {', '.join(SIMILARITIES)}, not {kind!r}")
    labels = labels / labels.abs().max().clamp(min=torch.finfo(labels.dtype).tiny)
    apart = (labels[:, None] - labels[None, :]).abs()
    return 1 - torch.tanh(slope * apart / 2) / 2 if kind == "tanh" else 1 - apart / 2


def lascon(
    first: Tensor,
    second: Tensor,
    first_labels: Tensor,
    second_labels: Tensor,
    *,
    similarity: str = "supcon",
    temperature: float = 0.5,
    slope: float = 1.0,
    log_outside: bool = True,
    compat: bool = False,
) -> Tensor:
    """Label-aware contrastive loss of two views: a scalar in nats, 0 where there are fewer than two views.

    ``first``, ``second``: embeddings, of which only the direction counts [shape=(N, E)]; the second may have
    one row less or more, except with ``nt-xent``. ``first_labels``, ``second_labels`` [shape=(N,)];
    ``similarity``, ``slope``: see :func:`label_similarity`; ``temperature``: divisor of the cosines;
    ``log_outside``: mean of the logarithms (``L_out``), else logarithm of the mean (``L_in``); ``compat``:
    see the module.

    Raises `ValueError` (``nt-xent`` and the views are not pairs).
    """
    if similarity == "nt-xent" and len(first) != len(second):
        raise ValueError(f"nt-xent needs pairs, not {len(first)} and {len(second)} views")
    views = F.normalize(torch.cat([first, second]).float(), dim=-1)  # (M, E)
    count = len(views)
    if count < 2:
        return views.sum() * 0.0
    weights = label_similarity(torch.cat([first_labels, second_labels]), similarity, slope=slope)  # (M, M)
    logits = views @ views.T / temperature  # (M, M)
    others = ~torch.eye(count, dtype=torch.bool, device=views.device)
    log_partition = logits.masked_fill(~others, -torch.inf).logsumexp(dim=-1)  # (M,) of each view
    log_u = logits - (log_partition[None, :] if compat else log_partition[:, None])  # (M, M)
    weights = weights * others
    inner = log_u if log_outside else log_u.exp()
    mean = (weights * inner).sum(dim=-1) / weights.sum(dim=-1)  # (M,)
    return -mean.mean() if log_outside else -mean.mean().log()
