"""Folds of pieces with several labels each.

``grouped``: whole songs (all versions of one) are put into folds so that every label is spread evenly: songs
from the largest on, songs with rare labels first among equals, each into the fold that lacks its labels most
(the greedy rule of Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", ECML 2011,
over groups). ``published``: scikit-learn's ``StratifiedKFold`` on the joined labels, over the files in random
order, as MusicBERT does it (there without a seed); versions of a song can be trained on and tested, which
`leaks` counts. Verified in ``tests/unit/corpus/test_genre.py``.
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from musicbert.annotation.folds import Fold, Folds, Valid, carve_validation, rank
from musicbert.errors import DatasetError

__all__ = ["RULES", "genre_folds"]

#: name -> what is wrong with it, if anything
RULES = {
    "grouped": "",
    "published": "versions of a song lie in training and test (leak)",
}


def genre_folds(
    labels: Mapping[str, tuple[str, ...]],
    groups: Mapping[str, str],
    *,
    rule: str = "grouped",
    n_folds: int = 5,
    seed: int = 7,
    valid: Valid = "groups",
    valid_fraction: float = 0.1,
) -> Folds:
    """Divide pieces into folds.

    Parameters
    ----------
    labels, groups
        Name -> labels, and name -> song.
    rule
        ``grouped`` or ``published``.
    n_folds, seed
        Number of folds; seed of the order.
    valid
        ``groups`` takes whole songs out of training for validation; ``none`` leaves validation empty.
    valid_fraction
        Wanted share of the training part, 0-1.

    Raises
    ------
    DatasetError
        ``empty-split`` for fewer songs than folds; ``no-validation``.
    """
    if rule not in RULES:
        raise ValueError(f"rule is one of {', '.join(RULES)}, not {rule!r}")
    names = sorted(labels, key=lambda name: rank(seed, name))
    if n_folds < 2 or len({groups[name] for name in names}) < n_folds:
        raise DatasetError("empty-split", f"{len(names)} pieces do not make {n_folds} folds")
    number = (
        _grouped(names, labels, groups, n_folds) if rule == "grouped" else _published(names, labels, n_folds)
    )
    folds: Folds = {}
    for fold in range(n_folds):
        train = [name for name in names if number[name] != fold]
        parts: Fold = {"train": train, "valid": [], "test": [name for name in names if number[name] == fold]}
        if valid == "groups":
            forbidden = {groups[name] for name in parts["test"]}
            parts["train"], parts["valid"] = carve_validation(
                train, groups, seed=f"{seed}/{fold}", fraction=valid_fraction, forbidden=forbidden
            )
        folds[str(fold)] = parts
    return folds


def _grouped(
    names: list[str], labels: Mapping[str, tuple[str, ...]], groups: Mapping[str, str], n_folds: int
) -> dict[str, int]:
    members: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        members[groups[name]].append(name)
    classes = {
        label: at for at, label in enumerate(sorted({each for name in names for each in labels[name]}))
    }
    count = Counter(label for name in names for label in labels[name])
    # still wanted of each label, and of pieces, in every fold
    wanted = np.tile([count[label] / n_folds for label in classes] + [len(names) / n_folds], (n_folds, 1))
    rarest = {
        group: min(count[label] for name in each for label in labels[name]) for group, each in members.items()
    }
    number = {}
    for group in sorted(
        members, key=lambda each: (-len(members[each]), rarest[each])
    ):  # stable: seeded order
        need = np.zeros(len(classes) + 1)
        for name in members[group]:
            need[[classes[label] for label in labels[name]]] += 1
        need[-1] = len(members[group])
        rare = 1 / np.array([*(count[label] for label in classes), len(names)])
        fold = int(np.argmax((wanted * need * rare).sum(axis=1)))
        wanted[fold] -= need
        number.update(dict.fromkeys(members[group], fold))
    return number


def _published(names: list[str], labels: Mapping[str, tuple[str, ...]], n_folds: int) -> dict[str, int]:
    from sklearn.model_selection import StratifiedKFold

    joined = [" ".join(labels[name]) for name in names]
    number = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # combinations of labels that occur once
        try:
            divided = list(StratifiedKFold(n_folds).split(joined, joined))
        except ValueError as error:
            raise DatasetError("empty-split", f"The pieces do not make {n_folds} folds: {error}") from error
    for fold, (_, test) in enumerate(divided):
        number.update({names[at]: fold for at in test.tolist()})
    return number
