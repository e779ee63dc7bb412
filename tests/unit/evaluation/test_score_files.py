"""Tables of scores on disk, means over seeds, and finding checkpoints."""

import csv
import json

import pytest

from musicbert.errors import CheckpointError
from musicbert.evaluation.reports.score_files import with_means, write_scores


def cell(value, spread=None):
    low, high = (None, None) if spread is None else (value - spread, value + spread)
    return {"value": value, "low": low, "high": high}


ROWS = {
    "chance": {"map": cell(0.1)},
    "net seed1": {"map": cell(0.5, 0.1), "hits@1": cell(0.25, 0.05)},
    "net seed2": {"map": cell(0.7, 0.1), "hits@1": cell(None)},
}


def test_means_over_seeds_follow_the_rows_of_the_seeds():
    rows = with_means(ROWS)
    assert list(rows) == [*ROWS, "net, mean of 2 seeds"]
    mean = rows["net, mean of 2 seeds"]
    assert mean["map"]["value"] == pytest.approx(0.6)
    assert mean["map"]["sd"] == pytest.approx(0.1414, abs=1e-4)
    assert mean["hits@1"]["value"] == 0.25
    assert mean["hits@1"]["sd"] is None
    assert with_means({"chance": ROWS["chance"]}) == {"chance": ROWS["chance"]}


def test_the_three_files_say_the_same(tmp_path):
    rows = with_means(ROWS)
    write_scores(
        tmp_path / "out", title="T", notes=["N."], rows=rows, metrics=[["map", "hits@1"]], more={"n": 3}
    )
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert content["n"] == 3
    assert content["rows"]["net seed1"]["map"] == {"value": 0.5, "low": 0.4, "high": 0.6}
    with (tmp_path / "out" / "scores.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {
        "row": "net seed1",
        "metric": "map",
        "value": "0.50000",
        "low": "0.40000",
        "high": "0.60000",
    } in lines
    assert len(lines) == 1 + 2 + 2 + 2
    text = (tmp_path / "out" / "scores.md").read_text()
    assert "| net seed1 | 0.500 [0.400, 0.600] | 0.250 [0.200, 0.300] |" in text
    assert "| net, mean of 2 seeds | 0.600 ± 0.141 | 0.250 |" in text
    assert "| chance | 0.100 | – |" in text


def test_checkpoints_are_found_in_runs_and_by_pattern(tmp_path, monkeypatch):
    from musicbert.predict.sentences.runs import find_fold_runs, find_runs

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
