"""The benchmark's recipes on small made data: corpora of pre-training, shards, fine-tuning and its table."""

import json
from pathlib import Path

import numpy as np
import pytest

from musicbert.corpus.bins.rows_bin import read_meta
from musicbert.corpus.files.ledger import read_ledger
from musicbert.corpus.labelled.shards import Shards


def test_corpora_of_pretraining(recipe, make_source, tmp_path):
    sets = tmp_path / "sets"
    for name in ("pop909", "pianist8", "emopia"):
        make_source(name, sets / name)
    out = tmp_path / "out"
    said = recipe("prepare_pretrain_data.sh", sets, "-", out, "--", "--quiet")
    assert "pianist8: 40 files" in said
    # POP909 on its beats: 003 is in three, the published metre of the recordings (2/4) is gone
    assert sorted(path.stem for path in (out / "pop909_processed").rglob("*.mid")) == [
        "001",
        "002",
        "018",
        "021",
    ]
    assert read_meta(out / "data")["codec"] == "cp"
    outcomes = {each.path: each for each in read_ledger(out / "data" / "ledger.jsonl")}
    assert len(outcomes) == 40 + 48 + 4
    # again, without what the benchmark tests on: only two songs of POP909 are left
    recipe("prepare_pretrain_data.sh", sets, "-", tmp_path / "clean", "--exclude-tests", "--", "--quiet")
    kept = [each.path for each in read_ledger(tmp_path / "clean" / "data" / "ledger.jsonl")]
    assert sorted(Path(path).stem for path in kept) == ["001", "002"]
    left_out = read_ledger(tmp_path / "clean" / "left_out.jsonl")
    assert len(left_out) == 40 + 48 + 2
    recipe("prepare_pretrain_data.sh", sets, code=2)
    assert "no-corpus" in recipe(
        "prepare_pretrain_data.sh", tmp_path / "clean" / "lists", "-", tmp_path / "x", code=2
    )


def test_benchmark_data_out_and_in_again(recipe, make_source, tmp_path):
    sources = []
    for name in ("tnua", "pianist8"):
        sources += ["--source", f"{name}={make_source(name, tmp_path / name)}"]
    broken = sorted((tmp_path / "pianist8").rglob("*.mid"))[0]
    broken.write_bytes(b"no music")
    recipe("prepare_smc_benchmark.sh", "-", tmp_path / "smc", *sources, "--npy")
    pieces = Shards(tmp_path / "smc" / "seq" / "pianist8")
    assert len(pieces) == 39
    ledger = read_ledger(tmp_path / "smc" / "seq" / "pianist8" / "ledger.jsonl")
    assert [each.outcome for each in ledger if not each.ok] == ["unreadable"]
    before = (tmp_path / "smc" / "note" / "tnua" / "manifest.json").stat().st_mtime_ns
    assert "complete already" in recipe("prepare_smc_benchmark.sh", "-", tmp_path / "smc", *sources)
    assert (tmp_path / "smc" / "note" / "tnua" / "manifest.json").stat().st_mtime_ns == before
    assert "--codec: cp -> octuple" in recipe(
        "prepare_smc_benchmark.sh", "-", tmp_path / "smc", *sources, "--codec", "octuple", code=2
    )
    # upstream's files of it give the same notes again
    recipe("prepare_smc_benchmark.sh", tmp_path / "smc" / "npy", tmp_path / "again")
    again, own = (Shards(tmp_path / name / "note" / "tnua") for name in ("again", "smc"))
    for part in ("train", "valid", "test"):
        rows = [
            np.concatenate(
                [each.rows(n) for n in range(len(each)) if each.pieces[n].splits.get("published") == part]
            )
            for each in (own, again)
        ]
        assert np.array_equal(*rows)


def test_musicbert_on_a_task_of_the_benchmark(recipe, make_source, tmp_path):
    source = f"tnua={make_source('tnua', tmp_path / 'tnua')}"
    recipe("prepare_smc_benchmark.sh", "-", tmp_path / "smc", "--source", source, "--codec", "octuple")
    options = ("--epochs", 1, "--seeds", 1, "--cpu", "--quiet", "--no-baselines", "--splits", "published")
    said = recipe("finetune_m2bert.sh", "scratch:musicbert_tiny", tmp_path / "smc" / "note", "-", *options)
    assert "| VF | published | accuracy |" in said
    assert (tmp_path / "results_smc" / "musicbert_tiny" / "table.md").is_file()
    options = (*options[:-3], "--splits", "published", "--train-share", 0.3, "--output", tmp_path / "less")
    said = recipe("finetune_m2bert.sh", "scratch:musicbert_tiny", tmp_path / "smc" / "note", "-", *options)
    assert "learned from 30 % of the training part" in said
    assert json.loads((tmp_path / "less" / "scores.json").read_text())["rows"][0]["train_share"] == 0.3
    less, full = (
        json.loads((tmp_path / place / "VF" / "published" / "fold0" / "split.json").read_text())
        for place in ("less", "results_smc/musicbert_tiny")
    )
    assert set(less["train"]) < set(full["train"])
    assert (less["valid"], less["test"]) == (full["valid"], full["test"])


@pytest.mark.slow
def test_fine_tuning_goes_on_task_by_task(recipe, make_source, tmp_path):
    sources = []
    for name in ("tnua", "emopia"):
        sources += ["--source", f"{name}={make_source(name, tmp_path / name)}"]
    recipe("prepare_smc_benchmark.sh", "-", tmp_path / "smc", *sources)
    folders = ("scratch:m2bert_tiny", tmp_path / "smc" / "note", tmp_path / "smc" / "seq")
    options = (
        "--epochs",
        1,
        "--seeds",
        1,
        "--only-folds",
        0,
        "--cpu",
        "--quiet",
        "--output",
        tmp_path / "out",
    )
    recipe("finetune_m2bert.sh", *folders, *options, "--tasks", "VF")
    done = tmp_path / "out" / "VF" / "published" / "fold0" / "seed1" / "run.json"
    before = done.stat().st_mtime_ns
    said = recipe("finetune_m2bert.sh", *folders, *options)
    assert done.stat().st_mtime_ns == before
    record = json.loads((tmp_path / "out" / "scores.json").read_text())
    rows = {(row["task"], row["split"]): row for row in record["rows"]}
    assert set(rows) == {(task, split) for task in ("VF", "ER") for split in ("published", "clean")}
    assert rows["VF", "clean"]["same_as"] == "published"  # nothing leaks there: trained once
    assert "same_as" not in rows["ER", "clean"]
    for row in rows.values():
        assert 0 <= row["network"]["score"]["mean"] <= 1
        assert {"majority"} <= set(row["baselines"])
    assert said.count("| ER |") == 4  # segments and pieces on both splits
    # a task without data is said, and is no success
    assert "no-data" in recipe("finetune_m2bert.sh", *folders, *options, "--tasks", "VF", "ME", code=1)


def test_baselines_of_two_data_sets(recipe, make_source, tmp_path):
    songs, fingers = (
        make_source("pop909_processed", tmp_path / "songs"),
        make_source("tnua", tmp_path / "tnua"),
    )
    recipe(
        "../results/tools/baselines_smc.py", "--source", f"pop909={songs}", "--source", f"tnua={fingers}",
        "--output", tmp_path / "table",
    )  # fmt: skip
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert {row["task"] for row in rows} == {"ME", "VE", "VF"}
    by_order = {row["baseline"]: row["score"] for row in rows if row["task"] == "ME"}
    assert by_order["order (published notes)"] > by_order["order"]
    assert "| order (published notes) |" in (tmp_path / "table.md").read_text()
    assert "unknown-source" in recipe(
        "../results/tools/baselines_smc.py", "--source", "x=y", "--output", tmp_path / "t", code=2
    )
