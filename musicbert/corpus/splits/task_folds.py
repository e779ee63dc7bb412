"""Folds of labelled pieces: the published ones, and clean ones that share no music between their parts.

``clean``: whole groups are dealt to folds so that each has its share of every class; pieces that are nearly
the same (`musicbert.corpus.splits.similar`) count as one group, whatever their names say. A split that the
pieces came with is taken as it is, and what of it leaks is counted. Choices are hashed or sorted, so they
depend neither on the order of the pieces nor on the machine. Verified in
``tests/unit/corpus/test_task_folds.py``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicbert.annotation.dealing import deal
from musicbert.annotation.folds import PARTS, Fold, Folds, carve_validation
from musicbert.annotation.names import natural_key
from musicbert.arrays import Bools, Floats
from musicbert.corpus.labelled.pieces import NO_CLASS, Task
from musicbert.corpus.labelled.shards import Shards
from musicbert.corpus.splits.similar import NO_SIGNATURE, Groups, join_similar, signature
from musicbert.encoding.note_columns import note_columns
from musicbert.errors import DatasetError

__all__ = ["CLEAN", "clean_groups", "label_counts", "task_folds"]

CLEAN = "clean"
Validation = Literal["auto", "next", "carve"]


def clean_groups(shards: Shards) -> dict[str, str]:
    """Group of each piece, near-duplicates and equal rows joined: ``{name: group}``.

    A joined group has the first of its names.
    """
    n = len(shards)
    signatures = np.stack([_signature(shards, piece) for piece in range(n)])
    sets = Groups(n)
    telling = np.flatnonzero((signatures != NO_SIGNATURE).any(axis=1)).tolist()  # the others are too short
    order = np.array(sorted(telling, key=lambda piece: shards.pieces[piece].sha256), np.int64)
    join_similar(signatures, order, sets)
    for key in ("group", "sha256"):
        first: dict[str, int] = {}
        for piece, info in enumerate(shards.pieces):
            sets.join(first.setdefault(getattr(info, key), piece), piece)
    members: defaultdict[int, list[str]] = defaultdict(list)
    roots = sets.roots()
    for piece, root in enumerate(roots):
        members[int(root)].append(shards.pieces[piece].group)
    return {name: min(members[int(root)]) for name, root in zip(shards.names, roots, strict=True)}


def _signature(shards: Shards, piece: int) -> NDArray[np.uint32]:
    columns = note_columns(shards.rows(piece), shards.codec)
    order = np.argsort(columns.onset, kind="stable")
    return signature(columns.onset[order], columns.program[order], columns.pitch[order])


def label_counts(shards: Shards, task: Task) -> Floats:
    """How much of each class a piece holds [shape=(n, C), float64]; ones where classes mean nothing.

    Notes of a class, or 1 for the class of a piece; regression has one column of ones.
    """
    labels, count = shards.label(task.label), len(task.classes)
    if task.kind == "regression":
        return np.ones((len(shards), 1))
    if task.level == "sequence":
        if task.kind == "multilabel":
            return np.nan_to_num(np.asarray(labels, np.float64))
        table = np.zeros((len(shards), count + 1))
        table[np.arange(len(shards)), np.asarray(labels)] = 1  # the last column takes what is missing
        return table[:, :count]
    table = np.zeros((len(shards), count))
    for piece in range(len(shards)):
        own = shards.note_labels(task.label, piece)
        if task.kind == "multilabel":
            table[piece] = np.nansum(own, axis=0)
        else:
            table[piece] = np.bincount(own[own != NO_CLASS], minlength=count)
    return table


def task_folds(
    shards: Shards,
    task: Task,
    split: str = CLEAN,
    *,
    n_folds: int = 5,
    seed: int | str = 7,
    validation: Validation = "auto",
    share: float = 0.1,
) -> tuple[Folds, dict[str, str]]:
    """Folds of a task, ``{fold: {part: names}}``, and the groups by which leaks can be counted.

    Pieces without any label are left out.

    Parameters
    ----------
    split
        ``clean``, or the name of a split that the pieces came with: of ``train``, ``valid`` and ``test``, or
        of fold numbers. A split ``clean`` that the pieces came with (their reader knows what leaks) is taken
        as it is; otherwise ``n_folds`` are made. validation, share ``next``: the next fold (published for
        cross-validations); ``carve``: whole groups, ``share`` (0-1) of the training part; ``auto``: ``next``
        for published folds of three or more, else ``carve``.

    Raises
    ------
    DatasetError
        ``unknown-split``, ``bad-split``, ``too-few-groups``, ``no-validation``, ``empty-split``.
    """
    groups = clean_groups(shards)
    counts = label_counts(shards, task)
    labelled = {name for name, row in zip(shards.names, _has_label(shards, task), strict=True) if row}
    if split == CLEAN and CLEAN not in shards.split_names:
        names = [name for name in shards.names if name in labelled]
        rows = counts[[shards.index[name] for name in names]]
        dealt = {name: groups[name] for name in names}
        number = deal("excess", dealt, n_folds, counts=rows, seed=seed)
        part_of = {name: str(fold) for name, fold in number.items()}
    else:
        part_of = {name: part for name, part in shards.split(split).items() if name in labelled}
        if not part_of:
            known = ", ".join((CLEAN, *shards.split_names))
            raise DatasetError(
                "unknown-split", f"no piece has a split {split!r}; there are {known}", path=shards.path
            )
    if set(part_of.values()) <= set(PARTS):
        fold = {part: [name for name, own in part_of.items() if own == part] for part in PARTS}
        return {"0": _whole(fold, groups, f"{seed}/0", share, shards)}, groups
    wrong = sorted({part for part in part_of.values() if not part.isdecimal()})
    if wrong:
        raise DatasetError(
            "bad-split",
            f"split {split!r} has parts such as {wrong[0]!r} beside fold numbers",
            path=shards.path,
        )
    numbers = sorted(set(part_of.values()), key=natural_key)
    following = validation == "next" or (validation == "auto" and split != CLEAN and len(numbers) > 2)
    folds: Folds = {}
    for k, test in enumerate(numbers):
        held = numbers[(k + 1) % len(numbers)] if following else None
        fold = {part: [] for part in PARTS}
        for name, own in part_of.items():
            fold["test" if own == test else "valid" if own == held else "train"].append(name)
        folds[test] = _whole(fold, groups, f"{seed}/{test}", share, shards)
    return folds, groups


def _has_label(shards: Shards, task: Task) -> Bools:
    """Whether a piece has a label that is not ignored [shape=(n,)]."""
    labels = shards.label(task.label)
    if task.kind == "classes":
        each = (np.asarray(labels) != NO_CLASS) & ~np.isin(labels, task.ignore)
    else:
        each = ~np.isnan(labels).all(axis=1)
    if task.level == "sequence":
        return np.asarray(each)
    return np.array([each[a:b].any() for a, b in zip(shards.offsets, shards.offsets[1:], strict=False)], bool)


def _whole(fold: Fold, groups: Mapping[str, str], seed: str, share: float, shards: Shards) -> Fold:
    """Carve a validation part where there is none."""
    if not fold["train"] or not fold["test"]:
        raise DatasetError(
            "empty-split",
            f"the split leaves {len(fold['train'])} pieces for training and {len(fold['test'])} for the test",
            path=shards.path,
        )
    if fold["valid"]:
        return fold
    tested = {groups[name] for name in fold["test"]}
    train, valid = carve_validation(fold["train"], groups, seed=seed, fraction=share, forbidden=tested)
    return {"train": train, "valid": valid, "test": fold["test"]}
