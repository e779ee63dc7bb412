"""Score files put together: every row once, with where it comes from; other data is an error."""

import json

import pytest
from merge_scores import merge_scores

from musicbert.errors import DatasetError
from musicbert.evaluation.rows import Row, read_rows
from musicbert.evaluation.tables import write_scores


def _cell(value):
    return {"value": value, "low": None, "high": None}


def _scores(folder, rows, *, title="a_data_bin, test", command="one"):
    return write_scores(
        folder,
        title=title,
        notes=["two pieces."],
        rows=[
            Row("network", {"pooled": {"map": _cell(value), "hits@1": _cell(value / 2)}}, name=row)
            for row, value in rows.items()
        ],
        metrics=[["map"], ["hits@1"]],
        more={"about": {"task": "next"}, "queries": 2, "provenance": {"command": command}},
    )


def test_rows_of_all_parts_with_their_provenance(tmp_path):
    one = _scores(tmp_path / "one", {"chance": 0.1, "trees": 0.5, "net seed1": 0.2})
    two = _scores(tmp_path / "two", {"chance": 0.1, "net seed1": 0.6}, command="two")
    three = _scores(tmp_path / "three", {"net seed1": 0.7}, command="three")
    merge_scores([one, two], one)
    merge_scores([one, three], one, names={"net": "net, longer,"}, notes=["seen."])
    found = json.loads((one / "scores.json").read_text())
    assert {row.name: row.value("map") for row in read_rows(found["rows"])} == {
        "chance": 0.1, "trees": 0.5, "net seed1": 0.6, "net, longer, seed1": 0.7,
    }  # fmt: skip
    assert [(each["rows"], each["provenance"]["command"]) for each in found["parts"]] == [
        (["chance", "trees"], "one"),
        (["net seed1"], "two"),
        (["net, longer, seed1"], "three"),
    ]
    assert found["queries"] == 2
    text = (one / "scores.md").read_text()
    assert "two pieces." in text
    assert "seen." in text
    assert text.count("| row |") == 2
    assert "| net seed1 | 0.600 |" in text
    assert "net seed1,network,,map,0.60000,," in (one / "scores.csv").read_text()


def test_what_later_parts_replace_is_left_out(tmp_path):
    one = _scores(tmp_path / "one", {"chance": 0.1, "net seed1": 0.2, "net, mean of 1 seeds": 0.2})
    two = _scores(tmp_path / "two", {"wide seed1": 0.6}, command="two")
    merge_scores([one, two], one)
    merge_scores([one, two], one, drop=["net", "two pieces"])
    found = json.loads((one / "scores.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["chance", "wide seed1"]
    assert [each["rows"] for each in found["parts"]] == [["chance"], ["wide seed1"]]
    assert found["notes"] == []
    with pytest.raises(DatasetError, match=r"begins with 'nett'.*its rows are chance, wide seed1"):
        merge_scores([one, two], one, drop=["chance", "nett"])  # a misspelt name loses nothing silently


def test_other_data_and_no_scores(tmp_path):
    one = _scores(tmp_path / "one", {"net": 0.2})
    other = _scores(tmp_path / "other", {"net": 0.2}, title="b_data_bin, test")
    with pytest.raises(DatasetError, match="other data"):
        merge_scores([one, other], tmp_path / "out")
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetError, match=r"no scores\.json"):
        merge_scores([one, tmp_path / "none"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
