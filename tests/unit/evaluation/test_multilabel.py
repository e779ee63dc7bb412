"""F1 and ROC-AUC in four averages against scikit-learn, and where that is undefined."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from musicbert.evaluation.metrics.bootstrap import resample
from musicbert.evaluation.metrics.multilabel import (
    AVERAGES,
    MULTILABEL,
    multilabel_scores,
    roc_auc_of_classes,
)


@pytest.fixture
def case():
    rng = np.random.default_rng(3)
    labels = rng.random((60, 5)) < [0.7, 0.4, 0.3, 0.2, 0.5]
    labels[~labels.any(axis=1), 0] = True
    labels[labels.all(axis=1), 1] = False
    scores = np.round(np.clip(0.4 * labels + rng.normal(0.3, 0.2, labels.shape), 0, 1), 1)  # with ties
    return labels, scores


def plain(name, labels, scores):
    return float(MULTILABEL[name](labels, scores, np.ones((1, len(labels))))[0])


@pytest.mark.parametrize("average", AVERAGES)
def test_scikit_learn_says_the_same(case, average):
    labels, scores = case
    assert plain(f"f1_{average}", labels, scores) == pytest.approx(
        f1_score(labels, scores > 0.5, average=average, zero_division=0)
    )
    assert plain(f"roc_auc_{average}", labels, scores) == pytest.approx(
        roc_auc_score(labels, scores, average=average)
    )


def test_exact_matches(case):
    labels, scores = case
    assert plain("exact", labels, scores) == pytest.approx(accuracy_score(labels, scores > 0.5))


@pytest.mark.parametrize("name", list(MULTILABEL))
def test_resamples_are_scored_as_repeated_pieces(case, name):
    labels, scores = case
    weights = resample(len(labels), n_resamples=3, seed=1)
    found = MULTILABEL[name](labels, scores, weights)
    for row, value in zip(weights.astype(int), found, strict=True):
        again = np.repeat(np.arange(len(labels)), row)
        assert value == pytest.approx(plain(name, labels[again], scores[again]))


def test_perfect_predictions(case):
    labels, _ = case
    assert all(found.value == 1 for found in multilabel_scores(labels, labels.astype(float)).values())


def test_a_class_that_never_occurs_counts_in_f1_and_has_no_roc_auc(case):
    labels, scores = case
    labels = labels.copy()
    labels[:, 4] = False
    each = roc_auc_of_classes(labels, scores, np.ones((1, len(labels))))[0]
    assert np.isnan(each[4])
    assert np.isfinite(each[:4]).all()
    assert plain("roc_auc_macro", labels, scores) == pytest.approx(each[:4].mean())
    expected = f1_score(labels, scores > 0.5, average="macro", zero_division=0)
    assert plain("f1_macro", labels, scores) == pytest.approx(expected)


def test_shapes_that_differ_are_refused(case):
    labels, scores = case
    with pytest.raises(ValueError, match="labels"):
        multilabel_scores(labels, scores[:, :3])
