"""Random and mutated bytes: a score or a `MidiError`, never anything else."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.encoding import decode, encode, encode_notes, performance_inputs, rows_to_line, segments
from musicbert.errors import MidiError
from musicbert.midi import midi_bytes, read_score

FILES = sorted((Path(__file__).resolve().parents[1] / "fixtures" / "musicbert").glob("s*.mid"))
SEEDS = [path.read_bytes() for path in FILES if 0 < path.stat().st_size < 1000]
HEADER = b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0"


def survive(data, reader):
    """Read, and use what was read everywhere."""
    try:
        score = read_score(data, reader=reader)
    except MidiError:
        return
    use(score)


def use(score):
    """Use a score everywhere; only these errors may be found."""
    assert len(score) > 0
    reason = None
    try:
        rows, index = encode_notes(score)
        assert performance_inputs(score, index).shape[0] == len(rows)
        for segment in segments(rows, lambda low, high: low):
            rows_to_line(segment.rows)
        midi_bytes(decode(rows))
        midi_bytes(score)
    except MidiError as error:
        reason = error.reason
    assert reason in (None, "unsupported-metre", "bad-value", "no-notes")


@pytest.mark.parametrize("reader", ["symusic", "miditoolkit"])
@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=400))
def test_random_bytes(reader, data):
    survive(data, reader)


@pytest.mark.parametrize("reader", ["symusic", "miditoolkit"])
@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200))
def test_random_events(reader, body):
    body += b"\x00\xff\x2f\x00"
    survive(HEADER + b"MTrk" + len(body).to_bytes(4, "big") + body, reader)


@st.composite
def mutated(draw):
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.integers(0, 4))
        if kind == 0 and data:
            data[place] = draw(st.integers(0, 255))
        elif kind == 1:
            data[place:place] = draw(st.binary(min_size=1, max_size=6))
        elif kind == 2:
            del data[place : place + draw(st.integers(1, 10))]
        elif kind == 3:
            del data[place:]
        elif data:
            data[place] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


@pytest.mark.parametrize("reader", ["symusic", "miditoolkit"])
@settings(max_examples=500, deadline=None)
@given(data=mutated())
def test_mutated_files(reader, data):
    survive(data, reader)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.lists(st.integers(-1, 300), min_size=7, max_size=9), max_size=5))
def test_any_rows(rows):
    reason = None
    try:
        assert len(encode(decode(rows))) == len(rows)
    except MidiError as error:
        reason = error.reason
    assert reason in (None, "bad-value", "no-notes")
