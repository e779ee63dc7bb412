"""M2BERT's backbone: golden states of the published architecture, and ModernBERT of transformers."""

import json

import numpy as np
import pytest
import torch

from musicbert.config import M2BERT_PRESETS, M2BertConfig
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.blocks.modernbert import ModernBert

#: parameters of the published backbone and heads
BACKBONE, HEADS = 61_021_184, 1_416_498


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden" / "m2bert"
    names = ("backbone_forward", "state_dict_layout", "pop909_processed_001")
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in names}


@pytest.fixture(scope="module")
def model():
    return M2Bert(M2BERT_PRESETS["base"]).eval()


def test_parameters_are_counted_as_published(model):
    assert sum(p.numel() for p in model.encoder.parameters()) == BACKBONE
    assert sum(p.numel() for p in model.mask_lm.parameters()) == HEADS
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    names = ("embeddings.tok_embeddings.weight", "final_norm.weight")
    assert frozen == {f"encoder.note_bert1.{name}" for name in names}


@pytest.mark.shared
def test_names_and_shapes_are_published(model, golden):
    layout = golden["state_dict_layout"]
    wanted = {f"encoder.{name}": shape for name, (shape, _) in layout["state_dict"].items()}
    wanted |= {f"mask_lm.{name}": shape for name, (shape, _) in layout["mask_lm"].items()}
    assert {name: list(value.shape) for name, value in model.state_dict().items()} == wanted
    assert list(model.state_dict()) == list(wanted)


@pytest.mark.shared
@pytest.mark.slow
def test_states_and_logits_are_golden(model, golden):
    """Weights by the formula of the file; two pieces, one of them padded."""
    wanted = golden["backbone_forward"]
    with torch.no_grad():
        for number, (name, value) in enumerate(model.state_dict().items()):
            drawn = np.random.RandomState(1000 + number).standard_normal(value.numel())
            if value.dim() == 1:
                drawn = 1 + 0.1 * drawn if "norm" in name else 0.02 * drawn
            else:
                drawn = 0.05 * drawn
            value.copy_(torch.from_numpy(drawn.astype(np.float32)).view(value.shape))
    tokens = golden["pop909_processed_001"]["tokens"]
    rows = torch.tensor([tokens[:200], tokens[300:430] + [[2, 16, 86, 64]] * 70])
    with torch.inference_mode():
        outputs, extra = model(rows, return_all_hiddens=True)
        final = model.encoder.note_bert1.final_norm(extra["hidden"])[0]
    assert extra["padding_mask"][1].sum() == 70
    for layer, states in wanted["hidden"].items():
        ours = extra["inner_states"][int(layer)]
        for row, name in enumerate(("b0", "b1")):
            lines = torch.tensor(states[name])  # (places, 6): the file does not name the places
            distance = (ours[row, :, None, : lines.shape[1]] - lines).abs().amax(-1)  # (T, places)
            # float32 on another kind of CPU: five millionths of the largest state
            assert float(distance.amin(0).max()) < 5e-6 * float(ours.abs().max()), layer
        mean = float(ours[0].abs().mean())
        assert mean == pytest.approx(states["abs_mean_b0"], rel=1e-6)
        mean = float(ours[1, :130].abs().mean())
        assert mean == pytest.approx(states["abs_mean_b1_valid"], rel=1e-6)
    for place, line in zip((0, 64, 199), wanted["last_hidden_state_b0"], strict=True):
        np.testing.assert_allclose(final[place, : len(line)].numpy(), line, rtol=0, atol=1e-5)
    # float32 on another kind of CPU, of values up to 20
    for logits, line in zip([*outputs.columns, outputs.roll], wanted["logits_b0_p64"], strict=True):
        np.testing.assert_allclose(logits.view(400, -1)[64][: len(line)].numpy(), line, rtol=0, atol=1e-4)
    for logits, line in zip(outputs.columns, wanted["argmax_first20"], strict=True):
        assert logits[:20].argmax(-1).tolist() == line


@pytest.mark.slow
@pytest.mark.parametrize(("length", "padding"), [(20, 0), (20, 6), (75, 0), (75, 40)])
def test_equal_to_transformers(length, padding):
    """Random weights, a window of 8: short input (band of a dense mask) and long input (blocks)."""
    transformers = pytest.importorskip(
        "transformers", "4.48", reason="needs transformers (pip install -e '.[dev]')"
    )
    config = M2BertConfig(layers=5, width=32, ffn_width=48, heads=4, window=8)
    torch.manual_seed(length)
    ours = ModernBert(config).eval()
    theirs = transformers.ModernBertModel(
        transformers.ModernBertConfig(
            vocab_size=10, hidden_size=32, intermediate_size=48, num_hidden_layers=5, num_attention_heads=4,
            max_position_embeddings=1024, local_attention=16, attn_implementation="sdpa", pad_token_id=0,
            reference_compile=False,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for value in ours.parameters():
            value.normal_(0.0, 0.3)
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not missing
    assert not unexpected
    x = torch.randn(3, length, 32)
    real = torch.ones(3, length, dtype=torch.bool)
    if padding:
        real[1, -padding:] = False
    # the state before final_norm, whatever a version puts last into hidden_states
    before_norm = []
    theirs.final_norm.register_forward_pre_hook(lambda _, inputs: before_norm.append(inputs[0]))
    with torch.inference_mode():
        expected = theirs(inputs_embeds=x, attention_mask=real.long()).last_hidden_state
        hidden, states = ours(x, ~real if padding else None, all_states=True)
        torch.testing.assert_close(
            hidden[real], before_norm[0].view(3, length, 32)[real], rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(ours.final_norm(hidden)[real], expected[real], rtol=1e-5, atol=1e-5)
    assert len(states) == 6
