"""Scores of the benchmark: perfect, empty and failing predictions, and what each counts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicbert.evaluation.metrics.benchmark import (
    SCORES,
    Segment,
    accuracy,
    bar_accuracy,
    f1_score,
    grid_accuracy,
    piece_votes,
    segments,
)


def segment(truth, predicted, bar=None, position=None):
    n = len(truth)
    bar = np.arange(n) // 4 if bar is None else np.asarray(bar)
    position = np.arange(n) % 4 * 4 if position is None else np.asarray(position)
    return segments(truth, predicted, bar, position)[0]


@pytest.mark.parametrize("name", SCORES)
def test_perfect_and_all_wrong(name):
    truth = np.array([1, 2, 2, 1, 2, 2])
    assert SCORES[name]([segment(truth, truth)]) == 1
    assert SCORES[name]([segment(truth, np.where(truth == 1, 2, 1))]) == 0


@pytest.mark.parametrize("name", SCORES)
def test_nothing_to_score(name):
    value = SCORES[name]([])
    assert value == 0 if name == "f1" else math.isnan(value)


def test_f1_of_the_wanted_class():
    parts = [segment([2, 2, 2, 1, 1], [2, 2, 0, 2, 1])]
    assert f1_score(parts) == pytest.approx(2 * 2 / (3 + 3))
    # as published: the note predicted as padding is not there
    assert f1_score(parts, compatible=True) == pytest.approx(2 * 2 / (3 + 2))


def test_only_first_notes_of_bars_with_a_role_count():
    parts = [segment([1, 3, 3, 0, 2], [1, 0, 0, 5, 0], bar=[0, 0, 0, 1, 2])]
    assert bar_accuracy(parts) == 0.5


def test_classes_hold_until_the_next_note():
    # a bar of two notes: 8 sixteenths of class 1, 8 of class 2; predicted 1 throughout
    parts = [segment([1, 2], [1, 1], bar=[0, 0], position=[0, 8])]
    assert grid_accuracy(parts) == 0.5
    # a later note of the sequence that lies before overwrites what follows
    parts = [segment([1, 2], [2, 2], bar=[0, 0], position=[8, 4])]
    assert grid_accuracy(parts) == 1
    # nothing is scored before the first note
    parts = [segment([1], [1], bar=[0], position=[12])]
    assert grid_accuracy(parts) == 1


def test_the_published_grid_stretches_short_segments():
    short, long = segment([1], [2], bar=[0]), segment([1] * 8, [1] * 8, bar=np.arange(8))
    assert grid_accuracy([short, long]) == pytest.approx(8 / 9)
    assert grid_accuracy([short, long], batch=2) == pytest.approx(8 / 16)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30), max_size=6)
)
def test_order_of_segments_does_not_matter(content):
    parts = [segment(*map(list, zip(*each, strict=True))) for each in content]
    for score in SCORES.values():
        assert score(parts) == pytest.approx(score(parts[::-1]), nan_ok=True)


def test_missing_labels_are_not_scored():
    assert accuracy([segment([1, -1, 2], [1, 1, 1])]) == 0.5
    assert f1_score([segment([2, -1], [2, 2])]) == 1


def test_segments_are_cut_and_keep_their_bars():
    parts = segments(np.arange(10), np.arange(10), np.arange(10) // 3, np.zeros(10, int), length=4)
    assert [len(part.truth) for part in parts] == [4, 4, 2]
    assert [part.new_bar.tolist() for part in parts] == [
        [True, False, False, True], [False, False, True, False], [False, True]
    ]  # fmt: skip


def test_votes_of_pieces():
    pieces = ["a", "a", "a", "b"]
    assert piece_votes(pieces, [1, 1, 1, 0], [1, 1, 0, 1], classes=2) == 0.5
    logits = np.array([[3.0, 0], [0, 1], [0, 1], [1, 0]])
    assert piece_votes(pieces, [1, 1, 1, 0], logits, classes=2) == 0.5
    assert math.isnan(piece_votes([], [], [], classes=2))
    assert isinstance(segment([1], [1]), Segment)
