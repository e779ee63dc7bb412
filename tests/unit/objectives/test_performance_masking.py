"""What is hidden of the performance inputs: what a selected token would tell, and pedals by the bar."""

import numpy as np

from musicbert.encoding import PERFORMANCE_INPUTS, rows_to_ids
from musicbert.encoding.vocabulary import FIELDS, PAD
from musicbert.objectives.masking import MaskPolicy, mask_tokens
from musicbert.objectives.performance_masking import TOLD_BY, hide_performance


def piece(notes=400, bars=40, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.integers(0, high, notes) for high in (bars, 16, 1, 88, 64, 32, 1, 1)], axis=1)
    return rows_to_ids(rows[np.lexsort(rows.T[::-1])]).reshape(-1)


def columns(names):
    return [PERFORMANCE_INPUTS.index(name) for name in names]


def test_columns_follow_the_tokens_that_tell_them():
    tokens = piece()
    _, target = mask_tokens(tokens, np.random.default_rng(1), MaskPolicy("element"))
    hidden = hide_performance(tokens, target, np.random.default_rng(2))
    selected = (target != PAD).reshape(-1, 8)
    inner = slice(1, -1)
    for name in ("velocity", "pitch"):
        assert (hidden[inner, columns([name])[0]] == selected[inner, FIELDS.index(name)]).all()
    both = selected[:, FIELDS.index("position")] | selected[:, FIELDS.index("duration")]
    assert (hidden[inner, columns(["legato"])[0]] == both[inner]).all()
    assert not hidden[0].any()
    assert not hidden[-1].any()


def test_every_column_is_told_or_a_pedal():
    told = {name for names in TOLD_BY.values() for name in names}
    pedals = set(PERFORMANCE_INPUTS) - told
    assert pedals == {
        name for name in PERFORMANCE_INPUTS if name.startswith(("sustain", "soft", "sostenuto"))
    }


def test_pedals_are_hidden_by_the_bar():
    tokens = piece(notes=4000, bars=200)
    target = np.full_like(tokens, PAD)
    hidden = hide_performance(tokens, target, np.random.default_rng(3), 0.3)
    sustain = hidden[1:-1, columns(["sustain_onset"])[0]]
    assert (hidden[1:-1, columns(["soft_onset"])[0]] == sustain).all()
    bars = tokens.reshape(-1, 8)[1:-1, 0]
    shares = np.array([sustain[bars == bar].mean() for bar in np.unique(bars)])
    assert set(shares) == {0.0, 1.0}
    assert abs(shares.mean() - 0.3) < 0.1
    assert not hidden[:, columns(["velocity", "duration", "ioi_next"])].any()


def test_unknown_inputs_are_hidden_with_any_token_of_the_note():
    tokens = piece()
    _, target = mask_tokens(tokens, np.random.default_rng(1), MaskPolicy("element"))
    hidden = hide_performance(tokens, target, np.random.default_rng(2), width=3)
    expected = (target != PAD).reshape(-1, 8).any(axis=1)
    expected[[0, -1]] = False
    assert (hidden == expected[:, None]).all()


def test_expression_is_hidden_and_the_notes_are_given():
    tokens = piece()
    policy = MaskPolicy("expression", mask_prob=0.4)
    source, target = mask_tokens(tokens, np.random.default_rng(1), policy)
    selected = (target != PAD).reshape(-1, 8)[1:-1]
    played = [FIELDS.index("duration"), FIELDS.index("velocity")]
    assert (selected[:, played[0]] == selected[:, played[1]]).all()
    assert not np.delete(selected, played, axis=1).any()
    given = np.delete(np.arange(8), played)
    assert (source.reshape(-1, 8)[1:-1, given] == tokens.reshape(-1, 8)[1:-1, given]).all()
    bars = tokens.reshape(-1, 8)[1:-1, 0]
    shares = np.array([selected[bars == bar, played[0]].mean() for bar in np.unique(bars)])
    assert set(shares) == {0.0, 1.0}
    assert abs(shares.mean() - 0.4) < 0.2
    hidden = hide_performance(tokens, target, np.random.default_rng(2), expression=True)[1:-1]
    shown = columns(["pitch", "time"])
    assert not hidden[:, shown].any()
    rest = np.delete(hidden, shown, axis=1)
    assert (rest == selected[:, played[:1]]).all()


def test_what_comes_from_the_score_is_never_hidden():
    tokens = piece()
    for name in ("bar", "expression"):
        _, target = mask_tokens(tokens, np.random.default_rng(1), MaskPolicy(name))
        known = hide_performance(tokens, target, np.random.default_rng(2), expression=name == "expression")
        more = hide_performance(
            tokens, target, np.random.default_rng(2), width=18, expression=name == "expression"
        )
        assert (more[:, :15] == known).all()
        assert not more[:, 15:].any()


def test_one_strategy_is_drawn_as_before_it_was_drawn_first():
    tokens = piece()
    for seed in range(8):
        policy = MaskPolicy("bar+compound")
        first, second = np.random.default_rng(seed), np.random.default_rng(seed)
        drawn = policy.drawn(first)
        assert drawn.strategy in ("bar", "compound")
        for one, other in zip(
            mask_tokens(tokens, first, drawn), mask_tokens(tokens, second, policy), strict=True
        ):
            np.testing.assert_array_equal(one, other)
