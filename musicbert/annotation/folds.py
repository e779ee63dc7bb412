"""What splits are made of: folds, validation carved out of training, and the count of leaks.

The rules that use them are in `musicbert.annotation.splits`. Verified by property tests in
``tests/unit/annotation/test_splits.py``.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal

from musicbert.errors import DatasetError

#: Parts of a fold.
PARTS = ("train", "valid", "test")
Fold = dict[str, list[str]]
Folds = dict[str, Fold]
Valid = Literal["groups", "none"]


def rank(seed: int | str, name: str) -> bytes:
    """Order that looks random and depends on nothing but the seed and the name."""
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()


def unique_ids(ids: Iterable[str]) -> list[str]:
    """The identifiers as a list; none, or one that occurs twice, is an error."""
    ids = list(ids)
    if not ids:
        raise DatasetError(
            "empty-split", "there is nothing to split", hint="no segment is left; check the filters"
        )
    twice = [name for name, times in Counter(ids).items() if times > 1]
    if twice:
        raise DatasetError("duplicate-id", f"{len(twice)} identifiers occur twice, e.g. {twice[0]}")
    return ids


def carve_validation(
    train: Sequence[str],
    groups: Mapping[str, str],
    *,
    seed: int | str = 7,
    fraction: float = 0.1,
    forbidden: Collection[str] = (),
    otherwise: str = "no validation part (--valid none)",
) -> tuple[list[str], list[str]]:
    """Take whole groups out of a training part for validation: ``(what is left, what was taken)``.

    Groups come in an order given by the seed until ``fraction`` of the part is reached; one that would
    overshoot by more than half of the wanted size is skipped, and where all do, the smallest is taken.
    ``forbidden`` groups (those of the test part) are not used. Raises `DatasetError`: ``no-validation`` when
    fewer than two groups could be used; ``otherwise`` is what its hint names beside more groups.
    """
    size = Counter(groups[name] for name in train)
    usable = sorted((g for g in size if g not in forbidden), key=lambda g: rank(seed, g))
    if not usable or len(size) < 2:
        raise DatasetError(
            "no-validation",
            f"{len(size)} group(s) in training leave none for validation",
            hint=f"use more groups of pieces, or {otherwise}",
        )
    wanted = fraction * len(train)
    taken: set[str] = set()
    held = 0
    for group in usable:
        if held >= wanted or len(taken) == len(size) - 1:
            break
        if held + size[group] <= 1.5 * wanted:
            taken.add(group)
            held += size[group]
    if not taken:
        taken = {min(usable, key=lambda g: (size[g], rank(seed, g)))}
    return [n for n in train if groups[n] not in taken], [n for n in train if groups[n] in taken]


def split_by_group(
    ids: Iterable[str],
    test: Callable[[str], bool] | Collection[str],
    groups: Mapping[str, str],
    *,
    seed: int | str = 7,
    valid: Valid = "groups",
    valid_fraction: float = 0.1,
) -> Fold:
    """One fold: ``test`` says what is tested, whole ``groups`` of the rest are for validation.

    Raises `DatasetError`: ``empty-split`` when nothing would be tested or nothing trained on;
    ``no-validation``.
    """
    ids = unique_ids(ids)
    chosen = test if callable(test) else frozenset(test).__contains__
    tested = [name for name in ids if chosen(name)]
    train = [name for name in ids if not chosen(name)]
    if not tested or not train:
        raise DatasetError(
            "empty-split",
            f"the split leaves {len(train)} segments for training and {len(tested)} for the test",
            hint="do the names belong to this split rule?",
        )
    held: list[str] = []
    if valid == "groups":
        train, held = carve_validation(
            train, groups, seed=seed, fraction=valid_fraction, forbidden={groups[name] for name in tested}
        )
    return {"train": train, "valid": held, "test": tested}


def leaks(fold: Fold, groups: Mapping[str, str]) -> dict[str, int]:
    """Count test (and validation) segments whose group is also trained on.

    Returns `dict`: ``{"test": n, "valid": n}``; zeros for a clean fold. ``valid`` counts what it shares with
    training or test.
    """
    train = {groups[name] for name in fold["train"]}
    test = {groups[name] for name in fold["test"]}
    return {
        "test": sum(groups[name] in train for name in fold["test"]),
        "valid": sum(groups[name] in train | test for name in fold["valid"]),
    }
