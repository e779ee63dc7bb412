"""Metrics: perfect, empty and failing; equality with scikit-learn and SciPy; bootstrap intervals."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from musicbert.evaluation.metrics.bootstrap import bootstrap, bootstrap_difference, resample
from musicbert.evaluation.metrics.regression_and_classes import (
    CLASSIFICATION,
    REGRESSION,
    classification,
    confusion,
    flattened_r2,
    mean,
    regression,
)


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    labels = np.round(rng.random((60, 4)) * 6) / 7 + 1 / 7  # ties, as ratings have
    predictions = labels * 0.5 + rng.normal(0, 0.1, labels.shape)
    return labels, predictions


PERFECT = {"r2": 1, "mse": 0, "mae": 0, "pearson": 1, "spearman": 1}


@pytest.mark.parametrize("name", REGRESSION)
def test_perfect(name, data):
    labels, _ = data
    np.testing.assert_allclose(regression(labels, labels)[name], PERFECT[name], atol=1e-12)


@pytest.mark.parametrize("name", REGRESSION)
@pytest.mark.parametrize("n", [0, 5])
def test_empty_is_nan(name, n):
    labels = np.full((n, 3), np.nan)
    assert np.isnan(regression(labels, np.zeros((n, 3)))[name]).all()


@pytest.mark.parametrize("name", REGRESSION)
def test_failing(name, data):
    labels, predictions = data
    metric, ones = REGRESSION[name], np.ones((1, 60))
    with pytest.raises(ValueError, match="must both be"):
        metric(labels, predictions[:, :2], ones)
    predictions[3, 1] = np.nan
    with pytest.raises(ValueError, match="beside a label"):
        metric(labels, predictions, ones)
    labels[3, 1] = np.nan  # nothing to compare with: no error
    assert np.isfinite(metric(labels, predictions, ones)).all()


def test_equals_sklearn_and_scipy(data):
    labels, predictions = data
    got = regression(labels, predictions)
    raw = {"multioutput": "raw_values"}
    np.testing.assert_allclose(got["r2"], sk.r2_score(labels, predictions, **raw), atol=1e-12)
    np.testing.assert_allclose(got["mse"], sk.mean_squared_error(labels, predictions, **raw), atol=1e-12)
    np.testing.assert_allclose(got["mae"], sk.mean_absolute_error(labels, predictions, **raw), atol=1e-12)
    for d in range(4):
        pair = labels[:, d], predictions[:, d]
        assert got["pearson"][d] == pytest.approx(stats.pearsonr(*pair)[0], abs=1e-12)
        assert got["spearman"][d] == pytest.approx(stats.spearmanr(*pair)[0], abs=1e-12)
    assert flattened_r2(labels, predictions) == pytest.approx(
        sk.r2_score(labels.ravel(), predictions.ravel()), abs=1e-12
    )
    assert mean(got["r2"]) == pytest.approx(sk.r2_score(labels, predictions), abs=1e-12)


def test_missing_labels_equal_leaving_the_cells_out(data):
    labels, predictions = data
    labels[:20, 2] = np.nan
    got = regression(labels, predictions)
    alone = regression(labels[20:, 2:3], predictions[20:, 2:3])
    for name in REGRESSION:
        assert got[name][2] == pytest.approx(alone[name][0], abs=1e-12)


def test_constant_targets_and_predictions_are_nan(data):
    labels, predictions = data
    labels[:, 0] = 3 / 7
    predictions[:, 1] = 0.3
    got = regression(labels, predictions)
    for name in ("r2", "pearson", "spearman"):
        assert np.isnan(got[name][0]), name
    assert np.isnan(got["pearson"][1])
    assert np.isnan(got["spearman"][1])
    assert np.isfinite(got["r2"][1])
    assert np.isfinite(got["mse"]).all()
    assert np.isfinite(mean(got["r2"]))  # the mean leaves the undefined dimension out
    assert np.isnan(mean([np.nan, np.nan]))


def test_flattened_is_not_the_mean():
    labels = np.array([[0.1, 0.9], [0.2, 0.8]] * 5)
    guess = np.tile([0.15, 0.85], (10, 1))  # knows the means of the dimensions, nothing else
    assert mean(regression(labels, guess)["r2"]) == pytest.approx(0)
    assert flattened_r2(labels, guess) > 0.9


def test_classification_equals_sklearn():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 5, 80), rng.integers(0, 6, 80)
    p[:40] = y[:40]
    got = classification(y, p)
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(y, p))
    assert got["macro_f1"] == pytest.approx(sk.f1_score(y, p, average="macro"))
    recalls = sk.recall_score(y, p, average=None, labels=range(5))
    assert got["balanced_accuracy"] == pytest.approx(recalls.mean())
    np.testing.assert_array_equal(confusion(y, p, 6), sk.confusion_matrix(y, p, labels=range(6)))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification_perfect_empty_failing(name):
    y = np.array([0, 3, 3, 1])
    assert classification(y, y)[name] == 1
    assert classification(y, [1, 0, 0, 3])[name] == 0
    assert np.isnan(classification([], [])[name])
    with pytest.raises(ValueError, match="must both be"):
        classification(y, y[:2])
    with pytest.raises(ValueError, match="negative"):
        classification([-1], [0])


def test_confusion_rejects_unknown_class():
    with pytest.raises(IndexError):
        confusion([3], [0], 3)


@pytest.mark.parametrize("name", REGRESSION)
def test_resampling_equals_repeating_the_items(name, data):
    labels, predictions = data
    labels[4, 1] = np.nan
    weights = resample(60, n_resamples=5, seed=3)
    got = REGRESSION[name](labels, predictions, weights)
    for row, w in zip(got, weights, strict=True):
        items = np.repeat(np.arange(60), w.astype(int))
        np.testing.assert_allclose(row, regression(labels[items], predictions[items])[name], atol=1e-9)


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_resampling_classes_equals_repeating_the_items(name):
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 4, 30), rng.integers(0, 4, 30)
    weights = resample(30, n_resamples=5, seed=3)
    got = CLASSIFICATION[name](y, p, weights)
    for value, w in zip(got, weights, strict=True):
        items = np.repeat(np.arange(30), w.astype(int))
        assert value == pytest.approx(classification(y[items], p[items])[name])


def test_resample_draws_whole_groups():
    weights = resample(6, n_resamples=50, groups=["a", "a", "b", "b", "b", "c"], seed=1)
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, [0, 2, 5]].sum(1) == 3).all()
    assert len(np.unique(weights[:, 0])) > 1
    np.testing.assert_array_equal(resample(6, seed=4), resample(6, seed=4))
    with pytest.raises(ValueError, match="groups for"):
        resample(5, groups=[1, 2])


def test_interval_covers_and_shrinks(data):
    labels, predictions = data
    metric = REGRESSION["mae"]
    whole, each = bootstrap(metric, labels, predictions)
    assert whole.low < whole.value < whole.high
    assert len(each) == 4
    assert each[2].value == pytest.approx(regression(labels, predictions)["mae"][2])
    more, _ = bootstrap(metric, np.tile(labels, (9, 1)), np.tile(predictions, (9, 1)))
    assert more.high - more.low < 0.5 * (whole.high - whole.low)
    # the standard error of a mean is known
    assert each[0].sd == pytest.approx(np.abs(labels - predictions)[:, 0].std() / np.sqrt(60), rel=0.1)


def test_groups_widen_the_interval():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(10), 10)
    labels = rng.random((100, 1))
    predictions = labels + np.repeat(rng.normal(0, 0.2, 10), 10)[:, None]  # errors shared by a group
    metric = REGRESSION["mse"]
    single, _ = bootstrap(metric, labels, predictions)
    grouped, _ = bootstrap(metric, labels, predictions, weights=resample(100, groups=groups))
    assert grouped.sd > 2 * single.sd


def test_difference_is_paired(data):
    labels, predictions = data
    metric = REGRESSION["r2"]
    nothing = bootstrap_difference(metric, labels, predictions, predictions)
    assert nothing.value == nothing.low == nothing.high == 0
    better = bootstrap_difference(metric, labels, labels, predictions)
    assert better.low > 0


def test_undefined_interval_is_none_in_json():
    whole, _ = bootstrap(REGRESSION["r2"], np.full((5, 1), 0.5), np.full((5, 1), 0.5))
    assert whole.as_dict() == {"value": None, "low": None, "high": None, "sd": None}


def test_classification_bootstrap():
    y = np.arange(40) % 4
    p = np.where(np.arange(40) % 3 == 0, 0, y)
    whole, each = bootstrap(CLASSIFICATION["accuracy"], y, p)
    assert each == []
    assert whole.low < whole.value < whole.high
