"""Columns of notes, and that every part of the package numbers the bars of compound words alike."""

import numpy as np

from musicbert.corpus.readers.smc_files import _notes_of
from musicbert.encoding.compound_word import bar_numbers, decode
from musicbert.encoding.note_columns import note_columns
from musicbert.objectives.note_fields import CP

#: a chunk that begins inside a bar: two bars more follow
CHUNK = np.array([[1, 4, 38, 7], [1, 8, 40, 0], [0, 0, 41, 15], [1, 15, 43, 1], [0, 2, 0, 63]])


def test_compound_words():
    columns = note_columns(CHUNK, "cp-m2bert")
    assert columns.bar.tolist() == [0, 0, 1, 1, 2]
    assert columns.onset.tolist() == [4, 8, 16, 31, 34]
    assert columns.pitch.tolist() == [60, 62, 63, 65, 22]
    assert columns.duration.tolist() == [4, 0, 8, 1, 32]
    assert columns.program.tolist() == [0] * 5


def test_octuples():
    rows = np.array([[3, 5, 128, 163, 7, 12, 0, 9], [4, 0, 2, 60, 60, 12, 0, 9]])
    columns = note_columns(rows, "octuple")
    assert columns.bar.tolist() == [3, 4]
    assert columns.onset.tolist() == [3 * 128 + 5, 4 * 128]
    assert columns.pitch.tolist() == [163, 60]
    assert columns.duration.tolist() == [7, 208]  # in positions: long durations have coarse ids
    assert columns.program.tolist() == [128, 2]


def test_bars_are_numbered_alike():
    for rows in (CHUNK, CHUNK[2:]):
        number = bar_numbers(rows)
        assert np.array_equal(CP.bars(rows), number)
        assert np.array_equal(note_columns(rows, "cp").bar, number)
        beats = number * 4 + rows[:, 1] / 4
        np.testing.assert_array_equal(_notes_of(rows).onset, beats)
        score = decode(rows)
        np.testing.assert_array_equal(score.onset / score.ticks_per_beat, beats)
