"""Which way round a label is: names are the low pole, tested against the music itself."""

import zipfile

import numpy as np
import pytest

from musicbert.annotation.dimensions import RATING_SETS
from musicbert.annotation.labels import LabelOptions, make_labels
from musicbert.annotation.names import segment_id
from musicbert.annotation.table import read_ratings
from musicbert.midi import read_score

pytestmark = pytest.mark.shared
SUSTAIN = 64


def music(data):
    """Notes a second, mean sustain while playing, mean velocity and its 95th percentile."""
    score = read_score(data)
    onset, velocity = np.asarray(score.onset), np.asarray(score.velocity, dtype=float)
    ends = np.array([onset.min(), max(onset.max(), onset.min() + 1)])
    seconds = np.ptp(score.seconds(ends))
    pedal = np.asarray(score.control_number) == SUSTAIN
    ticks, values = np.asarray(score.control_tick)[pedal], np.asarray(score.control_value, dtype=float)[pedal]
    order = np.argsort(ticks, kind="stable")
    at = np.searchsorted(ticks[order], onset, side="right") - 1
    sustain = (
        np.where(at >= 0, values[order][np.maximum(at, 0)], 0.0) if len(values) else np.zeros(len(onset))
    )
    return len(onset) / seconds, sustain.mean(), velocity.mean(), np.quantile(velocity, 0.95)


def measured(shared, table, archive):
    """Labels and music of every segment that has both."""
    made, _ = make_labels(
        read_ratings(shared / "data" / table / "total.csv"),
        LabelOptions(label="mean", zeros="cell", columns="full"),
    )
    with zipfile.ZipFile(shared / "data" / table / archive) as files:
        names = {segment_id(n): n for n in files.namelist() if n.endswith(".mid")}
        ids = [name for name in made.ids if name in names]
        features = np.array([music(files.read(names[name])) for name in ids])
    labels = made.subset(ids)
    column = {d.name: i for i, d in enumerate(made.dimensions)}

    def correlation(name, feature):
        label = labels.values[:, column[name]]
        there = ~np.isnan(label)
        return np.corrcoef(label[there], features[there, feature])[0, 1]

    return correlation


@pytest.fixture(scope="module")
def xai(shared):
    return measured(shared, "xai", "segmented_midi.zip")


@pytest.fixture(scope="module")
def percepiano(shared):
    return measured(shared, "percepiano", "segment_midi.zip")


RATE, PEDAL, LOUDNESS, PEAKS = range(4)


@pytest.mark.parametrize(
    ("name", "feature", "sign", "at_least"),
    [
        ("Fast paced", RATE, -1, 0.6),
        ("Saturated (wet)", PEDAL, -1, 0.5),
        ("HIgh Energy", PEAKS, -1, 0.35),
        ("Soft", LOUDNESS, +1, 0.35),
        ("Clean", PEDAL, +1, 0.4),
    ],
)
def test_a_published_name_is_the_low_pole(xai, name, feature, sign, at_least):
    assert sign * xai(name, feature) > at_least


@pytest.mark.parametrize(
    ("name", "feature", "sign"),
    [
        ("Music making Fast - Slow paced", RATE, -1),
        ("Pedal Sparse - Saturated", PEDAL, +1),
        ("Emotion Low - High energy", PEAKS, +1),
        ("Timbre Soft - Loud", LOUDNESS, +1),
        ("Pedal Clean - Blurred", PEDAL, +1),
    ],
)
def test_percepiano_names_go_from_low_to_high(percepiano, name, feature, sign):
    assert sign * percepiano(name, feature) > 0.25


def test_poles_are_not_swapped_between_the_two_tables(shared):
    """Where PercePiano turned a question round, its labels run against XAI-music's on the same segments."""
    ours, _ = make_labels(
        read_ratings(shared / "data" / "xai" / "total.csv"),
        LabelOptions(label="mean", zeros="cell", columns="percepiano"),
    )
    theirs, _ = make_labels(
        read_ratings(shared / "data" / "percepiano" / "total.csv"), LabelOptions(label="mean", zeros="cell")
    )
    ids = [name for name in ours.ids if name in theirs]
    a, b = ours.subset(ids).values, theirs.subset(ids).values
    for k, (mine, other) in enumerate(zip(ours.dimensions, theirs.dimensions, strict=True)):
        there = ~np.isnan(a[:, k]) & ~np.isnan(b[:, k])
        same = mine.low.split()[0] == other.low.split()[0]
        assert (np.corrcoef(a[there, k], b[there, k])[0, 1] > 0.5) == same, (mine, other)
    assert len(RATING_SETS["percepiano"].columns["full"]) == len(ours.dimensions)
