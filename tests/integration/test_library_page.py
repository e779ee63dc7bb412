"""Every example of docs/library.md runs, on a tiny model."""

import re
import shlex

import numpy as np
import pytest

from musicbert.cli.main import main
from musicbert.weights import read_bundle, save_folder

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
    return tmp_path


def test_every_example_runs(root, place, capsys):
    blocks = BLOCK.findall((root / "docs" / "library.md").read_text())
    kinds = [kind for kind, _ in blocks]
    assert kinds.count("python") == 5
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
