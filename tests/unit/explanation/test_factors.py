"""Contributions of factors: what is known of them on made performances."""

import numpy as np
import pytest

from musicbert.errors import ConfigError
from musicbert.explanation import CallableTarget, explain, factor_effects, neutral, with_strengths
from musicbert.explanation.playing_factors import FACTORS, LOUDNESS, PACE, RELEASE, coordinates
from musicbert.features import features
from musicbert.synthesis import LOADINGS, PARAMETERS, make_set


@pytest.fixture(scope="module")
def made():
    return make_set(11, performers=8, segments=14, movements=1)


@pytest.fixture(scope="module")
def scores(made):
    return list(made.scores.values())


def known(performances):
    """Coordinates of performances, one number for each factor."""
    rows = []
    for score in performances:
        parts = coordinates(score)
        inner = parts.release[parts.end >= 0]
        rows.append(
            [
                np.log2(parts.pace / PACE),
                np.std(parts.interval - parts.steady),
                parts.level - LOUDNESS,
                np.std(parts.chord_level),
                np.std(parts.voice),
                np.mean(inner) - RELEASE,
                score.control_value.sum() / 1000,
            ]
        )
    return np.array(rows)


def test_of_a_model_that_adds_up_factors_each_has_its_own_part(scores):
    weights = np.array([0.3, 0.2, 0.01, 0.02, 0.05, -0.4, 0.1])
    target = CallableTarget(lambda each: known(each) * weights, FACTORS)
    found = factor_effects(target, scores[0])
    assert np.allclose(found.effects.sum(0), found.prediction - found.neutral)  # efficiency
    expected = known(scores[:1])[0] * weights
    apart = np.abs(found.effects - np.diag(expected))
    assert apart.max() < 0.1 * np.abs(expected).max()
    assert np.allclose(found.effects, found.alone, atol=0.02)
    assert np.allclose(found.effects, found.last, atol=0.02)
    again = factor_effects(target, scores[0], batch=5)
    assert np.array_equal(again.effects, found.effects)


def test_versions_that_share_their_parts_are_those_that_are_made_alone(scores):
    kept = coordinates(scores[0])
    for present in [*np.ndindex(2, 2, 2, 2, 2, 2, 2)][::9]:
        strengths = dict(zip(FACTORS, map(float, present), strict=True))
        shared, alone = with_strengths(kept, strengths), with_strengths(scores[0], strengths)
        for name in ("onset", "offset", "velocity", "control_tick", "control_value"):
            assert np.array_equal(getattr(shared, name), getattr(alone, name)), (name, strengths)


def test_a_factor_that_the_model_does_not_hear_has_nothing(scores):
    target = CallableTarget(
        lambda each: [[float(s.velocity.std()), len(s)] for s in each], ["range", "notes"]
    )
    found = factor_effects(target, scores[1])
    silent = [FACTORS.index(name) for name in ("tempo", "timing", "articulation", "pedal")]
    assert np.abs(found.effects[silent]).max() == 0
    assert np.abs(found.effects[:, 1]).max() == 0
    assert found.effects[FACTORS.index("dynamics"), 0] > 0
    dry = neutral(scores[1], "pedal")  # nothing is left to take away
    pedal = CallableTarget(lambda each: [[float(s.control_value.sum())] for s in each], ["pedal"])
    assert not factor_effects(pedal, dry).effects.any()


def test_interactions_are_shared(scores):
    def both(performances):
        return [[(np.ptp(s.velocity) > 0) * float(len(s.control_tick) > 0)] for s in performances]

    found = factor_effects(CallableTarget(both, ["both"]), scores[2], factors=("dynamics", "pedal"))
    assert found.effects.ravel().tolist() == [0.0, 1.0]  # voicing stays: velocities still differ
    dead = with_strengths(scores[2], {"voicing": 0})
    found = factor_effects(CallableTarget(both, ["both"]), dead, factors=("dynamics", "pedal"))
    assert found.effects.ravel().tolist() == [0.5, 0.5]
    assert found.alone.ravel().tolist() == [0.0, 0.0]
    assert found.last.ravel().tolist() == [1.0, 1.0]


def test_the_loadings_of_made_raters_are_recovered(made, scores):
    """A regression on features of performances learns what moves ratings; factors show it."""
    table = np.stack([features(score) for score in scores])
    parameters = np.stack([made.parameters[name] for name in made.scores])
    weights = np.array([[LOADINGS[q].get(name, 0.0) for name in PARAMETERS] for q in range(28)])
    ratings = (4 + 1.2 * parameters @ weights.T) / 7
    train = np.arange(len(scores)) % 8 != 0
    middle, scale = table[train].mean(0), table[train].std(0)
    inputs = (table - middle) / np.where(scale > 1e-9, scale, np.inf)
    kernel = inputs[train] @ inputs[train].T + 30 * np.eye(train.sum())
    fitted = inputs[train].T @ np.linalg.solve(kernel, ratings[train] - ratings[train].mean(0))

    def predict(performances):
        rows = np.stack([features(score) for score in performances])
        return (rows - middle) / np.where(scale > 1e-9, scale, np.inf) @ fitted + ratings[train].mean(0)

    target = CallableTarget(predict, [str(q) for q in range(28)])
    test = np.flatnonzero(~train)[:7]
    effects = np.stack([factor_effects(target, scores[k]).effects for k in test])  # (m, factors, questions)
    strongest = {4: "articulation", 6: "pedal", 13: "loudness", 16: "dynamics", 17: "tempo", 24: "loudness"}
    of_factor = {"articulation": "legato", "pedal": "pedal", "dynamics": "dynamic_range"}
    for question, factor in strongest.items():
        spread = effects[:, :, question].std(0)
        assert FACTORS[int(spread.argmax())] == factor, (question, dict(zip(FACTORS, spread, strict=True)))
        parameter = of_factor.get(factor, factor)
        played = parameters[test, PARAMETERS.index(parameter)]
        agreement = np.corrcoef(played, effects[:, FACTORS.index(factor), question])[0, 1]
        assert agreement * np.sign(LOADINGS[question][parameter]) > 0.7, (question, agreement)


def test_refits_give_the_noise(scores):
    def model(weight):
        return CallableTarget(lambda each: known(each)[:, :1] * weight, ["pace"], [("slow", "fast")])

    few = {"factors": ("tempo", "pedal")}
    found = factor_effects(model(0.5), scores[0], refits=[model(0.4), model(0.5), model(0.6)], **few)
    expected = np.abs(known(scores[:1])[0, 0]) * 0.1
    assert found.noise[0, 0] == pytest.approx(expected, rel=0.05)
    assert found.noise[1, 0] < 1e-9
    noise = {"pace": {"tempo": 0.25, "pedal": 0.5}}
    assert factor_effects(model(0.5), scores[0], noise=noise, **few).noise.ravel().tolist() == [0.25, 0.5]
    with pytest.raises(ValueError, match="two or more"):
        factor_effects(model(0.5), scores[0], refits=[model(0.5)])
    with pytest.raises(ValueError, match="factors are some of"):
        factor_effects(model(0.5), scores[0], factors=("tempo", "tempo"))


def test_words_name_what_is_clear_and_are_silent_otherwise(scores):
    slow = with_strengths(scores[0], {})
    pace = coordinates(slow).pace

    def model(weight):
        return CallableTarget(lambda each: 0.5 + known(each)[:, :1] * weight, ["Pace"], [("slow", "fast")])

    sign = "fast" if pace > PACE else "slow"
    few = {"factors": ("tempo", "pedal", "voicing")}
    found = explain(slow, model=model(0.5), **few)
    (text,) = found.words["Pace"]
    assert text.endswith(f": {sign}, because of the tempo ({abs(found.factors.effects[0, 0]):+.2f})")
    assert found.warnings
    assert "fast" in str(found) or "slow" in str(found)
    quiet = explain(slow, model=model(0.5), refits=[model(-1), model(2)], **few)
    assert quiet.words["Pace"][0].endswith("no factor of the playing has a clear effect")
    assert not quiet.warnings
    content = found.to_dict()
    assert content["factors"]["Pace"]["factors"]["tempo"]["effect"] == found.factors.effects[0, 0]
    assert content["dimensions"]["Pace"]["high"] == "fast"


def test_dimensions_are_chosen_by_parts_of_their_names(scores):
    names = ["Pedal Sparse", "Pedal Clean", "Timing"]
    target = CallableTarget(lambda each: np.arange(3.0) + np.zeros((len(each), 1)), names)
    assert explain(scores[0], "timing", model=target).values.tolist() == [2.0]
    assert explain(scores[0], ["clean", "pedal sparse"], model=target).names == (
        "Pedal Clean",
        "Pedal Sparse",
    )
    for wanted, text in (("pedal", "could be any of: Pedal Sparse, Pedal Clean"), ("tempo", "no dimension")):
        with pytest.raises(ConfigError, match=text) as caught:
            explain(scores[0], wanted, model=target)
        assert caught.value.reason == "unknown-dimension"
    with pytest.raises(ConfigError, match="parts are some of"):
        explain(scores[0], model=target, parts=("everything",))
