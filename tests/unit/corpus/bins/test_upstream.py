"""Upstream's files of compound words."""

import numpy as np
import pytest

from musicbert.corpus.bins.upstream import (
    read_label_lists,
    read_note_lists,
    read_pieces,
    read_segments,
)
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.compound_word import PAD_ROW
from musicbert.errors import DatasetError

ROWS = [[0, 0, 38, 7], [1, 4, 40, 7], [0, 0, 41, 15]]


def save(path, content, *, objects=False):
    if objects:
        array = np.empty(len(content), object)
        for number, item in enumerate(content):
            array[number] = item
        content = array
    np.save(path, content, allow_pickle=True)
    return path


def reason_of(read, *arguments):
    with pytest.raises(DatasetError) as caught:
        read(*arguments)
    assert str(arguments[-1]) in str(caught.value) or str(arguments[0]) in str(caught.value)
    return caught.value.reason


def test_segments(tmp_path):
    tokens = np.array([ROWS, [*ROWS[:2], PAD_ROW]])
    x = save(tmp_path / "x.npy", tokens)
    for answers in (np.array([3, 1]), np.array([[1, 2, 3], [1, 2, 0]])):
        read, labels = read_segments(x, save(tmp_path / "y.npy", answers))
        assert read.dtype == labels.dtype == np.int64
        assert np.array_equal(read, tokens)
        assert np.array_equal(labels, answers)
    assert read_segments(x)[1] is None
    assert reason_of(read_segments, x, save(tmp_path / "y.npy", np.array([1, 2, 3]))) == "bad-value"
    assert reason_of(read_segments, x, save(tmp_path / "y.npy", np.array([0.5, 1]))) == "bad-value"
    assert reason_of(read_segments, save(tmp_path / "x.npy", tokens[0])) == "bad-value"
    assert reason_of(read_segments, save(tmp_path / "x.npy", tokens + 60)) == "bad-value"


def test_pieces(tmp_path):
    pieces = read_pieces(save(tmp_path / "pieces.npy", [ROWS, ROWS[:1], []], objects=True))
    assert [piece.tolist() for piece in pieces] == [ROWS, ROWS[:1], []]
    equal_lengths = read_pieces(save(tmp_path / "plain.npy", np.array([ROWS, ROWS])))
    assert [piece.tolist() for piece in equal_lengths] == [ROWS, ROWS]
    for wrong in ([[0, 0, 1]], [[0, 0, 88, 1]], [[0, 0, 1, 2], [3]], [["a"] * 4], [[0.5] * 4]):
        assert (
            reason_of(read_pieces, save(tmp_path / "wrong.npy", [ROWS, wrong], objects=True)) == "bad-value"
        )


def test_note_lists_and_labels(tmp_path):
    lists = [[[0.0, 1.0, 60], [0.5, 2.25, 64]], [[4.0, 5.0, 61]]]
    first, second = read_note_lists(save(tmp_path / "notes.npy", lists, objects=True))
    assert first.onset.tolist() == [0.0, 0.5]
    assert first.offset.tolist() == [1.0, 2.25]
    assert first.pitch.tolist() == [60, 64]
    assert first.velocity.tolist() == [64, 64]
    assert get_codec("cp").encode(second)[0].tolist() == [[0, 0, 39, 7]]
    for wrong in ([[0.0, 1.0]], [[0.0, 1.0, 60.5]], [[1.0, 0.0, 60]], [[0.0, float("nan"), 60]], []):
        path = save(tmp_path / "wrong.npy", [lists[0], wrong], objects=True)
        assert reason_of(read_note_lists, path) == "bad-value"
    labels = read_label_lists(save(tmp_path / "labels.npy", [[1, 2], np.array([3])], objects=True))
    assert [values.tolist() for values in labels] == [[1, 2], [3]]
    for wrong in ([[1], [2]], [0.5], ["a"]):
        path = save(tmp_path / "wrong.npy", [[1], wrong], objects=True)
        assert reason_of(read_label_lists, path) == "bad-value"
