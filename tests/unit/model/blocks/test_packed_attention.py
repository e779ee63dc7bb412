import numpy as np
import pytest
import torch

from musicbert.config import ModelConfig
from musicbert.encoding.vocabulary import FIELD_SIZES, PAD, rows_to_ids
from musicbert.model import MusicBert
from musicbert.model.blocks import packed_attention as segments_module
from musicbert.model.blocks.embedding import note_positions
from musicbert.model.blocks.masked_positions import MaskedPlaces
from musicbert.model.blocks.packed_attention import (
    Segments,
    _jagged_attention,
    flash_attention,
    segment_attention,
)
from musicbert.model.losses.masked_lm import listed_lm_sums
from musicbert.objectives.batches import collate
from musicbert.objectives.masking import MaskPolicy, mask_tokens

CONFIG = ModelConfig(
    layers=2, width=32, ffn_width=64, heads=4, max_positions=64, dropout=0.0, attention_dropout=0.0
)


def masked_pieces(*notes, seed=0):
    rng = np.random.default_rng(seed)
    policy = MaskPolicy(random_tokens="field")
    return [mask_tokens(rows_to_ids(rng.integers(0, FIELD_SIZES, (n, 8))), rng, policy) for n in notes]


def as_tensors(batch):
    return torch.from_numpy(batch.tokens), MaskedPlaces(torch.from_numpy(batch.notes), batch.counts)


def loss_and_gradient(model, masked, segments=None, **options):
    batch = collate(*zip(*masked, strict=True), segments=segments, **options)
    tokens, places = as_tensors(batch)
    stream = None if batch.lengths is None else Segments.of(batch.lengths)
    logits, _ = model(tokens, masked_places=places, padded=batch.padded, segments=stream)
    loss = listed_lm_sums(logits, torch.from_numpy(batch.wanted), batch.counts).loss
    model.zero_grad()
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MusicBert(CONFIG).eval()


def assert_same(one, two):
    assert one[0] == pytest.approx(two[0], rel=1e-5)
    assert one[1].keys() == two[1].keys()
    for name, gradient in one[1].items():
        torch.testing.assert_close(two[1][name], gradient, atol=1e-4, rtol=1e-3, msg=name)


def test_a_stream_of_rows_is_a_padded_batch_without_the_padding(model):
    masked = masked_pieces(9, 3, 20, 1)
    assert_same(loss_and_gradient(model, masked), loss_and_gradient(model, masked, layout="stream"))


def test_pieces_kept_apart_in_a_row_are_rows_of_their_own(model):
    masked = masked_pieces(9, 3, 20, 1)
    packed = [
        tuple(np.concatenate(part) for part in zip(*masked[begin : begin + 2], strict=True))
        for begin in (0, 2)
    ]
    apart = loss_and_gradient(model, packed, segments=[[11, 5], [22, 3]], layout="stream")
    assert_same(loss_and_gradient(model, masked), apart)
    together = loss_and_gradient(model, packed)  # published: they see each other
    assert together[0] != pytest.approx(apart[0], rel=1e-4)


@pytest.mark.parametrize("notes", [(9, 3, 20, 1), (14,)], ids=["pieces", "one piece"])
@pytest.mark.parametrize("layout", ["padded", "stream"])
def test_the_last_block_is_computed_where_it_is_read(model, notes, layout):
    masked, encoder = masked_pieces(*notes), model.encoder.sentence_encoder
    masked[0][1][:] = PAD  # a piece where nothing is masked
    if len(notes) == 1:
        masked = masked_pieces(*notes, seed=1)
    rows = []
    encoder.layers[-1].fc1.register_forward_hook(lambda _, given, __: rows.append(given[0].numel() // 32))
    found = loss_and_gradient(model, masked, layout=layout)
    encoder.narrows = False
    assert_same(loss_and_gradient(model, masked, layout=layout), found)
    wanted = sum(int((target.reshape(-1, 8) != PAD).any(1).sum()) for _, target in masked)
    assert 0 < wanted == rows[0] < rows[1]


def test_narrow_models_with_dropout_draw_as_ever(model):
    encoder, tokens = model.encoder.sentence_encoder, torch.zeros(1, 8 * 9, dtype=torch.long)
    assert encoder.reads_few(tokens)
    assert encoder.train().reads_few(tokens)  # it has no dropout
    encoder.config = CONFIG.with_(attention_dropout=0.1)
    assert not encoder.reads_few(tokens)
    encoder.config = CONFIG.with_(attention_dropout=0.1, width=128)
    assert encoder.reads_few(tokens)
    encoder.config = CONFIG.with_(attention_dropout=0.1)
    assert encoder.eval().reads_few(tokens)


def test_positions_begin_anew_in_each_sequence():
    segments = Segments.of([3, 1, 2])
    assert segments.positions().tolist() == [2, 3, 4, 2, 2, 3]
    assert segments.offsets.tolist() == [0, 3, 4, 6]
    padded = torch.zeros(1, 4, dtype=torch.bool)
    assert torch.equal(Segments.of([4]).positions()[None], note_positions(padded))


def test_attention_stays_within_a_sequence():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 6, 4) for _ in range(3))
    found = segment_attention(q, k, v, Segments.of([4, 2]))
    block = torch.block_diag(torch.ones(4, 4), torch.ones(2, 2)).bool()
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=block)
    torch.testing.assert_close(found, expected)


def test_listed_tokens_are_those_of_the_mask(model):
    masked = masked_pieces(9, 5)
    batch = collate(*zip(*masked, strict=True))
    tokens, places = as_tensors(batch)
    target = torch.from_numpy(batch.target)
    selected = target != PAD
    found, _ = model(tokens, masked_places=places)
    expected, _ = model(tokens, masked_tokens=selected)
    ours = listed_lm_sums(found, torch.from_numpy(batch.wanted), batch.counts)
    wanted, field = target[selected], selected.nonzero()[:, 1] % 8
    loss = torch.nn.functional.cross_entropy(expected.float(), wanted, reduction="sum")
    torch.testing.assert_close(ours.loss, loss)
    right = expected.argmax(-1) == wanted
    assert ours.count.tolist() == torch.bincount(field, minlength=8).tolist()
    assert ours.correct.tolist() == torch.bincount(field[right], minlength=8).tolist()
    searched = MaskedPlaces.of(selected)
    assert torch.equal(searched.notes, places.notes)
    assert list(searched.counts) == list(places.counts)
    assert torch.equal(
        searched.fields(), torch.repeat_interleave(torch.arange(8), torch.tensor(batch.counts))
    )


def test_what_is_said_about_padding_is_believed(model):
    masked = masked_pieces(9, 9)
    batch = collate(*zip(*masked, strict=True))
    tokens, places = as_tensors(batch)
    assert not batch.padded
    looked, _ = model(tokens, masked_places=places)
    for padded in (True, False):
        told, extra = model(tokens, masked_places=places, padded=padded)
        torch.testing.assert_close(told, looked, atol=1e-5, rtol=1e-4)
        assert (extra["padding_mask"] is None) == (not padded)


def test_without_compounds_every_token_is_a_position():
    torch.manual_seed(0)
    model = MusicBert(CONFIG.with_(fields=1, max_positions=200)).eval()
    masked = masked_pieces(9, 3)
    assert_same(
        loss_and_gradient(model, masked, width=1), loss_and_gradient(model, masked, width=1, layout="stream")
    )


def test_too_long_sequences_of_a_stream_are_refused(model):
    with pytest.raises(ValueError, match="65 notes"):
        model(torch.zeros(1, 8 * 70, dtype=torch.long), segments=Segments.of([65, 5]))


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler looks at it
def test_compiled_blocks_have_the_same_names_and_numbers(model):
    masked = masked_pieces(9, 3)
    names, expected = list(model.state_dict()), loss_and_gradient(model, masked)
    stream = loss_and_gradient(model, masked, layout="stream")
    model.compile_blocks(backend="aot_eager")
    assert list(model.state_dict()) == names
    assert_same(expected, loss_and_gradient(model, masked))
    assert_same(stream, loss_and_gradient(model, masked, layout="stream"))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layout": "heap"}, "layout"), ({"layout": "stream", "segments": [[3], [4]]}, "fill")],
)
def test_bad_batches_are_refused(options, message):
    masked = masked_pieces(9, 3)
    with pytest.raises(ValueError, match=message):
        collate(*zip(*masked, strict=True), **options)


@pytest.mark.filterwarnings("ignore:.*nested tensors.*:UserWarning")  # torch calls them a prototype
def test_jagged_attention_is_that_of_each_sequence():
    """The form that a GPU takes, on a CPU."""
    torch.manual_seed(0)
    inputs = [torch.randn(1, 2, 12, 16, requires_grad=True) for _ in range(3)]
    segments = Segments.of([5, 4, 3])
    results = []
    for attend in (_jagged_attention, segment_attention):
        found = attend(*inputs, segments, 0.0)
        results.append((found, *torch.autograd.grad(found.sin().sum(), inputs)))
    for jagged, plain in zip(*results, strict=True):
        torch.testing.assert_close(jagged, plain, atol=1e-5, rtol=1e-5)


@pytest.fixture
def flash(monkeypatch, masked_form):
    """As on a device with FlashAttention, but for the operator itself."""
    monkeypatch.setattr(segments_module, "has_flash", lambda device: True)
    monkeypatch.setattr(segments_module, "flash_attention", masked_form)


@pytest.mark.parametrize("lengths", [[9, 3, 20, 1], [7], [2, 2]])
def test_flash_attention_is_called_with_the_sequences(flash, monkeypatch, lengths):
    torch.manual_seed(0)
    inputs = [torch.randn(1, 2, sum(lengths), 16, dtype=torch.bfloat16) for _ in range(3)]
    found = segment_attention(*inputs, Segments.of(lengths))
    monkeypatch.setattr(segments_module, "has_flash", lambda device: False)
    expected = segment_attention(*inputs, Segments.of(lengths))
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=2e-2)


def test_flash_attention_is_for_half_precision_and_its_heads_only(flash, monkeypatch):
    monkeypatch.setattr(segments_module, "flash_attention", None)  # a call would be an error
    for inputs in (torch.randn(1, 2, 5, 16), torch.randn(1, 2, 5, 12, dtype=torch.bfloat16)):
        assert segment_attention(inputs, inputs, inputs, Segments.of([3, 2])).shape == inputs.shape


def test_the_operator_of_flash_attention_has_the_shapes_and_a_gradient():
    """Its own numbers need a GPU: `benchmarks/pretrain_step.py` compares them there."""
    q, k, v = (torch.empty(12, 2, 64, device="meta", dtype=torch.bfloat16) for _ in range(3))
    for x in (q, k, v):
        x.requires_grad_()
    out = flash_attention(q, k, v, torch.empty(4, device="meta", dtype=torch.int32), 5, 0.1)
    assert out.shape == q.shape
    assert [grad.shape for grad in torch.autograd.grad(out.sum(), (q, k, v))] == [q.shape] * 3


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler looks at it
def test_with_flash_attention_a_block_is_one_graph_for_all_lengths(model, flash):
    from torch._dynamo.testing import CompileCounterWithBackend

    model.bfloat16()
    batches = [masked_pieces(*notes) for notes in ((9, 3), (20, 4, 5, 6, 2), (30,), (8, 8, 8))]
    expected = [loss_and_gradient(model, masked, layout="stream")[0] for masked in batches]
    counter = CompileCounterWithBackend("aot_eager")
    model.compile_blocks(backend=counter)
    found = [loss_and_gradient(model, masked, layout="stream")[0] for masked in batches]
    assert found == pytest.approx(expected, rel=1e-2)  # bfloat16
    assert len([graph for graph in counter.graphs if len(graph.graph.nodes)]) == 1
