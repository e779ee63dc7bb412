import pytest
import torch

from musicbert.config import ModelConfig
from musicbert.encoding.vocabulary import BOS, EOS, FIELD_OFFSETS, FIELD_SIZES, PAD
from musicbert.model import MusicBert
from musicbert.model.blocks.attention import joint_projection
from musicbert.model.heads.sentence import aligned_linear

CONFIG = ModelConfig(
    layers=2, width=32, ffn_width=64, heads=4, max_positions=64, dropout=0.0, attention_dropout=0.0
)
FORMS = ("direct", "table", "present")


def tokens_of(*notes, seed=0):
    """Pieces of random notes between specials, padded to the longest."""
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for count in notes:
        columns = [
            torch.randint(offset, offset + size, (count,), generator=generator)
            for offset, size in zip(FIELD_OFFSETS, FIELD_SIZES, strict=True)
        ]
        ends = torch.full((8,), BOS), torch.full((8,), EOS)
        pieces.append(torch.cat([ends[0], torch.stack(columns, 1).flatten(), ends[1]]))
    return torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True, padding_value=PAD)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MusicBert(CONFIG).eval()


def gradients(model, form, tokens):
    model.zero_grad()
    model.encoder.sentence_encoder.down_form = form
    features, _ = model(tokens, features_only=True)
    (features * torch.linspace(-1, 1, features.shape[-1])).sin().sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("form", FORMS[1:])
def test_forms_of_the_down_projection_have_the_same_gradient(model, form):
    tokens = tokens_of(9, 5)
    tokens[0, 19] = PAD  # a random replacement: its row still gets no gradient
    expected, found = gradients(model, "direct", tokens), gradients(model, form, tokens)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)
    assert not found["encoder.sentence_encoder.embed_tokens.weight"][PAD].any()


def test_gradient_of_the_table_form_is_numerically_right():
    from musicbert.model.blocks.embedding import compound_embedding

    torch.manual_seed(1)
    tokens = torch.tensor([[2, 3, 4, 2, 0, 5]])
    table, weight = torch.randn(6, 3, dtype=torch.double), torch.randn(3, 6, dtype=torch.double)
    for form in FORMS:
        assert torch.autograd.gradcheck(
            lambda e, w, form=form: compound_embedding(tokens, e, w, fields=2, form=form),
            (table.requires_grad_(), weight.requires_grad_()),
        )


def test_padding_changes_nothing(model):
    alone, padded = tokens_of(5), tokens_of(5, 9)
    expected, _ = model(alone, features_only=True)
    found, extra = model(padded, features_only=True)
    torch.testing.assert_close(found[:1, : expected.shape[1]], expected, atol=1e-5, rtol=0)
    assert model(alone)[1]["padding_mask"] is None
    assert extra["padding_mask"].sum() == 4


def test_a_batch_of_nothing_but_padding_is_finite(model):
    assert model(torch.full((1, 16), PAD))[0].isfinite().all()


def test_logits_of_selected_tokens_are_a_slice_of_all_logits(model):
    tokens = tokens_of(9, 5)
    selected = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(2)) < 0.3
    everything, _ = model(tokens)
    some, _ = model(tokens, masked_tokens=selected)
    torch.testing.assert_close(some, everything[selected], atol=1e-5, rtol=0)
    none, _ = model(tokens, masked_tokens=torch.zeros_like(selected))
    assert none.shape == (0, CONFIG.vocabulary_size)


def test_given_embeddings_replace_the_look_up(model):
    tokens = tokens_of(6)
    embeddings = model.embed_tokens(tokens).detach().requires_grad_()
    expected, _ = model(tokens, features_only=True)
    found, _ = model(tokens, features_only=True, token_embeddings=embeddings)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    found.sum().backward()
    assert embeddings.grad.abs().sum() > 0
    changed, _ = model(tokens, features_only=True, token_embeddings=embeddings + 1)
    assert not torch.allclose(changed, expected)


def test_both_heads_give_a_pair_and_one_head_gives_its_output(model):
    model.register_classification_head("who", 13)
    model.register_regression_head("how", 25)
    tokens = tokens_of(6, 3)
    (cls, reg), extra = model(tokens, classification_head_name="who", regression_head_name="how")
    assert cls.shape == (2, 13)
    assert reg.shape == (2, 25)
    assert extra["hidden"].shape == (2, 8, 32)
    assert torch.equal(model(tokens, classification_head_name="who")[0], cls)
    assert torch.equal(model(tokens, regression_head_name="how")[0], reg)
    names = set(model.state_dict())
    assert {"classification_heads.who.dense.weight", "regression_heads.how.out_proj.bias"} <= names
    with pytest.raises(ValueError, match="at least one"):
        model.register_classification_head("none", 0)


def test_mean_pooling_counts_notes_and_nothing_else():
    torch.manual_seed(0)
    model = MusicBert(CONFIG, pooling="mean").eval()
    tokens = tokens_of(5, 9)
    hidden = model(tokens)[1]["hidden"]
    expected = torch.stack([hidden[0, 1:6].mean(0), hidden[1, 1:10].mean(0)])
    torch.testing.assert_close(model.sentence_features(tokens), expected)
    with pytest.raises(ValueError, match="pooling"):
        MusicBert(CONFIG, pooling="max")


def test_the_deviation_stands_beside_the_mean():
    torch.manual_seed(0)
    model = MusicBert(CONFIG, pooling="mean+sd").eval()
    tokens = tokens_of(5, 9)
    hidden = model(tokens)[1]["hidden"]
    found = model.sentence_features(tokens)
    for row, count in enumerate((5, 9)):
        notes = hidden[row, 1 : 1 + count]
        torch.testing.assert_close(found[row, :32], notes.mean(0))
        torch.testing.assert_close(found[row, 32:], notes.std(0, correction=0), atol=1e-3, rtol=1e-3)
    head = model.register_regression_head("how", 3)
    assert (head.dense.weight.shape, head.out_proj.weight.shape) == ((32, 64), (3, 32))
    model.register_regression_head("mean", 3)
    first, second = model(tokens, regression_head_name=("how", "mean"))[0]
    torch.testing.assert_close(first, head(found))
    assert not torch.equal(first, second)


def test_frozen_blocks_have_no_gradient_and_no_dropout():
    torch.manual_seed(0)
    model = MusicBert(CONFIG.with_(dropout=0.5, performance_features=2), pooling="mean")
    model.register_classification_head("who", 2)
    model.freeze(1)
    tokens, inputs = tokens_of(9), torch.randn(1, 11, 2)
    model.train()
    states = [model(tokens, return_all_hiddens=True, performance=inputs)[1]["inner_states"] for _ in range(2)]
    assert [torch.equal(one, other) for one, other in zip(*states, strict=True)] == [True, True, False]
    model(tokens, classification_head_name="who", performance=inputs)[0].sum().backward()
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert not any(".embed_" in name or "emb_layer" in name or "downsampling" in name for name in trained)
    assert not any("layers.0." in name or "performance_projection" in name for name in trained)
    assert any("layers.1." in name for name in trained)
    assert "classification_heads.who.dense.weight" in trained
    assert model.encoder.sentence_encoder.embed_tokens.weight.grad is None
    for blocks in (-1, 3):
        with pytest.raises(ValueError, match="0 to 2 blocks"):
            model.freeze(blocks)


def test_first_pooling_is_the_first_upsampled_token(model):
    tokens = tokens_of(5, 9)
    features, _ = model(tokens, features_only=True)
    torch.testing.assert_close(model.sentence_features(tokens), features[:, 0])


def test_performance_inputs_start_neutral_and_then_count():
    torch.manual_seed(0)
    plain = MusicBert(CONFIG).eval()
    aware = MusicBert(CONFIG.with_(performance_features=3)).eval()
    missing, unexpected = aware.load_state_dict(plain.state_dict(), strict=False)
    assert missing == [
        "encoder.sentence_encoder.performance_projection.weight",
        "encoder.sentence_encoder.performance_hidden_projection.weight",
        "encoder.performance_head.weight",
        "encoder.performance_head.bias",
    ]
    assert unexpected == []
    tokens, inputs = tokens_of(5), torch.randn(1, 7, 3)
    expected, _ = plain(tokens)
    torch.testing.assert_close(aware(tokens, performance=inputs)[0], expected, rtol=0, atol=0)
    aware(tokens, performance=inputs)[0].square().sum().backward()
    weight = aware.encoder.sentence_encoder.performance_projection.weight
    assert weight.grad.abs().sum() > 0
    with torch.no_grad():
        weight.normal_()
    assert not torch.allclose(aware(tokens, performance=inputs)[0], expected)
    with pytest.raises(ValueError, match="performance"):
        plain(tokens, performance=inputs)


def test_hidden_performance_inputs_are_not_seen_but_told_apart_and_predicted():
    torch.manual_seed(0)
    aware = MusicBert(CONFIG.with_(performance_features=3)).eval()
    encoder = aware.encoder.sentence_encoder
    with torch.no_grad():
        encoder.performance_projection.weight.normal_()
        encoder.performance_hidden_projection.weight.normal_()
    tokens, inputs = tokens_of(5), torch.randn(1, 7, 3)
    hidden = torch.zeros(1, 7, 3, dtype=torch.bool)
    hidden[0, 2, 1] = hidden[0, 4] = True
    _, extra = aware(tokens, performance=inputs, performance_hidden=hidden)
    assert extra["performance"].shape == inputs.shape
    _, other = aware(tokens, performance=inputs + 5 * hidden, performance_hidden=hidden)
    torch.testing.assert_close(other["hidden"], extra["hidden"], rtol=0, atol=0)
    _, zeroed = aware(tokens, performance=inputs.masked_fill(hidden, 0.0))
    assert not torch.allclose(zeroed["hidden"], extra["hidden"])
    assert "performance" not in zeroed


def test_all_hidden_states_end_with_the_last(model):
    _, extra = model(tokens_of(5), return_all_hiddens=True)
    assert len(extra["inner_states"]) == CONFIG.layers + 1
    assert torch.equal(extra["inner_states"][-1], extra["hidden"])
    assert model(tokens_of(5))[1]["inner_states"] is None


def test_bad_lengths_are_refused(model):
    with pytest.raises(ValueError, match="whole number"):
        model(torch.zeros(1, 9, dtype=torch.long))
    with pytest.raises(ValueError, match="positions"):
        model(torch.zeros(1, 8 * 65, dtype=torch.long))


@pytest.mark.parametrize("how", ["autocast", "flag", "weights"])
def test_bfloat16_on_a_cpu_is_close_and_trains(model, how):
    tokens = tokens_of(9, 5)
    expected, _ = model(tokens, features_only=True)
    if how == "weights":
        model = model.bfloat16()
    model.autocast_bf16 = how == "flag"
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        found, _ = model(tokens, features_only=True)
        assert found.dtype == torch.bfloat16
        selected = tokens > 700
        logits, _ = model(tokens, masked_tokens=selected)
        torch.nn.functional.cross_entropy(logits.float(), tokens[selected]).backward()
    assert (found.float() - expected).abs().max() < 0.1
    if how == "flag":
        assert model.sentence_features(tokens).dtype == torch.float32
        model.register_regression_head("how", 3)
        assert model(tokens, regression_head_name="how")[0].dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_spectral_norm_bounds_the_last_layer(model):
    head = model.register_regression_head("how", 4, spectral=True).eval()
    singular = torch.linalg.svdvals(head.out_proj.weight)
    assert singular.max() < 1.5


def test_without_compound_embedding_every_token_is_a_position():
    model = MusicBert(CONFIG.with_(fields=1)).eval()
    tokens = tokens_of(2)
    assert model(tokens, features_only=True)[1]["hidden"].shape == (1, 32, 32)
    assert model(tokens, masked_tokens=tokens > 3)[0].shape[0] == 16
    assert not any("sampling" in name for name in model.state_dict())


def test_one_product_for_queries_keys_and_values_is_three(model):
    """The form that a GPU takes."""
    attention = model.encoder.sentence_encoder.layers[0].self_attn
    layers = (attention.q_proj, attention.k_proj, attention.v_proj)
    torch.manual_seed(1)
    for layer in layers:
        torch.nn.init.normal_(layer.bias)  # new biases are zero
    x = torch.randn(2, 5, CONFIG.width, requires_grad=True)
    inputs = [x, *(parameter for layer in layers for parameter in layer.parameters())]
    results = []
    for parts in ([layer(x) for layer in layers], joint_projection(x, layers)):
        loss = sum((number + 1) * part.sin().sum() for number, part in enumerate(parts))
        results.append((*parts, *torch.autograd.grad(loss, inputs)))
    assert len(results[0]) == 3 + 7
    for three, one in zip(*results, strict=True):
        torch.testing.assert_close(one, three, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("outputs", [13, 16])
def test_aligned_rows_change_no_logit_and_no_gradient(outputs):
    """The form that a GPU takes."""
    torch.manual_seed(0)
    shapes = ((2, 3, 8), (outputs, 8), (outputs,))
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    results = []
    for product in (torch.nn.functional.linear, aligned_linear):
        logits = product(*inputs)
        results.append((logits, *torch.autograd.grad(logits.sin().sum(), inputs)))
    for plain, aligned in zip(*results, strict=True):
        assert aligned.shape == plain.shape
        torch.testing.assert_close(aligned, plain)
    assert results[1][0].stride(-2) == 16


def test_blocks_run_without_cudnn_and_leave_the_choice_as_it_was(model):
    seen = []

    def look(*_):
        seen.append(torch.backends.cuda.cudnn_sdp_enabled())
        if len(seen) == 4:
            raise ValueError("stop")

    before = torch.backends.cuda.cudnn_sdp_enabled()
    for layer in model.encoder.sentence_encoder.layers:
        layer.register_forward_pre_hook(look)
    model(tokens_of(3))
    assert torch.backends.cuda.cudnn_sdp_enabled() == before
    with pytest.raises(ValueError, match="stop"):
        model(tokens_of(3))
    assert torch.backends.cuda.cudnn_sdp_enabled() == before
    assert before
    assert seen == [False] * 4
