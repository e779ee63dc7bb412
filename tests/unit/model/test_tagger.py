"""Taggers: heads see notes only, layers are mixed, frozen and scaled, on both backbones."""

from dataclasses import asdict

import pytest
import torch

from musicbert.config import M2BERT_PRESETS, ModelConfig
from musicbert.model import MusicBert
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.backbones.note_states import note_states
from musicbert.model.heads.notes import AttentionHead, LayerMix, structured_attention
from musicbert.model.tagger import Tagger, TagSettings, freeze, parameter_depth, scale_rates

WIDTH = 16


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def octuples():
    return MusicBert(ModelConfig(layers=2, width=WIDTH, ffn_width=32, heads=2, max_positions=64)).eval()


def compound():
    tiny = M2BERT_PRESETS["tiny"]
    return M2Bert(tiny.with_(layers=2, width=WIDTH, ffn_width=24, heads=2, embedding_width=8)).eval()


def batch(kind, lengths=(5, 3)):
    """Tokens of windows of these lengths, padded."""
    longest = max(lengths)
    if kind == "octuple":
        tokens = torch.randint(4, 1236, (len(lengths), longest + 2, 8))
        tokens[:, 0] = 0
        for row, length in zip(tokens, lengths, strict=True):
            row[length + 1] = 2
            row[length + 2 :] = 1
        return tokens.flatten(1)
    sizes, pads = (2, 16, 86, 64), torch.tensor((2, 16, 86, 64))
    cells = torch.stack([torch.randint(0, size, (len(lengths), longest)) for size in sizes], dim=-1)
    for row, length in zip(cells, lengths, strict=True):
        row[length:] = pads
    return cells


BACKBONES = {"octuple": octuples, "cp": compound}


@pytest.mark.parametrize("kind", BACKBONES)
def test_states_name_the_notes(kind):
    found = note_states(BACKBONES[kind](), batch(kind), all_layers=True)
    assert len(found.states) == 3
    assert found.notes.sum(1).tolist() == [5, 3]
    lead = 1 if kind == "octuple" else 0
    assert found.notes[1, lead : lead + 3].all()
    only = note_states(BACKBONES[kind](), batch(kind))
    assert len(only.states) == 1


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("head", ["note", "first", "mean", "attention"])
@pytest.mark.parametrize("mix", [False, True])
def test_padding_changes_nothing(kind, head, mix):
    tagger = Tagger(BACKBONES[kind](), TagSettings(3, head=head, mix_layers=mix)).eval()
    tokens = batch(kind, (5, 3))
    together = tagger(tokens)
    alone = tagger(tokens[1:, : 8 * 5 if kind == "octuple" else 3])
    if head == "note":
        assert together.shape == (2, tokens.shape[1] // (8 if kind == "octuple" else 1), 3)
        together = together[:, : alone.shape[1]]
    else:
        assert together.shape == (2, 3)
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-4)


def test_the_compatible_attention_attends_to_padding():
    head = AttentionHead(WIDTH, 2, attend_padding=True)
    hidden, notes = torch.randn(1, 4, WIDTH), torch.tensor([[True, True, False, False]])
    masked = AttentionHead(WIDTH, 2)
    masked.load_state_dict(head.state_dict())
    assert not torch.allclose(head(hidden, notes), masked(hidden, notes))
    torch.testing.assert_close(masked(hidden, notes), head(hidden[:, :2], notes[:, :2]))
    assert {name: tuple(value.shape) for name, value in head.state_dict().items()} == {
        "attention.ws1.weight": (128, WIDTH),
        "attention.ws2.weight": (4, 128),
        "classifier.0.weight": (2, 4 * WIDTH),
        "classifier.0.bias": (2,),
    }


def test_attention_weights_sum_to_one_even_without_notes():
    weights = structured_attention(torch.randn(2, 3, 4), torch.tensor([[True, False, True], [False] * 3]))
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 4))
    assert (weights[0, 1] == 0).all()
    torch.testing.assert_close(weights[1].isfinite(), torch.ones(3, 4, dtype=torch.bool))


def test_a_mixture_begins_with_equal_shares():
    mix = LayerMix(3)
    states = [torch.randn(1, 2, 8) * scale for scale in (1, 10, 100)]
    normed = [torch.nn.functional.layer_norm(h, (8,)) for h in states]
    torch.testing.assert_close(mix(states), sum(normed) / 3)


def test_a_layer_can_be_chosen():
    backbone, tokens = octuples(), batch("octuple")
    states = note_states(backbone, tokens, all_layers=True).states
    for layer, state in ((0, states[0]), (1, states[1]), (2, states[2]), (-1, states[2]), (-3, states[0])):
        tagger = Tagger(backbone, TagSettings(2, layer=layer)).eval()
        torch.testing.assert_close(tagger(tokens), tagger.head(state, None))
    with pytest.raises(ValueError, match="layer is in"):
        Tagger(backbone, TagSettings(2, layer=3))


@pytest.mark.parametrize("kind", BACKBONES)
def test_nothing_above_the_layer_is_computed(kind):
    backbone, tokens = BACKBONES[kind](), batch(kind)
    states = note_states(backbone, tokens, all_layers=True).states
    with torch.no_grad():
        for weight in note_blocks(backbone)[1].parameters():
            weight.fill_(torch.nan)
    for depth in (0, 1):
        (state,) = note_states(backbone, tokens, depth=depth).states
        torch.testing.assert_close(state, states[depth])
    tagger = Tagger(backbone, TagSettings(2, layer=1))
    assert tagger.eval()(tokens).isfinite().all()


def note_blocks(backbone):
    encoder = backbone.encoder
    return (encoder.sentence_encoder if hasattr(encoder, "sentence_encoder") else encoder.note_bert1).layers


def test_of_the_last_block_only_the_first_row_is_computed():
    backbone, tokens = octuples(), batch("octuple")
    (whole,) = note_states(backbone, tokens).states
    (only,) = note_states(backbone, tokens, first=True).states
    assert only.shape == (2, 1, WIDTH)
    torch.testing.assert_close(only, whole[:, :1])


@pytest.mark.parametrize("kind", BACKBONES)
def test_depths_freezing_and_rates(kind):
    tagger = Tagger(BACKBONES[kind](), TagSettings(2, head="attention", mix_layers=True))
    depths = {name: parameter_depth(name, 2) for name, _ in tagger.named_parameters()}
    assert set(depths.values()) == {0, 1, 2, 3}
    assert depths["head.classifier.0.weight"] == depths["mix.weight"] == 3
    scale_rates(tagger, 0.5)
    rates = {name: parameter.rate_scale for name, parameter in tagger.named_parameters()}
    assert {depth: {rates[n] for n, d in depths.items() if d == depth} for depth in range(4)} == {
        0: {0.125},
        1: {0.25},
        2: {0.5},
        3: {1.0},
    }
    freeze(tagger, 1)
    trained = {depths[name] for name, p in tagger.named_parameters() if p.requires_grad}
    assert trained <= {2, 3}
    assert 2 in trained
    with pytest.raises(ValueError, match="blocks can be frozen"):
        freeze(tagger, 3)


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize(
    "settings",
    [
        {"head": "note"},
        {"head": "first"},
        {"head": "attention", "mix_layers": True},
        {"head": "mean", "layer": 1},
    ],
)
def test_what_is_trained_gets_a_gradient(kind, settings):
    tagger = Tagger(BACKBONES[kind](), TagSettings(2, **settings))
    tagger(batch(kind)).sum().backward()
    assert {n for n, p in tagger.named_parameters() if p.requires_grad and p.grad is None} == set()
    trained = {parameter_depth(n, 2) for n, p in tagger.named_parameters() if p.requires_grad}
    assert trained == ({0, 1, 3} if "layer" in settings else {0, 1, 2, 3})


def test_values_of_a_regression():
    tagger = Tagger(octuples(), TagSettings(2))
    tagger.centre.copy_(torch.tensor([10.0, 20.0]))
    tagger.spread.copy_(torch.tensor([2.0, 4.0]))
    torch.testing.assert_close(tagger.values(torch.tensor([[1.0, -1.0]])), torch.tensor([[12.0, 16.0]]))


def test_settings_are_checked_and_kept():
    with pytest.raises(ValueError, match="at least one output"):
        TagSettings(0)
    with pytest.raises(ValueError, match="a head is one of"):
        TagSettings(1, head="last")
    settings = TagSettings(3, head="mean", inner=7)
    assert TagSettings.from_dict(asdict(settings)) == settings
    with pytest.raises(ValueError, match="new of its head is not known"):
        TagSettings.from_dict({**asdict(settings), "new": 1})
    with pytest.raises(ValueError, match="function between layers"):
        TagSettings(3, inner=7, activation="swish")


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("head", ["note", "first", "mean", "attention"])
def test_a_backbone_in_bfloat16_has_a_head_in_float32(kind, head):
    backbone = BACKBONES[kind]()
    tagger, tokens = Tagger(backbone, TagSettings(3, head=head, mix_layers=True)).eval(), batch(kind)
    exact = tagger(tokens)
    backbone.autocast_bf16 = True
    rough = tagger(tokens)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.05, rtol=0.1)
    rough.sum().backward()


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_head_reads_mean_and_deviation_of_the_notes(kind):
    tagger = Tagger(BACKBONES[kind](), TagSettings(outputs=3, head="mean+sd")).eval()
    tokens = batch(kind)
    found = note_states(tagger.backbone, tokens)
    read = []
    for states, notes in zip(found.states[0], found.notes, strict=True):
        read.append(torch.cat([states[notes].mean(0), states[notes].std(0, correction=0)]))
    expected = tagger.head(torch.stack(read))
    torch.testing.assert_close(tagger(tokens), expected, atol=2e-3, rtol=2e-3)
    assert TagSettings.from_dict(asdict(tagger.settings)) == tagger.settings
