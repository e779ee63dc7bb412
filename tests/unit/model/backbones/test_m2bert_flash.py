"""M2BERT with FlashAttention and compiled blocks; the operator itself is mimicked, as it needs a GPU."""

import pytest
import torch

from musicbert.config import M2BertConfig
from musicbert.model.backbones.m2bert import M2Bert
from musicbert.model.blocks import local_attention, modernbert
from musicbert.model.blocks.local_attention import Reach, attend
from musicbert.model.blocks.packed_attention import flash_attention
from musicbert.objectives.note_fields import CP

CONFIG = M2BertConfig(
    layers=6, width=32, ffn_width=48, heads=4, embedding_width=8, window=4, attention_dropout=0.0,
    mlp_dropout=0.0,
)  # fmt: skip


@pytest.fixture
def flash(monkeypatch, masked_form):
    """As on a device with FlashAttention, but for the operator itself."""
    monkeypatch.setattr(modernbert, "has_flash", lambda device: True)
    monkeypatch.setattr(local_attention, "flash_attention", masked_form)


def batch_of(*lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    shape = (len(lengths), longest)
    cells = torch.stack([torch.randint(0, high, shape, generator=generator) for high in CP.values], dim=-1)
    padding = torch.arange(longest) >= torch.tensor(lengths)[:, None]
    cells[padding] = torch.tensor(CP.pads)
    return {
        "src_tokens": cells,
        "padding_mask": padding if padding.any() else None,
        "lengths": torch.tensor(lengths),
    }


@pytest.mark.parametrize("lengths", [(20, 20), (9, 20, 1), (30,), (3, 2)])
@pytest.mark.parametrize("local", [True, False])
def test_sequences_of_a_row_are_the_masks(flash, lengths, local):
    torch.manual_seed(0)
    batch = batch_of(*lengths)
    padding, B, T = batch["padding_mask"], len(lengths), max(lengths)
    q, k, v = torch.randn(3, B, 2, T, 8)
    wanted = attend(q, k, v, Reach.of(B, T, 4, padding, q.device), local=local)
    known = None if padding is None else batch["lengths"]
    found = attend(q, k, v, Reach.in_sequences(B, T, 4, known, q.device), local=local)
    assert not found.isnan().any()
    real = torch.ones(B, T, dtype=torch.bool) if padding is None else ~padding
    torch.testing.assert_close(found.transpose(1, 2)[real], wanted.transpose(1, 2)[real])


def test_the_model_takes_it_in_half_precision_where_lengths_are_known(flash, monkeypatch, masked_form):
    torch.manual_seed(0)
    model = M2Bert(CONFIG).eval()
    batch = batch_of(17, 40, 5)
    real = ~batch["padding_mask"]
    used = []
    monkeypatch.setattr(
        local_attention, "flash_attention", lambda *given: used.append(given[-1]) or masked_form(*given)
    )
    with torch.inference_mode():
        exact = model(**batch, features_only=True)[0]
        assert not used  # float32
        model.autocast_bf16 = True
        found = model(**batch, features_only=True)[0].float()
        assert used == [None, 4, 4] * 2
        without = {name: value for name, value in batch.items() if name != "lengths"}
        masks = model(**without, features_only=True)[0].float()
        assert len(used) == 6  # padding anywhere needs a mask
    torch.testing.assert_close(found[real], exact[real], rtol=0.05, atol=0.05)
    torch.testing.assert_close(found[real], masks[real], rtol=0.05, atol=0.05)


def test_lengths_without_a_mask_say_that_nothing_is_padded():
    torch.manual_seed(0)
    model = M2Bert(CONFIG).eval()
    batch = batch_of(12, 12)
    batch["src_tokens"][1, 5, 0] = CP.pads[0]  # such as a random id
    with torch.inference_mode():
        _, extra = model(**batch, features_only=True)
        _, looked = model(batch["src_tokens"], features_only=True)
    assert extra["padding_mask"] is None
    assert looked["padding_mask"].sum() == 1


def test_the_operator_has_the_shapes_and_a_gradient_with_a_window():
    """Its own numbers need a GPU: `benchmarks/m2bert_step.py` compares them there."""
    q, k, v = (torch.empty(12, 2, 64, device="meta", dtype=torch.bfloat16) for _ in range(3))
    for x in (q, k, v):
        x.requires_grad_()
    out = flash_attention(q, k, v, torch.empty(4, device="meta", dtype=torch.int32), 5, 0.1, 3)
    assert out.shape == q.shape
    assert [grad.shape for grad in torch.autograd.grad(out.sum(), (q, k, v))] == [q.shape] * 3


def loss_and_gradient(model, batch):
    model.zero_grad()
    states = model(**batch, features_only=True)[0].float()
    if batch["padding_mask"] is not None:
        states = states.masked_fill(batch["padding_mask"][..., None], 0.0)
    loss = states.square().sum()
    loss.backward()
    return float(loss.detach()), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler looks at it
def test_compiled_blocks_have_the_same_names_and_numbers():
    torch.manual_seed(0)
    model = M2Bert(CONFIG)
    batch, names = batch_of(17, 40, 5), list(model.state_dict())
    expected, gradients = loss_and_gradient(model, batch)
    model.compile_blocks(backend="aot_eager")
    assert list(model.state_dict()) == names
    found, compiled = loss_and_gradient(model, batch)
    assert found == pytest.approx(expected, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(compiled[name], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler looks at it
def test_with_flash_attention_there_is_a_graph_for_each_kind_of_block(flash):
    from torch._dynamo.testing import CompileCounterWithBackend

    torch.manual_seed(0)
    model = M2Bert(CONFIG)
    model.autocast_bf16 = True
    batches = [batch_of(*lengths) for lengths in ((9, 30), (20, 4, 5, 6, 2), (30, 30), (16, 16, 16))]
    expected = [loss_and_gradient(model, batch)[0] for batch in batches]
    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    model.compile_blocks(backend=counter)
    found = [loss_and_gradient(model, batch)[0] for batch in batches]
    assert found == pytest.approx(expected, rel=1e-2)  # bfloat16
    # the first block has no LayerNorm before its attention; then local ones and global ones
    assert len([graph for graph in counter.graphs if len(graph.graph.nodes)]) == 3


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler looks at it
@pytest.mark.parametrize("half", [True, False])
def test_blocks_stay_compiled_whatever_comes(flash, half):
    """torch gives up on a function after eight graphs, and all blocks are one function."""
    torch.manual_seed(0)
    model = M2Bert(CONFIG)
    model.autocast_bf16 = half
    torch.compiler.reset()
    calls = []

    def backend(graph, _):
        return lambda *inputs: calls.append(1) or graph(*inputs)

    model.compile_blocks(backend=backend)
    for lengths in ((3, 2), (9, 9), (30, 4), (11,)):
        batch = batch_of(*lengths)
        loss_and_gradient(model.train(), batch)
        with torch.inference_mode():
            model.eval()(**batch, features_only=True)
    for training in (True, False):
        calls.clear()
        with torch.set_grad_enabled(training):
            model.train(training)(**batch_of(40, 40), features_only=True)
        assert len(calls) == CONFIG.layers


def test_sums_in_half_precision_are_near():
    torch.manual_seed(0)
    model = M2Bert(CONFIG).eval()
    batch = batch_of(30, 30)
    model.encoder.form, model.encoder.note_bert1.half_sums = "table", True  # as in training
    with torch.inference_mode():
        assert model(**batch, features_only=True)[0].dtype == torch.float32  # no mixed precision, no change
        model.autocast_bf16 = True
        halves = model(**batch, features_only=True)[0]
        model.encoder.note_bert1.half_sums = False
        found = model(**batch, features_only=True)[0]
    assert (halves.dtype, found.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(halves.float(), found, rtol=0.05, atol=0.05)
