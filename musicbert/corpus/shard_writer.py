"""`write_shards`: labelled pieces from a reader to a folder of shards (`musicbert.corpus.shards`).

The folder is built beside its destination and renamed when it is whole. A line of a journal follows the data
of each piece, so a run that was killed goes on behind the last whole piece when the same reader is given
again, with the same result as a run that was not. A piece that cannot be used is a line of the ledger, and
the others go on. Verified in ``tests/unit/corpus/test_shards.py``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from musicbert.atomic import write_json
from musicbert.corpus.atomic import check_destination, lock_folder, write_npy
from musicbert.corpus.labelled import NO_CLASS, BeatNotes, LabelledPiece, Task
from musicbert.corpus.ledger import OK, Outcome, write_ledger
from musicbert.corpus.shards import (
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
    LabelColumn,
    PieceInfo,
    Shards,
)
from musicbert.encoding.beat_notes import beat_notes_to_score
from musicbert.encoding.codec import Codec, get_codec
from musicbert.encoding.performance import PERFORMANCE_INPUTS, performance_inputs
from musicbert.errors import DatasetError, MidiError, MusicBertError
from musicbert.features import FEATURES as FEATURE_NAMES
from musicbert.features import features

__all__ = ["ShardReport", "columns_of", "write_shards"]

LEDGER, JOURNAL = "ledger.jsonl", "journal.jsonl"
WRONG_LENGTH, BAD_LABEL, DUPLICATE, TOO_LARGE = "wrong-length", "bad-label", "duplicate-name", "bad-value"


@dataclass(frozen=True)
class ShardReport:
    """What became of the pieces.

    Attributes
    ----------
    shards
        The data set.
    outcomes
        One for each piece that was offered.
    """

    shards: Shards
    outcomes: tuple[Outcome, ...]

    @property
    def skipped(self) -> tuple[Outcome, ...]:
        """Pieces that are not in the data set."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)


def columns_of(tasks: Iterable[Task]) -> list[LabelColumn]:
    """Labels that tasks need, each once.

    Raises
    ------
    ValueError
        Where two tasks read one label in different ways.
    """
    found: dict[str, LabelColumn] = {}
    for task in tasks:
        column = LabelColumn(task.label, task.level, task.kind, task.classes)
        if found.setdefault(task.label, column) != column:
            raise ValueError(f"two tasks read the label {task.label!r} in different ways")
    return list(found.values())


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
    overwrite: bool = False,
    total: int | None = None,
    progress: bool = False,
) -> ShardReport:
    """Write labelled pieces.

    Parameters
    ----------
    pieces
        What a reader yields; an `Outcome` among them is a piece that it could not read.
    codec
        Encoding of the notes, or its name.
    out
        Folder to write.
    tasks
        Tasks that the labels are for; they name the labels, their level, kind and classes.
    performance
        Write performance inputs too.
    with_features
        Write the hand-made features of each piece, for baselines.
    outcomes
        More lines of the ledger: files that the reader never offered.
    source
        What the pieces are, for the manifest.
    overwrite
        Replace an earlier data set of this name.
    total
        Number of pieces, for the progress bar.
    progress
        Show a bar on a terminal.

    Returns
    -------
    ShardReport

    Raises
    ------
    DatasetError
        ``no-pieces`` where none could be used (the ledger stands in the message), and those of
        `musicbert.corpus.atomic.build_directory`.
    """
    codec = get_codec(codec) if isinstance(codec, str) else codec
    columns = columns_of(tasks)
    path = Path(out).absolute()
    check_destination(path, overwrite, _is_ours)
    partial = path.parent / f".{path.name}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(partial, path)
    try:
        head = {
            "format": FORMAT,
            "version": VERSION,
            "codec": codec.name,
            "fields": [field.name for field in codec.fields],
            "labels": [column.as_dict() for column in columns],
            "performance": len(PERFORMANCE_INPUTS) if performance else 0,
            "features": list(FEATURE_NAMES) if with_features else [],
            "source": source,
        }
        bar = tqdm(pieces, total=total, desc="encode", unit="piece", disable=None if progress else True)
        with _Writer(partial, head, codec, columns) as writer:
            for offered in bar:
                writer.add(offered)
            done, ledger = writer.pieces, [*writer.outcomes, *outcomes]
        if not done:
            raise DatasetError(
                "no-pieces",
                f"No piece could be used{_first_reasons(ledger)}",
                path=path,
                hint="see its reasons",
            )
        offsets = np.concatenate([[0], np.cumsum([piece.rows for piece in done], dtype=np.int64)])
        write_npy(partial / OFFSETS, offsets.astype(np.int64))
        write_ledger(partial / LEDGER, ledger)
        record = [asdict(piece) for piece in done]
        digest = _digest(partial, record)
        write_json(partial / MANIFEST, {**head, "sha256": digest, "pieces": record}, indent=None)
        (partial / JOURNAL).unlink()
        check_destination(path, overwrite, _is_ours)
        _replace(partial, path)
    finally:
        if lock is not None:
            os.close(lock)
    return ShardReport(Shards(path), tuple(ledger))


def _is_ours(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and (folder / ROWS).is_file()


def _replace(partial: Path, path: Path) -> None:
    old = path.parent / f".{path.name}.old"
    if path.is_dir():
        path.rename(old)
    partial.rename(path)
    if old.is_dir():
        for file in old.iterdir():
            file.unlink()
        old.rmdir()


def _first_reasons(ledger: Sequence[Outcome]) -> str:
    shown = [f"{each.name}: {each.outcome}" for each in ledger[:3]]
    return f" ({'; '.join(shown)}{'; ...' if len(ledger) > 3 else ''})" if shown else ": none was offered"


def _digest(folder: Path, record: object) -> str:
    """Hash everything that training can see."""
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for file in sorted(folder.glob("*.bin")):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


class _Writer:
    """Files of a data set that grows piece by piece, and the journal of what is in them."""

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

    def __enter__(self) -> _Writer:
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
        """Write a piece, or say in the ledger why not."""
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
            columns, info = self._encode(offered)
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

    def _encode(self, piece: LabelledPiece) -> tuple[dict[str, bytes], PieceInfo]:
        rows, index = self.codec.encode(piece.notes)
        if len(rows) == 0:
            raise MidiError("no-notes", "the encoding keeps none of its notes")
        if rows.min() < 0 or rows.max() > np.iinfo(ROW_TYPE).max:
            raise MidiError(TOO_LARGE, f"a value of its rows is outside 0-{np.iinfo(ROW_TYPE).max}")
        content = {ROWS: rows.astype(ROW_TYPE).tobytes(), NOTE_INDEX: index.astype(INDEX_TYPE).tobytes()}
        for k, column in enumerate(self.columns):
            values = label_array(column, piece)
            content[f"label{k}.bin"] = (values[index] if column.level == "note" else values).tobytes()
        score = None
        if PERFORMANCE in self.sizes or FEATURES in self.sizes:
            notes = piece.notes
            score = beat_notes_to_score(notes) if isinstance(notes, BeatNotes) else notes
        if score is not None and PERFORMANCE in self.sizes:
            content[PERFORMANCE] = performance_inputs(score, index).astype(FLOAT_TYPE).tobytes()
        if score is not None and FEATURES in self.sizes:
            try:
                found = features(score)
            except MidiError:
                found = np.full(len(FEATURE_NAMES), np.nan)
            content[FEATURES] = found.astype(FLOAT_TYPE).tobytes()
        digest = hashlib.sha256(content[ROWS]).hexdigest()
        info = PieceInfo(
            piece.name, piece.group, dict(piece.splits), piece.source, len(piece.notes), len(rows), digest
        )
        return content, info


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


def label_array(column: LabelColumn, piece: LabelledPiece) -> NDArray[Any]:
    """Labels of a piece as they are stored, in the order of its notes.

    Returns
    -------
    [shape=(n_notes, ...)] for notes, [shape=(...)] for the piece (see `LabelColumn`)

    Raises
    ------
    DatasetError
        ``wrong-length`` where there is not one label a note (a number an output), ``bad-label`` for a class
        that does not exist, or what is no number.
    """
    shape = ((len(piece.notes),) if column.level == "note" else ()) + column.width
    if column.name not in piece.labels:
        return np.full(shape, NO_CLASS if column.kind == "classes" else np.nan, column.dtype)
    try:
        values = np.asarray(piece.labels[column.name], np.int64 if column.kind == "classes" else np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(BAD_LABEL, f"{column.name!r} holds what is no number: {error}") from error
    if column.width == (1,) and values.ndim == len(shape) - 1:
        values = values[..., None]
    if values.shape != shape:
        raise DatasetError(
            WRONG_LENGTH, f"labels {column.name!r} have shape {values.shape}, the piece asks for {shape}"
        )
    if column.kind == "classes":
        good = (values >= NO_CLASS) & (values < len(column.classes))
    elif column.kind == "multilabel":
        good = np.isnan(values) | (values == 0) | (values == 1)
    else:
        good = ~np.isinf(values)
    if not np.all(good):
        raise DatasetError(BAD_LABEL, f"{column.name!r} holds a value that is none of its classes")
    return values.astype(column.dtype)
