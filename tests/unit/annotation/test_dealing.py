"""Ways to deal groups: whole groups, every group in a fold, errors."""

import numpy as np
import pytest

from musicbert.annotation.dealing import STRATEGIES, class_counts, deal
from musicbert.errors import DatasetError


def test_the_largest_group_goes_to_the_emptiest_fold():
    sizes = {"e": 5, "d": 4, "c": 3, "b": 2, "a": 1}
    groups = {f"{g}{i}": g for g, size in sizes.items() for i in range(size)}
    dealt = deal("size", groups, 3)
    assert {groups[name]: fold for name, fold in dealt.items()} == {"e": 0, "d": 1, "c": 2, "b": 2, "a": 1}
    assert deal("size", dict(reversed(groups.items())), 3) == dealt


@pytest.mark.parametrize("n_folds", [0, 1, 3])
def test_too_few_groups(n_folds):
    with pytest.raises(DatasetError, match="too-few-groups"):
        deal("size", {"a": "x", "b": "y"}, n_folds)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_groups_stay_whole_and_every_fold_has_some(strategy):
    rng = np.random.default_rng(3)
    groups = {f"p{i}": f"g{rng.integers(30)}" for i in range(100)}
    counts = class_counts([("abc"[rng.integers(3)],) for _ in groups])
    dealt = deal(strategy, groups, 4, counts=counts)
    assert set(dealt) == set(groups)
    assert set(dealt.values()) == {0, 1, 2, 3}
    assert len({(groups[name], fold) for name, fold in dealt.items()}) == len(set(groups.values()))
