"""Ranges hold what they say, on groups that were not looked at."""

import numpy as np
import pytest

from musicbert.analysis.ranges import Ranges, coverage


def errors_of(rng, groups, *, size):
    """Errors that groups share in part, skewed."""
    shared = rng.gumbel(size=groups)
    number = np.repeat(np.arange(groups), size)
    return (0.05 * (shared[number] + rng.normal(size=len(number))))[:, None], number.astype(str)


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_new_groups_are_covered_as_often_as_said(level):
    rng, inside = np.random.default_rng(0), []
    for _ in range(200):
        errors, groups = errors_of(rng, 40, size=rng.integers(1, 12, 40))
        ranges = Ranges.fit(errors, groups, (0.8, 0.9))
        new, _ = errors_of(rng, 1, size=1)
        values = np.full((1, 1), 0.5)
        low, high = ranges.around(values, level, np.ones(1))
        inside.append(coverage(0.5 + new, low, high)[0, 0])
    assert level - 0.06 < np.mean(inside) < level + 0.09


def test_large_groups_count_once():
    errors = np.array([[0.0]] * 100 + [[0.3], [0.4], [-0.3]])
    groups = np.array(["many"] * 100 + ["a", "b", "c"])
    ranges = Ranges.fit(errors, groups, (0.5,))
    assert ranges.high[0, 0] >= 0.3
    alone = Ranges.fit(errors, np.arange(103).astype(str), (0.5,))
    assert alone.high[0, 0] == 0.0


def test_few_groups_take_the_largest_error_and_unknown_labels_are_left_out():
    ranges = Ranges.fit(np.array([[0.1], [-0.2], [np.nan]]), np.array(["a", "b", "c"]), (0.9,))
    assert (ranges.low[0, 0], ranges.high[0, 0]) == (-0.2, 0.1)


def test_ends_stay_on_the_scale_and_survive_json():
    ranges = Ranges.fit(np.array([[0.5], [-0.5]]), np.array(["a", "b"]), (0.8,))
    again = Ranges.from_dict(ranges.as_dict())
    low, high = again.around(np.array([[0.9], [0.1]]), 0.8, np.array([1.0, 2.0]))
    np.testing.assert_allclose(low[:, 0], [0.4, 0.0])
    np.testing.assert_allclose(high[:, 0], [1.0, 1.0])
