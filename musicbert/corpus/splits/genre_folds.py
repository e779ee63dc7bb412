"""Folds of pieces with several labels each.

``grouped``: whole songs (all versions of one) are dealt by ``need`` (`musicbert.annotation.dealing`), so that
every label is spread evenly. ``published``: scikit-learn's ``StratifiedKFold`` on the joined labels, over the
files in random order, as MusicBERT does it (there without a seed); versions of a song can be trained on and
tested, which `leaks` counts. Verified in ``tests/unit/corpus/test_genre.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from musicbert.annotation.dealing import class_counts, deal
from musicbert.annotation.folds import Fold, Folds, Valid, carve_validation, rank
from musicbert.errors import DatasetError

__all__ = ["RULES", "genre_folds"]

#: name -> what is wrong with it, if anything
RULES = {"grouped": "", "published": "versions of a song lie in training and test (leak)"}


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
    """Divide pieces into folds by a rule of `RULES`; labels and songs (``groups``) are by name.

    ``valid="groups"`` takes whole songs out of training for validation, about ``valid_fraction`` of it;
    ``"none"`` leaves validation empty. Raises `DatasetError`: ``empty-split`` for fewer songs than folds,
    ``no-validation``.
    """
    if rule not in RULES:
        raise ValueError(f"rule is one of {', '.join(RULES)}, not {rule!r}")
    names = sorted(labels, key=lambda name: rank(seed, name))
    if n_folds < 2 or len({groups[name] for name in names}) < n_folds:
        raise DatasetError("empty-split", f"{len(names)} pieces do not make {n_folds} folds")
    if rule == "grouped":
        counts = class_counts([labels[name] for name in names])
        number = deal("need", {name: groups[name] for name in names}, n_folds, counts=counts)
    else:
        number = _published(names, labels, n_folds)
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
