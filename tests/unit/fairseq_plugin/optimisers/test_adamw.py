"""The fused optimiser beside fairseq's own Adam, and clipping."""

from argparse import Namespace

import pytest
import torch
from fairseq.optim.adam import Adam

from musicbert.fairseq_plugin.optimisers.adamw import FusedAdamW

OPTIONS = {"adam_betas": "(0.9, 0.98)", "adam_eps": 1e-9, "weight_decay": 0.1, "lr": [1e-2]}


def parameters():
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in ((3, 4), (5,), ())]


def test_ten_steps_are_those_of_fairseqs_adam():
    ours, theirs = parameters(), parameters()
    fused = FusedAdamW(Namespace(**OPTIONS), ours)
    adam = Adam(theirs, lr=1e-2, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.1)
    for step in range(10):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.full_like(one, 0.1) * (step - 3) + one.detach()
            other.grad = torch.full_like(other, 0.1) * (step - 3) + other.detach()
        fused.step()
        adam.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
        assert not torch.equal(one, parameters()[[id(p) for p in ours].index(id(one))])


@pytest.mark.parametrize("limit", [0.0, 1.0, 1e6])
def test_clipping_measures_all_gradients_and_scales_when_too_long(limit):
    own = parameters()
    for each in own[:2]:
        each.grad = torch.ones_like(each)
    norm = FusedAdamW(Namespace(**OPTIONS), own).clip_grad_norm(limit)
    assert norm.item() == pytest.approx(17**0.5)
    after = sum(float(each.grad.square().sum()) for each in own[:2]) ** 0.5
    assert after == pytest.approx(1.0 if limit == 1.0 else 17**0.5, rel=1e-4)
