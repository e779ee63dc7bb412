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
    """Any score that a MIDI file can hold: notes overlap, repeat and last zero ticks; pauses may be huge."""
    ticks = st.one_of(
        st.integers(0, 40), st.integers(0, 3_000_000), st.sampled_from([2**28 - 1, 2**28, 2**30])
    )
    kinds = draw(
        st.lists(
            st.tuples(st.booleans(), st.integers(0, 127), st.text(st.characters(codec="utf-8"), max_size=3)),
            min_size=1,
            max_size=20,
        )
    )
    columns = []
    for track, (drum, program, _) in enumerate(kinds):
        for _ in range(draw(st.integers(1, 6))):
            begin = draw(ticks)
            end = begin + draw(st.integers(0, 40))
            pitch, velocity = draw(st.sampled_from([0, 60, 127])), draw(st.integers(1, 127))
            columns.append((begin, end, pitch, velocity, 0 if drum else program, drum, track))
    notes = np.array(columns, np.int64).T
    row = st.tuples(ticks, st.integers(0, 127), st.integers(0, 127), st.integers(0, len(kinds) - 1))
    controls = np.array(sorted(draw(st.lists(row, max_size=5))), np.int64).reshape(-1, 4).T
    tempi = sorted(draw(st.lists(st.tuples(ticks, st.integers(1, 0xFFFFFF)), max_size=4)), key=lambda t: t[0])
    metres = sorted(
        draw(st.lists(st.tuples(ticks, st.integers(1, 255), st.integers(0, 6)), max_size=4)),
        key=lambda t: t[0],
    )
    return Score(
        draw(st.integers(1, 32767)),
        *notes[:5],
        notes[5].astype(bool),
        notes[6],
        tempo_tick=ints(*(tick for tick, _ in tempi)),
        tempo_bpm=np.array([60e6 / microseconds for _, microseconds in tempi]),
        metre_tick=ints(*(tick for tick, _, _ in metres)),
        metre_numerator=ints(*(numerator for _, numerator, _ in metres)),
        metre_denominator=ints(*(2**power for _, _, power in metres)),
        control_tick=controls[0],
        control_number=controls[1],
        control_value=controls[2],
        control_track=controls[3],
        track_name=tuple(name for _, _, name in kinds),
    )


def notes_of(score):
    return sorted(zip(*(getattr(score, name).tolist() for name in NOTE), strict=True))


@settings(max_examples=150, deadline=None)
@given(score=scores())
def test_round_trip(score):
    again = read_score(midi_bytes(score))
    assert again.ticks_per_beat == score.ticks_per_beat
    assert notes_of(again) == notes_of(score)
    for name in ("tempo_tick", "tempo_bpm", "metre_tick", "metre_numerator", "metre_denominator"):
        np.testing.assert_array_equal(getattr(again, name), getattr(score, name), err_msg=name)
    assert again.track_name[: len(score.track_name)] == score.track_name
    columns = ("control_tick", "control_number", "control_value", "control_track")
    assert sorted(zip(*(getattr(again, name).tolist() for name in columns), strict=True)) == sorted(
        zip(*(getattr(score, name).tolist() for name in columns), strict=True)
    )


@settings(max_examples=60, deadline=None)
@given(score=scores())
def test_the_other_reader_finds_the_same_notes(score):
    assert notes_of(read_score(midi_bytes(score), reader="miditoolkit")) == notes_of(score)


def test_no_channel_holds_two_sounding_notes_of_one_pitch():
    """Players and readers that pair by channel end the right note, too (a long note around a short one)."""
    import io

    import mido

    notes = {
        "onset": ints(0, 480),
        "offset": ints(1920, 960),
        "pitch": ints(60, 60),
        "velocity": ints(80, 70),
    }
    rest = {"program": ints(0, 0), "drum": np.array([False, False]), "track": ints(0, 0)}
    score = Score(480, **notes, **rest)
    channels = [
        e.channel
        for t in mido.MidiFile(file=io.BytesIO(midi_bytes(score))).tracks
        for e in t
        if e.type == "note_on"
    ]
    assert channels == [0, 1]
    assert notes_of(read_score(midi_bytes(score))) == notes_of(score)


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
        ({"velocity": ints(0)}, "bad-value"),
        ({"tempo_tick": ints(0), "tempo_bpm": np.array([3.0])}, "bad-value"),
        (
            {
                "control_tick": ints(0),
                "control_number": ints(128),
                "control_value": ints(1),
                "control_track": ints(0),
            },
            "bad-value",
        ),
        (
            {"metre_tick": ints(0), "metre_numerator": ints(4), "metre_denominator": ints(3)},
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
    assert read_score(data).control_tick.tolist() == [5]
