"""Music without a performer's playing gets reasons, each with its measure; performances get none."""

from dataclasses import replace

import numpy as np
import pytest

from musicbert.analysis.applicability import reasons_against


def codes(score):
    return [reason.code for reason in reasons_against(score)]


def written(score):
    """As a score: onsets on the beat, one velocity."""
    onset = np.round(score.onset / 240).astype(np.int64) * 240
    return replace(score, onset=onset, offset=onset + 240)


def test_performances_have_none(performances):
    for score in performances:
        assert codes(score) == []


def test_a_written_score_has_no_timing_and_no_dynamics(performances):
    score = written(performances[0])
    assert codes(score) == ["quantised"]
    flat = replace(score, velocity=np.full(len(score), 64))
    assert codes(flat) == ["quantised", "no-dynamics"]
    assert codes(replace(performances[0], velocity=flat.velocity)) == ["no-dynamics"]


def test_a_score_whose_ticks_hide_the_grid_is_seen_by_its_chords(performances):
    score = written(performances[0])
    chords = replace(score, onset=score.onset // 480 * 480 + 17, offset=score.offset + 17)
    assert codes(chords) == ["mechanical"]


def test_timing_in_the_tempo_track_is_timing(performances):
    score = written(performances[0])
    ticks = np.unique(score.onset)
    tempi = 100 + 20 * np.sin(np.arange(len(ticks)))
    assert codes(replace(score, tempo_tick=ticks, tempo_bpm=tempi)) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: replace(s, drum=np.arange(len(s)) < 1), "drums"),
        (lambda s: replace(s, program=np.full(len(s), 40)), "other-instruments"),
        (
            lambda s: replace(
                s, ticks_per_beat=s.ticks_per_beat // 32, onset=s.onset // 32, offset=s.offset // 32
            ),
            "coarse-clock",
        ),
    ],
)
def test_other_music_is_named(performances, change, code):
    reasons = reasons_against(change(performances[0]))
    assert [reason.code for reason in reasons] == [code]
    assert reasons[0].value > reasons[0].limit
    assert reasons[0].text


def test_three_notes_are_too_few(performances):
    score = performances[0]
    few = replace(
        score,
        **{
            n: getattr(score, n)[:3]
            for n in ("onset", "offset", "pitch", "velocity", "program", "drum", "track")
        },
    )
    (reason,) = reasons_against(few)
    assert (reason.code, reason.value) == ("few-notes", 3.0)
    quick = replace(score, onset=score.onset // 20, offset=score.offset // 20)
    assert codes(quick) == ["short"]
