"""The table of baselines, by kind of label and name; all are fitted and selected inside a training part.

| name | sees | model |
|---|---|---|
| ``mean`` / ``majority`` | nothing | mean label / shares of the classes in the training part |
| ``lookup:<columns>`` | names only | linear model on one-hots of performer, bars, ...: no music |
| ``skyline table`` | rank in the chord | shares of the classes (mean) at this rank in a chord of this size |
| ``ridge`` | features | ridge, strength by 5-fold inner cross-validation over groups |
| ``random_forest``, ``extra_trees`` | features | 300 trees (classes: 500) |
| ``svr`` / ``svm`` | features | RBF kernel, one model a dimension / one against one |
| ``logistic``, ``features: logistic`` | features | L2 logistic regression (of several labels: one each) |
| ``features: ridge`` | features | ridge, one a dimension, strength by leave-one-out |
| ``features: svm``, ``features: svr`` | features | as ``svm`` and ``svr``; of several labels one each |
| ``features: ensemble``, ``features: committee`` | features | mean of the three / as ``committee`` |
| ``... extra trees`` | features | 300 trees; for more than 5,000 items 100, with leaves of at least 5 |
| ``ensemble`` | features | mean of ridge, svr and extra trees / of logistic, svm and extra trees |
| ``committee`` | features | `musicbert.evaluation.baselines.committee`: rater means, raters counted |
| ``<name>+<inputs>`` | features and more | any of these with further inputs of `Examples.more` |
| ``committee+...+<states>+levels`` | features and more | with states of a network, with two levels of items |

Features are standardised with the training part's mean and deviation and clipped at 4 deviations.
Hyper-parameters that are not selected were fixed beforehand and are the same for all data sets. Missing
labels (NaN) leave an item out of that dimension only. Outputs are those of
`musicbert.evaluation.predictions.Predictions`: logarithms of probabilities, logits of labels, values.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logit
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.svm import SVC

from musicbert.arrays import Floats, Ints
from musicbert.corpus.labelled.pieces import Kind
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.committee import committee
from musicbert.evaluation.baselines.regressors import (
    Examples,
    Fold,
    forest,
    ridge,
    standardise,
    support_vectors,
)
from musicbert.evaluation.predictions import Predictions, outputs_of, probabilities

#: (fold, labels of the training part) -> outputs [shape=(m, C)]
Model = Callable[[Fold, NDArray[Any]], Floats]
#: makes an estimator of scikit-learn for a fold
Make = Callable[[Fold], Any]

#: smallest probability
_TINY = 1e-6
#: items from which on fewer and coarser trees are enough
MANY = 5_000
#: components that `hybrid` keeps of an embedding
COMPONENTS = 64
MORE_TREES = 500


def _constant(kind: Kind, labels: NDArray[Any], rows: int, count: int) -> Floats:
    """Predict the same for everything: shares of the classes, or means of known labels [shape=(rows, C)]."""
    if kind == "classes":
        counts = np.bincount(labels, minlength=count) + _TINY
        return np.tile(np.log(counts / counts.sum()), (rows, 1))
    means = np.nansum(labels, axis=0) / np.maximum((~np.isnan(labels)).sum(axis=0), 1)
    return np.tile(_logit(means) if kind == "multilabel" else means, (rows, 1))


def _logit(chance: Floats) -> Floats:
    return np.asarray(logit(np.clip(chance, _TINY, 1 - _TINY)))


def _table(kind: Kind) -> Model:
    """Constant of each cell of a table; of all items where training has none in it."""

    def fit(fold: Fold, labels: NDArray[Any]) -> Floats:
        outputs = _constant(kind, labels, len(fold.test), fold.count)
        for cell in np.unique(fold.test):
            inside = labels[fold.train == cell]
            if len(inside):
                outputs[fold.test == cell] = _constant(kind, inside, 1, fold.count)
        return outputs

    return fit


def _by_mask(model: Callable[[Fold, Floats], Floats]) -> Model:
    """Fit all dimensions with the same known items together; a dimension without a label predicts NaN."""

    def fit(fold: Fold, labels: Floats) -> Floats:
        known = np.isfinite(labels)
        result = np.full((len(fold.test), labels.shape[1]), np.nan)
        patterns, member = np.unique(known, axis=1, return_inverse=True)
        for k, rows in enumerate(patterns.T):
            columns = np.flatnonzero(member == k)
            if rows.any():
                result[:, columns] = model(fold.part(rows, columns), labels[np.ix_(rows, columns)])
        return result

    return fit


def _classifier(make: Make) -> Model:
    """Logarithms of the probabilities of all classes; those that training lacks get the smallest."""

    def fit(fold: Fold, labels: Ints) -> Floats:
        if len(np.unique(labels)) < 2:
            return _constant("classes", labels, len(fold.test), fold.count)
        model = make(fold).fit(fold.train, labels)
        chance = np.full((len(fold.test), fold.count), _TINY)
        chance[:, model.classes_] += model.predict_proba(fold.test)
        return np.asarray(np.log(chance / chance.sum(1, keepdims=True)))

    return fit


def support(width: int) -> SVC:
    """Return support vectors with an RBF kernel for inputs of a width."""
    return SVC(C=10.0, gamma=0.5 / width)


def _svm(fold: Fold, labels: Ints) -> Floats:
    if len(np.unique(labels)) < 2:
        return _constant("classes", labels, len(fold.test), fold.count)
    model = support(fold.train.shape[1]).fit(fold.train, labels)
    logits = np.full((len(fold.test), fold.count), -20.0)
    decision = model.decision_function(fold.test)
    logits[:, model.classes_] = decision if decision.ndim == 2 else np.stack([-decision, decision], axis=1)
    return np.asarray(log_softmax(logits, axis=1))


def fit_columns(make: Callable[[], Any], train: Floats, labels: Floats, test: Floats) -> Floats:
    """Fit one model a column of labels [shape=(n, C), NaN where missing], on the items where it is known.

    ``make``: makes an estimator of scikit-learn: a classifier for labels of 0 and 1; where it gives margins
    in place of probabilities, their logistic function stands for these.
    Returns probabilities of 1, or values [shape=(m, C)]; a column that never varies keeps its value, one
    without any label gets 0.
    """
    columns = []
    for column in labels.T:
        known = ~np.isnan(column)
        inputs, values = train[known], column[known]
        if len(np.unique(values)) < 2:
            columns.append(np.full(len(test), values.mean() if len(values) else 0.0))
            continue
        model = make().fit(inputs, values)
        proba, margin = (getattr(model, name, None) for name in ("predict_proba", "decision_function"))
        if proba is not None:
            columns.append(proba(test)[:, 1])
        else:
            columns.append(model.predict(test) if margin is None else expit(margin(test)))
    return np.column_stack(columns)


def _columns(make: Make, finish: Callable[[Floats], Floats] = np.asarray) -> Model:
    return lambda fold, labels: finish(fit_columns(lambda: make(fold), fold.train, labels, fold.test))


def _logistic(_: Fold) -> LogisticRegression:
    return LogisticRegression(C=0.3, max_iter=2000)


def _support(fold: Fold) -> SVC:
    return support(fold.train.shape[1])


def _trees(kind: type) -> Make:
    return lambda fold: kind(MORE_TREES, n_jobs=1, random_state=fold.seed)


def _fewer_trees(kind: type) -> Make:
    def make(fold: Fold) -> Any:
        few = len(fold.train) < MANY
        leaf = 1 if few else 5
        return kind(n_estimators=300 if few else 100, min_samples_leaf=leaf, random_state=fold.seed)

    return make


def _mean_of(kind: Kind, *models: Model) -> Model:
    """Mean of the predictions of some models, of their probabilities where labels are classes."""
    return lambda fold, labels: outputs_of(
        np.mean([probabilities(model(fold, labels), kind) for model in models], axis=0), kind
    )


def _all_trees(model: Model) -> dict[str, Model]:
    return {"features: extra trees": model, "note rules: extra trees": model}


def _constant_model(kind: Kind) -> Model:
    return lambda fold, labels: _constant(kind, labels, len(fold.test), fold.count)


#: kind of label -> name -> model
MODELS: dict[Kind, dict[str, Model]] = {
    "regression": {
        "mean": _by_mask(_constant_model("regression")),
        "ridge": _by_mask(ridge),
        "random_forest": _by_mask(forest(RandomForestRegressor, 1 / 3)),
        "extra_trees": _by_mask(forest(ExtraTreesRegressor, 1 / 2)),
        "svr": _by_mask(support_vectors),
        "committee": _by_mask(committee),
        "skyline table": _table("regression"),
        "features: ridge": _columns(lambda _: RidgeCV(np.logspace(0, 4, 9))),
        "features: svr": _by_mask(support_vectors),
        "features: committee": _by_mask(committee),
        **_all_trees(_columns(_fewer_trees(ExtraTreesRegressor))),
    },
    "classes": {
        "majority": _constant_model("classes"),
        "logistic": _classifier(_logistic),
        "random_forest": _classifier(_trees(RandomForestClassifier)),
        "extra_trees": _classifier(_trees(ExtraTreesClassifier)),
        "svm": _svm,
        "skyline table": _table("classes"),
        "features: logistic": _classifier(_logistic),
        "features: svm": _svm,
        "features: ensemble": _mean_of(
            "classes", _classifier(_logistic), _svm, _classifier(_fewer_trees(ExtraTreesClassifier))
        ),
        **_all_trees(_classifier(_fewer_trees(ExtraTreesClassifier))),
    },
    "multilabel": {
        "majority": _constant_model("multilabel"),
        "skyline table": _table("multilabel"),
        "features: logistic": _columns(_logistic, _logit),
        "features: svm": _columns(_support, _logit),
        "features: ensemble": _mean_of(
            "multilabel",
            _columns(_logistic, _logit),
            _columns(_support, _logit),
            _columns(_fewer_trees(ExtraTreesClassifier), _logit),
        ),
        **_all_trees(_columns(_fewer_trees(ExtraTreesClassifier), _logit)),
    },
}
#: kind of label -> model of a look-up of names
_LOOKUPS: dict[Kind, Model] = {
    "regression": _by_mask(
        lambda fold, labels: np.asarray(Ridge(1.0).fit(fold.train, labels).predict(fold.test)).reshape(
            len(fold.test), -1
        )
    ),
    "classes": _classifier(lambda _: LogisticRegression(C=1.0, max_iter=2000)),
}
#: kind of label -> members of the row ``ensemble``: the mean of their predictions (of their probabilities)
ENSEMBLES: dict[Kind, tuple[str, ...]] = {
    "regression": ("ridge", "svr", "extra_trees"),
    "classes": ("logistic", "svm", "extra_trees"),
}
#: name -> identity that it reads in place of features
_IDENTITIES = {"skyline table": "chord"}


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


def fit_outputs(
    name: str,
    examples: Examples,
    train: Ints,
    test: Ints,
    *,
    seed: int = 0,
    blocks: Sequence[int] | None = None,
    log: Callable[[Mapping[str, Any]], None] | None = None,
    memo: MutableMapping[str, Any] | None = None,
) -> Floats:
    """Fit one baseline on a training part and return its outputs of a test part [shape=(m, C), float64].

    ``name``: a key of `MODELS`, ``ensemble``, or one of these with further inputs (``committee+score``); or
    ``lookup:performer+content`` (identity columns); ``train``, ``test``: numbers of items; ``seed``: of the
    trees; ``blocks``: see `standardise`; ``log``, ``memo``: see `Fold`.
    Raises `ValueError` (for an unknown baseline, identity column or further input, or parts that share
    items).
    """
    train, test = np.asarray(train, np.int64), np.asarray(test, np.int64)
    if np.intersect1d(train, test).size:
        raise ValueError("an item is in the training and in the test part")
    kind, known = examples.kind, MODELS[examples.kind]
    name_of_model, more, network, levels = examples.row(name)
    further: dict[str, Any] = {"memo": {} if memo is None else memo, "log": log}
    if network:
        layers = [standardise(layer[train], layer[test]) for layer in examples.states[network]]
        further["states"] = tuple(np.stack(part) for part in zip(*layers, strict=True))
    if levels:
        further["bars"] = tuple(examples.identities["bars"][part] for part in (train, test))
    if name_of_model == "ensemble" and kind in ENSEMBLES:
        names = [name.replace("ensemble", member) for member in ENSEMBLES[kind]]
        members = [fit_outputs(n, examples, train, test, seed=seed, blocks=blocks) for n in names]
        return outputs_of(np.mean([probabilities(outputs, kind) for outputs in members], axis=0), kind)
    if name.startswith("lookup:") and kind in _LOOKUPS:
        model = _LOOKUPS[kind]
        inputs = _one_hot(examples, name.removeprefix("lookup:").split("+"), train, test)
    elif name_of_model in known:
        model = known[name_of_model]
        if name_of_model in _IDENTITIES:
            values = examples.identities[_IDENTITIES[name_of_model]]
            inputs = values[train], values[test]
        else:
            columns = examples.inputs(more)
            inputs = standardise(columns[train], columns[test], blocks)
    else:
        raise ValueError(f"no baseline {name!r} for {kind!r}; there are {', '.join(known)}")
    means, raters = (None if x is None else x[train] for x in (examples.means, examples.raters))
    fold = Fold(*inputs, examples.groups[train], seed, len(examples.classes), means, raters, **further)
    return model(fold, examples.target[train])


def fit_predict(name: str, examples: Examples, train: Ints, test: Ints, **options: Any) -> Predictions:
    """Return the predictions of a test part of pieces or segments; parameters are those of `fit_outputs`."""
    return Predictions(
        label=examples.label,
        level="sequence",
        kind=examples.kind,
        classes=examples.classes,
        ids=examples.ids[test],
        groups=examples.groups[test],
        target=examples.target[test],
        outputs=fit_outputs(name, examples, train, test, **options),
    )


def hybrid(
    train: Predictions, test: Predictions, features: Mapping[str, Floats], *, seed: int = 0
) -> Predictions:
    """Fit the ensemble on embeddings of a network and hand-made features of segments together.

    The embedding is cut to its leading principal components of the training part, and embedding and features
    get the same total variance. An embedding has seen the labels of its training items, so it looks more
    telling there than it is on new music; the plain average of the predictions of network and features
    (``blend``) cannot be misled in that way. Reports show both.

    ``train``, ``test``: predictions of one network, of both parts of one fold, with their groups;
    ``features``: id -> features.
    Raises `DatasetError` (``no-embedding``; ``no-match`` where an item has no features).
    """
    if train.embedding is None or test.embedding is None:
        raise DatasetError(
            "no-embedding", "a part has no embedding", hint="write the predictions again with the evaluation"
        )
    ids = np.concatenate([train.ids, test.ids])
    missing = [item for item in ids.tolist() if item not in features]
    if missing:
        raise DatasetError("no-match", f"{len(missing)} items have no features, such as {missing[0]}")
    count = min(COMPONENTS, *train.embedding.shape)
    cut = PCA(count, random_state=seed).fit(train.embedding)
    table = np.stack([features[item] for item in ids.tolist()])
    examples = Examples(
        label=train.label,
        kind=train.kind,
        classes=train.classes,
        features=np.hstack([table, cut.transform(np.concatenate([train.embedding, test.embedding]))]),
        target=np.concatenate([train.target, test.target]),
        groups=np.concatenate([train.groups, test.groups]),
        ids=ids,
    )
    first, second = np.split(np.arange(len(ids)), [len(train)])
    return fit_predict("ensemble", examples, first, second, seed=seed, blocks=(table.shape[1], count))
