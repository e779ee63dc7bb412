"""What a training shows: a screen in place of fairseq's log, and how long it takes on a CPU."""

import json

import numpy as np
import pytest

from musicbert.corpus.bins.databin import write_indexed_dataset
from musicbert.recipes.estimate import training_flops
from musicbert.recipes.screen import DAY, FAILED, FASTER, Screen, duration, screen_of

NOISE = [
    "site-packages/hydra/experimental/initialize.py:43: UserWarning: hydra.experimental.initialize() is old",
    "INFO:fairseq.tasks.text_to_speech:Please install tensorboardX: pip install tensorboardX",
    "2026 | INFO | fairseq_cli.train | {'_name': None, 'common': {'seed': 7, 'suppress_crashes': False}}",
    "2026 | INFO | fairseq_cli.train | MusicBertModel(",
    "  (encoder): MusicBertEncoder(",
    "fairseq/tasks/fairseq_task.py:531: FutureWarning: `torch.cuda.amp.autocast(args...)` is deprecated.",
    "2026 | INFO | fairseq.trainer | No existing checkpoint found run/checkpoint_last.pt",
]
HEAD = [
    "2026 | INFO | musicbert.fairseq_plugin.backbones.adapter | weights of w: 78 tensors loaded, 0 missing",
    "2026 | INFO | fairseq_cli.train | num. shared model params: 7,081,198 (num. trained: 7,081,198)",
    "2026 | INFO | musicbert.fairseq_plugin.labels.task | train: 12 pieces, 12 windows",
    "2026 | INFO | fairseq_cli.train | Start iterating over samples",
]


def stats(part, **values):
    prefix = "" if part == "train_inner" else f"{part}_"
    values = {"epoch": values.pop("epoch", 1), **{f"{prefix}{name}": str(v) for name, v in values.items()}}
    return f"2026 | INFO | {part} | {json.dumps(values)}"


def shown(lines, **options):
    said = []
    screen = Screen(said.append, **options)
    screen.show(f"{line}\n" for line in lines)
    return said, screen


def test_the_log_of_a_long_run_is_a_screen():
    lines = [*NOISE, *HEAD]
    for update in range(1, 1001):
        lines += [stats("train_inner", loss=2.5, num_updates=update)]
        lines += [stats("valid", loss=2.1, R2=min(update, 500) / 1000, wps=3, num_updates=update)]
        lines += HEAD[2:]  # each epoch opens the data anew
    said, screen = shown(lines, updates=1000, metric="R2", maximize=True)
    assert said[:3] == [
        "   weights: 78 tensors loaded, 0 missing",
        "   7,081,198 parameters",
        "   train: 12 pieces, 12 windows",
    ]
    assert len(said) < 30
    assert said[-1].startswith("   1000/1000 updates: loss 2.5, valid R2 0.5, best R2 0.5")
    assert screen.summary().startswith("1000 updates in ")
    assert screen.summary().endswith("best validation after 500: loss 2.1, R2 0.5")


def test_warnings_of_this_package_are_shown_and_others_are_not():
    said, _ = shown([
        "2026 | WARNING | musicbert.fairseq_plugin.pretraining.stall_warning | the network is not learning",
        "2026 | WARNING | fairseq.logging.progress_bar | tensorboard not found",
    ])  # fmt: skip
    assert said == ["   warning: the network is not learning"]


@pytest.mark.parametrize(
    ("lines", "status", "reason"),
    [
        (["Traceback (most recent call last):", f"{FAILED}c/valid: none", f"{FAILED}x"], 1, "c/valid: none"),
        (["Traceback (most recent call last):", "  File x", "torch.cuda.OutOfMemoryError: no memory"], 1,
         "torch.cuda.OutOfMemoryError: no memory"),
        ([], 3, "the training ended with status 3"),
        ([], -9, "the training was ended by signal 9 (out of memory?)"),
    ],
)  # fmt: skip
def test_a_failed_run_says_one_reason(lines, status, reason):
    said, screen = shown(lines)
    assert said == []
    assert screen.reason(status) == reason


def test_a_bar_only_where_there_is_a_terminal(capsys):
    lines = [stats("train_inner", loss=2.5, num_updates=5), stats("valid", loss=2.0, num_updates=10)]
    shown(lines, updates=10)
    assert capsys.readouterr().err == ""
    shown(lines, updates=10, bar=True)
    assert "10/10" in capsys.readouterr().err


def test_scores_that_are_missing_or_not_numbers_are_never_the_best():
    lines = [stats("valid", loss="nan", num_updates=1), stats("valid", loss=3, num_updates=2)]
    _, screen = shown([*lines, stats("valid", loss="nan", num_updates=3)])
    assert "best validation after 2: loss 3" in screen.summary()


def test_what_takes_days_says_what_is_faster():
    for advise, seconds, lines in ((True, 41 * DAY, 2), (True, 300, 1), (False, 41 * DAY, 1), (True, 5, 0)):
        said = []
        Screen(said.append, advise=advise).expect(seconds)
        assert len(said) == lines
        assert (f"   {FASTER}" in said) == (lines == 2)
    assert [duration(seconds) for seconds in (41 * DAY, 12000, 61, 5)] == [
        "41 days",
        "3 h 20 min",
        "1 min",
        "5 s",
    ]


def test_the_command_says_when_a_run_ends_and_what_is_best():
    words = ["--max-update", "9", "--best-checkpoint-metric", "R2", "--maximize-best-checkpoint-metric"]
    said = []
    screen_of([*words, "--max-update", "2"], said.append, bar=None, advise=False).show(
        [stats("valid", R2=0.5, num_updates=1), stats("valid", R2=0.25, num_updates=2)]
    )
    assert said[-1] == "   2/2 updates: valid R2 0.25, best R2 0.5"


def test_the_arithmetic_of_a_training_follows_its_size_data_and_updates(tmp_path):
    write_indexed_dataset([np.full(8 * notes, 4) for notes in (100, 700, 1000)], tmp_path / "train")

    def flops(*more, arch="musicbert_base", rows=256, updates=100):
        words = ["--arch", arch, "--max-update", str(updates), *more]
        return training_flops(words, str(tmp_path), rows)

    eos = ("--mask-strategy", "bar", "--sample-break-mode", "eos", "--tokens-per-sample", "8192")
    packed = (*eos[:3], "complete", *eos[4:])
    assert flops(*eos) == pytest.approx(2 * flops(*eos, updates=50))
    assert flops(*eos) == flops(*eos, rows=3) > flops(*eos, rows=1)  # an epoch has three pieces
    assert flops(*packed) == flops(*packed, rows=2) > flops(*packed, rows=1)
    assert flops(*eos) > flops(*eos, "--encoder-layers", "2") > flops(*eos, arch="musicbert_tiny")
    assert flops(*eos) > flops()  # without masked tokens there is no head of the vocabulary
    assert flops(arch="xai_pretrain_arch") == flops(arch="musicbert_base")
    crops = ("--crop", "1024")
    assert flops(*crops, arch="m2bert_base") > flops(*crops, arch="m2bert_tiny") > 0
    words = ["--arch", "m2bert_base", "--max-epoch", "2", *crops]
    assert training_flops(words, str(tmp_path), 5) == pytest.approx(
        flops(*crops, arch="m2bert_base", rows=5, updates=2)
    )
    assert training_flops(["--arch", "musicbert_base"], str(tmp_path / "none"), 8) == 0
