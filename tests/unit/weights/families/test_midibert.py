"""Checkpoints of the older MidiBERT: opened, used on music, written again, and what must not pass."""

import json

import numpy as np
import pytest
import torch

import musicbert
from musicbert.cli.main import main
from musicbert.config import MidiBertConfig
from musicbert.encoding.codecs import get_codec
from musicbert.errors import CheckpointError
from musicbert.midi import read_score
from musicbert.model.backbones.midibert import MidiBert
from musicbert.model.backbones.note_states import note_states
from musicbert.model.tagger import Tagger, TagSettings
from musicbert.objectives.note_fields import CP
from musicbert.weights import read_bundle

TINY = MidiBertConfig(layers=2, width=32, ffn_width=48, heads=4, embedding_width=8, max_positions=64)
#: what the published files carry and no model reads: shapes in the proportions of BERT
UNREAD = {
    "bert.embeddings.word_embeddings.weight": (30, 32),
    "bert.embeddings.position_embeddings.weight": (64, 32),
    "bert.pooler.dense.weight": (32, 32),
    "bert.pooler.dense.bias": (32,),
}


@pytest.fixture
def module():
    torch.manual_seed(0)
    model = MidiBert(TINY).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0.0, 0.2)
    return model


def content(module, prefix=""):
    """Content of a MidiBERT checkpoint."""
    weights = {f"{prefix}{name}": value for name, value in module.state_dict().items()}
    weights |= {f"{prefix}{name}": torch.zeros(shape) for name, shape in UNREAD.items()}
    return {
        "epoch": 4,
        "state_dict": weights,
        "best_acc": 0.8,
        "optimizer": {"state": {}, "param_groups": []},
    }


@pytest.fixture
def ckpt(module, tmp_path):
    torch.save(content(module), tmp_path / "midibert.ckpt")
    return tmp_path / "midibert.ckpt"


@pytest.mark.parametrize("prefix", ["", "module.", "midibert.", "module.midibert."])
def test_architecture_and_weights(module, tmp_path, prefix):
    saved = content(module, prefix)
    saved["state_dict"]["classifier.0.weight"] = torch.zeros(3, 32)
    torch.save(saved, tmp_path / "some.ckpt")
    bundle = read_bundle(tmp_path / "some.ckpt")
    assert bundle.config == TINY
    model = musicbert.from_pretrained(tmp_path / "some.ckpt", device="cpu")
    own, theirs = module.state_dict(), model.module.state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    assert not model.report.missing
    assert set(model.report.unexpected) == {*UNREAD, "classifier.0.weight"}


def test_long_pieces(module, ckpt):
    """Windows of as many notes as there are distances, stitched."""
    model = musicbert.from_pretrained(ckpt, device="cpu")
    assert model.window == 64
    rows = np.random.default_rng(0).integers(0, CP.values, (150, 4))
    notes = model.embed(rows, level="note")
    assert notes.shape == (150, 32)
    with torch.inference_mode():
        first, extra = module(torch.from_numpy(rows[None, :64]), return_all_hiddens=True)
    np.testing.assert_allclose(notes[:40], first[0, :40].numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.embed(rows[:64], level="note", layer=1),
        extra["inner_states"][1][0].numpy(),
        rtol=1e-4,
        atol=1e-5,
    )
    assert "midibert, cp, layers=2, width=32" in repr(model)


def test_heads_read_it(module):
    """Backbone of a tagger, as M2BERT is one."""
    rows = torch.from_numpy(np.random.default_rng(0).integers(0, CP.values, (2, 10, 4)))
    rows[1, 6:] = torch.tensor(CP.pads)
    states = note_states(module, rows, all_layers=True)
    assert len(states.states) == 3
    assert states.notes.sum(1).tolist() == [10, 6]
    assert Tagger(module, TagSettings(outputs=5))(rows).shape == (2, 10, 5)


def test_folder_and_command_line(module, ckpt, make_midi_folder, tmp_path, capsys):
    folder, back, out = tmp_path / "folder", tmp_path / "back.ckpt", tmp_path / "out.npz"
    assert main(["checkpoint", "info", str(ckpt)]) == 0
    assert "max_positions            64" in capsys.readouterr().out
    assert main(["checkpoint", "convert", str(ckpt), str(folder)]) == 0
    assert json.loads((folder / "config.json").read_text())["model_type"] == "midibert"
    assert "# A MidiBERT model" in (folder / "README.md").read_text()
    assert main(["checkpoint", "convert", str(folder), str(back)]) == 0
    wanted, found = content(module)["state_dict"], torch.load(back, weights_only=True)["state_dict"]
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    midi = make_midi_folder(1, seed=5)
    path = next(midi.rglob("*.mid"))
    words = ["embed", str(path), "--model", str(folder), "--device", "cpu", "--output", str(out)]
    assert main([*words, "--level", "note"]) == 0
    model = musicbert.from_pretrained(ckpt, device="cpu")
    rows, _ = get_codec("cp").encode(read_score(path))
    np.testing.assert_allclose(
        np.load(out)["embedding"], model.embed(rows, level="note"), rtol=1e-4, atol=1e-5
    )
    capsys.readouterr()
    assert main(["checkpoint", "convert", str(folder), str(tmp_path / "x.pt")]) == 2
    assert "not-exportable" in capsys.readouterr().err
    settings = json.loads((folder / "config.json").read_text())
    settings["architecture"]["heads"] = 8
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="bad-config"):
        musicbert.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w.pop("bert.encoder.layer.1.output.dense.bias"), "missing-weights"),
        (lambda w: w.update({"bert.embeddings.LayerNorm.bias": torch.zeros(7)}), "missing-weights"),
        (lambda w: w.pop("bert.encoder.layer.0.attention.self.distance_embedding.weight"), "other-model"),
        (lambda w: w.pop("in_linear.weight"), "other-model"),
        (lambda w: w.update({"word_emb.3.lut.weight": torch.zeros(67, 8)}), "other-vocabulary"),
    ],
)
def test_what_cannot_be_used(module, tmp_path, change, reason):
    saved = content(module)
    change(saved["state_dict"])
    torch.save(saved, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match=reason):
        musicbert.from_pretrained(tmp_path / "bad.ckpt")
