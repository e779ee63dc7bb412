"""Exact Shapley values: known games, and the axioms."""

from itertools import permutations

import numpy as np
import pytest

from musicbert.explanation.shapley import coalitions, shapley_values


def test_equal_to_the_mean_over_all_orders():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(16, 3))
    expected = np.zeros((4, 3))
    orders = list(permutations(range(4)))
    for order in orders:
        inside = 0
        for player in order:
            expected[player] += values[inside | 1 << player] - values[inside]
            inside |= 1 << player
    assert np.allclose(shapley_values(values), expected / len(orders))


def test_axioms():
    rng = np.random.default_rng(1)
    inside = coalitions(5)
    values = rng.normal(size=(32, 2))
    values = values[np.arange(32) & ~0b00100]  # player 2 adds nothing
    found = shapley_values(values)
    assert np.allclose(found.sum(0), values[-1] - values[0])  # efficiency
    assert np.allclose(found[2], 0)  # dummy
    assert np.allclose(shapley_values(values * 2 + 1), found * 2)  # linear
    additive = inside @ np.array([[1.0], [2.0], [0.0], [-1.0], [3.0]])
    assert np.allclose(shapley_values(additive).ravel(), [1, 2, 0, -1, 3])
    assert np.allclose(shapley_values(inside.sum(1, keepdims=True) ** 2.0), 5)  # equal players


def test_one_player_none_and_an_impossible_number_of_subsets():
    assert shapley_values(np.array([[1.0], [4.0]])).tolist() == [[3.0]]
    assert shapley_values(np.zeros((1, 2))).shape == (0, 2)
    with pytest.raises(ValueError, match="3 values"):
        shapley_values(np.zeros((3, 1)))
