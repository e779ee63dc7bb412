"""Heads: the masked-LM head over tokens, and the sentence head over one vector per piece.

Legend: ``B`` pieces, ``N`` tokens, ``D`` width, ``V`` vocabulary, ``C`` outputs.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

#: rows of matrix products on a GPU are to be multiples of 16 bytes, 8 numbers of half precision
ALIGNED = 8


class LMHead(nn.Module):
    """dense -> GELU -> LayerNorm -> logits over the vocabulary.

    ``weight`` [shape=(V, D)] is a parameter of its own: the published model meant to tie it to the token
    embedding, but tied it to a table that it then threw away, so checkpoints hold both.
    """

    def __init__(self, width: int, vocabulary_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.layer_norm = nn.LayerNorm(width)
        self.weight = nn.Parameter(torch.empty(vocabulary_size, width))
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of up-projected tokens: [shape=(..., D)] -> [shape=(..., V)]."""
        x = self.layer_norm(F.gelu(self.dense(x)))  # (..., D)
        product = aligned_linear if x.is_cuda else F.linear
        return product(x, self.weight, self.bias)  # (..., V)


def aligned_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """``F.linear`` with as many more outputs, cut off again, as make rows of whole 16 bytes.

    A vocabulary of 1,237 tokens makes rows that begin anywhere; a GPU's fast matrix products, those of the
    backward pass too, take aligned rows only (NVIDIA, "Matrix Multiplication Background User's Guide").

    ``x``, ``weight``, ``bias`` [shape=(..., D)], [shape=(V, D)] and [shape=(V,)].
    Returns `torch.Tensor`: a view of the first V numbers of each row [shape=(..., V)].
    """
    outputs = weight.shape[0]
    more = -outputs % ALIGNED
    return F.linear(x, F.pad(weight, (0, 0, 0, more)), F.pad(bias, (0, more)))[..., :outputs]


class SentenceHead(nn.Module):
    """dropout -> dense -> tanh -> dropout -> out_proj: RoBERTa's head, for classes and for ratings alike.

    Parameters
    ----------
    width, outputs
        ``D`` and ``C``.
    inner_width
        Width between the two layers; ``D`` if None.
    dropout
        Pooler dropout, in 0-1.
    spectral
        Divide the last weight by its largest singular value (Miyato et al. 2018).
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
