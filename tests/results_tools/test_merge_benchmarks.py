"""Tables of a benchmark from several calls."""

import json

import pytest
from merge_benchmarks import main, merge_benchmarks

from musicbert.errors import DatasetError
from musicbert.evaluation.reports.benchmark import benchmark_table, summary_of_runs


def part(folder, rows, model="checkpoint_best.pt"):
    folder.mkdir()
    content = {"model": model, "rows": rows, "made_by": {"command": f"benchmark {folder.name}"}}
    (folder / "scores.json").write_text(json.dumps(content))
    return folder


def run(fold, seed, score):
    return {"fold": str(fold), "seed": seed, "score": score}


def row(task, score=None, *, data="a", **more):
    runs = [] if score is None else [run(0, seed, score + 0.01 * (seed - 1)) for seed in range(3)]
    network = summary_of_runs(runs) if runs else None
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
    assert melody["network"]["score"]["mean"] == pytest.approx(0.9)
    assert melody["baselines"] == baselines
    assert "note" not in melody
    assert velocity["network"]["score"]["mean"] == pytest.approx(0.2)
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
    assert content["model"] == "big"
    assert content["rows"][1]["network"]["score"]["mean"] == pytest.approx(0.5)
    assert len(content["made_by"]["parts"]) == 3


def test_folds_of_several_calls_are_one_table(tmp_path):
    first, second = row("ER"), row("ER")
    first["network"] = summary_of_runs([run(0, 1, 0.5), run(0, 2, 0.6), run(1, 1, 0.7), run(1, 2, 0.0)])
    second["network"] = summary_of_runs([run(1, 2, 0.8), run(2, 1, 0.3)])  # one of them again
    out = merge_benchmarks([part(tmp_path / "a", [first]), part(tmp_path / "b", [second])], tmp_path / "out")
    found = json.loads((out / "scores.json").read_text())["rows"][0]["network"]
    assert [(each["fold"], each["seed"], each["score"]) for each in found["runs"]] == [
        ("0", 1, 0.5), ("0", 2, 0.6), ("1", 1, 0.7), ("1", 2, 0.8), ("2", 1, 0.3),
    ]  # fmt: skip
    assert "note" not in json.loads((out / "scores.json").read_text())["rows"][0]
    # mean over the seeds of the means over their folds
    assert found["score"]["mean"] == pytest.approx((0.5 + 0.7) / 2)


def test_parts_that_do_not_fit(tmp_path):
    first = part(tmp_path / "a", [row("ME", 0.9)])
    with pytest.raises(DatasetError, match="other-data"):
        merge_benchmarks([first, part(tmp_path / "b", [row("ME", 0.9, data="b")])], tmp_path / "out")
    with pytest.raises(DatasetError, match="bad-scores"):
        merge_benchmarks([first, tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_program(tmp_path, capsys):
    first = part(tmp_path / "a", [row("ME", 0.9)])
    assert main([str(first), "--output", str(tmp_path / "out"), "--model", "x"]) == 0
    assert (tmp_path / "out" / "table.md").is_file()
    assert main([str(tmp_path), "--output", str(tmp_path / "out2")]) == 2
    assert "musicbert benchmark --output" in capsys.readouterr().err


def test_published_tables_follow_from_their_scores(root):
    tables = sorted((root / "results" / "smc").glob("*/table.md"))
    assert tables
    for table in tables:
        content = json.loads(table.with_name("scores.json").read_text(encoding="utf-8"))
        assert benchmark_table(content["rows"], content["model"]) == table.read_text(encoding="utf-8"), table


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_notes_are_those_of_the_runs(tmp_path, order):
    def merged(*rows):
        folders = [
            part(tmp_path / f"{tmp_path.name}{len(list(tmp_path.iterdir()))}", [each]) for each in rows
        ]
        out = merge_benchmarks([folders[place] for place in order], tmp_path / "out")
        return json.loads((out / "scores.json").read_text())["rows"][0].get("note")

    assert merged(row("ME", note="0 of 3 runs are done"), row("ME", 0.9)) is None
    assert (
        merged(row("ME", baselines={}), row("ME", 0.9, note="1 of 3 runs are done")) == "1 of 3 runs are done"
    )
    assert "3 runs, of several" in merged(row("ME", 0.5, note="3 of 6 runs are done"), row("ME", 0.9))
    assert merged(row("ME", note="no data"), row("ME")) == "no data"


def test_scores_that_not_all_runs_have(tmp_path):
    first, second = row("PS"), row("PS", data="a")
    first["network"] = summary_of_runs([{**run(0, 1, 0.5), "pieces": 0.6}])
    second["network"], second["data"] = summary_of_runs([run(1, 1, 0.7)]), None
    parts = [part(tmp_path / "a", [first]), part(tmp_path / "b", [second])]
    out = merge_benchmarks([merge_benchmarks(parts, tmp_path / "out"), parts[1]], tmp_path / "out")
    content = json.loads((out / "scores.json").read_text())
    assert content["rows"][0]["network"]["score"]["mean"] == pytest.approx(0.6)
    assert "pieces" not in content["rows"][0]["network"]
    assert len(content["made_by"]["parts"]) == 2  # a part that is there already comes once
