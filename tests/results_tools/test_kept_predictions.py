"""Figures of the tables follow from the predictions that are kept beside them."""

import json

import numpy as np
import pytest

from musicbert.corpus.files.folders import read_npz
from musicbert.corpus.readers import get_task
from musicbert.evaluation.baselines.benchmark import PIECE_MODELS
from musicbert.evaluation.metrics.bootstrap import group_numbers, interval, resample
from musicbert.evaluation.metrics.classification import classification_draws
from musicbert.evaluation.metrics.regression import regression_draws

#: names of the files of Pianist8 that are misspelled
TYPING = {"Hisaisi": "Hisaishi", "Ryuici": "Ryuichi"}


@pytest.mark.parametrize("task", ["PS", "ER"])
def test_scores_of_pieces_follow_from_the_kept_classes(root, task):
    """Pianist8's files begin with the pianist, VGMIDI's with the quadrant."""
    rows = json.loads((root / "results/baselines_smc.json").read_text())["rows"]
    kept, classes = read_npz(root / "results/baselines_smc.predictions.npz"), get_task(task).task.classes
    for row in (row for row in rows if row["task"] == task):
        key = f"{task}/{row['split']}"
        spelled = [TYPING.get(name.partition("_")[0], name) for name in kept[f"{key}/ids"].tolist()]
        truth = np.array([next(k for k, c in enumerate(classes) if name.startswith(c)) for name in spelled])
        right = kept[f"{key}/{row['baseline']}"] == truth
        by_round = [float(right[kept[f"{key}/round"] == k].mean()) for k in range(len(row["folds"]))]
        assert by_round == pytest.approx([fold["pieces"] for fold in row["folds"]])
        assert np.mean(by_round) == pytest.approx(row["pieces"])
    assert {row["baseline"] for row in rows if row["task"] == task} >= set(PIECE_MODELS)


@pytest.mark.parametrize("split", ["segment", "segment_clean", "segment_clean_performer"])
def test_baselines_of_ratings_follow_from_the_kept_predictions(root, split):
    """Values and intervals, which draw the four groups of the published test."""
    result = json.loads((root / "results/baselines_xai.json").read_text())
    kept = read_npz(root / f"results/baselines_xai_{split}.npz")
    number, count = group_numbers(kept["groups"])
    weights = resample(count, seed=result["provenance"]["seed"])
    assert count == 4
    for row in result["splits"][split]["rows"]:
        outputs = kept[f"row:{row['name']}"].astype(np.float64)
        if split.endswith("performer"):
            names = [str(k) for k in range(outputs.shape[1])]
            guess = outputs.argmax(axis=1)
            draws = classification_draws(kept["target"], guess, names, weights, number)["accuracy"]
        else:
            draws = regression_draws(kept["target"], outputs, (), weights, number)["r2"]
        metric = "accuracy" if split.endswith("performer") else "r2"
        stored, again = row["scores"]["pooled"][metric], interval(draws).as_dict()
        for end in ("value", "low", "high"):
            assert again[end] == pytest.approx(stored[end], abs=5e-4), (row["name"], end)
