"""`AnnotationEncoder`: ratings of a piece as an embedding, for contrastive pre-training.

Legend: ``B`` pieces, ``R`` ratings of a piece, ``D`` width.
"""

import torch
from torch import Tensor, nn

#: width of the hidden layer of the published projections
HIDDEN = 128


def projection(inputs: int, outputs: int, *, hidden: int = HIDDEN) -> nn.Sequential:
    """Return a layer, GELU, a layer: the published shape of the small heads of contrastive pre-training."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class AnnotationEncoder(nn.Sequential):
    """Ratings of a piece to an embedding: a layer, GELU, a layer.

    ``ratings``: number ``R`` of ratings of a piece (with ``compat`` one more: the performer's class).
    ``width``: width ``D`` of the embedding. ``hidden``: width of the hidden layer. ``compat``: exactly the
    published parameters; a missing rating counts as the middle of the scale. Otherwise the value that stands
    for a missing rating is learned, one per dimension.
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
