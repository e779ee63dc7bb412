"""Programs that measure explanations: what is offered, controls, ranges; the same in any order."""

from types import SimpleNamespace

import explanation_factors
import explanation_losses
import explanation_properties
import explanations_faithful
import numpy as np
import pytest
from explanations_faithful import SHARES

from musicbert.evaluation.baselines.regressors import Examples
from musicbert.explanation import CallableTarget, neutral
from musicbert.explanation.measured import real_ranges
from musicbert.explanation.occlusion import keep_notes
from musicbert.explanation.plausibility import unevenness
from musicbert.explanation.properties import PROPERTIES
from musicbert.synthesis import make_set

NAME = "Schubert_D960_mv3_8bars_12_05"


def rows(method, kept):
    """Rows of a method on eight pieces, after which a share of the score is left (deletion, insertion)."""
    for number in range(8):
        left = [np.clip(k + 0.01 * number, 0, 1) for k in kept]
        yield {
            "piece": f"{number}", "group": f"{number}", "output": "x",
            "replacement": "gone", "method": method,
            "comprehensiveness": [1 - left[0]] * len(SHARES), "sufficiency": [1 - left[1]] * len(SHARES),
            "difference": 1.0,
        }  # fmt: skip


def test_what_is_no_better_than_the_loudest_notes_is_not_offered():
    blind = [*rows("random", (0.6, 0.4)), *rows("row", (0.6, 0.4)), *rows("loudest", (0.3, 0.7))]
    found = [
        *rows("bars gone", (0.4, 0.6)),
        *rows("notes gone", (0.2, 0.8)),
        *rows("voices gone", (0.7, 0.3)),
    ]
    result = explanations_faithful._summary([*blind, *found], 200)
    assert result["offered"] == {"bars gone": [], "notes gone": ["gone"], "voices gone": []}
    made = {**result, "completeness": None, "provenance": {"command": "it"}}
    assert "Offered: bars gone: no; notes gone: gone; voices gone: no" in explanations_faithful._page(made)


def test_rows_are_the_same_in_any_order_and_find_a_planted_note():
    score = next(iter(make_set(3, performers=1, segments=1, movements=1).scores.values()))
    loud = int(np.argmax(score.pitch))
    key = score.pitch[loud]
    target = CallableTarget(lambda each: [[float((s.pitch == key).sum())] for s in each], ["x"])
    given = SimpleNamespace(seed=0, dimensions=1, steps=1)
    first = explanations_faithful._explained(target, score, NAME, given)
    assert explanations_faithful._explained(target, score, NAME, given) == first
    found = {row["method"]: row for row in first["rows"] if row["replacement"] == "gone"}
    at = SHARES.index(0.5)
    every = float((score.pitch == key).sum())
    assert found["notes gone"]["comprehensiveness"][at] == every
    assert found["random"]["comprehensiveness"][at] < every


def test_controls_change_what_they_say_and_no_more():
    rng = np.random.default_rng(0)
    examples = Examples(
        "rating", "regression", ("x",), rng.normal(size=(12, 4)), rng.normal(size=(12, 1)),
        np.arange(12).astype(str), np.arange(12).astype(str), raters=np.arange(12.0),
    )  # fmt: skip
    one = explanation_properties.permuted(examples, np.array([1, 2]))
    assert np.array_equal(one.features[:, [0, 3]], examples.features[:, [0, 3]])
    at = [np.flatnonzero((examples.features[:, 1:3] == row[1:3]).all(1)) for row in one.features]
    assert sorted(np.concatenate(at)) == list(range(12))
    assert not np.array_equal(one.features, examples.features)
    other = explanation_properties.shuffled(examples)
    assert np.array_equal(other.features, examples.features)
    moved = [int(np.flatnonzero(examples.target[:, 0] == value)[0]) for value in other.target[:, 0]]
    assert sorted(moved) == list(range(12))
    assert moved != list(range(12))
    assert other.raters.tolist() == moved
    strong = explanation_properties.strength(np.array([[0.1, 0.004], [0.02, 0.1]]), np.array([0.02, 0.001]))
    assert strong == {"size": pytest.approx(0.056), "named": 0.5}


def test_the_page_has_both_controls():
    cells = {name: {"value": 0.5, "low": 0.25, "high": 0.75} for name in ("all", "largest", "random", "gain")}
    lower = {name: {**each, "value": 0.0, "low": -0.5} for name, each in cells.items()}
    each = {name: dict.fromkeys(PROPERTIES, 0.0) for name in ("size", "noise")}
    found = {**cells, **each, "pairs": 3, "offered": True, "shuffled labels": lower}
    lost = {how: {"size": size, "named": size} for how, size in (("as it is", 0.5), ("permuted", 0.125))}
    result = {
        "about": {"command": "it"}, "performances": 2, "groups": 1,
        "dimensions": {"x": found, "y": found}, "permuted": {"pace": lost},
    }  # fmt: skip
    text = explanation_properties.page(result)
    assert "| as they are | 0.50 | 0.50 | 0.50 | 0.50 | 2 |" in text
    assert "| shuffled | 0.00 | 0.00 | 0.00 | 0.00 | 0 |" in text
    assert "| pace | 0.5000 | 0.1250 | 50.0 % | 12.5 % |" in text


def test_a_part_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return np.arange(3.0)

    options = SimpleNamespace(parts=tmp_path)
    assert all(np.array_equal(explanation_factors.part(options, "a", make), np.arange(3.0)) for _ in range(2))
    assert len(made) == 1


def test_ranges_have_the_ends_that_are_used():
    names = explanation_losses.MEASURES
    real = np.tile(np.arange(1.0, 102.0)[:, None], (1, len(names)))
    low, high = explanation_losses._ends(real)
    ends = {name: (low[k], high[k]) for k, name in enumerate(names)}
    assert ends["velocity loss"] == (3.5, 98.5)
    assert ends["distance"] == (0.0, 98.5)
    assert ends["unevenness"] == (1.0, 10.0)
    groups = [str(k % 10) for k in range(101)]
    far = real.copy()
    far[:, names.index("unevenness")] = 0.5
    through = explanation_losses._let_through(real, far, groups)
    assert through["unevenness"] == through["all that are used"] == 0.0
    assert through["the first two"] > 0.9


def test_a_performance_without_timing_is_too_even():
    score = next(iter(make_set(3, performers=2, segments=2, movements=1).scores.values()))
    low, high = real_ranges()["unevenness"]
    assert unevenness(neutral(score, "timing")) < low < unevenness(score) < high
    assert unevenness(keep_notes(score, np.arange(len(score)) < 2)) == 0.0
