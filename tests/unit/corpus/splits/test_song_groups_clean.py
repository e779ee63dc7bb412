"""Clean splits: whole groups, balanced, without chance."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from musicbert.annotation.folds import PARTS
from musicbert.corpus.splits.song_groups import clean_folds, clean_parts

PIECES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=120)


def named(pieces):
    groups = {f"p{n}": f"g{group}" for n, (group, _) in enumerate(pieces)}
    classes = {f"p{n}": kind for n, (_, kind) in enumerate(pieces)}
    return groups, classes


@given(PIECES, st.randoms())
def test_groups_stay_whole_whatever_the_order(pieces, chance):
    groups, classes = named(pieces)
    folds = clean_folds(groups, classes)
    assert len(set(zip(groups.values(), folds.values(), strict=True))) == len(set(groups.values()))
    names = list(groups)
    chance.shuffle(names)
    assert clean_folds({name: groups[name] for name in names}, classes) == folds
    assert set(clean_parts(groups).values()) <= set(PARTS)


def test_classes_are_balanced_where_groups_are_single():
    groups = {f"p{n}": f"p{n}" for n in range(200)}
    classes = {f"p{n}": n % 4 for n in range(200)}
    folds = clean_folds(groups, classes)
    counts = Counter((folds[name], classes[name]) for name in groups)
    assert set(counts.values()) == {10}
    parts = Counter(clean_parts(groups).values())
    assert parts == {"train": 160, "valid": 20, "test": 20}
