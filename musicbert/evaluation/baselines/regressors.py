"""Regressors of ratings: ridge, kernel ridge, support vectors, forests; examples and parts of folds.

Strengths are chosen by inner cross-validation over groups of the training part; everything else is the same
for all data sets. Support vectors and kernel ridges are fitted to `KernelSum`, plain arrays. The committee of
them: `musicbert.evaluation.baselines.committee`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Bools, Floats, Ints
from musicbert.corpus.labelled.pieces import Kind

#: share of the linear part in the kernel; widths of the kernels over the number of inputs
LINEAR, RBF_WIDTH, LAPLACE_WIDTH = 0.3, 0.5, 0.7
#: strengths that kernel ridge chooses from
KERNEL_STRENGTHS = np.logspace(-1.5, 2.0, 8)
#: strengths that ridge chooses from: about a tenth to 200 times the number of features
RIDGE_STRENGTHS = np.logspace(1.0, 4.5, 15)
INNER_FOLDS = 5
TREES = 300
#: of the support vectors: penalty and tolerance in deviations of a label
PENALTY, TOLERANCE = 0.5, 0.3


@dataclass(frozen=True, eq=False)
class Fold:
    """What a model sees: inputs of both parts, groups of the training items, seed, number of outputs.

    ``means`` and ``raters`` are those of `Examples`, of the training part; ``states`` and ``bars`` of both
    parts, where the row names them: states of all layers [shape=(L, n, j)], names of what is played. ``log``:
    called with what was chosen inside the training part; ``memo``: forests by what they were fitted on.
    """

    train: NDArray[Any]
    test: NDArray[Any]
    groups: NDArray[np.str_]
    seed: int
    count: int = 0
    means: Floats | None = None
    raters: Floats | None = None
    states: tuple[Floats, Floats] | None = None
    bars: tuple[NDArray[Any], NDArray[Any]] | None = None
    log: Callable[[Mapping[str, Any]], None] | None = None
    memo: MutableMapping[str, Any] = field(default_factory=dict)

    def part(self, rows: Bools, columns: Ints) -> Fold:
        """Return the fold with some training items and dimensions only."""
        return replace(
            self,
            train=self.train[rows],
            groups=self.groups[rows],
            means=None if self.means is None else self.means[np.ix_(rows, columns)],
            raters=None if self.raters is None else self.raters[rows],
            states=None if self.states is None else (self.states[0][:, rows], self.states[1]),
            bars=None if self.bars is None else (self.bars[0][rows], self.bars[1]),
        )


def _errors(
    path: Callable[[Ints, Ints], Floats],
    labels: Floats,
    groups: NDArray[Any],
    weight: Floats,
    count: int,
    folds: int = INNER_FOLDS,
) -> Floats:
    """Weighted squared error, over the variance, on held-out groups at every strength [shape=(count, t)].

    All zero where there are too few groups.

    ``path(train, held)`` gives predictions of some items at every strength [shape=(count, t, m, d)];
    ``labels`` of several targets [shape=(t, n, d)].
    """
    from sklearn.model_selection import GroupKFold

    error = np.zeros((count, len(labels)))
    if len(np.unique(groups)) >= folds:
        scale = np.maximum(labels.var(1), 1e-12)[:, None]
        for train, held in GroupKFold(folds).split(groups, groups=groups):
            wrong = (path(train, held) - labels[:, held]) ** 2
            error += (weight[held][:, None] * wrong / scale).sum((2, 3))
    return error


def _best(error: Floats) -> Ints:
    """Return the number of the strength with the least error of each target [shape=(t,)]."""
    return np.where(error.any(0), error.argmin(0), len(error) // 2)


def _ridge_path(inputs: Floats, labels: Floats, test: Floats) -> Floats:
    """Predict with ridge at every strength [shape=(strengths, m, d)], by one eigendecomposition."""
    centre, middle = inputs.mean(0), labels.mean(0)
    values, vectors = np.linalg.eigh((inputs - centre).T @ (inputs - centre))
    rotated = vectors.T @ ((inputs - centre).T @ (labels - middle))  # (k, d)
    shrunk = rotated[None] / (np.maximum(values, 0.0)[None, :, None] + RIDGE_STRENGTHS[:, None, None])
    result: Floats = ((test - centre) @ vectors) @ shrunk + middle
    return result


def ridge(fold: Fold, labels: Floats) -> Floats:
    """Ridge regression of the strength that does best on held-out groups."""
    few = len(np.unique(fold.groups)) < INNER_FOLDS
    error = _errors(
        lambda train, held: _ridge_path(fold.train[train], labels[train], fold.train[held])[:, None],
        labels[None],
        np.arange(len(labels)) if few else fold.groups,
        np.ones(len(labels)),
        len(RIDGE_STRENGTHS),
    )
    return np.asarray(_ridge_path(fold.train, labels, fold.test)[_best(error)[0]])


def weighted_mean(weight: Floats, values: Floats) -> Floats:
    """Average items [shape=(n, d)] with their weights [shape=(n,)]."""
    return np.asarray(weight @ values / weight.sum())


def _rbf(x: Floats, y: Floats, width: float) -> Floats:
    """Return the RBF kernel, as scikit-learn's, whose import takes a second."""
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.asarray(np.exp(-RBF_WIDTH / width * np.maximum(squares, 0.0)))


def _laplace(x: Floats, y: Floats, width: float) -> Floats:
    """Return the Laplace kernel, as scikit-learn's."""
    apart, one, space = np.zeros((len(x), len(y))), np.ones(y.shape[1]), np.empty(y.shape)
    for row, item in zip(apart, x, strict=True):
        np.abs(np.subtract(y, item, out=space), out=space)
        row[:] = space @ one
    return np.asarray(np.exp(-LAPLACE_WIDTH / width * apart))


Kernel = Callable[[Floats, Floats, float], Floats]
#: name -> (items [shape=(m, k)], other items [shape=(n, k)], number of inputs) -> [shape=(m, n)]
KERNELS: dict[str, Kernel] = {
    "rbf": _rbf,
    "rbf_and_linear": lambda x, y, width: _rbf(x, y, width) + LINEAR / width * (x @ y.T),
    "laplace": _laplace,
}


@dataclass(frozen=True, eq=False)
class KernelSum:
    """Kernels at training items, ``inputs`` [shape=(n, k)], times ``weights`` [shape=(n, d)], and a constant.

    ``width``: number of inputs that the widths of the kernels are over; ``middle`` [shape=(d,)].
    """

    inputs: Floats
    width: float
    weights: Mapping[str, Floats]
    middle: Floats

    def predict(self, inputs: Floats) -> Floats:
        """Predict items [shape=(m, k)] -> [shape=(m, d), float64]."""
        here, items = (np.asarray(x, np.float64) for x in (inputs, self.inputs))
        total = np.tile(np.asarray(self.middle, np.float64), (len(here), 1))
        for name, weights in self.weights.items():
            total += KERNELS[name](here, items, self.width) @ np.asarray(weights, np.float64)
        return total

    def scaled(self, slope: Floats, offset: Floats) -> KernelSum:
        """Return slope * predictions + offset, in single precision [shape=(d,) each]."""
        weights = {name: (slope * values).astype(np.float32) for name, values in self.weights.items()}
        middle = (slope * self.middle + offset).astype(np.float32)
        return KernelSum(self.inputs.astype(np.float32), self.width, weights, middle)

    def __add__(self, other: KernelSum) -> KernelSum:
        """Add the predictions of two sums over the same items."""
        names = {**self.weights, **other.weights}
        weights = {name: self.weights.get(name, 0) + other.weights.get(name, 0) for name in names}
        return replace(self, weights=weights, middle=self.middle + other.middle)


def _kernel_path(kernel: Floats, labels: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Fit weighted kernel ridge at every strength.

    ``labels`` of several targets [shape=(t, n, d)]. Returns weights [shape=(strengths, t, n, d)] and the
    middle [shape=(t, 1, d)].
    Weighted kernel ridge solves (K + s W^-1) a = y; with R = W^(1/2) this is R (R K R + s)^-1 R.
    """
    root = np.sqrt(weight)
    middle = weighted_mean(weight, labels)[:, None]
    values, vectors = np.linalg.eigh(root[:, None] * kernel * root)
    turned = vectors.T @ (root[:, None] * (labels - middle))  # (t, n, d)
    shrunk = turned / (np.maximum(values, 0.0)[None, :] + KERNEL_STRENGTHS[:, None])[:, None, :, None]
    return root[:, None] * (vectors @ shrunk), middle


def kernel_errors(
    kernel: Floats, labels: Floats, weight: Floats, groups: NDArray[Any], folds: int = INNER_FOLDS
) -> Floats:
    """Errors of weighted kernel ridge on held-out groups at every strength [shape=(strengths, t)]."""

    def path(train: Ints, held: Ints) -> Floats:
        weights, middle = _kernel_path(kernel[np.ix_(train, train)], labels[:, train], weight[train])
        return np.asarray(kernel[np.ix_(held, train)] @ weights + middle)

    few = len(np.unique(groups)) < folds
    alone = np.arange(len(kernel)).astype(str)
    return _errors(path, labels, alone if few else groups, weight, len(KERNEL_STRENGTHS), folds)


def kernel_ridge(
    name: str, inputs: Floats, labels: Floats, *, width: float, weight: Floats, groups: NDArray[Any]
) -> list[KernelSum]:
    """Fit weighted kernel ridge to several targets, each of the strength that does best on held-out groups.

    ``name``: of the kernel; ``inputs`` [shape=(n, k)]; ``labels`` [shape=(t, n, d), no NaN]; ``weight``,
    ``groups`` of the items [shape=(n,)].
    """
    kernel = KERNELS[name](inputs, inputs, width)
    best = _best(kernel_errors(kernel, labels, weight, groups))
    weights, middle = _kernel_path(kernel, labels, weight)
    return [
        KernelSum(inputs, width, {name: weights[strength, k]}, middle[k, 0])
        for k, strength in enumerate(best)
    ]


def fit_support_vectors(
    inputs: Floats, labels: Floats, *, width: float, weight: Floats | None = None
) -> KernelSum:
    """Fit support vectors with an RBF kernel, a model a dimension."""
    from sklearn.svm import SVR

    centre, scale = labels.mean(0), np.maximum(labels.std(0), 1e-9)
    kernel = KERNELS["rbf"](inputs, inputs, width)
    weights, middle = np.zeros(labels.shape), np.zeros(labels.shape[1])
    for column, values in enumerate(((labels - centre) / scale).T):
        model = SVR(kernel="precomputed", C=PENALTY, epsilon=TOLERANCE).fit(
            kernel, values, sample_weight=weight
        )
        weights[model.support_, column] = model.dual_coef_[0]
        middle[column] = model.intercept_[0]
    return KernelSum(inputs, width, {"rbf": weights * scale}, middle * scale + centre)


def support_vectors(fold: Fold, labels: Floats) -> Floats:
    """Regress each dimension by support vectors with an RBF kernel [shape=(m, d)]."""
    return fit_support_vectors(fold.train, labels, width=fold.train.shape[1]).predict(fold.test)


def fit_trees(kind: type, share: float, fold: Fold, labels: Floats, weight: Floats | None = None) -> Any:
    """Fit `TREES` trees that look at a share of the features, all dimensions at once."""
    model = kind(TREES, min_samples_leaf=2, max_features=share, n_jobs=1, random_state=fold.seed)
    target = labels if labels.shape[1] > 1 else labels[:, 0]
    return model.fit(fold.train, target, sample_weight=weight)


def forest(kind: type, share: float) -> Callable[[Fold, Floats], Floats]:
    """Return the predictions of `fit_trees`."""

    def fit(fold: Fold, labels: Floats) -> Floats:
        model = fit_trees(kind, share, fold, labels)
        return np.asarray(model.predict(fold.test)).reshape(len(fold.test), -1)

    return fit


#: deviations at which a standardised feature is clipped
CLIP = 4.0


@dataclass(frozen=True, eq=False)
class Examples:
    """Items (pieces, segments or notes) with inputs and one label.

    ``means`` and ``raters`` are None where the ratings are unknown.
    """

    label: str
    kind: Kind
    classes: tuple[str, ...]  # names of the classes, of the dimensions of a regression
    features: Floats  # (n, k)
    target: NDArray[Any]  # classes (n,), other kinds (n, C), missing NaN
    groups: NDArray[
        np.str_
    ]  # items of one group share music: inner cross-validation keeps them together (n,)
    ids: NDArray[np.str_]  # names; of notes, those of their pieces (n,)
    identities: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # for look-up tables: column -> (n,)
    #: further inputs, a row of NaN where an item has none (n, j). ``score``: against the score; ``peers``:
    #: against the other performances of the same bars
    more: Mapping[str, Floats] = field(default_factory=dict)
    means: Floats | None = None  # mean of all ratings of each label (n, C), 0-1, NaN where nobody rated
    raters: Floats | None = None  # number of raters, averaged over labels (n,)
    #: frozen states of networks by name, of all layers (L, n, j)
    states: Mapping[str, Floats] = field(default_factory=dict)

    def inputs(self, names: Sequence[str] = ()) -> Floats:
        """Return the features and some inputs of ``more`` side by side [shape=(n, k + ...), float64].

        Raises `ValueError` (for an unknown name).
        """
        if unknown := [name for name in names if name not in self.more]:
            raise ValueError(f"no inputs {', '.join(unknown)}; there are {sorted(self.more)}")
        return np.concatenate([self.features, *(self.more[name] for name in names)], axis=1)

    def row(self, name: str) -> tuple[str, list[str], str, bool]:
        """Take the name of a row apart: model, further inputs, network of the states ("": none), levels.

        Raises `ValueError` (states or levels of another model than the committee, or of several networks).
        """
        model, *more = name.split("+")
        networks = [each for each in more if each in self.states]
        levels = "levels" in more and "bars" in self.identities
        if len(networks) > 1 or ((networks or levels) and model != "committee"):
            raise ValueError(f"{name!r}: a committee takes the states of one network, other models take none")
        more = [each for each in more if each not in networks and not (levels and each == "levels")]
        return model, more, networks[0] if networks else "", levels


@dataclass(frozen=True, eq=False)
class Scale:
    """Standardises by ``middle`` and ``spread`` of a training part [shape=(k,)] and clips; NaN becomes 0."""

    middle: Floats
    spread: Floats

    @classmethod
    def fit(cls, train: Floats) -> Scale:
        """Take mean and deviation of the known values of each column."""
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(train)  # skips NaN
        return cls(scaler.mean_, scaler.scale_)

    def apply(self, values: Floats) -> Floats:
        """Standardise [shape=(m, k)]."""
        return np.asarray(np.nan_to_num(np.clip((values - self.middle) / self.spread, -CLIP, CLIP)))


def standardise(train: Floats, test: Floats, blocks: Sequence[int] | None = None) -> tuple[Floats, Floats]:
    """Standardise by the training part and clip; what is unknown (NaN) becomes the training mean.

    ``train``, ``test`` [shape=(n, k), float64]; ``blocks``: widths of groups of columns, each of which gets
    the same total variance, so that 768 columns of an embedding do not drown 150 features in a distance.
    """
    if not train.shape[1]:
        return train, test
    scale, weight = Scale.fit(train), np.ones(train.shape[1])
    if blocks is not None:
        if sum(blocks) != train.shape[1]:
            raise ValueError(f"blocks {list(blocks)} do not sum to {train.shape[1]} columns")
        weight = np.repeat([np.sqrt(train.shape[1] / (len(blocks) * width)) for width in blocks], blocks)
    return scale.apply(train) * weight, scale.apply(test) * weight
