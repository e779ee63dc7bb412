"""Regressors of ratings: ridge, kernel ridge, support vectors, forests, and a committee of them.

Strengths are chosen by inner cross-validation over groups of the training part; everything else is the same
for all data sets.

The committee: ratings are noisy, and some labels are noisier than others. So every member is fitted twice, on
the labels that are asked for and on the plain mean of all ratings, which is steadier than the mode of their
density (KDE apex); predictions of means are put on the scale of the labels by one line a dimension, fitted on
the labels of the training part. Items count n / (n + 3) for n raters, the reliability of their mean where one
rater's is 0.25 (Spearman-Brown; about the ICC of both rating sets). Without ratings there is one target and
equal weight. Members: extra trees, support vectors with an RBF kernel, and two kernel ridges (RBF plus a
linear part; Laplace, Rasmussen and Williams 2006, chapter 4.2.1, exponential). The prediction is their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics.pairwise import laplacian_kernel, rbf_kernel
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from musicbert.arrays import Bools, Floats, Ints
from musicbert.corpus.labelled.pieces import Kind

#: noise of one rater over the variance of the true scores: (1 - ICC) / ICC for an ICC of 0.25
NOISE_RATERS = 3.0
#: share of the linear part in the kernel; widths of the kernels over the number of inputs
LINEAR, RBF_WIDTH, LAPLACE_WIDTH = 0.3, 0.5, 0.7
#: strengths that kernel ridge chooses from
KERNEL_STRENGTHS = np.logspace(-1.5, 2.0, 8)
#: strengths that ridge chooses from: about a tenth to 200 times the number of features
RIDGE_STRENGTHS = np.logspace(1.0, 4.5, 15)
INNER_FOLDS = 5
#: of the support vectors: penalty and tolerance in deviations of a label
PENALTY, TOLERANCE = 0.5, 0.3


@dataclass(frozen=True, eq=False)
class Fold:
    """What a model sees: inputs of both parts, groups of the training items, seed, number of outputs.

    ``means`` and ``raters`` are those of `Examples`, of the training part.
    """

    train: NDArray[Any]
    test: NDArray[Any]
    groups: NDArray[np.str_]
    seed: int
    count: int = 0
    means: Floats | None = None
    raters: Floats | None = None

    def part(self, rows: Bools, columns: Ints) -> Fold:
        """Return the fold with some training items and dimensions only."""
        return replace(
            self,
            train=self.train[rows],
            groups=self.groups[rows],
            means=None if self.means is None else self.means[np.ix_(rows, columns)],
            raters=None if self.raters is None else self.raters[rows],
        )


def _select(
    path: Callable[[Ints, Ints], Floats], labels: Floats, groups: NDArray[Any], weight: Floats, count: int
) -> int:
    """Number of the strength with the least weighted squared error, over the variance, on held-out groups.

    ``path(train, held)`` gives predictions of some items at every strength [shape=(count, m, d)].
    """
    error = np.zeros(count)
    if len(np.unique(groups)) >= INNER_FOLDS:
        scale = np.maximum(labels.var(0), 1e-12)
        for train, held in GroupKFold(INNER_FOLDS).split(labels, groups=groups):
            wrong = (path(train, held) - labels[held]) ** 2
            error += (weight[held][:, None] * wrong / scale).sum((1, 2))
    return int(np.argmin(error)) if error.any() else count // 2


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
    best = _select(
        lambda train, held: _ridge_path(fold.train[train], labels[train], fold.train[held]),
        labels,
        np.arange(len(labels)) if few else fold.groups,
        np.ones(len(labels)),
        len(RIDGE_STRENGTHS),
    )
    return np.asarray(_ridge_path(fold.train, labels, fold.test)[best])


def rater_weights(raters: Floats | None, count: int) -> Floats:
    """Return n / (n + 3) for n raters, over its mean [shape=(count,), float64]; 1 without ratings."""
    if raters is None:
        return np.ones(count)
    weight = raters / (raters + NOISE_RATERS)
    return np.asarray(weight / weight.mean()) if weight.mean() > 0 else np.ones(count)


def _mean(weight: Floats, values: Floats) -> Floats:
    return np.asarray(weight @ values / weight.sum())


def _kernel_path(kernel: Floats, labels: Floats, weight: Floats, test_kernel: Floats) -> Floats:
    """Predict at every strength [shape=(strengths, m, d)], by one eigendecomposition.

    Weighted kernel ridge solves (K + s W^-1) a = y; with R = W^(1/2) this is R (R K R + s)^-1 R.
    """
    root = np.sqrt(weight)
    middle = _mean(weight, labels)
    values, vectors = np.linalg.eigh(root[:, None] * kernel * root)
    turned = vectors.T @ (root[:, None] * (labels - middle))  # (n, d)
    shrunk = turned[None] / (np.maximum(values, 0.0)[None, :, None] + KERNEL_STRENGTHS[:, None, None])
    result: Floats = (test_kernel * root) @ vectors @ shrunk + middle
    return result


def kernel_ridge(
    kernel: Floats, test_kernel: Floats, labels: Floats, *, weight: Floats, groups: NDArray[np.str_]
) -> Floats:
    """Weighted kernel ridge of the strength that does best on held-out groups [shape=(m, d)].

    ``kernel``, ``test_kernel``: among the training items [shape=(n, n)], and of test against training items
    [shape=(m, n)]; ``labels`` [shape=(n, d), no NaN]; ``weight``, ``groups`` of the training items
    [shape=(n,)].
    """
    few = len(np.unique(groups)) < INNER_FOLDS
    best = _select(
        lambda train, held: _kernel_path(
            kernel[np.ix_(train, train)], labels[train], weight[train], kernel[np.ix_(held, train)]
        ),
        labels,
        np.arange(len(labels)).astype(str) if few else groups,
        weight,
        len(KERNEL_STRENGTHS),
    )
    return np.asarray(_kernel_path(kernel, labels, weight, test_kernel)[best])


def _mixed(fold: Fold, labels: Floats, weight: Floats) -> Floats:
    width = fold.train.shape[1]
    kernels = [
        rbf_kernel(x, fold.train, gamma=RBF_WIDTH / width) + LINEAR / width * (x @ fold.train.T)
        for x in (fold.train, fold.test)
    ]
    return kernel_ridge(*kernels, labels, weight=weight, groups=fold.groups)


def _laplace(fold: Fold, labels: Floats, weight: Floats) -> Floats:
    width = LAPLACE_WIDTH / fold.train.shape[1]
    kernels = [laplacian_kernel(x, fold.train, gamma=width) for x in (fold.train, fold.test)]
    return kernel_ridge(*kernels, labels, weight=weight, groups=fold.groups)


def support_vectors(fold: Fold, labels: Floats, weight: Floats | None = None) -> Floats:
    """Regress each dimension by support vectors with an RBF kernel [shape=(m, d)]."""
    centre, scale = labels.mean(0), np.maximum(labels.std(0), 1e-9)
    width = RBF_WIDTH / fold.train.shape[1]
    kernel, test_kernel = (rbf_kernel(x, fold.train, gamma=width) for x in (fold.train, fold.test))
    columns = [
        SVR(kernel="precomputed", C=PENALTY, epsilon=TOLERANCE)
        .fit(kernel, y, sample_weight=weight)
        .predict(test_kernel)
        for y in ((labels - centre) / scale).T
    ]
    return np.asarray(np.stack(columns, axis=1) * scale + centre)


def forest(kind: type, share: float) -> Callable[..., Floats]:
    """Return the fit of 300 trees that look at a share of the features, all dimensions at once."""

    def fit(fold: Fold, labels: Floats, weight: Floats | None = None) -> Floats:
        model = kind(300, min_samples_leaf=2, max_features=share, n_jobs=1, random_state=fold.seed)
        target = labels if labels.shape[1] > 1 else labels[:, 0]
        model.fit(fold.train, target, sample_weight=weight)
        return np.asarray(model.predict(fold.test)).reshape(len(fold.test), -1)

    return fit


#: name -> (fold, labels [shape=(n, d)] without NaN, weight [shape=(n,)]) -> predictions [shape=(m, d)]
MEMBERS: dict[str, Callable[[Fold, Floats, Floats], Floats]] = {
    "extra_trees": forest(ExtraTreesRegressor, 1 / 2),
    "support_vectors": support_vectors,
    "rbf_and_linear": _mixed,
    "laplace": _laplace,
}


def committee(fold: Fold, labels: Floats) -> Floats:
    """Fit all members and return the mean of their predictions [shape=(m, d)] (see the module).

    Where a rater mean is NaN, the label stands in.
    """
    weight = rater_weights(fold.raters, len(labels))
    guesses = [fit(fold, labels, weight) for fit in MEMBERS.values()]
    if fold.means is not None:
        target = np.where(np.isfinite(fold.means), fold.means, labels)
        middle, asked = _mean(weight, target), _mean(weight, labels)
        spread = _mean(weight, (target - middle) ** 2)
        slope = _mean(weight, (target - middle) * (labels - asked)) / np.maximum(spread, 1e-12)
        guesses += [asked + slope * (fit(fold, target, weight) - middle) for fit in MEMBERS.values()]
    return np.asarray(np.mean(guesses, axis=0))


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

    def inputs(self, names: Sequence[str] = ()) -> Floats:
        """Return the features and some inputs of ``more`` side by side [shape=(n, k + ...), float64].

        Raises `ValueError` (for an unknown name).
        """
        if unknown := [name for name in names if name not in self.more]:
            raise ValueError(f"no inputs {', '.join(unknown)}; there are {sorted(self.more)}")
        return np.concatenate([self.features, *(self.more[name] for name in names)], axis=1)


def standardise(train: Floats, test: Floats, blocks: Sequence[int] | None = None) -> tuple[Floats, Floats]:
    """Standardise by the training part and clip; what is unknown (NaN) becomes the training mean.

    ``train``, ``test`` [shape=(n, k), float64]; ``blocks``: widths of groups of columns, each of which gets
    the same total variance, so that 768 columns of an embedding do not drown 150 features in a distance.
    """
    if not train.shape[1]:
        return train, test
    scaler = StandardScaler().fit(train)  # skips NaN
    weight = np.ones(train.shape[1])
    if blocks is not None:
        if sum(blocks) != train.shape[1]:
            raise ValueError(f"blocks {list(blocks)} do not sum to {train.shape[1]} columns")
        weight = np.repeat([np.sqrt(train.shape[1] / (len(blocks) * width)) for width in blocks], blocks)
    done = [np.nan_to_num(np.clip(scaler.transform(x), -CLIP, CLIP)) * weight for x in (train, test)]
    return done[0], done[1]
