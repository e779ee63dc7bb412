"""M2BERT's recipe from MIDI files to a folder, through its programs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from warm_python import python

from musicbert.cli.main import main
from musicbert.encoding.codecs import get_codec
from musicbert.midi import read_score
from musicbert.weights import load_model

pytestmark = pytest.mark.slow


def call(root, folder, *options, code=0, cold=False):
    interpreter = sys.executable if cold else python()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": interpreter}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(root / "scripts" / "m2bert" / "pretrain.sh"), *options],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def test_from_midi_to_a_folder(root, make_midi_folder, tmp_path):
    midi = make_midi_folder(12, seed=2)
    build = [str(midi), "--encoding", "cp", "--shares", "80", "10", "10", "--quiet"]
    assert main(["build", *build, "--output", str(tmp_path / "cp_data_bin")]) == 0
    small = [
        "--",
        "--encoder-embed-dim",
        "64",
        "--encoder-ffn-embed-dim",
        "48",
        "--encoder-attention-heads",
        "1",
    ]
    options = ["--data", "cp_data_bin", "--arch", "m2bert_tiny", "--crop", "32", "--updates", "3", "--cpu"]
    options += [
        "--batch",
        "2",
        "--effective-batch",
        "4",
        "--lr",
        "1e-3",
        "--num-workers",
        "0",
        "--save-dir",
        "run",
    ]
    call(root, tmp_path, *options, "--validate-every", "1", "--bf16", *small, cold=True)
    log = (tmp_path / "run" / "train.log").read_text()
    for update in (1, 2, 3):  # within the first epoch, too
        assert f"Saved checkpoint run/checkpoint_1_{update}.pt" in log
    assert not list((tmp_path / "run").glob("checkpoint_[0-9]*"))
    assert "batch 2 x 2" in call(root, tmp_path, *options, "--resume", "--dry-run").stdout
    assert "--resume" in call(root, tmp_path, *options, code=2).stderr
    best = str(tmp_path / "run" / "checkpoint_best.pt")
    assert main(["checkpoint", "convert", best, str(tmp_path / "model"), "--float16"]) == 0
    model = load_model(tmp_path / "model")
    rows, _ = get_codec("cp").encode(read_score(next(midi.rglob("*.mid"))))
    with torch.inference_mode():
        hidden, _ = model(torch.from_numpy(rows)[None], features_only=True)
    assert hidden.shape == (1, len(rows), 64)
    assert hidden.isfinite().all()


def test_what_the_flags_become(root, tmp_path):
    folder = tmp_path / "bin"
    for shard in ("shard0", "shard1"):
        (folder / shard).mkdir(parents=True)
        (folder / shard / "meta.json").write_text("{}")
    base = ["--data", "bin", "--cpu", "--dry-run"]
    command = call(root, tmp_path, *base, "--full", "--optimizer", "adam", "--noise-symmetric").stdout
    for words in (
        "bin/shard0:bin/shard1", "--max-epoch 25", "--optimizer adam", "--lr 2e-5", "--clip-norm 3.0",
        "--batch-size 12", "--crop 1024", "--noise-prob 0.3", "--aux pianoroll", "--noise-symmetric",
        "--arch m2bert_base", "--patience 30", "--lr-scheduler fixed",
    ):  # fmt: skip
        assert words in command, words
    command = call(
        root, tmp_path, *base, "--lr-scheduler", "cosine", "--updates", "50", "--warmup", "5"
    ).stdout
    assert "--optimizer stable_adamw --stable-adamw-betas '(0.9,0.99)' --stable-adamw-eps 1e-8" in command
    assert "--roll-weight 1 " in command
    assert "--max-epoch 150" in command
    assert "--max-update 50" in command
    assert "--compile" not in command
    command = call(root, tmp_path, *base, "--compile", "--half-sums", "--bf16").stdout
    for words in ("--compile", "--half-sums", "--autocast-bf16"):
        assert words in command
    for wrong in (
        ["--lr-scheduler", "cosine"],
        ["--optimizer", "sgd"],
        ["--fp16"],
        ["--half-sums", "--bf16", "--arch", "musicbert_tiny"],
        ["--half-sums"],
    ):
        assert "error:" in call(root, tmp_path, *base, *wrong, code=2).stderr
