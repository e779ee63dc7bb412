"""A training goes on only with what it was begun with: flags, data, weights."""

import pytest

from musicbert.errors import DatasetError
from musicbert.recipes.command import Command, Device, flags, plan_processes
from musicbert.recipes.training import _finished, check_begun, made_of
from musicbert.reuse import MADE_FROM, write_record


@pytest.fixture
def folder(tmp_path):
    for name in ("shard0/train.bin", "shard1/train.bin", "w.pt", "run/train.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
    return tmp_path


def record(folder, *extra, processes=1, batch=2, weights="w.pt", **changes):
    values = {"lr": "1e-3", "init_from": folder / weights, "max_update": 3, "fp16": None, **changes}
    data = f"{folder / 'shard0'}:{folder / 'shard1'}"
    command = Command(data, str(folder / "run"), flags(**values), effective_batch=8, batch=batch)
    words = command.words(Device(), plan_processes(0, processes=processes, environment={}), extra)
    return made_of(command, words, {})


def test_the_same_training_goes_on_elsewhere_and_longer(folder):
    write_record(folder / "run" / MADE_FROM, record(folder))
    for again in (
        record(folder),
        record(folder, "--log-interval", "1", "--validate-interval", "7", "--save-interval-updates", "3"),
        record(folder, processes=2, batch=4, max_update=9),
        record(folder, "--stop-time-hours", "1", "--no-last-checkpoints", "--keep-best-checkpoints", "2"),
    ):
        check_begun(folder / "run", again, pytest.fail)


@pytest.mark.parametrize(
    ("words", "extra", "changes"),
    [
        ("--lr: 1e-3 -> 1e-4", (), {"lr": "1e-4"}),
        ("--lr: 1e-3 -> 1", ("--lr", "1"), {}),
        ("--seed: 7 -> 8", ("--seed", "8"), {}),
        ("--dropout: none -> 0.1", ("--dropout", "0.1"), {}),
        ("--no-scale-embedding: none -> yes", ("--no-scale-embedding",), {}),
        ("--init-from: w.pt -> none; removed: weights of --init-from", (), {"init_from": None}),
    ],
)
def test_other_flags_are_refused(folder, words, extra, changes):
    write_record(folder / "run" / MADE_FROM, record(folder))
    with pytest.raises(DatasetError, match=words):
        check_begun(folder / "run", record(folder, *extra, **changes), pytest.fail)


@pytest.mark.parametrize("name", ["shard1/train.bin", "w.pt"])
def test_other_bytes_are_refused(folder, name):
    write_record(folder / "run" / MADE_FROM, record(folder))
    (folder / name).write_bytes(b"2")
    words = "weights of --init-from" if name == "w.pt" else name
    with pytest.raises(DatasetError, match=f"other bytes: {words}"):
        check_begun(folder / "run", record(folder), pytest.fail)


def test_what_an_earlier_version_began_goes_on_and_says_so(folder):
    said = []
    check_begun(folder / "run", record(folder), said.append)
    assert "does not say" in said[0]


@pytest.mark.parametrize(
    ("mark", "text"),
    [
        ('{"updates": 36, "command": ["a", "b"]}', "36 updates, "),
        ('{"updates": 36, "command": ["a", "c"]}', None),
        ("", ""),  # of an earlier version
        ('{"updates": 36', None),
        ("[36]", None),
        ('{"updates": 36}', None),
    ],
)
def test_a_mark_of_another_command_or_a_damaged_one_finishes_nothing(tmp_path, mark, text):
    (tmp_path / "done").write_text(mark)
    assert _finished(tmp_path / "done", ["a", "b"]) == text
    assert _finished(tmp_path / "other", ["a", "b"]) is None
