"""Baselines that a network has to beat, all fitted and selected inside the training part of a fold.

| name | sees | model |
|---|---|---|
| ``mean`` / ``majority`` | nothing | mean label / most frequent class of the training part |
| ``lookup:<columns>`` | names only | ridge on one-hots of performer, content group, ...: no music at all |
| ``ridge`` | features | ridge, strength by 5-fold inner cross-validation over groups |
| ``random_forest``, ``extra_trees`` | features | 300 trees (classes: 500) |
| ``svr`` / ``svm`` | features | RBF kernel, one model a dimension / one against one |
| ``logistic`` | features | L2 logistic regression (classes only) |
| ``ensemble`` | features | mean of ridge, svr and extra trees / of logistic, svm and extra trees |
| ``committee`` | features | ratings: four kinds of model, asked labels and rater means, raters counted |
| ``<name>+<inputs>`` | features and more | any of these with further inputs of `Examples.more` |

Features are standardised with the training part's mean and deviation and clipped at 4 deviations.
Hyper-parameters that are not selected were fixed beforehand and are the same for all data sets. Missing
labels (NaN) leave an item out of that dimension only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.svm import SVC

from musicbert.evaluation.baselines.committee import committee, support_vectors
from musicbert.evaluation.baselines.examples import Examples, standardise
from musicbert.evaluation.predictions import PERFORMER, RATINGS, Predictions, pool

__all__ = ["CLASSIFIERS", "ENSEMBLES", "REGRESSORS", "Examples", "fit_predict", "standardise"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Strengths that ridge chooses from: about a tenth to 200 times the number of features.
STRENGTHS = np.logspace(1.0, 4.5, 15)
INNER_FOLDS, JOBS = 5, 1


@dataclass(frozen=True, eq=False)
class _Fold:
    """What a model sees: inputs of both parts, groups and seed; rater means and numbers where known."""

    train: Floats
    test: Floats
    groups: NDArray[np.str_]
    seed: int
    means: Floats | None = None
    raters: Floats | None = None

    def part(self, rows: NDArray[np.bool_], columns: Ints) -> _Fold:
        """Return the fold with some training items and dimensions only."""
        return replace(
            self,
            train=self.train[rows],
            groups=self.groups[rows],
            means=None if self.means is None else self.means[np.ix_(rows, columns)],
            raters=None if self.raters is None else self.raters[rows],
        )


def _ridge_path(inputs: Floats, labels: Floats, test: Floats) -> Floats:
    """Predict with ridge at every strength [shape=(strengths, m, d)], by one eigendecomposition."""
    centre, middle = inputs.mean(0), labels.mean(0)
    values, vectors = np.linalg.eigh((inputs - centre).T @ (inputs - centre))
    rotated = vectors.T @ ((inputs - centre).T @ (labels - middle))  # (k, d)
    shrunk = rotated[None] / (np.maximum(values, 0.0)[None, :, None] + STRENGTHS[:, None, None])
    result: Floats = ((test - centre) @ vectors) @ shrunk + middle
    return result


def _ridge(fold: _Fold, labels: Floats) -> Floats:
    """Ridge of the strength with the least squared error (over the variance) on held-out groups."""
    groups = fold.groups if len(np.unique(fold.groups)) >= INNER_FOLDS else np.arange(len(labels))
    error = np.zeros(len(STRENGTHS))
    scale = np.maximum(labels.var(0), 1e-12)
    if len(np.unique(groups)) >= INNER_FOLDS:
        for train, held in GroupKFold(INNER_FOLDS).split(fold.train, groups=groups):
            guesses = _ridge_path(fold.train[train], labels[train], fold.train[held])
            error += (((guesses - labels[held]) ** 2) / scale).sum((1, 2))
    best = int(np.argmin(error)) if error.any() else len(STRENGTHS) // 2
    return _ridge_path(fold.train, labels, fold.test)[best]


def _forest(kind: type, share: float) -> Callable[[_Fold, Floats], Floats]:
    def fit(fold: _Fold, labels: Floats) -> Floats:
        model = kind(300, min_samples_leaf=2, max_features=share, n_jobs=JOBS, random_state=fold.seed)
        target = labels if labels.shape[1] > 1 else labels[:, 0]
        return np.asarray(model.fit(fold.train, target).predict(fold.test)).reshape(len(fold.test), -1)

    return fit


def _svr(fold: _Fold, labels: Floats) -> Floats:
    return support_vectors(fold.train, fold.test, labels)


def _mean(fold: _Fold, labels: Floats) -> Floats:
    return np.tile(labels.mean(0), (len(fold.test), 1))


def _lookup(fold: _Fold, labels: Floats) -> Floats:
    return np.asarray(Ridge(1.0).fit(fold.train, labels).predict(fold.test)).reshape(len(fold.test), -1)


def _committee(fold: _Fold, labels: Floats) -> Floats:
    return committee(
        fold.train,
        fold.test,
        labels,
        groups=fold.groups,
        means=fold.means,
        raters=fold.raters,
        seed=fold.seed,
    )


#: name -> (fold, labels [shape=(n, d)] without NaN) -> predictions [shape=(m, d)]
REGRESSORS: dict[str, Callable[[_Fold, Floats], Floats]] = {
    "mean": _mean,
    "ridge": _ridge,
    "random_forest": _forest(RandomForestRegressor, 1 / 3),
    "extra_trees": _forest(ExtraTreesRegressor, 1 / 2),
    "svr": _svr,
    "committee": _committee,
}


def _probabilities(model: object, fold: _Fold, classes: Ints, n_classes: int) -> Floats:
    """Fit a classifier and return log probabilities of all classes; unseen ones get the smallest."""
    model.fit(fold.train, classes)  # type: ignore[attr-defined]
    chance = np.full((len(fold.test), n_classes), 1e-6)
    chance[:, model.classes_] += model.predict_proba(fold.test)  # type: ignore[attr-defined]
    return np.log(chance / chance.sum(1, keepdims=True))


def _majority(fold: _Fold, classes: Ints, n_classes: int) -> Floats:
    count = np.bincount(classes, minlength=n_classes) + 1e-6
    return np.tile(np.log(count / count.sum()), (len(fold.test), 1))


def _logistic(fold: _Fold, classes: Ints, n_classes: int) -> Floats:
    return _probabilities(LogisticRegression(C=0.3, max_iter=2000), fold, classes, n_classes)


def _trees(kind: type) -> Callable[[_Fold, Ints, int], Floats]:
    def fit(fold: _Fold, classes: Ints, n_classes: int) -> Floats:
        return _probabilities(kind(500, n_jobs=JOBS, random_state=fold.seed), fold, classes, n_classes)

    return fit


def _svm(fold: _Fold, classes: Ints, n_classes: int) -> Floats:
    model = SVC(C=10.0, gamma=0.5 / fold.train.shape[1]).fit(fold.train, classes)
    logits = np.full((len(fold.test), n_classes), -20.0)
    decision = model.decision_function(fold.test)
    logits[:, model.classes_] = decision if decision.ndim == 2 else np.stack([-decision, decision], axis=1)
    return np.asarray(log_softmax(logits, axis=1))


def _class_lookup(fold: _Fold, classes: Ints, n_classes: int) -> Floats:
    return _probabilities(LogisticRegression(C=1.0, max_iter=2000), fold, classes, n_classes)


#: name -> (fold, classes [shape=(n,)], number of classes) -> log probabilities [shape=(m, c)]
CLASSIFIERS: dict[str, Callable[[_Fold, Ints, int], Floats]] = {
    "majority": _majority,
    "logistic": _logistic,
    "random_forest": _trees(RandomForestClassifier),
    "extra_trees": _trees(ExtraTreesClassifier),
    "svm": _svm,
}


#: Task -> members of the row ``ensemble``: the mean of their predictions (of their probabilities).
ENSEMBLES: dict[str, tuple[str, ...]] = {
    "regression": ("ridge", "svr", "extra_trees"),
    "classes": ("logistic", "svm", "extra_trees"),
}


def _one_hot(examples: Examples, columns: Sequence[str], train: Ints, test: Ints) -> tuple[Floats, Floats]:
    """One-hot the identities that occur in training [shape=(n, k)]; unknown ones are all zero."""
    parts = []
    for column in columns:
        if column not in examples.identities:
            raise ValueError(f"no identity {column!r}; there are {sorted(examples.identities)}")
        values = examples.identities[column]
        parts.append(values[:, None] == np.unique(values[train])[None, :])
    table = np.concatenate(parts, axis=1).astype(np.float64)
    return table[train], table[test]


def _by_mask(fit: Callable[[_Fold, Floats], Floats], fold: _Fold, labels: Floats) -> Floats:
    """Fit all dimensions with the same known items together; a dimension without a label predicts NaN."""
    known = np.isfinite(labels)
    result = np.full((len(fold.test), labels.shape[1]), np.nan)
    patterns, member = np.unique(known, axis=1, return_inverse=True)
    for k, rows in enumerate(patterns.T):
        columns = np.flatnonzero(member == k)
        if rows.any():
            result[:, columns] = fit(fold.part(rows, columns), labels[np.ix_(rows, columns)])
    return result


def fit_predict(
    name: str,
    examples: Examples,
    train: Ints,
    test: Ints,
    *,
    task: str = "regression",
    seed: int = 0,
    blocks: Sequence[int] | None = None,
) -> Predictions:
    """Fit one baseline on a training part and predict a test part.

    Parameters
    ----------
    name
        A key of :data:`REGRESSORS` or :data:`CLASSIFIERS`, ``ensemble``, or one of these with further inputs
        (``committee+score``); or ``lookup:performer+content`` (identity columns).
    examples
        All items.
    train, test
        Indices of the parts [shape=(n,) and (m,), int64].
    task
        ``"regression"`` or ``"classes"``.
    seed
        Seed of the forests.
    blocks
        Widths of groups of feature columns with equal weight (see :func:`standardise`).

    Raises
    ------
    ValueError
        For an unknown baseline, task, identity column or further input, or parts that share items.
    """
    train, test = np.asarray(train, np.int64), np.asarray(test, np.int64)
    if np.intersect1d(train, test).size:
        raise ValueError("an item is in the training and in the test part")
    if name.split("+")[0] == "ensemble" and task in ENSEMBLES:
        return pool(
            [
                fit_predict(
                    name.replace("ensemble", each), examples, train, test, task=task, seed=seed, blocks=blocks
                )
                for each in ENSEMBLES[task]
            ]
        )
    known: Mapping[str, object] = {"regression": REGRESSORS, "classes": CLASSIFIERS}.get(task, {})
    model, *more = name.split("+")
    if name.startswith("lookup:"):
        inputs = _one_hot(examples, name.removeprefix("lookup:").split("+"), train, test)
    elif model in known:
        columns = examples.inputs(more)
        inputs = standardise(columns[train], columns[test], blocks)
    else:
        raise ValueError(f"no baseline {name!r} for {task!r}; there are {', '.join(known)}")
    means, raters = (None if x is None else x[train] for x in (examples.means, examples.raters))
    fold = _Fold(*inputs, examples.groups[train], seed, means, raters)
    labels, classes = examples.labels[train], examples.class_of[train]
    if task == "regression":
        target, outputs = examples.labels[test], _by_mask(REGRESSORS.get(model, _lookup), fold, labels)
    else:
        target = examples.class_of[test]
        outputs = CLASSIFIERS.get(model, _class_lookup)(fold, classes, examples.n_classes)
    names = examples.dimensions if task == "regression" else examples.classes
    return Predictions(
        label=RATINGS if task == "regression" else PERFORMER,
        level="sequence",
        kind="regression" if task == "regression" else "classes",
        classes=names or tuple(map(str, range(outputs.shape[1]))),
        ids=examples.ids[test],
        groups=examples.groups[test],
        target=target,
        outputs=outputs,
    )
