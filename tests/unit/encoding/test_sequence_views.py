"""Sequences in the forms of the ablation: lengths, cuts, separators, and what comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.encoding import rows_to_ids
from musicbert.encoding.sequence_views import latest_begin, position_width, sequence_in_view, sizes_in_view
from musicbert.encoding.views import VIEWS, cells_of_piece, cp_to_octuples
from musicbert.encoding.vocabulary import BOS, EOS, UNK


def notes(rng, count, bars=4):
    """Octuples of notes [shape=(count, 8)], one metre a bar and one tempo a position."""
    rows = np.stack([rng.integers(0, most, count) for most in (bars, 8, 3, 128, 60, 32, 1, 1)], axis=1)
    rows = rows[np.lexsort(rows.T[::-1])]
    return np.asarray(rows_to_ids(rows)).reshape(-1, 8)[1:-1]


def between(*parts):
    """Sequence of parts with an octuple of ``</s>`` between them, and the two ends."""
    end, found = np.full((1, 8), EOS), [np.full((1, 8), BOS)]
    for part in parts:
        found += [part, end]
    return np.concatenate(found).reshape(-1)


@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=3))
@settings(max_examples=80, deadline=None)
@pytest.mark.parametrize("view", VIEWS)
def test_phrases_come_back_with_their_separators(remi_to_octuples, view, seed, sizes):
    rng = np.random.default_rng(seed)
    phrases = [notes(rng, size) for size in sizes]
    tokens = between(*phrases)
    found = sequence_in_view(tokens, view)
    assert len(found) == sizes_in_view(lambda *_: tokens, [len(tokens)], view)[0]
    positions = found.reshape(-1, position_width(view))
    assert (positions[0] == BOS).all()
    assert (positions[-1] == EOS).all()
    at = [0, *np.flatnonzero(positions[:, 0] == EOS)]
    assert len(at) == 1 + len(phrases)
    back = {"octuple": np.asarray, "cp": cp_to_octuples, "remi": remi_to_octuples}[view]
    for begin, end, phrase in zip(at, at[1:], phrases, strict=False):
        np.testing.assert_array_equal(back(positions[begin + 1 : end]), phrase)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("most", [None, 1, 7, 40, 5000])
def test_pieces_are_those_of_pretraining(view, most):
    tokens = between(notes(np.random.default_rng(1), 60))
    cells = cells_of_piece(tokens, view, most)
    if view == "remi":
        said = cells != UNK
        said[[0, -1], 1:] = False
        cells = cells[said]
    np.testing.assert_array_equal(sequence_in_view(tokens, view, longest=most), cells.reshape(-1))


@pytest.mark.parametrize("view", VIEWS)
def test_lengths_of_many_are_found_in_parts(view, monkeypatch):
    monkeypatch.setattr("musicbert.encoding.sequence_views._CHUNK", 3)
    rng = np.random.default_rng(2)
    items = [between(*(notes(rng, int(n)) for n in rng.integers(1, 20, k % 3 + 1))) for k in range(10)]
    sizes = [len(item) for item in items]
    found = sizes_in_view(lambda begin, end: np.concatenate(items[begin:end]), sizes, view)
    assert found.tolist() == [len(sequence_in_view(item, view)) for item in items]
    assert len(sizes_in_view(lambda *_: np.zeros(0), [], view)) == 0


@pytest.mark.parametrize("view", VIEWS)
def test_the_latest_beginning_still_fills_the_model(view):
    rng = np.random.default_rng(3)
    tokens = between(notes(rng, 40), notes(rng, 25))
    lengths = [len(sequence_in_view(tokens, view, begin=k)) // position_width(view) - 2 for k in range(66)]
    assert lengths == sorted(lengths, reverse=True)
    for most in (1, 10, 30, lengths[0]):
        at = latest_begin(tokens, view, most)
        assert lengths[at] >= most
        assert all(length < most for length in lengths[at + 1 :])
        assert len(sequence_in_view(tokens, view, longest=most, begin=at)) == (most + 2) * position_width(
            view
        )
    assert latest_begin(tokens, view, lengths[0] + 1) == 0
