"""The contract of codecs, for each of them; notes in beats that cannot be encoded."""

import dataclasses

import numpy as np
import pytest

from musicbert.corpus.labelled.pieces import BeatNotes as BeatNotesOfTheCorpus
from musicbert.encoding import FIELD_SIZES, encode_notes
from musicbert.encoding.beat_notes import BeatNotes, beat_notes_to_score
from musicbert.encoding.codecs import CODECS, get_codec
from musicbert.encoding.compound_word import CompoundWordCodec
from musicbert.errors import MidiError
from musicbert.midi import Score
from musicbert.objectives.note_fields import note_fields

NOTES = BeatNotes(
    onset=np.array([2.0, 0.0, 0.0, 5.5]),
    offset=np.array([3.0, 1.0, 0.5, 6.0]),
    pitch=np.array([60, 64, 61, 67]),
    velocity=np.array([64, 80, 81, 82]),
)


@pytest.mark.parametrize("name", CODECS)
def test_contract(name):
    codec = get_codec(name)
    assert codec.name == name
    for notes in (NOTES, beat_notes_to_score(NOTES)):
        rows, note_index = codec.encode(notes)
        assert rows.dtype == note_index.dtype == np.int64
        assert rows.shape == (4, len(codec.fields))
        assert sorted(note_index.tolist()) == [0, 1, 2, 3]
        pitch = [field.name for field in codec.fields].index("pitch")
        low = rows[:, pitch] - NOTES.pitch[note_index]
        assert len(set(low.tolist())) == 1  # a shift of all pitches at most
        assert (rows < [field.size for field in codec.fields]).all()
        score = codec.decode(rows)
        assert isinstance(score, Score)
        assert np.array_equal(score.pitch, NOTES.pitch[note_index])


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"onset": np.array([np.nan, 0, 0, 0])}, "bad-value"),
        ({"onset": np.array([-np.inf, 0, 0, 0])}, "bad-value"),
        ({"offset": np.array([1e300, 1, 1, 9])}, "bad-value"),
        ({"offset": np.array([1.0, 1, 1, 9])}, "bad-value"),  # ends before it begins
        ({"offset": np.array([3.0, 1, 1])}, "bad-value"),
        ({"pitch": np.array([60, 64, 128, 67])}, "bad-value"),
        ({"velocity": np.array([60, -1, 100, 67])}, "bad-value"),
        ({name: np.zeros(0) for name in ("onset", "offset", "pitch", "velocity")}, "no-notes"),
    ],
)
def test_notes_in_beats_that_cannot_be_encoded(name, change, reason):
    with pytest.raises(MidiError) as caught:
        get_codec(name).encode(dataclasses.replace(NOTES, **change))
    assert caught.value.reason == reason


@pytest.mark.parametrize("name", CODECS)
def test_scores_that_cannot_be_encoded(name):
    score = beat_notes_to_score(NOTES)
    for change in ({"pitch": score.pitch + 100}, {"offset": score.onset - 1}, {"ticks_per_beat": 0}):
        with pytest.raises(MidiError):
            get_codec(name).encode(dataclasses.replace(score, **change))


def test_octuple():
    codec = get_codec("octuple")
    assert tuple(field.size for field in codec.fields) == FIELD_SIZES
    score = beat_notes_to_score(NOTES)
    for ours, theirs in zip(codec.encode(NOTES), encode_notes(score), strict=True):
        assert np.array_equal(ours, theirs)


def test_octuple_of_a_pickup_begins_with_bar_0():
    rows, _ = get_codec("octuple").encode(
        dataclasses.replace(NOTES, onset=NOTES.onset - 2, offset=NOTES.offset - 2)
    )
    assert rows[:, 0].tolist() == [0, 0, 1, 1]


def test_compound_word_fields():
    fields = get_codec("cp").fields
    assert [dataclasses.astuple(field) for field in fields] == [
        ("bar", 4, 2, 3),
        ("position", 18, 16, 17),
        ("pitch", 88, 86, 87),
        ("duration", 66, 64, 65),
    ]


@pytest.mark.parametrize("name", CODECS)
def test_columns_of_models_are_those_of_the_codec(name):
    fields, columns = get_codec(name).fields, note_fields(name)
    assert tuple(field.name for field in fields) == columns.names
    if name == "octuple":
        assert tuple(field.size for field in fields) == columns.values
    else:
        assert tuple(field.size for field in fields) == columns.sizes
        assert tuple(field.pad for field in fields) == columns.pads
        assert tuple(field.mask for field in fields) == columns.masks


def test_unknown_names():
    with pytest.raises(ValueError, match="an encoding is one of"):
        get_codec("remi+")
    with pytest.raises(ValueError, match="a profile is one of"):
        CompoundWordCodec("octuple")


def test_one_class_for_notes_in_beats():
    assert BeatNotesOfTheCorpus is BeatNotes
