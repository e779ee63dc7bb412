"""The smallest change that moves a prediction."""

import re
import sys
import wave
from dataclasses import replace

import numpy as np
import pytest

from musicbert.analysis import load_profile_model
from musicbert.cli.main import main
from musicbert.errors import ConfigError
from musicbert.explanation import CallableTarget, Explanation, explain, neutral
from musicbert.explanation.change import _points, _reach, smallest_change
from musicbert.explanation.factors import FactorEffects
from musicbert.explanation.measured import measured, real_ranges
from musicbert.explanation.plausibility import NETWORK, measures, unlike
from musicbert.explanation.playing_factors import FACTORS, STRONGEST, coordinates, with_strengths
from musicbert.midi import read_score
from musicbert.predict.model import from_pretrained
from musicbert.synthesis import make_set


@pytest.fixture(scope="module")
def score():
    return next(iter(make_set(4, performers=1, segments=1, movements=1).scores.values()))


def pace(performances):
    return [[np.log2(coordinates(each).pace) / 2, 0.3] for each in performances]


RANGE = {"velocity loss": (1.0, 2.0)}
TARGET = CallableTarget(pace, ["Pace", "Nothing"], [("slow", "fast"), ("", "")])


@pytest.mark.parametrize("up", [True, False])
def test_only_what_is_heard_changes_and_no_further_than_needed(score, up):
    found = smallest_change(TARGET, 0, score, 0.1, up=up)
    assert list(found.strengths) == ["tempo"]
    moved = found.after - found.before if up else found.before - found.after
    assert 0.1 <= moved < 0.13
    assert pace([found.score])[0][0] == found.after
    assert found.towards == ("fast" if up else "slow")
    assert "tempo at" in str(found)
    assert np.array_equal(found.score.velocity, score.velocity)


def test_nothing_is_found_where_nothing_moves(score):
    found = smallest_change(TARGET, 1, score, 0.1, up=True)
    assert found.score is None
    assert found.strengths == {}
    assert "no change that was tried" in str(found)
    assert "Nothing up" in str(found)


def test_where_nothing_reaches_it_the_farthest_is_the_result(score):
    most = smallest_change(TARGET, 0, score, 9.0, up=True)
    assert most.score is None  # less than a quarter of the way
    farthest = 9.0 * float(re.search(r"at most (\d+) %", most.reason)[1]) / 100
    found = smallest_change(TARGET, 0, score, 2 * farthest, up=True)
    assert not found.reached
    assert found.after - found.before == pytest.approx(farthest, abs=0.05)
    assert pace([found.score])[0][0] == found.after
    assert f"less than the {2 * farthest:.2f} asked for" in str(found)
    assert f"{7 * found.before:.2f} to {7 * found.after:.2f}" in str(replace(found, scale=7.0))


def test_a_long_piece_is_judged_by_some_of_its_passages(score):
    other = with_strengths(score, {"tempo": 0.5})
    found = smallest_change(TARGET, 0, score, 0.1, up=True, passages=[(0.25, score), (0.75, other)])
    before = np.dot([0.25, 0.75], pace([score, other]))[0]
    assert found.before == pytest.approx(before)
    changed = [with_strengths(each, found.strengths) for each in (score, other)]
    assert found.after == pytest.approx(np.dot([0.25, 0.75], pace(changed))[0])
    assert found.after - found.before >= 0.1
    assert len(found.score) == len(score)


def test_music_that_is_not_like_real_music_is_refused(score):
    def judge(music):
        return {"velocity loss": 1.5 if music is score else 9.0}

    found = smallest_change(TARGET, 0, score, 0.1, up=True, judge=judge, real=RANGE)
    assert found.score is None
    assert found.strengths
    assert "refused: the changed music is unlike real performances (velocity loss 9.00" in str(found)
    assert found.to_dict()["measures"] == {"velocity loss": 9.0}
    alike = smallest_change(
        TARGET, 0, score, 0.1, up=True, judge=lambda _: {"velocity loss": 9.0}, real=RANGE
    )
    assert alike.score is not None  # no less like them than the music as it was
    kept = smallest_change(TARGET, 0, score, 0.1, up=True, judge=lambda _: {"velocity loss": 1.5}, real=RANGE)
    assert kept.score is not None


def test_a_change_goes_as_far_as_it_is_like_real_music(score):
    start = pace([score])[0][0]

    def judge(music):
        return {
            "velocity loss": 1.5 + 10 * max(pace([music])[0][0] - start, 0.0)
        }  # 2.0 after half of the way

    found = smallest_change(TARGET, 0, score, 0.1, up=True, judge=judge, real=RANGE)
    assert found.score is not None
    assert not found.reached
    assert 0.04 < found.after - found.before <= 0.0501
    assert judge(found.score)["velocity loss"] == pytest.approx(found.measures["velocity loss"], abs=0.02)
    assert "0.10 asked for: farther on, the changed music is unlike real performances" in str(found)
    short = smallest_change(TARGET, 0, score, 0.4, up=True, judge=judge, real=RANGE)
    assert short.score is None  # an eighth of the way is not worth hearing
    assert "refused" in str(short)


def test_lines_end_within_what_is_allowed():
    for line in np.random.default_rng(0).normal(size=(500, 7)):
        line /= np.linalg.norm(line)
        end = _points(line, np.array([_reach(line)]))[0]
        assert min(end.min(), STRONGEST - end.max()) == 0


def test_explain_with_changes(score, monkeypatch):
    middle = {name: sum(ends) / 2 for name, ends in real_ranges().items()}
    monkeypatch.setattr("musicbert.explanation.reasons.measures", lambda *_: middle)
    found = explain(score, "pace", model=TARGET, parts=("change",), by=0.05)
    assert [each.up for each in found.changes] == [True, False]
    assert len(found.words["Pace"]) == 2
    assert found.factors is None
    assert [each["name"] for each in found.to_dict()["changes"]] == ["Pace", "Pace"]
    for options in ({"parts": ("change",)}, {"by": 0.1}, {"parts": ("change",), "by": 0.0}):
        with pytest.raises(ConfigError) as caught:
            explain(score, "pace", model=TARGET, **options)
        assert caught.value.reason == "bad-option"


def test_what_was_measured_is_whole():
    assert set(real_ranges()) == {"velocity loss", "distance", "unevenness"}
    assert all(0 <= low < high for low, high in real_ranges().values())
    assert len(measured()) == 19
    for each in measured().values():
        assert set(each["noise"]) == set(FACTORS)
        assert 0 < each["rater_error"] < 0.5
    offered = [each["offered"] for each in measured().values()]
    assert any(offered)
    assert not all(offered)


def test_the_command_writes_what_was_before_and_after_as_midi_and_sound(score, tmp_path, monkeypatch, capsys):
    pytest.importorskip("tinysoundfont")
    louder = replace(score, velocity=np.minimum(score.velocity + 30, 127))
    made = smallest_change(TARGET, 1, score, 0.1, up=True)
    change = replace(made, name="Timbre Soft - Loud", towards="loud", score=louder, strengths={"loudness": 2})
    tables = np.array([[0.1], [0.0], [0.0], [0.0], [0.0], [0.0], [-0.2]])
    effects = FactorEffects(("x",), (("", ""),), FACTORS, np.zeros(1), np.zeros(1), tables, tables, tables)
    given = Explanation(("x",), (("", ""),), np.zeros(1), score, factors=effects, changes=(change,))
    monkeypatch.setattr("musicbert.explanation.explain", lambda *_, **__: given)
    score.save(tmp_path / "a.mid")
    command = ["explain", str(tmp_path / "a.mid"), "--change", "--sound"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    assert f"more loud: {tmp_path / 'out' / 'timbre_soft_loud_up.mid'}" in capsys.readouterr().out
    seconds, power = {}, {}
    for path in (tmp_path / "out").glob("*.wav"):
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
            seconds[path.stem], power[path.stem] = file.getnframes() / file.getframerate(), samples.std()
    assert set(seconds) == {"original", "neutral", f"without_{FACTORS[6]}", "timbre_soft_loud_up"}
    assert seconds["original"] == pytest.approx(seconds["timbre_soft_loud_up"], abs=0.5)
    assert power["timbre_soft_loud_up"] > 1.2 * power["original"]
    for name in ("original", "timbre_soft_loud_up"):
        kept = score if name == "original" else louder
        assert np.array_equal(read_score(tmp_path / "out" / f"{name}.mid").velocity, kept.velocity)
    assert main(command) == 2
    assert "--sound: not used without a folder as --output" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    monkeypatch.setattr("musicbert.explanation.explain", None)  # not reached
    assert main([*command, "--output", str(tmp_path / "other")]) == 2
    assert "pip install --no-deps tinysoundfont" in capsys.readouterr().err


def test_music_without_dynamics_is_unlike_real_performances(score):
    """The ranges themselves are PercePiano's: results/explanations/losses.md."""
    network, profile = from_pretrained(NETWORK, device="cpu"), load_profile_model()
    real, flat = (measures(each, network, profile) for each in (score, neutral(score, "dynamics", "voicing")))
    assert flat["velocity loss"] < real["velocity loss"] - 0.3
    assert flat["distance"] > real["distance"]
    assert measures(score, network, profile) == real
    assert unlike({"a": 3.0, "b": 0.5}, {"a": (1, 2), "b": (0, 1)}) == (
        "the changed music is unlike real performances (a 3.00, theirs 1.00 to 2.00)"
    )
    assert unlike({"a": 1.5, "b": 0.5}, {"a": (1, 2), "b": (0, 1)}) == ""
