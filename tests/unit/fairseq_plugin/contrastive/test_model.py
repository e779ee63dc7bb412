"""The contrastive model: what its annotation encoder sees, its published parameters, weights of others."""

from types import SimpleNamespace

import pytest
import torch

from musicbert.encoding import FIELD_OFFSETS

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # fairseq is older than its dependencies
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def contrastive_model(*, compat, **options):
    from musicbert.fairseq_plugin.contrastive.model import ContrastiveModel, ContrastiveModelConfig

    cfg = ContrastiveModelConfig(
        encoder_layers=1,
        encoder_embed_dim=16,
        encoder_ffn_embed_dim=32,
        encoder_attention_heads=2,
        max_positions=64,
        restore_file=None,
        checkpoint_suffix="",
        **options,
    )
    task = SimpleNamespace(
        annotation_width=25 + compat, performer_count=14, compat=compat, source_dictionary=range(1237)
    )
    return ContrastiveModel.build_model(cfg, task)


def test_annotation_encoder_sees_no_performer_unless_compatible():
    tokens = torch.tensor([[0] * 8 + list(FIELD_OFFSETS) + [2] * 8])
    ratings = torch.rand(1, 25)
    for compat in (False, True):
        model = contrastive_model(compat=compat).eval()
        first, second = (
            model(tokens, ratings=ratings, performer=torch.tensor([number]))[1] for number in (1, 2)
        )
        assert torch.equal(first, second) != compat


def test_published_parameters_of_the_contrastive_model():
    small = {
        name: tuple(value.shape)
        for name, value in contrastive_model(compat=True).state_dict().items()
        if not name.startswith("mainEncoder.")
    }
    assert small == {
        "annotationEncoder.0.weight": (128, 26),
        "annotationEncoder.0.bias": (128,),
        "annotationEncoder.2.weight": (16, 128),
        "annotationEncoder.2.bias": (16,),
        "classificationHead.0.weight": (128, 16),
        "classificationHead.0.bias": (128,),
        "classificationHead.2.weight": (14, 128),
        "classificationHead.2.bias": (14,),
        "projectionHead.0.weight": (128, 16),
        "projectionHead.0.bias": (128,),
        "projectionHead.2.weight": (16, 128),
        "projectionHead.2.bias": (16,),
    }


def test_weights_of_another_number_of_performers_leave_the_head_as_it_is():
    torch.manual_seed(0)
    model, other = contrastive_model(compat=False), contrastive_model(compat=False)
    weights = dict(other.state_dict())
    weights["classificationHead.2.weight"] = torch.zeros(5, 128)
    before = model.classificationHead[2].weight.clone()
    model.load_state_dict(weights)
    assert torch.equal(model.classificationHead[2].weight, before)
    assert torch.equal(model.annotationEncoder[0].weight, other.annotationEncoder[0].weight)
    name = "encoder.sentence_encoder.embed_tokens.weight"
    assert torch.equal(model.mainEncoder.state_dict()[name], weights[f"mainEncoder.{name}"])
