"""``encode(decode(rows)) == rows``, rows against a walk over positions, and the index of notes."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.encoding import Policies, decode, encode, encode_notes
from musicbert.encoding.policies import WHOLE
from musicbert.encoding.quantise import (
    BAR_LENGTHS,
    MAX_POSITIONS,
    METRES,
    duration_code,
    positions,
    tempo_code,
)
from musicbert.midi import Score, midi_bytes, read_score


@st.composite
def canonical_rows(draw):
    """One time signature a bar, one tempo a position, pitches that belong to their program."""
    rows = []
    bar = 0
    for _ in range(draw(st.integers(1, 6))):
        metre = draw(st.integers(0, len(METRES) - 1))
        for position in draw(st.sets(st.integers(0, int(BAR_LENGTHS[metre]) - 1), min_size=1, max_size=4)):
            tempo = draw(st.integers(0, 48))
            for _ in range(draw(st.integers(1, 3))):
                program, pitch = draw(st.integers(0, 128)), draw(st.integers(0, 127))
                shifted = pitch + 128 * (program == 128)
                duration, velocity = draw(st.integers(0, 127)), draw(st.integers(0, 31))
                rows.append([bar, position, program, shifted, duration, velocity, metre, tempo])
        bar += draw(st.integers(1, 5))
    return np.array(sorted(rows), np.int64)


@settings(max_examples=200, deadline=None)
@given(rows=canonical_rows())
def test_decode_then_encode(rows):
    score = decode(rows)
    np.testing.assert_array_equal(encode(score), rows)
    shuffled = np.random.default_rng(0).permutation(rows)
    np.testing.assert_array_equal(encode(decode(shuffled)), rows)


@settings(max_examples=100, deadline=None)
@given(rows=canonical_rows())
def test_through_a_file(rows):
    score = decode(rows)
    for reader in ("symusic", "miditoolkit"):
        np.testing.assert_array_equal(encode(midi_bytes(score), reader=reader), rows)


SILENT = {
    "metre_tick": np.array([0, 1920, 3360]),
    "metre_numerator": np.array([4, 3, 4]),
    "metre_denominator": np.array([4, 4, 4]),
}


def test_silent_bars_keep_their_metre():
    """One bar of 4/4, a silent one of 3/4, then 4/4 again."""
    rows = np.array([[bar, 0, 0, 60, 8, 16, METRES.index((4, 4)), 20] for bar in (0, 2, 3)])
    score = replace(
        decode(rows), onset=np.array([0, 3360, 5280]), offset=np.array([240, 3600, 5520]), **SILENT
    )
    encoded = encode(score)
    np.testing.assert_array_equal(encoded, rows)
    assert decode(encoded).onset.tolist() == [0, 3360, 5280]
    assert decode(encoded).metre_tick.tolist() == [0, 1920, 3360]
    changed = encoded.copy()
    guessed = [0, 3840, 5760]
    assert decode(changed).onset.tolist() == decode(rows).onset.tolist() == guessed
    encoded[1:, 0] += 1  # these are other bars now
    assert decode(encoded).onset.tolist() == [0, 5760, 7680]


@st.composite
def any_score(draw):
    n = draw(st.integers(1, 30))

    def column(low, high):
        return np.array(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)), np.int64)

    onset = column(0, 200_000)
    changes = draw(
        st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 20), st.integers(0, 6)), max_size=4)
    )
    metres = np.array(sorted(changes), np.int64).reshape(-1, 3)
    tempi = sorted(draw(st.lists(st.tuples(st.integers(0, 200_000), st.floats(1, 1000)), max_size=4)))
    return Score(
        draw(st.sampled_from([1, 10, 96, 480, 1024])),
        onset,
        onset + column(0, 5000),
        column(0, 127),
        column(1, 127),
        column(0, 127),
        column(0, 1).astype(bool),
        np.zeros(n, np.int64),
        tempo_tick=np.array([tick for tick, _ in tempi], np.int64),
        tempo_bpm=np.array([bpm for _, bpm in tempi], np.float64),
        metre_tick=metres[:, 0],
        metre_numerator=metres[:, 1],
        metre_denominator=2 ** metres[:, 2],
    )


def slow_rows(score):
    """Position by position and note by note, straight from the description."""
    at = [int(p) for p in positions(score.onset, score.ticks_per_beat)]
    limit = min(max(at) + 1, 65536)
    from musicbert.encoding.quantise import metre_code, reduce_metre

    metre, tempo = [9] * limit, [35] * limit
    changes = (
        (score.metre_tick, metre, [metre_code(*reduce_metre(int(n), int(d))) for n, d in
         zip(score.metre_numerator, score.metre_denominator, strict=True)]),
        (score.tempo_tick, tempo, tempo_code(score.tempo_bpm).tolist()),
    )  # fmt: skip
    for ticks, column, codes in changes:
        starts = [int(p) for p in positions(ticks, score.ticks_per_beat)]
        for start, stop, code in zip(starts, [*starts[1:], limit][: len(starts)], codes, strict=True):
            for position in range(start, min(stop, limit)):
                column[position] = code
    bars, bar, count = [], 0, 0
    for position in range(limit):
        if count == 0:
            length = int(BAR_LENGTHS[metre[position]])
        bars.append((bar, count))
        count += 1
        if count == length:
            bar, count = bar + 1, 0
    ends = positions(score.offset, score.ticks_per_beat)
    rows = []
    for i, p in enumerate(at):
        if p < limit:
            drum = bool(score.drum[i])
            duration = int(duration_code(int(ends[i]) - p))
            program, pitch = (128, score.pitch[i] + 128) if drum else (score.program[i], score.pitch[i])
            rows.append((*bars[p], program, pitch, duration, score.velocity[i] // 4, metre[p], tempo[p], i))
    return np.array(sorted(rows), np.int64).reshape(-1, 9)


@settings(max_examples=80, deadline=None)
@given(score=any_score())
def test_equal_to_a_walk_over_positions(score):
    expected = slow_rows(score)
    if len(expected) == 0:
        return
    rows, index = encode_notes(score)
    np.testing.assert_array_equal(rows, expected[:, :8])
    np.testing.assert_array_equal(index, expected[:, 8])


@settings(max_examples=150, deadline=None)
@given(score=any_score())
def test_rows_of_any_score_survive_decoding(score):
    """Also where silent bars were short, and where a signature changed inside a bar before its only note."""
    if positions(score.onset, score.ticks_per_beat).min() >= MAX_POSITIONS:
        return  # everything lies beyond the grid
    rows = encode(score)
    mixed = [bar for bar in set(rows[:, 0]) if len(set(rows[rows[:, 0] == bar, 6])) > 1]
    if not mixed:
        np.testing.assert_array_equal(encode(decode(rows)), rows)


def test_decoding_keeps_bar_lines_of_known_hard_cases():
    def score(onset, *metres):
        zeros = np.zeros(len(onset), np.int64)
        tick, numerator, denominator = np.array(metres, np.int64).T
        return Score(
            16, np.array(onset), np.array(onset) + 1, zeros + 60, zeros + 64, zeros, zeros > 0, zeros,
            metre_tick=tick, metre_numerator=numerator, metre_denominator=denominator,
        )  # fmt: skip

    only_note_after_a_change = score([40, 70], (0, 4, 4), (32, 1, 4))
    short_silent_bars = score([0, 60_000], (0, 4, 4), (64, 1, 64))
    for case in (only_note_after_a_change, short_silent_bars):
        rows = encode(case)
        np.testing.assert_array_equal(encode(decode(rows)), rows)


@settings(max_examples=60, deadline=None)
@given(score=any_score(), later=st.integers(0, 2**30))
def test_whole_pieces_have_the_same_rows_and_those_of_later_notes(score, later):
    whole, index = encode_notes(score, policies=WHOLE)
    assert sorted(index.tolist()) == list(range(len(score)))
    inside = positions(score.onset[index], score.ticks_per_beat) < MAX_POSITIONS
    if inside.any():
        rows, kept = encode_notes(score)
        np.testing.assert_array_equal(rows, whole[inside])
        np.testing.assert_array_equal(kept, index[inside])
    # a far note takes no more memory, and bars go on as before
    far = replace(score, onset=np.append(score.onset[:-1], later), offset=np.append(score.offset[:-1], later))
    rows, index = encode_notes(far, policies=WHOLE)
    assert len(rows) == len(score)
    if not len(score.metre_tick):
        last = int(positions(far.onset, score.ticks_per_beat).max())
        assert (rows[-1, 0], rows[-1, 1]) == divmod(last, 64)


def test_silent_bars_before_the_first_note_have_its_signature():
    rows = np.array([[1, 0, 0, 60, 16, 20, METRES.index((3, 4)), 35]])
    assert decode(rows).onset.tolist() == [3 * 480]


def test_a_long_signature_is_split_in_bounded_memory():
    zeros = np.zeros(1, np.int64)
    score = Score(
        480, zeros, zeros + 480, zeros + 60, zeros + 64, zeros, zeros.astype(bool), zeros,
        metre_tick=zeros, metre_numerator=zeros + 2**31 - 1, metre_denominator=zeros + 4,
    )  # fmt: skip
    assert len(encode(score, policies=Policies(long_metre="split"))) == 1


def test_more_notes_than_fit_the_packed_key(monkeypatch):
    from musicbert.encoding import octuple

    rng = np.random.default_rng(0)
    onset = rng.integers(0, 20_000, 3000)
    columns = [rng.integers(1, 100, 3000) for _ in range(3)]
    score = Score(480, onset, onset + 100, *columns, np.zeros(3000, bool), np.zeros(3000, np.int64))
    expected = encode_notes(score)
    monkeypatch.setattr(octuple, "_INDEX_BITS", 4)
    for made, wanted in zip(encode_notes(score), expected, strict=True):
        np.testing.assert_array_equal(made, wanted)


def test_note_index_of_a_real_layout(fixtures):
    score = read_score(fixtures / "musicbert" / "s02_percussion_multi_program.mid")
    rows, index = encode_notes(score)
    assert sorted(index.tolist()) == list(range(len(score)))
    np.testing.assert_array_equal(rows[:, 3] % 128, score.pitch[index])
    np.testing.assert_array_equal(rows[:, 5], score.velocity[index] // 4)
    np.testing.assert_array_equal(rows[:, 2] == 128, score.drum[index])
