"""The committee of regressors of ratings, as plain arrays that predict without the data of the fit.

Ratings are noisy, and some labels are noisier than others. So every member is fitted twice, on the labels
that are asked for and on the plain mean of all ratings, which is steadier than the mode of their density (KDE
apex); predictions of means are put on the scale of the labels by one line a dimension, fitted on the labels
of the training part. Items count n / (n + 3) for n raters, the reliability of their mean where one rater's is
0.25 (Spearman-Brown; about the ICC of both rating sets). Without ratings there is one target and all
weights are equal. Members: extra trees, support vectors with an RBF kernel, and two kernel ridges (RBF plus a
linear part; Laplace, Rasmussen and Williams 2006, chapter 4.2.1, exponential). The prediction is their mean.

Two additions:

states
    Frozen states of a network as a block of inputs of the kernels. Trees see the features alone: splits do
    not depend on the scale of an input, so nothing could weigh a block for them. The layer, and the share of
    the features' variance that the block has, are chosen by the first kernel ridge on held-out groups of the
    training part.
levels
    Two kernel ridges for the mean of all performances of the same bars and two for the deviation from it;
    the sum of both levels is averaged with the committee. The mean is taken over the performances at hand,
    those that are predicted included: no label of theirs is looked at.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Floats
from musicbert.evaluation.baselines.regressors import (
    KERNELS,
    Fold,
    KernelSum,
    fit_support_vectors,
    fit_trees,
    kernel_errors,
    kernel_ridge,
    weighted_mean,
)

#: noise of one rater over the variance of the true scores: (1 - ICC) / ICC for an ICC of 0.25
NOISE_RATERS = 3.0
#: kernels of the two ridges
RIDGES = ("rbf_and_linear", "laplace")
#: shares of the features' variance that a block of states may have; folds that choose between them
SHARES, CHOICE_FOLDS = (0.15, 0.4), 3
#: of the two levels in their mean with the committee
LEVELS = 0.5


def rater_weights(raters: Floats | None, count: int) -> Floats:
    """Return n / (n + 3) for n raters, over its mean [shape=(count,), float64]; 1 without ratings."""
    if raters is None:
        return np.ones(count)
    weight = raters / (raters + NOISE_RATERS)
    return np.asarray(weight / weight.mean()) if weight.mean() > 0 else np.ones(count)


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees after one another, nodes in preorder: the left child follows its parent.

    ``starts``: first node of each tree [shape=(t,)]; of nodes ``feature`` (-1 at leaves), ``threshold`` (left
    where the feature is not above it) and ``right``, counted from the tree's first node; ``leaf_of``: leaf of
    each training item, counted alike [shape=(t, n)]; ``weight`` [shape=(n,)] and ``values`` [shape=(n, d)] of
    the items: a leaf predicts their mean.
    """

    starts: NDArray[np.int32]
    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    right: NDArray[np.uint16]
    leaf_of: NDArray[np.uint16]
    weight: NDArray[np.float32]
    values: NDArray[np.float32]

    def predict(self, inputs: Floats) -> Floats:
        """Predict items [shape=(m, k)] -> [shape=(m, d), float64].

        Inputs of training that were rounded when the forest was saved may leave a leaf empty: its tree is
        left out of the mean for the items that fall into it.
        """
        means, known = self.leaf_means
        result, trees = np.zeros((len(inputs), means.shape[1])), np.zeros(len(inputs))
        for start, leaf in zip(self.starts.tolist(), leaves(self, inputs), strict=True):
            at = start + leaf.astype(np.int64)
            result += means[at]
            trees += known[at]
        return np.asarray(result / np.maximum(trees, 1)[:, None])

    @cached_property
    def leaf_means(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Prediction of each leaf [shape=(nodes, d)], 0 where no item is in it, and whether one is."""
        weight, values = self.weight.astype(np.float64), self.values.astype(np.float64)
        sums, total = np.zeros((len(self.feature), values.shape[1])), np.zeros(len(self.feature))
        for start, leaf_of in zip(self.starts.tolist(), self.leaf_of, strict=True):
            at = start + leaf_of.astype(np.int64)
            np.add.at(sums, at, weight[:, None] * values)
            np.add.at(total, at, weight)
        return sums / np.where(total > 0, total, 1.0)[:, None], total > 0


def leaves(trees: Forest, inputs: Floats) -> NDArray[np.uint16]:
    """Leaf of each item in each tree, counted from the tree's first node [shape=(t, m)]."""
    here, rows = np.asarray(inputs, np.float32), np.arange(len(inputs))[:, None]
    at = np.tile(trees.starts, (len(here), 1))  # (m, t)
    while (inner := trees.feature[at] >= 0).any():
        left = here[rows, np.maximum(trees.feature[at], 0)] <= trees.threshold[at]
        at = np.where(inner, np.where(left, at + 1, trees.starts + trees.right[at]), at)
    return np.asarray((at - trees.starts).T, np.uint16)


def read_forest(model: Any, inputs: Floats, weight: Floats, values: Floats) -> Forest:
    """Return a fitted forest of scikit-learn (without bootstrap) as arrays."""
    trees = [each.tree_ for each in model.estimators_]
    exact = np.concatenate([tree.threshold for tree in trees])
    # inputs have single precision, so a threshold rounded down decides as the exact one does
    threshold = exact.astype(np.float32)
    threshold = np.where(threshold > exact, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    here = np.asarray(inputs, np.float32)
    return Forest(
        starts=np.cumsum([0, *(tree.node_count for tree in trees[:-1])]).astype(np.int32),
        feature=np.concatenate([np.maximum(tree.feature, -1) for tree in trees]).astype(np.int16),
        threshold=threshold.astype(np.float32),
        right=np.concatenate([np.maximum(tree.children_right, 0) for tree in trees]).astype(np.uint16),
        leaf_of=np.stack([tree.apply(here) for tree in trees]).astype(np.uint16),
        weight=weight.astype(np.float32),
        values=values.astype(np.float32),
    )


@dataclass(frozen=True, eq=False)
class Committee:
    """A fitted committee: ``kernels`` and ``forests`` add up, each scaled to its part of the mean.

    ``layer`` and ``share`` of the states (-1 without states); ``levels``: for the mean of the same bars and
    for deviations from it (empty without); ``bars``: numbers of what the training items play [shape=(n,)].
    """

    kernels: KernelSum
    forests: tuple[Forest, ...]
    layer: int = -1
    share: float = 0.0
    levels: tuple[KernelSum, ...] = ()
    bars: NDArray[Any] | None = None

    def predict(
        self, features: Floats, states: Floats | None = None, bars: NDArray[Any] | None = None
    ) -> Floats:
        """Predict items from standardised inputs [shape=(m, d), float64].

        ``features`` [shape=(m, k)]; ``states`` of all layers [shape=(L, m, j)]; ``bars``: what is played
        [shape=(m,)], without which levels are left out.
        """
        inputs = features if states is None else _join(features, states, self.layer, self.share)
        result = self.kernels.predict(inputs) + sum(forest.predict(features) for forest in self.forests)
        if self.levels and bars is not None:
            middle = bar_means(inputs, bars)
            levels = self.levels[0].predict(middle) + self.levels[1].predict(inputs - middle)
            result = (1 - LEVELS) * result + LEVELS * levels
        return np.asarray(result)


def _join(features: Floats, states: Floats, layer: int, share: float) -> Floats:
    """Put the states of a layer, weighted, beside the features [shape=(m, k + j)]."""
    weight = np.sqrt(share * features.shape[1] / states.shape[-1])
    return np.concatenate([features, weight * states[layer]], axis=1)


def bar_means(values: Floats, bars: NDArray[Any], weight: Floats | None = None) -> Floats:
    """Mean over the items of the same bars, for each item [shape=(m, k)]."""
    _, at = np.unique(bars, return_inverse=True)
    member = np.eye(at.max() + 1)[at] * (1.0 if weight is None else np.maximum(weight, 1e-12)[:, None])
    return np.asarray((member.T @ values / member.sum(0)[:, None])[at])


def _targets(fold: Fold, labels: Floats, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Labels and, where known, rater means [shape=(t, n, d)]; slope and offset to the labels [shape=(t, d)].

    Where a rater mean is NaN, the label stands in.
    """
    one, none = np.ones((1, labels.shape[1])), np.zeros((1, labels.shape[1]))
    if fold.means is None:
        return labels[None], one, none
    target = np.where(np.isfinite(fold.means), fold.means, labels)
    middle, asked = weighted_mean(weight, target), weighted_mean(weight, labels)
    spread = weighted_mean(weight, (target - middle) ** 2)
    slope = weighted_mean(weight, (target - middle) * (labels - asked)) / np.maximum(spread, 1e-12)
    offset = asked - slope * middle
    return np.stack([labels, target]), np.vstack([one, slope]), np.vstack([none, offset])


def _choose(features: Floats, states: Floats, labels: Floats, weight: Floats, groups: NDArray[Any]) -> Any:
    """Layer and share of the states with the least error of the first kernel ridge on held-out groups."""
    errors = {}
    for layer in range(len(states)):
        for share in SHARES:
            inputs = _join(features, states, layer, share)
            kernel = KERNELS[RIDGES[0]](inputs, inputs, features.shape[1] * (1 + share))
            errors[layer, share] = float(
                kernel_errors(kernel, labels[None], weight, groups, CHOICE_FOLDS).min()
            )
    return min(errors, key=lambda choice: errors[choice])


def _forests(fold: Fold, targets: Floats, weight: Floats) -> list[Forest]:
    """Trees on each target; a row that sees the same features takes those of an earlier one (``memo``)."""
    from sklearn.ensemble import ExtraTreesRegressor  # takes a second, and predictions do without

    forests = []
    for values in targets:
        parts = (fold.train, values, weight, np.array(fold.seed))
        key = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
        if key not in fold.memo:
            model = fit_trees(ExtraTreesRegressor, 1 / 2, fold, values, weight)
            fold.memo[key] = read_forest(model, fold.train, weight, values)
        forests.append(fold.memo[key])
    return forests


def fit_committee(fold: Fold, labels: Floats) -> Committee:
    """Fit all members on a training part (see the module); ``labels`` [shape=(n, d), no NaN].

    States and levels are used where the fold has states and bars. What is chosen goes to the fold's ``log``.
    """
    weight, groups = rater_weights(fold.raters, len(labels)), fold.groups
    targets, slope, offset = _targets(fold, labels, weight)
    layer, share, inputs = -1, 0.0, fold.train
    if fold.states is not None:
        layer, share = _choose(fold.train, fold.states[0], labels, weight, groups)
        inputs = _join(fold.train, fold.states[0], layer, share)
        if fold.log is not None:
            fold.log({"layer": layer + 1, "share": share})
    width = fold.train.shape[1] * (1 + share)

    def ridges(inputs: Floats, values: Floats, weight: Floats, groups: NDArray[Any]) -> list[list[KernelSum]]:
        options: dict[str, Any] = {"width": width, "weight": weight, "groups": groups}
        return [kernel_ridge(name, inputs, values, **options) for name in RIDGES]

    def scaled(members: list[list[KernelSum]], part: float, offset: Floats = offset) -> KernelSum:
        """Sum of members, each of all targets, on the scale of the labels and times a part."""
        terms = [
            each.scaled(part * slope[k], part * offset[k])
            for member in members
            for k, each in enumerate(member)
        ]
        return sum(terms[1:], start=terms[0])

    vectors = [fit_support_vectors(inputs, values, width=width, weight=weight) for values in targets]
    kernels = [*ridges(inputs, targets, weight, groups), vectors]
    part = 1 / ((len(kernels) + 1) * len(targets))
    forests = [
        replace(forest, values=(part * (slope[k] * forest.values + offset[k])).astype(np.float32))
        for k, forest in enumerate(_forests(fold, targets, weight))
    ]
    levels: tuple[KernelSum, ...] = ()
    bars: NDArray[Any] | None = None
    if fold.bars is not None:
        _, first, at = np.unique(fold.bars[0], return_index=True, return_inverse=True)
        bars, inputs = at.astype(np.int32), inputs.astype(np.float32).astype(np.float64)  # as they are saved
        middle = np.stack([bar_means(values, bars, weight) for values in targets])
        centre, half = bar_means(inputs, bars), 1 / (len(RIDGES) * len(targets))
        items = np.bincount(at, weight)
        high = ridges(centre[first], middle[:, first], items / items.mean(), groups[first])
        low = ridges(inputs - centre, targets - middle, weight, groups)
        levels = (scaled(high, half), scaled(low, half, np.zeros_like(offset)))
    return Committee(scaled(kernels, part), tuple(forests), layer, share, levels, bars)


def committee(fold: Fold, labels: Floats) -> Floats:
    """Fit a committee and return its predictions of the test part [shape=(m, d)]."""
    fitted = fit_committee(fold, labels)
    states = None if fold.states is None else fold.states[1]
    return fitted.predict(fold.test, states, None if fold.bars is None else fold.bars[1])
