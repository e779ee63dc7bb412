"""Each kind of model as a target."""

import numpy as np
import pytest
import torch

from musicbert.config import ModelConfig
from musicbert.errors import CheckpointError
from musicbert.explanation import CallableTarget, HeadTarget, Target, open_target
from musicbert.model import MusicBert
from musicbert.predict import Model
from musicbert.synthesis import make_set
from musicbert.weights import Bundle, Head


@pytest.fixture(scope="module")
def music():
    return list(make_set(1, performers=2, segments=2, movements=1).scores.values())


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    module = MusicBert(ModelConfig(layers=1, width=16, ffn_width=32, heads=2, max_positions=1100))
    module.register_regression_head("ratings", 2)
    module.register_classification_head("mood", 3)
    heads = (
        Head("ratings", "regression", 2, "sigmoid", ("a", "b"), (("dry", "wet"), ("slow", "fast"))),
        Head("mood", "classification", 3, "softmax"),
    )
    return Model(Bundle(module.config, dict(module.state_dict()), heads), device="cpu")


def test_a_head_gives_its_scores_names_and_poles(model, music):
    target = open_target(model, head="ratings")
    assert isinstance(target, Target)
    assert target.names == ("a", "b")
    assert target.poles[0] == ("dry", "wet")
    expected = np.stack([model.predict(each)["ratings"].scores for each in music])
    assert np.allclose(target.scores(music), expected, atol=1e-5)
    assert target.scores([]).shape == (0, 2)
    assert open_target(model, head="mood").poles == (("", ""),) * 3


def test_a_model_with_several_heads_or_none_is_refused_without_a_choice(model):
    with pytest.raises(CheckpointError, match=r"2 heads.*ratings, mood") as caught:
        open_target(model)
    assert caught.value.reason == "no-head"
    with pytest.raises(CheckpointError, match="no head 'other'"):
        HeadTarget(model, "other")
    with pytest.raises(CheckpointError, match="no heads"):
        open_target("musicbert-mini")


def test_a_function_is_checked(music):
    target = CallableTarget(lambda each: [[len(score), 0.0] for score in each], ["notes", "zero"])
    assert target.poles == (("", ""), ("", ""))
    assert open_target(target) is target
    assert target.scores(music)[:, 0].tolist() == [len(score) for score in music]
    with pytest.raises(ValueError, match=r"shape \(4,\) for 4 performances and 1 names"):
        CallableTarget(lambda each: [1.0] * len(each), ["a"]).scores(music)
    with pytest.raises(ValueError, match="1 pairs of poles for 2 names"):
        CallableTarget(len, ["a", "b"], [("low", "high")])
