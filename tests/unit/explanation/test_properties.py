"""Measured properties of the playing: exact effects, names, and silence."""

from dataclasses import replace

import numpy as np
import pytest

from musicbert.analysis import load_profile_model
from musicbert.errors import ConfigError
from musicbert.evaluation.baselines.committee import fit_committee
from musicbert.evaluation.baselines.regressors import Fold
from musicbert.explanation import CallableTarget, explain, neutral, open_target, property_effects
from musicbert.explanation.measured import measured_properties
from musicbert.explanation.product_games import committee_effects, forest_effects, kernel_effects
from musicbert.explanation.properties import NOTES, PROPERTIES, property_of, reads_features
from musicbert.explanation.shapley import coalitions, shapley_values
from musicbert.explanation.words import CLEAR, property_sentence
from musicbert.features import FEATURES
from musicbert.synthesis import make_set

GROUP = np.array([0, 1, 2, 2, 3, 4, 4])


@pytest.fixture(scope="module")
def fitted():
    """A committee of two made scales, whose last input is never heard."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, len(GROUP)))
    inputs[:, -1] = 0.0
    labels = np.stack([inputs[:, 0] + inputs[:, 1] * inputs[:, 2], np.sin(inputs[:, 4])], 1)
    groups = (np.arange(40) % 8).astype(str)
    means = labels + rng.normal(size=labels.shape) / 5
    return fit_committee(Fold(inputs, inputs, groups, 0, means=means, raters=np.full(40, 9.0)), labels)


@pytest.fixture(scope="module")
def score():
    return next(iter(make_set(3, performers=2, segments=2, movements=1).scores.values()))


def brute_force(predict, item, background):
    """All subsets of the groups, played to the model itself."""
    mixed = [np.where(inside[GROUP], item, background) for inside in coalitions(GROUP.max() + 1)]
    return shapley_values(np.array([predict(each).mean(0) for each in mixed]))


def test_effects_are_those_of_all_subsets(fitted):
    rng = np.random.default_rng(1)
    background = fitted.kernels.inputs[::5].astype(np.float64)
    for item in rng.normal(size=(3, len(GROUP))) * [[0.5], [1.0], [3.0]]:
        items = np.stack([item, item / 2])
        found = committee_effects(fitted, items, background, GROUP)[0]
        assert np.allclose(found, brute_force(fitted.predict, item, background), atol=1e-12)
        assert np.allclose(found.sum(0), fitted.predict(item[None])[0] - fitted.predict(background).mean(0))
        for member, effects in (
            (fitted.kernels, kernel_effects),
            *((f, forest_effects) for f in fitted.forests),
        ):
            expected = brute_force(member.predict, item, background)
            assert np.allclose(effects(member, items, background, GROUP)[0], expected, atol=1e-12)
            assert np.abs(expected).max() > 0.01


def test_what_is_not_explained_is_refused(fitted):
    item = np.zeros(len(GROUP))
    with pytest.raises(ValueError, match="only committees of features"):
        committee_effects(replace(fitted, layer=2), item[None], item[None], GROUP)
    with pytest.raises(ValueError, match="in at most 62 groups"):
        committee_effects(fitted, item[None], item[None], GROUP + 60)


def test_permuted_inputs_lose_their_share_and_shuffled_labels_say_nothing(monkeypatch):
    monkeypatch.setattr("musicbert.evaluation.baselines.regressors.TREES", 10)
    rng = np.random.default_rng(2)
    inputs, items = rng.normal(size=(80, len(GROUP))), rng.normal(size=(12, len(GROUP)))
    labels = (2 * inputs[:, 0] + inputs[:, 4])[:, None]
    order = rng.permutation(80)

    def effects(known, target):
        """Of all groups, on items that are as they were [shape=(m, G)]."""
        fold = Fold(known, known, (np.arange(80) % 8).astype(str), 0)
        return committee_effects(fit_committee(fold, target), items, known[::5], GROUP)[:, :, 0]

    usual = effects(inputs, labels)
    permuted = effects(np.column_stack([inputs[order, 0], inputs[:, 1:]]), labels)
    shuffled = effects(inputs, labels[order])
    assert np.corrcoef(usual[:, 0], items[:, 0])[0, 1] > 0.9
    size, left = np.abs(usual).mean(0), np.abs(permuted).mean(0)
    assert size[0] > size[3]
    assert left[0] < min(size[0] / 4, left[3])
    assert np.abs(shuffled).mean() < size.mean() / 2


def test_each_feature_has_one_property_with_its_measure():
    group, names = property_of(), list(PROPERTIES)
    assert set(group) == set(range(len(PROPERTIES)))
    for k, (name, each) in enumerate(PROPERTIES.items()):
        assert group[list(FEATURES).index(each.measure)] == k
        assert (name == NOTES) == (not each.high)
    assert {names[k] for k, kind in zip(group, FEATURES.values(), strict=True) if kind == "pitch"} == {NOTES}


def test_properties_explain_the_profile(score):
    target = open_target(load_profile_model())
    found = property_effects(target, score)
    assert np.allclose(found.effects.sum(0), found.prediction - found.base, atol=1e-9)
    assert np.allclose(found.prediction, target.scores([score])[0], atol=1e-9)
    names = list(PROPERTIES)
    dry = property_effects(target, neutral(score, "pedal"))
    wet, at = target.names.index("Pedal Sparse - Saturated"), names.index("amount of pedal")
    assert found.effects[at, wet] > dry.effects[at, wet]
    assert found.place[at] > dry.place[at]
    assert dry.words(at) == "little pedal"
    alike = [names.index(name) for name in ("loudness", "dynamic range", "pace")]
    assert np.allclose(found.place[alike], dry.place[alike])
    text = property_sentence(dry, wet)
    assert "sparse (dry)" in text
    assert "little pedal (+" in text
    assert "rated performances" in text


def test_what_is_noise_is_not_said(score):
    found = property_effects(open_target(load_profile_model()), score)
    clear = replace(found, noise=np.full(found.effects.shape, 1.01 * np.abs(found.effects).max() / CLEAR))
    assert "no measured property of the playing has a clear effect" in property_sentence(clear, 0)
    hidden = replace(found, offered=(False,) * len(found.names))
    assert "no properties are named" in property_sentence(hidden, 0)
    assert hidden.to_dict() == {}
    loudest = replace(found, effects=np.where(np.array([[n == NOTES] for n in PROPERTIES]), 1.0, 0.0))
    assert "no measured property" in property_sentence(loudest, 0)  # of the notes nothing is said


def test_explain_says_both(score):
    found = explain(score, ["pedal sparse", "optimistic"], factors=("pedal",))
    assert [len(found.words[name]) for name in found.names] == [2, 2]
    for d, name in enumerate(found.names):  # in ratings from 1 to 7, as the factors
        assert found.words[name][1].startswith(f"{7 * found.properties.prediction[d]:.2f}")
    content = found.to_dict()["properties"]
    offered = [name for name in found.names if measured_properties()[name]["offered"]]
    assert list(content) == offered
    for name in offered:
        values = content[name]["properties"]
        assert set(values) == set(PROPERTIES)
        total = sum(each["effect"] for each in values.values())
        assert total == pytest.approx(content[name]["prediction"] - content[name]["rated performances"])
        assert values["pace"]["noise"] == measured_properties()[name]["noise"]["pace"]
    assert explain(score, "pedal sparse", factors=("pedal",), parts=["factors"]).properties is None


def test_models_without_features_have_no_properties(score):
    target = CallableTarget(lambda each: [[0.5]] * len(each), ["Nothing"])
    assert not reads_features(target)
    assert explain(score, model=target, factors=("pedal",)).properties is None
    with pytest.raises(ConfigError, match="committees that read features") as caught:
        explain(score, model=target, parts=["properties"])
    assert caught.value.reason == "bad-option"
    with pytest.raises(ValueError, match="only committees that read features"):
        property_effects(target, score)


def test_what_was_measured_is_whole():
    assert len(measured_properties()) == 19
    for each in measured_properties().values():
        assert set(each["noise"]) == set(PROPERTIES)
    assert any(each["offered"] for each in measured_properties().values())
