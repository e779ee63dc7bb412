"""`Predictions`: what a model said about the items of one fold, and the averages of several of them.

On disk one ``.npz`` a part of a fold (``test.npz``, ``valid.npz``, ``train.npz``), written by the evaluation
of a checkpoint and by the baselines, read by the report. Arrays: ``ids`` (str), ``labels``, ``class_of`` and
any of ``regression``, ``class_logits``, ``embedding``. Never pickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicbert.evaluation.predictions import PERFORMER, RATINGS, load_predictions

__all__ = ["Predictions", "log_softmax", "pool"]

Floats = NDArray[np.float64]
_OPTIONAL = ("regression", "class_logits", "embedding")


def log_softmax(logits: Floats) -> Floats:
    """Return log probabilities of logits [shape=(n, c), float64]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels and predictions of some items.

    Attributes
    ----------
    ids
        Identifiers [shape=(n,), str].
    labels
        [shape=(n, d), float64, 0-1], NaN where missing; d may be 0.
    class_of
        [shape=(n,), int64], -1 where unknown.
    regression
        Predicted labels [shape=(n, d), float64, 0-1], or None.
    class_logits
        [shape=(n, c), float64], or None.
    embedding
        Pooled representation [shape=(n, D), float64], or None.

    Raises
    ------
    ValueError
        When the shapes do not fit together.
    """

    ids: NDArray[np.str_]
    labels: Floats
    class_of: NDArray[np.int64]
    regression: Floats | None = None
    class_logits: Floats | None = None
    embedding: Floats | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        columns = {name: getattr(self, name) for name in ("labels", "class_of", *_OPTIONAL)}
        wrong = [name for name, value in columns.items() if value is not None and len(value) != n]
        if self.regression is not None and self.regression.shape != self.labels.shape:
            wrong.append("regression")
        if wrong:
            raise ValueError(f"{n} ids, but other shapes of {', '.join(sorted(set(wrong)))}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted_class(self) -> NDArray[np.int64]:
        """Index of the largest logit [shape=(n,), int64].

        Raises
        ------
        ValueError
            Without class logits.
        """
        if self.class_logits is None:
            raise ValueError("these predictions have no class logits")
        return np.argmax(self.class_logits, axis=1).astype(np.int64)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the ``.npz`` (parent folders are made)."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        optional = {name: getattr(self, name) for name in _OPTIONAL if getattr(self, name) is not None}
        with Path(path).open("wb") as file:
            np.savez_compressed(
                file,
                ids=np.asarray(self.ids, dtype=np.str_),
                labels=self.labels,
                class_of=self.class_of,
                **optional,
            )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Predictions:
        """Read an ``.npz``.

        Raises
        ------
        DatasetError
            ``not-found``, ``bad-predictions`` (not an archive of these arrays, pickled, or of unequal
            lengths).
        """
        found = load_predictions(path)
        first = next(iter(found.values()))
        ratings, performer = found.get(RATINGS), found.get(PERFORMER)
        return cls(
            ids=first.ids,
            labels=np.zeros((len(first), 0)) if ratings is None else np.asarray(ratings.target, np.float64),
            class_of=np.full(len(first), -1) if performer is None else np.asarray(performer.target, np.int64),
            regression=None
            if ratings is None or np.isnan(ratings.outputs).any()
            else np.asarray(ratings.outputs, np.float64),
            class_logits=None if performer is None else np.asarray(performer.outputs, np.float64),
            embedding=None if first.embedding is None else np.asarray(first.embedding, np.float64),
        )


def _mean_by(index: NDArray[np.int64], n: int, parts: Sequence[Floats]) -> Floats:
    values = np.concatenate(parts)
    total = np.zeros((n, values.shape[1]))
    np.add.at(total, index, values)
    return total / np.bincount(index, minlength=n)[:, None]


def pool(parts: Sequence[Predictions]) -> Predictions:
    """Put folds side by side, or average runs.

    Items that occur more than once get the mean of their predictions. Regression values are averaged; classes
    by averaging probabilities (the result's logits are their logarithm). The embedding is left out:
    embeddings of different networks share no axes.

    Parameters
    ----------
    parts
        Predictions of the same dimensions and classes; of disjoint items (folds) or the same items (seeds).

    Returns
    -------
    Predictions with each id once, sorted by id

    Raises
    ------
    ValueError
        Without parts, or where labels of the same item differ between parts.
    """
    if not parts:
        raise ValueError("nothing to pool")
    ids, first, index = np.unique(
        np.concatenate([p.ids for p in parts]), return_index=True, return_inverse=True
    )
    labels = np.concatenate([p.labels for p in parts])
    classes = np.concatenate([p.class_of for p in parts])
    if not (
        np.array_equal(labels, labels[first][index], equal_nan=True)
        and np.array_equal(classes, classes[first][index])
    ):
        raise ValueError("an item has different labels in different parts")
    regression = [p.regression for p in parts if p.regression is not None]
    logits = [p.class_logits for p in parts if p.class_logits is not None]
    chances = [np.exp(log_softmax(x)) for x in logits]
    return Predictions(
        ids=ids,
        labels=labels[first],
        class_of=classes[first],
        regression=_mean_by(index, len(ids), regression) if len(regression) == len(parts) else None,
        class_logits=(
            np.log(np.maximum(_mean_by(index, len(ids), chances), 1e-12))
            if len(logits) == len(parts)
            else None
        ),
    )
