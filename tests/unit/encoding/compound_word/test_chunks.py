"""Chunks of rows and labels; lines of text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicbert.encoding.compound_word import (
    FIELD_SIZES,
    PAD_ROW,
    chunk_rows,
    chunk_values,
    line_to_rows,
    rows_to_line,
)
from musicbert.errors import MidiError


@given(n=st.integers(0, 50), length=st.integers(1, 20), drop_below=st.integers(0, 20))
def test_chunks(n, length, drop_below):
    rows = np.arange(4 * n).reshape(n, 4)
    chunks = chunk_rows(rows, length, drop_below=drop_below)
    values = chunk_values(np.arange(n), length, pad=-1, drop_below=drop_below)
    assert chunks.shape[1:] == (length, 4)
    assert values.shape == chunks.shape[:2]
    whole, last = divmod(n, length)
    assert len(chunks) == whole + (last > 0 and last >= drop_below)
    flat, kept = chunks.reshape(-1, 4), values.reshape(-1)
    n_kept = int((kept >= 0).sum())
    assert n_kept == (n if last == 0 or last >= drop_below else n - last)
    assert np.array_equal(flat[:n_kept], rows[:n_kept])
    assert kept[:n_kept].tolist() == list(range(n_kept))
    assert (flat[n_kept:] == np.array(PAD_ROW)).all()


def test_lengths():
    assert chunk_rows(np.zeros((1025, 4), np.int64)).shape == (2, 1024, 4)
    with pytest.raises(ValueError, match="1 row or more"):
        chunk_rows(np.zeros((3, 4), np.int64), 0)


ids = st.tuples(*(st.integers(0, size - 1) for size in FIELD_SIZES))


@given(rows=st.lists(ids, max_size=10))
def test_lines(rows):
    line = rows_to_line(rows)
    assert len(line.split()) == 4 * len(rows)
    assert line_to_rows(line).tolist() == [list(row) for row in rows]


def test_a_line_in_words():
    assert rows_to_line([[0, 15, 38, 7], PAD_ROW]) == "<0-0> <1-15> <2-38> <3-7> <0-2> <1-16> <2-86> <3-64>"


@pytest.mark.parametrize(
    "line", ["<0-0> <1-1> <2-1>", "<1-1> <0-0> <2-1> <3-1>", "<0-4> <1-1> <2-1> <3-1>", "x " * 4]
)
def test_lines_that_are_none(line):
    with pytest.raises(MidiError, match="bad-value"):
        line_to_rows(line)
