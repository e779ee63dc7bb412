"""Summaries of a column give NumPy's numbers."""

import numpy as np

from musicbert.features.summary import average, percentiles, spread


def test_summaries_are_those_of_numpy():
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 10, 101, 257):
        for values in (rng.normal(size=count), rng.integers(0, 4, count), np.full(count, 0.1)):
            ranks = (0, 2.5, 5, 25, 50, 75, 90, 95, 100)
            assert percentiles(values, ranks) == np.percentile(values, ranks).tolist()
            assert (average(values), spread(values)) == (np.mean(values), np.std(values))
    assert (percentiles(np.zeros(0), (5, 50), -1.0), average(np.zeros(0), 2.0)) == ([-1.0, -1.0], 2.0)
    assert spread(np.zeros(0)) == 0
