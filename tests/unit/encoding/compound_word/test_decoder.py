"""Compound words back to music, and there again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.encoding.codecs import get_codec
from musicbert.encoding.compound_word import PAD_ROW, accepted_for_pretraining, bar_numbers, decode
from musicbert.errors import MidiError
from musicbert.midi import midi_bytes, read_score

CODEC = get_codec("cp")


@st.composite
def canonical_rows(draw):
    """Rows as the codec makes them."""
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        notes = draw(
            st.lists(
                st.tuples(st.integers(0, 15), st.integers(0, 85), st.integers(0, 63)), min_size=1, max_size=8
            )
        )
        rows += [[min(index, 1), *note] for index, note in enumerate(sorted(notes))]
    return np.array(rows, np.int64)


@settings(max_examples=200, deadline=None)
@given(rows=canonical_rows(), pads=st.integers(0, 3))
def test_decode_then_encode(rows, pads):
    padded = np.concatenate([rows, np.tile(PAD_ROW, (pads, 1)).reshape(-1, 4)])
    score = decode(padded)
    again, note_index = CODEC.encode(score)
    assert np.array_equal(again, rows)
    assert note_index.tolist() == list(range(len(rows)))
    assert accepted_for_pretraining(score)
    assert np.array_equal(bar_numbers(rows), score.onset // 1920)


@settings(max_examples=50, deadline=None)
@given(rows=canonical_rows())
def test_through_a_file(rows):
    score = decode(rows)
    order = np.lexsort((score.onset, score.pitch))
    apart = np.diff(score.pitch[order]) != 0
    if (apart | (score.onset[order][1:] >= score.offset[order][:-1])).all():  # a file can tell them apart
        for reader in ("symusic", "miditoolkit"):
            assert np.array_equal(CODEC.encode(read_score(midi_bytes(score), reader=reader))[0], rows)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "no-notes"),
        ([PAD_ROW], "no-notes"),
        ([[0, 16, 3, 4]], "bad-value"),
        ([[0, 0, 87, 4]], "bad-value"),
        ([[2, 0, 3, 4]], "bad-value"),
        ([[0, 0, 88, 4]], "bad-value"),
        ([[0, 0, -1, 4]], "bad-value"),
        ([[0, 0, 1]], "bad-value"),
        ([[0.0, 0.0, 1.0, 2.0]], "bad-value"),
        ([[0, 0, 1, 2], [1]], "bad-value"),
        ([[0, 0, 2**70, 2]], "bad-value"),
    ],
)
def test_rows_that_cannot_be_decoded(rows, reason):
    with pytest.raises(MidiError) as caught:
        decode(rows)
    assert caught.value.reason == reason


def test_error_names_the_row_behind_pads():
    with pytest.raises(MidiError, match="row 2: pitch is MASK"):
        decode([PAD_ROW, [0, 0, 1, 1], [1, 0, 87, 1]])


def test_velocity_of_decoded_notes():
    rows = [[0, 0, 1, 1], PAD_ROW, [1, 4, 2, 1]]
    assert decode(rows).velocity.tolist() == [64, 64]
    assert decode(rows, velocity=[10, 0, 20]).velocity.tolist() == [10, 20]
    with pytest.raises(MidiError, match="velocity"):
        decode(rows, velocity=0)
