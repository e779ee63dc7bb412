"""Rows of baselines and their differences are computed again from the predictions in `results/`."""

import json
from pathlib import Path

import numpy as np
import pytest

from musicbert.corpus.files.folders import read_npz
from musicbert.evaluation.metrics.bootstrap import group_numbers, interval, resample
from musicbert.evaluation.metrics.regression import regression_draws

RESULTS = Path(__file__).parents[2] / "results"
KEPT = [
    pytest.param(path, split, content, id=f"{path.stem} {split}")
    for path in sorted(RESULTS.glob("baselines_*.json"))
    for split, content in json.loads(path.read_text()).get("splits", {}).items()
    if "differences" in content
]


def test_there_are_some():
    assert len(KEPT) >= 4


@pytest.mark.parametrize(("path", "split", "content"), KEPT)
def test_scores_and_differences_follow_from_kept_predictions(path, split, content):
    kept = read_npz(path.with_name(f"{path.stem}_{split}.npz"))
    number, count = group_numbers(kept["groups"])
    configuration = json.loads(path.read_text())["provenance"]
    weights = resample(
        count, n_resamples=configuration["configuration"]["resamples"], seed=configuration["seed"]
    )
    names = [name.removeprefix("row:") for name in kept if name.startswith("row:")]
    draws = {
        name: regression_draws(
            kept["target"], kept[f"row:{name}"].astype(np.float64), (), weights, number
        )["r2"]
        for name in names
    }  # fmt: skip
    scores = {row["name"]: row["scores"]["pooled"]["r2"] for row in content["rows"]}
    for name, drawn in draws.items():
        got = interval(drawn).as_dict()
        for bound in ("value", "low", "high"):
            assert got[bound] == pytest.approx(scores[name][bound], abs=2e-4), name
    for entry in content["differences"]:
        got = interval(draws[entry["row"]] - draws[entry["minus"]]).as_dict()
        for bound in ("value", "low", "high"):
            assert got[bound] == pytest.approx(entry["r2"][bound], abs=2e-4)
