"""One file to one line: layout, seeded offsets, windows, the neutral clock, performance inputs."""

import re

import numpy as np
import pytest

from musicbert.corpus.ratings.piece import EncodeOptions, encode_piece, neutral_clock
from musicbert.encoding import (
    PERFORMANCE_INPUTS,
    encode,
    encode_notes,
    line_to_rows,
    performance_inputs,
    rows_to_line,
)
from musicbert.midi import Score, midi_bytes, read_score

ZERO = EncodeOptions(bar_offset="zero")


def make(notes=20, beat=480, bars=4, seed=0, **events):
    """Piece of random notes over some 4/4 bars, at most one note a tick, with pedal."""
    rng = np.random.default_rng(seed)
    onset = np.sort(rng.choice(bars * 4 * beat // 30, notes, replace=notes > bars * 4 * beat // 30)) * 30
    controls = np.arange(0, bars * 4 * beat, beat)
    return Score(
        ticks_per_beat=beat,
        onset=onset,
        offset=onset + rng.integers(1, 4, notes) * 120,
        pitch=rng.integers(40, 80, notes),
        velocity=rng.integers(1, 128, notes),
        program=np.zeros(notes, np.int64),
        drum=np.zeros(notes, bool),
        track=np.zeros(notes, np.int64),
        control_tick=controls,
        control_number=np.full(len(controls), 64),
        control_value=rng.integers(0, 128, len(controls)),
        control_track=np.zeros(len(controls), np.int64),
        **events,
    )


def test_whole_piece_without_offset_is_its_encoding():
    content = midi_bytes(make())
    outcome, piece = encode_piece("a", content, path="x/a.mid", options=ZERO)
    assert piece.line == rows_to_line(encode(content))
    assert re.fullmatch(r"(<s> ){8}(<[0-7]-\d+> ){160}</s>( </s>){6}", piece.line)
    assert (outcome.outcome, outcome.path, outcome.notes, outcome.notes_written) == ("ok", "x/a.mid", 20, 20)
    assert piece.notes == 20
    assert piece.performance is None
    assert len(outcome.sha256) == 64


def test_outcome_has_the_length_in_seconds():
    score = make(tempo_tick=np.array([0]), tempo_bpm=np.array([60.0]))
    outcome, _ = encode_piece("a", midi_bytes(score))
    assert outcome.seconds == pytest.approx((score.offset.max() - score.onset.min()) / 480, abs=1e-3)


def test_offset_depends_on_the_name_and_the_seed_only():
    content = midi_bytes(make())

    def offset(name, seed):
        return line_to_rows(encode_piece(name, content, options=EncodeOptions(seed=seed))[1].line)[:, 0].min()

    assert offset("a", 7) == offset("a", 7)
    assert len({offset("a", seed) for seed in range(20)}) > 10
    assert len({offset(name, 7) for name in "abcdefghijklmnopqrst"}) > 10


def test_offsets_reach_both_ends_and_never_pass_them():
    content = midi_bytes(make(bars=250, notes=900))
    last = encode(content)[:, 0].max()
    rows = [line_to_rows(encode_piece(str(k), content)[1].line) for k in range(200)]
    offsets = {int(each[:, 0].max() - last) for each in rows}
    assert offsets == set(range(256 - last))


def test_only_the_bars_change():
    content = midi_bytes(make())
    rows, moved = encode(content), line_to_rows(encode_piece("a", content)[1].line)
    assert len(set((moved[:, 0] - rows[:, 0]).tolist())) == 1
    assert np.array_equal(rows[:, 1:], moved[:, 1:])


def test_long_piece_is_one_window_of_a_thousand_notes():
    score = read_score(midi_bytes(make(notes=1500, bars=200)))  # overlapping notes are paired anew
    rows, index = encode_notes(score)
    inputs = performance_inputs(score, index)
    starts = set()
    for name in "abcdefgh":
        options = EncodeOptions(bar_offset="zero", performance=True)
        outcome, piece = encode_piece(name, midi_bytes(score), options=options)
        assert (outcome.notes, outcome.notes_written) == (1500, 1000)
        window = line_to_rows(piece.line)
        (start,) = [k for k in range(501) if np.array_equal(rows[k : k + 1000], window)]
        np.testing.assert_allclose(piece.performance, inputs[start : start + 1000], atol=1e-5)
        starts.add(start)
    assert len(starts) > 4


def test_piece_beyond_the_last_bar_begins_at_bar_zero_and_is_cut():
    score = make(notes=600, bars=400)
    outcome, piece = encode_piece("a", midi_bytes(score), options=EncodeOptions(performance=True))
    rows, moved = encode(midi_bytes(score)), line_to_rows(piece.line)
    kept = rows[:, 0] - rows[0, 0] < 256
    assert 0 < outcome.notes_written == kept.sum() < 600
    assert np.array_equal(moved[:, 1:], rows[kept, 1:])
    assert moved[0, 0] == 0
    assert piece.performance.shape == (kept.sum(), len(PERFORMANCE_INPUTS))


def test_performance_inputs_follow_the_notes():
    score = make()
    _, piece = encode_piece("a", midi_bytes(score), options=EncodeOptions(performance=True))
    pitch, velocity = (PERFORMANCE_INPUTS.index(name) for name in ("pitch", "velocity"))
    rows = line_to_rows(piece.line)
    assert piece.performance.dtype == np.float32
    np.testing.assert_allclose(piece.performance[:, pitch] * 20 + 64, rows[:, 3], atol=1e-3)
    np.testing.assert_array_equal(np.rint(piece.performance[:, velocity] * 32 + 64) // 4, rows[:, 5])


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty-file"), (b"not midi", "unreadable"), (b"MThd\0\0\0\6\0\0\0\1\1\xe0", None)],
)
def test_unreadable_file_is_an_outcome(content, reason):
    outcome, piece = encode_piece("a", content, path="a.mid")
    assert piece is None
    assert not outcome.ok
    assert outcome.outcome == (reason or outcome.outcome)
    assert outcome.detail


def test_midi_without_notes_is_an_outcome():
    header = b"MThd\0\0\0\6\0\0\0\1\1\xe0"
    outcome, piece = encode_piece("a", header + b"MTrk\0\0\0\4\0\xff\x2f\0")
    assert (outcome.outcome, piece) == ("no-notes", None)


def test_neutral_clock_keeps_the_seconds_and_drops_the_traces():
    score = make(
        tempo_tick=np.array([0, 960]),
        tempo_bpm=np.array([50.0, 133.0]),
        metre_tick=np.array([0]),
        metre_numerator=np.array([3]),
        metre_denominator=np.array([4]),
    )
    neutral = neutral_clock(score)
    shift = score.seconds(score.onset).min()
    for column in ("onset", "offset"):
        before, after = score.seconds(getattr(score, column)), neutral.seconds(getattr(neutral, column))
        np.testing.assert_allclose(after, before - shift, atol=6e-5)
    assert neutral.onset.min() == 0
    assert neutral.control_tick.min() == 0
    assert not len(neutral.tempo_tick)
    assert not len(neutral.metre_tick)


def test_neutral_tokens_are_the_same_for_two_files_of_the_same_sound():
    plain = make(tempo_tick=np.array([0]), tempo_bpm=np.array([120.0]))
    half = Score(
        **{
            **plain.__dict__,
            "onset": plain.onset // 2 + 960,
            "offset": plain.offset // 2 + 960,
            "tempo_bpm": np.array([60.0]),
        }
    )
    options = EncodeOptions(neutralise=True, bar_offset="zero", performance=True)
    (_, a), (_, b) = (encode_piece("a", midi_bytes(score), options=options) for score in (plain, half))
    assert a.line == b.line
    assert set(line_to_rows(a.line)[:, 6]) == {9}  # 4/4
    assert set(line_to_rows(a.line)[:, 7]) == {35}  # 120 BPM
    assert line_to_rows(a.line)[0, :2].tolist() == [0, 0]
    assert encode_piece("a", midi_bytes(plain), options=ZERO)[1].line != a.line
    velocity = PERFORMANCE_INPUTS.index("velocity")
    np.testing.assert_array_equal(a.performance[:, velocity], b.performance[:, velocity])
