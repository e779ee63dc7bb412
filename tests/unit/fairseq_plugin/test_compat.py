"""fairseq under a torch of today: its reader of checkpoints, and the end of loading processes."""

import argparse
import os
import zipfile

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils
from omegaconf import OmegaConf

import musicbert.fairseq_plugin  # noqa: F401 - makes fairseq load safely
from musicbert.errors import CheckpointError
from musicbert.fairseq_plugin.compat import end_loading_processes
from musicbert.weights import load_checkpoint

BEST = 0.625


@pytest.fixture
def state():
    """As fairseq 1.0.0a0 writes it where the best score came from scikit-learn."""
    cfg = OmegaConf.create(
        {"model": None, "optimization": {"lr": [5e-4], "update_freq": [64]}}, flags={"allow_objects": True}
    )
    cfg.model = argparse.Namespace(arch="musicbert_base", _name="musicbert_base")
    history = {"criterion_name": "c", "optimizer_name": "o", "num_updates": 1, "lr_scheduler_state": {}}
    return {
        "cfg": cfg,
        "args": None,
        "model": {"weight": torch.ones(2)},
        "optimizer_history": [history],
        "extra_state": {"best": np.float64(BEST), "last": np.float32(BEST), "updates": np.int64(3)},
    }


def test_the_training_state_is_read(state, tmp_path):
    torch.save(state, tmp_path / "new.pt")
    with zipfile.ZipFile(tmp_path / "new.pt") as new, zipfile.ZipFile(tmp_path / "old.pt", "w") as old:
        for name in new.namelist():  # as NumPy 1 named its numbers
            old.writestr(name, new.read(name).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert (tmp_path / "old.pt").read_bytes().count(b"numpy.core.multiarray") == 1
    for path in (tmp_path / "new.pt", tmp_path / "old.pt"):
        found = checkpoint_utils.load_checkpoint_to_cpu(str(path))
        assert [found["extra_state"][name] for name in ("best", "last", "updates")] == [BEST, BEST, 3]
        assert found["cfg"].optimization.lr == [5e-4]
        assert found["cfg"].model.arch == "musicbert_base"
        assert load_checkpoint(path).settings["arch"] == "musicbert_base"


def test_anything_else_is_refused(state, tmp_path):
    class Malice:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({**state, "extra_state": Malice()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="mkdir"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "evil.pt"))
    assert not (tmp_path / "ran").exists()


def test_loading_processes_end_together(monkeypatch):
    """As torch before 2.13 does it at the end of a program, with a wait that would take a minute each."""
    iterator = torch.utils.data.dataloader._MultiProcessingDataLoaderIter
    alive = []

    def wait(worker):
        alive.append(worker.is_alive())
        worker.join(timeout=60)

    monkeypatch.setattr(iterator, "_clean_up_worker", staticmethod(wait), raising=False)
    monkeypatch.setattr(iterator, "__init__", iterator.__init__)  # undone after the test
    end_loading_processes()
    clean_up = iterator._clean_up_worker
    end_loading_processes()
    assert iterator._clean_up_worker is clean_up  # once
    loaders = [
        torch.utils.data.DataLoader(range(100), num_workers=1, persistent_workers=True) for _ in range(4)
    ]
    batches = [iter(loader) for loader in loaders]
    workers = [worker for each in batches for worker in each._workers]
    assert all(int(next(each)) == 0 for each in batches)
    for worker in workers:
        clean_up(worker)
    assert alive == [False] * 4


@pytest.mark.parametrize("settings", [[1, 2], 7, "text", None])
def test_settings_of_any_kind_choose_nothing(tmp_path, settings):
    from musicbert.fairseq_plugin.compat import refuse_other_classes

    refuse_other_classes({"model": settings, "task": settings, "args": settings}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="other-model"):
        refuse_other_classes({"model": settings, "task": {"_name": "translation"}}, tmp_path / "x.pt")
