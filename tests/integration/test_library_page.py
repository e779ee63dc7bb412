"""Every example of docs/library.md runs, on a tiny model."""

import re
import shlex
from dataclasses import asdict

import numpy as np
import pytest

from musicbert.cli.main import main
from musicbert.config import ModelConfig
from musicbert.model import MusicBert
from musicbert.model.tagger import Tagger, TagSettings
from musicbert.weights import read_bundle, save_folder
from musicbert.weights.classifier_export import save_classifier_folder
from musicbert.weights.tagger_folder import load_tagger_folder, save_tagger_folder

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


@pytest.fixture
def place(fixtures, tmp_path, monkeypatch):
    """A folder with the files that the page speaks of."""
    source = fixtures / "musicbert_model" / "micro_finetuned_topmagd_cfg.pt"
    (tmp_path / "checkpoint.pt").write_bytes(source.read_bytes())
    (tmp_path / "checkpoints").mkdir()
    save_folder(read_bundle(source), tmp_path / "checkpoints" / "mine")
    piece = (fixtures / "musicbert" / "s02_percussion_multi_program.mid").read_bytes()
    (tmp_path / "midi").mkdir()
    for name in ("piece.mid", "other.mid", "midi/a.mid"):
        (tmp_path / name).write_bytes(piece)
    monkeypatch.chdir(tmp_path)
    config = ModelConfig(layers=2, width=16, ffn_width=32, heads=4, max_positions=64)
    tagger = Tagger(MusicBert(config), TagSettings(2)).eval()
    task = {
        "name": "x",
        "label": "x",
        "level": "note",
        "kind": "classes",
        "classes": ["a", "b"],
        "ignore": [],
    }
    use = {"family": "musicbert", "codec": "octuple", "window": 40, "overlap": 8, "windows": "all"}
    shape = {"architecture": asdict(config), "head": asdict(tagger.settings)}
    settings = {**use, **shape, "task": task, "origin": {}}
    save_tagger_folder(tmp_path / "runs" / "model", tagger.state_dict(), settings)
    save_classifier_folder(tmp_path / "their_classifier", tagger.state_dict(), settings)
    return tmp_path


def test_every_example_runs(root, place, capsys):
    blocks = BLOCK.findall((root / "docs" / "library.md").read_text())
    kinds = [kind for kind, _ in blocks]
    assert kinds.count("python") == 6
    assert kinds.count("bash") == 1
    names = {}
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, "docs/library.md", "exec"), names)
        elif kind == "bash":
            for line in text.splitlines():
                command, *words = shlex.split(line)
                assert command == "musicbert"
                assert main(words) == 0, (line, capsys.readouterr().err)
    assert names["vector"].shape == names["mean"].shape == (16,)
    assert names["notes"].shape[1] == names["bars"].shape[1] == 16
    assert len(names["several"]) == 2
    np.testing.assert_allclose(names["probabilities"].sum(1), 1, atol=1e-5)
    assert (place / "filled.mid").is_file()
    assert (place / "again.pt").is_file()
    written, read = load_tagger_folder("classifier")[0], load_tagger_folder("runs/model")[0]
    for name in [name for name in read.state_dict() if ".lm_head." not in name]:  # a classifier has none
        value = read.state_dict()[name]
        np.testing.assert_array_equal(written.state_dict()[name], value)
