"""Performance inputs: known values, bounds, alignment, and what they do not see."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.encoding import (
    KNOWN_INPUTS,
    PERFORMANCE_INPUTS,
    encode_notes,
    performance_inputs,
    score_inputs,
)
from musicbert.midi import Score

COLUMN = {name: index for index, name in enumerate(PERFORMANCE_INPUTS)}
TICKS = 1000  # with 60 BPM a tick is a millisecond


def piece(notes, pedals=(), *, tracks=None):
    """Notes (start ms, end ms, pitch, velocity) and pedals (ms, controller, value, track)."""
    table = np.array(notes, np.int64).reshape(-1, 4).T
    events = np.array(sorted(pedals, key=lambda event: event[0]), np.int64).reshape(-1, 4).T
    n = table.shape[1]
    return Score(
        TICKS,
        *table,
        program=np.zeros(n, np.int64),
        drum=np.zeros(n, bool),
        track=np.zeros(n, np.int64) if tracks is None else np.array(tracks),
        tempo_tick=np.array([0]),
        tempo_bpm=np.array([60.0]),
        control_tick=events[0],
        control_number=events[1],
        control_value=events[2],
        control_track=events[3],
    )


def inputs(score):
    return performance_inputs(score, np.arange(len(score)))


def column(score, name):
    return inputs(score)[:, COLUMN[name]]


CHORDS = piece([(0, 400, 60, 64), (20, 400, 64, 96), (500, 650, 60, 32), (1000, 1000, 62, 127)])


def test_time_between_chords():
    ln = np.log
    np.testing.assert_allclose(
        column(CHORDS, "ioi_previous"), [0, 0, ln(0.5 / 0.15), ln(0.5 / 0.15)], rtol=1e-6
    )
    np.testing.assert_allclose(column(CHORDS, "ioi_next"), [ln(0.5 / 0.15)] * 3 + [0], rtol=1e-6)
    np.testing.assert_allclose(column(CHORDS, "asynchrony"), [0, 0.4, 0, 0], atol=1e-6)
    np.testing.assert_allclose(column(CHORDS, "time"), [0, 0.02, 0.5, 1], rtol=1e-6)


def test_lengths():
    ln = np.log
    expected = [ln(0.4 / 0.3), ln(0.38 / 0.3), ln(0.15 / 0.3), -3]
    np.testing.assert_allclose(column(CHORDS, "duration"), expected, rtol=1e-6)
    np.testing.assert_allclose(
        column(CHORDS, "legato"), [0.4 / 0.5 - 1, 0.38 / 0.5 - 1, 0.3 - 1, 0], rtol=1e-6
    )


def test_velocity_and_pitch():
    np.testing.assert_allclose(column(CHORDS, "velocity"), [0, 1, -1, 63 / 32], rtol=1e-6)
    np.testing.assert_allclose(column(CHORDS, "pitch"), [-0.2, 0, -0.2, -0.1], rtol=1e-5)


PEDALLED = piece(
    [(0, 100, 60, 64), (200, 300, 60, 64), (250, 350, 64, 64), (900, 1000, 67, 64)],
    [(0, 64, 0, 0), (50, 64, 127, 0), (700, 64, 32, 0), (900, 64, 64, 0), (10, 67, 64, 0), (210, 66, 127, 0)],
)


def test_sustain():
    value = {0: -1, 32: -0.5, 64: 0, 127: 127 / 64 - 1}
    np.testing.assert_allclose(
        column(PEDALLED, "sustain_onset"), [value[v] for v in (0, 127, 127, 64)], atol=1e-6
    )
    np.testing.assert_allclose(column(PEDALLED, "sustain_after"), [value[v] for v in (127, 127, 127, 64)])
    np.testing.assert_allclose(column(PEDALLED, "sustain_release"), [value[v] for v in (127, 127, 127, 64)])
    mean = [127 / 2 / 64 - 1, value[127], value[127], 0]
    np.testing.assert_allclose(column(PEDALLED, "sustain_mean"), mean, atol=1e-6)


def test_sounding():
    # the next stroke of the pitch, the damper at 700 ms (32 is up), the same, the end of the piece
    seconds = np.array([0.2, 0.5, 0.45, 0.1])
    np.testing.assert_allclose(column(PEDALLED, "sounding"), np.log(seconds / 0.6), rtol=1e-6)


def test_other_pedals():
    np.testing.assert_allclose(column(PEDALLED, "soft_onset"), [-1, 0, 0, 0])
    np.testing.assert_allclose(column(PEDALLED, "sostenuto_onset"), [-1, -1, 127 / 64 - 1, 127 / 64 - 1])


def test_pedals_of_tracks_are_merged_by_the_highest():
    events = [(0, 64, 100, 0), (0, 64, 20, 1), (300, 64, 0, 0), (600, 64, 90, 1)]
    score = piece([(t, t + 50, 60, 64) for t in (100, 400, 700)], events, tracks=[0, 1, 0])
    np.testing.assert_allclose(column(score, "sustain_onset"), np.array([100, 20, 90]) / 64 - 1)


def test_of_two_events_at_one_tick_the_last_counts():
    score = piece([(100, 200, 60, 64)], [(100, 64, 127, 0), (100, 64, 10, 0)])
    assert column(score, "sustain_onset")[0] == pytest.approx(10 / 64 - 1)


@st.composite
def pieces(draw):
    notes = draw(
        st.lists(
            st.tuples(st.integers(0, 20_000), st.integers(0, 5000), st.integers(0, 127), st.integers(1, 127)),
            min_size=1,
            max_size=25,
        )
    )
    pedals = draw(
        st.lists(
            st.tuples(
                st.integers(0, 20_000),
                st.sampled_from([64, 66, 67, 1]),
                st.integers(0, 127),
                st.integers(0, 2),
            ),
            max_size=25,
        )
    )
    return piece([(start, start + length, pitch, v) for start, length, pitch, v in notes], pedals)


@settings(max_examples=150, deadline=None)
@given(score=pieces())
def test_bounded_and_finite(score):
    values = inputs(score)
    assert values.shape == (len(score), len(PERFORMANCE_INPUTS))
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert np.abs(values).max() <= 3


@settings(max_examples=100, deadline=None)
@given(score=pieces())
def test_rows_and_inputs_are_of_the_same_notes(score):
    rows, index = encode_notes(score)
    values = performance_inputs(score, index)
    assert len(values) == len(rows)
    np.testing.assert_array_equal(
        np.rint(values[:, COLUMN["velocity"]] * 32 + 64).astype(int) // 4, rows[:, 5]
    )
    np.testing.assert_allclose(values[:, COLUMN["pitch"]], np.clip((rows[:, 3] - 64) / 20, -3, 3), atol=1e-6)
    onset = score.onset[index]
    assert (np.diff(values[np.argsort(onset, kind="stable"), COLUMN["time"]]) >= 0).all()


@settings(max_examples=100, deadline=None)
@given(score=pieces(), factor=st.sampled_from([2, 3, 7]))
def test_ticks_and_tempo_labels_do_not_matter(score, factor):
    """The same seconds, in other ticks, another tempo, another metre and other programs."""
    expected = inputs(score)
    ticks = ("onset", "offset", "control_tick")
    finer = replace(
        score,
        ticks_per_beat=TICKS * factor,
        program=np.full(len(score), 40),
        metre_tick=np.array([0]),
        metre_numerator=np.array([3]),
        metre_denominator=np.array([8]),
        **{name: getattr(score, name) * factor for name in ticks},
    )
    np.testing.assert_allclose(inputs(finer), expected, atol=2e-5)
    relabelled = replace(score, ticks_per_beat=TICKS // 2, tempo_bpm=np.array([120.0]))
    np.testing.assert_allclose(inputs(relabelled), expected, atol=2e-5)
    split = replace(score, tempo_tick=np.array([0, 777]), tempo_bpm=np.array([60.0, 60.0]))
    np.testing.assert_allclose(inputs(split), expected, atol=2e-5)


def test_no_notes_wanted():
    assert performance_inputs(CHORDS, np.zeros(0, np.int64)).shape == (0, len(PERFORMANCE_INPUTS))


def test_inputs_of_the_score():
    beats, score = np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.0, 2.0])
    onset = np.array([0.5, 1.0, 1.25, 2.0, 3.0, 4.0, 4.5])
    found = score_inputs(onset, beats, score)
    assert found.dtype == np.float32
    ln2 = np.log(2.0)
    expected = [[0, 0, 0], [-1, ln2, 1], [-0.5, ln2, 1], [-1, ln2, 1], [0, ln2, 1], [1, ln2, 1], [0, 0, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert [*KNOWN_INPUTS] == [15, 18]
