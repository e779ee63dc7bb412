"""Pre-training of M2BERT: every objective, encoding and backbone together, and runs of fairseq-train."""

import itertools
import multiprocessing
import runpy
from pathlib import Path
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest
import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

import musicbert.fairseq_plugin  # noqa: F401 - registers
from musicbert.errors import ConfigError, DatasetError
from musicbert.fairseq_plugin.optimisers.stable_adamw import StableAdamW
from musicbert.weights import load_checkpoint

pytestmark = pytest.mark.slow

SMALL = (
    "--encoder-embed-dim", "32", "--encoder-ffn-embed-dim", "48", "--encoder-attention-heads", "2",
    "--crop", "24", "--dropout", "0", "--attention-dropout", "0",
)  # fmt: skip
NAME = "checkpoint_last.pt"


def tune(rng, count):
    """Notes on a grid, as columns (bar, position in sixteenths, pitch, duration in sixteenths)."""
    onset = np.cumsum(rng.integers(0, 3, count))
    pitch = 50 + np.cumsum(rng.integers(-2, 3, count)) % 20
    return onset // 16, onset % 16, pitch, rng.choice([1, 2, 4], count)


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_tunes):
    """Folders of both encodings."""
    folder = tmp_path_factory.mktemp("pieces")
    rng = np.random.default_rng(0)
    tunes = {"train": [tune(rng, int(n)) for n in rng.integers(8, 60, 14)], "valid": [tune(rng, 30)]}
    write_tunes(tunes, folder)
    return folder


def arguments(folder, encoding, *more):
    return [
        str(folder / encoding), "--task", "music_pretrain", "--criterion", "compound_token",
        "--encoding", encoding, "--optimizer", "stable_adamw", "--lr", "3e-3", "--lr-scheduler", "fixed",
        "--batch-size", "4", "--seed", "3", *SMALL, *more,
    ]  # fmt: skip


def set_up(folder, encoding, *more):
    parser = options.get_training_parser()
    args = options.parse_args_and_arch(parser, arguments(folder, encoding, *more))
    with catch_warnings():
        simplefilter("ignore")  # fairseq's use of hydra
        cfg = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(cfg.task)
    torch.manual_seed(0)
    model = task.build_model(cfg.model)
    task.load_dataset("train")
    return model, task.build_criterion(cfg.criterion), task.datasets["train"]


OBJECTIVES = (
    ("denoise",),
    ("mask", "--mask-strategy", "bar"),
    ("mask", "--mask-strategy", "midibert"),
)
CROSS = [
    (arch, encoding, objective, aux)
    for number, (arch, encoding, objective) in enumerate(
        itertools.product(("m2bert_tiny", "musicbert_tiny"), ("cp", "octuple"), OBJECTIVES)
    )
    for aux in [("pianoroll", "none", "pianoroll_nochroma")[number % 3]]
] + [
    ("m2bert_tiny", "octuple", ("mask", "--mask-strategy", "element+compound"), "pianoroll"),
    (
        "musicbert_tiny",
        "octuple",
        ("denoise", "--noise-radius", "4,12,12,3", "--noise-symmetric"),
        "pianoroll",
    ),
]


@pytest.mark.parametrize(("arch", "encoding", "objective", "aux"), CROSS)
def test_every_cross_learns(data, arch, encoding, objective, aux):
    objective = ("--objective", *objective)
    model, criterion, dataset = set_up(data, encoding, "--arch", arch, "--aux", aux, *objective)
    batch = dataset.collater([dataset[index] for index in range(6)])
    optimizer = StableAdamW(model.parameters(), lr=3e-3)
    model.train()
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss, size, logged = criterion(model, batch)
        (loss / size).backward()
        optimizer.step()
        losses.append(float(loss.detach()) / size)
    assert size == len(batch["target"]) > 0
    assert losses[-1] < 0.9 * losses[0], losses
    assert ("roll_error" in logged) == (aux != "none")
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without  # several devices would wait for these for ever


#: what a forked process does: run the command line, print into a file
RUN = """
import multiprocessing, os, sys
import torch
multiprocessing.set_start_method("fork", force=True)  # loading processes need not import everything again
from fairseq_cli.train import cli_main
os.chdir(folder)
output = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(output, 1)
os.dup2(output, 2)
sys.argv[1:] = arguments
torch.set_num_threads(1)
cli_main()
"""


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["musicbert.fairseq_plugin", "fairseq_cli.train"])
    return context


@pytest.fixture
def train(root, data, tmp_path, processes):
    """Run fairseq-train; returns its exit status and all it printed."""

    def run(save, *more, encoding="cp"):
        words = arguments(data, encoding, *more)
        words += ["--user-dir", str(root / "musicbert"), "--cpu", "--log-format", "simple"]
        if "--num-workers" not in more:
            words += ["--num-workers", "0"]
        words += ["--log-interval", "1", "--no-epoch-checkpoints", "--save-dir", str(tmp_path / save)]
        (tmp_path / "run.py").write_text(RUN)
        names = {"folder": str(tmp_path), "arguments": words}
        process = processes.Process(target=runpy.run_path, args=(str(tmp_path / "run.py"), names))
        process.start()
        process.join()
        return process.exitcode, (tmp_path / "log.txt").read_text()

    return run


def weights_of(path: Path):
    return load_checkpoint(path).weights


def test_an_interrupted_run_ends_where_a_whole_one_does(train, tmp_path):
    more = ("--arch", "m2bert_tiny", "--clip-norm", "3.0", "--dropout", "0.1")
    more += ("--best-checkpoint-metric", "accuracy", "--maximize-best-checkpoint-metric")
    status, log = train("whole", "--max-update", "9", "--num-workers", "1", *more)  # several epochs
    assert status == 0, log
    for word in (
        "accuracy_bar",
        "accuracy_position",
        "accuracy_pitch",
        "accuracy_duration",
        "roll",
        "nll_pitch",
    ):
        assert word in log
    assert train("parts", "--max-update", "4", *more)[0] == 0
    status, log = train("parts", "--max-update", "9", *more)
    assert status == 0, log
    assert "0 missing, 0 unexpected" in log
    whole, parts = weights_of(tmp_path / "whole" / NAME), weights_of(tmp_path / "parts" / NAME)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_run_starts_from_given_weights_or_not_at_all(train, tmp_path):
    base = ("--arch", "m2bert_tiny", "--max-update", "1")
    assert train("first", *base)[0] == 0
    start = str(tmp_path / "first" / NAME)
    status, log = train("second", *base, "--init-from", start, "--aux", "none")
    assert status == 0, log
    assert "2 unexpected (mask_lm.proj.4.weight, mask_lm.proj.4.bias)" in log
    for more, reason in (
        (("--init-from", str(tmp_path / "nowhere.pt")), "[weights-not-loaded]"),
        (("--init-from", start, "--encoder-layers", "5"), "[other-architecture]"),
    ):
        status, log = train("third", *base, *more)
        assert status != 0
        assert reason in log
    status, log = train("third", *base, "--init-from", start, encoding="octuple")
    assert status != 0
    assert "[other-vocabulary]" in log


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--noise-radius", "4,12"), "bad-options"),
        (("--noise-radius", "4,12,12,2"), "bad-options"),
        (("--noise-radius", "4,x,12"), "bad-options"),
        (("--objective", "mask", "--mask-strategy", "notes"), "bad-options"),
        (("--field-weights", "1,2"), "bad-options"),
        (("--field-weights", "a,b,c,d"), "bad-options"),
        (("--crop", "0"), "bad-options"),
    ],
)
def test_options_that_do_not_fit(data, more, reason):
    with pytest.raises(ConfigError, match=reason):
        set_up(data, "cp", "--arch", "m2bert_tiny", *more)


def test_data_of_the_other_encoding(data, tmp_path):
    with pytest.raises(DatasetError, match="not-found"):
        set_up(data, "octuple", "--arch", "m2bert_tiny", "--encoding", "cp")
    (tmp_path / "octuple").symlink_to(data / "cp")
    with pytest.raises(DatasetError, match="other-encoding"):
        set_up(tmp_path, "octuple", "--arch", "m2bert_tiny")
