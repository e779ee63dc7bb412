"""Chunks of rows and labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicbert.encoding.compound_word import PAD_ROW, chunk_rows, chunk_values


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
