"""Windows of text."""

from collections import Counter

import numpy as np
import pytest

from musicbert.encoding import segments, shift_bars


def rows_of(n):
    rows = np.zeros((n, 8), np.int64)
    rows[:, 0] = np.arange(n) // 20
    rows[:, 1] = np.arange(n) % 20
    return rows


@pytest.mark.parametrize("n", [1, 100, 999, 1000, 1001, 2600])
def test_every_note_is_in_at_most_four_windows(n):
    rows = rows_of(n)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        first = int(np.random.default_rng(seed).integers(0, 1000))
        counts = Counter()
        for piece in segments(rows, rng):
            assert 1 <= len(piece.rows) <= 1000
            stop = piece.start + len(piece.rows)
            np.testing.assert_array_equal(piece.rows[:, 1:], rows[piece.start : stop, 1:])
            assert 0 <= piece.rows[:, 0].min() <= piece.rows[:, 0].max() <= 255
            counts.update(range(piece.start, stop))
        assert set(counts) == set(range(n))
        assert max(counts.values()) <= 4
        assert all(counts[i] == 4 for i in range(n) if i + first >= 750)


def test_a_seed_gives_the_same_windows_again():
    def made(seed):
        return [piece.rows.tolist() for piece in segments(rows_of(700), np.random.default_rng(seed))]

    assert made(3) == made(3)
    assert made(3) != made(4)


def test_offsets_reach_both_ends():
    rng, rows = np.random.default_rng(0), np.array([[7, *[0] * 7], [8, *[0] * 7]])
    seen = {int(shift_bars(rows, rng)[0, 0]) for _ in range(5000)}
    assert seen == set(range(255))


def test_the_order_of_draws():
    calls = []

    def draw(low, high):
        calls.append((low, high))
        return low

    list(segments(rows_of(300), draw))
    assert calls == [(0, 999), (0, 255 - 14), (-12, 255 - 14)]


def test_arguments():
    with pytest.raises(ValueError, match="at least 1"):
        list(segments(rows_of(3), np.random.default_rng(0), window=0))
    assert list(segments(np.zeros((0, 8), int), np.random.default_rng(0))) == []
    short = list(segments(rows_of(10), lambda low, high: low, window=4, overlap=2))
    assert [(piece.start, len(piece.rows)) for piece in short] == [(0, 4), (2, 4), (4, 4), (6, 4), (8, 2)]
