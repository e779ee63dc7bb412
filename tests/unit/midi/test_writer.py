"""What is written is read back the same, and files are replaced in one step."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.errors import MidiError
from musicbert.midi import Score, midi_bytes, read_score, write_midi

NOTE = ("onset", "offset", "pitch", "velocity", "program", "drum")


def ints(*values):
    return np.array(values, np.int64)


def one_note(**changes):
    score = Score(480, ints(0), ints(480), ints(60), ints(64), ints(0), np.array([False]), ints(0))
    return replace(score, **changes)


@st.composite
def scores(draw):
    """Notes of which no two of one pitch and track overlap (MIDI cannot tell those apart)."""
    columns = []
    for track in range(draw(st.integers(1, 4))):
        drum = draw(st.booleans())
        program = 0 if drum else draw(st.integers(0, 127))
        for pitch in draw(st.sets(st.integers(0, 127), min_size=1, max_size=4)):
            tick = draw(st.integers(0, 3_000_000))
            for _ in range(draw(st.integers(1, 3))):
                end = tick + draw(st.integers(0, 40_000))
                columns.append((tick, end, pitch, draw(st.integers(1, 127)), program, drum, track))
                tick = end + draw(st.integers(0, 500))
    notes = np.array(columns, np.int64).T
    controls = draw(
        st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 127), st.integers(0, 127)), max_size=5)
    )
    controls = np.array(sorted(controls), np.int64).reshape(-1, 3).T
    return Score(
        draw(st.integers(1, 32767)),
        *notes[:5],
        notes[5].astype(bool),
        notes[6],
        tempo_tick=ints(0, 960),
        tempo_bpm=np.array([60.0, 120.0]),
        metre_tick=ints(0),
        metre_numerator=ints(3),
        metre_denominator=ints(8),
        control_tick=controls[0],
        control_number=controls[1],
        control_value=controls[2],
        control_track=np.zeros(controls.shape[1], np.int64),
    )


def notes_of(score):
    return sorted(zip(*(getattr(score, name).tolist() for name in NOTE), strict=True))


@pytest.mark.parametrize("reader", ["symusic", "miditoolkit"])
@settings(max_examples=60, deadline=None)
@given(score=scores())
def test_round_trip(reader, score):
    again = read_score(midi_bytes(score), reader=reader)
    assert again.ticks_per_beat == score.ticks_per_beat
    assert notes_of(again) == notes_of(score)
    assert again.tempo_tick.tolist() == [0, 960]
    assert again.tempo_bpm.tolist() == [60.0, 120.0]
    assert (again.metre_numerator[0], again.metre_denominator[0]) == (3, 8)
    for name in ("control_tick", "control_number", "control_value"):
        assert sorted(getattr(again, name)) == sorted(getattr(score, name))


def test_program_changes_of_one_track_are_kept():
    score = Score(
        480,
        ints(0, 480),
        ints(600, 960),
        ints(60, 62),
        ints(64, 64),
        ints(1, 2),
        np.array([False, False]),
        ints(0, 0),
    )
    assert notes_of(read_score(midi_bytes(score))) == notes_of(score)


def test_the_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "piece.mid"
    path.write_bytes(b"old")
    with pytest.raises(MidiError):
        write_midi(one_note(ticks_per_beat=40_000), path)
    assert path.read_bytes() == b"old"
    one_note().save(path)
    assert path.read_bytes() == midi_bytes(one_note())
    assert [item.name for item in tmp_path.iterdir()] == ["piece.mid"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    with pytest.raises(OSError, match="missing"):
        one_note().save(tmp_path / "missing" / "piece.mid")


def _umask():
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ticks_per_beat": 40_000}, "bad-division"),
        ({"onset": ints(0), "offset": ints(0x10000000)}, "bad-value"),
        (
            {"metre_tick": ints(0), "metre_numerator": ints(4), "metre_denominator": ints(3)},
            "bad-value",
        ),
        (
            {"metre_tick": ints(0x10000000), "metre_numerator": ints(4), "metre_denominator": ints(4)},
            "bad-value",
        ),
        ({"onset": ints(), "offset": ints()}, "no-notes"),
    ],
)
def test_numbers_that_the_format_cannot_hold(changes, expected):
    with pytest.raises(MidiError) as caught:
        midi_bytes(one_note(**changes))
    assert caught.value.reason == expected


def test_controllers_of_a_track_without_notes_are_written():
    import io

    import mido

    pedal = {"control_tick": ints(5), "control_number": ints(64), "control_value": ints(99)}
    data = midi_bytes(one_note(control_track=ints(-1), **pedal))
    events = [event for track in mido.MidiFile(file=io.BytesIO(data)).tracks for event in track]
    assert [(event.time, event.value) for event in events if event.type == "control_change"] == [(5, 99)]
    assert read_score(data).control_tick.tolist() == []  # both parsers leave such controllers out
