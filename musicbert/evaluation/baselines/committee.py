"""A committee of regressors for ratings: several kinds of model, two kinds of target, raters counted.

Ratings are noisy, and some labels are noisier than others. So every member is fitted twice, on the labels
that are asked for and on the plain mean of all ratings, which is steadier than the mode of their density (KDE
apex); predictions of means are put on the scale of the labels by one line a dimension, fitted on the labels
of the training part. Items count n / (n + 3) for n raters, the reliability of their mean where one rater's
is 0.25 (Spearman-Brown; about the ICC of both rating sets). Without ratings there is one target and equal
weight.

Members, each with the same settings on all data sets: extra trees, support vectors with an RBF kernel, and
two kernel ridges whose strength is chosen by inner cross-validation over groups (RBF plus a linear part;
Laplace, Rasmussen and Williams 2006, chapter 4.2.1, exponential). The committee says their mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics.pairwise import laplacian_kernel, rbf_kernel
from sklearn.model_selection import GroupKFold
from sklearn.svm import SVR

__all__ = ["MEMBERS", "committee", "kernel_ridge", "rater_weights", "support_vectors"]

Floats = NDArray[np.float64]

#: Noise of one rater over the variance of the true scores: (1 - ICC) / ICC for an ICC of 0.25.
NOISE_RATERS = 3.0
#: Share of the linear part in the kernel; widths of the kernels over the number of inputs.
LINEAR, RBF_WIDTH, LAPLACE_WIDTH = 0.3, 0.5, 0.7
#: Strengths that kernel ridge chooses from, and folds of the choice.
STRENGTHS = np.logspace(-1.5, 2.0, 8)
INNER_FOLDS = 5
#: Of the support vectors: penalty and tolerance in deviations of a label.
PENALTY, TOLERANCE = 0.5, 0.3


@dataclass(frozen=True, eq=False)
class _Part:
    """Inputs of both parts (standardised), weights, groups and seed of one fold."""

    train: Floats
    test: Floats
    weight: Floats
    groups: NDArray[np.str_]
    seed: int


def rater_weights(raters: Floats | None, count: int) -> Floats:
    """Return n / (n + 3) for n raters, over its mean [shape=(count,), float64]; 1 without ratings."""
    if raters is None:
        return np.ones(count)
    weight = raters / (raters + NOISE_RATERS)
    return np.asarray(weight / weight.mean()) if weight.mean() > 0 else np.ones(count)


def _mean(weight: Floats, values: Floats) -> Floats:
    return np.asarray(weight @ values / weight.sum())


def _path(kernel: Floats, labels: Floats, weight: Floats, test_kernel: Floats) -> Floats:
    """Predict at every strength [shape=(strengths, m, d)], by one eigendecomposition.

    Weighted kernel ridge solves (K + s W^-1) a = y; with R = W^(1/2) this is R (R K R + s)^-1 R.
    """
    root = np.sqrt(weight)
    middle = _mean(weight, labels)
    values, vectors = np.linalg.eigh(root[:, None] * kernel * root)
    turned = vectors.T @ (root[:, None] * (labels - middle))  # (n, d)
    shrunk = turned[None] / (np.maximum(values, 0.0)[None, :, None] + STRENGTHS[:, None, None])
    result: Floats = (test_kernel * root) @ vectors @ shrunk + middle
    return result


def kernel_ridge(
    kernel: Floats,
    test_kernel: Floats,
    labels: Floats,
    *,
    weight: Floats,
    groups: NDArray[np.str_],
) -> Floats:
    """Weighted kernel ridge of the strength with the least weighted error on held-out groups.

    Parameters
    ----------
    kernel, test_kernel
        Among the training items [shape=(n, n)], and of test against training items [shape=(m, n)].
    labels
        [shape=(n, d), float64], no NaN.
    weight, groups
        Weight (mean 1) and group of each training item [shape=(n,)].

    Returns
    -------
    [shape=(m, d), float64]
    """
    if len(np.unique(groups)) < INNER_FOLDS:
        groups = np.arange(len(labels)).astype(str)
    error = np.zeros(len(STRENGTHS))
    scale = np.maximum(labels.var(0), 1e-12)
    if len(np.unique(groups)) >= INNER_FOLDS:
        for train, held in GroupKFold(INNER_FOLDS).split(kernel, groups=groups):
            guesses = _path(
                kernel[np.ix_(train, train)], labels[train], weight[train], kernel[np.ix_(held, train)]
            )
            error += (weight[held][:, None] * (guesses - labels[held]) ** 2 / scale).sum((1, 2))
    best = int(np.argmin(error)) if error.any() else len(STRENGTHS) // 2
    return np.asarray(_path(kernel, labels, weight, test_kernel)[best])


def _mixed(part: _Part, labels: Floats) -> Floats:
    width = part.train.shape[1]
    kernels = [
        rbf_kernel(x, part.train, gamma=RBF_WIDTH / width) + LINEAR / width * (x @ part.train.T)
        for x in (part.train, part.test)
    ]
    return kernel_ridge(*kernels, labels, weight=part.weight, groups=part.groups)


def _laplace(part: _Part, labels: Floats) -> Floats:
    width = LAPLACE_WIDTH / part.train.shape[1]
    kernels = [laplacian_kernel(x, part.train, gamma=width) for x in (part.train, part.test)]
    return kernel_ridge(*kernels, labels, weight=part.weight, groups=part.groups)


def support_vectors(train: Floats, test: Floats, labels: Floats, weight: Floats | None = None) -> Floats:
    """Regress each dimension by support vectors with an RBF kernel.

    Parameters
    ----------
    train, test
        Standardised inputs [shape=(n, k) and (m, k), float64].
    labels
        [shape=(n, d), float64], no NaN.
    weight
        Of each training item [shape=(n,)]; equal if None.

    Returns
    -------
    [shape=(m, d), float64]
    """
    centre, scale = labels.mean(0), np.maximum(labels.std(0), 1e-9)
    width = RBF_WIDTH / train.shape[1]
    kernel, test_kernel = (rbf_kernel(x, train, gamma=width) for x in (train, test))
    columns = [
        SVR(kernel="precomputed", C=PENALTY, epsilon=TOLERANCE)
        .fit(kernel, y, sample_weight=weight)
        .predict(test_kernel)
        for y in ((labels - centre) / scale).T
    ]
    return np.asarray(np.stack(columns, axis=1) * scale + centre)


def _support_vectors(part: _Part, labels: Floats) -> Floats:
    return support_vectors(part.train, part.test, labels, part.weight)


def _extra_trees(part: _Part, labels: Floats) -> Floats:
    model = ExtraTreesRegressor(300, min_samples_leaf=2, max_features=0.5, n_jobs=1, random_state=part.seed)
    target = labels if labels.shape[1] > 1 else labels[:, 0]
    model.fit(part.train, target, sample_weight=part.weight)
    return np.asarray(model.predict(part.test)).reshape(len(part.test), -1)


#: name -> (fold, labels [shape=(n, d)] without NaN) -> predictions [shape=(m, d)]
MEMBERS: dict[str, Callable[[_Part, Floats], Floats]] = {
    "extra_trees": _extra_trees,
    "support_vectors": _support_vectors,
    "rbf_and_linear": _mixed,
    "laplace": _laplace,
}


def committee(
    train: Floats,
    test: Floats,
    labels: Floats,
    *,
    groups: NDArray[np.str_],
    means: Floats | None = None,
    raters: Floats | None = None,
    seed: int = 0,
) -> Floats:
    """Fit all members on a training part and return the mean of their predictions of a test part.

    Parameters
    ----------
    train, test
        Standardised inputs [shape=(n, k) and (m, k), float64].
    labels
        Labels that are asked for [shape=(n, d), float64], no NaN.
    groups
        Items of one group share music [shape=(n,)].
    means, raters
        Mean of all ratings [shape=(n, d), float64]; where it is NaN, the label stands in. Number of raters
        [shape=(n,), float64].
    seed
        Of the trees.

    Returns
    -------
    [shape=(m, d), float64]
    """
    part = _Part(train, test, rater_weights(raters, len(labels)), groups, seed)
    guesses = [fit(part, labels) for fit in MEMBERS.values()]
    if means is not None:
        target = np.where(np.isfinite(means), means, labels)
        middle, asked = _mean(part.weight, target), _mean(part.weight, labels)
        spread = _mean(part.weight, (target - middle) ** 2)
        slope = _mean(part.weight, (target - middle) * (labels - asked)) / np.maximum(spread, 1e-12)
        guesses += [asked + slope * (fit(part, target) - middle) for fit in MEMBERS.values()]
    return np.asarray(np.mean(guesses, axis=0))
