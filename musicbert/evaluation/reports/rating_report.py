"""The report of an experiment: a network beside its baselines and the noise ceiling, every row named.

Rows
----
``network, one seed``
    Scores of each seed (pooled over folds), averaged, with their standard deviation over seeds.
``network, ensemble of N seeds``
    The mean of the seeds' predictions (``network`` where there is one seed only).
``network + features, blend``
    The mean of the ensemble's and the feature baseline's predictions, nothing fitted.
``network + features, hybrid``
    A model on embeddings and features, fitted on the training part
    (:mod:`musicbert.evaluation.baselines.hybrid`).
``mean``, ``lookup:...``, ``features: ridge``, ...
    The baselines' own result file.

``pooled`` and ``mean of folds`` are defined in :mod:`musicbert.evaluation.rating_scores`. Differences to
the best
feature baseline are paired bootstrap intervals (over what, :mod:`musicbert.evaluation.rating_scores` says).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from musicbert.annotation.content import content_groups
from musicbert.annotation.label_map import LabelMap
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.hybrid import hybrid
from musicbert.evaluation.metrics.bootstrap import bootstrap_difference, resample
from musicbert.evaluation.metrics.regression_and_classes import CLASSIFICATION, REGRESSION
from musicbert.evaluation.rating_predictions import Predictions, pool
from musicbert.evaluation.rating_runs import Run, read_runs, with_labels
from musicbert.evaluation.rating_scores import clusters, score

__all__ = ["Report", "build_report"]

#: Task -> (section of the scores, metric that is the headline).
HEADLINE = {"regression": ("regression", "r2"), "classes": ("classes", "accuracy")}


@dataclass(eq=False)
class Report:
    """What the tables and pictures are made from.

    Attributes
    ----------
    task
        ``"regression"`` or ``"classes"``.
    name
        Name of the experiment.
    labels
        Label map: dimensions with both poles, names of the classes.
    rows
        Row -> scores of :func:`musicbert.evaluation.rating_scores.score`, with ``seeds`` for the row of
        single seeds.
    networks
        Names of the rows that are networks.
    ensemble
        Pooled test predictions of the ensemble of seeds.
    ceiling
        Noise ceiling of each dimension [shape=(d,)], NaN where unknown.
    differences
        Row -> paired interval of its headline metric minus the best feature baseline's.
    curves
        Quantity -> line -> points.
    """

    task: str
    name: str
    labels: LabelMap
    rows: dict[str, dict[str, Any]]
    networks: list[str]
    ensemble: Predictions
    ceiling: NDArray[np.float64]
    differences: dict[str, dict[str, Any]] = field(default_factory=dict)
    curves: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)
    runs: list[tuple[str, int]] = field(default_factory=list)


def _only(predictions: Predictions, task: str) -> Predictions:
    """Leave out what belongs to the other task."""
    keep_regression = predictions.regression if task == "regression" else None
    keep_logits = predictions.class_logits if task == "classes" else None
    return Predictions(
        predictions.ids,
        predictions.labels,
        predictions.class_of,
        keep_regression,
        keep_logits,
        predictions.embedding,
    )


def _by_fold(runs: Sequence[Run], make: Callable[[Run], Predictions]) -> list[Predictions]:
    """Average the runs of each fold."""
    folds: dict[str, list[Predictions]] = {}
    for run in runs:
        folds.setdefault(run.fold, []).append(make(run))
    return [pool(parts) for parts in folds.values()]


def _seed_row(runs: Sequence[Run], task: str, scored: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Average the scores of the seeds; the intervals are those of the first seed moved to the average."""
    section, _ = HEADLINE[task]
    metrics = REGRESSION if task == "regression" else CLASSIFICATION
    seeds = sorted({run.seed for run in runs})
    each = [scored([_only(r.parts["test"], task) for r in runs if r.seed == seed]) for seed in seeds]
    row = each[0]
    row["seeds"] = {}
    for metric in metrics:
        pooled = [e[section]["pooled"][metric] for e in each]
        values = [(p["mean"] if task == "regression" else p)["value"] for p in pooled]
        folds = [e[section]["mean_of_folds"][metric] for e in each]
        row["seeds"][metric] = dict(zip(map(str, seeds), values, strict=True))
        if any(v is None for v in values):
            continue
        target = row[section]["pooled"][metric]
        interval = target["mean"] if task == "regression" else target
        average = float(np.mean(values))
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        interval.update(value=average, low=None, high=None, sd=sd)
        row[section]["mean_of_folds"][metric] = None if None in folds else float(np.mean(folds))
        if task == "regression":
            dims = np.array([[np.nan if v is None else v for v in p["each"]] for p in pooled])
            target["each"] = [None if np.isnan(v) else float(v) for v in dims.mean(0)]
            target.pop("each_interval", None)
    if task == "regression":
        row[section]["flattened_r2"] = float(np.mean([e[section]["flattened_r2"] for e in each]))
    else:
        row[section].pop("confusion")
    return row


def shown_name(row: str) -> str:
    """Name a baseline so that it cannot be taken for a network: ``features: ridge``."""
    return row if row in ("mean", "majority") or row.startswith("lookup:") else f"features: {row}"


def _ceiling(labels: LabelMap, table: pd.DataFrame | None, kind: str) -> NDArray[np.float64]:
    names = [dimension.name for dimension in labels.dimensions]
    column = f"ceiling_{kind}"
    if table is None or column not in table:
        return np.full(len(names), np.nan)
    return table.reindex(names)[column].to_numpy(np.float64)


def _value(row: Mapping[str, Any], task: str) -> float:
    section, metric = HEADLINE[task]
    found = row[section]["pooled"][metric]
    value = (found["mean"] if task == "regression" else found)["value"]
    return float("-inf") if value is None else value


def build_report(
    runs_folder: str | PathLike[str],
    labels: LabelMap,
    *,
    task: str = "regression",
    name: str = "",
    baselines: Mapping[str, Any] | None = None,
    baseline_predictions: str | PathLike[str] | None = None,
    ceiling: pd.DataFrame | None = None,
    kind: str | None = None,
    features: Mapping[str, NDArray[np.float64]] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Report:
    """Score the runs of a network and put them beside everything they have to be compared with.

    Parameters
    ----------
    runs_folder
        ``fold<k>/seed<s>/test.npz`` (see :mod:`musicbert.evaluation.rating_runs`).
    labels
        The label map that the data set was made from.
    task
        ``"regression"`` or ``"classes"``.
    name
        Name of the experiment.
    baselines
        One split of a baseline result (``result["splits"][split]``).
    baseline_predictions
        Folder ``<row>/fold<k>/seed<s>/test.npz`` of the same split: enables differences and the blend.
    ceiling, kind
        Reliability table, indexed by dimension name, and the kind of label that picks its column
        ``ceiling_<kind>`` (default: what the label map says).
    features
        id -> features: enables the hybrid, if the runs have embeddings of their training part.
    n_resamples, seed
        Bootstrap and models.

    Raises
    ------
    DatasetError
        What reading the runs raises; ``no-predictions`` where the runs do not have this task's predictions.
    """
    runs = read_runs(runs_folder, labels)
    attribute = "regression" if task == "regression" else "class_logits"
    if any(getattr(run.parts["test"], attribute) is None for run in runs):
        raise DatasetError("no-predictions", f"a run has no predictions of {task}", path=runs_folder)
    groups = content_groups(sorted({n for run in runs for n in run.parts["test"].ids.tolist()}))

    def scored(folds: list[Predictions]) -> dict[str, Any]:
        return score(folds, groups=groups, n_resamples=n_resamples, seed=seed)

    folds = _by_fold(runs, lambda run: _only(run.parts["test"], task))
    n_seeds = len({run.seed for run in runs})
    main = "network" if n_seeds == 1 else f"network, ensemble of {n_seeds} seeds"
    candidates: dict[str, list[Predictions]] = {main: folds}
    best, reference = _best_baseline(baselines, baseline_predictions, labels, task)
    if reference is not None and len(reference) == len(folds):
        candidates["network + features, blend"] = [
            pool([a, _aligned(b, a)]) for a, b in zip(folds, reference, strict=True)
        ]
    if features is not None and all(
        "train" in run.parts and run.parts["train"].embedding is not None for run in runs
    ):
        candidates["network + features, hybrid"] = _by_fold(
            runs,
            lambda run: hybrid(
                run.parts["train"],
                run.parts["test"],
                features,
                task=task,
                n_classes=len(labels.classes),
                seed=seed,
            ),
        )
    rows = {"network, one seed": _seed_row(runs, task, scored)} if n_seeds > 1 else {}
    rows |= {row: scored(predictions) for row, predictions in candidates.items()}
    networks = list(rows)
    differences = {}
    if reference is not None:
        for row, predictions in candidates.items():
            differences[row] = {"against": shown_name(best)} | _difference(
                predictions, reference, groups, task, n_resamples, seed
            )
    return Report(
        task=task,
        name=name or Path(runs_folder).name,
        labels=labels,
        rows=rows | {shown_name(k): row for k, row in (baselines["rows"] if baselines else {}).items()},
        networks=networks,
        ensemble=pool(folds),
        ceiling=_ceiling(labels, ceiling, kind or labels.kind),
        differences=differences,
        curves=_curves(runs),
        runs=[(run.fold, run.seed) for run in runs],
    )


def _best_baseline(
    baselines: Mapping[str, Any] | None,
    folder: str | PathLike[str] | None,
    labels: LabelMap,
    task: str,
) -> tuple[str, list[Predictions] | None]:
    """Return the best baseline by its pooled headline, and its predictions of each fold where kept.

    Rows that look at other performances of the test (``+peers``) see more than a network does and are left
    out.
    """
    if not baselines or folder is None:
        return "", None
    fair = [row for row in baselines["rows"] if not row.endswith("+peers")]
    best = max(fair, key=lambda row: _value(baselines["rows"][row], task))
    runs = read_runs(Path(folder) / best.replace(":", "_"))
    return best, [with_labels(_only(run.parts["test"], task), labels) for run in runs]


def _aligned(other: Predictions, to: Predictions) -> Predictions:
    """Reduce predictions to the items of others."""
    keep = np.isin(other.ids, to.ids)
    pick = [None if x is None else x[keep] for x in (other.regression, other.class_logits)]
    return Predictions(other.ids[keep], other.labels[keep], other.class_of[keep], *pick)


def _difference(
    predictions: Sequence[Predictions],
    reference: Sequence[Predictions],
    groups: Mapping[str, str],
    task: str,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    mine, other = pool(predictions), pool(reference)
    both, at, there = np.intersect1d(mine.ids, other.ids, return_indices=True)
    member = clusters(both.tolist(), groups)
    weights = resample(len(both), n_resamples=n_resamples, groups=member, seed=seed)
    if task == "regression":
        metric, truth = REGRESSION["r2"], mine.labels[at]
        pair = mine.regression[at], other.regression[there]  # type: ignore[index]
    else:
        metric, truth = CLASSIFICATION["accuracy"], mine.class_of[at]
        pair = mine.predicted_class[at], other.predicted_class[there]
    return {"n": len(both), **bootstrap_difference(metric, truth, *pair, weights=weights).as_dict()}


def _curves(runs: Sequence[Run]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Collect the curves of losses and scores of all runs."""
    wanted = ("loss", "r2", "R2", "accuracy")
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for run in runs:
        for quantity, parts in run.curves.items():
            if quantity in wanted:
                for part, points in parts.items():
                    curves.setdefault(quantity, {})[f"{part} fold {run.fold} seed {run.seed}"] = points
    return curves
