"""Linear probes of embeddings, on a data-bin of genre made here."""

import json

import numpy as np
import pytest

import musicbert
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.corpus.sentences.genre import GenreOptions, build_genre
from musicbert.midi import midi_bytes
from musicbert.predict.sentences.databin import (
    probe_scores,
    random_twin,
    whole_probe_scores,
    window_vectors,
)
from musicbert.predict.sentences.genres import score_genres
from musicbert.predict.sentences.scoring import Scoring
from musicbert.synthesis import make_set


@pytest.fixture(scope="module")
def databin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genre")
    (folder / "midi").mkdir()
    labels = {}
    for number, score in enumerate(make_set(5, performers=2, segments=3, movements=2).scores.values()):
        name = f"{number:032x}"
        (folder / "midi" / f"{name}.mid").write_bytes(midi_bytes(score))
        labels[name] = [["Jazz"], ["Blues"]][number % 2]
    (folder / "map.json").write_text(json.dumps({"topmagd": labels}))
    options = GenreOptions("topmagd", n_folds=2, layout="bin")
    build_genre(folder / "map.json", folder / "midi", folder / "bin", options, progress=False)
    return folder / "bin"


@pytest.fixture(scope="module")
def model():
    return musicbert.from_pretrained("musicbert-mini", device="cpu")


def test_vectors_do_not_depend_on_the_company(databin, model):
    everything = window_vectors(model, databin / "0", "train", np.arange(4))
    some = window_vectors(model, databin / "0", "train", np.array([1, 3]))
    assert everything.shape == (4, 256)
    np.testing.assert_allclose(some, everything[[1, 3]], atol=1e-5)


def test_known_vectors_are_taken(databin, model):
    known = {}
    first = probe_scores(model, databin / "0", known=known)
    assert first.shape[1] == 2
    assert ((first >= 0) & (first <= 1)).all()
    for key in known:
        known[key] = np.zeros(256)
    constant = probe_scores(model, databin / "0", known=known)
    assert np.ptp(constant, axis=0).max() < 1e-9 < np.ptp(first, axis=0).max()


def test_rows_of_the_scores(databin, model, tmp_path):
    rows = score_genres(
        databin, tmp_path, checkpoints={}, probes={"probe of x": model}, scoring=Scoring(resamples=10)
    )
    assert {"majority", "logistic", "probe of x"} <= {row.name for row in rows}


def test_whole_pieces_are_probed_by_all_their_windows(databin, model, tmp_path):
    known = {}
    scores = whole_probe_scores(model, databin / "0", known=known)
    assert {len(vector) for vector in known.values()} == {512}
    about = SentenceBin(databin / "0", parts=["test"])
    assert scores.shape == (len(about), 2)
    for name in set(about.ids):  # one score a piece
        assert np.ptp(scores[[k for k, each in enumerate(about.ids) if each == name]], axis=0).max() == 0
    rows = score_genres(
        databin,
        tmp_path,
        checkpoints={},
        probes={"probe of x": model},
        whole=True,
        scoring=Scoring(resamples=10),
    )
    names = [row.name for row in rows]
    assert names[-3:] == ["probe of x", "probe of x, all windows", "probe of x, all windows, and features"]


def test_random_weights_of_the_same_sizes(model):
    before, other = model.module.state_dict(), random_twin(model, seed=1)
    assert {name: value.shape for name, value in other.items()}.items() <= {
        name: value.shape for name, value in before.items()
    }.items()
    name = "encoder.sentence_encoder.layers.0.fc1.weight"
    assert not np.allclose(other[name], before[name])
    assert np.array_equal(other[name], random_twin(model, seed=1)[name])
    assert not np.array_equal(other[name], random_twin(model, seed=2)[name])
