"""The files of a data set of shards while they grow, and their journal: what a killed run goes on with.

A line of the journal follows the data of each piece. What lies behind the last whole piece is cut off before
a run goes on. Verified in ``tests/unit/corpus/test_shards.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from musicbert.corpus.files.ledger import OK, Outcome
from musicbert.corpus.labelled.contract import LabelColumn, PieceInfo
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.labelled.shard_pieces import piece_bytes
from musicbert.corpus.labelled.shards import (
    FEATURES,
    FLOAT_TYPE,
    INDEX_TYPE,
    NOTE_INDEX,
    PERFORMANCE,
    ROW_TYPE,
    ROWS,
)
from musicbert.encoding.codec import Codec
from musicbert.errors import DatasetError, MusicBertError

__all__ = ["JOURNAL", "ShardFiles"]

JOURNAL = "journal.jsonl"
DUPLICATE = "duplicate-name"


class ShardFiles:
    """Files of a data set that grows piece by piece, and the journal of what is in them; a context.

    Parameters
    ----------
    folder
        Folder that is built.
    head
        Manifest without its pieces: what an earlier run has to agree with to be gone on with.
    codec, columns
        Encoding of the notes; labels.

    Attributes
    ----------
    pieces
        What was written.
    outcomes
        What became of every piece that was offered.
    """

    def __init__(
        self, folder: Path, head: Mapping[str, Any], codec: Codec, columns: Sequence[LabelColumn]
    ) -> None:
        self.folder, self.head, self.codec, self.columns = folder, head, codec, columns
        self.pieces: list[PieceInfo] = []
        self.outcomes: list[Outcome] = []
        #: bytes that a row and a piece take in each file
        self.sizes = {
            ROWS: (ROW_TYPE.itemsize * len(codec.fields), 0),
            NOTE_INDEX: (INDEX_TYPE.itemsize, 0),
        }
        for k, column in enumerate(columns):
            size = column.dtype.itemsize * math.prod(column.width)
            self.sizes[f"label{k}.bin"] = (size, 0) if column.level == "note" else (0, size)
        if head["performance"]:
            self.sizes[PERFORMANCE] = (FLOAT_TYPE.itemsize * int(head["performance"]), 0)
        if head["features"]:
            self.sizes[FEATURES] = (0, FLOAT_TYPE.itemsize * len(head["features"]))
        self._stack = ExitStack()

    def __enter__(self) -> ShardFiles:
        for line in self._resume():
            if line["outcome"] == OK:
                self.pieces.append(PieceInfo(**line["piece"]))
                self.outcomes.append(_ok(self.pieces[-1]))
            else:
                self.outcomes.append(Outcome(**line))
        self._known = {piece.name for piece in self.pieces}
        #: offers that an earlier run has dealt with
        self._behind = len(self.outcomes)
        self._files = {name: self._open(name) for name in self.sizes}
        self._journal = self._open(JOURNAL)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, name: str) -> BinaryIO:
        return self._stack.enter_context((self.folder / name).open("ab"))

    def _resume(self) -> Iterator[dict[str, Any]]:
        """Read the journal of an earlier run, and cut the files behind its last whole piece."""
        lines = list(_whole_lines(self.folder / JOURNAL))
        if not lines or lines[0] != self.head:
            for file in self.folder.iterdir():
                file.unlink()
            (self.folder / JOURNAL).write_text(json.dumps(self.head) + "\n", encoding="utf-8")
            lines = [dict(self.head)]
        kept, rows, count = [], 0, 0
        for line in lines[1:]:
            if line["outcome"] == OK:
                more = rows + int(line["piece"]["rows"])
                if any(self._size(name) < a * more + b * (count + 1) for name, (a, b) in self.sizes.items()):
                    break  # the machine went down before the data reached the disk
                rows, count = more, count + 1
            kept.append(line)
        for name, (a, b) in self.sizes.items():
            with (self.folder / name).open("ab") as stream:
                stream.truncate(a * rows + b * count)
        text = "".join(json.dumps(line) + "\n" for line in [lines[0], *kept])
        (self.folder / JOURNAL).write_text(text, encoding="utf-8")
        yield from kept

    def _size(self, name: str) -> int:
        path = self.folder / name
        return path.stat().st_size if path.is_file() else 0

    def add(self, offered: LabelledPiece | Outcome) -> None:
        """Write a piece, or say in the ledger why not.

        Raises
        ------
        DatasetError
            ``other-pieces`` where an interrupted run was offered another piece here.
        """
        if self._behind:  # dealt with before the interruption
            self._behind -= 1
            before = self.outcomes[len(self.outcomes) - self._behind - 1]
            if before.name != offered.name:
                raise DatasetError(
                    "other-pieces",
                    f"The interrupted run had {before.name!r} where there is {offered.name!r} now",
                    path=self.folder,
                    hint="remove this folder to begin anew",
                )
            return
        if isinstance(offered, Outcome):
            self._note(offered, {k: v for k, v in vars(offered).items() if v is not None})
            return
        try:
            if offered.name in self._known:
                raise DatasetError(DUPLICATE, "a piece of this name is in the data set already")
            columns, info = piece_bytes(
                offered,
                self.codec,
                self.columns,
                performance=PERFORMANCE in self.sizes,
                with_features=FEATURES in self.sizes,
            )
        except MusicBertError as error:
            outcome = Outcome(
                offered.name,
                error.reason,
                path=offered.source or None,
                notes=len(offered.notes),
                detail=error.message,
            )
            self._note(outcome, {k: v for k, v in vars(outcome).items() if v is not None})
            return
        for name, content in columns.items():
            self._files[name].write(content)
            self._files[name].flush()
        self.pieces.append(info)
        self._known.add(info.name)
        self._note(_ok(info), {"outcome": OK, "piece": asdict(info)})

    def _note(self, outcome: Outcome, line: Mapping[str, Any]) -> None:
        self.outcomes.append(outcome)
        self._journal.write(json.dumps(line).encode() + b"\n")
        self._journal.flush()


def _ok(piece: PieceInfo) -> Outcome:
    return Outcome(
        piece.name,
        OK,
        path=piece.source or None,
        notes=piece.notes,
        notes_written=piece.rows,
        group=piece.group,
    )


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Lines of a journal up to the first that is not whole."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        try:
            yield json.loads(line)
        except ValueError:
            return
