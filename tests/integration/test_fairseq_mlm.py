"""Whole runs of ``fairseq-train`` on a few pieces: pre-training, resuming, and starting from weights."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import indexed_dataset
from warm_python import python

from musicbert.encoding.vocabulary import FIELDS, MASK, dictionary_text, rows_to_ids
from musicbert.errors import CheckpointError
from musicbert.predict import from_pretrained
from musicbert.weights import load_checkpoint, load_model

pytestmark = pytest.mark.slow

#: of networks of which nothing is asked but that they are trained
SMALL = [
    "--encoder-layers",
    "1",
    "--encoder-embed-dim",
    "16",
    "--encoder-ffn-embed-dim",
    "32",
    "--encoder-attention-heads",
    "2",
]
OURS = ("--task", "octuple_masked_lm", "--criterion", "octuple_masked_lm")
PUBLISHED = ("--task", "masked_lm", "--criterion", "masked_lm")
NAME = "checkpoint_last.pt"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bin")
    (folder / "dict.txt").write_text(dictionary_text())
    rng = np.random.default_rng(0)
    for split, pieces in (("train", 12), ("valid", 3)):
        builder = indexed_dataset.make_builder(str(folder / f"{split}.bin"), impl="mmap", vocab_size=MASK)
        notes = rng.integers(4, 20, pieces)
        notes[0] = 2  # fits the micro model
        for count in notes:
            builder.add_item(torch.from_numpy(rows_to_ids(rng.integers(0, 32, (count, 8)))))
        builder.finalize(str(folder / f"{split}.idx"))
        np.save(folder / f"{split}.performance.npy", rng.normal(size=(notes.sum(), 3)).astype(np.float32))
    return folder


@pytest.fixture
def train(root, data, tmp_path):
    """Run fairseq-train; returns its exit status and all it printed."""

    def run(save, *options, recipe=OURS, folder=data, cold=False):
        arguments = [
            str(folder), "--user-dir", str(root / "musicbert"), "--arch", "musicbert_tiny", *recipe,
            "--sample-break-mode", "eos", "--tokens-per-sample", "1024", "--max-positions", "1024",
            "--optimizer", "adam", "--lr", "1e-3", "--lr-scheduler", "fixed", "--batch-size", "4", "--cpu",
            "--log-format", "simple", "--log-interval", "1", "--no-epoch-checkpoints", "--seed", "7",
            "--save-dir", str(tmp_path / save), *options,
        ]  # fmt: skip
        command = [sys.executable if cold else python(), "-m", "fairseq_cli.train", *arguments]
        environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(root))
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run


def weights_of(path: Path):
    return load_checkpoint(path).weights


def test_an_interrupted_run_ends_where_a_whole_one_does(train, tmp_path):
    options = ("--mask-strategy", "bar+compound", "--performance-input", "--num-workers", "1")
    status, log = train("whole", "--max-update", "4", *options, cold=True)  # 3 updates an epoch
    assert status == 0, log
    assert "Warning" not in log, "of hydra, say"
    for field in (*FIELDS, "all"):
        assert f"accuracy_{field}" in log
    assert "performance_loss" in log
    assert train("parts", "--max-update", "2", *options)[0] == 0
    status, log = train("parts", "--max-update", "4", *options)
    assert status == 0, log
    assert "50 tensors loaded, 0 missing, 0 unexpected" in log
    whole, parts = weights_of(tmp_path / "whole" / NAME), weights_of(tmp_path / "parts" / NAME)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    # it has learned something, from the performance inputs too
    projection = whole["encoder.sentence_encoder.performance_projection.weight"]
    assert projection.shape == (128, 3)
    assert projection.any()
    assert load_model(tmp_path / "whole" / NAME).config.performance_features == 3


def test_a_network_that_does_not_learn_is_told_of(train):
    options = (*SMALL, "--lr", "0", "--no-save", "--disable-validation", "--mask-strategy", "element")
    status, log = train("stuck", "--max-update", "301", *options)
    assert status == 0, log
    assert log.count("the network is not learning") == 1
    assert "After 300 updates the loss (" in log


def second_shard(data, folder):
    """Another folder of pieces: those of the first in another order."""
    folder.mkdir()
    (folder / "dict.txt").write_text(dictionary_text())
    pieces = indexed_dataset.MMapIndexedDataset(str(data / "train"))
    builder = indexed_dataset.make_builder(str(folder / "train.bin"), impl="mmap", vocab_size=MASK)
    for index in reversed(range(len(pieces) - 2)):
        builder.add_item(pieces[index])
    builder.finalize(str(folder / "train.idx"))
    return f"{data}:{folder}"


@pytest.mark.parametrize(
    "options",
    [
        ("--autocast-bf16", "--sample-break-mode", "complete", "--tokens-per-sample", "300"),
        ("--separate-pieces", "--sample-break-mode", "complete", "--tokens-per-sample", "300"),
    ],
    ids=["bf16, packed", "stream, pieces apart"],
)
def test_resuming_over_shards_is_exact(train, data, tmp_path, options):
    """Stopped within the second epoch, which is the second shard."""
    folder = second_shard(data, tmp_path / "second")
    options = (
        *options,
        *SMALL,
        "--lr-scheduler",
        "polynomial_decay",
        "--warmup-updates",
        "3",
        "--total-num-update",
        "9",
    )
    options += ("--batch-size", "2", "--save-interval-updates", "4", "--num-workers", "1")
    status, log = train("whole", "--max-update", "7", *options, folder=folder)
    assert status == 0, log
    assert "10 pieces in" in log  # of the second shard
    assert train("parts", "--max-update", "4", *options, folder=folder)[0] == 0
    status, log = train("parts", "--max-update", "7", *options, folder=folder)
    assert status == 0, log
    assert "@ 4 updates" in log
    whole, parts = weights_of(tmp_path / "whole" / NAME), weights_of(tmp_path / "parts" / NAME)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert any(value.abs().sum() for value in whole.values())


@pytest.mark.parametrize(
    ("options", "compound", "rows"),
    [
        (("--encoding", "cp", "--mask-strategy", "compound"), True, "row"),
        (("--encoding", "remi", "--crop-length", "40"), False, "token"),
        (("--no-compound", "--mask-strategy", "element"), False, "token"),
        (("--encoding", "cp", "--no-compound", "--layout", "stream"), False, "token"),
    ],
    ids=["cp", "remi", "octuple, no compound", "cp, no compound, stream"],
)
def test_every_ablation_trains_and_opens_again(train, tmp_path, options, compound, rows):
    status, log = train("run", "--max-update", "1", "--max-positions", "1024", *options)
    assert status == 0, log
    weights = weights_of(tmp_path / "run" / NAME)
    assert any("downsampling" in name for name in weights) == compound
    assert load_model(tmp_path / "run" / NAME).config.fields == (8 if compound else 1)
    assert "accuracy_pitch" in log
    if not compound or "cp" in options:  # the library reads octuples
        with pytest.raises(CheckpointError, match="other-encoding"):
            from_pretrained(tmp_path / "run" / NAME)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--encoding", "cp", "--performance-input"), "[bad-options]"),
        (("--encoding", "remi", "--tokens-per-sample", "32"), "[too-long]"),
    ],
)
def test_choices_that_cannot_be_are_refused(train, options, reason):
    status, log = train("run", "--max-update", "1", *options)
    assert status != 0
    assert reason in log


def test_the_published_recipe_masks_octuples(train, tmp_path):
    status, log = train(
        "published", "--max-update", "2", "--sample-break-mode", "complete",
        "--required-batch-size-multiple", "8", recipe=PUBLISHED,
    )  # fmt: skip
    assert status == 0, log
    assert "train: 12 pieces in 2 rows" in log
    assert load_model(tmp_path / "published" / NAME).config.layers == 2
    status, log = train("none", "--max-update", "1", "--sample-break-mode", "none", recipe=PUBLISHED)
    assert status != 0
    assert "[bad-break-mode]" in log


def test_a_run_starts_from_given_weights_or_not_at_all(train, tmp_path, fixtures):
    micro = fixtures / "musicbert_model"
    sizes = ("--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "32", "--max-positions", "64")
    pretrained = str(micro / "micro_pretrained_v1.0.0a0_cfg.pt")
    short = (
        "--max-update",
        "1",
        "--lr",
        "0",
        "--tokens-per-sample",
        "64",
        "--skip-invalid-size-inputs-valid-test",
    )
    for option in ("--init-from", "--finetune-from-model"):  # ours, and fairseq's own reader
        status, log = train(f"start{option}", option, pretrained, *sizes, *short)
        assert status == 0, log
        assert "46 tensors loaded, 0 missing, 0 unexpected" in log
        expected, found = weights_of(Path(pretrained)), weights_of(tmp_path / f"start{option}" / NAME)
        assert all(torch.equal(expected[name], found[name]) for name in expected)

    status, log = train("other", "--init-from", pretrained, "--max-update", "1")
    assert status != 0
    assert "[other-architecture]" in log


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--init-from", "none.pt"), "[weights-not-loaded]"),
        (("--restore-file", "none.pt"), "[weights-not-loaded]"),
        (("--restore-file", "there.pt", "--checkpoint-suffix", "_s"), "there_s.pt"),
        (("--finetune-from-model", "none.pt"), "does not exist"),
    ],
)
def test_missing_weights_stop_the_run(train, tmp_path, options, message):
    (tmp_path / "there.pt").write_bytes(b"")
    status, log = train("lost", "--max-update", "1", *options)
    assert status != 0
    assert message in log
    assert not (tmp_path / "lost" / NAME).exists()


def test_data_made_with_another_dictionary_are_refused(train, data, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    for file in data.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "dict.txt").write_text("a 1\nb 1\n")
    status, log = train("other", "--max-update", "1", folder=folder)
    assert status != 0
    assert "[wrong-dictionary]" in log


def test_a_malicious_checkpoint_is_not_run(train, tmp_path):
    mark = tmp_path / "ran"

    class Malice:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    torch.save({"model": {}, "args": Malice()}, tmp_path / "evil.pt")
    for option in ("--restore-file", "--init-from"):
        status, log = train("evil", "--max-update", "1", option, "evil.pt")
        assert status != 0
        assert "not an allowed global" in log or "[unsafe-pickle]" in log or "Weights only load failed" in log
    assert not mark.exists()


def test_a_trained_checkpoint_opens_for_evaluation_without_its_starting_point(
    train, tmp_path, fixtures, root
):
    source = fixtures / "musicbert_model" / "micro_pretrained_v0.10_args_namespace.pt"
    (tmp_path / "start.pt").write_bytes(source.read_bytes())
    sizes = ("--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "32", "--max-positions", "64")
    short = ("--max-update", "1", "--tokens-per-sample", "64", "--skip-invalid-size-inputs-valid-test")
    assert train("run", "--init-from", "start.pt", *sizes, *short)[0] == 0
    (tmp_path / "start.pt").unlink()
    code = (
        "import sys, musicbert.fairseq_plugin\n"
        "from fairseq.checkpoint_utils import load_model_ensemble_and_task as load\n"
        "(model,), cfg, task = load([sys.argv[1]])\n"
        "print(model.config.width, model.weights_expected, type(task).__name__)\n"
    )
    done = subprocess.run(
        [python(), "-c", code, str(tmp_path / "run" / NAME)],
        capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=str(root)), check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["16", "None", "OctupleMaskedLMTask"], done.stderr
