"""Bars and voices hidden in turn, for networks and for any function; attention rollout."""

import json

import numpy as np
import pytest
from explained import performances, random_target

from musicbert.analysis.passages import Passage
from musicbert.explanation import CallableTarget
from musicbert.explanation.occlusion import flat, flatten_notes, keep_notes, occlude, occlude_passages, voices
from musicbert.explanation.rollout import attention_rollout
from musicbert.midi.score import piano_score


def counting(pitches):
    return CallableTarget(lambda music: [[np.isin(each.pitch, pitches).sum()] for each in music], ["notes"])


def test_the_bar_that_holds_the_notes_that_count_has_their_number():
    onset = np.arange(8) * 480
    score = piano_score(onset, onset + 400, np.array([60, 61, 60, 61, 72, 72, 72, 61]), np.full(8, 70))
    found = occlude(counting([72]), score)
    assert found.groups == ("bar 1", "bar 2")
    assert found.effects["gone"].tolist() == [[0.0], [3.0]]
    assert found.effects["flat"].tolist() == [[0.0], [0.0]]
    assert found.group_of.tolist() == [0] * 4 + [1] * 4
    assert json.loads(json.dumps(found.to_dict()))["score"] == [3.0]


def test_one_bar_alone_cannot_be_removed():
    score = piano_score(np.array([0]), np.array([480]), np.array([60]), np.array([64]))
    assert np.isnan(occlude(counting([60]), score).effects["gone"]).all()


def test_of_a_network_the_notes_are_hidden_with_their_performance_inputs():
    target = random_target(performance_features=15)
    score = performances()[0]
    found = occlude(target, score, replacements=["gone"])
    piece = target.model.read(score)
    for number in range(len(found.groups)):
        mask = np.isin(piece.note_index, np.flatnonzero(found.group_of == number))
        hidden = type(piece)(piece.rows, piece.performance, piece.note_index, np.repeat(mask[:, None], 8, 1))
        expected = target.scores([score])[0] - target.scores([hidden])[0]
        assert np.allclose(found.effects["gone"][number], expected, atol=1e-5)


def test_many_bars_are_taken_together(monkeypatch):
    monkeypatch.setattr("musicbert.explanation.occlusion.MOST_GROUPS", 2)
    onset = np.arange(5) * 1920
    score = piano_score(onset, onset + 400, np.array([60, 72, 60, 72, 72]), np.full(5, 70))
    found = occlude(counting([72]), score, replacements=["gone"])
    assert found.groups == ("bars 1-3", "bars 4-5")
    assert found.effects["gone"].tolist() == [[1.0], [2.0]]


def test_voices_of_one_track():
    onset = np.array([0, 0, 0, 480, 480, 960])
    offset = np.array([1900, 460, 460, 900, 900, 1400])
    pitch = np.array([40, 60, 67, 62, 69, 64])
    score = piano_score(onset, offset, pitch, np.full(6, 64))
    assert voices(score).tolist() == [2, 1, 0, 1, 0, 0]
    found = occlude(counting([67, 69]), score, "voice", replacements=["gone"])
    assert found.groups == ("upper voice", "inner voices", "lower voice")
    assert found.effects["gone"].tolist() == [[2.0], [0.0], [0.0]]


def test_passages_of_a_long_piece_are_hidden_on_their_own():
    onset = np.arange(6) * 960
    score = piano_score(onset, onset + 400, np.array([60, 72, 60, 72, 72, 72]), np.full(6, 70))
    target = counting([72])
    parts = [(0.25, Passage(0.0, 3.0, np.arange(3))), (0.75, Passage(3.0, 5.0, np.arange(3, 5)))]
    target.rated = lambda _: parts  # the last note is in no rated passage
    notes = occlude_passages(target, score, "note")
    assert notes.effects["gone"][:, 0].tolist() == [0, 0.25, 0, 0.75, 0.75, 0]
    assert notes.group_of.tolist() == [0, 1, 2, 3, 4, -1]
    assert notes.score == 0.25 * 1 + 0.75 * 2
    bars = occlude_passages(target, score, "bar")
    assert bars.groups == ("bar 1", "bar 2", "bar 3")
    assert bars.effects["gone"][:, 0].tolist() == [0.25, 0.75, 0.75]  # bar 2 has a note in both passages
    assert bars.group_of.tolist() == [0, 0, 1, 1, 2, -1]


def test_the_flat_performance():
    score = performances()[0]
    even = flat(score)
    assert set(even.velocity) == {round(float(np.median(score.velocity)))}
    assert not np.isin(even.control_number, (64, 66, 67)).any()
    assert (even.onset <= score.onset).all()
    assert len(np.unique(even.onset)) < len(np.unique(score.onset))
    assert (even.pitch == score.pitch).all()


def test_flat_notes_have_no_pedal_and_the_rest_keeps_it():
    score = performances()[0]
    late = score.onset > np.median(score.onset)
    changed = flatten_notes(score, late)
    assert (changed.velocity[~late] == score.velocity[~late]).all()
    assert len(set(changed.velocity[late])) == 1
    first, last = score.onset[late].min(), score.offset[late].max()
    inside = (changed.control_tick > first) & (changed.control_tick < last)
    assert not changed.control_value[inside].any()
    before = score.control_tick < first
    assert (changed.control_tick[: before.sum()] == score.control_tick[before]).all()
    assert len(keep_notes(changed, late)) == late.sum()


def test_rollout_is_a_mixture_of_rows():
    target = random_target(performance_features=15)
    table = attention_rollout(target.model, performances()[0])
    assert np.allclose(table.sum(axis=1), 1, atol=1e-6)
    assert (table >= 0).all()
    assert len(table) == len(performances()[0]) + 2
    with pytest.raises(IndexError):
        attention_rollout(target.model, performances()[0], window=9)
