"""Which files stay, which are versions of one song, and which split each is in.

All three depend on the files alone: not on the number of workers, nor on the order in which they ended. The
published way is files in random order, cut at 98 and 99 of 100, train processed first, and of files with the
same programs and pitches the first processed stays. Here the random order is that of a seeded hash, and
"first" means: in train before valid before test, and there in the order of the sources. Groups of
near-duplicates (and of equal content) go where the member with the smallest content hash falls, which favours
no split.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.builder.index import Index
from musicbert.corpus.builder.options import SPLITS, BuildOptions
from musicbert.corpus.splits.similar import NO_SIGNATURE, Groups, join_similar

__all__ = ["divide"]

#: Signatures looked up at once.
_BLOCK = 1 << 12


def divide(index: Index, options: BuildOptions) -> None:
    """Fill ``first``, ``group`` and ``split`` of the index.

    ``split`` is -1 for files that are not in the corpus.
    """
    table = index.files
    falls = _falls(table, options)
    pieces = np.flatnonzero(table["ok"])
    by_content = pieces[np.lexsort((pieces, *_content(table, pieces).T))]
    same = (_content(table, by_content[1:]) == _content(table, by_content[:-1])).all(axis=1)
    if options.near_duplicates == "group":
        groups = Groups(len(table))
        for at in np.flatnonzero(same):
            groups.join(int(by_content[at]), int(by_content[at + 1]))
        usable = np.flatnonzero(_usable(index))
        join_similar(index.signatures, usable[np.argsort(table["key"][usable], kind="stable")], groups)
        table["group"] = groups.roots()
        leaders = table["group"].copy()
        # the last to write is the member with the smallest content hash
        leaders[table["group"][by_content[::-1]]] = by_content[::-1]
        falls = falls[leaders[table["group"]]]
    table["split"] = np.where(table["ok"], falls, -1)
    if options.duplicates == "drop" and len(pieces):
        order = np.lexsort((by_content, falls[by_content], *_content(table, by_content).T))
        ordered = by_content[order]
        same = (_content(table, ordered[1:]) == _content(table, ordered[:-1])).all(axis=1)
        starts = np.flatnonzero(np.concatenate([[True], ~same]))
        firsts = np.repeat(ordered[starts], np.diff(np.append(starts, len(ordered))))
        table["first"][ordered] = firsts
        table["split"][ordered[firsts != ordered]] = -1


def _falls(table: NDArray[Any], options: BuildOptions) -> NDArray[np.int8]:
    """Split of every file by itself [shape=(n,), int8]."""
    shares = np.cumsum(options.shares) / np.sum(options.shares)
    if options.split == "hash":
        at = (table["key"] >> np.uint64(11)) / 2.0**53  # below 1, exactly
        edges = shares[:-1]
    else:
        at = np.empty(len(table), np.int64)
        at[np.lexsort((np.arange(len(table)), table["key"]))] = np.arange(len(table))
        edges = np.floor(shares[:-1] * len(table) + 1e-9)
    falls: NDArray[np.int8] = np.searchsorted(edges, at, side="right").astype(np.int8)
    return np.minimum(falls, len(SPLITS) - 1).astype(np.int8)


def _content(table: NDArray[Any], files: NDArray[np.int64]) -> NDArray[np.uint64]:
    words: NDArray[np.uint64] = table["content"][files]
    return words


def _usable(index: Index) -> NDArray[np.bool_]:
    """Pieces with a signature, looked up in blocks."""
    usable: NDArray[np.bool_] = index.files["ok"].copy()
    for begin in range(0, len(usable), _BLOCK):
        block = np.arange(begin, min(begin + _BLOCK, len(usable)))
        usable[block] &= (index.signatures[block] != NO_SIGNATURE).any(axis=1)
    return usable
