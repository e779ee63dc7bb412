"""Counts of what is asked for, and the loss of guessing by them."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from musicbert.model.losses.masked_lm import FieldCounts

RNG = np.random.default_rng(0)


def entropy(values):
    share = np.bincount(values) / len(values)
    share = share[share > 0]
    return -(share * np.log(share)).sum()


def test_tokens_listed_by_field():
    """Two batches; a value counts for its field alone."""
    counts = FieldCounts(3, 40)
    fields = [RNG.integers(0, 40, 300), np.full(100, 7), RNG.integers(0, 2, 50)]
    for half in (0, 1):
        parts = [field[half::2] for field in fields]
        counts.add_listed(torch.from_numpy(np.concatenate(parts)), [len(part) for part in parts])
    expected = sum(len(field) * entropy(field) for field in fields) / 450
    assert counts.read() == (450, pytest.approx(expected, rel=1e-12))
    assert expected < entropy(np.concatenate(fields))


def test_selected_cells():
    counts = FieldCounts(2, 5)
    cells, selected = RNG.integers(0, 5, (60, 2)), RNG.random((60, 2)) < 0.5
    counts.add_cells(torch.from_numpy(cells), torch.from_numpy(selected))
    chosen = [cells[selected[:, column], column] for column in (0, 1)]
    expected = sum(len(each) * entropy(each) for each in chosen) / selected.sum()
    assert counts.read() == (selected.sum(), pytest.approx(expected, rel=1e-12))


class Questions(TorchDispatchMode):
    """Notes each operation that makes a program wait for a device."""

    asked = ()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "bincount", "unique"):
            self.asked += (str(func),)
        return func(*args, **(kwargs or {}))


def test_counting_asks_the_device_nothing():
    with Questions() as questions:
        counts = FieldCounts(2, 5)
        counts.add_listed(torch.tensor([1, 2, 3]), [1, 2])
        counts.add_cells(torch.tensor([[1, 2]]), torch.tensor([[True, False]]))
        assert questions.asked == ()
        counts.read()
        assert questions.asked


def test_two_values_alike_are_a_bit_and_nothing_is_nothing():
    counts = FieldCounts(1, 9)
    assert counts.read() == (0, 0.0)
    counts.add_listed(torch.tensor([], dtype=torch.int64), [0])
    assert counts.read() == (0, 0.0)
    counts.add_listed(torch.tensor([3, 8]), [2])
    assert counts.read() == (2, pytest.approx(math.log(2)))
