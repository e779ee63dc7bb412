"""scripts/run_ablations.sh: its plan, and tiny runs of which one fails and is mended."""

import json
from pathlib import Path

import numpy as np
import pytest

FOLDERS = ("--octuple", "octuple", "--cp", "cp", "--tasks-octuple", "tasks_octuple", "--tasks-cp", "tasks_cp")


@pytest.fixture
def folders(tmp_path):
    for name in ("octuple", "cp", "tasks_octuple/note", "tasks_cp/note", "tasks_cp/seq"):
        (tmp_path / name).mkdir(parents=True)


def flag(command, name):
    words = command.split()
    return words[words.index(name) + 1]


@pytest.mark.usefixtures("folders")
def test_plan(recipe, tmp_path):
    options = ("--updates", 400, "--batch", 8, "--crop", 64, "--bf16", "--cpu", "--dry-run", "--jobs", 8)
    variants = "scratch-cp bar octuple-denoise-roll cp-mask@40 cp-bar cp-bar%30"
    lines = recipe("run_ablations.sh", *FOLDERS, *options, "--variants", variants, "--", "--clip", 0)
    commands = [line for line in lines.splitlines() if not line.startswith("==")]
    pretrain = {flag(line, "--save-dir"): line for line in commands if "--save-dir" in line}
    names = ["bar@400", "octuple-denoise-roll@400", "cp-mask@40", "cp-bar@400"]  # one for both shares
    assert list(pretrain) == [f"runs_ablations/pretrain/{name}" for name in names]
    masked, crossed, short, _ = pretrain.values()
    for words in (
        "pretrain/musicbert.sh", "--mask-strategy bar", "--break-mode eos --crop-length 64", "--warmup 40 ",
        "--arch musicbert_mini", "--autocast-bf16", "--optimizer fused_adamw",
    ):  # fmt: skip
        assert words in masked
    for words in (
        "m2bert/pretrain.sh", "--encoding octuple", "--objective denoise --aux pianoroll", "--bf16",
        "--arch musicbert_mini", "--crop 64", "--lr-scheduler polynomial_decay",
    ):  # fmt: skip
        assert words in crossed
    assert "--objective mask --mask-strategy midibert --aux none --updates 40 --warmup 4 " in short
    for line in pretrain.values():
        assert line.rstrip().endswith("--clip-norm 1")
        assert (flag(line, "--batch"), flag(line, "--effective-batch"), flag(line, "--dropout")) == (
            "8",
            "8",
            "0",
        )
    tune = {flag(line, "--output"): line for line in commands if " benchmark " in line}
    assert [Path(name).name for name in tune] == variants.split()
    assert " scratch:m2bert_mini " in tune["runs_ablations/finetune/scratch-cp"]
    assert (
        " runs_ablations/pretrain/cp-mask@40/checkpoint_last.pt "
        in tune["runs_ablations/finetune/cp-mask@40"]
    )
    assert flag(tune["runs_ablations/finetune/cp-bar%30"], "--train-share") == "0.30"
    assert "--train-share" not in tune["runs_ablations/finetune/cp-bar"]
    assert flag(tune["runs_ablations/finetune/bar"], "--note-data") == "tasks_octuple/note"
    for line in tune.values():
        assert line.rstrip().endswith("--clip 0")
        assert flag(line, "--workers") == "1"
    assert not (tmp_path / "runs_ablations").exists()


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--variants", "mel"), "unknown variant mel"),
        (("--variants", "bar@x"), "updates are a whole number"),
        (("--variants", "bar%100"), "a share of labels is 1 to 99 per cent"),
        (("--cp", "nowhere"), "nowhere is missing: musicbert build --encoding cp"),
        (("--tasks-cp", ""), "needs --tasks-cp"),
        (("--jobs", "0"), "--jobs is at least 1"),
    ],
)
def test_what_cannot_be_planned(recipe, options, message):
    said = recipe("run_ablations.sh", *FOLDERS, "--dry-run", *options, code=2)
    assert message in said
    assert said.count("\n") == 1


def tune(rng, count):
    """Notes on a grid, as columns (bar, position in sixteenths, pitch, duration in sixteenths)."""
    onset = np.cumsum(rng.integers(0, 3, count))
    return onset // 16, onset % 16, 50 + rng.integers(0, 20, count), rng.choice([1, 2, 4], count)


def made_tunes():
    rng = np.random.default_rng(0)
    return {"train": [tune(rng, int(n)) for n in rng.integers(8, 60, 9)], "valid": [tune(rng, 30)]}


@pytest.mark.slow
def test_a_variant_fails_and_is_mended(recipe, write_tunes, make_source, tmp_path):
    source = make_source("tnua", tmp_path / "tnua")
    for codec in ("octuple", "cp"):
        recipe("prepare_smc_benchmark.sh", "-", tmp_path / f"tasks_{codec}", "--source", f"tnua={source}",
               "--codec", codec)  # fmt: skip
    write_tunes(made_tunes(), tmp_path)
    whole = (tmp_path / "cp" / "meta.json").read_text()
    (tmp_path / "cp" / "meta.json").write_text("{")
    options = (
        *FOLDERS, "--size", "tiny", "--updates", 3, "--batch", 4, "--crop", 16, "--window", 32, "--cpu",
        "--finetune-updates", 2, "--finetune-batch", 4, "--seeds", "1 2", "--tasks", "VF", "--jobs", 2,
        "--output", "runs", "--results", "report",
    )  # fmt: skip
    said = recipe("run_ablations.sh", *options, "--variants", "scratch-octuple bar cp-bar", code=1)
    assert "cp-bar@3, pre-training: exit status" in said
    assert "failed: cp-bar, fine-tuning" in said
    assert "failed: bar" not in said
    assert "- cp-bar@3: this pre-training did not" in (tmp_path / "report" / "table.md").read_text()
    report = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert set(report["variants"]) == {"scratch-octuple", "bar"}
    assert report["gains"]["bar"][0]["runs"] == 2
    assert report["pretraining"]["bar@3"]["updates"] == 3
    assert 0 < report["pretraining"]["bar@3"]["notes"] <= 3 * 4 * 16
    (tmp_path / "cp" / "meta.json").write_text(whole)
    done = tmp_path / "runs" / "finetune" / "bar" / "VF" / "clean" / "fold0" / "seed1" / "run.json"
    before = done.stat().st_mtime_ns
    assert "bar@3: pre-trained already" in recipe(
        "run_ablations.sh", *options, "--variants", "bar cp-bar", "--stages", "pretrain finetune report"
    )
    assert done.stat().st_mtime_ns == before
    table = (tmp_path / "report" / "table.md").read_text()
    for name in ("| scratch-octuple | ", "| bar | ", "| cp-bar | ", "| cp-bar@3 | 3 | 4 |"):
        assert name in table
    said = recipe("run_ablations.sh", *options, "--variants", "bar", "--lr", "1", code=2)
    assert "--lr: 1e-3 -> 1 [other-settings]" in said
    (tmp_path / "octuple" / "train.bin").write_bytes(
        (tmp_path / "octuple" / "train.bin").read_bytes()[:-1] + b"\1"
    )
    said = recipe("run_ablations.sh", *options, "--variants", "bar", code=2)
    assert "other bytes: octuple/train.bin" in said
