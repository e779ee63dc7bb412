"""Splits: pure functions from identifiers (and a seed) to folds.

A fold is ``{"train": [...], "valid": [...], "test": [...]}`` and folds are ``{"0": fold, "1": fold, ...}``;
the identifiers keep the order in which they came. Every choice is made by hashing names with the seed, so it
depends neither on that order nor on the machine. Every identifier is in exactly one part of a fold, except
where a rule says that it leaves some out.

| rule | test | shares with training |
|---|---|---|
| ``segment`` | the published segments of D960 | **everything**: the test's bars, by the same players |
| ``segment_clean`` | the same test | the performer; the rest of the test's content groups is left out |
| ``random`` | a tenth (or folds) of the segments | leaks the music and the performer, by design |
| ``performer`` | chosen performers, or each in turn | the music, not the performer |
| ``piece`` | each piece (movement) in turn | the performer, not the music |
| ``k-fold`` | content groups in ``n_folds`` folds | the performer, not the music |

Validation (``valid="groups"``) is carved out of the training part only: whole groups (content groups;
performers for ``performer``; single segments for ``random``), in a hashed order, until a tenth of the
training part is reached. So its groups meet neither the test nor what is left of training, and nothing is
ever selected on the test. ``valid="none"`` gives the two-way split that was published.

Verified by property tests in ``tests/unit/annotation/test_splits.py`` and against the published lists in
``tests/parity/test_splits_shared.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from musicbert.annotation.dealing import deal
from musicbert.annotation.folds import (
    Fold,
    Folds,
    Valid,
    carve_validation,
    leaks,
    rank,
    split_by_group,
    unique_ids,
)
from musicbert.annotation.names import content_groups, is_test_segment, natural_key, performer_of, piece_of
from musicbert.errors import DatasetError

__all__ = [
    "RULES",
    "Fold",
    "Folds",
    "Valid",
    "carve_validation",
    "leaks",
    "make_folds",
    "split_by_group",
    "split_k_fold",
    "split_performer",
    "split_piece",
    "split_random",
    "split_segment",
]

#: rules of `make_folds`
RULES = ("segment", "segment_clean", "random", "performer", "piece", "k-fold")


def split_segment(
    ids: Iterable[str],
    *,
    clean: bool = False,
    groups: Mapping[str, str] | None = None,
    seed: int | str = 7,
    valid: Valid = "groups",
    valid_fraction: float = 0.1,
) -> Folds:
    """The published segment split of D960 (657 training and 64 test segments of XAI-music).

    It leaks: 8-bar segments 5, 6, 19 and 20 of the scherzo are literal repeats of training segments by the
    same players. ``clean`` leaves the rest of the test's content groups out (460 training segments).
    """
    ids = unique_ids(ids)
    groups = content_groups(ids) if groups is None else groups
    if clean:
        tested = {groups[name] for name in ids if is_test_segment(name)}
        ids = [name for name in ids if is_test_segment(name) or groups[name] not in tested]
        if not ids:
            raise DatasetError("empty-split", "no content group is left for training")
    fold = split_by_group(ids, is_test_segment, groups, seed=seed, valid=valid, valid_fraction=valid_fraction)
    return {"0": fold}


def split_random(
    ids: Iterable[str],
    *,
    seed: int | str = 7,
    n_folds: int = 1,
    test_fraction: float = 0.1,
    valid: Valid = "groups",
    valid_fraction: float = 0.1,
) -> Folds:
    """Segments at random: one split, or ``n_folds`` folds. Leaks music and performers by design."""
    ids = unique_ids(ids)
    order = sorted(ids, key=lambda name: rank(seed, name))
    if n_folds > 1:
        if len(order) < n_folds:
            raise DatasetError("too-few-groups", f"{len(order)} segments do not make {n_folds} folds")
        tests = [order[k::n_folds] for k in range(n_folds)]
    else:  # the published rule: training is the first int(0.9 n)
        tests = [order[int((1 - test_fraction) * len(order)) :]]
    alone = {name: name for name in ids}
    return {
        str(k): split_by_group(
            ids, test, alone, seed=f"{seed}/{k}", valid=valid, valid_fraction=valid_fraction
        )
        for k, test in enumerate(tests)
    }


def split_performer(
    ids: Iterable[str],
    *,
    performers: Sequence[str] | None = ("12",),
    seed: int | str = 7,
    valid: Valid = "groups",
    valid_fraction: float = 0.1,
) -> Folds:
    """Held-out performers: one fold with ``performers`` (published: ``12``); ``None`` holds out each in turn.

    Folds of ``None`` come in natural order (0, 1, ..., 10, 12, Score). Raises `DatasetError`:
    ``unknown-performer`` when a performer plays no segment.
    """
    ids = unique_ids(ids)
    plays = {name: performer_of(name) for name in ids}
    there = sorted(set(plays.values()), key=natural_key)
    for performer in performers or ():
        if performer not in there:
            raise DatasetError(
                "unknown-performer",
                f"performer {performer!r} plays no segment",
                hint=f"there: {', '.join(there)}",
            )
    held = [{performer} for performer in there] if performers is None else [set(performers)]
    return {
        str(k): split_by_group(
            ids,
            [name for name in ids if plays[name] in out],
            plays,
            seed=f"{seed}/{k}",
            valid=valid,
            valid_fraction=valid_fraction,
        )
        for k, out in enumerate(held)
    }


def split_piece(
    ids: Iterable[str],
    *,
    groups: Mapping[str, str] | None = None,
    seed: int | str = 7,
    valid: Valid = "groups",
    valid_fraction: float = 0.1,
) -> Folds:
    """Each piece in turn as the test; validation is made of content groups of the other pieces."""
    ids = unique_ids(ids)
    groups = content_groups(ids) if groups is None else groups
    pieces = {name: piece_of(name) for name in ids}
    return {
        str(k): split_by_group(
            ids,
            [name for name in ids if pieces[name] == piece],
            groups,
            seed=f"{seed}/{k}",
            valid=valid,
            valid_fraction=valid_fraction,
        )
        for k, piece in enumerate(sorted(set(pieces.values()), key=natural_key))
    }


def split_k_fold(
    ids: Iterable[str],
    *,
    groups: Mapping[str, str] | None = None,
    n_folds: int = 8,
    seed: int | str = 7,
    valid: Valid = "groups",
    valid_fraction: float = 0.1,
) -> Folds:
    """Cross-validation over whole groups (default: content groups), dealt by ``size``."""
    ids = unique_ids(ids)
    groups = content_groups(ids) if groups is None else groups
    fold_of = deal("size", {name: groups[name] for name in ids}, n_folds)
    return {
        str(k): split_by_group(
            ids,
            [name for name in ids if fold_of[name] == k],
            groups,
            seed=f"{seed}/{k}",
            valid=valid,
            valid_fraction=valid_fraction,
        )
        for k in range(n_folds)
    }


def make_folds(
    rule: str,
    ids: Iterable[str],
    *,
    seed: int | str = 7,
    valid: Valid = "groups",
    valid_fraction: float = 0.1,
    groups: Mapping[str, str] | None = None,
    n_folds: int | None = None,
    performers: Sequence[str] | None = None,
) -> Folds:
    """Folds by the name of a rule (see the table above), for command lines.

    Parameters
    ----------
    rule
        One of `RULES`.
    ids
        Identifiers of the segments.
    seed, valid, valid_fraction
        Seed of the choices, way and share of the validation part.
    groups
        Own groups ``{id: group}`` instead of content groups.
    n_folds
        Folds of ``k-fold`` (default 8) and ``random`` (default 1).
    performers
        Test performers of ``performer``; each in turn if not given.

    Raises
    ------
    DatasetError
        ``unknown-split``, ``empty-split``, ``no-validation``, ``too-few-groups``, ``unknown-performer``,
        ``duplicate-id``.
    """
    common = {"seed": seed, "valid": valid, "valid_fraction": valid_fraction}
    if rule in ("segment", "segment_clean"):
        return split_segment(ids, clean=rule == "segment_clean", groups=groups, **common)  # type: ignore[arg-type]
    if rule == "random":
        return split_random(ids, n_folds=n_folds or 1, **common)  # type: ignore[arg-type]
    if rule == "performer":
        return split_performer(ids, performers=performers, **common)  # type: ignore[arg-type]
    if rule == "piece":
        return split_piece(ids, groups=groups, **common)  # type: ignore[arg-type]
    if rule == "k-fold":
        return split_k_fold(ids, groups=groups, n_folds=n_folds or 8, **common)  # type: ignore[arg-type]
    raise DatasetError("unknown-split", f"there is no split {rule!r}", hint=f"rules: {', '.join(RULES)}")
