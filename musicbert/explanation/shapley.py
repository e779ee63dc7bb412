"""Exact Shapley values of a few players (Shapley 1953).

The value of a player is the mean, over all orders of joining, of what it adds to those before it. Values add
up to the whole minus nothing; a player that never adds anything has zero; two that always add the same have
equal values.
"""

from math import factorial

import numpy as np

from musicbert.arrays import Bools, Floats


def coalitions(players: int) -> Bools:
    """All subsets of players: row ``s`` holds ``i`` where bit ``i`` of ``s`` is set [shape=(2^k, k)]."""
    rows = np.arange(1 << players)[:, None]
    return np.asarray((rows >> np.arange(players)) & 1, np.bool_)


def shapley_values(values: Floats) -> Floats:
    """Shapley values [shape=(k, d)] from the value of each subset [shape=(2^k, d), rows of `coalitions`].

    Raises `ValueError` where the number of rows is not a power of two.
    """
    players = max(len(values).bit_length() - 1, 0)
    if len(values) != 1 << players:
        raise ValueError(f"{len(values)} values are not those of all subsets of some players")
    inside = coalitions(players)
    size = inside.sum(1)
    weight = np.array(
        [factorial(n) * factorial(max(players - n - 1, 0)) / factorial(players) for n in range(players + 1)]
    )
    rows, result = np.arange(len(values)), np.zeros((players, *values.shape[1:]))
    for player in range(players):
        without = rows[~inside[:, player]]
        adds = values[without | 1 << player] - values[without]
        result[player] = np.tensordot(weight[size[without]], adds, axes=1)
    return result
