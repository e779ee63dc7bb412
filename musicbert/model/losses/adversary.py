"""The adversary of the rating tasks: regression under noise on the embeddings.

Virtual adversarial training (Miyato et al. 2018; SMART, Jiang et al. 2020), with labels as in ALICE (Pereira
et al. 2020).

Shapes: ``B`` pieces, ``R`` ratings of a piece, ``T`` notes, ``F`` fields, ``D`` width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from musicbert.model.losses.labels import known_items, mean_squared_error


@dataclass(frozen=True)
class Adversary:
    """Settings of the adversary; the defaults are the published ones.

    ``alpha``: weight of the virtual term (scores under noise against clean scores); ``step_size``: step along
    the gradient; ``noise_scale``: standard deviation of the first noise; ``epsilon``: added to the norm
    before dividing by it; ``radius``: largest movement of a token's embedding, infinity norm over the width
    (the published 1 is large beside embeddings of standard deviation 0.02); ``compat``: compare raw logits
    instead of their sigmoid with ratings and clean scores, and leave out the clean supervised term, as the
    published code does.
    """

    alpha: float = 1.0
    step_size: float = 1e-3
    noise_scale: float = 1e-5
    epsilon: float = 1e-6
    radius: float = 1.0
    compat: bool = False


def _perturbed_error(
    embeddings: Tensor, state: Tensor, forward: Callable[[Tensor], Tensor], noise: Tensor, settings: Adversary
) -> Tensor:
    """Mean squared distance of the outputs under the worst small noise from ``state``."""
    read = (lambda x: x) if settings.compat else torch.sigmoid
    first = (settings.noise_scale * noise).requires_grad_()  # (B, T*F, D)
    with torch.enable_grad():
        distance = mean_squared_error(read(forward(embeddings.detach() + first)), state.detach())
        (gradient,) = torch.autograd.grad(distance, first)
    moved = first.detach() + settings.step_size * gradient  # (B, T*F, D)
    largest = moved.abs().amax(dim=-1, keepdim=True)  # (B, T*F, 1)
    moved = settings.radius * moved / (largest + settings.epsilon)
    return mean_squared_error(read(forward(embeddings + moved)), state)


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

    ``embeddings``: of the tokens, before anything is added to them [shape=(B, T*F, D)]; ``forward``: logits
    [shape=(B, R)] from embeddings; ``ratings`` [shape=(B, R)], NaN where missing; ``clean_logits``: logits
    without noise [shape=(B, R)]; ``noise``: standard normal noise of the virtual and the label term, shaped
    like ``embeddings``; drawn when None.

    Returns ``loss`` and its terms ``virtual``, ``labels`` and, unless compatible, ``clean``; all mean squared
    errors.
    """
    settings = settings or Adversary()
    if noise is None:
        noise = (torch.randn_like(embeddings), torch.randn_like(embeddings))
    clean = torch.sigmoid(clean_logits.float())  # (B, R)
    # a piece without ratings contributes nothing, to the virtual term either
    state = torch.where(known_items(ratings, "regression")[:, None], clean, torch.nan)  # (B, R)
    terms = {
        "virtual": _perturbed_error(embeddings, state, forward, noise[0], settings),
        "labels": _perturbed_error(embeddings, ratings, forward, noise[1], settings),
    }
    loss = terms["labels"] + settings.alpha * terms["virtual"]
    if not settings.compat:
        terms["clean"] = mean_squared_error(clean, ratings)
        loss = loss + terms["clean"]
    return {"loss": loss, **terms}
