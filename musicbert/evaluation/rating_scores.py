"""Scores of a cross-validation: pooled over its folds, and averaged over its folds, both under their names.

``pooled`` scores all out-of-fold predictions as one set, so every item counts once and R² is measured against
the spread of the whole set. ``mean_of_folds`` scores each fold alone and averages: R² is then lower, since a
fold of one piece of music spreads less than all of them. Where folds share their test items (the published
performer split of PercePiano: one test set, four models), pooled means the averaged prediction of the folds'
models. Intervals are bootstrap percentiles of pooled scores, over whole groups of items where groups are
given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from musicbert.evaluation.metrics.bootstrap import bootstrap, resample
from musicbert.evaluation.metrics.regression_and_classes import (
    CLASSIFICATION,
    REGRESSION,
    classification,
    confusion,
    flattened_r2,
    mean,
    regression,
)
from musicbert.evaluation.rating_predictions import Predictions, pool

__all__ = ["clusters", "score"]

#: Groups below which a cluster bootstrap is not used.
FEWEST_GROUPS = 8


def clusters(ids: Sequence[str], groups: Mapping[str, str] | None) -> list[str] | None:
    """Return the group of each id for a cluster bootstrap, or None for one over items."""
    member = [] if groups is None else [groups[name] for name in ids]
    return member if len(set(member)) >= FEWEST_GROUPS else None


def _number(value: float) -> float | None:
    """Return a value for JSON: None for NaN."""
    return None if np.isnan(value) else float(value)


def score(
    folds: Sequence[Predictions],
    *,
    groups: Mapping[str, str] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score predictions of one or more folds.

    Parameters
    ----------
    folds
        Test predictions of each fold.
    groups
        ``{id: group}`` for a cluster bootstrap; items are drawn one by one without it (see the module).
    n_resamples, seed
        Resamples of the bootstrap and their seed.

    Returns
    -------
    JSON-ready dictionary: ``n``, ``folds``, ``bootstrap``; ``regression`` with ``pooled`` (metric -> ``mean``
    interval, ``each`` value a dimension, and ``each_interval`` for R²), ``mean_of_folds`` (metric -> value)
    and ``flattened_r2``; ``classes`` with ``pooled`` (metric -> interval), ``mean_of_folds`` and
    ``confusion``
    """
    whole = pool(folds)
    member = clusters(whole.ids.tolist(), groups)
    weights = resample(len(whole), n_resamples=n_resamples, groups=member, seed=seed)
    result: dict[str, Any] = {
        "n": len(whole),
        "folds": len(folds),
        "bootstrap": {"resamples": n_resamples, "over": "items" if member is None else "groups"},
    }
    if whole.regression is not None:
        pooled = {}
        for name, metric in REGRESSION.items():
            value, each = bootstrap(metric, whole.labels, whole.regression, weights=weights)
            pooled[name] = {"mean": value.as_dict(), "each": [_number(interval.value) for interval in each]}
            if name == "r2":
                pooled[name]["each_interval"] = [[_number(i.low), _number(i.high)] for i in each]
        apart = [regression(p.labels, p.regression) for p in folds if p.regression is not None]
        result["regression"] = {
            "pooled": pooled,
            "mean_of_folds": {m: _number(float(mean([mean(a[m]) for a in apart]))) for m in REGRESSION},
            "flattened_r2": _number(flattened_r2(whole.labels, whole.regression)),
        }
    if whole.class_logits is not None:
        predicted = whole.predicted_class
        single = [classification(p.class_of, p.predicted_class) for p in folds]
        result["classes"] = {
            "pooled": {
                name: bootstrap(metric, whole.class_of, predicted, weights=weights)[0].as_dict()
                for name, metric in CLASSIFICATION.items()
            },
            "mean_of_folds": {m: _number(float(mean([s[m] for s in single]))) for m in CLASSIFICATION},
            "confusion": confusion(whole.class_of, predicted, whole.class_logits.shape[1]).tolist(),
        }
    return result
