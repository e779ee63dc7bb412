"""Folds of labelled pieces: the published ones, and clean ones that share no music between their parts.

``clean``: whole groups are dealt to folds so that each has its share of every class; pieces that are nearly
the same (`near_duplicates.py`) count as one group, whatever their names say. A split that the
pieces came with is taken as it is, and what of it leaks is counted. Choices are hashed or sorted, so they
depend neither on the order of the pieces nor on the machine.

Genres (several labels a piece): ``grouped`` deals whole songs, all versions of one, so that every label is
spread evenly; ``published`` is scikit-learn's ``StratifiedKFold`` on the joined labels over the files in
random order, as MusicBERT does it (there without a seed), where versions of a song can be trained on and
tested. Verified in ``tests/unit/corpus/splits/test_task_folds.py`` and ``test_genre.py``.
"""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicbert.annotation.dealing import class_counts, deal
from musicbert.annotation.folds import PARTS, Fold, Folds, Valid, carve_validation, rank
from musicbert.annotation.names import natural_key
from musicbert.arrays import Bools, Floats
from musicbert.corpus.labelled.pieces import NO_CLASS, Task
from musicbert.corpus.labelled.shards import Shards
from musicbert.corpus.splits.near_duplicates import NO_SIGNATURE, joined, signature
from musicbert.encoding.note_columns import note_columns
from musicbert.errors import DatasetError

CLEAN = "clean"
Validation = Literal["auto", "next", "carve"]


def clean_groups(shards: Shards) -> dict[str, str]:
    """Group of each piece, near-duplicates and equal rows joined: ``{name: group}``.

    A joined group has the first of its names.
    """
    pieces = shards.pieces
    signatures = np.stack([_signature(shards, piece) for piece in range(len(shards))])
    telling = np.flatnonzero((signatures != NO_SIGNATURE).any(axis=1)).tolist()  # the others are too short
    order = np.array(sorted(telling, key=lambda piece: pieces[piece].sha256), np.int64)
    keys = [piece.group for piece in pieces], [piece.sha256 for piece in pieces]
    roots = joined(signatures, order, *keys).tolist()
    members: defaultdict[int, list[str]] = defaultdict(list)
    for root, group in zip(roots, keys[0], strict=True):
        members[root].append(group)
    return {name: min(members[root]) for name, root in zip(shards.names, roots, strict=True)}


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
        piece_labels = shards.note_labels(task.label, piece)
        if task.kind == "multilabel":
            table[piece] = np.nansum(piece_labels, axis=0)
        else:
            table[piece] = np.bincount(piece_labels[piece_labels != NO_CLASS], minlength=count)
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
    others: Sequence[Task] = (),
) -> tuple[Folds, dict[str, str]]:
    """Folds of a task, ``{fold: {part: names}}``, and the groups by which leaks can be counted.

    Pieces without any label are left out.

    ``split``: ``clean``, or the name of a split that the pieces came with: of ``train``, ``valid`` and
    ``test``, or of fold numbers. A split ``clean`` that the pieces came with (their reader knows what leaks)
    is taken as it is; otherwise ``n_folds`` are made. validation, share ``next``: the next fold (published
    for cross-validations); ``carve``: whole groups, ``share`` (0-1) of the training part; ``auto``: ``next``
    for published folds of three or more, else ``carve``. ``others``: further labels that count as labels.
    Raises `DatasetError` (``unknown-split``, ``bad-split``, ``too-few-groups``, ``no-validation``,
    ``empty-split``).
    """
    groups = clean_groups(shards)
    counts = np.hstack([label_counts(shards, each) for each in (task, *others)])
    has_label = np.any([_has_label(shards, each) for each in (task, *others)], axis=0)
    labelled = {name for name, row in zip(shards.names, has_label, strict=True) if row}
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
        fold = {part: [name for name, assigned in part_of.items() if assigned == part] for part in PARTS}
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
        for name, assigned in part_of.items():
            fold["test" if assigned == test else "valid" if assigned == held else "train"].append(name)
        folds[test] = _whole(fold, groups, f"{seed}/{test}", share, shards)
    return folds, groups


def unlearnable(shards: Shards, task: Task, folds: Mapping[str, Fold]) -> list[str]:
    """Say in sentences which labels cannot be learned or tested with these folds, with counts per fold."""
    if task.kind == "regression":
        values = np.asarray(shards.label(task.label), np.float64).reshape(-1, len(task.classes))
        same = [np.unique(column[~np.isnan(column)]).size < 2 for column in values.T]
        names = [name for name, is_same in zip(task.classes, same, strict=True) if is_same]
        return [f"all labels of {', '.join(names)} are equal: there is nothing to learn"] if names else []
    counts = label_counts(shards, task) > 0
    kept = [k for k in range(len(task.classes)) if k not in task.ignore]
    pieces = counts[[shards.index[name] for fold in folds.values() for part in PARTS for name in fold[part]]]
    used = [k for k in kept if pieces[:, k].any()]
    if task.kind == "classes" and len(used) < 2:
        name = task.classes[used[0]] if used else "missing"
        return [f"all labels are {name}: there is nothing to learn"]
    total = counts.sum(axis=0)
    single = [task.classes[k] for k in kept if total[k] == 1]
    unit = "piece" if task.level == "sequence" else "piece with such notes"
    problems = []
    if single:
        verb = "class has" if len(single) == 1 else "classes have"
        problems.append(
            f"{len(single)} {verb} one {unit} each ({_few(single)}): what is tested is never in training"
        )
    for name, fold in folds.items():
        inside = {part: counts[[shards.index[piece] for piece in fold[part]]].sum(axis=0) for part in PARTS}
        for part, other in (("train", "test"), ("test", "train")):
            missing = [f"{task.classes[k]} ({inside[other][k]})" for k in kept if not inside[part][k]]
            if missing:
                problems.append(
                    f"fold {name}: {len(missing)} of {len(kept)} classes have no {part} piece: "
                    f"{_few(missing)}; in brackets: {other} pieces"
                )
    return problems


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


def _has_label(shards: Shards, task: Task) -> Bools:
    """Whether a piece has a label that is not ignored [shape=(n,)]."""
    labels = shards.label(task.label)
    if task.kind == "classes":
        labelled = (np.asarray(labels) != NO_CLASS) & ~np.isin(labels, task.ignore)
    else:
        labelled = ~np.isnan(labels).all(axis=1)
    if task.level == "sequence":
        return np.asarray(labelled)
    return np.array([labelled[start:stop].any() for start, stop in pairwise(shards.offsets)], bool)


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
    otherwise = "--validation next (of three folds or more), or a split with a part valid (--split-column)"
    train, valid = carve_validation(
        fold["train"], groups, seed=seed, fraction=share, forbidden=tested, otherwise=otherwise
    )
    return {"train": train, "valid": valid, "test": fold["test"]}


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
