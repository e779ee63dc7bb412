"""F1 and ROC-AUC in four averages against scikit-learn, and where that is undefined."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from musicbert.evaluation.metrics.bootstrap import resample
from musicbert.evaluation.metrics.multilabel import AVERAGES, multilabel_draws


@pytest.fixture
def case():
    rng = np.random.default_rng(3)
    labels = rng.random((60, 5)) < [0.7, 0.4, 0.3, 0.2, 0.5]
    labels[~labels.any(axis=1), 0] = True
    labels[labels.all(axis=1), 1] = False
    scores = np.round(np.clip(0.4 * labels + rng.normal(0.3, 0.2, labels.shape), 0, 1), 1)  # with ties
    return labels, scores


def scored(labels, scores, *more):
    return multilabel_draws(labels, scores, "abcde", *more, threshold=0.5)


def plain(labels, scores):
    return {name: float(values[0]) for name, values in scored(labels, scores).items()}


def test_scikit_learn_says_the_same(case):
    labels, scores = case
    found = plain(labels, scores)
    for average in AVERAGES:
        f1 = f1_score(labels, scores > 0.5, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(f1)
        assert found[f"roc_auc_{average}"] == pytest.approx(roc_auc_score(labels, scores, average=average))
    assert found["exact"] == pytest.approx(accuracy_score(labels, scores > 0.5))
    each = roc_auc_score(labels, scores, average=None)
    assert [found[f"roc_auc:{name}"] for name in "abcde"] == pytest.approx(each.tolist())


def test_resamples_are_scored_as_repeated_pieces(case):
    labels, scores = case
    group = np.arange(60) % 17
    weights = resample(17, n_resamples=3, seed=1)
    found = scored(labels, scores, weights, group)
    for k, row in enumerate(weights.astype(int)):
        again = np.repeat(np.arange(len(labels)), row[group])
        assert {name: values[k] for name, values in found.items()} == pytest.approx(
            plain(labels[again], scores[again])
        )


def test_perfect_predictions(case):
    labels, _ = case
    assert set(plain(labels, labels.astype(float)).values()) == {1}


def test_a_class_that_never_occurs_counts_in_f1_and_has_no_roc_auc(case):
    """As scikit-learn does by default; the published programs called it so."""
    labels, scores = case
    labels = labels.copy()
    labels[:, 4] = False
    found = plain(labels, scores)
    assert np.isnan(found["roc_auc:e"])
    each = [found[f"roc_auc:{name}"] for name in "abcd"]
    assert found["roc_auc_macro"] == pytest.approx(np.mean(each))
    expected = f1_score(labels, scores > 0.5, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected)
    right = plain(np.array([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0] * 5, [1, 0, 0, 0, 0]]), labels[:4] * 0.0)
    assert right["macro_f1"] == right["samples_f1"] == 0
    three = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]])
    perfect = multilabel_draws(three, 2.0 * three - 1)
    assert perfect["macro_f1"][0] == pytest.approx(2 / 3)
    assert perfect["samples_f1"][0] == 0.75


def test_missing_labels_count_nowhere(case):
    labels, scores = case
    target = labels.astype(float)
    target[:20, 0] = np.nan
    target[:, 4] = np.nan
    found = plain(target, scores)
    each = [f1_score(labels[20 * (c == 0) :, c], scores[20 * (c == 0) :, c] > 0.5) for c in range(4)]
    assert found["macro_f1"] == pytest.approx(np.mean(each))
    assert np.isnan(found["f1:e"])


def test_shapes_that_differ_are_refused(case):
    labels, scores = case
    with pytest.raises(ValueError, match="labels"):
        scored(labels, scores[:, :3])
