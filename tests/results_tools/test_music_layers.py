"""Scores of the layers: times matched once, and sums over groups that give the benchmark's scores."""

import numpy as np
import pytest
from layer_times import Onsets, _regular, f_measure, music_of
from music_layers import _shares, beside_words

from musicbert.evaluation.metrics.benchmark import SCORES, segments


def test_each_time_is_matched_once():
    assert f_measure(np.array([1.0, 2.0, 3.0]), np.array([1.05, 2.2, 3.0])) == pytest.approx(4 / 6)
    assert f_measure(np.array([1.0, 1.01]), np.array([1.0])) == pytest.approx(2 / 3)
    assert f_measure(np.zeros(0), np.array([1.0])) == 0


@pytest.mark.parametrize("score", ["f1", "accuracy", "grid_accuracy"])
def test_sums_over_groups_give_the_score_of_all(score):
    rng = np.random.default_rng(0)
    groups = []
    for notes in (50, 31, 7):
        place = np.sort(rng.integers(0, 100, notes))
        truth, guess = rng.integers(1, 3, notes), rng.integers(1, 3, notes)
        bar = np.unique(place // 16, return_inverse=True)[1]
        groups.append(segments(truth, guess, bar, place % 16, length=20))
    sums = sum(_shares(score, parts) for parts in groups)
    assert sums[0] / sums[1] == pytest.approx(SCORES[score]([part for parts in groups for part in parts]))


def test_a_regular_pulse_follows_the_most_frequent_distance():
    beats, bars = _regular(np.array([0.0, 0.5, 1.0, 1.5, 1.75, 2.0, 2.5]), 4)
    assert np.diff(beats) == pytest.approx(0.5, abs=0.03)
    assert len(bars) == -(-len(beats) // 4)
    assert len(Onsets.of(np.array([0.0, 0.01, 1.0]), np.full(3, 0.5), np.full(3, 0.5)).seconds) == 2


def test_the_card_says_what_rows_of_other_networks_show():
    assert beside_words({"network": "2198"}) == ""
    alone = beside_words({"network": "2198", "random weights, 200 updates": "200"})
    assert "200 updates in place of 2198" in alone
    assert "not what pre-training brings" in alone
    pair = {"network": "2198", "random weights, 200 updates": "200", "pre-trained, 200 updates": "200"}
    assert "200 updates each" in " ".join(beside_words(pair).split())


def test_pieces_are_scored_together_and_apart():
    places = music_of(["a", "b", "c"], {"b", "z"})
    assert {music: found.tolist() for music, found in places.items()} == {
        "all": [0, 1, 2],
        "unseen": [0, 2],
        "seen": [1],
    }
    assert set(music_of(["a"], set())) == {"all", "unseen"}
