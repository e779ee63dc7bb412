"""The published validation part of BP and DbP: the last 500 segments of train go to valid.

Verified in ``tests/unit/corpus/readers/test_published_tail.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from musicbert.corpus.labelled.pieces import BeatNotes, LabelledPiece

__all__ = ["move_tail"]


def move_tail(
    pieces: Sequence[LabelledPiece], *, window: int = 1024, segments: int = 500, split: str = "published"
) -> list[LabelledPiece]:
    """Move the last segments of train to valid, as the published program does.

    The piece at the border is cut in two, ``<name>`` and ``<name>#tail``: music of one piece then lies in two
    parts.

    Parameters
    ----------
    pieces
        All pieces, in the published order; notes in beats.
    window
        Notes of a segment.
    segments
        How many are moved; at least one stays.
    split
        Split that is changed.

    Returns
    -------
    The pieces in the same order, the cut one as two.
    """
    left = segments
    changed: list[LabelledPiece] = []
    train = [index for index, piece in enumerate(pieces) if piece.splits.get(split) == "train"]
    for index in range(len(pieces) - 1, -1, -1):
        piece = pieces[index]
        if left <= 0 or piece.splits.get(split) != "train":
            changed.append(piece)
            continue
        count = -(-len(piece.notes) // window)
        moved = min(count, left, count - 1 if index == train[0] else count)
        left = left - moved if index != train[0] else 0
        cut = (count - moved) * window
        head, tail = (slice(0, cut), slice(cut, None)) if cut else (None, slice(None))
        if moved:
            name = piece.name if head is None else f"{piece.name}#tail"
            changed.append(_part(piece, tail, name, {**piece.splits, split: "valid"}))
        if head is not None:
            changed.append(_part(piece, head, piece.name, piece.splits) if moved else piece)
    return changed[::-1]


def _part(piece: LabelledPiece, at: slice, name: str, splits: Any) -> LabelledPiece:
    notes = piece.notes
    if not isinstance(notes, BeatNotes):
        raise TypeError("only notes in beats are cut")
    cut = BeatNotes(notes.onset[at], notes.offset[at], notes.pitch[at], notes.velocity[at])
    labels = {
        key: values[at] if isinstance(values, np.ndarray) and len(values) == len(notes) else values
        for key, values in piece.labels.items()
    }
    return replace(piece, name=name, notes=cut, labels=labels, splits=splits)
