"""Programs by track and by channel, and notes paired in the file as the parser pairs them."""

import io
from collections import Counter

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.midi import programs_elsewhere, read_score
from musicbert.midi.channels import FileNotes, _tracks_elsewhere
from musicbert.midi.events import file_events

READERS = ("symusic", "miditoolkit")


def file_of(*tracks, form=1):
    """Bytes of a file; an event is (delta, kind, channel, value), of notes of 2 ticks also "note"."""
    file = mido.MidiFile(type=form, ticks_per_beat=8)
    for events in tracks:
        track = mido.MidiTrack()
        for delta, kind, channel, value in events:
            if kind == "program":
                track.append(mido.Message("program_change", channel=channel, program=value, time=delta))
            elif kind == "note":
                track.append(mido.Message("note_on", channel=channel, note=value, velocity=64, time=delta))
                track.append(mido.Message("note_off", channel=channel, note=value, time=2))
            else:
                velocity = 64 if kind == "on" else 0
                track.append(
                    mido.Message("note_on", channel=channel, note=value, velocity=velocity, time=delta)
                )
        file.tracks.append(track)
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()


def programs(data, **options):
    score = read_score(data, **options)
    return [score.program[score.pitch == pitch].tolist() for pitch in sorted(set(score.pitch.tolist()))]


@pytest.mark.parametrize("reader", READERS)
def test_a_program_change_holds_for_its_channel(reader):
    setup = [(0, "program", 0, 40), (4, "program", 0, 41)]
    notes = [(0, "note", 0, 60), (4, "note", 0, 61), (0, "note", 1, 62), (0, "note", 9, 63)]
    data = file_of(setup, notes)
    assert programs(data, reader=reader) == [[0], [0], [0], [0]]
    assert programs(data, reader=reader, channel_programs="channel") == [[40], [41], [0], [0]]
    assert programs_elsewhere(data) == 2


def test_of_one_tick_the_later_track_holds_but_not_what_follows_the_note_in_its_own():
    own = [(0, "program", 0, 1), (0, "note", 0, 60), (0, "program", 0, 2), (0, "note", 0, 61)]
    assert programs(file_of(own, [(0, "program", 0, 7)]), channel_programs="channel") == [[7], [2]]
    assert programs(file_of([(0, "program", 0, 7)], own), channel_programs="channel") == [[1], [2]]


def test_a_change_without_a_status_counts_for_other_tracks():
    one = b"\x00\xc0\x05\x32\x07\x00\x90\x3c\x40\x10\x80\x3c\x00\x00\xff\x2f\x00"
    other = b"\x00\xc0\x05\x64\x90\x3d\x40\x10\x80\x3d\x00\x00\xff\x2f\x00"
    chunks = [b"MTrk" + len(body).to_bytes(4, "big") + body for body in (one, b"\x00\xff\x2f\x00", other)]
    assert programs_elsewhere(b"MThd\0\0\0\6\0\1\0\3\1\xe0" + b"".join(chunks)) == 1
    longer = b"MThd\0\0\0\7\0\1\0\3\1\xe0\0" + b"".join(chunks)
    assert programs_elsewhere(longer) == 1


@pytest.mark.parametrize("form", [0, 2])
def test_one_track_and_songs_of_their_own_read_as_before(form):
    tracks = [[(0, "program", 0, 5), (0, "note", 0, 60)], [(0, "note", 0, 61)]][: 1 if form == 0 else 2]
    data = file_of(*tracks, form=form)
    assert programs(data, channel_programs="channel") == programs(data)
    assert programs_elsewhere(data) == 0


def test_a_score_has_lost_its_channels():
    score = read_score(file_of([(0, "note", 0, 60)]))
    with pytest.raises(ValueError, match="needs the file"):
        read_score(score, channel_programs="channel")
    with pytest.raises(ValueError, match="channel_programs is"):
        read_score(score, channel_programs="both")


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["on", "on", "off", "off", "program"]),
        st.sampled_from([0, 1, 9]),
        st.integers(60, 62),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(tracks=st.lists(EVENTS, min_size=1, max_size=3))
def test_notes_are_those_of_the_parser(tracks):
    data = file_of(*tracks, [(0, "note", 3, 50)])
    notes, score = FileNotes(data), read_score(data)
    names = ("onset", "offset", "pitch", "velocity", "program", "drum")
    listed = [
        Counter(zip(*(getattr(each, name).tolist() for name in names), strict=True))
        for each in (notes, score)
    ]
    assert listed[0] == listed[1]
    found = notes.find(score)
    assert sorted(found.tolist()) == list(range(len(score)))
    for name in names:
        np.testing.assert_array_equal(getattr(notes, name)[found], getattr(score, name))
    differ = int(((notes.program != notes.held) & ~notes.drum).sum())
    assert programs_elsewhere(data) == differ
    assert _tracks_elsewhere(data) or not differ
    channel = read_score(data, channel_programs="channel")
    np.testing.assert_array_equal(channel.program[~channel.drum], notes.held[found][~channel.drum])


def test_events_take_bounded_memory():
    import tracemalloc

    body = b"\0\xc0\1" * 400_000 + b"\0\xff\x2f\0"
    data = b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1, 1, 0]) + b"MTrk" + len(body).to_bytes(4, "big") + body
    tracemalloc.start()
    try:
        assert len(file_events(data).tick) == 400_000
        assert tracemalloc.get_traced_memory()[1] < 50 * len(data)
    finally:
        tracemalloc.stop()
