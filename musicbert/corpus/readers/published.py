"""Published split lists and the published rule of five folds.

The lists (`published_splits.json`) are those of MIDI-BERT, which M2BERT's benchmark takes over, and PM2S's.
Verified in
``tests/parity/test_readers_golden.py``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["asap_pieces", "five_folds", "part_of_name", "pop909_part"]

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
    """Divide pieces by the published rule: ``{path: fold number as text}``.

    Pieces are sorted by path (``test/...`` before ``train/...`` before ``valid/...``); the i-th of the n
    pieces of a class goes to fold ``i * 5 // n``. Fold k is tested, fold (k + 1) % 5 selects, the other three
    are trained on.

    Parameters
    ----------
    paths
        Class of each path ``<part>/...``.
    folds
        Number of folds.

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
