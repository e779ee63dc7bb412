"""The weights that come with the project: found by name without a network, small, with their sources."""

import numpy as np
import pytest

import musicbert
from musicbert.weights import resolve

MUSICBERT = ("musicbert-mini", "musicbert-mini-performance")
#: name -> width, share of disturbed pitches that are found at least (chance: one of 24)
M2BERT = {"m2bert-tiny": (128, 0.1), "m2bert-mini": (256, 0.15)}


@pytest.mark.parametrize("name", [*MUSICBERT, *M2BERT])
def test_found_by_name_from_anywhere_and_small(name, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = resolve(name)
    assert folder == root / "checkpoints" / name
    assert (folder / "model.safetensors").stat().st_size < 12e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert (root / "results" / "pretraining" / name / "about.md").read_text(encoding="utf-8") in card
    assert "CC BY-NC-SA" in card


@pytest.mark.parametrize("name", MUSICBERT)
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


@pytest.mark.parametrize("name", M2BERT)
def test_m2bert_says_what_disturbed_notes_were(name):
    """Of the pitches of a made piece that were drawn anew, more than chance (one of 24) are found."""
    import torch

    from musicbert.encoding.codecs import get_codec
    from musicbert.synthesis import make_set
    from musicbert.weights import load_model

    score = next(iter(make_set(3, performers=1, segments=1, movements=1).scores.values()))
    width, least = M2BERT[name]
    model = musicbert.from_pretrained(name)
    notes = model.embed(score, level="note")
    assert notes.shape == (len(get_codec("cp").encode(score)[0]), width)
    assert np.isfinite(notes).all()
    rows = np.repeat(get_codec("cp").encode(score)[0][None], 20, axis=0)  # (20, T, 4): disturbed in 20 ways
    rng = np.random.default_rng(1)
    disturbed, hidden = rows.copy(), rng.random(rows.shape[:2]) < 0.3
    disturbed[hidden, 2] = np.clip(rows[hidden, 2] + rng.integers(-12, 12, hidden.sum()), 0, 85)
    network = load_model(resolve(name)).eval()
    with torch.inference_mode():
        outputs, _ = network(torch.from_numpy(disturbed))
    found = outputs.columns[2].reshape(*hidden.shape, -1).argmax(-1).numpy()
    assert (found[hidden] == rows[hidden, 2]).mean() > least
