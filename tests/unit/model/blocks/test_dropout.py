"""Dropout of whole tensors, and products by field: numbers and gradients against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from musicbert.model.blocks.by_field import linear_by_field
from musicbert.model.blocks.dropout import NARROW, dropped, dropped_sum, kept_mask


def test_a_sum_with_what_is_left():
    torch.manual_seed(0)
    x, y, weight = (torch.randn(2, 90, NARROW + 1).requires_grad_() for _ in range(3))
    state = torch.get_rng_state()
    out = dropped_sum(x, y, 0.1, True)
    found = torch.autograd.grad((out * weight).sum(), (x, y))
    torch.set_rng_state(state)
    factor = kept_mask(y.shape, 0.1, torch.float32, fast=True) / 0.9
    assert (factor == 0).float().mean().item() == pytest.approx(0.1, abs=0.006)
    torch.testing.assert_close(out, x + y * factor)
    torch.testing.assert_close(found, (weight, weight * factor))
    torch.set_rng_state(state)
    torch.testing.assert_close(dropped(y, 0.1, True), y * factor)
    assert not torch.equal(dropped(y, 0.1, True), dropped(y, 0.1, True))


@pytest.mark.parametrize(
    ("size", "dtype", "rate", "training"),
    [(9, torch.float32, 0.1, True), (NARROW, torch.float64, 0.1, True),
     (NARROW, torch.float32, 0.0, True), (NARROW, torch.float32, 0.1, False),
     (NARROW, torch.float32, 1.0, True)],
)  # fmt: skip
def test_the_rest_is_left_to_torch(size, dtype, rate, training):
    x, y = torch.randn(2, size, dtype=dtype)
    torch.manual_seed(4)
    expected = F.dropout(y, rate, training)
    for call in (lambda: dropped(y, rate, training), lambda: dropped_sum(x, y, rate, training) - x):
        torch.manual_seed(4)
        torch.testing.assert_close(call(), expected)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_rows_times_the_matrix_of_their_field(swapped, biased):
    torch.manual_seed(0)
    x = torch.randn(9, 5, dtype=torch.double).requires_grad_()
    weights = torch.randn(*((4, 3, 5) if swapped else (3, 4, 5)), dtype=torch.double).requires_grad_()
    biases = torch.randn(3, 4, dtype=torch.double).requires_grad_() if biased else None
    counts = [4, 0, 5]
    by_field = weights.transpose(0, 1) if swapped else weights

    def by_hand():
        parts = zip(x.split(counts), by_field, biases if biased else [None] * 3, strict=True)
        return torch.cat([F.linear(*part) for part in parts])

    torch.testing.assert_close(linear_by_field(x, by_field, biases, counts), by_hand())
    inputs = (x, weights, biases) if biased else (x, weights)
    rate = torch.randn(9, 4, dtype=torch.double)
    found = torch.autograd.grad((linear_by_field(x, by_field, biases, counts) * rate).sum(), inputs)
    torch.testing.assert_close(found, torch.autograd.grad((by_hand() * rate).sum(), inputs))
