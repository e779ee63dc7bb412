"""Which segments hold the same bars of music.

A split that keeps "the same music" on one side needs to know more than names. In Schubert's D960 a 16-bar
segment contains 8-bar segments (not always numbers 2k-1 and 2k: the pieces have upbeats and repeats), and
the scherzo (``mv3``) repeats itself literally. Both relations, measured note by note on the files of
XAI-music and closed transitively, leave 16 content groups, 9 in ``mv2`` and 7 in ``mv3``. For any other
piece the group is the region, i.e. the name without the performer.

Verified against the shared map of all 1,018 files in ``tests/parity/test_splits_shared.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from musicbert.annotation.names import parse_segment

__all__ = ["EIGHT_BAR_PARTS", "LITERAL_REPEATS", "content_group", "content_groups", "is_test_segment"]

#: movement of D960 -> number of a 16-bar segment -> numbers of the 8-bar segments inside
EIGHT_BAR_PARTS: dict[str, dict[int, tuple[int, ...]]] = {
    "mv2": {
        1: (1, 2), 2: (3, 4), 3: (5,), 4: (6, 7), 5: (8, 9), 6: (10, 11), 7: (12, 13), 8: (14, 15),
        9: (16, 17),
    },
    "mv3": {
        1: (1, 2), 2: (3, 4), 3: (5, 6), 4: (7, 8), 5: (9, 10), 6: (11,), 7: (12, 13), 8: (14, 15),
        9: (16, 17), 10: (18, 19, 20), 11: (21, 22), 12: (23, 24), 13: (25, 26), 14: (27, 28),
        15: (29, 30), 16: (31, 32), 17: (33, 34), 18: (35, 36), 19: (37,),
    },
}  # fmt: skip

#: movement of D960 -> 8-bar segments that are the same bars of the score played again
LITERAL_REPEATS: dict[str, tuple[tuple[int, ...], ...]] = {
    "mv2": (),
    "mv3": (
        (1, 27), (2, 28), (3, 12, 29), (4, 13, 30), (5, 14, 31), (6, 15, 32), (7, 16, 33), (8, 17, 34),
        (9, 18, 35), (10, 19, 36), (11, 20, 37), (21, 22), (23, 25), (24, 26),
    ),
}  # fmt: skip

#: (movement, bars) -> numbers of the published test segments
_PUBLISHED_TEST: dict[tuple[str, int], frozenset[int]] = {
    ("mv3", 16): frozenset({3, 10}),
    ("mv3", 8): frozenset({5, 6, 19, 20}),
    ("mv2", 16): frozenset({7}),
    ("mv2", 8): frozenset({13, 14}),
}
_D960 = "Schubert_D960"


@cache
def _d960_groups(movement: str) -> dict[tuple[int, int], int]:
    """(bars, number) -> first 8-bar number of its content group, by joining everything that shares bars."""
    parts = EIGHT_BAR_PARTS[movement]
    first: dict[tuple[int, int], int] = {(8, n): n for inside in parts.values() for n in inside}
    links = (*parts.values(), *LITERAL_REPEATS[movement])
    changed = True
    while changed:  # each pass spreads the smallest number along the links; a handful of passes settles it
        changed = False
        for link in links:
            smallest = min(first[8, n] for n in link)
            for n in link:
                changed |= first[8, n] != smallest
                first[8, n] = smallest
    return first | {(16, n): first[8, inside[0]] for n, inside in parts.items()}


def content_group(name: str) -> str:
    """Name of the content group of a segment.

    Two segments in different groups share no bar of the score.

    Returns
    -------
    str
        The group's first 8-bar region for D960, such as ``Schubert_D960_mv3_8bars_3``; otherwise the region.

    Raises
    ------
    RatingError
        ``bad-name`` (see `parse_segment`).
    """
    segment = parse_segment(name)
    if segment.work == _D960 and segment.movement in EIGHT_BAR_PARTS:
        first = _d960_groups(segment.movement).get((segment.bars, segment.number))
        if first is not None:
            return f"{segment.piece}_8bars_{first}"
    return segment.region


def content_groups(ids: Iterable[str]) -> dict[str, str]:
    """Content group of every segment: ``{id: group}``."""
    return {name: content_group(name) for name in ids}


def is_test_segment(name: str) -> bool:
    """Whether the published segment split tests on this segment."""
    segment = parse_segment(name)
    if segment.work != _D960:
        return False
    return segment.number in _PUBLISHED_TEST.get((segment.movement, segment.bars), ())
