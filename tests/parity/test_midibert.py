"""MidiBERT's backbone against BERT of transformers 4, which still has ``relative_key_query``."""

import pytest
import torch

from musicbert.config import MidiBertConfig
from musicbert.model.backbones.midibert import MidiBert

#: parameters of the published backbone; of these the unused token embeddings, pooler and position table
PUBLISHED, TOKENS, POOLER, POSITIONS = 111_100_160, 23_440_896, 590_592, 512 * 768
#: what checkpoints carry and nobody reads
UNUSED = ("embeddings.word_embeddings", "embeddings.position_", "pooler")


def test_parameters_are_counted_as_published():
    with torch.device("meta"):
        ours = sum(p.numel() for p in MidiBert(MidiBertConfig()).parameters())
    assert ours + TOKENS + POOLER + POSITIONS == PUBLISHED


@pytest.mark.slow
@pytest.mark.parametrize(("length", "padding"), [(1, 0), (20, 0), (20, 6), (24, 9)])
def test_equal_to_transformers(length, padding):
    """Random weights; the longest input uses every distance."""
    transformers = pytest.importorskip("transformers", reason="needs transformers (pip install -e '.[dev]')")
    if int(transformers.__version__.split(".")[0]) >= 5:
        pytest.skip("transformers 5 has no relative_key_query")
    torch.manual_seed(length)
    config = MidiBertConfig(layers=3, width=32, ffn_width=48, heads=4, embedding_width=8, max_positions=24)
    ours = MidiBert(config).eval()
    theirs = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=30, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
            max_position_embeddings=24, position_embedding_type="relative_key_query",
            attn_implementation="eager",
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for value in ours.parameters():
            value.normal_(0.0, 0.3)
    missing, unexpected = theirs.load_state_dict(ours.bert.state_dict(), strict=False)
    assert all(name.startswith(UNUSED) for name in missing)
    assert not unexpected
    cells = torch.stack([torch.randint(0, size - 2, (3, length)) for size in config.field_sizes], -1)
    if padding:
        cells[1, -padding:] = torch.tensor(config.field_pads)
    real = cells[..., 0] != config.field_pads[0]
    with torch.inference_mode():
        tables = zip(ours.word_emb, cells.unbind(-1), strict=True)
        embedded = ours.in_linear(torch.cat([each.lut(column) * 8**0.5 for each, column in tables], -1))
        expected = theirs(inputs_embeds=embedded, attention_mask=real.long(), output_hidden_states=True)
        hidden, extra = ours(cells, return_all_hiddens=True)
    assert len(extra["inner_states"]) == len(expected.hidden_states) == 4
    for own, other in zip(extra["inner_states"], expected.hidden_states, strict=True):
        torch.testing.assert_close(own[real], other[real], rtol=1e-5, atol=1e-5)
    assert torch.equal(hidden, extra["inner_states"][-1])


def test_distances_matter_and_padding_does_not():
    torch.manual_seed(0)
    model = MidiBert(MidiBertConfig(layers=2, width=32, ffn_width=48, heads=4, embedding_width=8)).eval()
    cells = torch.stack([torch.randint(0, size - 2, (1, 12)) for size in model.config.field_sizes], -1)
    with torch.inference_mode():
        for value in model.bert.parameters():
            value.normal_(0.0, 0.3)
        alone = model(cells)[0]
        padded = model(torch.cat([cells, torch.tensor(model.config.field_pads).expand(1, 5, 4)], 1))[0]
        backwards = model(cells.flip(1))[0].flip(1)
    torch.testing.assert_close(padded[:, :12], alone, rtol=1e-5, atol=1e-5)
    assert (backwards - alone).abs().max() > 1e-3


def test_gradients_and_limits():
    model = MidiBert(
        MidiBertConfig(layers=1, width=32, ffn_width=48, heads=4, embedding_width=8, max_positions=6)
    )
    cells = torch.zeros(2, 6, 4, dtype=torch.int64)
    model.train()(cells)[0].square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    with pytest.raises(ValueError, match="7 notes for a model of at most 6"):
        model(torch.zeros(1, 7, 4, dtype=torch.int64))
