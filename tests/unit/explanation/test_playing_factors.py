"""Neutral factors: what each sets, what it leaves, and that all of it is legal MIDI."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from musicbert.explanation.note_values import VALUES, note_values
from musicbert.explanation.playing_factors import (
    FACTORS,
    LOUDNESS,
    PACE,
    RELEASE,
    coordinates,
    neutral,
    with_strengths,
)
from musicbert.midi import midi_bytes, read_score
from musicbert.midi.score import piano_score
from musicbert.synthesis import make_set

COLUMNS = ("onset", "offset", "velocity", "pitch", "program", "track", "control_tick", "control_value")
TICK = 1 / 960  # seconds


@pytest.fixture(scope="module")
def made():
    return make_set(5, performers=3, segments=2, movements=1)


@pytest.fixture(scope="module", params=[0, 3, 5])
def score(made, request):
    return list(made.scores.values())[request.param]


def same(a, b, *but):
    return [
        name for name in COLUMNS if name not in but and not np.array_equal(getattr(a, name), getattr(b, name))
    ]


def moved(a, b):
    """The largest difference of two performances in each column."""
    assert len(a) == len(b)
    return {
        n: int(np.abs(getattr(a, n) - getattr(b, n)).max(initial=0)) for n in ("onset", "offset", "velocity")
    }


def test_as_played_is_the_same_music_to_the_tick(score):
    assert same(score, with_strengths(score, {})) == []
    assert same(score, with_strengths(score, dict.fromkeys(FACTORS, 1.0))) == []


def test_velocities(score):
    parts = coordinates(score)
    flat = neutral(score, "dynamics")
    assert same(score, flat, "velocity") == []
    changed = coordinates(flat)
    assert np.abs(changed.chord_level).max() <= 0.5  # rounding
    assert np.abs(changed.voice - parts.voice).max() <= 1
    assert abs(changed.level - parts.level) <= 0.5
    balanced = neutral(score, "voicing")
    assert same(score, balanced, "velocity") == []
    changed = coordinates(balanced)
    assert np.abs(changed.voice).max() == 0
    assert np.abs(changed.chord_level - parts.chord_level).max() <= 1
    middle = neutral(score, "loudness")
    changed = coordinates(middle)
    assert abs(changed.level - LOUDNESS) <= 0.5
    assert np.abs(changed.chord_level - parts.chord_level).max() <= 1
    assert np.abs(changed.voice - parts.voice).max() <= 1


def test_tempo_sets_the_pace_and_keeps_proportions(score):
    parts, changed = coordinates(score), coordinates(neutral(score, "tempo"))
    assert changed.pace == pytest.approx(PACE, rel=1e-3)
    ratio = parts.pace / PACE
    assert np.allclose(changed.time - changed.time[0], ratio * (parts.time - parts.time[0]), atol=2 * TICK)
    assert np.allclose(changed.release, parts.release, atol=0.03)
    assert same(score, neutral(score, "tempo"), "onset", "offset", "control_tick") == []


def test_timing_makes_the_tempo_steady_and_keeps_the_pace(score):
    parts, changed = coordinates(score), coordinates(neutral(score, "timing"))
    assert changed.pace == pytest.approx(parts.pace, rel=1e-3)
    assert np.abs(changed.spread).max() == 0
    assert np.array_equal(changed.chord, parts.chord)
    written = np.exp2(changed.interval)
    values = note_values(changed.interval)
    assert np.allclose(written / values, np.median(written / values), atol=3 * TICK)
    assert np.std(changed.interval - changed.steady) < 0.01 < np.std(parts.interval - parts.steady)
    assert same(score, neutral(score, "timing"), "onset", "offset", "control_tick") == []


def test_articulation_sets_how_long_keys_are_held(score):
    changed = neutral(score, "articulation")
    assert same(score, changed, "offset") == []
    parts = coordinates(changed)
    cut = np.zeros(len(score), bool)  # a key that is struck again at once cannot be held longer
    cut[parts.again >= 0] = changed.offset[parts.again >= 0] == changed.onset[parts.again[parts.again >= 0]]
    inner = (parts.end >= 0) & ~cut
    assert inner.sum() > len(score) // 2
    assert np.allclose(parts.release[inner], RELEASE, atol=0.03)
    last = parts.end < 0
    assert np.array_equal(changed.offset[last], score.offset[last])


def test_pedal_is_taken_away_and_other_controllers_stay(score):
    with_volume = replace(
        score,
        control_tick=np.append(0, score.control_tick),
        control_number=np.append(7, score.control_number),
        control_value=np.append(99, score.control_value),
        control_track=np.append(0, score.control_track),
    )
    dry = neutral(with_volume, "pedal")
    assert dry.control_number.tolist() == [7]
    assert moved(with_volume, dry) == {"onset": 0, "offset": 0, "velocity": 0}
    half = with_strengths(with_volume, {"pedal": 0.5})
    assert np.array_equal(half.control_value[1:], np.rint(0.5 * score.control_value))
    assert half.control_value[0] == 99
    assert with_strengths(with_volume, {"pedal": 2.0}).control_value.max() == 127


def test_pedals_move_with_the_chords(score):
    parts = coordinates(score)
    slow = neutral(score, "tempo", "timing")
    before, after = score.seconds(score.control_tick), slow.seconds(slow.control_tick)
    chords = coordinates(slow).time
    assert np.allclose(
        np.interp(before, parts.time, np.arange(len(parts.time))),
        np.interp(after, chords, np.arange(len(chords))),
        atol=0.05,
    )


def test_the_neutral_performance_is_the_same_for_all_performances_of_the_same_bars():
    made = make_set(5, performers=6, segments=1, movements=1)
    played, steady = [], []
    for score in made.scores.values():
        for intervals, each in ((played, coordinates(score)), (steady, coordinates(neutral(score)))):
            assert intervals is played or np.ptp(each.score.velocity) == 0
            intervals.append(each.interval)
    count = np.bincount([len(each) for each in steady]).argmax()
    alike = np.array([each for each in steady if len(each) == count])
    assert len(alike) >= 3  # in others a chord is spread so far that it is two
    apart = np.abs(alike - np.median(alike, axis=0, keepdims=True))
    assert (apart < 0.05).mean() > 0.95
    before = np.array([each for each in played if len(each) == count])
    assert (np.abs(before - np.median(before, axis=0, keepdims=True)) < 0.05).mean() < 0.3


def test_neutral_twice_is_neutral_once(score):
    once = neutral(score)
    assert all(value <= 3 for value in moved(once, neutral(once)).values())


def test_factors_are_changed_in_any_order(score):
    for a, b in combinations(FACTORS, 2):
        one, other = neutral(neutral(score, a), b), neutral(neutral(score, b), a)
        both = neutral(score, a, b)
        for each in (one, other):
            change = moved(both, each)
            assert change["velocity"] <= 1, (a, b)
            assert max(change["onset"], change["offset"]) <= 5, (a, b, change)  # rounding, twice


def test_strengths_are_continuous_and_exaggerate(score):
    parts = coordinates(score)
    wide = coordinates(with_strengths(score, {"timing": 1.5, "dynamics": 1.5}))
    assert np.std(wide.chord_level) > 1.3 * np.std(parts.chord_level)
    assert np.std(wide.interval - parts.steady) > 1.3 * np.std(parts.interval - parts.steady)
    near = with_strengths(score, dict.fromkeys(FACTORS, 0.999))
    change = moved(score, near)
    assert change["velocity"] <= 1
    assert max(change["onset"], change["offset"]) <= 20


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_all_results_are_legal_midi_and_are_read_back(score, strength):
    for name in FACTORS:
        changed = with_strengths(score, {name: strength})
        again = read_score(midi_bytes(changed))
        assert len(again) == len(score)
        assert sorted(
            zip(again.onset.tolist(), again.offset.tolist(), again.pitch.tolist(), strict=True)
        ) == sorted(zip(changed.onset.tolist(), changed.offset.tolist(), changed.pitch.tolist(), strict=True))


def test_small_music():
    one = piano_score(*(np.array([n]) for n in (0, 480, 60, 20)))
    assert neutral(one).velocity.tolist() == [round(LOUDNESS)]
    assert neutral(one).offset.tolist() == [480]
    two = piano_score(np.array([0, 0]), np.array([480, 0]), np.array([60, 60]), np.array([1, 127]))
    assert len(midi_bytes(neutral(two))) > 0
    repeated = piano_score(np.array([0, 12, 24]), np.array([12, 24, 36]), np.full(3, 60), np.full(3, 70))
    changed = neutral(repeated)  # a fast repetition is not one chord
    assert (np.diff(changed.onset) > 0).all()
    assert (changed.offset <= np.append(changed.onset[1:], 10**9)).all()


def test_unknown_factors_and_strengths_are_refused(score):
    with pytest.raises(ValueError, match="no factor 'rubato'"):
        with_strengths(score, {"rubato": 0.0})
    for bad in (-1.0, 2.5, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 2"):
            with_strengths(score, {"tempo": bad})


def test_note_values_of_a_made_rhythm_with_rubato():
    rng = np.random.default_rng(0)
    values = rng.choice([0.25, 0.5, 1.0, 1.5, 2.0], size=300, p=[0.3, 0.3, 0.25, 0.05, 0.1])
    beats = np.r_[0, np.cumsum(values)]
    unit = 0.5 * np.exp2(0.25 * np.sin(2 * np.pi * beats[:-1] / 24))
    interval = np.log2(values * unit) + rng.normal(0, 0.05, 300)
    found = note_values(interval)
    ratio = found / values
    assert np.isclose(ratio, np.median(ratio)).mean() > 0.97
    assert len(note_values(np.zeros(0))) == 0
    assert set(np.round(found, 6)) <= set(np.round(list(VALUES), 6))
