"""Settings as omegaconf writes them, every serialisation of torch, checkpoints of derivatives (RNBert)."""

import argparse

import numpy as np
import pytest
import torch

from musicbert.config import ModelConfig
from musicbert.model import MusicBert
from musicbert.predict import from_pretrained
from musicbert.weights import load_checkpoint, load_model, read_bundle

omegaconf = pytest.importorskip("omegaconf", reason="it comes with fairseq")

CONFIG = ModelConfig(layers=2, width=16, ffn_width=32, heads=4, max_positions=64)


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return {name: value * 3 for name, value in MusicBert(CONFIG).state_dict().items()}


def settings():
    """`cfg` of fairseq 1.0.0a0: a DictConfig with lists and values of every kind, and Namespaces in it."""
    cfg = omegaconf.OmegaConf.create(
        {
            "model": None,
            "task": None,
            "common": {"seed": 7, "fp16": True, "user_dir": "x"},
            "optimization": {"lr": [5e-4], "update_freq": [64], "clip_norm": 0.0, "stop": None},
        },
        flags={"allow_objects": True},
    )
    cfg.model = argparse.Namespace(encoder_attention_heads=4, dropout=0.2, layers_to_freeze=[0, 1])
    cfg.task = argparse.Namespace(data="nowhere", criterion_name="sequence_tagging")
    return cfg


def training_state(weights):
    return {
        "cfg": settings(),
        "args": None,
        "model": weights,
        "optimizer_history": [{"lr_scheduler_state": {"best": np.float64(0.5)}, "num_updates": 3}],
        "extra_state": {"best": np.float64(0.5), "metrics": {"default": [(0, "x", "AverageMeter", {})]}},
        "last_optimizer_state": {"state": {0: {"exp_avg": torch.zeros(2)}}},
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["torch 1.6 and later", "before"])
def test_lists_in_the_settings_are_read(weights, tmp_path, zipped):
    path = tmp_path / "model.pt"
    torch.save(training_state(weights), path, _use_new_zipfile_serialization=zipped)
    checkpoint = load_checkpoint(path)
    assert checkpoint.container == "cfg"
    assert checkpoint.settings["encoder_attention_heads"] == 4
    assert checkpoint.settings["layers_to_freeze"] == [0, 1]
    assert checkpoint.task["data"] == "nowhere"
    model = load_model(path)
    assert (model.config.heads, model.config.dropout) == (4, 0.2)
    found = model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights.items())


@pytest.mark.parametrize("spelling", ["multitask", "multitarget"])
def test_rnbert_gives_its_encoder_and_says_what_is_left_out(weights, tmp_path, fixtures, spelling):
    """Heads of notes have no place here: their tensors are named and kept, the encoder is exact."""
    path = tmp_path / "rnbert.pt"
    heads = f"classification_heads.sequence_{spelling}_tagging_head.multi_tag_sub_heads"
    more = {
        f"{heads}.{task}.{layer}": torch.ones(2, 2)
        for task in (0, 1)
        for layer in ("dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias")
    }
    more["encoder.z_encoder.0.weight"] = torch.ones(2, 2)
    torch.save(training_state({**weights, **more}), path)
    torch.save(training_state(weights), tmp_path / "plain.pt")
    model, plain = from_pretrained(path, device="cpu"), from_pretrained(tmp_path / "plain.pt", device="cpu")
    assert not model.heads
    assert not model.report.missing
    assert set(model.report.unexpected) == set(more)
    assert all(name in str(model.report) for name in more)
    midi = fixtures / "musicbert" / "s01_basic_4_4.mid"
    np.testing.assert_array_equal(model.embed(midi, level="note"), plain.embed(midi, level="note"))
    assert set(read_bundle(model.save(tmp_path / "folder")).weights) == set(weights) | set(more)


def test_half_precision_weights_are_computed_with_in_full(weights, tmp_path):
    """fairseq stores what it trained: with --fp16 the weights are float16."""
    torch.save(training_state({name: value.half() for name, value in weights.items()}), tmp_path / "half.pt")
    model = load_model(tmp_path / "half.pt")
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    name = "encoder.lm_head.weight"
    assert torch.equal(model.state_dict()[name], weights[name].half().float())
