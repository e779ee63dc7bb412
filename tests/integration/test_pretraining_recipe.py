"""scripts/pretrain/musicbert.sh: one process and several, shards, folders that are not its own."""

import json
import os
import re
import shlex
import subprocess
import sys
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from training_effort import training_seconds
from warm_python import python

from musicbert.corpus.bins.databin import write_indexed_dataset
from musicbert.encoding.vocabulary import dictionary_text, rows_to_ids
from musicbert.fairseq_plugin.launch import distributed_arguments
from musicbert.weights import load_checkpoint


def write_data(folder, *, pieces, seed=0):
    folder.mkdir(parents=True)
    (folder / "dict.txt").write_text(dictionary_text())
    rng = np.random.default_rng(seed)
    for split, count in pieces.items():
        rows = [np.sort(rng.integers(0, 32, (int(notes), 8)), axis=0) for notes in rng.integers(4, 20, count)]
        write_indexed_dataset([rows_to_ids(each).astype(np.uint16) for each in rows], folder / split)


@pytest.fixture
def recipe(root, tmp_path):
    """Run the recipe in an empty folder; returns what it printed."""

    def run(*options, code=0, environment=(), cold=False):
        done = subprocess.run(
            ["bash", str(root / "scripts/pretrain/musicbert.sh"), *map(str, options)],
            cwd=tmp_path,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHON": sys.executable if cold else python(),
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                **dict(environment),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    return run


def command(printed):
    """Words of the command of a dry run, and its options."""
    words = shlex.split(printed.splitlines()[-1])
    return words, {name: value for name, value in pairwise(words) if name[:2] == "--"}


def losses(printed):
    lines = [line.split(" | ")[-1] for line in printed.splitlines() if " | train_inner | " in line]
    return [float(json.loads(line)["loss"]) for line in lines]


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_accumulation(recipe, tmp_path):
    write_data(tmp_path / "lmd_data_bin", pieces={"train": 16, "valid": 4})
    weights = []
    common = [
        "lmd",
        "tiny",
        "--verbose",
        "--cpu",
        "--updates",
        3,
        "--warmup",
        1,
        "--lr",
        "1e-3",
        "--batch",
        2,
    ]
    common += ["--effective-batch", 4, "--dropout", 0, "--break-mode", "eos", "--num-workers", 0]
    printed = []
    for processes in (1, 2):
        more = ["--processes", processes, "--save-dir", f"run{processes}", "--", "--log-interval", 1]
        printed.append(recipe(*common, *more, cold=processes == 2))
        assert f"{processes} process(es), batch 2 x {3 - processes}" in printed[-1]
        weights.append(load_checkpoint(tmp_path / f"run{processes}" / "checkpoint_last.pt").weights)
    assert len(losses(printed[0])) == 3
    assert losses(printed[1]) == pytest.approx(losses(printed[0]), abs=2e-3)  # printed with three places
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-5, rtol=1e-4, msg=name)
    # the first process reads the checkpoint and sends it to the other
    words = [4 if word == 3 else word for word in common]
    resumed = recipe(*words, "--processes", 2, "--save-dir", "run2", "--resume", "--", "--log-interval", 1)
    assert "(epoch 1 @ 3 updates)" in resumed
    assert len(losses(resumed)) == 1
    # fairseq's own clock stands still in a resumed run: the times of the lines count
    first = training_seconds(printed[1].splitlines())
    lines = (tmp_path / "run2" / "train.log").read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if "(epoch 1 @ 3 updates)" in line)
    later = [  # a second a line, however fast this machine is
        re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", str(datetime(2100, 1, 1) + timedelta(seconds=k)), line)
        for k, line in enumerate(lines[begin:])
    ]
    assert training_seconds([*lines[:begin], *later]) >= first + 1


def test_the_published_recipe_is_the_default(recipe, tmp_path):
    write_data(tmp_path / "lmd_data_bin", pieces={"train": 2})
    words, options = command(recipe("lmd", "small", "--cpu", "--dry-run"))
    expected = {
        "--arch": "musicbert_small", "--tokens-per-sample": "8192", "--sample-break-mode": "complete",
        "--batch-size": "4", "--update-freq": "64", "--lr": "5e-4", "--warmup-updates": "25000",
        "--total-num-update": "125000", "--max-update": "125000", "--lr-scheduler": "polynomial_decay",
        "--adam-betas": "(0.9, 0.98)", "--adam-eps": "1e-6", "--weight-decay": "0.01", "--clip-norm": "0.0",
        "--dropout": "0.1", "--attention-dropout": "0.1", "--required-batch-size-multiple": "1",
        "--mask-strategy": "bar", "--random-tokens": "any", "--layout": "padded",
    }  # fmt: skip
    assert {name: options[name] for name in expected} == expected
    assert "lmd_data_bin" in words
    assert options["--save-dir"] == "checkpoints/mlm_musicbert_small"
    assert not (tmp_path / "checkpoints").exists()


def test_weights_have_a_name_a_folder_or_a_file(recipe, root, tmp_path):
    write_data(tmp_path / "data", pieces={"train": 2})
    run = ("--data", "data", "--cpu", "--dry-run", "--init")
    shipped = root / "checkpoints" / "musicbert-mini"
    for given in ("musicbert-mini", shipped):
        assert Path(command(recipe(*run, given))[1]["--init-from"]).resolve() == shipped
    assert "musicbert-huge is missing" in recipe(*run, "musicbert-huge", code=2)


def test_shards_take_turns(recipe, tmp_path):
    for shard in range(3):
        write_data(tmp_path / "big" / f"shard{shard}", pieces={"train": 2})
    words, _ = command(recipe("big", "--cpu", "--dry-run"))
    assert "big/shard0:big/shard1:big/shard2" in words


def test_several_machines(recipe, tmp_path):
    write_data(tmp_path / "data", pieces={"train": 2})
    base = ["--data", "data", "--cpu", "--dry-run", "--processes", 2]
    flags = ["--nodes", 4, "--node-rank", 3, "--master", "head:1234"]
    words, options = command(recipe(*base, *flags))
    assert Path(words[0]).name == "torchrun"
    named = ("--nnodes", "--node-rank", "--nproc-per-node", "--master-addr", "--master-port", "--update-freq")
    assert [options[name] for name in named] == ["4", "3", "2", "head", "1234", "8"]
    assert "needs --node-rank and --master" in recipe(*base, "--nodes", 4, code=2)
    # a job step of SLURM says the same
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text("#!/bin/sh\n[ \"$3\" = 'n[7-10]' ] && printf 'n7\\nn8\\nn9\\nn10\\n'\n")
    scontrol.chmod(0o755)
    slurm = {
        "SLURM_STEP_NUM_NODES": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NODEID": "2",
        "SLURM_STEP_NODELIST": "n[7-10]",
        "PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    _, options = command(recipe(*base, environment=slurm))
    assert [options[name] for name in named] == ["4", "2", "2", "n7", "29500", "8"]
    slurm["SLURM_STEP_NUM_TASKS"] = "8"
    assert "one task a machine" in recipe(*base, code=2, environment=slurm)


def test_an_effective_batch_that_cannot_be_met_is_said(recipe, tmp_path):
    write_data(tmp_path / "data", pieces={"train": 2})
    printed = recipe("--data", "data", "--cpu", "--dry-run", "--processes", 3)
    assert "effective batch 252, not 256" in printed


def test_checkpoints_of_others_are_out_of_reach(recipe, tmp_path):
    write_data(tmp_path / "data", pieces={"train": 2})
    (tmp_path / "checkpoints").mkdir()
    published = tmp_path / "checkpoints" / "checkpoint_last_musicbert_base.pt"
    published.write_bytes(b"downloaded")
    base = ["--data", "data", "--cpu"]
    for more in ([], ["--resume"]):
        printed = recipe(*base, "--save-dir", "checkpoints", *more, code=2)
        assert "checkpoint_last_musicbert_base.pt, which this recipe did not write" in printed
    for words in (
        ["--save-dir", "checkpoints"], ["--save-di=checkpoints"], ["--checkpoint-suffix=_musicbert_base"],
        ["--checkpoint-suf", "_musicbert_base"],
    ):  # fmt: skip
        assert "error: " in recipe(*base, "--", *words, code=2)
    assert published.read_bytes() == b"downloaded"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "data"]


def test_places_of_processes():
    torchrun = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}
    assert distributed_arguments(["d", "--lr", "1"], {}) == ["--distributed-world-size", "1"]
    on_gpu = distributed_arguments(["d"], torchrun)
    assert on_gpu == [
        "--distributed-world-size", "4", "--distributed-rank", "3", "--device-id", "1",
        "--distributed-init-method", "env://", "--distributed-no-spawn",
    ]  # fmt: skip
    on_cpu = distributed_arguments(["d", "--cpu", "--ddp-backend=slowmo"], torchrun)
    assert on_cpu[-3:] == ["--distributed-backend", "gloo", "--distributed-no-spawn"]
    assert "legacy_ddp" not in on_cpu


def test_a_corpus_without_a_validation_part_is_one_clear_error(recipe, tmp_path):
    write_data(tmp_path / "c", pieces={"train": 2})
    printed = recipe(
        "--data", "c", "--arch", "musicbert_tiny", "--cpu", "--updates", "2", "--save-dir", "ck", code=2
    )
    assert "Traceback" not in printed
    assert len(printed.splitlines()) < 12
    error = printed[printed.index("error: ") :].splitlines()
    assert "larger --shares" in error[0]
    assert error[1] == "  full log: ck/train.log"
    assert "Traceback" in (tmp_path / "ck" / "train.log").read_text()
