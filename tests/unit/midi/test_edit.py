"""A file with changed notes is read as the changed score, and nothing else in it changes."""

import io
from collections import Counter
from dataclasses import replace

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.errors import MidiError
from musicbert.midi import edit, edit_midi, read_score
from musicbert.midi.writer import tempo_event

NOTE = ("onset", "offset", "pitch", "velocity", "program", "drum")


def notes_of(score, chosen=None):
    rows = list(zip(*(getattr(score, name).tolist() for name in NOTE), strict=True))
    return Counter(rows if chosen is None else [row for row, keep in zip(rows, chosen, strict=True) if keep])


def other_events(data, leave_out=("note_on", "note_off", "end_of_track")):
    """Type, resolution and, of each track, all other events with their ticks."""
    file = mido.MidiFile(file=io.BytesIO(data))
    tracks = []
    for track in file.tracks:
        ticks = np.cumsum([event.time for event in track]).tolist()
        pairs = zip(ticks, track, strict=True)
        tracks.append(
            [(tick, str(event.copy(time=0))) for tick, event in pairs if event.type not in leave_out]
        )
    return file.type, file.ticks_per_beat, tracks


@st.composite
def files(draw):
    """A file of any events: notes of few pitches that overlap, end twice or never, and others."""
    form = draw(st.integers(0, 1))
    tracks = []
    for _ in range(1 if form == 0 else draw(st.integers(1, 3))):
        track = mido.MidiTrack()
        for _ in range(draw(st.integers(0, 40))):
            time, channel = draw(st.integers(0, 3)), draw(st.sampled_from([0, 1, 9]))
            kind = draw(st.sampled_from(["on", "on", "off", "off", "end", "more"]))
            pitch, velocity = draw(st.integers(60, 63)), draw(st.integers(1, 127))
            if kind in ("on", "off"):
                note = {"note": pitch, "velocity": velocity, "time": time}
                track.append(mido.Message(f"note_{kind}", channel=channel, **note))
            elif kind == "end":
                track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=0, time=time))
            else:
                track.append(draw(st.sampled_from([
                    mido.Message("control_change", channel=channel, control=64, value=velocity, time=time),
                    mido.Message("program_change", channel=channel, program=pitch, time=time),
                    mido.Message("pitchwheel", channel=channel, pitch=velocity, time=time),
                    mido.Message("polytouch", channel=channel, note=pitch, value=velocity, time=time),
                    mido.Message("sysex", data=[1, 2, pitch], time=time),
                    mido.MetaMessage("lyrics", text="la", time=time),
                    mido.MetaMessage("set_tempo", tempo=400_000 + velocity, time=time),
                    mido.MetaMessage("time_signature", numerator=3, denominator=8, time=time),
                    mido.MetaMessage("midi_port", port=1, time=time),
                ])))  # fmt: skip
        track.append(mido.Message("note_on", note=50, time=draw(st.integers(0, 3))))
        track.append(mido.Message("note_off", note=50, time=2))
        tracks.append(track)
    stream = io.BytesIO()
    mido.MidiFile(type=form, tracks=tracks, ticks_per_beat=draw(st.sampled_from([4, 480]))).save(file=stream)
    return stream.getvalue()


@st.composite
def changes(draw):
    data = draw(files())
    score = read_score(data)
    chosen = np.array(draw(st.lists(st.booleans(), min_size=len(score), max_size=len(score))), bool)
    columns = {name: getattr(score, name).copy() for name in NOTE}
    for note in np.flatnonzero(chosen).tolist():
        for field in draw(st.sets(st.sampled_from(["pitch", "velocity", "end", "onset", "program", "drum"]))):
            if field == "pitch":
                columns["pitch"][note] = draw(st.integers(60, 63))
            elif field == "velocity":
                columns["velocity"][note] = draw(st.integers(1, 127))
            elif field == "onset":
                by = draw(st.integers(0, 5))
                columns["onset"][note] += by
                columns["offset"][note] += by
            elif field == "end":
                columns["offset"][note] = columns["onset"][note] + draw(st.integers(0, 5))
            elif field == "program":
                columns["program"][note] = draw(st.integers(0, 127))
            else:
                columns["drum"][note] = not columns["drum"][note]
    columns["program"][columns["drum"] & ~score.drum] = 0
    return data, score, replace(score, **columns), chosen


@settings(max_examples=150, deadline=None)
@given(case=changes())
def test_only_the_chosen_notes_change(case):
    data, before, after, chosen = case
    written = edit_midi(data, before, after)
    again = read_score(written)
    melodic = [key for key in NOTE if key != "program"]
    for names in (melodic, [*melodic, "program"]):
        found, wanted = (
            sorted(zip(*(getattr(s, n)[~s.drum].tolist() if "program" in names else getattr(s, n).tolist()
                         for n in names), strict=True))
            for s in (again, after)
        )  # fmt: skip
        assert found == wanted
    kept = notes_of(before, ~chosen & ~before.drum)
    assert not kept - notes_of(again)
    form, division, tracks = other_events(data)
    again_form, again_division, again_tracks = other_events(written)
    assert again_division == division
    if again_form == form == 1:
        assert again_tracks[: len(tracks)] == tracks
    else:  # a channel that was free may get a program
        left = [event for event in again_tracks[0] if event in tracks[0] or "program" not in event[1]]
        assert left == tracks[0]


@settings(max_examples=40, deadline=None)
@given(data=files())
def test_nothing_changed_is_the_same_file(data):
    score = read_score(data)
    assert edit_midi(data, score, score) == data


@settings(max_examples=50, deadline=None)
@given(case=changes())
def test_velocities_change_in_place(case):
    data, before, after, _ = case
    written = edit_midi(data, before, replace(before, velocity=after.velocity))
    assert len(written) == len(data)
    changed = int((before.velocity != after.velocity).sum())
    assert sum(a != b for a, b in zip(data, written, strict=True)) == changed


def test_tempi_and_metres_change(fixtures):
    data = (fixtures / "musicbert" / "s03_tempo_changes_extremes.mid").read_bytes()
    before = read_score(data)
    after = replace(
        before,
        tempo_tick=np.array([0, 960]),
        tempo_bpm=np.array([60.0, 120.0]),
        metre_tick=np.array([480]),
        metre_numerator=np.array([3]),
        metre_denominator=np.array([8]),
    )
    again = read_score(edit_midi(data, before, after))
    for name in ("tempo_tick", "tempo_bpm", "metre_tick", "metre_numerator", "metre_denominator"):
        np.testing.assert_array_equal(getattr(again, name), getattr(after, name))
    assert notes_of(again) == notes_of(before)


def test_tempi_that_the_file_would_not_give_are_refused(fixtures, monkeypatch):
    data = (fixtures / "musicbert" / "s01_basic_4_4.mid").read_bytes()
    before = read_score(data)
    after = replace(before, tempo_tick=np.array([0]), tempo_bpm=np.array([97.0]))
    assert read_score(edit_midi(data, before, after)).tempo_bpm == pytest.approx([97.0], rel=1e-5)
    monkeypatch.setattr(edit, "tempo_event", lambda _: tempo_event(98.0))
    with pytest.raises(MidiError, match="bad-value"):
        edit_midi(data, before, after)


@settings(max_examples=150, deadline=None)
@given(data=files(), damage=st.lists(st.tuples(st.integers(14, 400), st.integers(0, 255)), max_size=4))
def test_a_damaged_file_is_changed_or_refused(data, damage):
    broken = bytearray(data)
    for at, value in damage:
        broken[at % len(data)] = value
    try:
        score = read_score(bytes(broken), channel_programs="channel")
        edit_midi(bytes(broken), score, replace(score, pitch=(score.pitch + 1) % 128))
    except MidiError:
        pass


def test_a_file_that_does_not_hold_the_notes_is_refused(fixtures):
    names = ("s01_basic_4_4", "s05_ts_6_8")
    one, other = ((fixtures / "musicbert" / f"{name}.mid").read_bytes() for name in names)
    score = read_score(one)
    with pytest.raises(MidiError, match="not found in the file"):
        edit_midi(other, score, replace(score, velocity=score.velocity % 100 + 1))


@settings(max_examples=40, deadline=None)
@given(data=files(), old=st.integers(0, 63), new=st.integers(0, 127), late=st.booleans())
def test_other_instruments_by_program_changes(data, old, new, late):
    """Notes from a place on, of one program, get another; they keep their channel where possible."""
    before = read_score(data)
    old = int(before.program[~before.drum][old % max((~before.drum).sum(), 1)]) if (~before.drum).any() else 0
    chosen = (before.program == old) & ~before.drum
    if late:
        chosen &= before.onset >= np.median(before.onset)
    after = replace(before, program=np.where(chosen, new, before.program))
    again = read_score(edit_midi(data, before, after, change_instruments=True))
    for names in (NOTE[:4], NOTE):
        found, wanted = (
            sorted(zip(*(getattr(s, n)[~s.drum].tolist() for n in names), strict=True))
            for s in (again, after)
        )
        assert found == wanted


def test_an_instrument_is_replaced_where_it_plays():
    """No note changes its track or channel, and the pedal stays; also for some bars only."""
    track, other = mido.MidiTrack(), mido.MidiTrack()
    track.append(mido.Message("program_change", program=73, channel=2))
    track.append(mido.Message("control_change", control=7, value=50, channel=2))
    for pitch in (60, 62, 64, 65):
        track.append(mido.Message("note_on", note=pitch, channel=2))
        track.append(mido.Message("note_off", note=pitch, channel=2, time=480))
    other += [mido.Message("note_on", note=50), mido.Message("note_off", note=50, time=480)]
    stream = io.BytesIO()
    mido.MidiFile(tracks=[track, other]).save(file=stream)
    data = stream.getvalue()
    score = read_score(data)
    for programs, changes in (
        ([40] * 4, [40]),
        ([73, 40, 40, 73], [73, 40, 73]),
        ([40, 40, 73, 73], [40, 73]),
    ):
        wanted = replace(score, program=np.array([*programs, 0]))
        written = edit_midi(data, score, wanted, change_instruments=True)
        file = mido.MidiFile(file=io.BytesIO(written))
        assert len(file.tracks) == 2
        assert [event.program for event in file.tracks[0] if event.type == "program_change"] == changes
        rest = [event for event in file.tracks[0] if event.type not in ("program_change", "end_of_track")]
        assert rest == [event for event in track if event.type not in ("program_change", "end_of_track")]
        assert notes_of(read_score(written)) == notes_of(wanted)
    piano = edit_midi(
        data, score, replace(score, program=np.array([73, 73, 73, 73, 6])), change_instruments=True
    )
    assert len(mido.MidiFile(file=io.BytesIO(piano)).tracks) == 2  # a track without a program change gets one
