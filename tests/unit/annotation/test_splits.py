from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from musicbert.annotation.folds import carve_validation, leaks
from musicbert.annotation.names import content_groups, performer_of, piece_of
from musicbert.annotation.splits import RULES, make_folds, split_by_group
from musicbert.errors import DatasetError

PERFORMERS = ["0", "1", "2", "10", "12", "Score"]
NAMES = [
    f"Schubert_D960_{movement}_{bars}bars_{p}_{n:02d}"
    for movement, bars, count in (("mv2", 8, 17), ("mv3", 8, 37), ("mv2", 16, 9), ("mv3", 16, 19))
    for p in PERFORMERS
    for n in range(1, count + 1)
]
CONTENT = content_groups(NAMES)
some_names = st.lists(st.sampled_from(NAMES), min_size=12, max_size=200, unique=True)
seeds = st.integers(0, 5)
quick = settings(deadline=None, max_examples=60)


def parts(fold):
    return [name for part in ("train", "valid", "test") for name in fold[part]]


def folds_or_skip(rule, names, **options):
    try:
        return make_folds(rule, names, **options)
    except DatasetError as error:  # few names may not hold a test or a validation group; never a leak
        if error.reason not in ("empty-split", "no-validation", "too-few-groups"):
            raise
        assume(False)


@quick
@given(st.sampled_from(RULES), some_names, seeds, st.sampled_from(["groups", "none"]))
def test_every_fold_divides_its_segments(rule, names, seed, valid):
    for fold in folds_or_skip(rule, names, seed=seed, valid=valid).values():
        used = parts(fold)
        assert len(used) == len(set(used))
        if rule == "segment_clean":
            assert set(used) <= set(names)
        else:
            assert set(used) == set(names)
        assert fold["train"]
        assert fold["test"]
        assert bool(fold["valid"]) == (valid == "groups")
        place = {name: i for i, name in enumerate(names)}
        for part in fold.values():
            assert [place[name] for name in part] == sorted(place[name] for name in part)


@quick
@given(st.sampled_from(["segment_clean", "k-fold", "piece"]), some_names, seeds)
def test_content_never_leaks(rule, names, seed):
    for fold in folds_or_skip(rule, names, seed=seed, n_folds=3).values():
        assert leaks(fold, CONTENT) == {"test": 0, "valid": 0}


@quick
@given(some_names, seeds)
def test_performers_never_leak(names, seed):
    groups = {name: performer_of(name) for name in names}
    for fold in folds_or_skip("performer", names, seed=seed).values():
        assert leaks(fold, groups) == {"test": 0, "valid": 0}
        assert len({groups[name] for name in fold["test"]}) == 1


@quick
@given(some_names, seeds)
def test_the_segment_split_validates_on_music_that_is_nowhere_else(names, seed):
    for fold in folds_or_skip("segment", names, seed=seed).values():
        assert leaks(fold, CONTENT)["valid"] == 0


@quick
@given(
    st.dictionaries(st.text("abcdef", min_size=1), st.sampled_from("vwxyz"), min_size=8),
    seeds,
    st.integers(2, 4),
)
def test_own_groups_never_leak(groups, seed, n_folds):
    try:
        folds = make_folds("k-fold", list(groups), groups=groups, n_folds=n_folds, seed=seed)
    except DatasetError as error:
        if error.reason not in ("too-few-groups", "no-validation"):
            raise
        return
    for fold in folds.values():
        assert leaks(fold, groups) == {"test": 0, "valid": 0}
    assert Counter(name for fold in folds.values() for name in fold["test"]) == Counter(list(groups))


@quick
@given(st.sampled_from(RULES), st.permutations(NAMES[:60]), seeds)
def test_the_order_of_the_names_does_not_matter(rule, names, seed):
    one = folds_or_skip(rule, NAMES[:60], seed=seed, n_folds=3, valid="none")
    two = make_folds(rule, names, seed=seed, n_folds=3, valid="none")
    for k, fold in one.items():
        assert {part: set(listed) for part, listed in fold.items()} == {
            part: set(listed) for part, listed in two[k].items()
        }


@pytest.mark.parametrize("rule", RULES)
def test_validation_takes_nothing_from_the_test(rule):
    with_valid, without = (make_folds(rule, NAMES, valid=v) for v in ("groups", "none"))
    for k, fold in with_valid.items():
        assert fold["test"] == without[k]["test"]
        assert sorted(fold["train"] + fold["valid"]) == sorted(without[k]["train"])
        assert 0.03 < len(fold["valid"]) / len(without[k]["train"]) < 0.25
    assert make_folds(rule, NAMES, seed=1) == make_folds(rule, NAMES, seed=1)
    assert make_folds(rule, NAMES, seed=1) != make_folds(rule, NAMES, seed=2)


def test_the_published_segment_rule():
    fold = make_folds("segment", NAMES, valid="none")["0"]
    assert Counter(name.split("_")[2] + name.split("_")[3] for name in fold["test"]) == {
        "mv28bars": 2 * 6, "mv38bars": 4 * 6, "mv216bars": 6, "mv316bars": 2 * 6,
    }  # fmt: skip
    assert leaks(fold, CONTENT)["test"] == len(fold["test"])  # it does leak, all of it
    clean = make_folds("segment_clean", NAMES, valid="none")["0"]
    assert clean["test"] == fold["test"]
    assert set(clean["train"]) < set(fold["train"])


def test_random():
    assert {k: len(v) for k, v in make_folds("random", NAMES[:100], valid="none")["0"].items()} == {
        "train": 90, "valid": 0, "test": 10,
    }  # fmt: skip
    folds = make_folds("random", NAMES[:95], n_folds=10)
    assert Counter(n for fold in folds.values() for n in fold["test"]) == Counter(NAMES[:95])
    assert {len(fold["test"]) for fold in folds.values()} == {9, 10}


def test_performers_in_turn_and_chosen():
    folds = make_folds("performer", NAMES, performers=None)
    assert [performer_of(folds[str(k)]["test"][0]) for k in range(6)] == PERFORMERS
    fold = make_folds("performer", NAMES, performers=("12", "Score"))["0"]
    assert {performer_of(name) for name in fold["test"]} == {"12", "Score"}
    with pytest.raises(DatasetError, match="unknown-performer"):
        make_folds("performer", NAMES, performers=("11",))


def test_pieces_in_turn():
    folds = make_folds(
        "piece", [*NAMES, "Beethoven_WoO80_var4_8bars_22_3", "Beethoven_WoO80_thema_8bars_22_1"]
    )
    assert [{piece_of(n) for n in fold["test"]} for fold in folds.values()] == [
        {"Beethoven_WoO80"}, {"Schubert_D960_mv2"}, {"Schubert_D960_mv3"},
    ]  # fmt: skip


def test_validation_is_near_the_wanted_size_and_leaves_something():
    names = [f"{g}{i}" for g in "abcdefghij" for i in range(10)]
    groups = {name: name[0] for name in names}
    train, valid = carve_validation(names, groups, fraction=0.2)
    assert (len(train), len(valid)) == (80, 20)
    train, valid = carve_validation(["a1", "b1"], groups, fraction=0.9)
    assert (len(train), len(valid)) == (1, 1)
    with pytest.raises(DatasetError, match="no-validation"):
        carve_validation(["a1", "a2"], groups)
    with pytest.raises(DatasetError, match="no-validation"):
        carve_validation(["a1", "b2"], groups, forbidden={"a", "b"})


def test_groups_too_large_for_the_wanted_size_give_the_smallest():
    names = [f"a{i}" for i in range(60)] + [f"b{i}" for i in range(40)]
    train, valid = carve_validation(names, {n: n[0] for n in names}, fraction=0.1)
    assert ({n[0] for n in train}, {n[0] for n in valid}) == ({"a"}, {"b"})


def test_leaks_are_counted():
    groups = {"a": "x", "b": "x", "c": "y", "d": "y"}
    assert leaks({"train": ["a"], "valid": ["b"], "test": ["c", "d"]}, groups) == {"test": 0, "valid": 1}
    assert leaks({"train": ["a"], "valid": ["d"], "test": ["b", "c"]}, groups) == {"test": 1, "valid": 1}


@pytest.mark.parametrize(
    ("rule", "names", "reason"),
    [
        ("segments", NAMES, "unknown-split"),
        ("segment", [], "empty-split"),
        ("segment", ["Schubert_D935_no.3_4bars_1_1", "Schubert_D935_no.3_4bars_1_2"], "empty-split"),
        ("segment_clean", ["Schubert_D960_mv3_8bars_1_05", "Schubert_D960_mv3_8bars_1_14"], "empty-split"),
        ("random", [NAMES[0], NAMES[0]], "duplicate-id"),
        ("piece", NAMES[:17], "empty-split"),
        ("k-fold", NAMES[:3], "too-few-groups"),
    ],
)
def test_bad_input(rule, names, reason):
    with pytest.raises(DatasetError) as caught:
        make_folds(rule, names)
    assert caught.value.reason == reason


def test_one_fold_by_a_list():
    fold = split_by_group(NAMES[:20], NAMES[:2], CONTENT, valid="none")
    assert fold["test"] == NAMES[:2]
