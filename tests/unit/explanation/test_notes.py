"""Notes against three baselines: alignment, the neutral performance, agreement and disputed notes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from explained import performances, random_target

from musicbert.errors import ConfigError, MidiError
from musicbert.explanation import CallableTarget
from musicbert.explanation.notes import aligned, note_reasons


@pytest.fixture(scope="module")
def target():
    return random_target(performance_features=15)


def test_each_baseline_is_complete_and_ends_at_its_own_score(target):
    score, *others = performances()
    (found,) = note_reasons(target, score, [1], against=others[:2], steps=32)
    assert list(found.maps) == ["masked", "neutral", "others"]
    whole = target.scores([score])[0, 1]
    for each in found.maps.values():
        assert each.score == pytest.approx(whole, abs=1e-5)
        assert each.gap < 0.01
        assert each.notes.sum() == pytest.approx(each.score - each.reference, rel=0.02, abs=1e-4)
    assert set(found.correlation) == {("masked", "neutral"), ("masked", "others"), ("neutral", "others")}
    assert all(-1 <= value <= 1 for value in found.correlation.values())
    shown = json.loads(json.dumps(found.to_dict()))
    assert set(shown["baselines"]["neutral"]["performance_inputs"]) == set(found.inputs)
    assert found.unmatched == 0


def test_what_the_neutral_performance_keeps_contributes_nothing(target):
    (found,) = note_reasons(target, performances()[0], [0], baselines=["neutral"], steps=8)
    of_fields = dict(zip(found.fields, np.abs(found.maps["neutral"].fields).sum(axis=0), strict=True))
    assert of_fields["velocity"] > 0
    assert of_fields["pitch"] == of_fields["program"] == of_fields["tempo"] == 0


def test_a_performance_against_itself_contributes_nothing(target):
    score = performances()[0]
    (found,) = note_reasons(target, score, [0], baselines=[], against=[score], steps=4)
    assert np.abs(found.maps["others"].notes).max() < 1e-9
    assert not found.disputed.any()


def test_disputed_notes_have_both_signs(target):
    score, other, *_ = performances()
    (found,) = note_reasons(target, score, [0], against=[other], steps=8)
    values = np.stack([each.notes for each in found.maps.values()])
    assert found.disputed.any()
    assert (values[:, found.disputed].min(axis=0) < 0).all()
    assert (values[:, found.disputed].max(axis=0) > 0).all()


def shuffled(score, rng):
    order = rng.permutation(len(score))
    columns = ("onset", "offset", "pitch", "velocity", "program", "drum", "track")
    return replace(score, **{name: getattr(score, name)[order] for name in columns}), order


def test_notes_are_aligned_whatever_their_order_in_the_file():
    score, other, *_ = performances()
    match = aligned(score, other)
    assert (score.pitch == other.pitch[match]).all()
    assert len(set(match.tolist())) == len(score)
    mixed, order = shuffled(other, np.random.default_rng(0))
    assert (order[aligned(score, mixed)] == match).all()


def test_other_music_is_refused(target):
    score = performances()[0]
    up = replace(score, pitch=score.pitch + 1)
    with pytest.raises(MidiError, match="are not played there") as caught:
        note_reasons(target, score, [0], against=[up])
    assert caught.value.reason == "not-aligned"


def test_a_few_missing_notes_are_said_and_count_as_played_alike(target):
    score, other, *_ = performances()
    columns = ("onset", "offset", "pitch", "velocity", "program", "drum", "track")
    less = replace(other, **{name: getattr(other, name)[:-1] for name in columns})
    (found,) = note_reasons(target, score, [0], baselines=[], against=[less], steps=4)
    assert found.unmatched == 1
    lacking = np.flatnonzero(aligned(score, less) < 0)
    row = np.flatnonzero(found.note_index == lacking[0])
    assert abs(found.maps["others"].notes[row[0]]) < 1e-9


def test_a_model_without_gradients_is_refused():
    target = CallableTarget(lambda music: [[len(each)] for each in music], ["notes"])
    with pytest.raises(ConfigError) as caught:
        note_reasons(target, performances()[0], [0])
    assert caught.value.reason == "no-gradients"
