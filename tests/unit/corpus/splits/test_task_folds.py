"""Folds of labelled pieces: whole groups, every class everywhere, published splits, near-duplicates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicbert.annotation.dealing import deal
from musicbert.annotation.folds import leaks
from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.labelled.shard_writer import write_shards
from musicbert.corpus.splits.task_folds import clean_groups, task_folds, unlearnable
from musicbert.errors import DatasetError
from musicbert.midi import Score

TASK = Task("mood", "mood", "sequence", "classes", ("sad", "glad", "odd"), "accuracy")


def tune(pitches, shift=0, stretch=1):
    n = len(pitches)
    zeros = np.zeros(n, np.int64)
    onset = np.arange(n) * 240 * stretch
    return Score(
        ticks_per_beat=480,
        onset=onset,
        offset=onset + 200,
        pitch=np.asarray(pitches) + shift,
        velocity=zeros + 64,
        program=zeros,
        drum=zeros.astype(bool),
        track=zeros,
    )


def make(tmp_path, labels, groups=None, splits=None, tunes=None, codec="octuple"):
    def pieces():
        for k, label in enumerate(labels):
            rng = np.random.default_rng(k)
            music = tune(rng.integers(40, 80, 60)) if tunes is None else tunes[k]
            given = {} if splits is None else {"given": splits[k]}
            group = f"g{k}" if groups is None else groups[k]
            yield LabelledPiece(f"p{k}", music, group, {} if label is None else {"mood": label}, given)

    return write_shards(pieces(), codec, tmp_path / "shards", [TASK]).shards


@given(
    sizes=st.lists(st.integers(1, 5), min_size=4, max_size=20),
    n_folds=st.integers(2, 4),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_groups_are_whole_and_folds_even(sizes, n_folds, seed):
    groups = {f"p{g}_{k}": f"g{g}" for g, size in enumerate(sizes) for k in range(size)}
    names = sorted(groups)
    fold_of = deal("excess", {name: groups[name] for name in names}, n_folds, seed=seed)
    assert set(fold_of) == set(names)
    by_group = {
        group: {fold_of[name] for name in names if groups[name] == group} for group in groups.values()
    }
    assert all(len(folds) == 1 for folds in by_group.values())
    loads = np.bincount(list(fold_of.values()), minlength=n_folds)
    assert (loads > 0).all()
    assert loads.max() - loads.min() <= max(sizes)


def test_every_fold_has_its_share_of_rare_classes():
    names = [f"p{k}" for k in range(50)]
    classes = np.array([0] * 40 + [1] * 10)
    counts = np.eye(2)[classes]
    fold_of = deal("excess", {n: n for n in names}, 5, counts=counts)
    folds = np.array([fold_of[name] for name in names])
    for fold in range(5):
        assert np.bincount(classes[folds == fold]).tolist() == [8, 2]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0] * 12, ["all labels are sad: there is nothing to learn"]),
        (
            [0, 1] * 5 + [0, 2],
            ["1 class has one piece each (odd)", "1 of 3 classes have no train piece: odd (1)"],
        ),
        ([0, 1] * 6, ["1 of 3 classes have no train piece: odd (0)"]),
        ([0, 1, 2] * 8, []),
    ],
)
def test_labels_that_cannot_be_learned_are_counted(tmp_path, labels, said):
    shards = make(tmp_path, labels)
    lines = unlearnable(shards, TASK, task_folds(shards, TASK, "clean", n_folds=3)[0])
    assert all(any(what in line for line in lines) for what in said)
    assert bool(lines) == bool(said)


def test_a_clean_split_leaks_nothing_and_validates(tmp_path):
    shards = make(tmp_path, [k % 3 for k in range(24)], [f"g{k // 2}" for k in range(24)])
    folds, groups = task_folds(shards, TASK, "clean", n_folds=4)
    assert sorted(folds) == ["0", "1", "2", "3"]
    assert sorted(name for fold in folds.values() for name in fold["test"]) == sorted(shards.names)
    for fold in folds.values():
        assert leaks(fold, groups) == {"test": 0, "valid": 0}
        assert fold["valid"]
        assert sorted(name for part in fold.values() for name in part) == sorted(shards.names)
    again, _ = task_folds(shards, TASK, "clean", n_folds=4)
    assert again == folds
    other, _ = task_folds(shards, TASK, "clean", n_folds=4, seed=8)
    assert other != folds


@pytest.mark.parametrize("codec", ["octuple", "cp"])
def test_versions_of_a_tune_are_one_group_whatever_their_names(tmp_path, codec):
    rng = np.random.default_rng(0)
    one, two = rng.integers(45, 75, (2, 80))
    tunes = [tune(one), tune(two), tune(one, shift=5), tune(two, stretch=2), tune(one), tune([60, 62])]
    groups = clean_groups(make(tmp_path, [0] * 6, tunes=tunes, codec=codec))
    assert groups["p0"] == groups["p2"] == groups["p4"]
    assert groups["p1"] == groups["p3"]
    assert len(set(groups.values())) == 3


def test_short_pieces_are_not_taken_for_each_other(tmp_path):
    tunes = [tune([60 + k, 62, 64 + k]) for k in range(4)]
    assert len(set(clean_groups(make(tmp_path, [0] * 4, tunes=tunes)).values())) == 4


def test_a_published_split_is_taken_as_it_is(tmp_path):
    splits = ["train", "train", "valid", "test", "test", "train"]
    folds, _ = task_folds(make(tmp_path, [0, 1, 0, 1, None, 2], splits=splits), TASK, "given")
    assert folds == {"0": {"train": ["p0", "p1", "p5"], "valid": ["p2"], "test": ["p3"]}}


def test_published_folds_validate_on_the_next_one(tmp_path):
    shards = make(tmp_path, [0] * 10, splits=[str(k % 5) for k in range(10)])
    folds, _ = task_folds(shards, TASK, "given")
    assert folds["3"] == {
        "train": ["p0", "p1", "p2", "p5", "p6", "p7"],
        "valid": ["p4", "p9"],
        "test": ["p3", "p8"],
    }
    assert folds["4"]["valid"] == ["p0", "p5"]
    carved, _ = task_folds(shards, TASK, "given", validation="carve")
    assert carved["3"]["test"] == ["p3", "p8"]
    assert len(carved["3"]["train"]) + len(carved["3"]["valid"]) == 8
    assert len(carved["3"]["valid"]) == 1


def test_a_split_that_leaks_is_counted(tmp_path):
    shards = make(
        tmp_path,
        [0, 1] * 3,
        ["a", "b", "c", "a", "e", "f"],
        ["train", "train", "valid", "test"] + ["train"] * 2,
    )
    folds, groups = task_folds(shards, TASK, "given")
    assert leaks(folds["0"], groups)["test"] == 1


@pytest.mark.parametrize(
    ("splits", "split", "reason"),
    [
        (None, "given", "unknown-split"),
        (["train"] * 4, "given", "empty-split"),
        (["0", "1", "train", "0"], "given", "bad-split"),
        (None, "clean", "too-few-groups"),
    ],
)
def test_splits_that_cannot_be_are_errors(tmp_path, splits, split, reason):
    shards = make(tmp_path, [0, 1, 0, 1], splits=splits)
    with pytest.raises(DatasetError, match=reason):
        task_folds(shards, TASK, split, n_folds=5)
