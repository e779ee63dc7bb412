"""Features: finite always, blind to names and tempo marks, and pointing the right way."""

import importlib
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.errors import MidiError
from musicbert.features import FEATURES, features
from musicbert.features.playing import Steps, playing
from musicbert.midi.score import Score

NAMES = list(FEATURES)


def make(notes, pedal=(), *, tpb=480, bpm=120.0):
    """Score from (onset s, offset s, pitch, velocity) and (time s, number, value)."""
    per_second = tpb * bpm / 60
    notes = np.array(notes, float).reshape(-1, 4)
    n = len(notes)
    pedal = np.array(pedal, float).reshape(-1, 3)

    def ints(values):
        return np.round(values).astype(np.int64)

    return Score(
        ticks_per_beat=tpb,
        onset=ints(notes[:, 0] * per_second),
        offset=ints(notes[:, 1] * per_second),
        pitch=ints(notes[:, 2]),
        velocity=ints(notes[:, 3]),
        program=np.zeros(n, np.int64),
        drum=np.zeros(n, bool),
        track=np.zeros(n, np.int64),
        tempo_tick=np.zeros(1, np.int64),
        tempo_bpm=np.array([bpm]),
        control_tick=ints(pedal[:, 0] * per_second),
        control_number=ints(pedal[:, 1]),
        control_value=ints(pedal[:, 2]),
        control_track=np.zeros(len(pedal), np.int64),
    )


def melody(n=40, step=0.25, hold=0.8, velocity=64, seed=0):
    rng = np.random.default_rng(seed)
    onset = np.arange(n) * step
    pitch = 60 + rng.integers(-5, 6, n)
    return np.stack([onset, onset + hold * step, pitch, np.full(n, velocity)], axis=1)


def value(score, name):
    return features(score)[NAMES.index(name)]


def test_names_and_groups():
    assert len(NAMES) == len(set(NAMES))
    assert set(FEATURES.values()) == {"timing", "velocity", "articulation", "pedal", "pitch"}
    assert len(NAMES) >= 60
    assert features(make(melody())).shape == (len(NAMES),)
    assert features(make(melody())).dtype == np.float64


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.floats(0, 5), st.integers(0, 127), st.integers(1, 127)),
        min_size=1,
        max_size=30,
    ),
    st.lists(st.tuples(st.floats(0, 40), st.sampled_from([64, 66, 67]), st.integers(0, 127)), max_size=20),
)
def test_finite_for_any_score(notes, pedal):
    notes = [(a, a + b, p, v) for a, b, p, v in notes]
    assert np.isfinite(features(make(notes, sorted(pedal)))).all()


@pytest.mark.parametrize("notes", [[(0, 1, 60, 64)], [(0, 0, 60, 64)], [(0, 1, 60, 64)] * 3, melody(2)])
def test_finite_for_tiny_scores(notes):
    assert np.isfinite(features(make(notes))).all()


def test_no_note_is_an_error():
    with pytest.raises(MidiError) as caught:
        features(make([]))
    assert caught.value.reason == "no-notes"
    drums = make(melody())
    with pytest.raises(MidiError):
        features(replace(drums, drum=np.ones(len(drums), bool)))


def test_blind_to_tempo_marks_metre_and_start():
    notes, pedal = melody(seed=3), [(0.5, 64, 100), (1.2, 64, 0)]
    plain = features(make(notes, pedal))
    other = make(notes, pedal, tpb=960, bpm=60)
    other = replace(
        other,
        metre_tick=np.zeros(1, np.int64),
        metre_numerator=np.full(1, 3),
        metre_denominator=np.full(1, 4),
    )
    np.testing.assert_allclose(features(other), plain, atol=1e-9)
    late = make(notes + np.array([7, 7, 0, 0]), [(t + 7, c, v) for t, c, v in pedal])
    np.testing.assert_allclose(features(late), plain, atol=1e-9)


def test_blind_to_order_of_notes():
    notes = melody(seed=4)
    np.testing.assert_allclose(features(make(notes[::-1])), features(make(notes)), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("note_rate_log", melody(step=0.5), melody(step=0.2)),
        ("ioi_p50_log", melody(step=0.2), melody(step=0.5)),
        ("velocity_mean", melody(velocity=40), melody(velocity=90)),
        ("duration_p50_log", melody(hold=0.3), melody(hold=0.9)),
        ("legato_share", melody(hold=0.5), melody(hold=1.0)),
        ("staccato_share", melody(hold=0.9), melody(hold=0.3)),
        ("pitch_mean", melody(), melody() + np.array([0, 0, 12, 0])),
        ("rest_share", melody(hold=1.0), melody(hold=0.3)),
    ],
)
def test_direction(name, low, high):
    assert value(make(low), name) < value(make(high), name)


def test_known_values():
    even = make(melody(n=41, step=0.25, hold=0.5, velocity=127))
    assert value(even, "ioi_p50_log") == pytest.approx(-2)
    assert value(even, "npvi") == pytest.approx(0, abs=1e-6)
    assert value(even, "ioi_log_sd") == pytest.approx(0, abs=1e-6)
    assert value(even, "velocity_mean") == pytest.approx(1)
    assert value(even, "hold_p50") == pytest.approx(-1)
    assert value(even, "notes_per_chord") == 1
    swung = melody(n=41)
    swung[:, 0] = np.cumsum(np.tile([0.2, 0.4], 21))[:41]
    swung[:, 1] = swung[:, 0] + 0.1
    assert value(make(swung), "npvi") == pytest.approx(200 * 0.2 / 0.6, rel=1e-6)


def test_chords_melody_lead_and_emphasis():
    chords = []
    for k in range(10):
        chords += [(k, k + 0.5, 72, 100), (k + 0.02, k + 0.5, 60, 60), (k + 0.02, k + 0.5, 48, 60)]
    score = make(chords)
    assert value(score, "chord_share") == 1
    assert value(score, "notes_per_chord") == 3
    assert value(score, "asynchrony_mean") == pytest.approx(0.02, abs=2e-3)
    assert value(score, "melody_lead_mean") == pytest.approx(0.02, abs=2e-3)
    assert value(score, "melody_emphasis") == pytest.approx(40 / 127)
    assert value(score, "octave_share") == 1
    assert value(make([(a - a % 1, b, p, v) for a, b, p, v in chords]), "together_share") == 1


def test_pedal_sustains_and_blurs():
    notes = [(k * 0.5, k * 0.5 + 0.1, 60 + k, 64) for k in range(8)]
    dry, wet = make(notes), make(notes, [(0, 64, 127), (4, 64, 0)])
    assert value(dry, "sustain_mean") == 0
    assert value(wet, "sustain_mean") == 1
    assert value(wet, "sustain_down_share") == 1
    assert value(wet, "sounding_gain") > value(dry, "sounding_gain") == 0
    assert value(wet, "clash_mean") > 1
    assert value(dry, "clash_mean") == 0
    soft = make(notes, [(0, 67, 127)])
    assert value(soft, "soft_down_share") == 1
    assert value(soft, "sustain_mean") == 0


def test_sounding_ends_at_release_or_repeat():
    score = make(
        [(0, 0.2, 60, 64), (0, 0.2, 62, 64), (1, 1.2, 60, 64), (3, 3.1, 64, 64)],
        [(0.1, 64, 127), (2, 64, 10)],
    )
    play = playing(score)
    ends = {
        (round(o, 3), int(p)): e for o, p, e in zip(play.onset, play.pitch, play.sounding_end, strict=True)
    }
    assert ends[0, 60] == pytest.approx(1.0, abs=1e-3)  # struck again
    assert ends[0, 62] == pytest.approx(2.0, abs=1e-3)  # released
    assert ends[1, 60] == pytest.approx(2.0, abs=1e-3)
    assert ends[3, 64] == pytest.approx(3.1, abs=1e-3)  # pedal is up


def test_steps():
    steps = Steps(np.array([1.0, 2.0, 3.0]), np.array([100.0, 20.0, 64.0]))
    np.testing.assert_array_equal(steps.at(np.array([0.5, 1.0, 1.9, 2.0, 9.0])), [0, 100, 100, 20, 64])
    down, up = steps.edges()
    np.testing.assert_array_equal(down, [1, 3])
    np.testing.assert_array_equal(up, [2])


@pytest.mark.shared
def test_features_follow_the_ratings(shared):
    """Labels have poles: 1 = fast paced, wet, soft; so the features must correlate as the raters hear it."""
    from musicbert.annotation.label_map import LabelMap
    from musicbert.corpus.files.archive import MidiSource
    from musicbert.midi import read_score

    labels = LabelMap.load(shared / "golden/xai/midi_label_map_apex_reg_cls.snu.json")
    rows = {}
    with MidiSource(shared / "data/xai/segmented_midi.zip") as source:
        for member in source.members[::7]:
            if member.name in labels:
                rows[member.name] = features(read_score(source.read(member)))
    x = np.stack(list(rows.values()))
    y = labels.subset(rows).values
    assert np.isfinite(x).all()
    assert (x.std(0) > 0).mean() > 0.97
    dimension = [d.name for d in labels.dimensions]

    def r(feature, name):
        return np.corrcoef(x[:, NAMES.index(feature)], y[:, dimension.index(name)])[0, 1]

    assert r("note_rate_log", "Fast paced") < -0.5  # 1 = fast
    assert r("sustain_mean", "Saturated (wet)") < -0.4  # 1 = wet
    assert r("velocity_mean", "Soft") > 0.25  # 1 = soft
    assert r("hold_p50", "Long") < -0.3  # 1 = long


@pytest.mark.parametrize("seconds", [1e6, 1e9, 1e13])
def test_memory_does_not_grow_with_the_distance_of_a_far_note(seconds):
    notes = [(0, 0.5, 60, 64), (0.5, 1, 62, 64), (1.2, 2, 64, 64), (seconds, seconds + 1, 67, 64)]
    tracemalloc.start()
    values = features(make(notes))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(values).all()
    assert peak < 100e6


def test_the_local_rate_of_far_notes_is_that_of_all_windows(monkeypatch):
    draw = np.random.default_rng(0)
    onset = np.cumsum(draw.exponential(draw.choice([0.1, 1, 30], 200)))
    play = playing(make([(t, t + 0.1, 60 + i % 12, 64) for i, t in enumerate(onset)]))
    timing = importlib.import_module("musicbert.features.timing")
    expected = timing._local_rate(play)
    monkeypatch.setattr(timing, "MAX_WINDOWS", 0)
    assert timing._local_rate(play) == pytest.approx(expected, rel=1e-9)
