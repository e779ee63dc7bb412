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

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from musicbert.annotation.dealing import deal
from musicbert.annotation.folds import (
    Folds,
    Valid,
    rank,
    split_by_group,
    unique_ids,
)
from musicbert.annotation.names import content_groups, is_test_segment, natural_key, performer_of, piece_of
from musicbert.errors import DatasetError

#: rules of `make_folds`
RULES = ("segment", "segment_clean", "random", "performer", "piece", "k-fold")
#: share of the segments that `random` tests
_TEST_SHARE = 0.1


def _random_tests(ids: Sequence[str], seed: int | str, n_folds: int) -> list[list[str]]:
    order = sorted(ids, key=lambda name: rank(seed, name))
    if n_folds == 1:  # the published rule: training is the first int(0.9 n)
        return [order[int((1 - _TEST_SHARE) * len(order)) :]]
    if len(order) < n_folds:
        raise DatasetError("too-few-groups", f"{len(order)} segments do not make {n_folds} folds")
    return [order[k::n_folds] for k in range(n_folds)]


def _performer_tests(plays: Mapping[str, str], performers: Sequence[str] | None) -> list[list[str]]:
    """Segments of the performers, or of each in turn, in natural order (0, 1, ..., 10, 12, Score)."""
    names = sorted(set(plays.values()), key=natural_key)
    for performer in performers or ():
        if performer not in names:
            raise DatasetError(
                "unknown-performer",
                f"performer {performer!r} plays no segment",
                hint=f"there: {', '.join(names)}",
            )
    held = [{performer} for performer in names] if performers is None else [set(performers)]
    return [[name for name in plays if plays[name] in out] for out in held]


def _without_tested_groups(ids: Sequence[str], groups: Mapping[str, str]) -> list[str]:
    tested = {groups[name] for name in ids if is_test_segment(name)}
    kept = [name for name in ids if is_test_segment(name) or groups[name] not in tested]
    if not kept:
        raise DatasetError("empty-split", "no content group is left for training")
    return kept


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
    players: Mapping[str, str] | None = None,
) -> Folds:
    """Folds of segments by the name of a rule (see the table above).

    ``groups`` are used instead of content groups and pieces, ``players`` instead of the performers that the
    names of the segments say (both by segment): a study of one's own has them. ``n_folds`` is for ``k-fold``
    (default 8) and ``random`` (default 1); ``performers`` are the test performers of ``performer`` (default:
    each in turn). ``valid`` and ``valid_fraction`` (0-1) say how validation is carved out of training.

    Raises `DatasetError`: ``unknown-split``, ``empty-split``, ``no-validation``, ``too-few-groups``,
    ``unknown-performer``, ``duplicate-id``.
    """
    ids = unique_ids(ids)
    if rule not in RULES:
        raise DatasetError("unknown-split", f"there is no split {rule!r}", hint=f"rules: {', '.join(RULES)}")
    tests: Sequence[Callable[[str], bool] | Collection[str]]
    if rule == "random":
        group_of: Mapping[str, str] = {name: name for name in ids}
        tests = _random_tests(ids, seed, n_folds or 1)
    elif rule == "performer":
        group_of = {name: performer_of(name) if players is None else players[name] for name in ids}
        tests = _performer_tests(group_of, performers)
    else:
        group_of = content_groups(ids) if groups is None else groups
        if rule in ("segment", "segment_clean"):
            if groups is not None:
                raise DatasetError(
                    "unknown-split",
                    f"the split {rule!r} is that of the published segments",
                    hint="a study of your own: k-fold, piece, performer or random, or a file of folds",
                )
            ids = _without_tested_groups(ids, group_of) if rule == "segment_clean" else ids
            fold = split_by_group(
                ids, is_test_segment, group_of, seed=seed, valid=valid, valid_fraction=valid_fraction
            )
            return {"0": fold}
        if rule == "piece":
            of = {name: piece_of(name) if groups is None else groups[name] for name in ids}
            pieces = sorted(set(of.values()), key=natural_key)
            tests = [[name for name in ids if of[name] == piece] for piece in pieces]
        else:
            dealt = deal("size", {name: group_of[name] for name in ids}, n_folds or 8)
            tests = [[name for name in ids if dealt[name] == k] for k in range(n_folds or 8)]
    return {
        str(k): split_by_group(
            ids, test, group_of, seed=f"{seed}/{k}", valid=valid, valid_fraction=valid_fraction
        )
        for k, test in enumerate(tests)
    }
