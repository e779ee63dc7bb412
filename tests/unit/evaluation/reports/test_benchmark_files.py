"""What a benchmark leaves behind when it is cut off."""

import json

import pytest

from musicbert.evaluation.reports.benchmark import TaskFiles

BOTH = {("ME", "clean"): "d0", ("VE", "clean"): "d0"}


def scored(task, mean, **more):
    more = {"data": {"sha256": "d0"}, **more}
    return {"task": task, "split": "clean", "network": {"score": {"mean": mean, "sd": None}}, **more}


def begin(folder, *, model="a", share=1.0, expected=BOTH):
    return TaskFiles(folder, model, expected, made_from={"share": share}, made_by={"seed": 0})


def rows(folder):
    content = json.loads((folder / "scores.json").read_text())
    return {row["task"]: row["network"]["score"]["mean"] for row in content["rows"]}


def test_scores_of_an_earlier_call_stay_until_this_one_has_its_own(tmp_path):
    files = begin(tmp_path)
    for task in ("ME", "VE"):
        files.records.append(scored(task, 0.5))
        files.write()
    again = begin(tmp_path)
    again.records.append(scored("ME", 0.6))
    again.write()
    assert rows(tmp_path) == {"ME": 0.6, "VE": 0.5}
    assert "| VE | clean | accuracy | 0.500 |" in (tmp_path / "table.md").read_text()
    again.records.append({"task": "VE", "split": "clean", "note": "it failed", "network": None})
    again.write()
    assert "it failed" in (tmp_path / "table.md").read_text()
    assert "0.500" not in (tmp_path / "table.md").read_text()


OTHER_DATA = {"expected": dict.fromkeys(BOTH, "d1")}
FEWER = {"expected": {("ME", "clean"): "d0"}}


@pytest.mark.parametrize("other", [{"model": "b"}, {"share": 0.1}, FEWER, OTHER_DATA])
def test_scores_of_something_else_do_not(tmp_path, other):
    files = begin(tmp_path)
    files.records += [scored("VE", 0.5)]
    files.write()
    again = begin(tmp_path, **other)
    again.records.append(scored("ME", 0.6))
    again.write()
    assert rows(tmp_path) == {"ME": 0.6}


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"model": "a", "rows": [3]}'])
def test_a_broken_file_is_written_over(tmp_path, content):
    (tmp_path / "scores.json").write_text(content)
    files = begin(tmp_path)
    files.records.append(scored("ME", 0.6))
    files.write()
    assert rows(tmp_path) == {"ME": 0.6}
