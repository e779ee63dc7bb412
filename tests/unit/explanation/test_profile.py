"""The profile of `musicbert analyse` explained."""

import numpy as np
import pytest

from musicbert.analysis import load_profile_model
from musicbert.analysis.profile import make_profile
from musicbert.errors import MidiError
from musicbert.explanation import explain, neutral
from musicbert.explanation.target import ProfileTarget, open_target
from musicbert.synthesis import make_set


@pytest.fixture(scope="module")
def score():
    return next(iter(make_set(3, performers=2, segments=2, movements=1).scores.values()))


def test_values_are_those_of_the_profile_and_effects_add_up(score):
    model = load_profile_model()
    target = open_target(model)
    assert isinstance(target, ProfileTarget)
    profile, _ = make_profile(score, model.explained)
    found = explain(score, model=target, factors=("tempo", "pedal"))
    assert dict(zip(found.names, found.values, strict=True)) == pytest.approx(profile.values(), abs=1e-6)
    effects = found.factors
    assert np.allclose(effects.effects.sum(0), effects.prediction - effects.neutral)
    assert effects.noise.shape == effects.effects.shape
    hidden = [name for name, offered in zip(found.names, effects.offered, strict=True) if not offered]
    assert hidden
    assert not set(hidden) & set(effects.to_dict())
    assert "no factors are named" in found.words[hidden[0]][0]
    (warning,) = found.warnings
    assert f"differ by at most {7 * max(target.apart.values()):.2f}" in warning
    with_states, _ = make_profile(score, model)
    apart = [with_states.values()[name] - value for name, value in profile.values().items()]
    assert 0 < np.abs(apart).max() < 5 * max(target.apart.values())


def test_music_without_a_profile_has_no_reasons_either(score):
    with pytest.raises(MidiError) as caught:
        explain(neutral(score))
    assert caught.value.reason == "no-profile"
