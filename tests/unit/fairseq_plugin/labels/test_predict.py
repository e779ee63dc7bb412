"""What the evaluation of a checkpoint refuses, and says why."""

import os
from argparse import Namespace

import pytest
import torch

from musicbert.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


WEIGHTS = {"x": torch.ones(1)}


class Malice:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def reason(path):
    import musicbert.fairseq_plugin  # noqa: F401 - registers
    from musicbert.fairseq_plugin.labels.predict import load_fine_tuned

    with pytest.raises(CheckpointError) as caught:
        load_fine_tuned(path)
    assert caught.value.path == str(path)
    assert caught.value.hint
    return caught.value.reason


def test_checkpoints_that_cannot_be_evaluated(tmp_path):
    assert reason(tmp_path / "none.pt") == "not-found"
    (tmp_path / "empty.pt").write_bytes(b"")
    assert reason(tmp_path / "empty.pt") == "unreadable"
    torch.save({"model": WEIGHTS}, tmp_path / "bare.pt")
    assert reason(tmp_path / "bare.pt") == "unreadable"
    cfg = {"generation": {"print_alignment": None}, "task": Namespace(_name="octuple_masked_lm")}
    history = [{"criterion_name": "x", "optimizer_name": "x", "lr_scheduler_state": {}, "num_updates": 1}]
    extra = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}}
    state = {
        "model": {"x": torch.ones(1)},
        "cfg": cfg,
        "args": None,
        "optimizer_history": history,
        "extra_state": extra,
    }
    torch.save(state, tmp_path / "masked_lm.pt")
    assert reason(tmp_path / "masked_lm.pt") == "other-task"


def test_a_malicious_checkpoint_is_not_run(tmp_path):
    torch.save({"model": {}, "cfg": Malice(tmp_path / "ran")}, tmp_path / "evil.pt")
    assert reason(tmp_path / "evil.pt") == "unsafe-pickle"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("model", ["wav2vec2", "fconv", "transformer", "no such model", None])
def test_a_checkpoint_does_not_choose_another_model(tmp_path, model):
    """Some of fairseq's models evaluate text of their settings: only those of this package are built."""
    names = {} if model is None else {"_name": model, "arch": model}
    settings = Namespace(**names, conv_feature_layers=f"__import__('os').mkdir({str(tmp_path / 'ran')!r})")
    cfg = {"generation": {"print_alignment": None}, "task": Namespace(_name="xai"), "model": settings}
    history = [{"criterion_name": "x", "optimizer_name": "x", "lr_scheduler_state": {}, "num_updates": 1}]
    extra = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}}
    state = {
        "model": {"x": torch.ones(1)},
        "cfg": cfg,
        "args": None,
        "optimizer_history": history,
        "extra_state": extra,
    }
    torch.save(state, tmp_path / "made.pt")
    assert reason(tmp_path / "made.pt") == ("unreadable" if model is None else "other-model")
    assert not (tmp_path / "ran").exists()
