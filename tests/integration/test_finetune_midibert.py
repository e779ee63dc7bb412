"""`musicbert finetune` from a checkpoint of the older MidiBERT, and the model it leaves."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from few_trees import few_trees  # noqa: F401

from musicbert.cli.main import main
from musicbert.config import MidiBertConfig
from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.errors import CheckpointError, ConfigError
from musicbert.evaluation.rows import read_rows
from musicbert.fairseq_plugin.backbones.midibert import MidiBertFlags, MidiBertModel
from musicbert.fairseq_plugin.runs.models import choose_model
from musicbert.midi import Score
from musicbert.model.backbones.midibert import MidiBert
from musicbert.predict.tagger import load_tagger_model
from musicbert.recipes.finetuning import published_for_shards

TINY = MidiBertConfig(layers=2, width=32, ffn_width=48, heads=4, embedding_width=8, max_positions=24)


def tune(seed, notes=40):
    rng = np.random.default_rng(seed)
    zeros = np.zeros(notes, np.int64)
    onset = np.arange(notes) * 240
    return Score(
        ticks_per_beat=480,
        onset=onset,
        offset=onset + 200,
        pitch=rng.integers(30, 100, notes),
        velocity=zeros + 64,
        program=zeros,
        drum=zeros.astype(bool),
        track=zeros,
    )


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("midibert") / "pretrained.ckpt"
    model = MidiBert(TINY)
    with torch.no_grad():
        for value in model.bert.parameters():
            if value.dim() == 2:
                value.normal_(0.0, 0.15)  # as large as weights are after some training
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    task = Task("register", "register", "note", "classes", ("low", "high"), "accuracy")
    scores = [tune(seed) for seed in range(24)]
    pieces = [
        LabelledPiece(f"t{k}", score, f"g{k}", {"register": (score.pitch > 64).astype(np.int64)})
        for k, score in enumerate(scores)
    ]
    folder = tmp_path_factory.mktemp("data") / "shards"
    write_shards(pieces, "cp", folder, [task], source="made")
    return folder


def test_what_is_chosen(ckpt):
    choice = choose_model(str(ckpt))
    assert (choice.family, choice.codec, choice.max_positions) == ("midibert", "cp", 24)
    with pytest.raises(CheckpointError, match="other-encoding"):
        choose_model(str(ckpt), codec="octuple")
    recipe = published_for_shards("midibert", "note")
    assert (recipe.batch, recipe.head_inner, recipe.patience) == (12, 256, 3)
    assert recipe.window_of("midibert", "note") == 512


def test_tasks_that_it_cannot_do():
    for task, what in (
        (SimpleNamespace(), "no heads to pre-train"),
        (SimpleNamespace(data=SimpleNamespace(codec="octuple")), "not octuple"),
    ):
        with pytest.raises(ConfigError, match=what):
            MidiBertModel.build_model(MidiBertFlags(), task)


def test_notes_are_learned(ckpt, shards, tmp_path, capsys):
    out = tmp_path / "runs"
    words = [
        *("finetune", "--data", shards, "--label", "register", "--model", ckpt, "--output", out, "--cpu"),
        *("--quiet", "--epochs", "50", "--batch", "4", "--folds", "2", "--only-folds", "0"),
        *("--learning-rate", "3e-3", "--resamples", "20", "--keep-models", "--no-final"),
    ]
    assert main([str(word) for word in words]) == 0
    log = "".join(path.read_text() for path in (out / "fold0").rglob("train.log"))
    assert "midibert_base" in log
    rows = json.loads((out / "report" / "report.json").read_text())["rows"]
    assert read_rows(rows)[0].value("accuracy") > 0.9
    (settings,) = (out / "fold0").rglob("tagger.json")
    content = json.loads(settings.read_text())
    assert content["family"] == "midibert"
    assert content["window"] == 24  # as many as there are distances
    music = tune(99)
    (found,) = load_tagger_model(settings.parent, device="cpu").predict([music])
    wanted = ["high" if pitch > 64 else "low" for pitch in music.pitch]
    assert np.mean([a == b for a, b in zip(found.best, wanted, strict=True)]) > 0.85
