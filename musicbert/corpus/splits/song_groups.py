"""Versions of one song under several names: groups by content, and clean splits made anew from them.

Names do not tell that two files are arrangements or performances of one song. `content_groups` joins what
shares melody fragments (`musicbert.corpus.splits.near_duplicates`); `leaks` counts what a split lets through;
`regroup` makes the clean split of a set again, with whole groups in one part. Verified in
``tests/unit/corpus/splits/test_song_groups.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.annotation.dealing import class_counts, deal
from musicbert.annotation.folds import PARTS
from musicbert.arrays import Ints
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.splits.near_duplicates import NO_SIGNATURE, joined, signature
from musicbert.encoding import content_md5
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.encoding.quantise import positions
from musicbert.midi import Score

#: Positions of a quarter note in signatures.
_POSITIONS = 16
#: Fewest onsets of a piece that may be a version of another: cadences of a few bars are alike by chance.
_FEWEST = 48
#: Program of percussion in signatures.
_PERCUSSION = 128


#: Shares of train, valid and test where the published split gives none.
SHARES = (0.8, 0.1, 0.1)


def clean_parts(groups: Mapping[str, str], *, shares: Sequence[float] = SHARES) -> dict[str, str]:
    """Deal whole groups of pieces to train, valid and test by their shares: ``{name: part}``.

    Examples
    --------
    >>> clean_parts({"a1": "a", "a2": "a", "b": "b", "c": "c"}, shares=(0.5, 0.25, 0.25))
    {'a1': 'train', 'a2': 'train', 'b': 'test', 'c': 'valid'}
    """
    dealt = deal("fill", groups, shares, seed="clean")
    return {name: PARTS[dealt[name]] for name in groups}


def clean_folds(
    groups: Mapping[str, str], classes: Mapping[str, object] | None = None, *, folds: int = 5
) -> dict[str, str]:
    """Deal whole groups of pieces to folds of similar size and classes: ``{name: number of the fold}``."""
    counts = class_counts([(classes[name],) for name in groups]) if classes else None
    dealt = deal("fill", groups, [1 / folds] * folds, counts=counts, seed="clean")
    return {name: str(dealt[name]) for name in groups}


def content_groups(pieces: Sequence[LabelledPiece]) -> list[str]:
    """Group of each piece: named after the first piece of those that share a group or melody fragments."""
    if not pieces:
        return []
    signatures = np.stack([_signature(piece) for piece in pieces])
    comparable = np.flatnonzero((signatures != NO_SIGNATURE).any(axis=1))
    roots = joined(signatures, comparable, [piece.group for piece in pieces])
    return [pieces[root].group for root in roots.tolist()]


def _signature(piece: LabelledPiece) -> np.ndarray[Any, np.dtype[np.uint32]]:
    notes = piece.notes
    if isinstance(notes, BeatNotes):
        onset = np.rint((notes.onset - notes.onset.min()) * _POSITIONS).astype(np.int64)
        program = np.zeros(len(notes), np.int64)
    else:
        onset = np.rint(notes.onset * _POSITIONS / notes.ticks_per_beat).astype(np.int64)
        program = np.where(notes.drum, _PERCUSSION, notes.program)
    if len(np.unique(onset)) < _FEWEST:
        return NO_SIGNATURE
    order = np.argsort(onset, kind="stable")
    return signature(onset[order], program[order], notes.pitch[order])


def leaks(pieces: Sequence[LabelledPiece], groups: Sequence[str], split: str) -> dict[str, int]:
    """Count what a split lets through: ``groups``, ``tested`` and ``pieces``.

    ``groups`` of more than one piece lie in more than one part; ``tested`` pieces outside train (of folds:
    all) have another version in another part; ``pieces`` are in the split.
    """
    parts: dict[str, set[str]] = {}
    for piece, group in zip(pieces, groups, strict=True):
        if split in piece.splits:
            parts.setdefault(group, set()).add(piece.splits[split])
    tested = sum(
        len(parts[group]) > 1 and piece.splits[split] != "train"
        for piece, group in zip(pieces, groups, strict=True)
        if split in piece.splits
    )
    return {
        "groups": sum(len(part) > 1 for part in parts.values()),
        "tested": tested,
        "pieces": sum(split in piece.splits for piece in pieces),
    }


def regroup(
    pieces: Sequence[LabelledPiece], *, split: str = "clean", label: str | None = None
) -> list[LabelledPiece]:
    """Give pieces the groups of their content, and make the split anew where these leak through it.

    A group in several parts goes as a whole to the part that holds most of it (ties: the later one, so that
    training loses rather than gains); folds are dealt anew altogether, balanced over the classes of
    ``label``. Pieces in no part stay so.
    """
    groups = content_groups(pieces)
    inside = [index for index, piece in enumerate(pieces) if split in piece.splits]
    if leaks(pieces, groups, split)["groups"] == 0:
        dealt = {index: pieces[index].splits[split] for index in inside}
    elif all(pieces[index].splits[split] in PARTS for index in inside):
        dealt = _majority(pieces, groups, inside, split)
    else:
        names = {str(index): groups[index] for index in inside}
        classes = {str(index): pieces[index].labels[label] for index in inside} if label else None
        folds = len({pieces[index].splits[split] for index in inside})
        dealt = {int(name): fold for name, fold in clean_folds(names, classes, folds=folds).items()}
    return [
        replace(piece, group=groups[index], splits={**piece.splits, split: dealt[index]})
        if index in dealt
        else replace(piece, group=groups[index])
        for index, piece in enumerate(pieces)
    ]


def _majority(
    pieces: Sequence[LabelledPiece], groups: Sequence[str], inside: Sequence[int], split: str
) -> dict[int, str]:
    counts: dict[str, dict[str, int]] = {}
    for index in inside:
        count = counts.setdefault(groups[index], dict.fromkeys(PARTS, 0))
        count[pieces[index].splits[split]] += 1
    part_of = {
        group: max(PARTS, key=lambda part: (count[part], PARTS.index(part)))
        for group, count in counts.items()
    }
    return {index: part_of[groups[index]] for index in inside}


def song_marks(score: Score, rows: Ints, note_index: Ints) -> tuple[str, NDArray[np.uint32]]:
    """Return what tells songs apart: the content hash and the signature of the melody."""
    onset = positions(score.onset[note_index], score.ticks_per_beat)
    return content_md5(rows), signature(onset, rows[:, 2], rows[:, 3])


def song_groups(
    names: Sequence[str], contents: Sequence[str], signatures: Sequence[NDArray[np.uint32]]
) -> list[str]:
    """Group of each piece (distinct names; contents and signatures of `song_marks` in their order)."""
    if not names:
        return []
    order = sorted(range(len(names)), key=names.__getitem__)
    table = np.array([signatures[at] for at in order], np.uint32)
    comparable = np.flatnonzero((table != NO_SIGNATURE).any(axis=1))
    roots = joined(table, comparable, [contents[at] for at in order])  # in sorted order: the first name
    result = [""] * len(names)
    for place, root in enumerate(roots.tolist()):
        result[order[place]] = names[order[root]]
    return result
