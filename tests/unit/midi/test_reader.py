"""Sources, limits and errors of `read_score`."""

import contextlib
import gc
import io
import os
import struct
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from musicbert.errors import MidiError
from musicbert.midi import ReadLimits, read_score
from musicbert.midi.limits import UNTIMED_BYTES

END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x3c\x40\x10\x80\x3c\x00"


def chunk(body):
    return b"MTrk" + struct.pack(">I", len(body)) + body


def midi(*bodies, form=1, division=480, tracks=None):
    header = struct.pack(">IHHH", 6, form, len(bodies) if tracks is None else tracks, division)
    return b"MThd" + header + b"".join(chunk(body) for body in bodies)


def reason(source, **options):
    with pytest.raises(MidiError) as caught:
        read_score(source, **options)
    return caught.value.reason


def metre(numerator, power):
    return bytes([0, 0xFF, 0x58, 4, numerator, power, 24, 8])


def tempo(microseconds):
    return b"\x00\xff\x51\x03" + microseconds.to_bytes(3, "big")


GOOD = midi(NOTE + END)


def test_sources(tmp_path):
    path = tmp_path / "one.mid"
    path.write_bytes(GOOD)
    sources = [path, str(path), GOOD, bytearray(GOOD), memoryview(GOOD), io.BytesIO(GOOD)]
    for source in sources:
        score = read_score(source)
        assert (len(score), score.pitch[0], score.offset[0]) == (1, 60, 16)
    assert read_score(score) is score
    with pytest.raises(TypeError, match="not int"):
        read_score(3)
    with pytest.raises(TypeError, match="binary"):
        read_score(io.StringIO("text"))
    with pytest.raises(ValueError, match="reader"):
        read_score(GOOD, reader="mido")


def test_errors_of_files(tmp_path):
    missing = tmp_path / "missing.mid"
    with pytest.raises(MidiError) as caught:
        read_score(missing)
    assert caught.value.reason == "not-found"
    assert caught.value.path == str(missing)
    assert reason(tmp_path) == "unreadable"
    assert reason("with\0null.mid") == "unreadable"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert reason(pipe) == "unreadable"  # and does not wait for a writer
    large = tmp_path / "large.mid"
    large.write_bytes(GOOD)
    assert reason(large, limits=ReadLimits(max_bytes=10)) == "too-large"


def test_names_of_archive_members_are_in_the_error():
    with pytest.raises(MidiError, match=r"archive/one\.mid: .*\[no-notes\]"):
        read_score(midi(END), name="archive/one.mid")


@pytest.mark.parametrize("reader", ["symusic", "miditoolkit"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty-file"),
        (b"MThd", "unreadable"),
        (b"\x1f\x8b" + bytes(50), "unreadable"),
        (GOOD[:-3], "unreadable"),
        (GOOD[:20], "unreadable"),
        (midi(NOTE + END, form=5), "unreadable"),
        (midi(NOTE + END, tracks=3), "unreadable"),
        (midi(NOTE + END, division=0), "bad-division"),
        (midi(NOTE + END, division=0xE728), "bad-division"),
        (midi(END), "no-notes"),
        (midi(b"\x00\x90\x3c\x40" + END), "no-notes"),
        (midi(b"\x00\x90\xbc\x40\x10\x80\xbc\x00" + END), "unreadable"),
        (midi(metre(4, 40) + NOTE + END), "bad-value"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage(data, expected, reader):
    assert reason(data, reader=reader) == expected


def test_metres_and_tempi_of_no_length():
    assert reason(midi(metre(0, 2) + NOTE + END)) == "bad-value"
    assert reason(midi(tempo(0) + NOTE + END)) == "bad-value"


def test_wide_denominators_are_exact():
    """Symusic keeps eight bits of a denominator; 2^8 and 2^34 must not come out as 0 and 4."""
    body = metre(4, 8) + metre(3, 2) + b"\x00\xff\x01\x05" + metre(9, 20)[1:6] + metre(7, 12) + NOTE + END
    for reader in ("symusic", "miditoolkit"):
        score = read_score(midi(body), reader=reader)
        assert score.metre_numerator.tolist() == [4, 3, 7]
        assert score.metre_denominator.tolist() == [256, 4, 4096]
        assert reason(midi(metre(4, 34) + NOTE + END), reader=reader) == "bad-value"
    assert set(read_score(midi(metre(4, 8) * 256 + NOTE + END)).metre_denominator) == {256}


def test_a_long_header_is_cut():
    long = b"MThd" + struct.pack(">IHHH", 10, 1, 1, 480) + b"\0\0\0\0" + chunk(NOTE + END)
    assert len(read_score(long)) == 1


def test_ticks_that_run_over_32_bits():
    pause = b"\xff\xff\xff\x7f"
    body = (pause + NOTE[1:]) * 20
    assert reason(midi(body + END)) == "bad-value"
    assert reason(midi(pause + NOTE[1:] + END), limits=ReadLimits(max_ticks=1000)) == "bad-value"


def test_limit_on_notes():
    assert reason(midi(NOTE * 3 + END), limits=ReadLimits(max_notes=2)) == "too-many-notes"


def test_pairing_and_controllers():
    body = (
        b"\x00\xb0\x40\x7f"  # pedal down
        # the same pitch twice: first in, first out
        b"\x00\x90\x3c\x40\x00\x90\x3c\x50\x0a\x80\x3c\x00\x0a\x80\x3c\x00"
        b"\x00\x90\x40\x40\x00\x80\x40\x00"  # zero ticks
        b"\x05\xb0\x40\x00" + END
    )
    for reader in ("symusic", "miditoolkit"):
        score = read_score(midi(body), reader=reader)
        notes = sorted(zip(score.pitch, score.velocity, score.onset, score.offset, strict=True))
        assert notes == [(60, 64, 0, 10), (60, 80, 0, 20), (64, 64, 20, 20)]
        assert score.control_tick.tolist() == [0, 25]
        assert score.control_value.tolist() == [127, 0]
        assert score.control_number.tolist() == [64, 64]
        assert score.control_track.tolist() == [0, 0]


def hostile(n):
    """Quadratic for a reader that copies the list of open notes at every note-off."""
    return midi(b"\x00\x90\x3c\x40" + b"\x01\x3c\x40" * n + b"\x01\x3c\x00" * n + END)


def test_a_slow_file_is_interrupted():
    gc.disable()  # an alarm inside a collector's callback is dropped with a warning, and rings again
    try:
        assert reason(hostile(60_000), reader="miditoolkit", limits=ReadLimits(timeout=0.3)) == "timeout"
    finally:
        gc.enable()
    assert len(read_score(hostile(60_000))) == 60_000  # no matter for the default reader


def test_an_alarm_that_is_dropped_rings_again(monkeypatch):
    from musicbert.midi import limits

    monkeypatch.setattr(limits, "RING_AGAIN_S", 0.05)

    def deaf():
        with limits.deadline(0.05, 10, None):
            with contextlib.suppress(limits.TimeUpError):  # as the garbage collector does
                time.sleep(20)
            time.sleep(20)

    with pytest.raises(MidiError, match=r"\[timeout\]"):
        deaf()


def test_outside_the_main_thread_large_files_are_refused():
    data, found = hostile(UNTIMED_BYTES // 6), []

    def work():
        found.append(reason(data, reader="miditoolkit"))
        found.append(len(read_score(GOOD, reader="miditoolkit")))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["too-large", 1]


def test_another_alarm_is_kept():
    import signal

    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    others = signal.setitimer(signal.ITIMER_REAL, 30)
    try:
        read_score(GOOD, reader="miditoolkit", limits=ReadLimits(timeout=1))
        assert 25 < signal.getitimer(signal.ITIMER_REAL)[0] <= 30
        assert signal.getsignal(signal.SIGALRM) is not before
    finally:
        signal.setitimer(signal.ITIMER_REAL, *others)
        signal.signal(signal.SIGALRM, before)
    assert not rung


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("pitch", 128, "bad-value"),
        ("velocity", -1, "bad-value"),
        ("program", 200, "bad-value"),
        ("onset", -5, "bad-value"),
        ("offset", 0, None),
    ],
)
def test_columns_are_checked(column, value, expected):
    score = read_score(GOOD)
    changed = replace(score, **{column: np.array([value])})
    if expected:
        assert reason(changed) == expected
    else:
        assert read_score(changed) is changed


def test_objects_that_are_damaged():
    import miditoolkit

    piece = miditoolkit.MidiFile(file=io.BytesIO(GOOD))
    piece.instruments[0].notes[0].end = -3
    assert reason(piece) == "bad-value"
    piece.instruments[0].notes[0].end = "late"
    assert reason(piece) == "bad-value"
    score = read_score(GOOD)
    assert reason(replace(score, pitch=np.zeros(2, np.int64))) == "bad-value"
    assert reason(replace(score, ticks_per_beat=0)) == "bad-division"
    tempi = {"tempo_tick": np.array([0]), "tempo_bpm": np.array([np.inf])}
    assert reason(replace(score, **tempi)) == "bad-value"


@pytest.mark.parametrize("reader", ["symusic", "miditoolkit"])
def test_of_two_events_on_one_tick_the_later_one_holds(reader):
    """The native parser sorts by an unstable sort: of many events, two on one tick changed places.

    miditoolkit forgets the tempi of a track when a later one has a tempo at its beginning.
    """
    one = b"\x87\x40" + tempo(1_000_000)[1:] + tempo(333_333) + metre(3, 2) + metre(4, 2)  # 960 ticks later
    pairs = one * 60
    other = tempo(500_000) + metre(4, 2)
    data = midi(pairs + END, other + END, NOTE + END)
    score = read_score(data, reader=reader)
    ticks = np.arange(1, 61) * 960
    assert [score.tempo_bpm[score.tempo_tick == tick].round().tolist() for tick in ticks] == [[60, 180]] * 60
    assert [score.metre_numerator[score.metre_tick == tick].tolist() for tick in ticks] == [[3, 4]] * 60


def test_a_small_file_of_very_many_instruments_is_refused_before_it_is_parsed():
    """2.6 MiB of program changes took 2.1 GiB."""
    changes = b"".join(
        bytes([0, 0xC0 | channel, program, 0, 0x90 | channel, 60, 64, 1, 0x80 | channel, 60, 0])
        for channel in range(16)
        for program in range(128)
    )
    data = midi(*[changes + END] * 20)
    assert reason(data) == "too-large"
    assert len(read_score(midi(changes + END))) == 2048
    assert len(read_score(data, limits=ReadLimits(max_instruments=50_000))) == 40_960
