"""Passages hold every note once, are of the length that was rated, and do not depend on the file's clock."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from musicbert.analysis.passages import FEWEST, NOTES, passages, played
from musicbert.features import features


def test_every_note_is_in_one_passage_and_a_pause_begins_a_new_one(concert, performances):
    cut = passages(concert)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([part.notes for part in cut])), np.arange(len(concert))
    )
    starts = [part.start for part in cut]
    assert starts == sorted(starts)
    assert len(cut) == 7 * len(performances)  # 61 notes each: none joins two of them
    assert all(len(part.notes) < 2 * NOTES for part in cut)


def test_long_music_is_cut_between_chords(joined, performances):
    without = joined([*performances] * 4, 0.1)
    cut = passages(without)
    assert len(cut) > 3
    for part in cut:
        assert FEWEST <= len(part.notes) <= 2 * NOTES
    onset = without.seconds(without.onset)
    for earlier, later in pairwise(cut):
        assert onset[later.notes].min() - onset[earlier.notes].max() > 0.035


def test_a_short_piece_is_one_passage_and_drums_are_none(performances):
    assert len(passages(performances[0])) == 1
    assert passages(replace(performances[0], drum=np.ones(len(performances[0]), bool))) == []


def test_the_clock_of_the_file_changes_nothing(performances):
    score = performances[0]
    slow = replace(
        score, ticks_per_beat=score.ticks_per_beat * 2, metre_numerator=score.metre_numerator * 0 + 3
    )
    faster = replace(slow, tempo_bpm=slow.tempo_bpm / 2)  # twice the ticks, half the tempo: the same seconds
    np.testing.assert_allclose(features(played(faster)), features(played(score)), atol=1e-6)
    here, there = played(score), played(faster)
    np.testing.assert_array_equal(here.onset, there.onset)
    assert here.onset.min() == 0


def test_a_pedal_that_is_down_stays_down_in_the_next_passage(performances):
    score = performances[0]
    down = replace(
        score,
        control_tick=np.zeros(1, np.int64), control_number=np.array([64]), control_value=np.array([100]),
        control_track=np.zeros(1, np.int64),
    )  # fmt: skip
    part = passages(down)[0]
    late = played(down, replace(part, notes=part.notes[20:]))
    assert late.control_tick.tolist() == [0]
    assert late.control_value.tolist() == [100]
