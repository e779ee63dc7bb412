"""Remixes: only what was chosen changes, by legal values, in ranked versions that come out again."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from unit.midi.test_edit import files, notes_of, other_events

import musicbert
from musicbert.encoding import FIELD_SIZES, FIELDS, encode
from musicbert.encoding.quantise import BAR_LENGTHS
from musicbert.errors import ConfigError
from musicbert.midi import read_score
from musicbert.predict import FillOptions
from musicbert.predict.allowed import scale_pitches
from musicbert.remixing import Choice, Remixer, list_parts
from musicbert.remixing.versions import DEFAULTS

HOT = replace(DEFAULTS, order="once", temperature=3.0, top_p=1.0)


@st.composite
def choices(draw):
    """A part of a piece, of any kind."""
    bars = draw(st.none() | st.tuples(st.integers(1, 2), st.integers(2, 3)))
    fields = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True))
    drums = draw(st.sampled_from(["keep", "fields", "pattern"]))
    return Choice(bars, None, None, draw(st.sampled_from([0.3, 1.0])), fields, drums)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=files(), choice=choices(), seed=st.integers(0, 3), order=st.sampled_from(["once", "notes"]))
def test_whatever_is_not_chosen_stays_bit_for_bit(model, tmp_path, data, choice, seed, order):
    """Notes, tempi, metres, controllers, texts and tracks, in files of any events."""
    try:
        remixer = Remixer(data, model=model, choice=choice, options=replace(HOT, order=order), seed=seed)
    except ConfigError:  # no note is chosen
        assume(False)
    version = remixer.version(1)
    version.save(tmp_path / "v.mid")
    written = (tmp_path / "v.mid").read_bytes()
    before, after = read_score(data), read_score(written)
    assert len(after) == len(before)
    chosen = np.zeros(len(before), bool)
    chosen[remixer.original.note_index[remixer.mask.any(axis=1)]] = True
    kept = notes_of(before, ~chosen & ~before.drum)
    assert not kept - notes_of(after)
    rows, old = version.filled.rows, remixer.original.rows
    np.testing.assert_array_equal(rows[~remixer.mask], old[~remixer.mask])
    # a metre that changes within a bar leaves notes after the end of the bar that rows know
    fits = old[:, 1] < BAR_LENGTHS[old[:, 6]]
    legal(rows[remixer.mask.any(axis=1) & fits])
    timeless = not {"tempo", "time_signature"} & set(choice.fields)
    form, division, tracks = other_events(data)
    again_form, again_division, again_tracks = other_events(written)
    assert again_division == division
    if timeless and again_form == form == 1:
        assert again_tracks[: len(tracks)] == tracks
    elif timeless:  # a channel that was free may get a program
        left = [event for event in again_tracks[0] if event in tracks[0] or "program" not in event[1]]
        assert left == tracks[0]


def legal(rows):
    """Assert that rows keep the rules of the encoding."""
    assert (rows >= 0).all()
    assert (rows[:, 1:] < FIELD_SIZES[1:]).all()
    np.testing.assert_array_equal(rows[:, 3] >= 128, rows[:, 2] == 128)
    assert (rows[:, 1] < BAR_LENGTHS[rows[:, 6]]).all()


def test_bars_tracks_and_instruments_are_chosen_as_musicians_count(model, song):
    rows = encode(song)
    flute = Remixer(song, model=model, choice=Choice((2, 3), ["flute"], share=1)).mask[:, 3]
    np.testing.assert_array_equal(flute, (rows[:, 2] == 73) & np.isin(rows[:, 0], [1, 2]))
    for same in (Choice((2, 3), [2], share=1), Choice((2, 3), None, ["flute"], share=1)):
        np.testing.assert_array_equal(Remixer(song, model=model, choice=same).mask[:, 3], flute)
    half = Remixer(song, model=model, choice=Choice(share=0.5)).mask
    assert half[:, 3].sum() == round((rows[:, 2] != 128).sum() / 2)
    assert not half[rows[:, 2] == 128].any()
    score = read_score(song)
    parts = list_parts(score, *musicbert.encoding.encode_notes(score))
    assert [part["name"] for part in parts] == ["Keys", "Flute", "Kit"]
    assert parts[2]["instruments"] == {128: "drums"}
    assert parts[1]["bars"] == (1, 8)


def test_drums_are_kept_or_change_or_get_another_pattern(model, song):
    rows = encode(song)
    drums = rows[:, 2] == 128
    for kind, fields in (("keep", []), ("fields", ["pitch"]), ("pattern", ["position", "pitch", "velocity"])):
        choice = Choice(share=1, drums=kind)
        mask = Remixer(song, model=model, choice=choice).mask
        assert [
            name for name, hidden in zip(FIELDS, mask[drums].all(axis=0), strict=True) if hidden
        ] == fields
        assert mask[~drums, 3].all()
        assert mask.sum() == (~drums).sum() + drums.sum() * len(fields)
    beat = Choice(instruments=["drums"], share=1, drums="pattern")
    (version,) = musicbert.remix(
        song, model=model, instruments=["drums"], share=1, drums="pattern", options=HOT, versions=1
    )
    np.testing.assert_array_equal(version.filled.mask.any(axis=1), drums)
    assert beat.hidden_fields == ["position", "pitch", "velocity"]
    legal(version.filled.rows)
    places = version.filled.rows[:, :4]
    assert len(np.unique(places, axis=0)) == len(places)  # no drum twice at one place


def test_another_instrument_plays_in_place_of_one(model, song, tmp_path):
    (version,) = musicbert.remix(
        song, model=model, bars=(3, 4), replace_instruments={"flute": "violin"}, share=0.2, versions=1
    )
    version.save(tmp_path / "v.mid")
    remixer = Remixer(song, model=model, choice=Choice((3, 4), share=0.2, replace={"flute": "violin"}))
    before, after = encode(song), encode(tmp_path / "v.mid")
    assert remixer.replaced == (after[:, 2] == 40).sum() > 0
    there = np.isin(after[:, 0], [2, 3])
    assert (after[:, 2] == 40).sum() == ((before[:, 2] == 73) & np.isin(before[:, 0], [2, 3])).sum()
    assert not (after[there, 2] == 73).any()
    assert not (after[~there, 2] == 40).any()
    for wrong in ({"oboe": "violin"}, {"flute": "drums"}, {"flute": "kazoo"}, {"drums": 0}):
        with pytest.raises(ConfigError, match="bad-instrument"):
            musicbert.remix(song, model=model, replace_instruments=wrong)


def test_allowed_values_and_scales_hold(model, song):
    options = replace(HOT, allow={"pitch": [p for p in scale_pitches("D-minor") if 60 <= p <= 72]})
    (version,) = musicbert.remix(song, model=model, share=1, options=options, versions=1)
    pitches = version.filled.rows[version.filled.mask[:, 3], 3]
    assert set(pitches.tolist()) <= {60, 62, 64, 65, 67, 69, 70, 72}
    moved = musicbert.remix(song, model=model, bars=(3, 4), fields=["bar"], options=HOT, versions=1)[0]
    assert set(moved.filled.rows[moved.filled.mask[:, 0], 0].tolist()) <= {2, 3}


def test_versions_are_ranked_and_come_out_again(model, song):
    first = musicbert.remix(song, model=model, bars=(2, 3), versions=3, seed=4)
    assert [version.rank for version in first] == [1, 2, 3]
    assert sorted(version.number for version in first) == [1, 2, 3]
    assert sorted(version.seed for version in first) == [4, 5, 6]
    likelihoods = [version.likelihood for version in first]
    assert likelihoods == sorted(likelihoods, reverse=True)
    assert len({version.original for version in first}) == 1
    assert len({version.filled.rows.tobytes() for version in first}) == 3
    for one in first[1:]:  # the same notes are written anew
        np.testing.assert_array_equal(one.filled.mask, first[0].filled.mask)
    again = musicbert.remix(song, model=model, bars=(2, 3), versions=2, seed=4)
    for version in again:
        (same,) = [other for other in first if other.number == version.number]
        np.testing.assert_array_equal(version.filled.rows, same.filled.rows)
        assert version.likelihood == same.likelihood
    assert 0 < first[0].changed <= first[0].notes


def test_the_likelihood_is_the_networks_log_probability(model, song):
    """Every chosen note hidden in turn, all others seen: from `fill` of that note alone."""
    remixer = Remixer(
        song,
        model=model,
        choice=Choice((2, 2), share=1),
        options=replace(HOT, context=None),
        rank_passes=10**6,
    )
    rows = remixer.original.rows
    found = []
    for note in np.flatnonzero(remixer.mask.any(axis=1)).tolist():
        _, table = model.fill(rows, notes=[note], options=FillOptions()).distributions["pitch"]
        found.append((rows[note, 3], table[0]))
    # `fill` has probabilities among pitches without drums, the ranking among all values of the field
    mine = remixer.original_likelihood
    assert mine <= np.mean([np.log(table[value]) for value, table in found]) + 1e-5
    once = Remixer(song, model=model, choice=Choice((2, 2), share=1), rank_passes=1).original_likelihood
    assert np.isfinite(once)
    assert once != pytest.approx(mine, abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bars": (0, 3)}, "counted from 1"),
        ({"bars": (4, 3)}, "counted from 1"),
        ({"bars": (90, 91)}, "the piece has 8 bars"),
        ({"tracks": ["Bass"]}, "1 'Keys', 2 'Flute', 3 'Kit'"),
        ({"tracks": [4]}, "no track 4"),
        ({"instruments": ["piano"]}, "several instruments"),
        ({"instruments": ["drums"]}, "--drums"),
        ({"tracks": [3]}, "drums are kept"),
        ({"share": 0}, "no note is chosen"),
        ({"share": 2}, "0-1"),
        ({"fields": ["colour"]}, "unknown field"),
        ({"fields": []}, "none was given"),
        ({"drums": "loud"}, "drums are"),
    ],
)
def test_a_wrong_choice_says_what_there_is(model, song, wrong, said):
    with pytest.raises(ConfigError) as caught:
        musicbert.remix(song, model=model, **wrong)
    assert said.lower() in str(caught.value).lower()
