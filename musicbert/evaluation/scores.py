"""Scores of `Predictions` on whole test sets and on resamples of their groups.

The metrics of each kind of label are those of `musicbert.evaluation.metrics`: ``classification``,
``multilabel`` or ``regression``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.evaluation.metrics.bootstrap import Draws, group_numbers
from musicbert.evaluation.metrics.classification import class_table, classification_draws, confusion
from musicbert.evaluation.metrics.multilabel import multilabel_draws
from musicbert.evaluation.metrics.regression import regression_draws
from musicbert.evaluation.predictions import Predictions

#: further metrics: name -> function of predictions
Extra = Mapping[str, Callable[[Predictions], float]]


def draw_scores(predictions: Predictions, weights: Floats | None = None) -> Draws:
    """Return every metric on all scored items and on resamples.

    ``weights``: what `musicbert.evaluation.metrics.bootstrap.resample` gives for the number of groups, which
    are numbered in the order of their sorted names; only all items if None.
    """
    number, count = group_numbers(predictions.groups)
    keep = predictions.scored
    target, outputs = predictions.target[keep], predictions.outputs[keep]
    weights = np.ones((1, count)) if weights is None else weights
    group = number[predictions.piece_of][keep]
    names = predictions.classes
    if predictions.kind == "classes":
        return classification_draws(target, predictions.predicted[keep], names, weights, group)
    draws = multilabel_draws if predictions.kind == "multilabel" else regression_draws
    return draws(target, outputs, names, weights, group)


def metrics_of(predictions: Predictions, extra: Extra | None = None) -> dict[str, float]:
    """Return the scores of a test set by name, with further metrics of the predictions as a whole."""
    found = {name: float(values[0]) for name, values in draw_scores(predictions).items()}
    return found | {name: float(metric(predictions)) for name, metric in (extra or {}).items()}


def confusion_of(predictions: Predictions) -> Ints:
    """Count scored items [shape=(C, C)]: row = true class, column = predicted class."""
    keep = predictions.scored
    return confusion(predictions.target[keep], predictions.predicted[keep], len(predictions.classes))


def per_class(predictions: Predictions) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and support of each class; nothing for a regression."""
    if predictions.kind == "regression":
        return []
    if predictions.kind == "classes":
        counts = confusion_of(predictions)
        return class_table(np.diag(counts), counts.sum(1), counts.sum(0), predictions.classes)
    known = ~np.isnan(predictions.target)
    true, said = np.nan_to_num(predictions.target) > 0, (predictions.predicted > 0) & known
    columns = ((true & said).sum(0), true.sum(0), said.sum(0))
    return class_table(*columns, predictions.classes)
