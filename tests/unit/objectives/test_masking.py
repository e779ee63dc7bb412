import pickle
from itertools import pairwise

import numpy as np
import pytest

from musicbert.encoding.views import cells_of_piece
from musicbert.encoding.vocabulary import (
    BOS,
    EOS,
    FIELD_OFFSETS,
    FIELD_SIZES,
    MASK,
    PAD,
    UNK,
    VOCABULARY_SIZE,
    rows_to_ids,
)
from musicbert.errors import ConfigError
from musicbert.objectives.masking import MaskPolicy, mask_cells, mask_tokens

OFFSETS, SIZES = np.array(FIELD_OFFSETS), np.array(FIELD_SIZES)


def piece(notes, *, bars=20, programs=4, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, SIZES, (notes, 8))
    rows[:, 0] = rng.integers(0, bars, notes)
    rows[:, 2] = rng.integers(0, programs, notes)
    return rows_to_ids(rows[np.lexsort(rows.T[::-1])])


def repeat(tokens, policy, times=400, seed=0):
    """Sources and targets of many draws [shape=(times, T, 8)]."""
    rng = np.random.default_rng(seed)
    pairs = [mask_tokens(tokens, rng, policy) for _ in range(times)]
    return tuple(np.stack(part).reshape(times, -1, 8) for part in zip(*pairs, strict=True))


@pytest.mark.parametrize("strategy", ["element", "compound", "bar", "element+compound+bar"])
@pytest.mark.parametrize("per_piece", [False, True])
def test_shares_are_15_percent_and_80_10_10(strategy, per_piece):
    tokens = piece(120, bars=60)
    source, target = repeat(tokens, MaskPolicy(strategy, per_piece=per_piece), times=1500)
    selected = target != PAD
    inner = selected[:, 1:-1]
    # Groups are independent; the widest deviation is that of compound: 1500 * 120 independent draws.
    assert inner.mean() == pytest.approx(0.15, abs=0.005)
    masked = (source == MASK)[selected].mean()
    kept = (source == target)[selected].mean()
    assert masked == pytest.approx(0.8, abs=0.01)
    assert kept == pytest.approx(0.1, abs=0.01)  # a random token is the old one in 1 of 1,237 cases
    assert selected[:, 0].mean() == pytest.approx(0.15, abs=0.04)  # 1500 draws, 4 deviations


@pytest.mark.parametrize(("mask", "random", "leave"), [(0.3, 0.5, 0.25), (1.0, 0.0, 0.0), (0.0, 0.1, 0.1)])
def test_other_shares_are_followed(mask, random, leave):
    policy = MaskPolicy("element", mask_prob=mask, random_prob=random, leave_prob=leave)
    source, target = repeat(piece(200), policy, times=100)
    selected = (target != PAD)[:, 1:-1]
    assert selected.mean() == pytest.approx(mask, abs=0.01)
    if mask:
        share = (source == MASK)[:, 1:-1][selected].mean()
        assert share == pytest.approx(1 - random - leave, abs=0.02)


def test_bar_masking_decides_a_bar_program_and_field_at_once():
    tokens = piece(300, bars=5, programs=3)
    octuples = tokens.reshape(-1, 8)[1:-1]
    source, target = repeat(tokens, MaskPolicy("bar", random_prob=0.0), times=60)
    selected, source = (target != PAD)[:, 1:-1], source[:, 1:-1]
    group = octuples[:, 0] * 2000 + octuples[:, 2]
    decided = set()
    for key in np.unique(group):
        members = selected[:, group == key]  # (times, notes, 8)
        assert (members == members[:, :1]).all()
        hidden = (source == MASK)[:, group == key]
        assert (hidden == hidden[:, :1]).all()
        decided.update(members[:, 0].sum(1).tolist())
    assert len(decided) > 2  # fields are decided one by one, not all eight together
    # another bar, or another program of the same bar, is decided apart
    one, two = np.flatnonzero(octuples[:, 0] == octuples[0, 0])[[0, -1]]
    assert octuples[one, 2] != octuples[two, 2]
    assert (selected[:, one] != selected[:, two]).any()


def test_compound_masking_decides_a_note_at_once():
    _, target = repeat(piece(50), MaskPolicy("compound"))
    selected = target != PAD
    assert (selected == selected[..., :1]).all()
    assert selected.any()


def test_element_masking_decides_each_token():
    _, target = repeat(piece(50), MaskPolicy("element"))
    selected = (target != PAD)[:, 1:-1]
    both = (selected[..., 0] & selected[..., 1]).mean()
    assert both == pytest.approx(0.15**2, abs=0.01)


@pytest.mark.parametrize("strategy", ["element", "compound", "bar"])
def test_the_ends_are_decided_as_one_each(strategy):
    _, target = repeat(piece(5), MaskPolicy(strategy))
    selected = target != PAD
    for end in (0, -1):
        assert (selected[:, end] == selected[:, end, :1]).all()
        assert selected[:, end].any()
    assert (selected[:, 0] != selected[:, -1]).any()


def test_random_tokens_are_any_or_of_the_field():
    tokens = piece(200)
    shares = {"random_prob": 1.0, "leave_prob": 0.0, "mask_prob": 1.0}
    source, _ = repeat(tokens, MaskPolicy("element", **shares), times=100)
    counts = np.bincount(source.reshape(-1), minlength=VOCABULARY_SIZE)
    assert len(counts) == VOCABULARY_SIZE
    expected = source.size / VOCABULARY_SIZE
    assert counts.min() > expected - 6 * expected**0.5  # uniform: <s>, <pad> and <mask> too
    assert counts.max() < expected + 6 * expected**0.5
    source, _ = repeat(tokens, MaskPolicy("element", random_tokens="field", **shares), times=50)
    assert (source >= OFFSETS).all()
    assert (source < OFFSETS + SIZES).all()
    assert all(len(np.unique(source[..., field])) == SIZES[field] for field in range(8))


def test_a_mixture_draws_one_strategy_per_block():
    _, target = repeat(piece(100), MaskPolicy("element+compound"))
    selected = (target != PAD)[:, 1:-1]
    compound = (selected == selected[..., :1]).all(axis=(1, 2))
    assert compound.mean() == pytest.approx(0.5, abs=0.1)


def test_pieces_of_a_block_share_groups_unless_told_otherwise():
    first = piece(10, bars=1, programs=1)
    block = np.concatenate([first, first, first])
    inner = slice(1, 11), slice(13, 23)

    _, target = repeat(block, MaskPolicy("bar"))
    selected = target != PAD
    assert (selected[:, inner[0]] == selected[:, inner[1]]).all()
    starts = selected[:, [12, 24]]  # inner <s>: grouped like notes, each field for itself
    assert (starts[:, 0] == starts[:, 1]).all()
    assert (starts[:, 0] != starts[:, 0, :1]).any()

    _, target = repeat(block, MaskPolicy("bar", per_piece=True))
    selected = target != PAD
    assert (selected[:, inner[0]] != selected[:, inner[1]]).any()
    for special in (0, 11, 12, 23, 24, 35):
        assert (selected[:, special] == selected[:, special, :1]).all()


def test_inner_specials_share_the_group_that_the_published_code_gives_them():
    """Its table is indexed with a negative row, which wraps to bar 255 of program 81."""
    rows = np.zeros((1, 8), np.int64)
    rows[0, [0, 2]] = 255, 81
    block = np.concatenate([rows_to_ids(rows), piece(3)])
    _, target = repeat(block, MaskPolicy("bar"))
    selected = target != PAD
    assert block.reshape(-1, 8)[[1, 3], 0].tolist() == [4 + 255, BOS]
    assert (selected[:, 1] == selected[:, 3]).all()
    assert block.reshape(-1, 8)[2, 0] == EOS
    assert (selected[:, 1] != selected[:, 2]).any()


def test_the_input_is_left_as_it_is_and_draws_repeat():
    tokens = piece(100)
    tokens.setflags(write=False)
    one = mask_tokens(tokens, np.random.default_rng([1, 2, 3]), MaskPolicy())
    two = mask_tokens(tokens, np.random.default_rng([1, 2, 3]), MaskPolicy())
    other = mask_tokens(tokens, np.random.default_rng([1, 3, 3]), MaskPolicy())
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])
    assert not np.array_equal(one[1], other[1])
    shown = one[1] == PAD
    assert np.array_equal(one[0][shown], tokens[shown])
    assert np.array_equal(one[1][~shown], tokens[~shown])


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "bars"},
        {"strategy": ""},
        {"strategy": "bar+"},
        {"mask_prob": 1.5},
        {"random_prob": 0.7, "leave_prob": 0.7},
        {"random_tokens": "all"},
    ],
)
def test_bad_policies_are_refused(options):
    with pytest.raises(ConfigError, match=r"strategy|share masked|random tokens") as caught:
        MaskPolicy(**options)
    assert caught.value.reason == "bad-options"
    assert isinstance(caught.value, ValueError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_bad_lengths_are_refused():
    with pytest.raises(ValueError, match="octuples"):
        mask_tokens(np.zeros(9, np.int64), np.random.default_rng(0))


def test_only_the_groups_present_are_drawn_for():
    """Against the published way, a table of (256 * 256 + 1237) * 8 uniforms for every block."""
    drawn = []

    class Counting(np.random.Generator):
        def random(self, *arguments, **options):
            values = super().random(*arguments, **options)
            drawn.append(np.size(values))
            return values

    tokens = piece(1000)
    for seed in range(15):
        mask_tokens(tokens, Counting(np.random.PCG64(seed)), MaskPolicy())
    assert drawn
    assert sum(drawn) <= 15 * len(tokens)


def cells(notes=120, *, pieces=1, seed=0):
    """Pieces in the CP-like form, each between its rows of specials [shape=(m, 8)]."""
    return np.concatenate([cells_of_piece(piece(notes, bars=8, seed=seed + k), "cp") for k in range(pieces)])


def repeat_cells(rows, policy, times=300, seed=0):
    rng = np.random.default_rng(seed)
    pairs = [mask_cells(rows, rng, policy) for _ in range(times)]
    return tuple(np.stack(part) for part in zip(*pairs, strict=True))


@pytest.mark.parametrize("strategy", ["element", "compound", "bar"])
def test_cells_are_masked_in_the_same_shares(strategy):
    rows = cells()
    source, target = repeat_cells(rows, MaskPolicy(strategy), times=800)
    asked = rows != UNK
    assert (source[:, ~asked] == UNK).all()
    assert (target[:, ~asked] == PAD).all()
    selected = (target != PAD)[:, asked]
    assert selected.mean() == pytest.approx(0.15, abs=0.01)
    assert (source[:, asked] == MASK)[selected].mean() == pytest.approx(0.8, abs=0.01)
    shown = ~selected
    assert (source[:, asked][shown] == np.broadcast_to(rows[asked], shown.shape)[shown]).all()


def test_cells_of_a_bar_and_program_are_decided_at_once():
    rows = cells(pieces=2)
    _, target = repeat_cells(rows, MaskPolicy("bar"), times=60)
    selected = target != PAD
    inner = (rows[:, 0] >= 4) | (rows[:, 0] == UNK)
    bar = program = UNK
    groups = {}
    for row in np.flatnonzero(inner):
        if rows[row, 0] != UNK:
            bar, program = rows[row, 0], UNK
        elif rows[row, 1] != UNK:
            program = UNK
        elif rows[row, 2] != UNK:
            program = rows[row, 2]
        for field in np.flatnonzero(rows[row] != UNK):
            groups.setdefault((bar, program, field), []).append(selected[:, row, field])
    assert max(len(members) for members in groups.values()) > 3
    for members in groups.values():
        assert (np.stack(members) == members[0]).all()
    keys = sorted(groups)
    same = [(groups[a][0] == groups[b][0]).all() for a, b in pairwise(keys)]
    assert not any(same)  # one group is decided apart from the next
    # the two pieces share groups, unless they are told apart
    ends = np.flatnonzero(~inner)
    first, second = slice(ends[0] + 1, ends[0] + 2), slice(ends[2] + 1, ends[2] + 2)
    assert rows[first, 0] == rows[second, 0]
    assert (selected[:, first, 0] == selected[:, second, 0]).all()
    _, target = repeat_cells(rows, MaskPolicy("bar", per_piece=True), times=60)
    assert (target[:, first, 0] != target[:, second, 0]).any()
    for end in ends:
        assert (selected[:, end] == selected[:, end, :1]).all()


def test_random_cells_are_of_their_field():
    rows = cells()
    shares = {"random_prob": 1.0, "leave_prob": 0.0, "mask_prob": 1.0}
    source, _ = repeat_cells(rows, MaskPolicy("element", random_tokens="field", **shares), times=5)
    asked = rows != UNK
    assert ((source >= OFFSETS) & (source < OFFSETS + SIZES))[:, asked].all()
