"""Checkpoints of musicbert_hf, made and run by the BERT of transformers."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from musicbert.config import ModelConfig
from musicbert.errors import CheckpointError
from musicbert.model import MusicBert
from musicbert.predict import from_pretrained
from musicbert.weights import (
    build_model,
    load_checkpoint,
    load_folder,
    load_into,
    read_bundle,
    resolve,
    save_fairseq,
    save_folder,
)

transformers = pytest.importorskip("transformers", reason="needs transformers (pip install -e '.[dev]')")

FILES = {"model.safetensors": True, "pytorch_model.bin": False}
TOKENS = torch.arange(4, 4 + 8 * 6).view(2, 24)
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}


def masked_lm(config):
    """BERT's masked LM with the two projections of musicbert_hf, weights far from those of a new model."""
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM(config).eval()
    embeddings, width = model.bert.embeddings, config.hidden_size
    embeddings.downsampling = nn.Sequential(nn.Linear(8 * width, width))
    embeddings.upsampling = nn.Sequential(nn.Linear(width, 8 * width))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
        for weight in embeddings.downsampling.parameters():
            weight.mul_(0.01)  # small variances, in which epsilon counts
        embeddings.position_embeddings.weight.mul_(0.01)
    return model


def settings(**changes):
    """Settings with which musicbert_hf makes a model of this size; the rest is BERT's."""
    defaults = {"vocab_size": 1237, "max_position_embeddings": 66, "tie_word_embeddings": False, **SIZES}
    more = {"pad_token_id": 1, "compound_ratio": 8, "fairseq_position_embeddings": True}
    return transformers.BertConfig(**{**defaults, **more, **changes})


@torch.inference_mode()
def theirs(model, tokens):
    """Logits as musicbert_hf computes them: token types are never read."""
    embeddings = model.bert.embeddings
    x = embeddings.downsampling(embeddings.word_embeddings(tokens).flatten(1).unflatten(1, (-1, 8 * 16)))
    x = embeddings.LayerNorm(x + embeddings.position_embeddings.weight[2 : 2 + x.shape[1]])
    x = embeddings.upsampling(model.bert.encoder(x)[0])
    return model.cls(x.view(*tokens.shape, -1))


@torch.inference_mode()
def ours(bundle):
    return build_model(bundle)[0](TOKENS)[0]


def save(folder, *, safe=True, **changes):
    model = masked_lm(settings(**changes))
    model.save_pretrained(folder, safe_serialization=safe)
    return model


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 1e-2])
@pytest.mark.parametrize("file", FILES)
def test_a_checkpoint_gives_the_outputs_of_transformers(tmp_path, file, eps):
    model = save(tmp_path / "hf", safe=FILES[file], layer_norm_eps=eps)
    assert model.bert.embeddings.token_type_embeddings.weight.abs().max() > 0.1
    expected = theirs(model, TOKENS)
    assert (tmp_path / "hf" / file).is_file()
    for bundle in (
        read_bundle(tmp_path / "hf" / file),
        load_folder(tmp_path / "hf"),
        read_bundle(resolve(tmp_path / "hf")),
    ):
        assert bundle.config.norm_eps == eps
        assert bundle.origin["container"] == "hugging-face"
        torch.testing.assert_close(ours(bundle), expected, atol=1e-5, rtol=0)
    assert from_pretrained(tmp_path / "hf").config.norm_eps == eps


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 1e-2])
def test_transformers_computes_the_same_from_what_is_written(tmp_path, eps):
    torch.manual_seed(0)
    config = ModelConfig(
        layers=2, width=16, ffn_width=32, heads=4, max_positions=64, norm_eps=eps,
        dropout=0.2, attention_dropout=0.3, activation_dropout=0.4, pooler_dropout=0.5,
    )  # fmt: skip
    model = MusicBert(config).eval()
    cfg = {"model": {"encoder_attention_heads": 4}}
    torch.save({"model": model.state_dict(), "cfg": cfg}, tmp_path / "model.pt")
    bundle = read_bundle(tmp_path / "model.pt")
    assert bundle.config.norm_eps == 1e-5  # of files without this setting
    bundle = replace(bundle, config=config)
    folder = save_folder(bundle, tmp_path / "hf", layout="hugging-face")
    again = masked_lm(transformers.BertConfig.from_pretrained(folder))
    assert again.bert.encoder.layer[1].output.LayerNorm.eps == eps
    from safetensors.torch import load_file

    again.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    torch.testing.assert_close(ours(bundle), theirs(again, TOKENS), atol=1e-5, rtol=0)
    assert load_folder(folder).config == config  # dropouts, too


def test_epsilon_stays_in_every_format(tmp_path):
    model = save(tmp_path / "hf", layer_norm_eps=1e-2)
    bundle = load_folder(tmp_path / "hf")
    expected = theirs(model, TOKENS)
    written = (
        save_folder(bundle, tmp_path / "folder"),
        save_folder(bundle, tmp_path / "again", layout="hugging-face"),
        save_fairseq(bundle, tmp_path / "model.pt"),
    )
    for path in written:
        torch.testing.assert_close(ours(read_bundle(path)), expected, atol=1e-5, rtol=0)
        load_into(MusicBert(bundle.config), path)
        with pytest.raises(CheckpointError, match="epsilon of LayerNorm") as error:
            load_into(MusicBert(bundle.config.with_(norm_eps=1e-5)), path)
        assert error.value.reason == "other-architecture"
        assert "--layer-norm-eps 0.01" in str(error.value)
    assert load_checkpoint(written[2]).settings["layer_norm_eps"] == 1e-2
    assert "| epsilon of LayerNorm | 0.01 |" in (tmp_path / "folder" / "README.md").read_text()
    assert bundle.family.size_flags(bundle.config)["layer_norm_eps"] == 1e-2
    assert "layer_norm_eps" not in bundle.family.size_flags(bundle.config.with_(norm_eps=1e-5))


def test_a_folder_without_epsilon_is_as_published(tmp_path):
    save(tmp_path / "hf", layer_norm_eps=1e-5)
    folder = save_folder(load_folder(tmp_path / "hf"), tmp_path / "old")
    content = json.loads((folder / "config.json").read_text())
    del content["architecture"]["norm_eps"]
    (folder / "config.json").write_text(json.dumps(content))
    assert load_folder(folder).config == load_folder(tmp_path / "hf").config


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "change",
    [
        {"hidden_act": "relu"},
        {"hidden_act": "gelu_new"},
        {"position_embedding_type": "relative_key"},
        {"fairseq_position_embeddings": False},
        {"tie_word_embeddings": True},
        {"is_decoder": True},
        {"bos_token_id": 5},
        {"eos_token_id": 3},
        {"pad_token_id": 7},
        {"vocab_size": 1236},
        {"hidden_size": 32},
        {"num_hidden_layers": 3},
        {"intermediate_size": 16},
        {"max_position_embeddings": 64},
        {"compound_ratio": 4},
        {"layer_norm_eps": "1e-12"},
        {"layer_norm_eps": 0.0},
        {"hidden_dropout_prob": 2},
        {"num_attention_heads": "4"},
        {"num_attention_heads": 3},
    ],
)
def test_settings_that_the_network_does_not_have_are_refused(tmp_path, file, change):
    save(tmp_path / "hf", safe=FILES[file])
    config = tmp_path / "hf" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    with pytest.raises(CheckpointError, match="bad-config"):
        read_bundle(tmp_path / "hf")


@pytest.mark.parametrize("name", ["activation_fn", "pooler_activation_fn"])
def test_other_activations_of_fairseq_are_refused(tmp_path, name):
    model = MusicBert(ModelConfig(layers=1, width=16, ffn_width=32, heads=4, max_positions=64))
    group = {"encoder_attention_heads": 4, name: "relu"}
    torch.save({"model": model.state_dict(), "cfg": {"model": group}}, tmp_path / "model.pt")
    for read in (read_bundle, lambda path: load_into(model, path)):
        with pytest.raises(CheckpointError, match=f"{name} is 'relu'") as error:
            read(tmp_path / "model.pt")
        assert error.value.reason == "bad-config"


def test_two_values_of_one_bias_are_refused(tmp_path):
    model = save(tmp_path / "hf", safe=False)
    weights = model.state_dict()
    weights["cls.predictions.bias"] = weights["cls.predictions.bias"] + 1
    torch.save(weights, tmp_path / "hf" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="bad-weights"):
        read_bundle(tmp_path / "hf")


def test_a_pickle_that_calls_something_is_refused(tmp_path):
    class Call:
        def __reduce__(self):
            return print, ("called",)

    (tmp_path / "config.json").write_text("{}")
    torch.save({"bert.embeddings.word_embeddings.weight": Call()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="unsafe-pickle"):
        read_bundle(tmp_path)
