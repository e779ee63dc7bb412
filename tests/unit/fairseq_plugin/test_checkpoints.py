"""Checkpoints of trainings: written whole, the newest whole one is resumed, a finished run stays as it is."""

import logging
import shutil

import pytest
import torch
from fairseq import checkpoint_utils, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.file_io import PathManager
from fairseq.logging import metrics
from fairseq_cli.train import main, should_stop_early

import musicbert.fairseq_plugin  # noqa: F401 - replaces functions of fairseq
from musicbert.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore")  # fairseq 0.12 is older than torch and NumPy

RUN = (
    "--task xai --arch musicbert_tiny --criterion M2P_xai --classification-head-name xai_head "
    "--batch-size 6 --lr 1e-3 --lr-scheduler fixed --optimizer adam --seed 7 --cpu --num-workers 0 "
    "--required-batch-size-multiple 1 --encoder-layers 1 --encoder-embed-dim 16 --encoder-ffn-embed-dim 32 "
    "--encoder-attention-heads 2 --no-epoch-checkpoints --log-format none "
    "--save-interval-updates 1 --keep-interval-updates 2"
)
LAST, BEST = "checkpoint_last.pt", "checkpoint_best.pt"


@pytest.fixture(scope="module")
def data(make_databin):
    return make_databin({"train": 24, "valid": 8}, dimensions=2)


@pytest.fixture
def train(data, tmp_path, caplog):
    """Run fairseq-train; gives its folder and what the plug-in's checkpoints say."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def run(folder, *more):
        folder = tmp_path / folder
        metrics.reset()
        for function in (checkpoint_utils.save_checkpoint, checkpoint_utils.load_checkpoint):
            vars(function).pop("best", None)
        vars(should_stop_early).clear()
        caplog.clear()
        command = [str(data), "--save-dir", str(folder), *RUN.split(), *map(str, more)]
        args = options.parse_args_and_arch(options.get_training_parser(), input_args=command)
        with caplog.at_level(logging.INFO):
            main(convert_namespace_to_omegaconf(args))
        said = [record for record in caplog.records if record.name == "musicbert.fairseq_plugin.checkpoints"]
        return folder, [record.getMessage() for record in said]

    yield run
    torch.set_num_threads(threads)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.pt")}


def state_of(path):
    return torch.load(path, weights_only=True)


def same_weights(one, other):
    one, other = state_of(one)["model"], state_of(other)["model"]
    return all(torch.equal(one[name], other[name]) for name in one | other)


def test_a_copy_that_breaks_off_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    (tmp_path / "new.pt").write_bytes(b"new" * 9)
    (tmp_path / LAST).write_bytes(b"old")

    def break_off(source, target, *_):
        target.write(source.read(4))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", break_off)
    with pytest.raises(OSError, match=LAST):
        PathManager.copy(str(tmp_path / "new.pt"), str(tmp_path / LAST), overwrite=True)
    assert contents(tmp_path) == {"new.pt": b"new" * 9, LAST: b"old"}
    monkeypatch.undo()
    assert PathManager.copy(str(tmp_path / "new.pt"), str(tmp_path / LAST), overwrite=True)
    assert (tmp_path / LAST).read_bytes() == b"new" * 9
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, "new.pt"]


def test_a_checkpoint_that_breaks_off_leaves_the_file_that_was_there(tmp_path):
    (tmp_path / LAST).write_bytes(b"old")
    with pytest.raises(AttributeError):
        checkpoint_utils.torch_persistent_save(
            {"weight": torch.ones(3), "no": lambda: 0}, str(tmp_path / LAST)
        )
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(LAST, b"old")]


@pytest.mark.parametrize(
    "damage", [lambda old: old[: len(old) // 2], lambda old: b"", lambda old: bytes(len(old))]
)
def test_the_newest_whole_checkpoint_is_resumed(damage, train, tmp_path):
    whole, _ = train("whole", "--max-update", 5)
    folder, said = train("cut", "--max-update", 3)
    assert said == []
    (folder / LAST).write_bytes(damage((folder / LAST).read_bytes()))
    (folder / f".{LAST}.x.partial").write_bytes(b"left by a kill")
    newest = max(folder.glob("checkpoint_*_*.pt"), key=lambda path: int(path.stem.split("_")[2]))
    flipped = bytearray(newest.read_bytes())
    flipped[len(flipped) // 2] ^= 1  # a checksum is wrong
    newest.write_bytes(flipped)
    (folder / BEST).unlink()
    _, said = train("cut", "--max-update", 5)
    assert said == [f"{folder / LAST} is damaged; resuming from {folder / 'checkpoint_1_2.pt'} (2 updates)"]
    assert same_weights(folder / LAST, whole / LAST)
    assert same_weights(folder / BEST, whole / BEST)
    assert not list(folder.glob(".*"))


def test_without_a_whole_checkpoint_nothing_is_trained(train, tmp_path):
    folder, _ = train("cut", "--max-update", 1)
    for path in folder.glob("*.pt"):
        path.write_bytes(path.read_bytes()[:999])
    before = contents(folder)
    with pytest.raises(CheckpointError, match="no whole checkpoint beside it") as caught:
        train("cut", "--max-update", 3)
    assert caught.value.reason == "unreadable"
    assert contents(folder) == before


@pytest.mark.parametrize(
    "end",
    [
        ("--max-update", "5"),
        ("--max-epoch", "1"),
        ("--max-update", "3", "--no-save-optimizer-state"),
        ("--stop-time-hours", "1e-09", "--max-update", "9"),
        ("--patience", "1", "--max-update", "30", "--lr", "0"),
    ],
)
def test_a_finished_run_is_left_as_it_is(end, train):
    folder, said = train("run", *end)
    before, updates = contents(folder), state_of(folder / LAST)["optimizer_history"][-1]["num_updates"]
    assert said == []
    for _ in range(2):
        _, said = train("run", *end)
        named = " ".join(end[:2])
        assert said == [f"finished: {updates} updates ({named}), {folder / LAST}; nothing is changed"]
        assert contents(folder) == before


def test_a_larger_bound_goes_on(train):
    whole, _ = train("whole", "--max-update", 6)
    folder, _ = train("run", "--max-update", 2)
    _, said = train("run", "--max-update", 6)
    assert said == []
    assert same_weights(folder / LAST, whole / LAST)


def test_patience_counts_on_after_a_resumption(train):
    options = ("--lr", 0, "--patience", 3, "--max-update")
    whole, _ = train("whole", *options, 30)
    folder, _ = train("run", *options, 2)
    train("run", *options, 30)
    ends = [state_of(path / LAST)["optimizer_history"][-1]["num_updates"] for path in (whole, folder)]
    assert ends[0] == ends[1] < 30


def test_weights_of_another_number_of_heads_are_no_start(train):
    folder, _ = train("first", "--max-update", 1)
    for option in ("--finetune-from-model", "--restore-file"):
        with pytest.raises(CheckpointError, match="attention heads") as caught:
            train("second", option, folder / LAST, "--encoder-attention-heads", 1, "--max-update", 1)
        assert caught.value.reason == "other-architecture"
