"""Tables of scores on disk, means over seeds, and finding checkpoints."""

import csv
import json

import numpy as np
import pytest

from musicbert.errors import CheckpointError
from musicbert.evaluation.rows import Row, read_rows, row_from_draws, shown_name
from musicbert.evaluation.tables import write_scores


def cell(value, spread=None):
    low, high = (None, None) if spread is None else (value - spread, value + spread)
    return {"value": value, "low": low, "high": high}


def row(name, kind="network", **pooled):
    return Row(kind, {"pooled": pooled}, name=name, split="test", task="label")


def test_the_mean_over_seeds_has_the_interval_of_the_mean():
    draws = [{"map": np.array([0.5, 0.4, 0.7])}, {"map": np.array([0.7, 0.6, 0.7])}]
    mean = row_from_draws("network", draws, seeds="one", name="net")
    found = mean.entry("map")
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.6, 0.505, 0.695))
    assert found["seeds_sd"] == pytest.approx(0.1414, abs=1e-4)
    assert shown_name(mean) == "net, mean of 2 seeds"


def test_the_three_files_say_the_same(tmp_path):
    rows = [
        row("chance", "baseline", map=cell(0.1)),
        row("net seed1", map=cell(0.5, 0.1), **{"hits@1": cell(0.25, 0.05)}),
        Row(
            "network",
            {
                "pooled": {"map": {**cell(0.6, 0.1), "seeds_sd": 0.1414}},
                "mean_of_folds": {"map": {"value": 0.6, "sd": 0.2}},
            },
            seeds="one",
            name="net",
            n_seeds=2,
        ),
    ]
    columns = [["map", "hits@1"], ["map of folds"]]
    write_scores(tmp_path / "out", title="T", notes=["N."], rows=rows, metrics=columns, more={"n": 3})
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (content["n"], content["columns"]) == (3, columns)
    back = read_rows(content["rows"])
    assert [each.as_dict() for each in back] == [each.as_dict() for each in rows]
    assert back[1].entry("map") == {"value": 0.5, "low": 0.4, "high": 0.6}
    with (tmp_path / "out" / "scores.csv").open() as file:
        lines = list(csv.DictReader(file))
    first = {name: lines[1][name] for name in ("row", "kind", "metric", "value", "low", "high")}
    assert list(first.values()) == ["net seed1", "network", "map", "0.50000", "0.40000", "0.60000"]
    assert len(lines) == 1 + 2 + 1
    text = (tmp_path / "out" / "scores.md").read_text()
    assert "| net seed1 | 0.500 [0.400, 0.600] | 0.250 [0.200, 0.300] |" in text
    assert "| net, mean of 2 seeds | 0.600 [0.500, 0.700], sd of seeds 0.141 | – |" in text
    assert "| net, mean of 2 seeds | 0.600 ± 0.200 |" in text
    assert "| chance | 0.100 | – |" in text


def test_checkpoints_are_found_in_runs_and_by_pattern(tmp_path, monkeypatch):
    from musicbert.predict.sentences.scoring import find_fold_runs, find_runs

    monkeypatch.chdir(tmp_path)
    for name in ("nsp/seed1/checkpoint_best.pt", "nsp/seed2/checkpoint_last.pt", "one/checkpoint_best.pt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(find_runs("nsp")) == ["nsp seed1", "nsp seed2"]
    assert find_runs("nsp")["nsp seed2"].name == "checkpoint_last.pt"
    assert list(find_runs("one")) == list(find_runs("one/checkpoint_best.pt")) == ["one"]
    for fold in (0, 1):
        for name in (f"g/fold{fold}/seed3/checkpoint_best.pt", f"best_topmagd_{fold}_next.pt"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
    assert {row: list(folds) for row, folds in find_fold_runs("g").items()} == {"g seed3": ["0", "1"]}
    # a lone x is the fold; the x of "next" is not
    (row,) = find_fold_runs("best_topmagd_x_next.pt").values()
    assert [path.name for path in row.values()] == ["best_topmagd_0_next.pt", "best_topmagd_1_next.pt"]
    (row,) = find_fold_runs("g/fold{fold}/seed3/checkpoint_best.pt").values()
    assert list(row) == ["0", "1"]
    for missing in ("none", "none/x.pt"):
        with pytest.raises(CheckpointError, match="not-found"):
            find_fold_runs(missing)
        with pytest.raises(CheckpointError, match="not-found"):
            find_runs(missing)
