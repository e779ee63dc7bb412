"""Clean splits: whole groups go to one part or fold, balanced over classes, with no chance in it.

Groups (songs, compositions, near-duplicates) are dealt the largest first, ties by a hash of the name, each to
the part that is furthest below its share of the group's classes. Verified in
``tests/unit/corpus/readers/test_division.py``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256

from musicbert.annotation.folds import PARTS

__all__ = ["PARTS", "clean_folds", "clean_parts"]

#: Shares of train, valid and test where the published split gives none.
SHARES = (0.8, 0.1, 0.1)


def clean_parts(
    groups: Mapping[str, str],
    classes: Mapping[str, object] | None = None,
    *,
    shares: Sequence[float] = SHARES,
    seed: str = "clean",
) -> dict[str, str]:
    """Deal pieces to train, valid and test: ``{name: part}``.

    Parameters
    ----------
    groups
        Group of each piece, by the name of the piece.
    classes
        Class of each piece, to be balanced (default: only counts are).
    shares
        Share of each of `PARTS`.
    seed
        Order of groups of one size.

    Examples
    --------
    >>> clean_parts({"a1": "a", "a2": "a", "b": "b", "c": "c"}, shares=(0.5, 0.25, 0.25))
    {'a1': 'train', 'a2': 'train', 'b': 'valid', 'c': 'test'}
    """
    return {name: PARTS[part] for name, part in _deal(groups, classes, shares, seed).items()}


def clean_folds(
    groups: Mapping[str, str],
    classes: Mapping[str, object] | None = None,
    *,
    folds: int = 5,
    seed: str = "clean",
) -> dict[str, str]:
    """Deal pieces to folds of similar size and classes: ``{name: fold number}``, as `clean_parts` does."""
    dealt = _deal(groups, classes, [1 / folds] * folds, seed)
    return {name: str(fold) for name, fold in dealt.items()}


def _deal(
    groups: Mapping[str, str], classes: Mapping[str, object] | None, shares: Sequence[float], seed: str
) -> dict[str, int]:
    class_of = classes or dict.fromkeys(groups, 0)
    counts: defaultdict[str, Counter[object]] = defaultdict(Counter)
    for name, group in groups.items():
        counts[group][class_of[name]] += 1
    totals = Counter(class_of[name] for name in groups)
    held: list[Counter[object]] = [Counter() for _ in shares]

    def rank(group: str) -> tuple[int, str]:
        return -counts[group].total(), sha256(f"{seed}/{group}".encode()).hexdigest()

    part_of: dict[str, int] = {}
    for group in sorted(counts, key=rank):
        content = counts[group]

        def fill(part: int, content: Counter[object] = content) -> tuple[float, float]:
            """How full the part would be of the group's classes, and then as a whole."""
            of_class = max((held[part][c] + n) / (totals[c] * shares[part]) for c, n in content.items())
            whole = (held[part].total() + content.total()) / (len(groups) * shares[part])
            return round(of_class, 9), round(whole, 9)

        part = min(range(len(shares)), key=lambda each: (*fill(each), each))
        held[part].update(content)
        part_of[group] = part
    return {name: part_of[group] for name, group in groups.items()}
