"""Metrics: perfect, empty and failing; equality with scikit-learn and SciPy; bootstrap intervals."""

import numpy as np
import pytest
from by_output import regression
from scipy import stats
from sklearn import metrics as sk

from musicbert.evaluation.metrics.bootstrap import Interval, group_numbers, interval, mean, resample
from musicbert.evaluation.metrics.classification import classification_draws, confusion
from musicbert.evaluation.metrics.regression import REGRESSION, regression_draws

CLASSIFICATION = ("accuracy", "macro_f1", "balanced_accuracy")


def classification(classes, predicted):
    return {name: float(values[0]) for name, values in classification_draws(classes, predicted).items()}


def flattened_r2(labels, predictions):
    return regression_draws(labels, predictions, "abcd"[: labels.shape[1]])["flattened_r2"][0]


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


def test_failing(data):
    labels, predictions = data
    with pytest.raises(ValueError, match="must both be"):
        regression(labels, predictions[:, :2])
    predictions[3, 1] = np.nan
    with pytest.raises(ValueError, match="beside a label"):
        regression(labels, predictions)
    labels[3, 1] = np.nan  # nothing to compare with: no error
    assert all(np.isfinite(values).all() for values in regression(labels, predictions).values())


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
    with pytest.raises(ValueError, match="there are 3"):
        confusion([3], [0], 3)


GROUPS = np.arange(60) % 23


def test_resampling_equals_repeating_the_items(data):
    labels, predictions = data
    labels[4, 1] = np.nan
    weights = resample(23, n_resamples=5, seed=3)
    got = regression_draws(labels, predictions, "abcd", weights, GROUPS)
    for k, row in enumerate(weights.astype(int)):
        items = np.repeat(np.arange(60), row[GROUPS])
        again = regression(labels[items], predictions[items])
        for name in REGRESSION:
            each = [got[f"{name}:{d}"][k] for d in "abcd"]
            np.testing.assert_allclose(each, again[name], atol=1e-9)
            assert got[name][k] == pytest.approx(np.mean(again[name]))
        flat = flattened_r2(labels[items], predictions[items])
        assert got["flattened_r2"][k] == pytest.approx(flat)


def test_resampling_classes_equals_repeating_the_items():
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    weights = resample(23, n_resamples=5, seed=3)
    got = classification_draws(y, p, "abcd", weights, GROUPS)
    for k, row in enumerate(weights.astype(int)):
        items = np.repeat(np.arange(60), row[GROUPS])
        again = classification(y[items], p[items])
        assert {name: got[name][k] for name in CLASSIFICATION} == pytest.approx(again)
    assert got["f1:b"][0] == pytest.approx(sk.f1_score(y, p, average=None)[1])


def test_resample_draws_whole_groups():
    number, count = group_numbers(["b", "a", "b", "c"])
    assert (number.tolist(), count) == ([1, 0, 1, 2], 3)
    weights = resample(3, n_resamples=50, seed=1)
    assert weights.shape == (51, 3)
    assert (weights.sum(1) == 3).all()
    assert (weights[0] == 1).all()
    assert len(np.unique(weights[:, 0])) > 1
    np.testing.assert_array_equal(resample(6, seed=4), resample(6, seed=4))
    # the published intervals were drawn with these numbers
    drawn = np.random.default_rng(7).multinomial(5, np.full(5, 0.2), size=10)
    np.testing.assert_array_equal(resample(5, n_resamples=10, seed=7)[1:], drawn)
    assert resample(0).shape == (1001, 0)


def of(name, labels, predictions, groups=None):
    groups = np.arange(len(labels)) if groups is None else groups
    return regression_draws(labels, predictions, None, resample(len(np.unique(groups))), groups)[name]


def test_interval_covers_and_shrinks(data):
    labels, predictions = data
    whole = interval(of("mae", labels, predictions))
    assert whole.low < whole.value < whole.high
    more = interval(of("mae", np.tile(labels, (9, 1)), np.tile(predictions, (9, 1))))
    assert more.high - more.low < 0.5 * (whole.high - whole.low)
    one = interval(of("mae", labels[:, :1], predictions[:, :1]))
    # the standard error of a mean is known
    assert one.sd == pytest.approx(np.abs(labels - predictions)[:, 0].std() / np.sqrt(60), rel=0.1)


def test_groups_widen_the_interval():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(10), 10)
    labels = rng.random((100, 1))
    predictions = labels + np.repeat(rng.normal(0, 0.2, 10), 10)[:, None]  # errors shared by a group
    single, grouped = (interval(of("mse", labels, predictions, each)) for each in (None, groups))
    assert grouped.sd > 2 * single.sd


def test_difference_is_paired(data):
    labels, predictions = data
    nothing = interval(of("r2", labels, predictions) - of("r2", labels, predictions))
    assert nothing.value == nothing.low == nothing.high == 0
    assert interval(of("r2", labels, labels) - of("r2", labels, predictions)).low > 0


def test_undefined_interval_is_none_in_json():
    found = interval(of("r2", np.full((5, 1), 0.5), np.full((5, 1), 0.5)))
    assert found.as_dict() == Interval(np.nan).as_dict()
    assert found.as_dict() == {"value": None, "low": None, "high": None, "sd": None}
