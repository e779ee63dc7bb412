"""Sound: what is heard, when, how loud and how long; files, errors and the command."""

import logging
import sys
import wave
from dataclasses import replace

import numpy as np
import pytest

import musicbert
from musicbert.cli.main import main as command
from musicbert.errors import ConfigError, MidiError
from musicbert.midi import midi_bytes
from musicbert.midi.score import piano_score
from musicbert.sound import player
from musicbert.sound.player import BANK_PACKAGE, bank_path
from musicbert.sound.timeline import NOTE_OFF, NOTE_ON, timeline

RATE = 22050
BEAT = 480  # ticks of half a second


def ints(*values):
    return np.array(values, np.int64)


def piece(*notes, program=0, drum=False, pedal=(), number=64):
    """Notes (onset, offset in beats, pitch, velocity) and pedal events (beat, value)."""
    onset, offset, pitch, velocity = (np.array(column) for column in zip(*notes, strict=True))
    score = piano_score(
        (onset * BEAT).astype(np.int64),
        (offset * BEAT).astype(np.int64),
        pitch.astype(np.int64),
        velocity.astype(np.int64),
    )
    n = len(notes)
    return replace(
        score,
        program=np.full(n, program),
        drum=np.full(n, drum),
        control_tick=np.array([int(beat * BEAT) for beat, _ in pedal], np.int64),
        control_number=np.full(len(pedal), number),
        control_value=np.array([value for _, value in pedal], np.int64),
        control_track=np.zeros(len(pedal), np.int64),
    )


def loud(samples, begin, end):
    """Root mean square between two times in seconds."""
    return float(np.sqrt(np.mean(samples[int(begin * RATE) : int(end * RATE)].astype(float) ** 2)))


def pitch_of(samples):
    """MIDI pitch of the strongest partial."""
    spectrum = np.abs(np.fft.rfft(samples.mean(axis=1) * np.hanning(len(samples))))
    return 69 + 12 * np.log2(np.argmax(spectrum) * RATE / len(samples) / 440)


def events_of(score, **part):
    """Times in seconds of the beginnings and ends of notes, with their pitches."""
    settings = {"begin": 0.0, "end": None, "sample_rate": 1000, **part}
    made = timeline(score, np.ones(len(score), bool), **settings)
    return [
        [(t / 1000, p) for t, k, p in zip(made.sample, made.kind, made.value, strict=True) if k == kind]
        for kind in (NOTE_ON, NOTE_OFF)
    ]


@pytest.fixture
def play():
    pytest.importorskip("tinysoundfont", reason="needs the synthesiser: pip install --no-deps tinysoundfont")
    if not bank_path().is_file():
        pytest.skip("needs a bank of instruments: the extra sound")
    return lambda score, **options: musicbert.render(score, sample_rate=RATE, **options)


def test_length_silence_pitch_and_tail(play):
    samples = play(piece((2, 4, 69, 90)))
    assert samples.dtype == np.float32
    assert samples.shape[1:] == (2,)
    assert 2.0 < len(samples) / RATE < 4.0  # the tail is a part of it
    assert np.abs(samples[: RATE - 1]).max() == 0  # nothing sounds before the first note
    assert np.abs(samples[-200:]).max() < 1e-3
    assert pitch_of(samples[RATE : 2 * RATE]) == pytest.approx(69, abs=0.3)


def test_tempo_is_respected(play):
    slow = replace(piece((2, 4, 69, 90)), tempo_tick=ints(0, BEAT), tempo_bpm=np.array([60.0, 120.0]))
    first = np.flatnonzero(np.abs(play(slow)).max(axis=1) > 1e-4)[0] / RATE
    assert first == pytest.approx(1.5, abs=0.02)  # a beat of a second, and one of half a second


def test_velocity_changes_the_level_as_the_standard_says(play):
    quiet, loud_ = (play(piece((0, 2, 60, velocity))) for velocity in (50, 100))
    difference = 20 * np.log10(loud(loud_, 0, 1) / loud(quiet, 0, 1))
    assert difference == pytest.approx(40 * np.log10(2), abs=0.5)


def test_pedal_prolongs_and_its_release_ends(play):
    plain = play(piece((0, 1, 60, 90)))
    held = play(piece((0, 1, 60, 90), pedal=[(0.5, 127), (6, 0)]))
    assert loud(held, 1, 3) > 20 * loud(plain, 0.9, 1.2)
    assert 3.0 < len(held) / RATE < 4.0


def test_programs_drums_and_panning_are_heard(play):
    piano, organ, drums = (
        play(piece((0, 4, 60, 90), program=program, drum=drum)) for program, drum in ((0, 0), (19, 0), (0, 1))
    )
    assert loud(organ, 1, 2) > 0.7 * loud(organ, 0.5, 1)  # an organ does not decay
    assert loud(piano, 1, 2) < 0.9 * loud(piano, 0, 1)
    assert loud(drums, 1, 2) < 0.1 * loud(drums, 0, 0.3)
    left = play(piece((0, 2, 60, 90), pedal=[(0, 0)], number=10))
    assert loud(left[:, :1], 0, 1) > 3 * loud(left[:, 1:], 0, 1)
    soft = play(piece((0, 2, 60, 90), pedal=[(0, 40)], number=7))
    assert loud(soft, 0, 1) < 0.3 * loud(piano, 0, 1)


def test_two_tracks_sound_together(play):
    both = replace(piece((0, 4, 60, 90), (0, 4, 76, 90)), track=ints(0, 1), program=ints(0, 19))
    parts = [play(piece((0, 4, pitch, 90), program=program)) for pitch, program in ((60, 0), (76, 19))]
    n = 2 * RATE
    assert np.allclose(play(both)[:n], parts[0][:n] + parts[1][:n], atol=1e-4)


def test_a_part_by_bars_or_seconds(play):
    score = piece(*((4 * bar, 4 * bar + 4, 60 + bar, 90) for bar in range(6)))
    part = play(score, bars=(3, 4))
    assert 4.0 < len(part) / RATE < 5.5
    assert pitch_of(part[:RATE]) % 12 == pytest.approx(62 % 12, abs=0.3)  # an octave may be stronger
    assert np.array_equal(part, play(score, start=4.0, end=8.0))
    assert len(play(score, bars=(3, 99))) > len(part)
    assert np.abs(play(score, start=3.0)[: RATE - 10]).max() == 0  # the note that began earlier is not heard
    for options, reason in (
        ({"bars": (7, 8)}, "bad-part"), ({"bars": (3, 2)}, "bad-part"),
        ({"bars": (1, 2), "end": 3.0}, "bad-part"), ({"start": 5.0, "end": 5.0}, "bad-part"),
        ({"start": 99.0}, "no-notes"),
    ):  # fmt: skip
        with pytest.raises((ConfigError, MidiError)) as error:
            play(score, **options)
        assert error.value.reason == reason


def test_controllers_before_a_part_still_hold(play):
    score = piece((0, 4, 60, 90), (4, 8, 60, 90), pedal=[(0, 20)], number=7)
    assert loud(play(score, bars=(2, 2)), 0, 1) < 0.2 * loud(play(piece((0, 4, 60, 90))), 0, 1)


def test_what_would_be_clipped_is_quieter_and_it_is_said(play, caplog, tmp_path):
    chord = piece(*((0, 2, pitch, 127) for pitch in range(30, 90)))
    with caplog.at_level(logging.WARNING):
        samples = play(chord, gain=20)
    assert "dB quieter" in caplog.text
    assert 0.99 < np.abs(samples).max() < 1
    musicbert.render(chord, tmp_path / "c.wav", sample_rate=RATE, gain=20)
    file = read(tmp_path / "c.wav")
    assert 0.98 * 32767 < np.abs(file).max() < 32767
    assert len(file) == len(samples)
    assert loud(play(chord, gain=-20), 0, 1) == pytest.approx(0.1 * loud(play(chord, gain=0), 0, 1), rel=0.01)


def read(path):
    """Samples of a WAV file as integers."""
    with wave.open(str(path)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (2, 2, RATE)
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, 2).astype(np.int64)


def test_a_file_is_the_same_every_time_and_holds_the_samples(play, tmp_path):
    score = piece((0, 1, 60, 90), (1, 3, 64, 70), pedal=[(0, 127), (4, 0)])
    for name in ("a.wav", "b.wav"):
        assert musicbert.render(score, tmp_path / name, sample_rate=RATE) is None
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert np.array_equal(read(tmp_path / "a.wav"), np.rint(play(score) * 32767).astype(np.int64))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav"]


def test_a_failure_leaves_the_old_file(play, tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(b"old")

    def fail(*_):
        raise RuntimeError("full")

    monkeypatch.setattr(player.Player, "_play", fail)
    with pytest.raises(RuntimeError):
        musicbert.render(piece((0, 1, 60, 90)), tmp_path / "a.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == b"old"


def test_what_is_too_long_is_refused_before_anything_is_played(play, tmp_path):
    hours = piece((0, 1, 60, 90), (2 * 3600, 2 * 3600 + 1, 60, 90))  # beats of half a second
    with pytest.raises(MidiError, match=r"1 h 00 min of sound; an array holds at most 0 h .* \[too-long\]"):
        musicbert.render(hours)
    days = piece((0, 1, 60, 90), (60 * 3600, 60 * 3600 + 1, 60, 90))
    with pytest.raises(MidiError, match=r"a WAV file holds at most 6 h 4. min at 44100 Hz .*--from"):
        musicbert.render(days, tmp_path / "x.wav")
    assert not list(tmp_path.iterdir())


def test_sound_that_never_ends_fades(play):
    organ = piece((0, 2, 60, 90), program=19, pedal=[(0, 127)])
    samples = play(organ)
    assert len(samples) / RATE == pytest.approx(11, abs=0.02)
    assert loud(samples, 9, 9.9) > 0.5 * loud(samples, 1, 2)
    assert np.abs(samples[-20:]).max() < 1e-3


def test_soft_pedal_and_bends_are_said_not_to_be_heard(play, caplog, tmp_path):
    import mido

    bend = mido.MidiTrack(
        [mido.Message("pitchwheel", pitch=4000), mido.Message("note_on", note=60, velocity=80)]
    )
    bend.append(mido.Message("note_off", note=60, time=480))
    mido.MidiFile(tracks=[bend]).save(tmp_path / "bend.mid")
    with caplog.at_level(logging.WARNING):
        play(tmp_path / "bend.mid")
        play(piece((0, 1, 60, 90), pedal=[(0, 127)], number=67))
    assert [record.message.split("not heard: ")[1] for record in caplog.records] == [
        "pitch bends",
        "the soft pedal",
    ]


def test_programs_hold_for_their_channel_as_in_a_player(play, tmp_path):
    import mido

    head, notes = mido.MidiTrack([mido.Message("program_change", program=19)]), mido.MidiTrack()
    notes += [mido.Message("note_on", note=60, velocity=90), mido.Message("note_off", note=60, time=1920)]
    mido.MidiFile(tracks=[head, notes]).save(tmp_path / "organ.mid")
    assert np.array_equal(play(tmp_path / "organ.mid"), play(piece((0, 4, 60, 90), program=19)))


def test_pedals_move_the_ends_of_notes():
    notes = [(0, 1, 60, 90), (2, 3, 64, 90)]
    on, off = events_of(piece(*notes, pedal=[(0.5, 127), (2.5, 0), (4, 127)]))
    assert on == [(0.0, 60), (1.0, 64)]
    assert off == [(1.25, 60), (1.5, 64)]
    # struck again under the pedal: the string has one sound
    _, off = events_of(piece((0, 1, 60, 90), (2, 3, 60, 90), pedal=[(0, 127), (8, 0)]))
    assert off == [(1.0, 60), (4.0, 60)]
    # the sostenuto pedal holds what is down when it is pressed
    _, off = events_of(piece((0, 2, 60, 90), (2, 3, 64, 90), pedal=[(1, 127), (6, 0)], number=66))
    assert off == [(1.5, 64), (3.0, 60)]
    # a part ends where it ends, the pedal with it
    _, off = events_of(piece(*notes, pedal=[(0, 127), (20, 0)]), end=2.0)
    assert off == [(2.0, 60), (2.0, 64)]
    # a pedal that never comes up holds notes for ten seconds; percussion knows no pedal
    assert events_of(piece((0, 1, 60, 90), pedal=[(0, 127)]))[1] == [(10.5, 60)]
    assert events_of(piece((0, 1, 60, 90), pedal=[(0, 127)], drum=True))[1] == [(0.5, 60)]


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    with pytest.raises(ConfigError) as error:
        bank_path(tmp_path / "none.sf2")
    assert error.value.reason == "missing-bank"
    monkeypatch.setattr(player, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'musicbert\[sound\]'.*--bank"):
        bank_path()
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    (tmp_path / "bank.sf2").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"no-synthesiser\] \(pip install --no-deps tinysoundfont\)"):
        musicbert.render(piece((0, 1, 60, 90)), bank=tmp_path / "bank.sf2")


def test_a_bad_bank_rate_or_gain_is_refused(play, tmp_path):
    (tmp_path / "bank.sf2").write_bytes(b"nothing")
    for options, reason in (
        ({"bank": tmp_path / "bank.sf2"}, "bad-bank"), ({"gain": 99}, "bad-gain"),
        ({"gain": float("nan")}, "bad-gain"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as error:
            play(piece((0, 1, 60, 90)), **options)
        assert error.value.reason == reason
    with pytest.raises(ConfigError, match="bad-rate"):
        musicbert.render(piece((0, 1, 60, 90)), sample_rate=10)


def test_the_bank_is_found_without_importing_its_package(play):
    assert bank_path().name == "TimGM6mb.sf2"
    assert BANK_PACKAGE not in sys.modules


def test_the_command(play, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song.mid").write_bytes(midi_bytes(piece((0, 4, 60, 90), (4, 8, 62, 90), (8, 12, 64, 90))))
    assert command(["render", "song.mid", "--sample-rate", str(RATE), "--quiet"]) == 0
    assert capsys.readouterr().out == "song.wav\n"
    whole = read(tmp_path / "song.wav")
    words = ["--bars", "2", "--output", "part.wav", "--sample-rate", str(RATE), "--quiet"]
    assert command(["render", "song.mid", *words]) == 0
    assert 0.3 * len(whole) < len(read(tmp_path / "part.wav")) < 0.6 * len(whole)
    assert command(["render", "song.mid", "--bars", "one"]) == 2
    assert "'one' is not a range of bars from 1" in capsys.readouterr().err
