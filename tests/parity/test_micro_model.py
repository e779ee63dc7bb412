"""Our model against recorded outputs of the published one, at tiny random weights."""

import numpy as np
import pytest
import torch

from musicbert.config import PRESETS, ModelConfig
from musicbert.model import MusicBert
from musicbert.weights import load_checkpoint, load_model

INPUTS = ("plain", "masked", "pad_first_field", "pad_other_field")
CONTAINERS = {
    "micro_pretrained_v0.10_args_namespace.pt": "args",
    "micro_pretrained_v1.0.0a0_cfg.pt": "cfg",
    "micro_finetuned_topmagd_cfg.pt": "cfg",
}
#: parameters and tensors of each architecture (specification, table 3.2)
SIZES = {
    "tiny": (2_043_605, 46),
    "mini": (7_008_981, 78),
    "small": (22_536_405, 78),
    "medium": (35_145_941, 142),
    "base": (103_286_485, 206),
    "large": (331_074_773, 398),
}


@pytest.fixture(scope="module")
def outputs(fixtures):
    return dict(np.load(fixtures / "musicbert_model" / "micro_outputs.npz"))


@pytest.fixture(scope="module")
def micro(fixtures):
    weights = np.load(fixtures / "musicbert_model" / "micro_weights.npz")
    model = MusicBert(ModelConfig(layers=2, width=16, ffn_width=32, heads=2, max_positions=64))
    model.register_classification_head("topmagd_head", 3)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()}, strict=True)
    return model.eval()


@torch.inference_mode()
@pytest.mark.parametrize("form", ["auto", "direct", "table", "present"])
@pytest.mark.parametrize("name", INPUTS)
def test_outputs_are_those_of_the_published_model(micro, outputs, name, form):
    micro.encoder.sentence_encoder.down_form = form
    tokens = torch.from_numpy(outputs[f"{name}_tokens"])
    features, _ = micro(tokens, features_only=True)
    logits, _ = micro(tokens)
    head, _ = micro(tokens, classification_head_name="topmagd_head")
    close = {"atol": 1e-5, "rtol": 0}
    np.testing.assert_allclose(features, outputs[f"{name}_features"], **close)
    np.testing.assert_allclose(logits[:, ::5, ::97], outputs[f"{name}_logits_at"], **close)
    np.testing.assert_allclose(
        logits.sum(-1), outputs[f"{name}_logits_sum"], atol=1e-4, rtol=0
    )  # 1,237 terms
    np.testing.assert_array_equal(logits.argmax(-1), outputs[f"{name}_argmax"])
    np.testing.assert_allclose(head, outputs[f"{name}_topmagd"], **close)
    np.testing.assert_allclose(micro.sentence_features(tokens), outputs[f"{name}_sentence_rep"], **close)


@torch.inference_mode()
@pytest.mark.parametrize("file", CONTAINERS)
def test_every_container_gives_the_same_model(fixtures, outputs, file):
    path = fixtures / "musicbert_model" / file
    checkpoint, model = load_checkpoint(path), load_model(path)
    assert checkpoint.container == CONTAINERS[file]
    assert (model.config.layers, model.config.width, model.config.heads) == (2, 16, 2)
    tokens = torch.from_numpy(outputs["masked_tokens"])
    features, _ = model(tokens, features_only=True)
    np.testing.assert_allclose(features, outputs["masked_features"], atol=1e-6, rtol=0)
    if "finetuned" in file:
        head, _ = model(tokens, classification_head_name="topmagd_head")
        np.testing.assert_allclose(head, outputs["masked_topmagd"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_published_architectures(name):
    with torch.device("meta"):
        model = MusicBert(PRESETS[name])
    parameters, tensors = SIZES[name]
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert len(model.state_dict()) == tensors
    head, table = model.encoder.lm_head.weight, model.encoder.sentence_encoder.embed_tokens.weight
    assert head is not table


def test_names_are_the_published_ones(fixtures, micro):
    names = set(np.load(fixtures / "musicbert_model" / "micro_weights.npz").keys())
    assert set(micro.state_dict()) == names
