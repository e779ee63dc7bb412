"""Shards of the work folder: what a worker made of one chunk of files, committed as a whole.

Chunk number N is up to five files, written in this order and each atomically; the last one is the commit
marker, so a shard is there completely or not at all, and writing it again gives the same bytes:

* ``N.rows``: rows of all its pieces, uint16 [shape=(notes, 8)], token ids, the bar before it is moved (it may
  lie beyond the dictionary);
* ``N.windows``: int32 [shape=(windows, 3)], `musicbert.encoding.Window` of each piece in turn;
* ``N.signatures``: uint32 [shape=(pieces, 64)] (`musicbert.corpus.splits.near_duplicates`);
* ``N.performance``: float32 [shape=(notes, P)], where asked for;
* ``N.jsonl``: one record a file.

A record is an `Outcome` with ``milliseconds`` (time of the work) and the numbers ``n_rows`` and
``n_windows`` that the piece has in the files above; of a file that ended its process, ``bytes`` is the hash;
of a URL, ``version`` is what the server says that identifies its bytes.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from musicbert.atomic import write_bytes
from musicbert.corpus.files.ledger import Outcome

ARRAYS = ("rows", "windows", "signatures", "performance")


def shard_file(folder: str | os.PathLike[str], number: int, part: str) -> Path:
    """Return the path of one file of a shard; a thousand shards share a folder."""
    return Path(folder) / f"{number // 1000:04d}" / f"{number:07d}.{part}"


def committed(folder: str | os.PathLike[str], number: int) -> bool:
    """Whether a shard is there."""
    return shard_file(folder, number, "jsonl").exists()


def all_committed(folder: str | os.PathLike[str]) -> list[int]:
    """Return the numbers of all shards that are there."""
    return sorted(int(path.stem) for path in Path(folder).glob("[0-9]*/[0-9]*.jsonl"))


def read_records(folder: str | os.PathLike[str], number: int) -> Iterator[dict[str, Any]]:
    """Yield the records of a shard in the order of its files."""
    with shard_file(folder, number, "jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


class ShardWriter:
    """Writes a shard piece by piece, so that memory holds one piece; `commit` makes it visible.

    Use it as a context manager; what was not committed is removed.
    """

    def __init__(self, folder: str | os.PathLike[str], number: int, *, performance: bool) -> None:
        self._folder, self._number = folder, number
        self._names = ARRAYS if performance else ARRAYS[:-1]
        self._records: list[str] = []
        self._files: dict[str, IO[bytes]] = {}

    def __enter__(self) -> ShardWriter:
        shard_file(self._folder, self._number, "rows").parent.mkdir(parents=True, exist_ok=True)
        for name in self._names:
            self._files[name] = self._partial(name).open("wb")
        return self

    def add(
        self,
        outcome: Outcome,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        *,
        milliseconds: float = 0.0,
        content: str = "",
        version: str | None = None,
    ) -> None:
        """Add a file: its outcome, for a piece the arrays of `ARRAYS`, and the time that it took.

        ``content``: hash of its bytes, where the outcome does not have it; ``version``: what a server calls
        them.
        """
        record = {key: value for key, value in vars(outcome).items() if value is not None}
        record |= {"bytes": content} if content else {}
        record |= {"version": version} if version else {}
        record["milliseconds"] = round(milliseconds, 3)
        for name, array in (arrays or {}).items():
            self._files[name].write(np.ascontiguousarray(array).tobytes())
        if arrays:
            record["n_rows"], record["n_windows"] = len(arrays["rows"]), len(arrays["windows"])
        self._records.append(json.dumps(record) + "\n")

    def commit(self) -> None:
        """Make the shard visible."""
        for name, file in self._files.items():
            file.flush()
            os.fsync(file.fileno())
            file.close()
            self._partial(name).replace(shard_file(self._folder, self._number, name))
        write_bytes(shard_file(self._folder, self._number, "jsonl"), "".join(self._records).encode())

    def __exit__(self, *_: object) -> None:
        for name, file in self._files.items():
            file.close()
            self._partial(name).unlink(missing_ok=True)

    def _partial(self, name: str) -> Path:
        """Name of a file while it is written, of this process alone: two may make the same shard."""
        path = shard_file(self._folder, self._number, name)
        return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.partial")
