"""Columns of notes: ids agree with the encodings and with fairseq's dictionary."""

import numpy as np
import pytest

from musicbert.encoding.codecs import get_codec
from musicbert.encoding.vocabulary import MASK, PAD, VOCABULARY_SIZE, rows_to_ids
from musicbert.objectives.note_fields import CP, OCTUPLE, cells_of_ids, note_fields


def test_compound_words_are_the_codecs():
    fields = get_codec("cp").fields
    assert tuple(field.size for field in fields) == CP.sizes
    assert tuple(field.pad for field in fields) == CP.pads
    assert tuple(field.mask for field in fields) == CP.masks
    assert [field.name for field in fields] == list(CP.names)
    for name in ("cp", "cp-m2bert", "cp-midibert"):
        assert note_fields(name) is CP


def test_octuples_are_fairseqs():
    assert OCTUPLE.vocabulary_size == VOCABULARY_SIZE
    assert tuple(field.size for field in get_codec("octuple").fields) == OCTUPLE.values
    rows = np.random.default_rng(0).integers(0, OCTUPLE.values, (9, 8))
    ids = rows_to_ids(rows)
    assert np.array_equal(cells_of_ids(ids), rows)
    ids[8 * 3 + 2], ids[8 * 4 + 5] = MASK, PAD
    cells = cells_of_ids(ids)
    assert cells[2, 2] == OCTUPLE.masks[2]
    assert cells[3, 5] == OCTUPLE.pads[5]
    offsets = np.array(OCTUPLE.offsets)
    assert np.array_equal(rows + offsets, rows_to_ids(rows, specials=False).reshape(-1, 8))


def test_bars_are_numbered():
    assert CP.bars(np.array([[1], [1], [0], [1], [0]])).tolist() == [0, 0, 1, 1, 2]
    assert OCTUPLE.bars(np.array([[7], [7], [9], [10], [10]])).tolist() == [0, 0, 1, 2, 2]
    assert CP.bars(np.zeros((0, 4), int)).tolist() == []


def test_unknown_names():
    with pytest.raises(ValueError, match="octuple or cp"):
        note_fields("remi")
    with pytest.raises(ValueError, match="tuple"):
        CP.index("velocity")
