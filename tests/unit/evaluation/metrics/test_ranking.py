"""MAP, HITS@k and recall@k: hand-made cases, scikit-learn, chance by counting every order."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from musicbert.evaluation.metrics.bootstrap import interval
from musicbert.evaluation.metrics.ranking import (
    chance,
    metric_names,
    per_query,
    ranking_draws,
    ranks_of_true,
)


def values(scores, labels, queries=None, places=(1, 2, 3)):
    table = per_query(scores, labels, np.zeros(len(scores)) if queries is None else queries, places=places)
    return [dict(zip(metric_names(places), row, strict=True)) for row in table]


def test_perfect_and_worst_order():
    (best,) = values([0.9, 0.8, 0.1, 0.0], [1, 1, 0, 0])
    assert best == {
        "map": 1,
        "hits@1": 1,
        "hits@2": 1,
        "hits@3": 1,
        "recall@1": 0.5,
        "recall@2": 1,
        "recall@3": 1,
    }
    (worst,) = values([0.9, 0.8, 0.1], [0, 0, 1])
    assert worst["map"] == pytest.approx(1 / 3)
    assert (worst["hits@1"], worst["hits@2"], worst["hits@3"]) == (0, 0, 1)


def test_equal_scores_put_false_candidates_first():
    (row,) = values([0.5] * 4, [1, 0, 0, 0])
    assert row["map"] == 0.25
    assert row["hits@3"] == 0


def test_published_hits_are_recall():
    (row,) = values([3, 2, 1, 0], [1, 1, 1, 0], places=(1,))
    assert row["hits@1"] == 1
    assert row["recall@1"] == pytest.approx(1 / 3)


def test_average_precision_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, queries = rng.permutation(300).astype(float), np.repeat(np.arange(6), 50)
    labels = rng.random(300) < 0.1
    labels[::50] = True
    for query, row in zip(range(6), values(scores, labels, queries), strict=True):
        mine = queries == query
        assert row["map"] == pytest.approx(average_precision_score(labels[mine], scores[mine]))


def test_queries_in_any_order_and_without_a_true_candidate():
    scores, labels, queries = [1.0, 2.0, 3.0, 4.0], [1, 0, 0, 0], [7, 7, 5, 5]
    assert {q: r.tolist() for q, r in ranks_of_true(scores, labels, queries).items()} == {5: [], 7: [2]}
    none, some = values(scores, labels, queries)
    assert np.isnan(none["map"])
    assert some["map"] == 0.5
    assert ranking_draws(scores, labels, queries)["map"][0] == 0.5


def test_chance_is_the_mean_over_all_orders():
    labels = np.array([1, 1, 0, 0, 0])
    orders = np.array(list(permutations(range(5))), float)
    table = np.array([per_query(order, labels, np.zeros(5), places=(1, 2, 4))[0] for order in orders])
    expected = chance(labels, np.zeros(5), places=(1, 2, 4))
    assert list(expected.values()) == pytest.approx(table.mean(axis=0))


def test_intervals_hold_the_value_and_shrink_with_queries():
    rng = np.random.default_rng(1)
    widths = []
    for queries in (20, 320):
        number = np.repeat(np.arange(queries), 10)
        labels = np.tile([1] + [0] * 9, queries)
        draws = ranking_draws(rng.normal(size=len(number)) + labels, labels, number)
        found = interval(draws["map"])
        assert found.low <= found.value <= found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="labels"):
        per_query([1.0], [1, 0], [0])
    with pytest.raises(ValueError, match="NaN"):
        per_query([np.nan], [1], [0])
