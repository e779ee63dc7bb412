"""Scores of one class of several: accuracy, F1 and recall of whole test sets.

``accuracy``; ``macro_f1``, the mean F1 over the classes that occur or are predicted; ``balanced_accuracy``,
the mean recall over the classes that occur; ``f1:CLASS``, NaN where the class neither occurs nor is
predicted. This is scikit-learn's default, and NaN for an empty set.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Floats, Ints
from musicbert.evaluation.metrics.bootstrap import Draws, divide, mean


def _checked(classes: ArrayLike, predicted: ArrayLike, count: int | None = None) -> tuple[Ints, Ints, int]:
    true, guess = np.asarray(classes, np.int64), np.asarray(predicted, np.int64)
    if true.shape != guess.shape or true.ndim != 1:
        raise ValueError(f"classes {true.shape} and predicted {guess.shape} must both be (n,)")
    if min(true.min(initial=0), guess.min(initial=0)) < 0:
        raise ValueError("a class is negative")
    largest = max(true.max(initial=-1), guess.max(initial=-1)) + 1
    if count is not None and largest > count:
        raise ValueError(f"a class is {largest - 1}, but there are {count}")
    return true, guess, int(largest) if count is None else count


def classification_draws(
    classes: ArrayLike,
    predicted: ArrayLike,
    names: Sequence[str] | None = None,
    weights: Floats | None = None,
    group: Ints | None = None,
) -> Draws:
    """Return every metric on all items and on resamples (``names``: for ``f1:CLASS``).

    ``classes``, ``predicted``: class of each item [shape=(n,), int64, 0..c-1].
    Raises `ValueError` (if the shapes differ or a class is negative or too large).
    """
    true, guess, count = _checked(classes, predicted, None if names is None else len(names))
    if weights is None:
        group, weights = np.zeros(len(true), np.int64), np.ones((1, 1))
    group = np.arange(len(true)) if group is None else group
    cells = group * count

    def by_class(which: Ints) -> Floats:
        table = np.bincount(which, minlength=weights.shape[1] * count)
        return weights @ table.reshape(weights.shape[1], count).astype(np.float64)

    hits = by_class((cells + true)[true == guess])
    return class_draws(hits, by_class(cells + true), by_class(cells + guess), names)


def class_draws(hits: Floats, actual: Floats, predicted: Floats, names: Sequence[str] | None = None) -> Draws:
    """Return every metric from the right, true and predicted items of each class [shape=(1 + b, C)]."""
    f1 = divide(2 * hits, actual + predicted)
    return {
        "accuracy": divide(hits.sum(1), actual.sum(1)),
        "macro_f1": mean(f1),
        "balanced_accuracy": mean(divide(hits, actual)),
        **{f"f1:{name}": f1[:, c] for c, name in enumerate(names or ())},
    }


def confusion(classes: ArrayLike, predicted: ArrayLike, n_classes: int) -> Ints:
    """Count items [shape=(n_classes, n_classes), int64]: row = true class, column = predicted class."""
    true, guess, count = _checked(classes, predicted, n_classes)
    cells: Ints = np.bincount(true * count + guess, minlength=count * count).reshape(count, count)
    return cells


def class_table(
    hits: Ints, actual: Ints, predicted: Ints, names: Sequence[str]
) -> list[dict[str, str | int | float | None]]:
    """Return precision, recall, F1 and support of each class, None where undefined.

    ``hits``, ``actual``, ``predicted``: right, true and predicted items of each class [shape=(C,)].
    """
    rows: list[dict[str, str | int | float | None]] = []
    for name, right, true, guess in zip(names, hits, actual, predicted, strict=True):
        ratios = {"precision": (right, guess), "recall": (right, true), "f1": (2 * right, true + guess)}
        values = {key: float(top / bottom) if bottom else None for key, (top, bottom) in ratios.items()}
        rows.append({"class": name, **values, "support": int(true)})
    return rows
