"""Each opt-in policy, beside the published behaviour."""

import numpy as np
import pytest

from musicbert.encoding import COMPATIBLE, Policies, decode, encode, encode_notes, segments
from musicbert.encoding.quantise import BAR_LENGTHS, METRES
from musicbert.errors import MidiError
from musicbert.midi import Score

QUARTER = 480


def score_at(beats, metres=(), length=0.5, program=0):
    """Notes of velocity 64 and pitch 60 at some beats; metres are (beat, numerator, denominator)."""
    onset = np.round(np.array(beats) * QUARTER).astype(np.int64)
    table = np.array([(round(beat * QUARTER), n, d) for beat, n, d in metres], np.int64).reshape(-1, 3)
    n = len(onset)
    return Score(
        QUARTER,
        onset,
        onset + round(length * QUARTER),
        np.full(n, 60),
        np.full(n, 64),
        np.full(n, program),
        np.zeros(n, bool),
        np.zeros(n, np.int64),
        metre_tick=table[:, 0],
        metre_numerator=table[:, 1],
        metre_denominator=table[:, 2],
    )


def bars(score, **policies):
    rows = encode(score, policies=Policies(**policies))
    return rows[:, 0].tolist(), rows[:, 1].tolist(), [METRES[code] for code in rows[:, 6]]


def test_unknown_choices_are_refused():
    with pytest.raises(ValueError, match="mid_bar_metre is one of 'keep', 'split', 'error', not 'maybe'"):
        Policies(mid_bar_metre="maybe")
    assert Policies() == COMPATIBLE


CHANGE = score_at([0, 1, 2, 3, 4, 5, 6], [(0, 4, 4), (3, 3, 4)])


def test_mid_bar_metre_keep():
    number, position, metre = bars(CHANGE)
    assert number == [0, 0, 0, 0, 1, 1, 1]
    assert position == [0, 16, 32, 48, 0, 16, 32]
    assert metre == [(4, 4)] * 3 + [(3, 4)] * 4


def test_mid_bar_metre_split():
    number, position, metre = bars(CHANGE, mid_bar_metre="split")
    assert number == [0, 0, 0, 1, 1, 1, 2]
    assert position == [0, 16, 32, 0, 16, 32, 0]
    assert metre == [(3, 4)] * 7  # the cut bar has the signature of its real length
    rows = encode(CHANGE, policies=Policies(mid_bar_metre="split"))
    np.testing.assert_array_equal(encode(decode(rows)), rows)  # nothing is lost any more
    kept = encode(CHANGE)
    assert not np.array_equal(encode(decode(kept)), kept)


def test_mid_bar_metre_split_at_an_odd_place():
    score = score_at([0, 1, 2.3125, 3], [(0, 4, 4), (2.3125, 4, 4), (2.3125, 6, 8)])
    number, position, metre = bars(score, mid_bar_metre="split")
    assert number == [0, 0, 1, 1]
    assert position == [0, 16, 0, 11]
    assert metre == [(37, 64)] * 2 + [(6, 8)] * 2  # 37 positions of 1/64


def test_mid_bar_metre_error():
    with pytest.raises(MidiError, match=r"inside a bar, to 3/4.*\[unsupported-metre\]"):
        bars(CHANGE, mid_bar_metre="error")
    at_the_line = score_at([0, 4, 7], [(0, 4, 4), (4, 3, 4)])
    repeated = score_at([0, 3, 5], [(0, 4, 4), (2, 4, 4)])
    for fine in (at_the_line, repeated):
        assert bars(fine, mid_bar_metre="error") == bars(fine)


def test_unsupported_metre():
    score = score_at([0, 1], [(0, 3, 128)])
    with pytest.raises(MidiError) as caught:
        bars(score)
    assert caught.value.reason == "unsupported-metre"
    number, position, metre = bars(score, unsupported_metre="nearest")
    assert metre == [(2, 64)] * 2
    assert (number, position) == ([0, 8], [0, 0])


def test_a_metre_that_rules_no_note_is_not_looked_at():
    after_the_end = score_at([0, 1], [(0, 4, 4), (50, 3, 128)])
    replaced = score_at([0, 1], [(0, 3, 128), (0, 4, 4)])
    for score in (after_the_end, replaced):
        assert bars(score)[2] == [(4, 4)] * 2


def test_long_metre():
    score = score_at(range(24), [(0, 11, 4)])
    number, _, metre = bars(score)
    assert number == list(range(24))
    assert set(metre) == {(1, 4)}
    number, position, metre = bars(score, long_metre="split")
    assert number == [0] * 6 + [1] * 5 + [2] * 6 + [3] * 5 + [4] * 2
    assert position[6] == position[11] == 0
    assert metre == [(6, 4)] * 6 + [(5, 4)] * 5 + [(6, 4)] * 6 + [(5, 4)] * 5 + [(6, 4)] * 2
    rows = encode(score, policies=Policies(long_metre="split"))
    np.testing.assert_array_equal(encode(decode(rows)), rows)


def test_long_metre_leaves_what_divides_alone():
    score = score_at(range(24), [(0, 9, 4)])
    assert bars(score, long_metre="split") == bars(score)
    assert bars(score)[2] == [(3, 4)] * 24


@pytest.mark.parametrize("mid_bar", ["keep", "split"])
def test_long_metre_then_another(mid_bar):
    score = score_at(range(20), [(0, 11, 4), (8, 4, 4)])
    number, _position, metre = bars(score, long_metre="split", mid_bar_metre=mid_bar)
    assert number[:8] == [0] * 6 + [1] * 2
    assert number[8:] == (
        [1] * 3 + [2] * 4 + [3] * 4 + [4] if mid_bar == "keep" else [2] * 4 + [3] * 4 + [4] * 4
    )
    assert metre[8:] == [(4, 4)] * 12
    assert metre[6:8] == ([(5, 4)] * 2 if mid_bar == "keep" else [(2, 4)] * 2)


def test_zero_ticks():
    score = score_at([0, 1, 2], length=0)
    assert encode(score)[:, 4].tolist() == [0, 0, 0]
    with pytest.raises(MidiError, match="no-notes"):
        encode(score, policies=Policies(zero_ticks="drop"))
    score.offset[1] += 1
    rows, index = encode_notes(score, policies=Policies(zero_ticks="drop"))
    assert (len(rows), index.tolist()) == (1, [1])


def test_beyond_limit():
    score = score_at([0, 4095, 4096, 5000])
    rows, index = encode_notes(score)
    assert index.tolist() == [0, 1]
    assert rows[-1, 0] == 1023
    with pytest.raises(MidiError, match=r"2 notes begin after .*\[too-large\]"):
        encode(score, policies=Policies(beyond_limit="error"))
    with pytest.raises(MidiError, match="no-notes"):
        encode(score_at([5000, 6000]))


def lowest(low, high):
    return low


def test_bar_overflow():
    rows = encode(score_at(np.arange(300) * 8))  # one note every second bar
    dropped = list(segments(rows, lowest))
    assert [(piece.start, len(piece.rows)) for piece in dropped] == [(0, 128), (250, 50)]
    again = list(segments(rows, lowest, policies=Policies(bar_overflow="restart")))
    assert [(piece.start, len(piece.rows)) for piece in again] == [(0, 128), (128, 128), (256, 44), (250, 50)]
    assert all(piece.rows[:, 0].min() >= 0 and piece.rows[:, 0].max() < 256 for piece in again)
    assert {*range(300)} == {i for piece in again for i in range(piece.start, piece.start + len(piece.rows))}
    with pytest.raises(MidiError, match="too-large"):
        list(segments(rows, lowest, policies=Policies(bar_overflow="error")))


def test_bar_lengths_never_pass_two_whole_notes():
    assert BAR_LENGTHS.max() == 128
