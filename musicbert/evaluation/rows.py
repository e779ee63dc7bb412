"""Rows of scores: the same for ratings, taggers, sentence tasks and baselines.

A row of ``rows`` in ``report.json``, ``scores.json`` and ``baselines_*.json``:

=============  =========================================================================================
key            value
=============  =========================================================================================
``kind``       ``network``; ``segments`` (single windows in place of pieces, as papers score labels of
               pieces); ``blend`` (mean of the predictions of the network and of the best baseline),
               ``hybrid`` (one model on embeddings and features); ``baseline``; ``ceiling``
``seeds``      of networks: ``one`` (scores of single seeds, averaged), ``ensemble`` (scores of the seeds'
               averaged predictions), null (there is one seed, or the row is one of them)
``n_seeds``    number of seeds, where there are several
``name``       of a baseline, or of one network among several; else empty
``split``      name of the split or part
``task``       name of the label
``items``      number of scored items
``over``       what the bootstrap draws: ``groups`` or ``pieces``
``groups``     how many; below 8 an interval over groups says little, and tables say so
``scores``     ``pooled``: metric -> ``value``, ``low``, ``high``, ``sd`` (of several seeds ``seeds_sd``,
               ``by_seed``) of the test parts of all folds as one set; ``mean_of_folds``: metric -> ``value``,
               ``sd``: each fold scored alone, averaged over folds and seeds, as cross-validations are
               published; ``sd`` is that over folds
``confusion``  of classes: counts, row = true class, column = predicted class
=============  =========================================================================================

Metrics are those of `musicbert.evaluation.metrics`, by the kind of the label; ``METRIC:CLASS`` is that of one
class or output. R² is lower in ``mean_of_folds``, since a fold spreads less than all of them. Where folds
share their test items, ``pooled`` is of the averaged prediction of the folds' models. Intervals are 95 %
bootstrap intervals over groups of pieces (`musicbert.evaluation.metrics.bootstrap`); for ``seeds: one`` they
are of the mean of the seeds' scores on the same resamples.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.evaluation.metrics.bootstrap import Draws, Interval, group_numbers, interval, mean, resample
from musicbert.evaluation.metrics.classification import class_table, classification_draws, confusion
from musicbert.evaluation.metrics.multilabel import multilabel_draws
from musicbert.evaluation.metrics.regression import regression_draws
from musicbert.evaluation.predictions import Predictions, pool

RowKind = Literal["network", "segments", "blend", "hybrid", "baseline", "ceiling"]
Seeds = Literal["one", "ensemble"]
#: further metrics: name -> function of predictions
Extra = Mapping[str, Callable[[Predictions], float]]
#: fold -> test predictions
Folds = Mapping[str, Predictions]
#: groups below which intervals say little: percentiles over a handful of groups are rough
FEWEST_GROUPS = 8
#: metrics of one output that are given without an interval
PLAIN = ("mse:", "mae:", "pearson:", "spearman:")


@dataclass(frozen=True, eq=False)
class Row:
    """One row (see the module), with the draws and the pooled predictions that it was scored from."""

    kind: RowKind
    scores: Mapping[str, Any]
    seeds: Seeds | None = None
    name: str = ""
    split: str = ""
    task: str = ""
    n_seeds: int = 1
    items: int = 0
    over: str = ""
    groups: int = 0
    confusion: list[list[int]] | None = None
    draws: Draws = field(default_factory=dict)
    predictions: Predictions | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what is written to a file."""
        content = {name: getattr(self, name) for name in ("kind", "seeds", "name", "split", "task")}
        content |= {"n_seeds": self.n_seeds} if self.n_seeds > 1 else {}
        content |= {name: value for name in ("items", "over", "groups") if (value := getattr(self, name))}
        content["scores"] = self.scores
        return content | ({} if self.confusion is None else {"confusion": self.confusion})

    def entry(self, metric: str) -> Mapping[str, float | None]:
        """Return the pooled ``value``, ``low``, ... of a metric, all None where there is none."""
        result: Mapping[str, float | None] = self.scores["pooled"].get(metric) or Interval(np.nan).as_dict()
        return result

    def value(self, metric: str) -> float:
        """Return the pooled value of a metric, NaN where there is none."""
        value = self.entry(metric).get("value")
        return float("nan") if value is None else float(value)


def read_rows(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return rows from a file (see `Row.as_dict`)."""
    return [Row(**row) for row in rows]


def drawn_over(row: Row, what: str = "pieces") -> str:
    """Say what the intervals of a row are over, and where these are too few to say much."""
    if row.over != "groups":
        return what
    few = f" (only {row.groups}: intervals are rough)" if 0 < row.groups < FEWEST_GROUPS else ""
    return f"groups of {what} that share music{few}"


def shown_name(row: Row) -> str:
    """Return the name of a row in tables and pictures."""
    if row.kind in ("blend", "hybrid"):
        return f"network + features, {row.kind}"
    if row.kind in ("segments", "ceiling"):
        return {"segments": "network, segments", "ceiling": "noise ceiling"}[row.kind]
    seeds = {"one": "mean", "ensemble": "ensemble"}.get(row.seeds or "")
    return (row.name or row.kind) + (f", {seeds} of {row.n_seeds} seeds" if seeds else "")


def fair_groups(runs: Iterable[Folds]) -> list[dict[str, Predictions]]:
    """Return the runs, with every piece as a group of its own where all pieces are of one group."""
    runs = [dict(folds) for folds in runs]
    if len({group for folds in runs for part in folds.values() for group in part.groups}) > 1:
        return runs
    return [{fold: replace(part, groups=part.ids) for fold, part in folds.items()} for folds in runs]


def row_from_draws(
    kind: RowKind,
    draws: Sequence[Draws],
    *,
    mean_of_folds: Mapping[str, Any] | None = None,
    extra: Mapping[str, float] | None = None,
    **about: Any,
) -> Row:
    """Make a row from the draws of each seed on the same resamples, and from further metrics (``extra``)."""
    averaged = {name: np.mean([draw[name] for draw in draws], axis=0) for name in draws[0]}
    pooled: dict[str, dict[str, Any]] = {}
    for name, drawn in averaged.items():
        estimate = interval(drawn).as_dict()
        pooled[name] = {"value": estimate["value"]} if name.startswith(PLAIN) else estimate
        if len(draws) > 1 and not name.startswith(PLAIN):
            values = np.array([draw[name][0] for draw in draws])
            pooled[name]["seeds_sd"] = _finite(values.std(ddof=1))
            if ":" not in name:
                pooled[name]["by_seed"] = [_finite(value) for value in values]
    pooled |= {name: Interval(value).as_dict() for name, value in (extra or {}).items()}
    scores = {"pooled": pooled} | ({} if mean_of_folds is None else {"mean_of_folds": mean_of_folds})
    return Row(kind, scores, n_seeds=about.pop("n_seeds", len(draws)), draws=averaged, **about)


def score_row(
    kind: RowKind,
    runs: Sequence[Folds],
    *,
    extra: Extra | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    **about: Any,
) -> Row:
    """Score the test predictions of all folds of each seed.

    ``extra``: further metrics; ``n_resamples``, ``seed``: of the bootstrap; ``about``: other fields of the
    row.
    """
    pooled = [pool(list(folds.values())) for folds in runs]
    first = pooled[0]
    groups = len(np.unique(first.groups))
    weights = resample(groups, n_resamples=n_resamples, seed=seed)
    more = {name: float(np.mean([metric(part) for part in pooled])) for name, metric in (extra or {}).items()}
    alone = len(runs) == 1
    return row_from_draws(
        kind,
        [draw_scores(part, weights) for part in pooled],
        mean_of_folds=_mean_of_folds([[metrics_of(p, extra) for p in folds.values()] for folds in runs]),
        extra=more,
        task=first.label,
        items=int(first.scored.sum()),
        over="groups" if groups < len(first) else "pieces",
        groups=groups,
        confusion=confusion_of(first).tolist() if alone and first.kind == "classes" else None,
        predictions=first if alone else None,
        **about,
    )


def _mean_of_folds(scores: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Mean and standard deviation over folds of each metric, from scores by seed and fold."""
    result = {}
    for name in scores[0][0]:
        if name.startswith(PLAIN):
            continue
        by_fold = mean([[fold[name] for fold in folds] for folds in scores], axis=0)
        known = by_fold[np.isfinite(by_fold)]
        sd = float(known.std(ddof=1)) if len(known) > 1 else None
        result[name] = {"value": float(known.mean()) if len(known) else None, "sd": sd}
    return result


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


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
    scores = {name: float(values[0]) for name, values in draw_scores(predictions).items()}
    return scores | {name: float(metric(predictions)) for name, metric in (extra or {}).items()}


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
    true, positive = np.nan_to_num(predictions.target) > 0, (predictions.predicted > 0) & known
    columns = ((true & positive).sum(0), true.sum(0), positive.sum(0))
    return class_table(*columns, predictions.classes)
