"""Checkpoints of M2BERT: the published layout, our folder and fairseq's file, and what must not pass."""

import json
from collections import OrderedDict

import pytest
import torch

from musicbert.cli.main import main
from musicbert.config import M2BertConfig
from musicbert.errors import CheckpointError
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.objectives.note_fields import OCTUPLE
from musicbert.weights import (
    build_model,
    fit_weights,
    load_model,
    read_bundle,
    save_ckpt,
    save_fairseq,
    save_folder,
)

TINY = M2BertConfig(layers=2, width=64, ffn_width=24, heads=1, embedding_width=8)


def published(model):
    """Content of a ``model_best.ckpt``."""
    state = {n.removeprefix("encoder."): v for n, v in model.encoder.state_dict(prefix="encoder.").items()}
    return {
        "epoch": 26,
        "state_dict": OrderedDict(state),
        "mask_lm": OrderedDict(model.mask_lm.state_dict()),
        "best_acc": 0.94,
        "valid_acc": [1.0, 0.98, 0.94, 0.9],
        "valid_loss": 0.2,
        "train_loss": 0.22,
        "optimizer": {
            "state": {1: {"exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3), "kahan_comp": None}},
            "param_groups": [{"lr": 2e-5, "betas": (0.9, 0.99), "params": [0, 1]}],
        },
    }


@pytest.fixture
def model():
    torch.manual_seed(0)
    return M2Bert(TINY).eval()


@pytest.fixture
def ckpt(model, tmp_path):
    torch.save(published(model), tmp_path / "model_best.ckpt")
    return tmp_path / "model_best.ckpt"


def same(model, other):
    own, theirs = model.state_dict(), other.state_dict()
    return own.keys() == theirs.keys() and all(torch.equal(own[name], theirs[name]) for name in own)


def test_a_published_checkpoint_is_read_whole(ckpt, model):
    bundle = read_bundle(ckpt)
    assert bundle.config == TINY
    found, report = build_model(bundle)
    assert same(model, found)
    assert report.missing + report.unexpected + report.resized == ()


@pytest.mark.shared
def test_the_layout_is_the_published_one(shared, model):
    layout = json.loads((shared / "golden" / "m2bert" / "state_dict_layout.json").read_text())
    content = published(model)
    for part in ("state_dict", "mask_lm"):
        names = {name.replace("layers.11", "layers.1") for name in layout[part]}
        kept = {name for name in names if ".layers." not in name or int(name.split(".")[2]) < 2}
        assert set(content[part]) == kept


@pytest.mark.parametrize(
    ("save", "name"),
    [(save_folder, "folder"), (save_fairseq, "x.pt"), (save_ckpt, "x.ckpt")],
)
def test_what_is_written_comes_back(ckpt, model, tmp_path, save, name):
    bundle = read_bundle(ckpt)
    save(bundle, tmp_path / name)
    assert same(model, load_model(tmp_path / name))
    with pytest.raises(Exception, match="output-exists"):
        save(bundle, tmp_path / name)
    save(bundle.half(), tmp_path / name, overwrite=True)
    half = load_model(tmp_path / name)
    for ours, theirs in zip(model.parameters(), half.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
        assert theirs.dtype == torch.float32


def test_the_folder_says_what_it_is(ckpt, tmp_path):
    save_folder(read_bundle(ckpt), tmp_path / "folder")
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert (config["model_type"], config["encoding"]) == ("m2bert", "cp")
    vocabulary = json.loads((tmp_path / "folder" / "vocab.json").read_text())
    assert vocabulary["pitch"] == {"values": 86, "PAD": 86, "MASK": 87}
    assert "from_pretrained" in (tmp_path / "folder" / "README.md").read_text()
    config["architecture"]["layers"] = 3
    (tmp_path / "folder" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="bad-config"):
        load_model(tmp_path / "folder")


def test_settings_of_a_fairseq_checkpoint_count(model, tmp_path):
    other = TINY.with_(heads=2, window=16, global_every=2, mlp_dropout=0.3)
    save_fairseq(bundle_of(other, tmp_path), tmp_path / "x.pt")
    assert read_bundle(tmp_path / "x.pt").config == other


def bundle_of(config, tmp_path):
    torch.save(published(M2Bert(config)), tmp_path / "other.ckpt")
    from dataclasses import replace

    return replace(read_bundle(tmp_path / "other.ckpt"), config=config)


def test_missing_tensors_are_never_silent(model, ckpt):
    weights = dict(read_bundle(ckpt).weights)
    lost = weights.pop("encoder.note_bert1.layers.1.attn.Wqkv.weight")
    with pytest.raises(CheckpointError, match="missing-weights"):
        fit_weights(weights, model)
    weights["encoder.note_bert1.layers.1.attn.Wqkv.weight"] = lost[:-1]
    with pytest.raises(CheckpointError, match="missing-weights"):
        fit_weights(weights, model)
    weights["encoder.note_bert1.layers.1.attn.Wqkv.weight"] = lost
    for name in [name for name in weights if name.startswith("mask_lm")]:
        del weights[name]
    weights["classifier.0.weight"] = torch.zeros(3, 64)
    _, report = fit_weights(weights, model)
    assert len(report.missing) == 10
    assert report.unexpected == ("classifier.0.weight",)
    assert "10 missing (mask_lm.proj.0.weight" in str(report)
    final = "encoder.note_bert1.final_norm.weight"
    del weights[final]
    assert final in fit_weights(weights, model)[1].missing
    with pytest.raises(CheckpointError, match="missing-weights"):
        fit_weights(weights, M2Bert(TINY.with_(final_norm=True)))


def test_a_fine_tuned_checkpoint_gives_its_backbone(model, tmp_path):
    weights = {f"midibert.{n}": v for n, v in published(model)["state_dict"].items()}
    torch.save(
        {"state_dict": {**weights, "classifier.0.weight": torch.zeros(3, 64)}}, tmp_path / "tuned.ckpt"
    )
    bundle = read_bundle(tmp_path / "tuned.ckpt")
    assert bundle.config == TINY.with_(roll_outputs=0)
    found, report = build_model(bundle)
    assert torch.equal(found.encoder.in_linear.weight, model.encoder.in_linear.weight)
    assert all(name.startswith("mask_lm.") for name in report.missing)


@pytest.mark.parametrize("prefix", ["", "module.", "midibert."])
def test_the_older_midibert_is_no_start_of_an_m2bert(model, prefix):
    weights = {f"{prefix}bert.encoder.layer.0.attention.self.query.weight": torch.zeros(4, 4)}
    weights[f"{prefix}word_emb.0.lut.weight"] = torch.zeros(4, 256)
    with pytest.raises(CheckpointError, match=r"relative_key_query.*midibert-layout"):
        fit_weights(weights, model)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (TINY.with_(layers=3), "other-architecture"),
        (TINY.with_(ffn_width=32), "other-architecture"),
        (TINY.with_(embedding_width=16), "other-architecture"),
        (TINY.with_(field_sizes=OCTUPLE.sizes, field_pads=OCTUPLE.pads), "other-vocabulary"),
    ],
)
def test_other_models(model, other, reason):
    with pytest.raises(CheckpointError, match=reason):
        fit_weights(M2Bert(other).state_dict(), model)


def test_something_else():
    with pytest.raises(CheckpointError, match="other-model"):
        fit_weights({"x": torch.zeros(1)}, M2Bert(TINY))
    weights = M2Bert(TINY.with_(field_sizes=(5, 6), field_pads=(3, 4))).state_dict()
    with pytest.raises(CheckpointError, match="neither compound words nor octuples"):
        fit_weights(weights, M2Bert(TINY))


def test_command_line(ckpt, model, tmp_path, capsys):
    assert main(["checkpoint", "info", str(ckpt)]) == 0
    told = capsys.readouterr().out
    assert "encoding                 cp" in told
    assert "0 missing" in told
    folder, back = tmp_path / "folder", tmp_path / "back.ckpt"
    assert main(["checkpoint", "convert", str(ckpt), str(folder)]) == 0
    assert main(["checkpoint", "convert", str(folder), str(back)]) == 0
    content = torch.load(back, weights_only=True)
    for part in ("state_dict", "mask_lm"):
        wanted = published(model)[part]
        assert content[part].keys() == wanted.keys()
        assert all(torch.equal(content[part][name], wanted[name]) for name in wanted)
    assert main(["checkpoint", "convert", str(folder), str(tmp_path / "half"), "--float16"]) == 0
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("folder", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    capsys.readouterr()
    assert main(["checkpoint", "verify", str(folder)]) == 2
    assert "not-comparable" in capsys.readouterr().err
    assert main(["checkpoint", "convert", str(folder), str(tmp_path / "hf"), "--to", "hugging-face"]) == 2
    assert "not-exportable" in capsys.readouterr().err
