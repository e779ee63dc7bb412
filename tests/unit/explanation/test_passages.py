"""Notes, bars and voices in `explain`: what is not better than a random order is left out, and said."""

import json

import numpy as np
import pytest
from explained import performances, random_target

from musicbert.errors import ConfigError, MidiError
from musicbert.explanation import CallableTarget, explain
from musicbert.explanation.notes import BASELINES
from musicbert.explanation.occlusion import REPLACEMENTS
from musicbert.explanation.passages import offered, passages

EVERYTHING = {
    **{f"notes {name}": ["gone"] for name in BASELINES},
    **{f"{part} {name}": ["gone"] for part in ("bars", "voices") for name in REPLACEMENTS},
}


@pytest.fixture
def offer(monkeypatch):
    """Set what is offered for networks and for features."""

    def put(**methods):
        table = {"network": EVERYTHING | methods, "features": EVERYTHING | methods}
        monkeypatch.setattr("musicbert.explanation.passages.offered", lambda: table)

    return put


def test_the_table_was_made_by_the_program_for_all_kinds_of_model():
    table = offered()
    assert set(table) == {"network", "features", "profile"}
    known = {*EVERYTHING, "attention", *(f"notes {name}" for name in REPLACEMENTS)}
    assert all(set(methods) <= known for methods in table.values())
    assert "notes masked" in table["network"]
    assert "notes masked" not in table["features"]
    assert "gone" in table["profile"]["notes gone"]  # the page leaves out single notes


def test_explain_has_notes_bars_and_voices(offer, tmp_path):
    offer()
    target = random_target(performance_features=15)
    score, other, *_ = performances()
    found = explain(score, ["1"], model=target, parts=["notes"], against=[other])
    assert [each.output for each in found.notes.notes] == ["1"]
    assert found.notes.bars.names == found.notes.voices.names == ("1",)
    assert set(found.notes.notes[0].maps) == set(BASELINES)
    assert any("rank correlation" in text for text in found.words["1"])
    found.to_json(tmp_path / "reasons.json")
    assert json.loads((tmp_path / "reasons.json").read_text())["notes"]["notes"]["1"]


def test_what_is_not_offered_is_left_out_with_a_warning(offer):
    offer(**{"notes neutral": [], "voices gone": [], "voices flat": []})
    target = random_target()
    found, warnings = passages(target, performances()[0], [0])
    assert list(found.notes[0].maps) == ["masked"]
    assert found.voices is None
    assert found.bars is not None
    text = " ".join(warnings)
    assert "notes (neutral) are left out" in text
    assert "voices (gone, flat) are left out" in text


def test_a_function_of_ones_own_has_bars_and_voices_and_is_not_measured():
    target = CallableTarget(lambda music: [[len(each), each.velocity.mean()] for each in music], ["n", "v"])
    found, warnings = passages(target, performances()[0], [0])
    assert found.notes == ()
    assert found.bars.effects["gone"].sum() == pytest.approx(len(performances()[0]))
    assert np.allclose(found.bars.effects["flat"], 0)
    assert "was not measured for this model" in warnings[0]


def test_too_many_dimensions_other_music_and_models_without_gradients_are_refused(offer):
    offer()
    score, other, *_ = performances()
    function = CallableTarget(lambda music: [[len(each)] * 6 for each in music], list("abcdef"))
    with pytest.raises(ConfigError, match="more than 4"):
        explain(score, model=function, parts=["notes"])
    with pytest.raises(ConfigError, match="Only networks"):
        explain(score, "a", model=function, parts=["notes"], against=[other])
    with pytest.raises(ConfigError, match="part 'notes' only"):
        explain(score, "a", model=function, against=[other])
    up = type(score)(**{**vars(score), "pitch": score.pitch + 1})
    with pytest.raises(MidiError, match="not played there"):
        explain(score, "0", model=random_target(), parts=["notes"], against=[up])
