"""A share of the training part, for learning curves over labels: whole groups, nested, every class.

The groups of a training part are put in one order that depends on nothing but the seed and the pieces; a
share takes the beginning of it. So the 10 % are among the 30 %, and what must not be split stays together.
Validation and test are left as they are. Where labels are of pieces, the order deals classes in turn: after
each group comes one of the class of which the least is there yet, so that a share holds every class that the
training part has (and more pieces than asked for, where there are fewer of them than classes) in nearly the
same proportions. Verified in ``tests/unit/corpus/splits/test_training_share.py``.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

import numpy as np

from musicbert.annotation.folds import Folds, rank
from musicbert.arrays import Floats
from musicbert.corpus.labelled.pieces import Task
from musicbert.corpus.labelled.shards import Shards
from musicbert.corpus.splits.task_folds import label_counts
from musicbert.errors import ConfigError


def check_share(share: float) -> None:
    """Raise `ConfigError` ``bad-share`` unless 0 < share <= 1."""
    if not 0 < share <= 1:
        raise ConfigError(
            "bad-share",
            f"{share:g} of the training part cannot be trained on",
            hint="give a share above 0 and up to 1, such as --train-share 0.3",
        )


def take_share(
    train: Sequence[str],
    groups: Mapping[str, str],
    share: float,
    *,
    seed: int | str = 7,
    counts: Floats | None = None,
) -> list[str]:
    """Take whole groups out of a training part: names in its order; all of them for a share of 1.

    The number of pieces nearest to ``share`` is taken, at least one group. With ``counts`` (what each piece
    holds of each class [shape=(n, C), float64]) a share holds every class; otherwise groups come in random
    order.

    Raises `ConfigError` ``bad-share``.
    """
    check_share(share)
    if share == 1 or not train:
        return list(train)
    members: defaultdict[str, list[int]] = defaultdict(list)
    for piece, name in enumerate(train):
        members[groups[name]].append(piece)
    order = sorted(members, key=lambda group: rank(seed, group))
    least = 1
    if counts is not None:
        order, least = _classes_in_turn(order, members, np.asarray(counts, np.float64))
    held = np.cumsum([len(members[group]) for group in order])
    # the nearest number of pieces grows with the share, so shares are nested
    taken = set(order[: max(int(np.argmin(np.abs(held - share * len(train)))) + 1, least)])
    return [name for name in train if groups[name] in taken]


def _classes_in_turn(
    order: Sequence[str], members: Mapping[str, Sequence[int]], counts: Floats
) -> tuple[list[str], int]:
    """Order of the groups, and how many of them hold every class.

    The next group is the first that holds the class of which the smallest share is there (among equals, the
    rarest); what has no class counts as one class more.
    """
    table = np.column_stack([counts, counts.sum(axis=1) == 0])  # (n, C + 1)
    table = table[:, table.any(axis=0)]
    total = table.sum(axis=0)
    content = {group: table[list(members[group])].sum(axis=0) / total for group in order}
    waiting = [deque(group for group in order if content[group][at]) for at in range(len(total))]
    held, ordered, least = np.zeros(len(total)), dict[str, None](), 0
    while len(ordered) < len(order):
        for queue in waiting:
            while queue and queue[0] in ordered:
                queue.popleft()
        behind = held.round(12)
        wanted = min(
            (at for at in range(len(total)) if waiting[at]), key=lambda at: (behind[at], total[at], at)
        )
        group = waiting[wanted].popleft()
        ordered[group] = None
        held += content[group]
        least = least or (len(ordered) if held.all() else 0)
    return list(ordered), least


def share_folds(
    shards: Shards, task: Task, folds: Folds, groups: Mapping[str, str], share: float, *, seed: int | str = 7
) -> Folds:
    """Keep a share of the training part of each fold; validation and test are left as they are.

    Labels of pieces are dealt class by class. Raises `ConfigError` ``bad-share``.
    """
    check_share(share)
    if share == 1:
        return {name: dict(fold) for name, fold in folds.items()}
    counts = None
    if task.level == "sequence" and task.kind != "regression":
        counts = label_counts(shards, task)
        counts[:, list(task.ignore)] = 0
    reduced: Folds = {}
    for name, fold in folds.items():
        train = fold["train"]
        rows = None if counts is None else counts[[shards.index[piece] for piece in train]]
        taken = take_share(train, groups, share, seed=f"{seed}/{name}/share", counts=rows)
        reduced[name] = {**fold, "train": taken}
    return reduced
