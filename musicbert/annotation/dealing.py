"""Four ways to deal whole groups to folds or parts, kept apart because published results depend on them.

All take the groups one after the other and differ in the order and in the choice of the fold:

======== ============================== ================================= =================================
strategy next group                     goes to the fold                  used by (published results)
======== ============================== ================================= =================================
size     the largest, ties by name      with the fewest pieces            ``k-fold`` of ratings
fill     the largest, ties by a hash    least full of the group's classes clean splits of the benchmark
excess   most of a rare class, then     of the least squared excess       clean folds of shards (`finetune`)
         by a hash
need     the largest, then the one      that lacks its labels most        ``grouped`` folds of genres
         with the rarest label
======== ============================== ================================= =================================

``need`` is the greedy rule of Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data",
ECML 2011, over groups. No strategy draws random numbers. Verified in
``tests/unit/annotation/test_dealing.py``.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256

import numpy as np

from musicbert.annotation.folds import rank
from musicbert.annotation.names import natural_key
from musicbert.arrays import Floats
from musicbert.errors import DatasetError

Seed = int | str
#: pieces of each group (indices), counts of classes [shape=(n, C)], shares of the folds [shape=(k,)], seed
Strategy = Callable[[Mapping[str, Sequence[int]], Floats, Floats, Seed], dict[str, int]]


def class_counts(labels: Sequence[Collection[object]]) -> Floats:
    """Table of 0 and 1 from the classes of each piece [shape=(n, C), float64], classes sorted by name."""
    classes = sorted({label for item_labels in labels for label in item_labels}, key=str)
    return np.array([[label in item_labels for label in classes] for item_labels in labels], np.float64)


def deal(
    strategy: str,
    groups: Mapping[str, str],
    folds: int | Sequence[float],
    *,
    counts: Floats | None = None,
    seed: Seed = 7,
) -> dict[str, int]:
    """Deal pieces to folds, whole groups at a time: ``{name: fold}``, in the order in which they are dealt.

    Parameters
    ----------
    strategy
        One of `STRATEGIES`.
    groups
        Group of each piece, by name. Only ``need`` depends on their order, which decides between equals.
    folds
        Number of folds; or the shares of parts, which only ``fill`` takes and which may outnumber the groups.
    counts
        What each piece holds of each class [shape=(n, C)], not negative; without, only pieces are counted.
    seed
        Order among equal groups (``fill``, ``excess``).

    Raises
    ------
    DatasetError
        ``too-few-groups`` for fewer groups than folds, or fewer than two folds.

    Examples
    --------
    >>> deal("size", {"a1": "a", "a2": "a", "b": "b", "c": "c"}, 2)
    {'a1': 0, 'a2': 0, 'b': 1, 'c': 1}
    """
    members: defaultdict[str, list[int]] = defaultdict(list)
    for piece, group in enumerate(groups.values()):
        members[group].append(piece)
    if isinstance(folds, int) and (folds < 2 or len(members) < folds):
        raise DatasetError(
            "too-few-groups",
            f"{len(members)} groups do not make {folds} folds",
            hint="ask for 2 folds or more, and for no more folds than groups",
        )
    shares = [1 / folds] * folds if isinstance(folds, int) else folds
    table = np.ones((len(groups), 1)) if counts is None else np.asarray(counts, np.float64)
    fold_of = STRATEGIES[strategy](members, table, np.asarray(shares, np.float64), seed)
    names = list(groups)
    return {names[piece]: fold for group, fold in fold_of.items() for piece in members[group]}


def _by_size(
    members: Mapping[str, Sequence[int]], _counts: Floats, shares: Floats, _seed: Seed
) -> dict[str, int]:
    load = [0] * len(shares)
    fold_of: dict[str, int] = {}
    for group in sorted(members, key=lambda name: (-len(members[name]), natural_key(name))):
        fold_of[group] = load.index(min(load))
        load[fold_of[group]] += len(members[group])
    return fold_of


def _by_fill(
    members: Mapping[str, Sequence[int]], counts: Floats, shares: Floats, seed: Seed
) -> dict[str, int]:
    def order(group: str) -> tuple[int, str]:
        return -len(members[group]), sha256(f"{seed}/{group}".encode()).hexdigest()

    totals, n = counts.sum(axis=0), len(counts)
    held, load = np.zeros((len(shares), counts.shape[1])), np.zeros(len(shares))
    fold_of: dict[str, int] = {}
    for group in sorted(members, key=order):
        content, size = counts[members[group]].sum(axis=0), len(members[group])
        classes = content > 0
        # how full each part would be of the group's classes, and then as a whole
        of_class = ((held + content)[:, classes] / (totals[classes] * shares[:, None])).max(axis=1).tolist()
        fill = ((load + size) / (n * shares)).tolist()
        fold = min(range(len(shares)), key=lambda k: (round(of_class[k], 9), round(fill[k], 9), k))
        held[fold] += content
        load[fold] += size
        fold_of[group] = fold
    return fold_of


def _by_excess(
    members: Mapping[str, Sequence[int]], counts: Floats, shares: Floats, seed: Seed
) -> dict[str, int]:
    # shares of the classes, and of the pieces as one class more
    table = np.column_stack([counts, np.ones(len(counts))])
    share = table / np.maximum(table.sum(axis=0), 1e-9)  # (n, C + 1)
    content = {group: share[pieces].sum(axis=0) for group, pieces in members.items()}
    load = np.zeros((len(shares), table.shape[1]))
    fold_of: dict[str, int] = {}
    for group in sorted(members, key=lambda name: (-round(content[name].max(), 12), rank(seed, name))):
        # squared excess over an even share; what is added now counts once in each fold
        cost = ((load + content[group]) ** 2 - load**2).sum(axis=1)
        fold_of[group] = int(np.argmin(np.round(cost, 12)))
        load[fold_of[group]] += content[group]
    return fold_of


def _by_need(
    members: Mapping[str, Sequence[int]], counts: Floats, shares: Floats, _seed: Seed
) -> dict[str, int]:
    table = np.column_stack([counts, np.ones(len(counts))])
    totals, k = table.sum(axis=0), len(shares)
    wanted = np.tile(totals / k, (k, 1))  # still wanted of each label, and of pieces, in every fold
    fold_of: dict[str, int] = {}

    def order(group: str) -> tuple[int, float]:
        classes = counts[members[group]].any(axis=0)
        return -len(members[group]), totals[:-1][classes].min()

    for group in sorted(members, key=order):  # stable: the order of the pieces
        need = table[members[group]].sum(axis=0)
        fold_of[group] = int(np.argmax((wanted * need * (1 / totals)).sum(axis=1)))
        wanted[fold_of[group]] -= need
    return fold_of


STRATEGIES: Mapping[str, Strategy] = {
    "size": _by_size,
    "fill": _by_fill,
    "excess": _by_excess,
    "need": _by_need,
}
