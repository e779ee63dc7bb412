"""The table of ideas for the training step: rows by name, ratios, and forms that are equal."""

import importlib

import pytest
import torch

from musicbert.model import MusicBert
from musicbert.model.backbones.encoder import EncoderLayer


@pytest.fixture
def bench(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    threads = torch.get_num_threads()
    yield importlib.import_module("step_ideas")
    torch.set_num_threads(threads)


def test_chosen_rows(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "ARCH", "tiny")
    monkeypatch.setattr(bench, "medians", lambda calls, _: {name: 2.0 for name in calls if not calls[name]()})
    bench.ready.cache_clear()
    out = tmp_path / "ideas.md"
    bench.main(["--only", "whole step 1x120|in place", "--write", str(out)])
    bench.ready.cache_clear()
    text = out.read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert sum(row[0] == "| 1x120" for row in rows) == 2
    (idea,) = (row for row in rows if row[0] == "| gradients by field written in place")
    assert idea[1:] == ["step 1x120", "2.0", "2.0", "1.00", "kept |"]
    assert "commit" in text
    assert "seed 0" in text


def test_forms_are_equal(bench):
    forms = bench.forms
    torch.manual_seed(0)
    a, b = torch.randn(8, 6, dtype=torch.double), torch.randn(6, 4, dtype=torch.double)
    torch.testing.assert_close(forms.strassen(a, b), a @ b)
    model = MusicBert(bench.PRESETS["tiny"].with_(max_positions=16))
    block = model.encoder.sentence_encoder.layers[0].eval()
    found = []
    for parts in ({}, {"feed": forms.feed_forward}, {"norm": forms.add_norm}, {"attend": forms.checkpointed}):
        x = torch.randn(1, 5, 128, generator=torch.Generator().manual_seed(1)).requires_grad_()
        block.zero_grad()
        out = forms.layer(block, x, **parts) if parts else EncoderLayer.forward(block, x)
        out.square().cumsum(1).sum().backward()
        found.append([out.detach(), x.grad, *(p.grad for p in block.parameters())])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-4)
