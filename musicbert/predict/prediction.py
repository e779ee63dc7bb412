"""What a sentence head says about a piece."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musicbert.weights import Head

__all__ = ["Prediction", "activate"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one head says about one piece.

    Attributes
    ----------
    head
        The head: its name, the names and poles of its outputs.
    logits
        Its outputs [shape=(C,), float32]; the mean over windows, by the notes that each stands for.
    scores
        The same after the head's activation: probabilities of classes or labels, or ratings on 0-1.
    """

    head: Head
    logits: Floats
    scores: Floats

    @property
    def best(self) -> str:
        """Name of the output with the highest score (its number where it has no name)."""
        index = int(self.scores.argmax())
        return self.head.names[index] if self.head.names else str(index)

    def as_dict(self) -> dict[str, float]:
        """Score of each output by name (by number where it has no name)."""
        names = self.head.names or tuple(map(str, range(self.head.outputs)))
        return dict(zip(names, self.scores.tolist(), strict=True))


def activate(logits: NDArray[np.float64], activation: str) -> Floats:
    """Scores from logits [shape=(C,)], by the activation of a head."""
    if activation == "softmax":
        powers: NDArray[np.float64] = np.exp(logits - logits.max())
        return (powers / float(powers.sum())).astype(np.float32)
    if activation == "sigmoid":
        return np.asarray(0.5 * (1 + np.tanh(logits / 2)), np.float32)
    return logits.astype(np.float32)
