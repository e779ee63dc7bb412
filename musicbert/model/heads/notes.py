"""Heads over vectors of notes: one label per note, or one for all notes of a window.

Legend: ``B`` windows, ``T`` rows, ``D`` width, ``C`` outputs, ``R`` hops of attention.

Names and shapes of parameters are those of M2BERT's fine-tuned checkpoints.
"""

import torch
import torch.nn.functional as F
from torch import nn

#: width of the scores and number of hops of the published head (Lin et al. 2017 have 350 and 30)
HIDDEN, HOPS = 128, 4
#: added to a variance: the gradient of its root stays finite
EPSILON = 1e-6


#: functions between two layers (MidiBERT has ReLU)
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def _classifier(inputs: int, outputs: int, inner: int, dropout: float, activation: str) -> nn.Sequential:
    """Return one layer (M2BERT), or with ``inner`` two with a function between and dropout before."""
    if not inner:
        return nn.Sequential(nn.Linear(inputs, outputs))
    between = ACTIVATIONS[activation]()
    layers = (nn.Dropout(dropout), nn.Linear(inputs, inner), between, nn.Linear(inner, outputs))
    return nn.Sequential(*layers)


class NoteHead(nn.Module):
    """One label per note: one linear layer, or two with ``inner`` numbers between and dropout before them.

    ``activation``: function between the two, one of `ACTIVATIONS`.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        inner: int = 0,
        dropout: float = 0.1,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.classifier = _classifier(width, outputs, inner, dropout, activation)

    def forward(self, hidden: torch.Tensor, notes: torch.Tensor) -> torch.Tensor:
        """Logits of every row: [shape=(B, T, D)] -> [shape=(B, T, C)]."""
        del notes
        return self.classifier(hidden)  # (B, T, C)


def pooled(hidden: torch.Tensor, notes: torch.Tensor, *, deviation: bool = False) -> torch.Tensor:
    """Mean of states [shape=(B, T, D)] over notes [shape=(B, T), bool], and standard deviation if asked for.

    Returns [shape=(B, D)], or [shape=(B, 2 D)].
    """
    shown = notes.to(hidden.dtype)[..., None]  # (B, T, 1)
    count = shown.sum(1).clamp(min=1)
    mean = (hidden * shown).sum(1) / count  # (B, D)
    if not deviation:
        return mean
    variance = ((hidden - mean[:, None]).square() * shown).sum(1) / count
    return torch.cat([mean, (variance + EPSILON).sqrt()], dim=1)


def structured_attention(scores: torch.Tensor, attended: torch.Tensor | None) -> torch.Tensor:
    """Weights over the rows: softmax of scores [shape=(B, T, R)] over T, zero where not ``attended``.

    If no row of a window is attended to, its weights are equal, so that nothing is NaN.
    """
    if attended is not None:
        usable = attended | ~attended.any(dim=1, keepdim=True)  # (B, T)
        scores = scores.masked_fill(~usable[..., None], -torch.inf)
    return scores.softmax(dim=1)  # (B, T, R)


class _Scores(nn.Module):
    """The two matrices of structured self-attention, without biases."""

    def __init__(self, width: int, hidden: int, hops: int) -> None:
        super().__init__()
        self.ws1 = nn.Linear(width, hidden, bias=False)
        self.ws2 = nn.Linear(hidden, hops, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.ws2(torch.tanh(self.ws1(hidden)))  # (B, T, R)


class AttentionHead(nn.Module):
    """One label per window: structured self-attention over its notes (Lin et al. 2017), then a classifier.

    ``inner``, ``dropout``, ``activation``: see `NoteHead`; ``attend_padding``: attend to padding and
    special rows too, as the published code does; ``hidden``, ``hops``: width of the scores, and number R
    of weighted means.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        inner: int = 0,
        dropout: float = 0.1,
        attend_padding: bool = False,
        hidden: int = HIDDEN,
        hops: int = HOPS,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.attention = _Scores(width, hidden, hops)
        self.classifier = _classifier(hops * width, outputs, inner, dropout, activation)
        self.attend_padding = attend_padding

    def forward(self, hidden: torch.Tensor, notes: torch.Tensor) -> torch.Tensor:
        """Logits of every window: [shape=(B, T, D)] -> [shape=(B, C)]."""
        scores = self.attention(hidden).float()
        weights = structured_attention(scores, None if self.attend_padding else notes)  # (B, T, R)
        means = weights.to(hidden.dtype).transpose(1, 2) @ hidden  # (B, R, D)
        return self.classifier(means.flatten(1))  # (B, C)


class LayerMix(nn.Module):
    """Learned mixture of the states between the blocks (Peters et al. 2018): ``g sum_l softmax(w)_l h_l``.

    States are first normalised to zero mean and unit variance over their width. The weights start equal.
    """

    def __init__(self, states: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(states))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, states: list[torch.Tensor]) -> torch.Tensor:
        """Mix states, each [shape=(B, T, D)], into one."""
        shares = self.weight.softmax(0)
        mixed = sum(share * F.layer_norm(h, h.shape[-1:]) for share, h in zip(shares, states, strict=True))
        return self.scale * mixed
