"""The last rows of each set of baselines and their differences are computed again from what `results/` keeps.

The files hold no labels, since not all ratings may be passed on: they are made here from the ratings.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from musicbert.annotation.label_map import LabelMap
from musicbert.corpus.files.folders import read_npz
from musicbert.evaluation.metrics.bootstrap import group_numbers, interval, resample
from musicbert.evaluation.metrics.classification import classification_draws
from musicbert.evaluation.metrics.regression import regression_draws

RESULTS = Path(__file__).parents[2] / "results"
KEPT = [
    pytest.param(path, split, content, id=f"{path.stem} {split}")
    for path in sorted(RESULTS.glob("baselines_*.json"))
    for split, content in json.loads(path.read_text()).get("splits", {}).items()
    if path.with_name(f"{path.stem}_{split}.npz").is_file()
]


def test_there_are_some_and_none_holds_labels():
    assert len(KEPT) >= 8
    for path in RESULTS.glob("baselines_*_*.npz"):
        assert {name for name in read_npz(path) if not name.startswith("row:")} == {"ids", "groups"}


@pytest.mark.shared
@pytest.mark.parametrize(("path", "split", "content"), KEPT)
def test_scores_and_differences_follow_from_kept_predictions(path, split, content, label_map):
    kept = read_npz(path.with_name(f"{path.stem}_{split}.npz"))
    file = label_map(path.stem.removeprefix("baselines_"))
    made_from = json.loads(path.read_text())["provenance"]["data"]["labels"]["sha256"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == made_from
    labels = LabelMap.load(file)
    at = [labels.ids.index(name) for name in kept["ids"].tolist()]
    number, count = group_numbers(kept["groups"])
    configuration = json.loads(path.read_text())["provenance"]
    weights = resample(
        count, n_resamples=configuration["configuration"]["resamples"], seed=configuration["seed"]
    )
    names = [name.removeprefix("row:") for name in kept if name.startswith("row:")][-3:]
    outputs = {name: kept[f"row:{name}"].astype(np.float64) for name in names}
    if split.endswith("performer"):
        metric, kinds = "accuracy", [str(k) for k in range(len(labels.classes))]
        draws = {
            name: classification_draws(labels.class_of[at], rows.argmax(axis=1), kinds, weights, number)[
                metric
            ]
            for name, rows in outputs.items()
        }
    else:
        metric = "r2"
        draws = {
            name: regression_draws(labels.values[at], rows, (), weights, number)[metric]
            for name, rows in outputs.items()
        }
    scores = {row["name"]: row["scores"]["pooled"][metric] for row in content["rows"]}
    for name, drawn in draws.items():
        got = interval(drawn).as_dict()
        for bound in ("value", "low", "high"):
            assert got[bound] == pytest.approx(scores[name][bound], abs=2e-4), name
    pairs = [e for e in content.get("differences", ()) if {e["row"], e["minus"]} <= draws.keys()]
    assert bool(pairs) == ("differences" in content)
    for entry in pairs:
        got = interval(draws[entry["row"]] - draws[entry["minus"]]).as_dict()
        for bound in ("value", "low", "high"):
            assert got[bound] == pytest.approx(entry["r2"][bound], abs=2e-4)
