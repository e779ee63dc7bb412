"""Result files of before get typed rows; no value changes, and a second call changes nothing."""

import json

from migrate_rows import migrate

from musicbert.evaluation.rows import read_rows, shown_name


def entry(value, low=None, high=None, sd=None):
    return {"value": value, "low": low, "high": high, "sd": sd}


def rating_row(value, **more):
    r2 = {"mean": entry(value, value - 0.1, value + 0.1, 0.05), "each": [value, 0.5]}
    scores = {"pooled": {"r2": r2, "mse": {"mean": entry(0.02), "each": [0.01, 0.03]}}}
    scores |= {"mean_of_folds": {"r2": 0.1, "mse": 0.02}, "flattened_r2": 0.9}
    return {"n": 9, "folds": 2, "bootstrap": {"resamples": 9, "over": "items"}, "regression": scores, **more}


def test_reports_and_tables(tmp_path):
    dimensions = [
        {"name": "Soft", "low": "soft", "high": "loud"},
        {"name": "Long", "low": "long", "high": "short"},
    ]
    one = rating_row(0.2, seeds={"r2": {"1": 0.1, "2": 0.3}, "mse": {"1": 0.02, "2": 0.02}})
    report = {
        "name": "xai, segment: plain, regression", "task": "regression", "label_kind": "apex",
        "dimensions": dimensions, "classes": ["a"], "ceiling": [0.8, 0.6], "provenance": {},
        "runs": [{"fold": "0", "seed": 1}, {"fold": "0", "seed": 2}],
        "rows": {
            "network, one seed": one,
            "network, ensemble of 2 seeds": rating_row(0.3),
            "mean": rating_row(0.0),
        },
        "networks": [],
        "differences": {"network, ensemble of 2 seeds": {"against": "mean", "n": 9, **entry(0.3)}},
    }  # fmt: skip
    scores = {
        "title": "x_data_bin, test", "notes": ["n"], "provenance": {},
        "classes": {"majority": {"Jazz": {"true": 3, "roc_auc": 0.5}}},
        "rows": {
            "majority": {"f1_micro": entry(0.1), "f1_micro of folds": entry(0.2, sd=0.01)},
            "net, mean of 2 seeds": {"f1_micro": entry(0.5, sd=0.02)},
        },
    }  # fmt: skip
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "scores.json").write_text(json.dumps(scores))
    (tmp_path / "t" / "scores.md").write_text("| row | f1_micro | f1_micro of folds |\n|---|---|---|\n")
    assert [path.name for path in migrate(tmp_path)] == ["report.json", "scores.json"]
    content = json.loads((tmp_path / "report.json").read_text())
    rows = {shown_name(row): row for row in read_rows(content["rows"])}
    assert list(rows) == ["network, mean of 2 seeds", "network, ensemble of 2 seeds", "mean", "noise ceiling"]
    first = rows["network, mean of 2 seeds"]
    assert (first.entry("r2")["by_seed"], first.value("r2:Long"), first.over) == ([0.1, 0.3], 0.5, "pieces")
    assert rows["noise ceiling"].value("r2") == 0.7
    assert (content["split"], content["differences"][0]["seeds"]) == ("segment", "ensemble")
    content = json.loads((tmp_path / "t" / "scores.json").read_text())
    majority, net = read_rows(content["rows"])
    assert (majority.value("micro_f1"), majority.value("roc_auc:Jazz")) == (0.1, 0.5)
    assert majority.scores["mean_of_folds"]["micro_f1"]["sd"] == 0.01
    assert (net.kind, net.seeds, net.n_seeds, net.entry("micro_f1")["seeds_sd"]) == (
        "network",
        "one",
        2,
        0.02,
    )
    assert content["columns"] == [["micro_f1", "micro_f1 of folds"]]
    assert content["classes"] == {"Jazz": 3}
    assert migrate(tmp_path) == []
