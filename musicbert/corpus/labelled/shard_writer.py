"""`write_shards`: labelled pieces from a reader to a folder of shards (`musicbert.corpus.labelled.shards`).

The folder is built beside its destination and renamed when it is complete. A run that was killed is resumed
behind its last whole piece where it records what it is made from (`musicbert.reuse`), and that is the same;
the result is that of a run that was not killed. A piece that cannot be used becomes a line of the ledger, and
the others are written.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from musicbert.atomic import write_json
from musicbert.corpus.files.folders import check_destination, replace_folder, write_npy
from musicbert.corpus.files.ledger import OK, Outcome, write_ledger
from musicbert.corpus.labelled.contract import LabelColumn, PieceInfo
from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.corpus.labelled.shard_pieces import columns_of, piece_bytes
from musicbert.corpus.labelled.shards import (
    FEATURES,
    FLOAT_TYPE,
    FORMAT,
    INDEX_TYPE,
    MANIFEST,
    NOTE_INDEX,
    OFFSETS,
    PERFORMANCE,
    ROW_TYPE,
    ROWS,
    VERSION,
    Shards,
)
from musicbert.encoding.codec import Codec
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.performance import PERFORMANCE_INPUTS
from musicbert.errors import DatasetError, MusicBertError
from musicbert.features import FEATURES as FEATURE_NAMES
from musicbert.progress import progress_bar
from musicbert.reuse import MADE_FROM, hold_folder, record_hash, write_record

LEDGER = "ledger.jsonl"
JOURNAL = "journal.jsonl"
DUPLICATE = "duplicate-name"
#: Key of a line of the journal (see `Outcome`).
_ELSEWHERE = "programs_elsewhere"


@dataclass(frozen=True)
class ShardReport:
    """What became of the pieces."""

    shards: Shards
    outcomes: tuple[Outcome, ...]  # one for each piece that was offered

    @property
    def skipped(self) -> tuple[Outcome, ...]:
        """Pieces that are not in the data set."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)


def write_shards(
    pieces: Iterable[LabelledPiece | Outcome],
    codec: Codec | str,
    out: str | PathLike[str],
    tasks: Sequence[Task],
    *,
    performance: bool = False,
    with_features: bool = False,
    outcomes: Iterable[Outcome] = (),
    source: str = "",
    made_from: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    total: int | None = None,
    progress: bool = False,
) -> ShardReport:
    """Write labelled pieces.

    ``pieces``: what a reader yields; an `Outcome` among them is a piece that it could not read; ``tasks``:
    what the labels are for (names, levels, kinds, classes); ``performance``, ``with_features``: also write
    performance inputs, and hand-made features of each piece for baselines; ``outcomes``: ledger lines of
    files that the reader never offered; ``source``: what the pieces are, for the manifest; ``made_from``:
    record of `musicbert.reuse.made_from`, without which a killed run is not resumed; ``total``: number of
    pieces, for the progress bar.
    Raises `DatasetError`: ``no-pieces`` where none could be used (with the first reasons), and those of
    `musicbert.corpus.files.folders.build_directory`.
    """
    codec = get_codec(codec) if isinstance(codec, str) else codec
    columns = columns_of(tasks)
    path = Path(out).absolute()
    check_destination(path, overwrite, _is_ours)
    partial = path.parent / f".{path.name}.partial"
    with hold_folder(partial, path=path):
        head = {
            "format": FORMAT,
            "version": VERSION,
            "codec": codec.name,
            "fields": [field.name for field in codec.fields],
            "labels": [column.as_dict() for column in columns],
            "performance": len(PERFORMANCE_INPUTS) if performance else 0,
            "features": list(FEATURE_NAMES) if with_features else [],
            "source": source,
            "made_from": made_from and record_hash(made_from),
        }
        bar = progress_bar(pieces, total=total, desc="encode", unit="piece", shown=progress)
        with ShardFiles(partial, head, codec, columns) as writer:
            for offered in bar:
                writer.add(offered)
            done, ledger = writer.pieces, [*writer.outcomes, *outcomes]
        if not done:
            message = f"No piece could be used{_first_reasons(ledger)}"
            raise DatasetError("no-pieces", message, path=path, hint="see its reasons")
        write_npy(partial / OFFSETS, np.cumsum([0, *(piece.rows for piece in done)], dtype=np.int64))
        write_ledger(partial / LEDGER, ledger)
        record = [asdict(piece) for piece in done]
        digest = _digest(partial, record)
        write_json(partial / MANIFEST, {**head, "sha256": digest, "pieces": record}, indent=None)
        if made_from is not None:
            write_record(partial / MADE_FROM, made_from)
        (partial / JOURNAL).unlink()
        check_destination(path, overwrite, _is_ours)
        replace_folder(partial, path)
    return ShardReport(Shards(path), tuple(ledger))


class ShardFiles:
    """Files of a data set that grows piece by piece, and the journal of what is in them; a context.

    A line of the journal follows the data of each piece. A killed run is resumed if the manifest without its
    pieces (``head``), which says what the set is made from, is equal; data after the last whole piece is cut
    off first.
    """

    def __init__(
        self, folder: Path, head: Mapping[str, Any], codec: Codec, columns: Sequence[LabelColumn]
    ) -> None:
        self.folder, self.head, self.codec, self.columns = folder, head, codec, columns
        self.pieces: list[PieceInfo] = []  # written
        self.outcomes: list[Outcome] = []  # of the pieces that were offered
        #: bytes that a row and a piece take in each file
        self.sizes = {ROWS: (ROW_TYPE.itemsize * len(codec.fields), 0), NOTE_INDEX: (INDEX_TYPE.itemsize, 0)}
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
                self.outcomes.append(_ok(self.pieces[-1], line.get(_ELSEWHERE)))
            else:
                self.outcomes.append(Outcome(**line))
        self._known = {piece.name for piece in self.pieces}
        #: number of pieces that the killed run has handled
        self._offered_before = len(self.outcomes)
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
        if not lines or lines[0] != self.head or self.head["made_from"] is None:
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
        """Write a piece, or note in the ledger why not.

        Raises `DatasetError` (``other-pieces`` where an interrupted run was offered another piece here).
        """
        if self._offered_before:  # handled before the interruption
            self._offered_before -= 1
            before = self.outcomes[len(self.outcomes) - self._offered_before - 1]
            if before.name != offered.name:
                message = f"The interrupted run had {before.name!r} where there is {offered.name!r} now"
                hint = "remove this folder to begin anew"
                raise DatasetError("other-pieces", message, path=self.folder, hint=hint)
            return
        if isinstance(offered, Outcome):
            self._note(offered)
            return
        try:
            if offered.name in self._known:
                raise DatasetError(DUPLICATE, "a piece of this name is in the data set already")
            extra = {"performance": PERFORMANCE in self.sizes, "with_features": FEATURES in self.sizes}
            columns, info = piece_bytes(offered, self.codec, self.columns, **extra)
        except MusicBertError as error:
            path, notes = offered.source or None, len(offered.notes)
            self._note(Outcome(offered.name, error.reason, path=path, notes=notes, detail=error.message))
            return
        for name, content in columns.items():
            self._files[name].write(content)
            self._files[name].flush()
        self.pieces.append(info)
        self._known.add(info.name)
        self._note(_ok(info, offered.programs_elsewhere), info)

    def _note(self, outcome: Outcome, piece: PieceInfo | None = None) -> None:
        line = {k: v for k, v in vars(outcome).items() if v is not None}
        if piece is not None:
            line = {"outcome": OK, "piece": asdict(piece), _ELSEWHERE: outcome.programs_elsewhere}
        self.outcomes.append(outcome)
        self._journal.write(json.dumps(line).encode() + b"\n")
        self._journal.flush()


def _ok(piece: PieceInfo, elsewhere: int | None) -> Outcome:
    return Outcome(
        piece.name,
        OK,
        path=piece.source or None,
        notes=piece.notes,
        notes_written=piece.rows,
        group=piece.group,
        programs_elsewhere=elsewhere or None,
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


def _is_ours(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and (folder / ROWS).is_file()


def _first_reasons(ledger: Sequence[Outcome]) -> str:
    shown = [f"{outcome.name}: {outcome.outcome}" for outcome in ledger[:3]]
    return f" ({'; '.join(shown)}{'; ...' if len(ledger) > 3 else ''})" if shown else ": none was offered"


def _digest(folder: Path, record: object) -> str:
    """Hash everything that training can see."""
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for file in sorted(folder.glob("*.bin")):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
