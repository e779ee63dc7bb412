"""Figures of the tables follow from the predictions that are kept beside them."""

import json

import numpy as np
import pytest

from musicbert.corpus.files.folders import read_npz
from musicbert.corpus.readers import get_task
from musicbert.evaluation.baselines.benchmark import PIECE_MODELS

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
