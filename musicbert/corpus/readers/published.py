"""Published splits: lists, the rule of five folds, and the validation part of BP and DbP.

The lists (`published_splits.json`) are those of MIDI-BERT, which M2BERT's benchmark takes over, and PM2S's.
Verified in ``tests/parity/test_readers_golden.py`` and ``tests/unit/corpus/readers/test_published.py``.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.encoding.beat_notes import BeatNotes

_POP909 = {"t": "train", "v": "valid", "e": "test", "3": "train_3beat"}


@cache
def _lists() -> dict[str, Any]:
    text = files("musicbert.corpus.readers").joinpath("published_splits.json").read_text(encoding="utf-8")
    lists: dict[str, Any] = json.loads(text)
    return lists


def pop909_part(song: int) -> str | None:
    """Return the published part of a song of POP909 (1 to 909): None where it was left out."""
    parts: str = _lists()["pop909"]["parts"]
    return _POP909.get(parts[song - 1]) if 1 <= song <= len(parts) else None


def asap_pieces(kind: str) -> tuple[str, ...]:
    """Return folders of ASAP: ``asap_scores`` (pre-trained on) or ``asap_valid`` (PM2S's validation)."""
    return tuple(_lists()[kind])


@cache
def _named(source: str) -> Mapping[str, str]:
    return {name: part for part in ("valid", "test") for name in _lists()[source][part]}


def part_of_name(source: str, name: str) -> str:
    """Return the published part of a piece of ``pianist8`` or ``emopia``, by its name without extension."""
    return _named(source).get(name, "train")


def five_folds(paths: Mapping[str, str], folds: int = 5) -> dict[str, str]:
    """Divide pieces by the published rule: ``{path: fold number as text}``, from ``{path: class}``.

    Pieces are sorted by path (``test/...`` before ``train/...`` before ``valid/...``); the i-th of the n
    pieces of a class goes to fold ``i * 5 // n``. Fold k is tested, fold (k + 1) % 5 selects, the others are
    trained on.

    Examples
    --------
    >>> five_folds({"train/a": "x", "train/b": "x", "test/c": "x"}, folds=3)
    {'test/c': '0', 'train/a': '1', 'train/b': '2'}
    """
    size = Counter(paths.values())
    seen: Counter[str] = Counter()
    fold_of = {}
    for path in sorted(paths):
        kind = paths[path]
        fold_of[path] = str(seen[kind] * folds // size[kind])
        seen[kind] += 1
    return fold_of


def move_tail(
    pieces: Sequence[LabelledPiece], *, window: int = 1024, segments: int = 500, split: str = "published"
) -> list[LabelledPiece]:
    """Move the last segments (of ``window`` notes) of train to valid, as the published program does.

    The pieces come in the published order and keep it, with notes in beats. The one at the border is cut in
    two, ``<name>`` and ``<name>#tail``: music of one piece then lies in two parts. At least one segment
    stays.
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
