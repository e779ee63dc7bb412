"""Fields of some notes change; ticks, bars and all other notes stay."""

import tarfile
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.encoding import FIELD_SIZES, FIELDS, encode_notes
from musicbert.encoding.changes import changed_score
from musicbert.encoding.policies import WHOLE
from musicbert.errors import MidiError
from musicbert.midi import Score, edit_midi, read_score

QUARTER = 480
SAFE = ("program", "pitch", "duration", "velocity")  # they change no bar and no tempo


def score_of(onset, metres=((0, 3, 4),), tempi=((0, 100.0),), length=300):
    """Notes off the grid; metres are (tick, numerator, denominator), tempi (tick, BPM)."""
    onset = np.array(onset, np.int64)
    zeros = np.zeros_like(onset)
    tick, numerator, denominator = np.array(metres, np.int64).T
    return Score(
        QUARTER, onset, onset + length, zeros + 60, zeros + 67, zeros + 5, zeros > 0, zeros,
        metre_tick=tick, metre_numerator=numerator, metre_denominator=denominator,
        tempo_tick=np.array([at for at, _ in tempi]), tempo_bpm=np.array([bpm for _, bpm in tempi]),
    )  # fmt: skip


@st.composite
def cases(draw):
    steps = draw(st.lists(st.integers(0, 3000), min_size=1, max_size=12))
    metres = [(0, 3, 4), (draw(st.integers(1, 9000)), draw(st.integers(1, 12)), 8)]
    score = score_of(np.cumsum(steps), metres, length=draw(st.integers(0, 900)))
    rows, index = encode_notes(score, policies=WHOLE)
    other = rows.copy()
    for note in range(len(rows)):
        for name in draw(st.sets(st.sampled_from(SAFE))):
            field = FIELDS.index(name)
            high = FIELD_SIZES[field] - 1
            if name in ("program", "pitch"):
                high = 127
            other[note, field] = draw(st.integers(0, high))
    return score, rows, index, other


@settings(max_examples=150, deadline=None)
@given(case=cases())
def test_the_changed_score_has_the_changed_rows(case):
    score, rows, index, other = case
    changed = changed_score(score, index, rows, other, WHOLE)
    again, _ = encode_notes(changed, policies=WHOLE)
    np.testing.assert_array_equal(again, other[np.lexsort(other.T[::-1])])
    np.testing.assert_array_equal(changed.onset, score.onset)
    same = (rows == other).all(axis=1)
    for name in ("offset", "pitch", "velocity", "program", "drum"):
        np.testing.assert_array_equal(getattr(changed, name)[index[same]], getattr(score, name)[index[same]])
    for field, name in ((3, "pitch"), (5, "velocity"), (2, "program"), (4, "offset")):
        kept = rows[:, field] == other[:, field]
        np.testing.assert_array_equal(getattr(changed, name)[index[kept]], getattr(score, name)[index[kept]])


def test_a_moved_note_keeps_its_length_and_its_place_off_the_grid():
    score = score_of([7, 1447, 4000])  # a 3/4 bar has 1440 ticks
    rows, index = encode_notes(score)
    other = rows.copy()
    other[0, :2] = [2, 16]
    changed = changed_score(score, index, rows, other, WHOLE)
    assert changed.onset.tolist() == [7 + 2 * 1440 + 480, 1447, 4000]
    assert (changed.offset - changed.onset).tolist() == [300] * 3


def test_tempi_hold_for_the_changed_notes_only():
    score = score_of([0, 480, 960, 1440], tempi=((0, 100.0), (700, 90.0)))
    rows, index = encode_notes(score)
    other = rows.copy()
    other[1, 7] = 0
    changed = changed_score(score, index, rows, other, WHOLE)
    assert changed.tempo_tick.tolist() == [0, 480, 960]
    assert changed.tempo_bpm.tolist() == [100.0, 16.0, 90.0]
    np.testing.assert_array_equal(encode_notes(changed)[0], other)


@pytest.mark.parametrize("votes", [1, 2])
def test_time_signatures_hold_for_bars_in_which_most_notes_have_them(votes):
    score = score_of([0, 1440, 1920, 2400, 2880])
    rows, index = encode_notes(score)
    other = rows.copy()
    other[1 : 1 + votes, 6] = 9  # 4/4
    changed = changed_score(score, index, rows, other, WHOLE)
    found = list(zip(changed.metre_tick.tolist(), changed.metre_numerator.tolist(), strict=True))
    assert found == ([(0, 3)] if votes == 1 else [(0, 3), (1440, 4), (2880, 3)])
    np.testing.assert_array_equal(changed.onset, score.onset)


def controllers_of(score):
    """Controllers of each instrument in their order; which instrument comes first depends on its notes."""
    columns = np.column_stack([score.control_tick, score.control_number, score.control_value])
    return Counter(
        str(columns[score.control_track == track].tolist()) for track in np.unique(score.control_track)
    )


@pytest.mark.shared
def test_real_files_keep_what_was_not_changed(shared):
    """Pitches, durations and velocities of a tenth of the notes: all else is equal, event by event."""
    rng = np.random.default_rng(0)
    with tarfile.open(shared / "data" / "robustness_midis.tar.xz") as archive:
        members = [member for member in archive if member.name.endswith(".mid") and member.size < 40_000][::6]
        files = [archive.extractfile(member).read() for member in members[:10]]
    changed_files = 0
    for data in files:
        try:
            score = read_score(data)
            rows, index = encode_notes(score, policies=WHOLE)
        except MidiError:
            continue
        other = rows.copy()
        at = rng.choice(len(rows), max(len(rows) // 10, 1), replace=False)
        other[at, 3] = rng.integers(40, 80, len(at)) + 128 * (rows[at, 2] == 128)
        other[at, 4], other[at, 5] = rng.integers(0, 64, len(at)), rng.integers(0, 32, len(at))
        changed = changed_score(score, index, rows, other, WHOLE)
        again = read_score(edit_midi(data, score, changed))
        changed_files += 1
        seen = np.ones(len(score), bool)
        seen[index[at]] = False
        assert not notes_of(score, seen) - notes_of(again)
        assert notes_of(again) == notes_of(changed)
        for name in ("tempo_tick", "tempo_bpm", "metre_tick"):
            np.testing.assert_array_equal(getattr(again, name), getattr(score, name))
        assert controllers_of(again) == controllers_of(score)
        if score.ticks_per_beat >= 16:
            expected = other[np.lexsort(other.T[::-1])]
            np.testing.assert_array_equal(encode_notes(again, policies=WHOLE)[0], expected)
    assert changed_files >= 5


def notes_of(score, chosen=None):
    names = ("onset", "offset", "pitch", "velocity", "program", "drum")
    chosen = np.ones(len(score), bool) if chosen is None else chosen
    return Counter(zip(*(getattr(score, name)[chosen].tolist() for name in names), strict=True))
