"""Figures of the tables follow from the predictions that are kept beside them."""

import json
import tarfile

import numpy as np
import pytest
from probe_music import labelled, score

from musicbert.corpus.files.folders import read_npz
from musicbert.corpus.readers import get_task
from musicbert.corpus.sentences.genre import read_genres
from musicbert.evaluation.baselines.benchmark import PIECE_MODELS
from musicbert.evaluation.predictions import load_predictions
from musicbert.evaluation.reports.seen import read_seen
from musicbert.evaluation.tables import dump

#: names of the files of Pianist8 that are misspelled
TYPING = {"Hisaisi": "Hisaishi", "Ryuici": "Ryuichi"}


def named_classes(names, classes):
    """Classes by the names of the files: Pianist8's begin with the pianist, VGMIDI's with the quadrant."""
    spelled = [TYPING.get(name.partition("_")[0], name) for name in names]
    return np.array([next(k for k, c in enumerate(classes) if name.startswith(c)) for name in spelled])


@pytest.mark.parametrize("task", ["PS", "ER"])
def test_scores_of_pieces_follow_from_the_kept_classes(root, task):
    rows = json.loads((root / "results/baselines_smc.json").read_text())["rows"]
    kept, classes = read_npz(root / "results/baselines_smc.predictions.npz"), get_task(task).task.classes
    for row in (row for row in rows if row["task"] == task):
        key = f"{task}/{row['split']}"
        truth = named_classes(kept[f"{key}/ids"].tolist(), classes)
        right = kept[f"{key}/{row['baseline']}"] == truth
        by_round = [float(right[kept[f"{key}/round"] == k].mean()) for k in range(len(row["folds"]))]
        assert by_round == pytest.approx([fold["pieces"] for fold in row["folds"]])
        assert np.mean(by_round) == pytest.approx(row["pieces"])
    assert {row["baseline"] for row in rows if row["task"] == task} >= set(PIECE_MODELS)


def check_probe(root, task, truth, n_resamples):
    """Scores of a frozen probe follow from its predictions and what `truth` says of ids and classes."""
    place = root / "results" / "probes" / task
    record, kept = json.loads((place / "probe.json").read_text()), load_predictions(place / "predictions.npz")
    first = next(iter(kept.values()))
    ids = first.ids.tolist()
    found = labelled(kept, ids, truth(ids, first.classes))
    seen = read_seen(f"{root / 'results' / 'overlaps.json'}:{record['model']}")
    result = json.loads(dump(score(found, seen, n_resamples)))
    if n_resamples == 1000:
        assert {name: record[name] for name in result} == result
    for part, scores in result["parts"].items():
        stored = record["parts"][part]
        assert {k: v["value"] for k, v in stored["rows"].items()} == {
            k: v["value"] for k, v in scores["rows"].items()
        }
        for one, other in zip(stored["differences"], scores["differences"], strict=True):
            assert (one["row"], one["minus"], one["value"]) == (other["row"], other["minus"], other["value"])


@pytest.mark.parametrize("task", ["pianist", "emotion"])
def test_probes_follow_from_their_predictions(root, task):
    check_probe(root, task, named_classes, 1000)


@pytest.mark.shared
@pytest.mark.parametrize(("task", "subset"), [("genre", "topmagd"), ("style", "masd")])
def test_probes_of_genre_and_style_follow_from_their_predictions(root, shared, tmp_path, task, subset):
    """Without intervals, which take longer."""
    with tarfile.open(shared / "data" / "tasks" / "genre_lmd_topmagd_masd.tar.xz") as archive:
        content = archive.extractfile("./midi_genre_map.json").read()
    (tmp_path / "map.json").write_bytes(content)
    genres = read_genres(tmp_path / "map.json", subset)

    def truth(ids, classes):
        return np.array([[float(name in genres[piece]) for name in classes] for piece in ids])

    check_probe(root, task, truth, 1)
