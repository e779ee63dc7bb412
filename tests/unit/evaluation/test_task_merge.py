"""Tables of a benchmark from several calls."""

import importlib.util
import json

import pytest

from musicbert.errors import DatasetError
from musicbert.evaluation.task_merge import merge_benchmarks


def part(folder, rows, model="checkpoint_best.pt"):
    folder.mkdir()
    content = {"model": model, "rows": rows, "made_by": {"command": f"benchmark {folder.name}"}}
    (folder / "scores.json").write_text(json.dumps(content))
    return folder


def row(task, score=None, *, data="a", **more):
    network = None if score is None else {"runs": [], "score": {"mean": score, "sd": 0.01}}
    return {"task": task, "split": "clean", "data": {"sha256": data}, "network": network, **more}


def test_networks_of_one_machine_and_baselines_of_another(tmp_path):
    baselines = {"majority": {"score": 0.1}, "pitch": {"score": 0.3}}
    first = part(
        tmp_path / "a", [row("ME", baselines=baselines, note="0 of 3 runs are done"), row("VE", 0.2)]
    )
    second = part(tmp_path / "b", [row("ME", 0.9)])
    out = merge_benchmarks([first, second], tmp_path / "out", model="big")
    content = json.loads((out / "scores.json").read_text())
    assert content["model"] == "big"
    melody, velocity = content["rows"]
    assert melody["network"]["score"]["mean"] == 0.9
    assert melody["baselines"] == baselines
    assert "note" not in melody
    assert velocity["network"]["score"]["mean"] == 0.2
    parts = content["made_by"]["parts"]
    assert [(each["tasks"], each["command"]) for each in parts] == [
        (["ME", "VE"], "benchmark a"), (["ME"], "benchmark b"),
    ]  # fmt: skip
    table = (out / "table.md").read_text()
    assert "| ME | clean |" in table
    assert "0.900 ± 0.010" in table
    assert "0.300 (pitch)" in table
    # into a part of its own, with what came later
    again = merge_benchmarks([out, part(tmp_path / "c", [row("VE", 0.5)])], out)
    content = json.loads((again / "scores.json").read_text())
    assert (content["model"], content["rows"][1]["network"]["score"]["mean"]) == ("big", 0.5)
    assert len(content["made_by"]["parts"]) == 3


def test_parts_that_do_not_fit(tmp_path):
    first = part(tmp_path / "a", [row("ME", 0.9)])
    with pytest.raises(DatasetError, match="other-data"):
        merge_benchmarks([first, part(tmp_path / "b", [row("ME", 0.9, data="b")])], tmp_path / "out")
    with pytest.raises(DatasetError, match="bad-scores"):
        merge_benchmarks([first, tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_script(root, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("merge", root / "scripts" / "merge_benchmarks.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    first = part(tmp_path / "a", [row("ME", 0.9)])
    assert script.main([str(first), "--output", str(tmp_path / "out"), "--model", "x"]) == 0
    assert (tmp_path / "out" / "table.md").is_file()
    assert script.main([str(tmp_path), "--output", str(tmp_path / "out2")]) == 2
    assert "musicbert benchmark --output" in capsys.readouterr().err
