"""The tail of train that the published program validates on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.readers.published import move_tail
from musicbert.encoding.beat_notes import BeatNotes


def piece(name, notes, part="train"):
    onset = np.arange(notes, dtype=float)
    music = BeatNotes(onset, onset + 1, np.full(notes, 60), np.full(notes, 64))
    return LabelledPiece(name, music, name, {"beat": np.arange(notes)}, {"published": part, "clean": part})


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 12))
def test_no_note_is_lost_and_segments_are_counted(lengths, segments):
    pieces = [piece(f"p{n}", length) for n, length in enumerate(lengths)] + [piece("t", 5, "test")]
    moved = move_tail(pieces, window=10, segments=segments)
    names = [each.name.removesuffix("#tail") for each in moved]
    assert [name for at, name in enumerate(names) if name not in names[:at]] == [each.name for each in pieces]
    for each in pieces:
        parts = [other.labels["beat"] for other in moved if other.name.removesuffix("#tail") == each.name]
        assert np.array_equal(np.concatenate(parts), each.labels["beat"])
    total = sum(-(-length // 10) for length in lengths)
    in_valid = sum(-(-len(each.notes) // 10) for each in moved if each.splits["published"] == "valid")
    assert in_valid == min(segments, total - 1)
    assert all(each.splits["clean"] != "valid" for each in moved)


def test_scores_are_not_cut():
    with pytest.raises(TypeError, match="beats"):
        move_tail(
            [piece("a", 30), LabelledPiece("b", object_of(40), "b", {}, {"published": "train"})],
            window=10,
            segments=2,
        )


def object_of(length):
    class Notes:
        def __len__(self):
            return length

    return Notes()
