"""States of a network as features of a performance, and ratings by a saved committee."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from musicbert.analysis.model import one_layer
from musicbert.annotation.label_map import LabelMap
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.committee_file import fit_rating_model
from musicbert.evaluation.baselines.rated_examples import PLAYING, feature_table, load_examples
from musicbert.midi import read_score
from musicbert.predict import state_blocks
from musicbert.predict.ratings import RatingPredictor
from musicbert.predict.state_blocks import description, later, state_moments
from musicbert.synthesis import make_set, write_made_set


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Ratings and MIDI files of a made set, and its labels."""
    from musicbert.annotation.labels import LabelOptions, make_labels
    from musicbert.annotation.table import read_ratings

    folder = tmp_path_factory.mktemp("made")
    ratings, midi = write_made_set(make_set(5, performers=2, segments=4, movements=1), folder)
    labels, _ = make_labels(read_ratings(ratings), LabelOptions(label="mean"))
    labels.save(folder / "labels.json")
    return midi, LabelMap.load(folder / "labels.json")


def first_score(midi):
    found = {}
    take = replace(PLAYING, make=lambda *_: lambda name, score: found.setdefault(name, score).pitch[:1])
    feature_table(midi, take)
    return next(iter(found.values()))


def test_later_moves_the_music_and_not_its_tempo(made):
    score = first_score(made[0])
    moved = later(score, 100)
    np.testing.assert_array_equal(moved.onset, score.onset + 100)
    np.testing.assert_allclose(
        np.diff(moved.seconds(moved.onset)), np.diff(score.seconds(score.onset)), atol=1e-9
    )
    assert moved.tempo_tick.min() == score.tempo_tick.min() == 0


def test_moments_are_means_and_deviations_over_notes(make_model, made):
    model, score = make_model(), first_score(made[0])
    (got,) = state_moments(model, score, phases=1)
    depth, width = model.config.layers, model.config.width
    assert got.shape == (depth, 2 * width)
    for layer in range(depth):
        states = model.embed(score, level="note", layer=layer + 1)
        np.testing.assert_allclose(got[layer, :width], states.mean(0), atol=1e-4)
        np.testing.assert_allclose(got[layer, width:], states.std(0), atol=1e-3)
    phases = [
        state_moments(model, later(score, round(k * 4 * score.ticks_per_beat / 6)), phases=1)
        for k in range(6)
    ]
    both = state_moments(model, score, later(score, 7))
    np.testing.assert_allclose(both[:1], np.mean(phases, 0), atol=1e-4)
    for layer in range(1, depth + 1):  # no later one is computed
        alone = state_moments(model, score, later(score, 7), layer=layer)
        np.testing.assert_allclose(alone[:, 0], both[:, layer - 1], atol=1e-5)


def test_the_table_is_kept_by_weights(make_model, made, tmp_path, monkeypatch):
    model = make_model()
    before, bad = feature_table(made[0], description(model), cache=tmp_path)
    assert not bad
    monkeypatch.setattr(state_blocks, "state_moments", None)  # nothing is computed again
    again, _ = feature_table(made[0], description(model), cache=tmp_path)
    np.testing.assert_array_equal(next(iter(again.values())), next(iter(before.values())))
    other = description(make_model(seed=1))
    assert other.key != description(model).key
    with pytest.raises(TypeError):
        feature_table(made[0], other, cache=tmp_path)


def test_a_saved_committee_rates_a_file(make_model, made, tmp_path):
    midi, labels = made
    model = make_model()
    network = description(model)
    table, _ = feature_table(midi)
    states = {"mine": (feature_table(midi, network)[0], network.layers)}
    examples = load_examples(labels, table, states=states)["ratings"]
    fitted = fit_rating_model(
        "committee+mine+levels", examples, states=network.key, error=np.ones(len(examples.classes))
    )
    fitted.save(tmp_path / "committee.npz")
    predictor = RatingPredictor(tmp_path / "committee.npz", model)
    with zipfile.ZipFile(midi) as archive:
        archive.extractall(tmp_path)
    files = sorted(tmp_path.rglob("*.mid"))
    got = predictor.rate(files[:2])
    alone = predictor.rate([read_score(files[0])])
    np.testing.assert_allclose(got.values[:1], alone.values, atol=1e-5)
    assert got.dimensions == examples.classes
    assert got.error.tolist() == [1.0] * len(examples.classes)
    assert not np.allclose(predictor.rate(files[:2], same_bars=True).values, got.values)
    one = RatingPredictor(one_layer(fitted), model)  # keeps and computes the chosen layer alone
    assert len(one.model.state_scales) == 1 < network.layers
    np.testing.assert_allclose(one.rate(files[:2]).values, got.values, atol=1e-5)
    at = {name: i for i, name in enumerate(examples.ids.tolist())}
    name = files[0].name.split(".")[0]
    expected = fitted.predict(examples.features[[at[name]]], examples.states["mine"][:, [at[name]]])
    np.testing.assert_allclose(alone.values, expected, atol=1e-4)
    with pytest.raises(DatasetError, match="other-settings"):
        RatingPredictor(tmp_path / "committee.npz", make_model(seed=1))
