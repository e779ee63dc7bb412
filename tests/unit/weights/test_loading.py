import os
import pickle

import pytest
import torch

from musicbert.config import ModelConfig
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert
from musicbert.weights import fit_weights, infer_config, load_checkpoint, load_into, load_model, rename

CONFIG = ModelConfig(layers=2, width=16, ffn_width=32, heads=2, max_positions=64)
MICRO = "micro_pretrained_v1.0.0a0_cfg.pt"


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def reason_of(call, *arguments, **options):
    with pytest.raises(CheckpointError) as caught:
        call(*arguments, **options)
    return caught.value.reason


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, legacy):
    mark = tmp_path / "ran"
    evil = {"model": {"a": torch.ones(2)}, "args": Malice(mark)}
    torch.save(evil, tmp_path / "evil.pt", _use_new_zipfile_serialization=not legacy)
    assert reason_of(load_checkpoint, tmp_path / "evil.pt") == "unsafe-pickle"
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Malice(mark)))
    assert reason_of(load_checkpoint, tmp_path / "bare.pt") == "unsafe-pickle"
    assert not mark.exists()


def test_missing_damaged_and_foreign_files_are_named(tmp_path, fixtures):
    assert reason_of(load_checkpoint, tmp_path / "none.pt") == "not-found"
    whole = (fixtures / "musicbert_model" / MICRO).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    assert reason_of(load_checkpoint, tmp_path / "cut.pt") == "unreadable"
    (tmp_path / "text.pt").write_bytes(b"hello" * 100)
    assert reason_of(load_checkpoint, tmp_path / "text.pt") in ("unreadable", "unsafe-pickle")
    (tmp_path / "empty.pt").write_bytes(b"")
    assert reason_of(load_checkpoint, tmp_path / "empty.pt") == "unreadable"
    torch.save([1, 2], tmp_path / "list.pt")
    assert reason_of(load_checkpoint, tmp_path / "list.pt") == "no-weights"
    torch.save({"model": {}}, tmp_path / "bare.pt")
    assert reason_of(load_checkpoint, tmp_path / "bare.pt") == "no-weights"
    torch.save({"model": {"layer.weight": torch.ones(2)}}, tmp_path / "other.pt")
    assert reason_of(load_model, tmp_path / "other.pt") == "other-model"
    (tmp_path / "bad.safetensors").write_bytes(b"hello")
    assert reason_of(load_checkpoint, tmp_path / "bad.safetensors") == "unreadable"


def test_safetensors_and_plain_state_dicts_are_read(tmp_path):
    from safetensors.torch import save_file

    weights = MusicBert(CONFIG).state_dict()
    save_file(weights, tmp_path / "model.safetensors")
    torch.save(weights, tmp_path / "model.pt")
    for name, container in (("model.safetensors", "safetensors"), ("model.pt", "plain")):
        checkpoint = load_checkpoint(tmp_path / name)
        assert checkpoint.container == container
        assert all(torch.equal(checkpoint.weights[key], value) for key, value in weights.items())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vocabulary_size": 1236}, "other-vocabulary"),
        ({"width": 32}, "other-architecture"),
        ({"layers": 3}, "other-architecture"),
        ({"layers": 1}, "other-architecture"),
        ({"ffn_width": 64}, "other-architecture"),
        ({"fields": 1}, "other-architecture"),
        ({"max_positions": 4}, "other-architecture"),
        ({"performance_features": 3}, "other-architecture"),
    ],
)
def test_another_architecture_is_one_clear_error(tmp_path, change, reason):
    torch.save({"model": MusicBert(CONFIG.with_(**change)).state_dict()}, tmp_path / "other.pt")
    model = MusicBert(CONFIG)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert reason_of(load_into, model, tmp_path / "other.pt") == reason
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_another_number_of_heads_is_told_by_the_settings(fixtures):
    path = fixtures / "musicbert_model" / MICRO
    config = infer_config(load_checkpoint(path).weights, load_checkpoint(path).settings)
    load_into(MusicBert(config), path)
    assert reason_of(load_into, MusicBert(config.with_(heads=config.heads * 2)), path) == "other-architecture"


def test_a_cut_position_table_is_continued_by_the_models_own_rows():
    theirs, ours = MusicBert(CONFIG.with_(max_positions=8)), MusicBert(CONFIG)
    name = "encoder.sentence_encoder.embed_positions.weight"
    state, _ = fit_weights(theirs.state_dict(), ours)
    assert torch.equal(state[name][:10], theirs.state_dict()[name])
    assert torch.equal(state[name][10:], ours.state_dict()[name][10:])


def test_the_report_names_what_was_loaded_missing_and_unexpected():
    theirs = MusicBert(CONFIG)
    theirs.register_classification_head("old", 3)
    theirs.register_classification_head("kept", 3)
    theirs.register_classification_head("grown", 3)
    ours = MusicBert(CONFIG.with_(performance_features=2))
    ours.register_classification_head("kept", 3)
    ours.register_classification_head("grown", 5)
    ours.register_regression_head("new", 25)
    state, report = fit_weights(theirs.state_dict(), ours)
    ours.load_state_dict(state, strict=True)
    assert set(report.missing) == {
        "encoder.sentence_encoder.performance_projection.weight",
        "encoder.sentence_encoder.performance_hidden_projection.weight",
        "encoder.performance_head.weight",
        "encoder.performance_head.bias",
        *(
            f"regression_heads.new.{name}"
            for name in ("dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias")
        ),
    }
    assert set(report.resized) == {
        f"classification_heads.grown.out_proj.{name}" for name in ("weight", "bias")
    }
    assert len(report.unexpected) == 4
    assert all(name.startswith("classification_heads.old.") for name in report.unexpected)
    assert len(report.loaded) == 46 + 4 + 2
    assert "performance_projection" in str(report)
    assert "52 tensors loaded" in str(report)


def test_missing_encoder_tensors_are_no_small_matter():
    weights = MusicBert(CONFIG).state_dict()
    del weights["encoder.lm_head.dense.weight"]
    assert reason_of(fit_weights, weights, MusicBert(CONFIG)) == "missing-weights"


def test_a_longer_position_table_is_cut():
    theirs = MusicBert(CONFIG.with_(max_positions=128))
    state, _ = fit_weights(theirs.state_dict(), MusicBert(CONFIG))
    name = "encoder.sentence_encoder.embed_positions.weight"
    assert torch.equal(state[name], theirs.state_dict()[name][:66])


@pytest.mark.parametrize("prefix", ["", "module.", "mainEncoder."])
def test_known_spellings_are_translated(prefix):
    weights = MusicBert(CONFIG).state_dict()
    odd = {
        prefix + name.replace(".emb_layer_norm.", ".layernorm_embedding."): value
        for name, value in weights.items()
    }
    assert rename(odd).keys() == weights.keys()
    old = {name.replace("encoder.", "decoder.", 1): value for name, value in weights.items()}
    assert rename(old).keys() == weights.keys()


def test_the_architecture_is_read_off_the_shapes():
    config = CONFIG.with_(performance_features=3)
    found = infer_config(MusicBert(config).state_dict(), {"encoder_attention_heads": 2})
    assert found == config
    assert infer_config(MusicBert(CONFIG.with_(width=128)).state_dict()).heads == 2  # 64 wide each


def test_a_loaded_model_gains_performance_inputs(fixtures):
    model = load_model(fixtures / "musicbert_model" / MICRO, performance_features=4, pooling="mean")
    assert model.pooling == "mean"
    assert not model.encoder.sentence_encoder.performance_projection.weight.any()
    assert not model.training


def test_reading_leaves_the_allow_list_of_the_process_alone(fixtures, tmp_path):
    """The plug-in allows omegaconf's classes for fairseq; they must not mix with records here."""
    import argparse
    import typing

    from omegaconf import DictConfig

    before = torch.serialization.get_safe_globals()
    try:
        torch.serialization.add_safe_globals([DictConfig, argparse.Namespace, typing.Any])
        during = torch.serialization.get_safe_globals()
        checkpoint = load_checkpoint(fixtures / "musicbert_model" / MICRO)
        assert checkpoint.settings["encoder_attention_heads"] == 2
        assert reason_of(load_checkpoint, tmp_path / "none.pt") == "not-found"
        assert set(torch.serialization.get_safe_globals()) == set(during)
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
