"""Losses of the rating tasks: masked squared error, performer cross entropy, both, and the adversary.

A rating that is missing is NaN and contributes nothing, neither to a sum nor to a count: it is never a zero.
Ratings are on 0-1 (a rating of 1..7 divided by 7); the model's outputs are logits, and ``sigmoid`` makes them
scores on the same scale. A performer class below zero is unknown and contributes nothing.

Shapes: ``B`` pieces, ``R`` ratings of a piece, ``C`` performers, ``T`` notes, ``F`` fields, ``D`` width.

The adversary is virtual adversarial training on embeddings (Miyato et al. 2018; SMART, Jiang et al. 2020;
with labels as in ALICE, Pereira et al. 2020). Verified against recorded values in
``tests/parity/test_rating_losses_golden.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "UNKNOWN_CLASS",
    "Adversary",
    "adversarial_loss",
    "masked_mean_squared_error",
    "masked_squared_error",
    "performer_cross_entropy",
    "rated_rows",
]

#: class of a piece whose performer is unknown
UNKNOWN_CLASS = -1


def rated_rows(ratings: Tensor) -> Tensor:
    """Return which pieces have at least one rating.

    Parameters
    ----------
    ratings
        [shape=(B, R)], NaN where no rating.

    Returns
    -------
    Tensor
        [shape=(B,), bool]
    """
    return (~ratings.isnan()).any(dim=-1)  # (B,)


def masked_squared_error(scores: Tensor, ratings: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of squared errors over the ratings that exist.

    Parameters
    ----------
    scores
        [shape=(B, R)] what the model says.
    ratings
        [shape=(B, R)] what the annotators said, NaN where they said nothing.

    Returns
    -------
    total, count
        Sum of the squared errors (float32, differentiable) and number of ratings that it is over.
    """
    present = ~ratings.isnan()  # (B, R)
    # the NaN is replaced before the subtraction: 0 * NaN would put NaN into the gradient
    difference = scores.float() - torch.where(present, ratings, 0.0).float()
    return difference.square().mul(present).sum(), present.sum()


def masked_mean_squared_error(scores: Tensor, ratings: Tensor) -> Tensor:
    """Mean squared error over the ratings that exist; zero where there is none.

    Parameters
    ----------
    scores, ratings
        [shape=(B, R)], see :func:`masked_squared_error`.
    """
    total, count = masked_squared_error(scores, ratings)
    return total / count.clamp(min=1)


def performer_cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Sum over the pieces of the cross entropy of the performer, in nats.

    Parameters
    ----------
    logits
        [shape=(B, C)]
    classes
        [shape=(B,)] performer classes; :data:`UNKNOWN_CLASS` contributes nothing.
    """
    return F.cross_entropy(logits.float(), classes.long(), reduction="sum", ignore_index=UNKNOWN_CLASS)


@dataclass(frozen=True)
class Adversary:
    """Settings of the adversary; the defaults are the published ones.

    Attributes
    ----------
    alpha
        Weight of the virtual term (scores under noise against clean scores).
    step_size
        Step along the gradient.
    noise_scale
        Standard deviation of the first noise.
    epsilon
        Added to the norm before the division by it.
    radius
        Largest movement of a token's embedding, infinity norm over the width. The published code normalises
        to 1, which is large beside embeddings of standard deviation 0.02.
    compat
        Compare raw logits, instead of their sigmoid, with ratings and clean scores, and leave out the clean
        supervised term, as the published code does.
    """

    alpha: float = 1.0
    step_size: float = 1e-3
    noise_scale: float = 1e-5
    epsilon: float = 1e-6
    radius: float = 1.0
    compat: bool = False


def _perturbed_error(
    embeddings: Tensor,
    state: Tensor,
    forward: Callable[[Tensor], Tensor],
    noise: Tensor,
    settings: Adversary,
) -> Tensor:
    """Mean squared distance of the outputs under the worst small noise from ``state``."""
    read = (lambda x: x) if settings.compat else torch.sigmoid
    first = (settings.noise_scale * noise).requires_grad_()  # (B, T*F, D)
    with torch.enable_grad():
        distance = masked_mean_squared_error(read(forward(embeddings.detach() + first)), state.detach())
        (gradient,) = torch.autograd.grad(distance, first)
    moved = first.detach() + settings.step_size * gradient  # (B, T*F, D)
    largest = moved.abs().amax(dim=-1, keepdim=True)  # (B, T*F, 1)
    moved = settings.radius * moved / (largest + settings.epsilon)
    return masked_mean_squared_error(read(forward(embeddings + moved)), state)


def adversarial_loss(
    embeddings: Tensor,
    forward: Callable[[Tensor], Tensor],
    ratings: Tensor,
    clean_logits: Tensor,
    *,
    settings: Adversary | None = None,
    noise: tuple[Tensor, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Regression under adversarial noise on the embeddings.

    Parameters
    ----------
    embeddings
        [shape=(B, T*F, D)] embeddings of the tokens, before anything is added to them.
    forward
        Logits [shape=(B, R)] from embeddings.
    ratings
        [shape=(B, R)], NaN where no rating.
    clean_logits
        [shape=(B, R)] logits without noise.
    settings
        See :class:`Adversary`.
    noise
        Standard normal noise for the virtual and the label term, shaped like ``embeddings``; drawn when None.

    Returns
    -------
    dict
        ``loss`` and its terms: ``virtual``, ``labels`` and, unless compatible, ``clean``; all mean squared
        errors.
    """
    settings = settings or Adversary()
    if noise is None:
        noise = (torch.randn_like(embeddings), torch.randn_like(embeddings))
    clean = torch.sigmoid(clean_logits.float())  # (B, R)
    # a piece without ratings contributes nothing, to the virtual term either
    state = torch.where(rated_rows(ratings)[:, None], clean, torch.nan)  # (B, R)
    terms = {
        "virtual": _perturbed_error(embeddings, state, forward, noise[0], settings),
        "labels": _perturbed_error(embeddings, ratings, forward, noise[1], settings),
    }
    loss = terms["labels"] + settings.alpha * terms["virtual"]
    if not settings.compat:
        terms["clean"] = masked_mean_squared_error(clean, ratings)
        loss = loss + terms["clean"]
    return {"loss": loss, **terms}
