"""Outputs of heads as named scores: `Prediction` of sentence heads, `TagResult` of taggers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from musicbert.arrays import Bools, Floats, Singles
from musicbert.weights import Head


@dataclass(frozen=True, eq=False)
class Prediction:
    """Prediction of one head for one piece.

    ``logits`` [shape=(C,), float32]: outputs of the head, averaged over windows by the notes that each
    contributes. ``scores`` [shape=(C,), float32]: the same after the head's activation, as probabilities of
    classes or labels, or ratings on 0-1.
    """

    head: Head
    logits: Singles
    scores: Singles

    @property
    def best(self) -> str:
        """Name of the output with the highest score (its number where it has no name)."""
        return self.head.all_names[int(self.scores.argmax())]

    def as_dict(self) -> dict[str, float]:
        """Score of each output by name (by number where it has no name)."""
        return dict(zip(self.head.all_names, self.scores.tolist(), strict=True))

    def details(self) -> dict[str, dict[str, Any]]:
        """Poles, scale, rating and training range of each output (`musicbert.weights.Head.details`)."""
        return self.head.details(self.scores.tolist())


@dataclass(frozen=True, eq=False)
class TagResult:
    """Predictions of a tagger for one piece (``kind``, ``classes``: those of its task).

    ``scores``: probabilities of classes or labels, or values, of the piece [shape=(C,), float32] or of each
    note [shape=(n, C)] in the order of the score. ``known`` [shape=(n,), bool]: whether the encoding kept the
    note (the scores of other notes are NaN); None for pieces. ``head``: what is known of its outputs.
    """

    kind: str
    classes: tuple[str, ...]
    scores: Singles
    known: Bools | None = None
    head: Head | None = None

    def details(self) -> dict[str, dict[str, Any]]:
        """Poles, scale, rating (of pieces) and training range of each output by name."""
        if self.head is None:
            return {}
        return self.head.details(self.scores.tolist() if self.known is None else None)

    @property
    def best(self) -> Any:
        """Class with the highest score, labels with scores above 0.5, or values by name.

        For notes a list, with None for notes that are not known.
        """
        if self.known is None:
            return self._best(self.scores)
        return [
            self._best(row) if known else None for row, known in zip(self.scores, self.known, strict=True)
        ]

    def _best(self, row: Singles) -> Any:
        if self.kind == "classes":
            return self.classes[int(row.argmax())]
        if self.kind == "multilabel":
            return [name for name, value in zip(self.classes, row, strict=True) if value > 0.5]
        return dict(zip(self.classes, row.tolist(), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Scores by name; for notes a list for each name (None for notes that are not known)."""
        if self.known is None:
            return dict(zip(self.classes, self.scores.tolist(), strict=True))
        return {
            name: [value if known else None for value, known in zip(column, self.known, strict=True)]
            for name, column in zip(self.classes, self.scores.T.tolist(), strict=True)
        }


def activate(logits: Floats, activation: str) -> Singles:
    """Scores from logits [shape=(..., C)], by the activation of a head or the kind of a task."""
    if activation in ("softmax", "classes"):
        return np.asarray(softmax(logits, axis=-1), np.float32)
    if activation in ("sigmoid", "multilabel"):
        return np.asarray(expit(logits), np.float32)
    return logits.astype(np.float32)
