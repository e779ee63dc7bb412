"""The weights that come with the project: found by name without a network, small, with their sources."""

import numpy as np
import pytest

import musicbert
from musicbert.weights import resolve

NAMES = ("musicbert-mini", "musicbert-mini-performance")


@pytest.mark.parametrize("name", NAMES)
def test_found_by_name_from_anywhere_and_small(name, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = resolve(name)
    assert folder == root / "checkpoints" / name
    assert (folder / "model.safetensors").stat().st_size < 12e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert (root / "results" / "pretraining" / name / "about.md").read_text(encoding="utf-8") in card
    assert "CC BY-NC-SA" in card


@pytest.mark.parametrize("name", NAMES)
def test_they_embed_and_fill_what_they_have_learned(name):
    """The program of hidden notes of a made piano piece; random weights give one of 129."""
    from musicbert.predict import choose_mask
    from musicbert.synthesis import make_set

    model = musicbert.from_pretrained(name)
    score = next(iter(make_set(3, performers=1, segments=1, movements=1).scores.values()))
    vector = model.embed(score)
    assert vector.shape == (256,)
    assert np.isfinite(vector).all()
    rows = musicbert.encode(score)
    hidden = choose_mask(rows, fields=("program",), share=0.3, seed=1)
    assert hidden.sum() > 5
    filled = model.fill(score, mask=hidden, seed=1).rows
    assert (filled[hidden] == rows[hidden]).mean() > 0.9
