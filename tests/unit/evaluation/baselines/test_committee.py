"""The fitted committee: forests as arrays, states and levels, saved and loaded."""

from dataclasses import replace

import numpy as np
import pytest
from by_output import regression
from sklearn.ensemble import ExtraTreesRegressor

from musicbert.errors import DatasetError
from musicbert.evaluation.baselines import committee as module
from musicbert.evaluation.baselines.committee import fit_committee, read_forest
from musicbert.evaluation.baselines.committee_file import fit_rating_model, load_rating_model
from musicbert.evaluation.baselines.models import fit_outputs, fit_predict
from musicbert.evaluation.baselines.rating_baselines import default_rows, run_baselines
from musicbert.evaluation.baselines.regressors import Examples, Fold
from musicbert.evaluation.metrics.bootstrap import mean

TRAIN, TEST = np.arange(96), np.arange(96, 120)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    """Trees are not what is tested here, but for their number."""
    monkeypatch.setattr(module, "fit_trees", lambda kind, share, fold, labels, weight: (
        kind(8, min_samples_leaf=2, random_state=fold.seed).fit(
            fold.train, labels if labels.shape[1] > 1 else labels[:, 0], sample_weight=weight
        )
    ))  # fmt: skip


@pytest.fixture
def examples():
    """Twelve bars, ten performances each; the second layer of `good` tells half of the truth."""
    draw = np.random.default_rng(3)
    x, states = draw.normal(size=(120, 6)), draw.normal(size=(3, 120, 8))
    bars = np.repeat(np.arange(12), 10).astype(str)
    truth = 0.5 + 0.05 * (x[:, :2] + states[1, :, :2])
    labels = truth + draw.normal(0, 0.03, truth.shape)
    return Examples(
        label="ratings",
        kind="regression",
        classes=("a", "b"),
        features=x,
        target=labels,
        groups=bars,
        ids=np.array([f"i{i}" for i in range(120)]),
        identities={"bars": bars},
        means=truth + draw.normal(0, 0.02, truth.shape),
        raters=draw.integers(1, 12, 120).astype(float),
        states={"good": states, "random": draw.normal(size=(3, 120, 8))},
    )


def score_of(examples, name):
    got = fit_predict(name, examples, TRAIN, TEST)
    return float(mean(regression(got.target, got.outputs)["r2"]))


def test_a_forest_as_arrays_predicts_as_the_forest():
    draw = np.random.default_rng(0)
    x, y, weight = draw.normal(size=(80, 5)), draw.normal(size=(80, 3)), draw.uniform(0.2, 2, 80)
    x[:, 2] = draw.integers(0, 3, 80)  # equal values
    model = ExtraTreesRegressor(20, min_samples_leaf=2, random_state=0).fit(x, y, sample_weight=weight)
    forest = read_forest(model, x, weight, y)
    for inputs in (x, draw.normal(size=(30, 5))):
        np.testing.assert_allclose(forest.predict(inputs), model.predict(inputs), atol=1e-6)


def test_states_that_tell_something_help_and_the_layer_is_chosen_inside(examples):
    chosen = {}
    fit_outputs("committee+good", examples, TRAIN, TEST, log=chosen.update)
    assert chosen["layer"] == 2
    assert chosen["share"] in module.SHARES
    alone = score_of(examples, "committee")
    assert score_of(examples, "committee+good") > alone + 0.1
    assert abs(score_of(examples, "committee+random") - alone) < 0.1


def test_nothing_is_chosen_by_the_test_part(examples):
    target = examples.target.copy()
    target[TEST] = 0.9
    a, b = (fit_outputs("committee+good+levels", each, TRAIN, TEST)
            for each in (examples, replace(examples, target=target)))  # fmt: skip
    np.testing.assert_array_equal(a, b)


def test_levels_use_what_performances_of_the_same_bars_share(examples):
    """Deviations mean something else than differences between pieces: one line fits neither."""
    draw = np.random.default_rng(1)
    piece = np.repeat(draw.normal(size=(12, 6)), 10, axis=0)
    playing = draw.normal(size=(120, 6))
    target = 0.5 + 0.05 * piece[:, :2] - 0.05 * playing[:, :2]
    twofold = replace(examples, features=piece + playing, target=target, means=None)
    assert score_of(twofold, "committee+levels") > score_of(twofold, "committee") + 0.05


def test_states_and_levels_belong_to_the_committee(examples):
    for name in ("ridge+good", "svr+levels", "committee+good+random"):
        with pytest.raises(ValueError, match="states of one network"):
            fit_outputs(name, examples, TRAIN, TEST)


def test_rows_with_states_are_compared_with_rows_without(examples):
    ids = examples.ids.tolist()
    folds = {"0": {"train": ids[:96], "valid": [], "test": ids[96:]}}
    kept = {}
    names = ("committee", "committee+good", "committee+random", "committee+good+levels")
    assert {"committee+good", "committee+random"} <= set(default_rows(examples))
    got = run_baselines(examples, folds, names=names, n_resamples=50, keep=kept)
    pairs = {(entry["row"], entry["minus"]) for entry in got["differences"]}
    assert {("committee+good", "committee"), ("committee+good", "committee+random")} <= pairs
    assert ("committee+good+levels", "committee+good") in pairs
    assert set(got["chosen"]) == {"committee+good", "committee+random", "committee+good+levels"}
    assert kept["row:committee+good"].shape == (24, 2)
    assert "target" not in kept
    at = [ids.index(name) for name in kept["ids"].tolist()]
    r2 = float(mean(regression(examples.target[at], kept["row:committee+good"])["r2"]))
    assert got["rows"][1]["scores"]["pooled"]["r2"]["value"] == pytest.approx(r2, abs=1e-4)


@pytest.mark.parametrize("row", ["committee", "committee+good", "committee+good+levels"])
def test_saved_and_loaded_predicts_the_same(examples, tmp_path, row):
    target = examples.target.copy()
    target[:40, 1] = np.nan
    model = fit_rating_model(row, replace(examples, target=target), error=np.array([0.1, 0.2]), split="x")
    model.save(tmp_path / "committee.npz")
    again = load_rating_model(tmp_path / "committee.npz")
    features = examples.features[TEST].copy()
    features[3] = np.nan
    states = examples.states["good"][:, TEST] if "good" in row else None
    for bars in (None, examples.identities["bars"][TEST]):
        expected = model.predict(features, states, bars)
        assert np.isfinite(expected).all()
        np.testing.assert_array_equal(again.predict(features, states, bars), expected)
    assert again.about["row"] == row
    assert again.error.tolist() == [0.1, 0.2]
    with np.load(tmp_path / "committee.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays)


def test_the_model_of_all_items_is_that_of_the_rows(examples):
    """What is saved predicts what the row of the table predicts."""
    some = replace(examples, target=examples.target[TRAIN], features=examples.features[TRAIN],
                   groups=examples.groups[TRAIN], ids=examples.ids[TRAIN], means=examples.means[TRAIN],
                   raters=examples.raters[TRAIN], identities={"bars": examples.identities["bars"][TRAIN]},
                   states={name: values[:, TRAIN] for name, values in examples.states.items()})  # fmt: skip
    model = fit_rating_model("committee+good+levels", some)
    got = model.predict(examples.features[TEST], examples.states["good"][:, TEST], examples.groups[TEST])
    expected = fit_outputs("committee+good+levels", examples, TRAIN, TEST)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_what_is_no_committee_is_refused(examples, tmp_path):
    with pytest.raises(ValueError, match="only committees"):
        fit_rating_model("ridge", examples)
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "other.npz", about=np.array('{"format": 1}'))
    for name in ("text.npz", "other.npz"):
        with pytest.raises(DatasetError, match="unreadable"):
            load_rating_model(tmp_path / name)
    with pytest.raises(DatasetError, match="not-found"):
        load_rating_model(tmp_path / "none.npz")


def test_two_items_are_enough():
    x = np.random.default_rng(0).normal(size=(4, 2))
    fold = Fold(x, x, np.array(["a", "a", "b", "b"]), 0, bars=(np.array(list("aabb")),) * 2)
    assert np.isfinite(fit_committee(fold, x[:, :1]).predict(x, bars=fold.bars[1])).all()
