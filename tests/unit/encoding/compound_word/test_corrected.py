"""The mended encoding: against a walk over bars in exact fractions, and there and back."""

import bisect
import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.encoding.beat_notes import BeatNotes, beat_notes_to_score
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.compound_word import (
    CLEAN,
    FIELD_SIZES,
    M2BERT,
    Profile,
    accepted_for_pretraining,
    bar_numbers,
    decode,
    encode_compound_words,
)
from musicbert.encoding.compound_word.rows import sorted_order
from musicbert.errors import MidiError
from musicbert.midi import Score

CODEC = get_codec("cp")
COMMON = dataclasses.replace(CLEAN, metre="common")
LAST_BEAT = 60


def made(onset, offset, pitch, *, ticks_per_beat=480, metres=(), drum=None):
    n = len(onset)
    zeros = np.zeros(n, np.int64)
    metre = np.array(metres, np.int64).reshape(-1, 3)
    return Score(
        ticks_per_beat,
        np.asarray(onset, np.int64),
        np.asarray(offset, np.int64),
        np.asarray(pitch, np.int64),
        zeros + 64,
        zeros,
        zeros.astype(bool) if drum is None else np.asarray(drum, bool),
        zeros,
        metre_tick=metre[:, 0],
        metre_numerator=metre[:, 1],
        metre_denominator=metre[:, 2],
    )


@st.composite
def scores(draw, metres=True):
    n = draw(st.integers(1, 25))
    ticks_per_beat = draw(st.sampled_from([1, 7, 96, 384, 480, 1024]))
    ticks = st.integers(0, LAST_BEAT * ticks_per_beat)
    onset = np.array(draw(st.lists(ticks, min_size=n, max_size=n)))
    duration = np.array(draw(st.lists(st.integers(0, 6 * ticks_per_beat), min_size=n, max_size=n)))
    pitch = draw(st.lists(st.integers(0, 127), min_size=n, max_size=n))
    changes = st.tuples(ticks, st.integers(1, 25), st.integers(0, 7).map(lambda p: 2**p))
    given_metres = sorted(draw(st.lists(changes, max_size=4)), key=lambda c: c[0]) if metres else ()
    return made(onset, onset + duration, pitch, ticks_per_beat=ticks_per_beat, metres=given_metres)


def bar_lines(score):
    """Bar lines up to the last onset and beyond, in exact ticks, with those inside long bars."""
    whole = Fraction(4 * score.ticks_per_beat)
    in_force = {0: (4, 4)}
    for tick, n, d in zip(score.metre_tick, score.metre_numerator, score.metre_denominator, strict=True):
        in_force[int(tick)] = (int(n), int(d))
    changes = [
        (tick, metre)
        for (tick, metre), (_, before) in zip(in_force.items(), [(0, None), *in_force.items()], strict=False)
        if metre != before
    ]
    lines = []
    for index, (tick, (n, d)) in enumerate(changes):
        last = max(int(score.onset.max()), tick) + 1  # a change after the last onset ends a bar too
        end = changes[index + 1][0] if index + 1 < len(changes) else last
        at = Fraction(tick)
        while at < end:
            parts = max(-(-n // d), 1)
            # the fewest parts of nearly equal length, the longer ones first where they differ
            sizes = [-(-(part + 1) * n // parts) + (-part * n // parts) for part in range(parts)]
            assert sum(sizes) == n
            for size in sizes:
                if at < end:
                    lines.append(at)
                    after = at + max(size * whole / d, whole / 16)
                at += max(size * whole / d, whole / 16)
    return [*lines, after]


def expected_places(score):
    """(number of the bar line, sixteenth) of each onset, by looking at all sixteenths nearby."""
    slot = Fraction(score.ticks_per_beat, 4)
    lines = bar_lines(score)
    result = []
    for onset in score.onset.tolist():
        bar = bisect.bisect_right(lines, onset, hi=len(lines) - 1) - 1
        next_line = lines[bar + 1]  # a change of metre may end the bar early
        best = None
        for candidate in [*((bar, k, lines[bar] + k * slot) for k in range(16)), (bar + 1, 0, next_line)]:
            if candidate[0] == bar and candidate[2] >= next_line:
                continue
            distance = abs(candidate[2] - onset)
            if best is None or distance < best[0]:
                best = (distance, candidate[:2])
        result.append(best[1])
    return result


@settings(max_examples=300, deadline=None)
@given(score=scores())
def test_places_are_the_nearest_sixteenths(score):
    rows, note_index = CODEC.encode(score)
    wanted = expected_places(score)
    assert sorted(note_index.tolist()) == list(range(len(score)))
    got = [wanted[note] for note in note_index.tolist()]
    assert got == sorted(got)
    assert rows[:, 1].tolist() == [position for _, position in got]
    new = [True, *(a[0] != b[0] for a, b in zip(got[1:], got[:-1], strict=True))]
    assert (rows[:, 0] == 0).tolist() == new
    folded = score.pitch[note_index]
    assert ((rows[:, 2] + 22 - folded) % 12 == 0).all()
    inside = (folded >= 22) & (folded <= 107)
    assert (rows[inside, 2] + 22 == folded[inside]).all()
    units = (score.offset - score.onset)[note_index] * 8 / score.ticks_per_beat
    assert (np.abs(rows[:, 3] + 1 - np.clip(units, 1, 64)) <= 0.5).all()
    assert (rows < np.array(FIELD_SIZES) - 2).all()


@settings(max_examples=100, deadline=None)
@given(score=scores())
def test_encode_then_decode_then_encode(score):
    rows, _ = CODEC.encode(score)
    assert np.array_equal(CODEC.encode(decode(rows))[0], rows)


@settings(max_examples=100, deadline=None)
@given(score=scores(metres=False))
def test_both_paths_are_alike(score):
    resolution = score.ticks_per_beat
    if resolution in (7, 1024):  # whose ticks are no multiple of 1/480 of a beat
        return
    notes = BeatNotes(score.onset / resolution, score.offset / resolution, score.pitch, score.velocity)
    for ours, theirs in zip(CODEC.encode(notes), CODEC.encode(score), strict=True):
        assert np.array_equal(ours, theirs)


def test_written_metres():
    quarters = [480 * k for k in range(11)]
    score = made(quarters, [t + 240 for t in quarters], [60] * 11, metres=[(0, 3, 4)])
    assert bar_numbers(CODEC.encode(score)[0]).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    assert bar_numbers(encode_compound_words(score, COMMON)[0]).tolist() == [0] * 4 + [1] * 4 + [2] * 3
    five = made(quarters, [t + 240 for t in quarters], [60] * 11, metres=[(0, 5, 4)])
    assert bar_numbers(CODEC.encode(five)[0]).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4]
    change = made(quarters, [t + 240 for t in quarters], [60] * 11, metres=[(0, 4, 4), (960, 2, 4)])
    assert bar_numbers(CODEC.encode(change)[0]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    again = made(quarters, [t + 240 for t in quarters], [60] * 11, metres=[(0, 4, 4), (480, 4, 4)])
    assert bar_numbers(CODEC.encode(again)[0]).tolist() == [0] * 4 + [1] * 4 + [2] * 3


@pytest.mark.parametrize(
    "metre", [(1, 2**31 - 1), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (2**31 - 1, 2**30), (3, 128), (7, 3)]
)
@pytest.mark.parametrize("ticks_per_beat", [1, 480, 2**31 - 1])
def test_absurd_metres_and_times(metre, ticks_per_beat):
    last = 2**31 - 1
    onset = np.array([0, 1, last // 2, last - 1])
    score = made(
        onset,
        onset + 1,
        [60] * 4,
        ticks_per_beat=ticks_per_beat,
        metres=[(0, *metre), (last // 3, *metre[::-1])],
    )
    rows, note_index = CODEC.encode(score)
    assert sorted(note_index.tolist()) == [0, 1, 2, 3]
    assert rows.min() >= 0
    assert (rows < np.array(FIELD_SIZES) - 2).all()


@given(
    keys=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2**40), st.integers(0, 2)), min_size=1, max_size=20
    )
)
def test_both_ways_to_sort(keys):
    columns = [np.array(column) for column in zip(*keys, strict=True)]
    small = [columns[0], columns[1] % 5, columns[2]]
    huge = [columns[0] << 20, columns[1], columns[2]]  # more than 63 bits with the rest
    for chosen in (small, huge, columns):
        expected = sorted(range(len(keys)), key=lambda i: tuple(int(column[i]) for column in chosen))
        assert sorted_order(*chosen).tolist() == expected


def test_own_profiles():
    score = made([0, 480], [20, 960], [60, 35], drum=[False, True])
    assert encode_compound_words(score, dataclasses.replace(CLEAN, drums="drop"))[1].tolist() == [0]
    assert encode_compound_words(score, dataclasses.replace(CLEAN, min_duration=1 / 8))[1].tolist() == [1]
    assert encode_compound_words(score, dataclasses.replace(M2BERT, min_duration=0.0))[1].tolist() == [0, 1]
    high = made([0, 480], [480, 960], [60, 127])
    assert encode_compound_words(high, dataclasses.replace(CLEAN, pitch="clip"))[0][1, 2] == 85
    with pytest.raises(MidiError, match="pitch-range"):
        encode_compound_words(high, dataclasses.replace(CLEAN, pitch="error"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": "other"},
        {"pitch": "wrap"},
        {"min_duration": -1.0},
        {"min_duration": float("nan")},
        {"steps": "published"},
        {"rescale": False},
        {"drums": "hide"},
    ],
)
def test_profiles_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=r"not|only|belongs"):
        Profile(name="cp", **wrong)


def test_acceptance():
    for metres, accepted in (
        ([], False),
        ([(0, 4, 4)], True),
        ([(960, 4, 4)], True),
        ([(0, 2, 2)], False),
        ([(0, 4, 4), (0, 4, 4)], False),
        ([(0, 4, 4), (960, 3, 4)], False),
    ):
        assert accepted_for_pretraining(made([0], [1], [60], metres=metres)) is accepted


@settings(max_examples=100, deadline=None)
@given(score=scores())
def test_the_score_of_beat_notes_begins_at_a_bar(score):
    notes = BeatNotes(
        score.onset / score.ticks_per_beat - 9.5,
        score.offset / score.ticks_per_beat - 9.5,
        score.pitch,
        score.velocity,
    )
    made_score = beat_notes_to_score(notes)
    shift = made_score.onset / 480 - notes.onset
    bars = np.rint(shift / 4)
    assert (np.abs(shift - 4 * bars) <= 0.51 / 480).all()
    assert len(set(bars.tolist())) == 1
    assert made_score.onset.min() >= 0
    assert made_score.onset.min() < 4 * 480 or bars[0] == 0
