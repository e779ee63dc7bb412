"""Features: summaries give NumPy's numbers, and what versions of a performance share is computed once."""

import numpy as np

from musicbert import features as module
from musicbert.explanation.factors import factor_variants
from musicbert.explanation.playing_factors import FACTORS
from musicbert.features import features
from musicbert.features.summary import average, percentiles, spread
from musicbert.synthesis import make_set


def test_summaries_are_those_of_numpy():
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 10, 101, 257):
        for values in (rng.normal(size=count), rng.integers(0, 4, count), np.full(count, 0.1)):
            ranks = (0, 2.5, 5, 25, 50, 75, 90, 95, 100)
            assert percentiles(values, ranks) == np.percentile(values, ranks).tolist()
            assert (average(values), spread(values)) == (np.mean(values), np.std(values))
    assert (percentiles(np.zeros(0), (5, 50), -1.0), average(np.zeros(0), 2.0)) == ([-1.0, -1.0], 2.0)
    assert spread(np.zeros(0)) == 0


def test_what_versions_share_is_computed_once_and_nothing_else(monkeypatch):
    made_set = make_set(3, performers=2, segments=1, movements=1).scores.values()
    score = next(each for each in made_set if len(each.control_tick))
    variants, _ = factor_variants(score, FACTORS)
    memo, made = {}, {name: [] for name in module._GROUPS}
    alone = [features(each) for each in variants]
    for name, describe in list(module._GROUPS.items()):

        def counted(play, name=name, describe=describe):
            made[name].append(1)
            return describe(play)

        monkeypatch.setitem(module._GROUPS, name, counted)
    assert all(np.array_equal(features(each, memo), one) for each, one in zip(variants, alone, strict=True))
    assert len(made["timing"]) == 4  # tempo and timing: the last release stays
    assert len(made["pitch"]) == 8  # tempo, timing, articulation
    assert len(made["pedal"]) == 16
    assert len(made["velocity"]) == 32  # all but articulation and pedal
    assert len(made["articulation"]) == 64  # all but the pedal
