"""Ids, text lines and checks of rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import musicbert
from musicbert.encoding import (
    EOS,
    FIELD_SIZES,
    MASK,
    PAD,
    VOCABULARY_SIZE,
    decode,
    dictionary_text,
    encoding_to_str,
    ids_to_rows,
    line_to_rows,
    rows_to_ids,
    rows_to_line,
    str_to_encoding,
)
from musicbert.errors import MidiError

any_rows = st.lists(st.tuples(*(st.integers(0, size - 1) for size in FIELD_SIZES)), max_size=20)
ROW = [1, 2, 3, 4, 5, 6, 7, 8]


@settings(deadline=None)
@given(rows=any_rows)
def test_round_trips(rows):
    matrix = np.array(rows, np.int64).reshape(-1, 8)
    ids, line = rows_to_ids(rows), rows_to_line(rows)
    assert len(ids) == 8 * (len(rows) + 2)
    assert len(line.split()) == 8 * (len(rows) + 2) - 1
    np.testing.assert_array_equal(ids_to_rows(ids), matrix)
    np.testing.assert_array_equal(ids_to_rows(rows_to_ids(rows, specials=False)), matrix)
    np.testing.assert_array_equal(line_to_rows(line), matrix)
    assert str_to_encoding(line) == [tuple(row) for row in rows]
    symbols = dict(zip(dictionary_text().split()[::2], range(4, MASK), strict=True))
    symbols |= {"<s>": 0, "</s>": EOS}
    assert [symbols[token] for token in line.split()] + [EOS] == ids.tolist()


def test_sizes():
    assert (MASK, VOCABULARY_SIZE, sum(FIELD_SIZES)) == (1236, 1237, 1232)


def test_padding_is_left_out():
    ids = np.concatenate([rows_to_ids([ROW]), np.full(16, PAD)])
    assert ids_to_rows(ids).tolist() == [ROW]


@pytest.mark.parametrize(
    ("ids", "match"),
    [
        (rows_to_ids([ROW])[:-1], "multiple of 8"),
        (rows_to_ids([ROW])[1:-7], "outside"),
        (np.full(8, MASK), "outside"),
        (np.full(8, 3), "outside"),
    ],
)
def test_ids_that_are_no_notes(ids, match):
    with pytest.raises(MidiError, match=match):
        ids_to_rows(ids)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("<0-1> <1-2>", "multiple of 8"),
        ("<0-999>" + " <1-2>" * 7, "unknown token '<0-999>'"),
        ("<1-2>" * 1 + " <1-2>" * 7, "row 0: bar"),
        ("<mask>" + " <1-2>" * 7, "unknown token '<mask>'|outside"),
        ("<pad> " * 8, "outside"),
    ],
)
def test_lines_that_are_no_notes(line, match):
    with pytest.raises(MidiError, match=match) as caught:
        line_to_rows(line)
    assert caught.value.reason == "bad-value"


def test_upstreams_reader_of_lines():
    line = rows_to_line([ROW])
    assert str_to_encoding(line.replace("<s>", "<mask>")) == [tuple(ROW)]
    assert str_to_encoding("") == []
    for bad in (line.replace("<s>", "<pad>"), line + " <0-1>", line + " <unk>", "x"):
        with pytest.raises(MidiError, match="bad-value"):
            str_to_encoding(bad)


def test_upstreams_writer_of_lines():
    rows = np.tile(np.array(ROW), (1500, 1))
    rows[:, 0] = np.arange(1500) // 2
    assert len(encoding_to_str(rows).split()) == 8 * 512 + 15  # bars 0-255 of the first 1,000 notes


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([[1, 2, 3]], "shape"),
        ([ROW, ROW[:7]], "differ in length"),
        (ROW, "shape"),
        ([[ROW]], "shape"),
        (np.array([ROW], float), "integers"),
        ([["a"] * 8], "integers"),
        ([[1, 128, 0, 0, 0, 0, 0, 0]], "row 0: position 128 is outside 0-127"),
        ([[70000, 0, 0, 0, 0, 0, 0, 0]], "row 0: bar 70000"),
        ([ROW, [0, 0, 0, 0, 0, 0, 0, -1]], "row 1: tempo -1"),
        ([[0, 0, 128, 60, 0, 0, 0, 0]], "does not belong to program 128"),
        ([[0, 0, 0, 200, 0, 0, 0, 0]], "does not belong to program 0"),
    ],
)
def test_decode_says_what_is_wrong_with_rows(rows, match):
    with pytest.raises(musicbert.MidiError, match=match) as caught:
        decode(rows)
    assert caught.value.reason == "bad-value"


def test_decode_of_nothing():
    for rows in ([], np.zeros((0, 8), int)):
        with pytest.raises(MidiError) as caught:
            decode(rows)
        assert caught.value.reason == "no-notes"


def test_bars_of_text_and_ids_are_below_256():
    for function in (rows_to_ids, rows_to_line):
        with pytest.raises(MidiError, match="cut the piece into windows"):
            function([[256, 0, 0, 0, 0, 0, 0, 0]])
