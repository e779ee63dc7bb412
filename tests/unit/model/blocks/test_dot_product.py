"""Plain products are the attention of torch's kernels: numbers, gradients, masks, chunks, dropout."""

import pytest
import torch
import torch.nn.functional as F

from musicbert.model.blocks import dot_product
from musicbert.model.blocks.dot_product import dot_product_attention

B, H, T, S, D = 3, 4, 10, 14, 8


def _inputs(dtype=torch.float64, *, grad=False):
    torch.manual_seed(3)
    shapes = ((B, H, T, D), (B, H, S, D), (B, H, S, D))
    return [torch.randn(shape, dtype=dtype).requires_grad_(grad) for shape in shapes]


MASKS = {
    "none": None,
    "keys of a piece": (B, 1, 1, S),
    "of one for all": (1, 1, T, S),
    "of every head": (B, H, T, S),
}


def _mask(shape):
    if shape is None:
        return None
    mask = torch.rand(shape) < 0.6
    mask[..., 0] = True  # no row is empty
    return mask


# everything at once, some pieces, some heads, one head
@pytest.mark.parametrize("chunk", [2**20, 2 * H * T * S, 3 * T * S, 1])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_numbers_and_gradients_are_those_of_torch(monkeypatch, chunk, mask):
    monkeypatch.setattr(dot_product, "CHUNK", chunk)
    inputs, mask = _inputs(grad=True), _mask(mask)
    found = dot_product._in_chunks(*inputs, mask, 0.0)
    torch.testing.assert_close(found, F.scaled_dot_product_attention(*inputs, attn_mask=mask))
    weight = torch.randn_like(found)
    ours = torch.autograd.grad((found * weight).sum(), inputs)
    theirs = torch.autograd.grad(
        (F.scaled_dot_product_attention(*inputs, attn_mask=mask) * weight).sum(), inputs
    )
    torch.testing.assert_close(ours, theirs)


def test_bfloat16_is_as_near_to_the_exact_numbers_as_torch_is():
    inputs = _inputs(torch.bfloat16)
    exact = F.scaled_dot_product_attention(*(x.double() for x in inputs))
    theirs = (F.scaled_dot_product_attention(*inputs).double() - exact).abs().mean()
    ours = (dot_product_attention(*inputs).double() - exact).abs().mean()
    assert ours < 3 * theirs
    assert ours < 0.01


def test_a_query_that_sees_nothing_stays_finite():
    q, k, v = _inputs(torch.bfloat16, grad=True)
    nothing = torch.zeros(B, 1, 1, S, dtype=torch.bool)
    found = dot_product_attention(q, k, v, nothing)
    found.sum().backward()
    assert all(bool(x.isfinite().all()) for x in (found, q.grad, k.grad, v.grad))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("probability", [1e-6, 0.1, 0.5])
def test_dropout_falls_as_often_as_asked(probability, fast):
    torch.manual_seed(1)
    kept = dot_product.kept_mask((3, 333_333), probability, torch.bfloat16, fast=fast)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    fell = kept == 0
    assert fell.float().mean().item() == pytest.approx(probability, abs=0.002)
    # neighbours come from one drawn number
    both = (fell[:, 1:] & fell[:, :-1]).float().mean().item()
    assert both == pytest.approx(probability**2, abs=0.002)


@pytest.mark.parametrize("probability", [1e-6, 0.1, 0.5])
def test_dropout_keeps_the_mean(probability):
    inputs = _inputs(torch.float32)
    mean = torch.stack([dot_product_attention(*inputs, dropout=probability) for _ in range(1000)]).mean(0)
    torch.testing.assert_close(mean, F.scaled_dot_product_attention(*inputs), atol=0.2, rtol=0)


def test_dropout_of_everything_and_its_seed():
    inputs = _inputs(torch.float32)
    assert not dot_product_attention(*inputs, dropout=1.0).any()
    first, again = (torch.manual_seed(5) and dot_product_attention(*inputs, dropout=0.3) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, dot_product_attention(*inputs, dropout=0.3))


def test_who_computes(monkeypatch):
    asked = []
    monkeypatch.setattr(dot_product, "_in_chunks", lambda q, *_: asked.append(q.dtype) or q)
    dot_product_attention(*_inputs(torch.float32))
    assert asked == []
    dot_product_attention(*_inputs(torch.float32), dropout=0.1)
    dot_product_attention(*_inputs(torch.bfloat16))
    assert asked == [torch.float32, torch.bfloat16]
    monkeypatch.setattr(dot_product, "MAX_WEIGHTS", B * H * T * S - 1)  # too long to keep
    dot_product_attention(*_inputs(torch.bfloat16))
    assert len(asked) == 2
    dot_product_attention(*_inputs(torch.bfloat16), dropout=0.1)  # torch would keep them, too
    assert len(asked) == 3


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(0, H, T, D), (B, H, 0, D)], ids=["no pieces", "no notes"])
def test_nothing_to_attend_from(shape, dropout):
    empty = torch.zeros(shape, dtype=torch.bfloat16)
    assert dot_product_attention(empty, empty, empty, dropout=dropout).shape == shape


def test_under_autocast_float32_is_multiplied_in_bfloat16():
    inputs = _inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = [dot_product_attention(*inputs, dropout=dropout) for dropout in (0.0, 1e-6)]
    assert [x.dtype for x in found] == [torch.bfloat16] * 2
    torch.testing.assert_close(*found, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("shape", [None, (3, 1, 1, 12), (3, 2, 12, 12)], ids=["all", "keys", "pairs"])
@pytest.mark.parametrize(("chunk", "block"), [(2**22, 2**19), (2**22, 50), (400, 2**19), (100, 100), (1, 1)])
def test_blocks_with_dropout_are_the_same_numbers(monkeypatch, shape, chunk, block):
    monkeypatch.setattr(dot_product, "CHUNK", chunk)
    monkeypatch.setattr(dot_product, "BLOCK", block)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    mask, results = _mask(shape), []
    # in float64 torch computes the gradients; weights are kept, and computed again
    for dtype, most in ((torch.float64, 0), (torch.float32, 2**23), (torch.float32, 0)):
        monkeypatch.setattr(dot_product, "KEPT_WEIGHTS", most)
        torch.manual_seed(0)
        inputs = [torch.randn(3, 12, 2, 8).to(dtype).transpose(1, 2).requires_grad_() for _ in "qkv"]
        out = dot_product_attention(*inputs, mask, 0.3)
        out.cumsum(-1).square().sum().backward()
        results.append([out.detach().float(), *(x.grad.float() for x in inputs)])
    exact, *ours = results
    for found in ours:
        for one, other in zip(exact, found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_seed_draws_the_same_for_any_number_of_threads(monkeypatch):
    torch.manual_seed(0)
    inputs, found = [torch.randn(3, 2, 30, dot_product.WIDE) for _ in "qkv"], []
    for threads in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        torch.manual_seed(7)
        found.append(dot_product_attention(*inputs, dropout=0.3))
    torch.testing.assert_close(*found)
