"""Shares of a training part: nested, whole groups, every class, and nothing else is touched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.corpus.splits.task_folds import task_folds
from musicbert.corpus.splits.training_share import share_folds, take_share
from musicbert.errors import ConfigError
from musicbert.midi import Score

MOODS = Task("mood", "mood", "sequence", "classes", ("sad", "glad", "odd"), "accuracy")
SHARES = (0.02, 0.1, 0.3, 0.55, 0.9, 1.0)


@st.composite
def training_parts(draw):
    """Names, groups, and the class of each piece (or none)."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=15))
    names = [f"p{g}_{k}" for g, size in enumerate(sizes) for k in range(size)]
    names = draw(st.permutations(names))
    classes = draw(st.lists(st.integers(-1, 4), min_size=len(names), max_size=len(names)))
    return names, {name: name.split("_")[0] for name in names}, np.array(classes)


def one_hot(classes):
    return (classes[:, None] == np.arange(5)).astype(np.float64)


@given(part=training_parts(), stratified=st.booleans(), seed=st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_shares_are_nested_and_keep_groups_whole_and_every_class(part, stratified, seed):
    names, groups, classes = part
    counts = one_hot(classes) if stratified else None
    before = set()
    for share in SHARES:
        taken = take_share(names, groups, share, seed=seed, counts=counts)
        kept = set(taken)
        assert taken  # one group at least
        assert taken == [name for name in names if name in kept]
        assert not {groups[name] for name in kept} & {groups[n] for n in names if n not in kept}
        assert before <= kept
        before = kept
        if stratified:
            assert {classes[names.index(name)] for name in kept} == set(classes)
        else:  # as near as whole groups allow: at most half of one away, or the one group that must be there
            largest = max(sum(groups[n] == g for n in names) for g in groups.values())
            assert abs(len(taken) - share * len(names)) <= largest / 2 or len({groups[n] for n in taken}) == 1
    assert before == set(names)


@given(part=training_parts(), seed=st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_the_choice_does_not_depend_on_the_order_of_the_pieces(part, seed):
    names, groups, classes = part
    other = sorted(names)
    moved = one_hot(classes[[names.index(name) for name in other]])
    here = take_share(names, groups, 0.4, seed=seed, counts=one_hot(classes))
    assert set(take_share(other, groups, 0.4, seed=seed, counts=moved)) == set(here)


def test_classes_keep_their_proportions_and_seeds_differ():
    names = [f"p{k}" for k in range(200)]
    classes = np.array([0] * 140 + [1] * 40 + [2] * 20)
    groups = {name: name for name in names}
    chosen = [take_share(names, groups, 0.3, seed=seed, counts=one_hot(classes)) for seed in (1, 2)]
    for taken in chosen:
        found = np.bincount(classes[[names.index(name) for name in taken]])
        assert found == pytest.approx([42, 12, 6], abs=1)
        assert len(taken) == 60
    assert chosen[0] != chosen[1]
    assert chosen[0] == take_share(names, groups, 0.3, seed=1, counts=one_hot(classes))


def test_more_is_taken_than_asked_for_where_classes_need_it():
    names, classes = [f"p{k}" for k in range(20)], np.arange(20) % 5
    groups = {name: name for name in names}
    taken = take_share(names, groups, 0.1, counts=one_hot(classes))
    assert sorted(classes[[names.index(name) for name in taken]]) == [0, 1, 2, 3, 4]
    assert len(take_share(names, groups, 0.1)) == 2


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_what_is_no_share_is_an_error(share):
    with pytest.raises(ConfigError, match="bad-share"):
        take_share(["p"], {"p": "p"}, share)


def tune(seed, notes=60):
    rng = np.random.default_rng(seed)
    zeros, onset = np.zeros(notes, np.int64), np.arange(notes) * 240
    return Score(
        ticks_per_beat=480,
        onset=onset,
        offset=onset + 200,
        pitch=rng.integers(40, 80, notes),
        velocity=zeros + 64,
        program=zeros,
        drum=zeros.astype(bool),
        track=zeros,
    )


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """30 pieces of two in a group; p0 and p28 sound alike, and have one group for that."""
    loud = Task("loud", "loud", "note", "classes", ("no", "yes"), "accuracy")
    pieces = (
        LabelledPiece(
            f"p{k}",
            tune(0 if k == 28 else k),
            f"g{k // 2}",
            {"mood": int(k % 10 == 0) + int(k % 3 == 0), "loud": np.full(60, k % 2)},
            {"given": ("train", "train", "train", "valid", "test")[k % 5]},
        )
        for k in range(30)
    )
    return write_shards(pieces, "octuple", tmp_path_factory.mktemp("s") / "s", [MOODS, loud]).shards, loud


@pytest.mark.parametrize("split", ["clean", "given"])
def test_validation_and_test_are_untouched(shards, split):
    data, loud = shards
    for task in (MOODS, loud):
        folds, groups = task_folds(data, task, split, n_folds=3)
        before = {name: set() for name in folds}
        for share in SHARES:
            kept = share_folds(data, task, folds, groups, share)
            assert list(kept) == list(folds)
            for name, fold in kept.items():
                assert {part: fold[part] for part in ("valid", "test")} == {
                    part: folds[name][part] for part in ("valid", "test")
                }
                assert before[name] <= set(fold["train"]) <= set(folds[name]["train"])
                before[name] = set(fold["train"])
                left = set(folds[name]["train"]) - before[name]
                assert not {groups[piece] for piece in left} & {groups[piece] for piece in before[name]}
                if task is MOODS:
                    mood = data.label("mood")
                    classes = [
                        {int(mood[data.index[piece]]) for piece in part}
                        for part in (fold["train"], folds[name]["train"])
                    ]
                    assert classes[0] == classes[1]
        assert kept == folds


def test_folds_are_not_changed_in_place_and_have_choices_of_their_own(shards):
    data, _ = shards
    folds, groups = task_folds(data, MOODS, "clean", n_folds=3)
    copied = {name: {part: list(names) for part, names in fold.items()} for name, fold in folds.items()}
    one = share_folds(data, MOODS, folds, groups, 0.4, seed=1)
    assert folds == copied
    assert one == share_folds(data, MOODS, folds, groups, 0.4, seed=1)
    assert one != share_folds(data, MOODS, folds, groups, 0.4, seed=2)
