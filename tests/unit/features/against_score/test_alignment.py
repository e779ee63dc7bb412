"""Features against the score: notes find their partners, and each number points the right way."""

from dataclasses import replace

import numpy as np
import pytest

from musicbert.annotation.names import parse_segment, segment_id
from musicbert.corpus.files.archive import MidiSource
from musicbert.errors import MidiError
from musicbert.features.against_score import SCORE_FEATURES, score_features
from musicbert.features.against_score.alignment import align, written
from musicbert.features.playing import playing
from musicbert.midi import read_score
from musicbert.midi.score import Score

NAMES = list(SCORE_FEATURES)
TPB, PER_SECOND = 480, 960  # 120 BPM


def make(onset, length, pitch, velocity=64, pedal=()):
    """Score from columns in ticks; pedal as (tick, value)."""
    n = len(onset)
    pedal = np.array(pedal, np.int64).reshape(-1, 2)
    columns = [np.broadcast_to(np.asarray(x), n).round().astype(np.int64) for x in (length, pitch, velocity)]
    onset = np.asarray(onset).round().astype(np.int64)
    return Score(
        ticks_per_beat=TPB,
        onset=onset,
        offset=onset + columns[0],
        pitch=columns[1],
        velocity=columns[2],
        program=np.zeros(n, np.int64),
        drum=np.zeros(n, bool),
        track=np.zeros(n, np.int64),
        control_tick=pedal[:, 0],
        control_number=np.full(len(pedal), 64),
        control_value=pedal[:, 1],
        control_track=np.zeros(len(pedal), np.int64),
    )


def music(seed=0):
    """Eight bars of three quarters: eighths, no note twice in a row, over two notes on each quarter."""
    draw = np.random.default_rng(seed)
    eighths, quarters = np.arange(48) * TPB // 2, np.arange(24) * TPB
    onset = np.concatenate([eighths, quarters, quarters])
    length = np.concatenate([np.full(48, TPB // 2), np.full(48, TPB)])
    bass = np.tile([36, 41, 43, 36], 6)
    pitch = np.concatenate([72 + draw.integers(1, 9, 48).cumsum() % 9, bass, bass + 7])
    return make(onset, length, pitch)


def perform(score, *, bend=lambda beat: beat, onset=0.0, length=1.0, velocity=64, pedal=()):
    """Play a score: written beats to beats, seconds added to each onset, share of the length that is held."""
    start = bend(score.onset / TPB) * TPB + np.asarray(onset) * PER_SECOND
    end = start + (score.offset - score.onset) * np.asarray(length)
    return replace(
        make(start - start.min(), end - start, score.pitch, velocity, pedal),
        control_tick=np.array([t for t, _ in pedal], np.int64),
    )


def value(performance, score, name):
    return score_features(performance, score)[NAMES.index(name)]


def test_names_and_finite_values():
    score = music()
    assert len(set(NAMES)) == len(NAMES) >= 60
    assert set(SCORE_FEATURES.values()) == {"tempo", "touch", "pedalling"}
    for performance in (score, perform(score, length=0.5), make([0, 480, 960], 400, score.pitch[:3])):
        assert np.isfinite(score_features(performance, score)).all()


def test_the_score_departs_from_itself_by_nothing():
    score = music()
    got = dict(zip(NAMES, score_features(score, score), strict=True))
    for name in (
        "notes_missing",
        "notes_extra",
        "tempo_local_sd",
        "beat_sd",
        "bar_sd",
        "spread_mean",
        "length_mean",
    ):
        assert got[name] == pytest.approx(0.0, abs=1e-6), name
    assert got["tempo_level"] == pytest.approx(-1.0)  # 120 BPM: half a second a quarter note


def test_notes_find_their_partners_among_slips():
    score = music()
    draw = np.random.default_rng(1)
    start = (score.onset * 1.3 + draw.normal(0, 8, len(score)) + 40).round()
    kept = np.setdiff1d(np.arange(len(score)), [5, 60])  # two notes left out, three wrong ones added
    performance = make(
        np.concatenate([start[kept], [3001, 9007, 20011]]),
        200,
        np.concatenate([score.pitch[kept], [95, 96, 97]]),
    )
    play, there = playing(performance), written(score)
    match = align(play, there)
    found = match >= 0
    assert (~found).sum() == 2
    assert len(set(match[found].tolist())) == found.sum()
    np.testing.assert_array_equal(play.pitch[match[found]], there.pitch[found])
    expected = np.interp(there.onset[found] * TPB, score.onset[:48], start[:48]) / PER_SECOND
    assert np.abs(play.onset[match[found]] - (expected - start.min() / PER_SECOND)).max() < 0.06
    assert value(performance, score, "notes_missing") == pytest.approx(2 / 96)
    assert value(performance, score, "notes_extra") == pytest.approx(3 / 97)


def test_tempo_marks_of_neither_side_count():
    score = music()
    performance = perform(score, bend=lambda b: b + 0.2 * np.sin(b / 3), length=0.8)
    faster = replace(score, tempo_tick=np.zeros(1, np.int64), tempo_bpm=np.array([200.0]))
    np.testing.assert_allclose(score_features(performance, score), score_features(performance, faster))


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        ("tempo_level", {}, {"bend": lambda b: 1.5 * b}),
        ("beat_sd", {}, {"bend": lambda b: b + 0.3 * np.sin(b)}),
        ("beat_slope", {}, {"bend": lambda b: b + 0.02 * b**2}),  # slowing down all the way
        ("beat_last", {}, {"bend": lambda b: b + 1.5 * np.maximum(b - 20, 0)}),
        ("offbeat_delay", {}, {"bend": lambda b: b + 0.15 * (b % 1 > 0.4)}),  # swing
        ("even_ratio_size", {}, {"bend": lambda b: b + 0.15 * (b % 1 > 0.4)}),
        ("length_mean", {"length": 0.4}, {"length": 0.9}),
        (
            "top_velocity_slope",
            {},
            {"velocity": np.linspace(40, 90, 96)[np.argsort(np.argsort(music().onset))]},
        ),
        ("onbeat_accent", {}, {"velocity": np.where(music().onset % TPB == 0, 90, 50)}),
        ("top_emphasis", {}, {"velocity": np.where(music().pitch >= 72, 90, 50)}),
        ("top_lead", {}, {"onset": np.where(music().pitch >= 72, 0.0, 0.02)}),
        ("bass_lead", {}, {"onset": np.where(music().pitch < 48, 0.0, 0.03)}),
        ("spread_mean", {}, {"onset": np.where(music().pitch < 48, 0.0, 0.05)}),
    ],
)
def test_direction(name, less, more):
    score = music()
    assert value(perform(score, **more), score, name) > value(perform(score, **less), score, name) + 0.005


def test_pedal_that_is_changed_with_the_bass_clears_it():
    score = music()
    held = perform(score, pedal=[(0, 127)])
    moves = [(k * TPB + shift, level) for k in range(24) for shift, level in ((0, 0), (120, 127))]
    changed = perform(score, pedal=moves)
    assert value(held, score, "bass_change_cleared") == 0.0
    assert value(changed, score, "bass_change_cleared") == 1.0
    assert value(changed, score, "press_per_beat") == pytest.approx(1.0, abs=0.1)
    assert value(changed, score, "press_phase") == pytest.approx(0.25, abs=0.02)
    assert value(changed, score, "pedal_between_beats") > 0.9


def test_other_music_is_refused():
    with pytest.raises(MidiError, match="no-match"):
        score_features(make([0, 480, 960, 1440], 400, [40, 41, 42, 43]), music())
    silent = replace(music(), drum=np.ones(96, bool))
    with pytest.raises(MidiError, match="no-notes"):
        score_features(music(), silent)


@pytest.mark.shared
def test_pianists_play_nearly_all_that_is_written(shared):
    """Real performances of eight bars: hardly a note is without a partner, and tempo is a pianist's."""
    with MidiSource(shared / "data/xai/segmented_midi.zip") as source:
        scores = {
            parse_segment(name).performer: read_score(source.read(member), name=name)
            for member in source.members
            if (name := segment_id(member.name)).startswith("Schubert_D960_mv3_8bars_")
            and parse_segment(name).number == 5
            and not parse_segment(name).copy
        }
    got = {
        player: dict(zip(NAMES, score_features(played, scores["Score"]), strict=True))
        for player, played in scores.items()
    }
    assert len(got) > 8
    assert got["Score"]["notes_missing"] == got["Score"]["notes_extra"] == 0.0
    people = [values for player, values in got.items() if "Score" not in player]
    assert np.median([values["notes_missing"] for values in people]) < 0.05
    assert all(values["beat_sd"] > 2 * got["Score"]["beat_sd"] for values in people)
    assert all(0 < values["spread_mean"] < 0.1 for values in people)


def test_a_score_with_a_far_note_is_an_error_before_memory_is_taken():
    score = music()
    far = replace(score, onset=score.onset.copy(), offset=score.offset.copy())
    far.onset[-1] = far.offset[-1] = 1 << 50
    with pytest.raises(MidiError) as error:
        score_features(score, far)
    assert error.value.reason == "too-large"
