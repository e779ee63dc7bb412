"""The committee: what rater means and numbers of raters do, and what further inputs are made from."""

from dataclasses import replace

import numpy as np
import pytest
from by_output import regression
from few_trees import few_trees  # noqa: F401

from musicbert.annotation.dimensions import unnamed
from musicbert.annotation.label_map import LabelMap
from musicbert.errors import DatasetError, RatingError
from musicbert.evaluation.baselines import regressors as module
from musicbert.evaluation.baselines.committee import committee, rater_weights
from musicbert.evaluation.baselines.models import fit_predict
from musicbert.evaluation.baselines.rated_examples import (
    AGAINST_SCORE,
    feature_table,
    load_examples,
    rater_means,
)
from musicbert.evaluation.baselines.rating_baselines import default_rows
from musicbert.evaluation.baselines.regressors import KERNELS, Examples, Fold, kernel_ridge, standardise
from musicbert.evaluation.metrics.bootstrap import mean
from musicbert.features import FEATURES
from musicbert.midi import midi_bytes
from musicbert.synthesis import make_set, write_made_set

TRAIN, TEST = np.arange(96), np.arange(96, 120)
NAME = "Schubert_D960_mv3_8bars_{}_{}"


@pytest.fixture
def noisy():
    """Labels that three raters' worth of noise hides, their means, and inputs that tell the true score."""
    draw = np.random.default_rng(3)
    x = draw.normal(size=(120, 8))
    truth = 0.5 + 0.05 * (x[:, :2] + x[:, 2:4])
    labels = truth + draw.normal(0, 0.15, truth.shape)
    labels[TEST] = truth[TEST]
    return Examples(
        label="ratings",
        kind="regression",
        classes=("a", "b"),
        features=x,
        target=labels,
        groups=np.repeat(np.arange(12), 10).astype(str),
        ids=np.array([f"i{i}" for i in range(120)]),
        means=truth + draw.normal(0, 0.03, truth.shape),
        raters=np.full(120, 8.0),
    )


def score_of(examples, name="committee", **changed):
    got = fit_predict(name, replace(examples, **changed), TRAIN, TEST)
    return float(mean(regression(got.target, got.outputs)["r2"]))


def test_rater_means_help_where_labels_are_noisier(noisy):
    assert score_of(noisy) > score_of(noisy, means=None) + 0.05


def test_means_come_back_on_the_scale_of_the_labels(noisy):
    """Means that are half as wide and shifted tell the same."""
    moved = score_of(noisy, means=0.2 + 0.5 * noisy.means)
    assert moved == pytest.approx(score_of(noisy), abs=0.02)


def test_items_with_more_raters_count_more(noisy):
    spoilt, raters = noisy.target.copy(), np.full(120, 20.0)
    spoilt[:96:3] = np.random.default_rng(0).uniform(0, 1, (32, 2))
    raters[:96:3] = 0.05
    told = score_of(noisy, target=spoilt, means=None, raters=raters)
    assert told > score_of(noisy, target=spoilt, means=None, raters=None) + 0.05


def test_weights():
    np.testing.assert_allclose(rater_weights(np.array([3.0, 3.0]), 2), 1.0)
    one, nine = rater_weights(np.array([1.0, 9.0]), 2)
    assert nine / one == pytest.approx(0.75 / 0.25)
    np.testing.assert_array_equal(rater_weights(None, 3), np.ones(3))
    np.testing.assert_array_equal(rater_weights(np.zeros(2), 2), np.ones(2))


def test_nothing_comes_from_the_test_part(noisy):
    changed = {"target": noisy.target.copy(), "means": noisy.means.copy(), "raters": noisy.raters.copy()}
    for values in changed.values():
        values[TEST] = 0.9
    a, b = (
        fit_predict("committee", each, TRAIN, TEST).outputs for each in (noisy, replace(noisy, **changed))
    )
    np.testing.assert_array_equal(a, b)


def test_a_mean_that_is_missing_is_the_label(noisy):
    x, y = noisy.features[TRAIN], noisy.target[TRAIN]
    some = noisy.means[TRAIN].copy()
    some[:50] = np.nan
    filled = np.where(np.isfinite(some), some, y)
    fold = Fold(x, x[:5], noisy.groups[TRAIN], 0, 2, some, noisy.raters[TRAIN])
    np.testing.assert_array_equal(committee(fold, y), committee(replace(fold, means=filled), y))


def test_missing_labels_leave_an_item_out_of_that_dimension(noisy):
    holes = noisy.target.copy()
    holes[:40, 1] = np.nan
    got = fit_predict("committee", replace(noisy, target=holes), TRAIN, TEST)
    # features are standardised by all training items, also for a dimension that some lack
    for column, rows, apart in ((0, TRAIN, 0.0), (1, TRAIN[40:], 0.02)):
        pick = {"target": noisy.target[:, [column]], "means": noisy.means[:, [column]], "classes": ("a",)}
        alone = fit_predict("committee", replace(noisy, **pick), rows, TEST)
        np.testing.assert_allclose(got.outputs[:, column], alone.outputs[:, 0], atol=apart + 1e-12)


def test_kernel_ridge_is_the_weighted_closed_form(monkeypatch):
    draw = np.random.default_rng(0)
    x, y, weight = draw.normal(size=(30, 4)), draw.normal(size=(2, 30, 2)), draw.uniform(0.2, 2, 30)
    strength = 0.7
    monkeypatch.setattr(module, "KERNEL_STRENGTHS", np.array([strength]))
    got = kernel_ridge("laplace", x, y, width=4, weight=weight, groups=np.arange(30).astype(str))
    kernel = KERNELS["laplace"](x, x, 4)
    for fitted, labels in zip(got, y, strict=True):
        middle = weight @ labels / weight.sum()
        alpha = np.linalg.solve(kernel + strength * np.diag(1 / weight), labels - middle)
        np.testing.assert_allclose(fitted.predict(x[:3]), kernel[:3] @ alpha + middle, atol=1e-10)


def test_kernel_ridge_chooses_on_groups(noisy):
    """Items of a group are copies: only held-out groups show that noise should not be learned by heart."""
    draw = np.random.default_rng(5)
    x = np.repeat(draw.normal(size=(12, 40)), 8, axis=0)
    y = np.repeat(draw.normal(size=(12, 1)), 8, axis=0)
    groups, new = np.repeat(np.arange(12), 8).astype(str), draw.normal(size=(20, 40))
    careful, fooled = (
        kernel_ridge("rbf_and_linear", x, y[None], width=40, weight=np.ones(96), groups=each)[0].predict(new)
        for each in (groups, np.arange(96).astype(str))
    )
    assert careful.std() < 0.7 * fooled.std()


def test_few_items_still_work():
    x = np.random.default_rng(0).normal(size=(3, 2))
    got = committee(Fold(x, x, np.array(["a", "a", "b"]), 0), x[:, :1])
    assert got.shape == (3, 1)
    assert np.isfinite(got).all()


def test_further_inputs(noisy):
    blind = np.zeros_like(noisy.features)
    told = noisy.features.copy()
    told[7] = np.nan  # an item without a score
    examples = replace(noisy, features=blind, more={"score": told})
    performers = replace(examples, kind="classes")
    assert score_of(examples, "ridge+score") > 0.3 > score_of(examples, "ridge")
    assert score_of(examples, "ensemble+score") > 0.3
    assert default_rows(examples)[-1] == "committee+score"
    assert default_rows(performers)[-1] == "ensemble+score"
    assert not any("+score" in row for row in default_rows(noisy))
    with pytest.raises(ValueError, match="no inputs peers"):
        fit_predict("committee+score+peers", examples, TRAIN, TEST)


def test_what_is_not_known_is_the_training_mean():
    train = np.array([[0.0, 5.0], [2.0, np.nan], [4.0, 7.0]])
    a, b = standardise(train, np.array([[np.nan, 6.0]]))
    assert a[1, 1] == 0.0
    np.testing.assert_allclose(b, 0.0, atol=1e-12)


def test_scores_are_found_by_name(tmp_path):
    made = list(make_set(3, performers=2, segments=2, movements=1).scores.values())
    files = {
        NAME.format("Score", 1): made[0],
        NAME.format("3", 1): made[0],
        NAME.format("4", 2): made[1],
        "a tune": made[1],
    }
    for name, score in files.items():
        (tmp_path / f"{name}.mid").write_bytes(midi_bytes(score))
    found, bad = feature_table(tmp_path, AGAINST_SCORE, cache=tmp_path / "kept")
    assert set(found) == {NAME.format("Score", 1), NAME.format("3", 1)}
    assert bad == {NAME.format("4", 2): "no-score", "a tune": "bad-name"}
    again, _ = feature_table(tmp_path, AGAINST_SCORE, cache=tmp_path / "kept")
    np.testing.assert_array_equal(again[NAME.format("3", 1)], found[NAME.format("3", 1)])


def test_peers_are_the_performances_of_the_same_bars():
    ids = [NAME.format(player, number) for player in ("1", "2", "3") for number in (1, 2)]
    table = {name: np.full(len(FEATURES), float(i)) for i, name in enumerate(ids)}
    table["a tune"] = np.full(len(FEATURES), 1e9)
    labelled = ids[:4]  # player 3 has no label and counts all the same
    labels = LabelMap(tuple(labelled), np.zeros((4, 1)), unnamed(1), ("1", "2"), np.array([0, 0, 1, 1]))
    examples = load_examples(labels, table, score_table={ids[0]: np.ones(2)})["ratings"]
    np.testing.assert_array_equal(examples.more["peers"][:, 0], [-2, -2, 0, 0])
    np.testing.assert_array_equal(np.isnan(examples.more["score"][:, 0]), [False, True, True, True])
    assert load_examples(labels, table)["ratings"].more == {}


def test_rater_means_of_a_study_are_read_as_its_labels_were(tmp_path):
    from musicbert.annotation.labels import LabelOptions, make_labels
    from musicbert.annotation.study.answers import StudyOptions
    from musicbert.annotation.study.read import read_study

    ratings = tmp_path / "r.csv"
    ratings.write_text("who,what,q\na,x,1\nb,x,5\na,y,9\nb,y,99\n")
    options = StudyOptions((1, 9), rater="who", file="what", missing=("99",))
    labels, _ = make_labels(read_study(ratings, options), LabelOptions(label="apex", zeros="cell"))
    labels.save(tmp_path / "l.json")
    labels = LabelMap.load(tmp_path / "l.json")
    examples = load_examples(labels, {name: np.zeros(3) for name in labels.ids})["ratings"]
    known = rater_means(examples, labels, ratings)
    assert (known.means.ravel().tolist(), known.raters.tolist()) == ([0.25, 1.0], [2.0, 1.0])
    ratings.write_text(ratings.read_text().replace("b,x,5", "b,x,6"))
    with pytest.raises(DatasetError, match="other-data"):
        rater_means(examples, labels, ratings)


def test_rater_means_of_a_table(tmp_path):
    made = make_set(5, performers=3, segments=3, movements=1)
    ratings, _ = write_made_set(made, tmp_path)
    from musicbert.annotation.labels import LabelOptions, make_labels
    from musicbert.annotation.table import read_ratings

    labels, _ = make_labels(read_ratings(ratings), LabelOptions(label="apex"))
    table = {name: np.zeros(3) for name in labels.ids}
    examples = rater_means(load_examples(labels, table)["ratings"], labels, ratings)
    means, _ = make_labels(read_ratings(ratings), LabelOptions(label="mean", zeros="cell"))
    at = {name: i for i, name in enumerate(means.ids)}
    expected = means.values[[at[name] for name in labels.ids]]
    np.testing.assert_array_equal(examples.means, expected)
    assert examples.raters.min() > 1
    other = LabelMap(labels.ids, np.zeros((len(labels), 1)), unnamed(1), labels.classes, labels.class_of)
    with pytest.raises(RatingError):
        rater_means(load_examples(other, table)["ratings"], other, ratings)
