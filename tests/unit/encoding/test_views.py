import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicbert.encoding.views import (
    VIEWS,
    cells_of_piece,
    cp_to_octuples,
    field_of_tokens,
    is_lossless,
    octuples_to_cp,
    octuples_to_remi,
    view_sizes,
)
from musicbert.encoding.vocabulary import (
    BOS,
    EOS,
    FIELD_OFFSETS,
    FIELD_SIZES,
    MASK,
    TOKENS,
    UNK,
    rows_to_ids,
)
from musicbert.errors import MidiError

#: two bars; the second note of the first position has another program
ROWS = [
    [0, 0, 1, 60, 8, 16, 9, 35],
    [0, 0, 1, 64, 8, 16, 9, 35],
    [0, 0, 5, 40, 9, 20, 9, 35],
    [0, 32, 5, 41, 9, 20, 9, 30],
    [1, 32, 5, 41, 9, 20, 8, 30],
]


def ids(rows):
    return rows_to_ids(rows, specials=False).reshape(-1, 8)


@st.composite
def pieces(draw, lossless=True):
    count = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.integers(0, FIELD_SIZES, (count, 8))
    rows[:, 0], rows[:, 1], rows[:, 2] = (rng.integers(0, n, count) for n in (4, 3, 3))
    rows = rows[np.lexsort(rows.T[::-1])]
    if lossless:
        rows[:, 6] = rows[:, 0] + 3
        rows[:, 7] = rows[:, 0] * 5 + rows[:, 1]
    return ids(rows)


def test_what_repeats_is_said_once():
    name = [[TOKENS[token] for token in row if token != UNK] for row in octuples_to_cp(ids(ROWS))]
    assert name == [
        ["<0-0>", "<6-9>"],
        ["<1-0>", "<7-35>"],
        ["<2-1>"],
        ["<3-60>", "<4-8>", "<5-16>"],
        ["<3-64>", "<4-8>", "<5-16>"],
        ["<2-5>"],
        ["<3-40>", "<4-9>", "<5-20>"],
        ["<1-32>", "<7-30>"],
        ["<2-5>"],
        ["<3-41>", "<4-9>", "<5-20>"],
        ["<0-1>", "<6-8>"],
        ["<1-32>", "<7-30>"],
        ["<2-5>"],
        ["<3-41>", "<4-9>", "<5-20>"],
    ]
    assert octuples_to_remi(ids(ROWS)).tolist() == [TOKENS.index(token) for row in name for token in row]


@given(octuples=pieces())
def test_pieces_come_back_as_they_were(remi_to_octuples, octuples):
    assert is_lossless(octuples)
    assert np.array_equal(cp_to_octuples(octuples_to_cp(octuples)), octuples)
    assert np.array_equal(remi_to_octuples(octuples_to_remi(octuples)), octuples)


@given(octuples=pieces(lossless=False))
def test_only_metre_and_tempo_can_be_lost(remi_to_octuples, octuples):
    back = cp_to_octuples(octuples_to_cp(octuples))
    assert np.array_equal(back[:, :6], octuples[:, :6])
    assert np.array_equal(back, octuples) == is_lossless(octuples)
    assert np.array_equal(remi_to_octuples(octuples_to_remi(octuples)), back)


@given(st.lists(pieces(), min_size=1, max_size=5))
def test_lengths_are_known_without_converting(several):
    whole = [np.concatenate([np.full(8, BOS), piece.reshape(-1), np.full(8, EOS)]) for piece in several]
    sizes = [len(piece) for piece in whole]
    for view in VIEWS:
        found = view_sizes(np.concatenate(whole), sizes, view)
        rows = [cells_of_piece(piece, view) for piece in whole]
        if view == "remi":
            assert found.tolist() == [(each[1:-1] != UNK).sum() for each in rows]
        else:
            assert found.tolist() == [len(each) - 2 for each in rows]


@given(pieces(), st.integers(1, 50))
def test_crops_are_beginnings(octuples, crop):
    piece = np.concatenate([np.full(8, BOS), octuples.reshape(-1), np.full(8, EOS)])
    for view in VIEWS:
        found, whole = cells_of_piece(piece, view, crop), cells_of_piece(piece, view)
        assert (found[0] == BOS).all()
        assert (found[-1] == EOS).all()
        if view == "remi":
            said, every = found[1:-1][found[1:-1] != UNK], whole[1:-1][whole[1:-1] != UNK]
            assert np.array_equal(said, every[:crop])
        else:
            assert np.array_equal(found[1:-1], whole[1:-1][:crop])


def test_fields_of_tokens():
    first = np.asarray(FIELD_OFFSETS)
    assert field_of_tokens(first).tolist() == list(range(8))
    assert field_of_tokens(first + np.asarray(FIELD_SIZES) - 1).tolist() == list(range(8))
    assert field_of_tokens([0, 1, 2, 3, MASK]).tolist() == [-1] * 5


def test_damaged_rows_are_refused():
    rows = octuples_to_cp(ids(ROWS))
    wrong = rows.copy()
    wrong[0, 1] = wrong[0, 0]
    with pytest.raises(MidiError, match="another field"):
        cp_to_octuples(wrong)
    with pytest.raises(MidiError, match="multiple of 8"):
        cp_to_octuples(rows.reshape(-1)[:-1])
