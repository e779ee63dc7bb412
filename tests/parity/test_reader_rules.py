"""Both readers give the same `Score`, or the same refusal, for any file; each rule has a case."""

import io
import struct

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.encoding import encode
from musicbert.errors import MidiError
from musicbert.midi import read_score
from musicbert.midi.columns import ScoreColumns

READERS = ("symusic", "miditoolkit")
COLUMNS = tuple(name for name in ScoreColumns.__dataclass_fields__ if name != "track_name")
END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x3c\x40\x10\x80\x3c\x00"


def midi(*bodies, form=1, tracks=None):
    header = struct.pack(">IHHH", 6, form, len(bodies) if tracks is None else tracks, 480)
    return b"MThd" + header + b"".join(b"MTrk" + struct.pack(">I", len(body)) + body for body in bodies)


def outcome(read, *arguments, **options):
    try:
        return read(*arguments, **options)
    except MidiError as error:
        return error.reason


def same(data):
    """Read with both readers, check that they agree, and return the score or the reason of the refusal."""
    one, other = (outcome(read_score, data, reader=reader) for reader in READERS)
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return one
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.track_name == other.track_name
    rows = [outcome(encode, score) for score in (one, other)]
    assert rows[0] == rows[1] if isinstance(rows[0], str) else np.array_equal(*rows)
    return one


@st.composite
def events(draw):
    """Events of a track, of few pitches, channels and ticks, so that they meet."""
    channel, value = draw(st.sampled_from([0, 1, 9, 15])), draw(st.integers(0, 2))
    time = draw(st.sampled_from([0, 0, 1, 5, 200, 3000]))
    kind = draw(st.integers(0, 9))
    if kind < 3:
        return mido.Message("note_on", channel=channel, note=60 + value, velocity=40 + value, time=time)
    if kind < 6:
        velocity = draw(st.sampled_from([0, 64]))
        if draw(st.booleans()):
            return mido.Message("note_off", channel=channel, note=60 + value, velocity=velocity, time=time)
        return mido.Message("note_on", channel=channel, note=60 + value, velocity=0, time=time)
    if kind == 6:
        return mido.Message("program_change", channel=channel, program=value, time=time)
    if kind == 7:
        return mido.Message("control_change", channel=channel, control=64 + value, value=value, time=time)
    if kind == 8:
        tempo = draw(st.sampled_from([500_000, 500_000, 333_333, 7_860_737, 16_777_215, 0]))
        return mido.MetaMessage("set_tempo", tempo=tempo, time=time)
    return draw(
        st.sampled_from(
            [
                mido.MetaMessage("time_signature", numerator=3 + value, denominator=4, time=time),
                mido.MetaMessage("track_name", name=f"T\xf6{value}", time=time),
                mido.MetaMessage("lyrics", text="la", time=time),
                mido.MetaMessage("key_signature", key="Bbm", time=time),
                mido.Message("sysex", data=[65, 16, value], time=time),
                mido.Message("pitchwheel", channel=channel, pitch=value, time=time),
            ]
        )
    )


@settings(max_examples=80, deadline=None)
@given(
    tracks=st.lists(st.lists(events(), max_size=25), min_size=1, max_size=4),
    form=st.sampled_from([0, 1, 1, 1, 2]),
    division=st.sampled_from([480, 480, 480, 96, 1, 32767, 0, -6360]),
)
def test_files_of_mido(tracks, form, division):
    file = mido.MidiFile(type=form, ticks_per_beat=division)
    file.tracks = [mido.MidiTrack(track) for track in (tracks if form else tracks[:1])]
    stream = io.BytesIO()
    file.save(file=stream)
    found = same(stream.getvalue())
    assert not isinstance(found, str) or found in ("no-notes", "bad-value", "bad-division")


BYTES = st.one_of(
    st.binary(max_size=4),
    st.sampled_from([NOTE, b"\x00\xf0\x02\x41\xf7", b"\x00\xf7\x01\x41", b"\x05\xff\x51\x03\x07\xa1\x20"]),
    st.sampled_from(
        [b"\x00\x91\x3c\x40", b"\x10\x3c\x00", b"\x00\xc0\x05", b"\x00\xff\x51\x01\x07", b"\x00\xf8"]
    ),
    st.sampled_from(
        [b"\x00\xb0\x40\x7f", b"\x00\xff\x05\x01a", b"\x00\xff\x58\x01\x03", b"\x81\x81\x81\x81\x01"]
    ),
)


@settings(max_examples=120, deadline=None)
@given(parts=st.lists(st.lists(BYTES, max_size=12), min_size=1, max_size=3), ended=st.booleans())
def test_odd_bytes(parts, ended):
    same(midi(*(b"".join(part) + (END if ended else b"") for part in parts)))


def notes(score):
    """Pitch, onset, offset, velocity, program and track of each note, in the order of the score."""
    names = ("pitch", "onset", "offset", "velocity", "program", "track")
    return list(zip(*(getattr(score, name).tolist() for name in names), strict=True))


def tempi(score):
    return list(zip(score.tempo_tick.tolist(), score.tempo_bpm.round().astype(int).tolist(), strict=True))


def tempo(time, bpm):
    return bytes([time]) + b"\xff\x51\x03" + round(60e6 / bpm).to_bytes(3, "big")


def test_tempi_of_all_tracks_are_sorted_by_time():
    """Of one tick, the later one of the file holds. Nothing is added or left out."""
    score = same(midi(tempo(5, 100) + tempo(0, 100) + tempo(9, 120) + END, tempo(5, 60) + END, NOTE + END))
    assert tempi(score) == [(5, 100), (5, 100), (5, 60), (14, 120)]
    late = tempo(100, 60) + END
    assert tempi(same(midi(tempo(90, 100) + END, tempo(0, 120) + late, NOTE + END)))[0] == (0, 120)
    assert tempi(same(midi(NOTE + END))) == []
    assert same(midi(b"\x00\xff\x51\x03\0\0\0" + NOTE + END)) == "bad-value"


def test_songs_of_format_2_begin_together():
    score = same(midi(tempo(20, 60) + NOTE + END, tempo(10, 100) + NOTE + END, form=2))
    assert tempi(score) == [(10, 100), (20, 60)]
    assert score.onset.tolist() == [20, 10]


def test_a_note_has_the_program_of_its_beginning():
    body = b"\x00\xc0\x05\x00\x90\x3c\x40\x08\xc0\x07\x00\x90\x3e\x40\x08\x80\x3c\x00\x00\x80\x3e\x00" + END
    assert notes(same(midi(body))) == [(60, 0, 16, 64, 5, 0), (62, 8, 16, 64, 7, 1)]


def test_notes_of_one_pitch_end_in_the_order_of_their_beginnings():
    body = (
        b"\x00\x90\x3c\x40\x04\x90\x3c\x50\x04\x80\x3c\x7f\x04\x90\x3c\x00\x04\x80\x3c\x00\x00\x90\x3d\x40"
        + END
    )
    assert notes(same(midi(body))) == [(60, 0, 8, 64, 0, 0), (60, 4, 12, 80, 0, 0)]


def test_instruments_of_a_track_are_in_the_order_of_their_first_ends():
    """As in miditoolkit, also on one tick; symusic has them by channel and program."""

    def long(channel, pitch, ends):
        return bytes([0, 0x90 | channel, pitch, 64]), bytes([ends, 0x80 | channel, pitch, 0])

    parts = [long(2, 60, 9), long(0, 62, 0), long(1, 64, 4), long(0, 66, 0)]
    body = b"".join(begin for begin, _ in parts) + b"".join(end for _, end in parts) + END
    for data in (midi(body, form=0), midi(tempo(0, 99) + END, body, NOTE + END)):
        score = same(data)
        assert [score.pitch[score.track == track].tolist() for track in range(3)] == [[60], [62, 66], [64]]
    named = same(midi(b"\x00\xff\x03\x01a" + body, NOTE + END))
    assert named.track_name == ("a", "a", "a", "")


def test_instruments_of_one_track_are_told_from_tracks_without_names():
    """Also where another track has no whole note, and where the notes are as short as bytes can be."""
    many = b"\x00\x3c\x40\x01\x3c\x00" * 200
    first, second = (bytes([0, 0xC0, program, 0, 0x90]) + many[1:] for program in (5, 2))
    for tracks in ([], [b"\x00\x90\x3c\x40" + END], [NOTE + END], [NOTE + END, b"\x00\x91\x3c\x40" + END]):
        score = same(midi(*tracks, first + second + END))
        whole = NOTE + END in tracks
        assert score.program.tolist() == [0] * whole + [5] * 200 + [2] * 200


def test_notes_of_one_onset_are_in_the_order_of_the_file():
    body = b"\x00\x90\x40\x40\x00\x90\x3c\x40\x05\x80\x3c\x00\x05\x80\x40\x00" + END
    assert [pitch for pitch, *_ in notes(same(midi(body)))] == [64, 60]


def test_controllers_before_a_note_go_to_the_first_instrument_of_their_channel():
    body = (
        b"\x00\xb0\x40\x7f\x00\xc0\x05"
        + NOTE
        + b"\x00\xc0\x06\x00\xb0\x40\x00"
        + NOTE
        + b"\x00\xb1\x07\x09"
        + END
    )
    score = same(midi(body))
    assert list(zip(score.control_tick.tolist(), score.control_track.tolist(), strict=True)) == [
        (0, 0),
        (16, 1),
    ]


def test_the_events_of_a_track_end_with_its_mark():
    assert len(same(midi(NOTE + END + NOTE))) == 1
    assert len(same(midi(NOTE))) == 1
    assert len(same(midi(NOTE + END, NOTE + END, tracks=1))) == 1  # and the tracks with their number


@pytest.mark.parametrize(
    ("event", "onset"),
    [
        (b"\x00\xff\x59\x02\x09\x05", 0),  # a key that does not exist
        (b"\x00\xff\x51\x02\x07\xa1", 0),  # a tempo that is too short is none
        (b"\x00\xff\x51\x04\x07\xa1\x20\x00", 0),  # of a longer one, the first bytes count
        (b"\x00\xff\x58\x01\x03", 0),
        (b"\x00\xf7\x02\x90\x3c", 0),  # an escape, and its length
        (b"\x00\xf0\x02\x41\x10\x05\xf7\x02\x42\xf7", 5),  # an exclusive event in two parts
        (b"\x00\xe0\x80\x80", 0),  # a pitch bend out of range is not used
        (b"\x00\xfe", 0),  # a system message, which has no place in a file
        (b"\x00\xf4", None),  # an undefined one
        (b"\x81\x80\x80\x80\x00\xff\x01\x00", None),  # a number of five bytes
        (b"\x00\x90\x80\x40", None),
        (b"\x00\x3c\x40", None),  # no status before
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else "",
)
def test_odd_events(event, onset):
    score = same(midi(event + NOTE + END))
    if onset is None:
        assert score == "unreadable"
    else:
        assert notes(score) == [(60, onset, onset + 16, 64, 0, 0)]
        assert len(score.tempo_tick) == (event[3:4] == b"\x04")
        assert len(score.metre_tick) == 0


def test_running_status_holds_over_other_events():
    exclusive = b"\x00\xf0\x03\x41\x10\xf7"
    for between in (exclusive, b"\x00\xff\x01\x01a", exclusive + b"\x00\xff\x01\x01a", b"\x00\xf7\x01\x41"):
        assert len(same(midi(b"\x00\x90\x3c\x40" + between + b"\x08\x3c\x00" + END))) == 1
    assert same(midi(b"\x00\x90\x3c\x40\x00\xf8\x08\x3c\x00" + END)) == "unreadable"


def test_names_are_utf_8_or_else_latin_1():
    for text, name in (("Gr\xfcn".encode(), "Gr\xfcn"), (b"Gr\xfcn", "Gr\xfcn"), (b"", "")):
        body = b"\x00\xff\x03\x01x\x00\xff\x03" + bytes([len(text)]) + text + NOTE + END
        assert same(midi(END, body)).track_name == (name,)
