"""Many runs: folds times seeds, a run that fails, and going on after an interruption."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from processes import wait_for_group
from warm_python import python

from musicbert.errors import DatasetError
from musicbert.evaluation.predictions import load_predictions

ARGUMENTS = [
    *("--task", "xai", "--criterion", "M2PFnP_xai", "--arch", "musicbert_tiny", "--cpu"),
    *("--classification-head-name", "performer", "--regression-head-name", "ratings"),
    *("--optimizer", "adam", "--lr", "1e-3", "--lr-scheduler", "polynomial_decay"),
    *("--total-num-update", "3", "--max-update", "3", "--batch-size", "8", "--disable-validation"),
    *("--max-positions", "512"),
]


@pytest.fixture(scope="module")
def databin(make_databin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bin")
    for fold in ("0", "1"):
        shutil.copytree(make_databin({"train": 12, "test": 5}, seed=int(fold)), folder / fold)
    return folder


def _command(root, databin, out, *more, cold=False):
    return [
        *(
            sys.executable if cold else python(),
            str(root / "scripts" / "run_experiments.py"),
            "--data",
            str(databin),
        ),
        *("--output", str(out), "--seeds", "1", "2", *more, "--", *ARGUMENTS),
    ]


def test_plan_lists_one_seed_after_the_other(databin, tmp_path):
    from musicbert.fairseq_plugin.runs.plan import plan_folds

    runs = plan_folds(databin, tmp_path, [1, 2], ["--task", "xai"])
    assert [(run.out.parent.name, run.seed) for run in runs] == [
        ("fold0", 1),
        ("fold1", 1),
        ("fold0", 2),
        ("fold1", 2),
    ]
    with pytest.raises(DatasetError, match="unknown-fold"):
        plan_folds(databin, tmp_path, [1], [], folds=["7"])
    with pytest.raises(DatasetError, match="not-found"):
        plan_folds(tmp_path, tmp_path, [1], [])


def test_a_run_made_with_other_settings_is_not_taken_for_this_one(databin, tmp_path):
    from musicbert.atomic import write_json
    from musicbert.fairseq_plugin.runs.plan import plan_folds

    data, weights = tmp_path / "bin", tmp_path / "weights" / "x.pt"
    shutil.copytree(databin, data)
    weights.parent.mkdir()
    weights.write_bytes(b"1")
    words = ["--lr", "1e-3", "--init-from", str(weights)]
    (run, *_) = plan_folds(data, tmp_path, [1], words)
    run.out.mkdir(parents=True)
    write_json(run.out / "run.json", {"made_from": run.made_from()})
    (run.out / "test.npz").touch()
    assert plan_folds(data, tmp_path, [1], words)[0].done
    weights.parent.rename(tmp_path / "elsewhere")  # the same weights, the same data
    data.rename(tmp_path / "data")
    data, moved = tmp_path / "data", ["--lr", "1e-3", "--init-from", str(tmp_path / "elsewhere" / "x.pt")]
    assert plan_folds(data, tmp_path, [1], moved)[0].done
    for call, words in (
        ({"arguments": ["--lr", "1e-4", *moved[2:]]}, "--lr: 1e-3 -> 1e-4"),
        ({"arguments": moved[:2]}, "--init-from: x.pt -> none; removed: weights of --init-from"),
        ({"checkpoint": "checkpoint_best.pt"}, "checkpoint that predicts"),
        ({"before": ("--lr", "1")}, "--before: none -> --lr 1"),
        ({"parts": ("test", "valid")}, "complete without valid.npz"),
        ({"keep_checkpoint": True}, "complete without checkpoint_last.pt"),
    ):
        with pytest.raises(DatasetError, match=words):
            plan_folds(data, tmp_path, [1], **{"arguments": moved, **call})
    (tmp_path / "elsewhere" / "x.pt").write_bytes(b"2")
    with pytest.raises(DatasetError, match="other bytes: weights of --init-from"):
        plan_folds(data, tmp_path, [1], moved)
    (tmp_path / "elsewhere" / "x.pt").write_bytes(b"1")
    (data / "0" / "label" / "train.label").write_text("[0.5]\n")
    with pytest.raises(DatasetError, match=r"other bytes: data/label/train\.label"):
        plan_folds(data, tmp_path, [1], moved)


@pytest.mark.slow
def test_killed_and_started_again(root, databin, tmp_path):
    """Runs that were done stay, the others are done, and each predicts its fold."""
    out = tmp_path / "runs"
    first = subprocess.Popen(
        _command(root, databin, out, cold=True),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not list(out.glob("*/*/run.json")):
        assert first.poll() is None, "it ended before its first run"
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_for_group(first.pid)
    done = {path: path.stat().st_mtime_ns for path in out.glob("*/*/run.json")}
    assert 1 <= len(done) < 4
    again = subprocess.run(_command(root, databin, out), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert f"{4 - len(done)} runs done, 0 failed" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert len(list(out.glob("*/*/run.json"))) == 4
    assert not list(out.glob("*/*/*.pt"))
    for fold in ("0", "1"):
        ids = (databin / fold / "label" / "test.id").read_text().split()
        predictions = load_predictions(out / f"fold{fold}" / "seed1" / "test.npz")["ratings"]
        assert predictions.ids.tolist() == ids
        assert np.isfinite(predictions.outputs).all()
    record = json.loads((out / "fold0" / "seed1" / "run.json").read_text())
    assert record["seed"] == 1
    assert "--task" in record["command"]
    assert {"data/input0/train.bin", "data/label/train.label"} <= set(record["made_from"]["files"])


@pytest.mark.slow
def test_a_run_that_fails_does_not_stop_the_others(root, databin, tmp_path):
    broken = tmp_path / "bin"
    shutil.copytree(databin, broken)
    (broken / "0" / "label" / "train.label").write_text("[0.5]\n")
    out = tmp_path / "runs"
    command = [part for part in _command(root, broken, out) if part != "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1 runs done, 1 failed" in done.stdout
    assert (out / "fold1" / "seed1" / "run.json").exists()
    assert not (out / "fold0" / "seed1" / "run.json").exists()
    assert "failed" in (out / "fold0" / "seed1" / "train.log").read_text()


@pytest.mark.slow
def test_options_are_chosen_inside_the_training_part(root, databin, tmp_path):
    """The better of two alternatives is taken, for all seeds of a fold, and the search is on file."""
    out = tmp_path / "runs"
    command = [
        *_command(root, databin, out, "--search", "--lr 0", "--lr 3e-3 --pooling mean+sd"),
        "--max-update",
        "8",
    ]
    command[command.index("--data") + 1] = str(databin)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for fold in ("0", "1"):
        search = json.loads((out / f"fold{fold}" / "search.json").read_text())
        split = json.loads((out / f"fold{fold}" / "search" / "split.json").read_text())
        test = set((databin / fold / "label" / "test.id").read_text().split())
        assert split["train"]
        assert split["valid"]
        assert not test & {*split["train"], *split["valid"]}
        assert [entry["options"] for entry in search["tried"]] == ["--lr 0", "--lr 3e-3 --pooling mean+sd"]
        best = max(search["tried"], key=lambda entry: entry["score"])
        assert search["chosen"] == best["options"]
        assert (search["label"], search["metric"]) == ("ratings", "r2")
        for seed in ("1", "2"):
            record = json.loads((out / f"fold{fold}" / f"seed{seed}" / "run.json").read_text())
            assert record["made_from"]["settings"]["--lr"] == search["chosen"].split()[1]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("run.json")}
    assert len(before) == 8
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("run.json")} == before
