"""Frozen probes of whole pieces: every row on a data-bin and on shards, and the kept predictions."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from few_trees import few_trees  # noqa: F401
from probe_music import BLENDS, PROBES, WEIGHTS, labelled, markdown, probe, read_music, score, vectors

from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.corpus.sentences.genre import GenreOptions, build_genre
from musicbert.evaluation.baselines import sentences
from musicbert.evaluation.metrics.bootstrap import interval, resample
from musicbert.evaluation.predictions import kept, load_predictions, save_predictions
from musicbert.evaluation.rows import draw_scores
from musicbert.midi import midi_bytes
from musicbert.synthesis import make_set


@pytest.fixture(scope="module")
def music():
    return list(make_set(5, performers=2, segments=2, movements=8).scores.values())


@pytest.fixture(scope="module")
def bin_of_genres(music, tmp_path_factory):
    folder = tmp_path_factory.mktemp("genre")
    (folder / "midi").mkdir()
    names = [f"{number:032x}" for number in range(len(music))]
    for name, notes in zip(names, music, strict=True):
        (folder / "midi" / f"{name}.mid").write_bytes(midi_bytes(notes))
    labels = {name: [["Jazz"], ["Blues"], ["Jazz", "Blues"]][k % 3] for k, name in enumerate(names)}
    (folder / "map.json").write_text(json.dumps({"topmagd": labels}))
    options = GenreOptions("topmagd", n_folds=2, layout="bin", length=20, windows=2, test_windows=2)
    build_genre(folder / "map.json", folder / "midi", folder / "bin", options, progress=False)
    return folder / "bin"


@pytest.fixture(scope="module")
def shards(music, tmp_path_factory):
    task = Task("emotion", "emotion", "sequence", "classes", ("calm", "loud"), "accuracy")
    pieces = [
        LabelledPiece(f"p{k}", notes, f"p{k}", {"emotion": k % 2}, {"clean": str(k % 3)}, f"p{k}")
        for k, notes in enumerate(music)
    ]
    folder = tmp_path_factory.mktemp("shards") / "set"
    write_shards(pieces, "octuple", folder, [task], with_features=True)
    return folder


class Network:
    """States that are the mean pitch, in the second of four layers."""

    config = SimpleNamespace(layers=4)

    def __init__(self):
        self.rows = 0

    def moments(self, rows, layer):
        self.rows += len(rows)
        return np.stack([np.full((1, 2), each[:, 3].mean() * (layer == 2)) for each in rows])


def test_every_row_on_a_data_bin(bin_of_genres, monkeypatch, tmp_path):
    monkeypatch.setattr(sentences, "TREES", 20)
    found = read_music(bin_of_genres)
    assert found.about.kind == "multilabel"
    assert all(len(each) == 2 for each in found.windows)
    for train, test in found.rounds:
        assert not set(found.about.groups[train]) & set(found.about.groups[test])
    network = Network()
    states = vectors(network, found, tmp_path / "cache.npz")
    pitch = [np.mean([rows[:, 3].mean() for rows in each]) for each in found.windows]
    np.testing.assert_allclose(states[:, 0], pitch, rtol=1e-6)
    again = Network()
    assert np.array_equal(vectors(again, found, tmp_path / "cache.npz"), states)
    assert network.rows
    assert not again.rows
    # states that say the label are found, and given weight; noise is not better than chance
    told = np.tile(found.about.target, 200)
    rows, weights = probe(found, {PROBES[0]: told, PROBES[1]: np.zeros_like(told)})
    assert {len(each) for each in weights.values()} == {2}
    assert max(weights["pre-trained and features"]) > 0
    seen = set(found.about.ids[:3].tolist())
    result = score(rows, seen)
    assert result["parts"]["all"]["rows"]["pre-trained"]["value"] > 0.95
    assert result["parts"]["all"]["rows"]["random weights"]["value"] < 0.7
    assert result["parts"]["seen"]["pieces"] == 3
    gain = result["parts"]["all"]["differences"][0]
    metric, draws = result["metric"], resample(result["parts"]["all"]["groups"])
    values = [draw_scores(rows[name], draws)[metric] for name in PROBES]
    assert gain == {"row": PROBES[0], "minus": PROBES[1]} | interval(values[0] - values[1]).as_dict()
    assert f"| {PROBES[0]} minus {PROBES[1]} | +" in markdown(result | {"title": "t", "about": "a"})


def test_shards_and_kept_predictions(shards, tmp_path):
    found = read_music(shards)
    assert [len(test) for _, test in found.rounds] == [11, 11, 10]
    states = vectors(Network(), found)
    rows, weights = probe(found, dict.fromkeys(PROBES, states))
    assert all(weight in WEIGHTS for each in weights.values() for weight in each)
    for name, source in BLENDS.items():  # the blend is the mean that it says
        of = np.repeat(weights[name], [len(test) for _, test in found.rounds])[:, None]
        parts = [np.exp(rows[row].outputs) for row in (source, "features: ensemble")]
        np.testing.assert_allclose(np.exp(rows[name].outputs), of * parts[0] + (1 - of) * parts[1], atol=1e-9)
    save_predictions(tmp_path / "kept.npz", {name: kept(part) for name, part in rows.items()})
    stored = load_predictions(tmp_path / "kept.npz")
    assert all((part.target == -1).all() for part in stored.values())
    for name, part in labelled(stored, found.about.ids.tolist(), found.about.target).items():
        assert np.array_equal(part.target, rows[name].target)
