import numpy as np
import pytest

from musicbert.encoding import encode
from musicbert.encoding.clock import in_phase
from musicbert.midi import Score


def score(onset, ticks_per_beat=480):
    count = len(onset)
    zeros = np.zeros(count, np.int64)
    return Score(
        ticks_per_beat=ticks_per_beat,
        onset=np.asarray(onset),
        offset=np.asarray(onset) + 100,
        pitch=zeros + 60,
        velocity=zeros + 64,
        program=zeros,
        drum=zeros.astype(bool),
        track=zeros,
    )


@pytest.mark.parametrize(("phase", "phases"), [(1, 4), (3, 4), (1, 6), (5, 6)])
def test_a_phase_is_a_clock_that_began_earlier(phase, phases):
    onset = np.array([0, 137, 411, 1999, 3000, 7677])
    shift = round(64 * phase / phases) * 30  # a position is 30 ticks
    expected = encode(score(onset + shift))
    np.testing.assert_array_equal(in_phase(encode(score(onset)), phase, phases), expected)


def test_rows_stay_where_there_is_nothing_to_move():
    rows = encode(score([0, 480]))
    assert in_phase(rows, 0, 6) is rows
    several = np.concatenate([rows, rows + np.array([5, 0, 0, 0, 0, 0, 1, 0])])
    np.testing.assert_array_equal(in_phase(several, 1, 2), several)  # bars of two lengths
    last = rows + np.array([255, 40, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(in_phase(last, 1, 2), last)
    assert in_phase(last, 1, 2, last_bar=None)[:, 0].tolist() == [256, 256]
