"""What is known of every file, in one array: about 100 bytes a file, whatever the files hold.

The index is made from the records of all shards and holds, for each file in the order of the sources, where
its arrays are and what the division decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.annotation.folds import PARTS
from musicbert.arrays import Bools, Ints
from musicbert.corpus.builder.options import BuildOptions
from musicbert.corpus.builder.shards import read_records, shard_file
from musicbert.corpus.files.ledger import OK
from musicbert.corpus.splits.near_duplicates import (
    HASHES,
    NO_SIGNATURE,
    Groups,
    StoredSignatures,
    join_similar,
)

#: One file. ``chunk``, ``row``, ``n_rows``, ``window``, ``n_windows``, ``piece``: where it is in its shard;
#: ``window_rows``: notes of all its windows; ``content``: 16 bytes of `content_md5`; ``key``: seeded hash
#: of the bytes (of the path where they could not be read), which orders and divides; ``ok``: it was
#: encoded. Decided later: ``first`` (file of the same content that stays, itself where it is the one),
#: ``group`` (root of its near-duplicates), ``split`` (0-2).
INDEX = np.dtype(
    [
        ("chunk", "<u4"), ("row", "<u8"), ("n_rows", "<u4"), ("window", "<u4"), ("n_windows", "<u4"),
        ("piece", "<u4"), ("window_rows", "<u8"), ("content", "<u8", (2,)), ("key", "<u8"), ("ok", "?"),
        ("first", "<i8"), ("group", "<i8"), ("split", "i1"),
    ]
)  # fmt: skip


@dataclass
class Index:
    """Files [shape=(n,), `INDEX`] and signatures [shape=(n, HASHES), uint32; zero where unreadable]."""

    files: NDArray[Any]
    signatures: NDArray[np.uint32] | StoredSignatures


def seeded_hash(seed: int, *words: str) -> int:
    """Return 64 bits that depend on the seed and the words."""
    text = "\0".join([str(seed), *words])
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


def make_index(shards: str | PathLike[str], chunks: int, files: int, seed: int, store: Path) -> Index:
    """Read the records of all shards; the signatures are written to the file ``store``."""
    table = np.zeros(files, INDEX)
    table["first"] = table["group"] = np.arange(files)
    at = 0
    with store.open("wb") as signatures:
        for chunk in range(chunks):
            begin = at
            for at, values in enumerate(_rows_of(shards, chunk, seed), start=begin + 1):
                table[at - 1] = values
                table["first"][at - 1] = table["group"][at - 1] = at - 1
            pieces = np.flatnonzero(table["ok"][begin:at])
            chunk_signatures = np.zeros((at - begin, HASHES), np.uint32)
            chunk_signatures[pieces] = np.fromfile(
                shard_file(shards, chunk, "signatures"), np.uint32
            ).reshape(-1, HASHES)
            signatures.write(chunk_signatures.tobytes())
            windows = np.fromfile(shard_file(shards, chunk, "windows"), np.int32).reshape(-1, 3)
            ends = np.concatenate([[0], np.cumsum(windows[:, 1] - windows[:, 0], dtype=np.int64)])
            pieces += begin
            first, count = table["window"][pieces].astype(int), table["n_windows"][pieces].astype(int)
            table["window_rows"][pieces] = ends[first + count] - ends[first]
    return Index(table, StoredSignatures(store))


def _rows_of(shards: str | PathLike[str], chunk: int, seed: int) -> Iterator[tuple[Any, ...]]:
    """Yield the fields of each file of a shard, the decisions still to be made."""
    row = window = piece = 0
    for record in read_records(shards, chunk):
        ok = record["outcome"] == OK
        rows, windows = record.get("n_rows", 0), record.get("n_windows", 0)
        content = bytes.fromhex(record.get("content", "0" * 32))
        words = tuple(int(word) for word in np.frombuffer(content, "<u8"))
        key = seeded_hash(seed, record.get("sha256") or record["path"])
        yield (chunk, row, rows, window, windows, piece, 0, words, key, ok, 0, 0, -1)
        row, window, piece = row + rows, window + windows, piece + ok


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
    return np.minimum(falls, len(PARTS) - 1).astype(np.int8)


def _content(table: NDArray[Any], files: Ints) -> NDArray[np.uint64]:
    words: NDArray[np.uint64] = table["content"][files]
    return words


def _usable(index: Index) -> Bools:
    """Pieces with a signature, looked up in blocks."""
    usable: Bools = index.files["ok"].copy()
    for begin in range(0, len(usable), _BLOCK):
        block = np.arange(begin, min(begin + _BLOCK, len(usable)))
        usable[block] &= (index.signatures[block] != NO_SIGNATURE).any(axis=1)
    return usable
