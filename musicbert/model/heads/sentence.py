"""Heads on tokens and pieces: masked LM, sentences, and annotations for contrastive pre-training.

Legend: ``B`` pieces, ``N`` tokens, ``D`` width, ``V`` vocabulary, ``C`` outputs, ``R`` ratings of a piece.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

#: rows of matrix products on a GPU are to be multiples of 16 bytes, 8 numbers of half precision
ALIGNED = 8


class LMHead(nn.Module):
    """dense -> GELU -> LayerNorm -> logits over the vocabulary.

    ``weight`` [shape=(V, D)] is not tied to the token embedding: the published model meant to tie it, but
    tied it to a discarded table, so checkpoints hold both.
    """

    def __init__(self, width: int, vocabulary_size: int, norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.layer_norm = nn.LayerNorm(width, eps=norm_eps)
        self.weight = nn.Parameter(torch.empty(vocabulary_size, width))
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of up-projected tokens: [shape=(..., D)] -> [shape=(..., V)]."""
        x = self.layer_norm(F.gelu(self.dense(x)))  # (..., D)
        product = aligned_linear if x.is_cuda else F.linear
        return product(x, self.weight, self.bias)  # (..., V)


def aligned_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """``F.linear`` with outputs added, and cut off again, so that rows are multiples of 16 bytes.

    Fast matrix products of GPUs, in the backward pass too, need aligned rows (NVIDIA, "Matrix Multiplication
    Background User's Guide"); a vocabulary of 1,237 tokens has none. ``x``, ``weight``, ``bias`` [shape=(...,
    D)], [shape=(V, D)] and [shape=(V,)]; returns a view [shape=(..., V)].
    """
    outputs = weight.shape[0]
    more = -outputs % ALIGNED
    return F.linear(x, F.pad(weight, (0, 0, 0, more)), F.pad(bias, (0, more)))[..., :outputs]


class SentenceHead(nn.Module):
    """dropout -> dense -> tanh -> dropout -> out_proj: RoBERTa's head, for classes and for ratings alike.

    ``inner_width``: width between the two layers, ``width`` if None; ``dropout``: in 0-1; ``spectral``:
    divide the last weight by its largest singular value (Miyato et al. 2018).
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        inner_width: int | None = None,
        dropout: float = 0.0,
        spectral: bool = False,
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(width, inner_width or width)
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(inner_width or width, outputs)
        self.outputs = outputs
        if spectral:
            spectral_norm(self.out_proj)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Outputs without an activation: features [shape=(B, D)] -> [shape=(B, C)]."""
        x = torch.tanh(self.dense(self.dropout(features)))  # (B, inner_width)
        return self.out_proj(self.dropout(x))  # (B, C)


#: width of the hidden layer of the published projections
HIDDEN = 128


def projection(inputs: int, outputs: int, *, hidden: int = HIDDEN) -> nn.Sequential:
    """Return a layer, GELU, a layer: the published shape of the small heads of contrastive pre-training."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class AnnotationEncoder(nn.Sequential):
    """Ratings of a piece to an embedding: a layer, GELU, a layer.

    ``ratings``: their number ``R`` (with ``compat`` one more: the performer's class). With ``compat``,
    exactly the published parameters, and a missing rating counts as the middle of the scale; otherwise a
    value for missing ratings is learned, one per dimension.
    """

    def __init__(self, ratings: int, width: int, *, hidden: int = HIDDEN, compat: bool = False) -> None:
        super().__init__(*projection(ratings, width, hidden=hidden))
        middle = torch.full((ratings,), 0.5)  # ratings are on 0-1
        if compat:
            self.register_buffer("missing", middle, persistent=False)
        else:
            self.missing = nn.Parameter(middle)

    def forward(self, ratings: Tensor) -> Tensor:
        """Return embeddings [shape=(B, D)] of ratings [shape=(B, R)] (NaN where missing)."""
        absent = ratings.isnan()
        filled = torch.where(absent, self.missing.float(), ratings.nan_to_num())  # (B, R)
        return super().forward(filled.to(self[0].weight.dtype))  # (B, D)
