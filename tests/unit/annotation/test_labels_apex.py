import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gaussian_kde

from musicbert.annotation.labels import apex, apexes, tied

ratings = st.lists(st.integers(1, 7), min_size=1, max_size=19)


def by_scipy(x):
    """The published procedure on scipy, with the tie rule."""
    x = np.asarray(x, dtype=float)
    if x.min() == x.max():
        return x[0]
    grid = np.linspace(x.min(), x.max(), 50)
    density = gaussian_kde(x)(grid)
    return grid[density >= density.max() * (1 - 1e-9)].mean()


@settings(deadline=None)
@given(ratings)
def test_equals_scipy(x):
    assert apex(x) == pytest.approx(by_scipy(x), abs=1e-12)


@settings(deadline=None)
@given(ratings)
def test_lies_between_the_ratings_and_turns_round_with_them(x):
    x = np.array(x, dtype=float)
    assert x.min() <= apex(x) <= x.max()
    assert apex(8 - x) == pytest.approx(8 - apex(x), abs=1e-9)


@settings(deadline=None)
@given(ratings, st.randoms(use_true_random=False))
def test_the_order_of_raters_does_not_matter(x, random):
    shuffled = list(x)
    random.shuffle(shuffled)
    assert apex(shuffled) == pytest.approx(apex(x), abs=1e-12)


@pytest.mark.parametrize(
    ("x", "expected"),
    [([1], 1), ([3, 3, 3], 3), ([2, 6], 4), ([1, 1, 7, 7], 4), ([2, 2, 6, 6, 6, 2], 4), ([3, 3, 5, 5], 4)],
)
def test_ties_are_averaged(x, expected):
    assert apex(x) == pytest.approx(expected, abs=1e-12)


def test_ties_are_found():
    sets = np.array([[2, 2, 5, 5], [2, 2, 2, 5], [4, 4, 4, 4]], dtype=float).T
    assert tied(sets).tolist() == [True, False, False]


def test_many_at_once_equal_one_at_a_time():
    sets = np.random.default_rng(0).integers(1, 8, size=(9, 200)).astype(float)
    np.testing.assert_array_equal(apexes(sets), [apex(column) for column in sets.T])
