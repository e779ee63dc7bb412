"""A table of labels and a folder or zip of MIDI files as labelled pieces.

A line belongs to a file by its name (`musicbert.corpus.files.matching`). What does not fit together (a label
without a file, a file without a label, a file that cannot be read, a wrong number of notes) is a line of the
ledger, and the others go on.
Verified in ``tests/unit/corpus/tables/test_reader.py``.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from musicbert.annotation.cells import is_missing, read_table
from musicbert.annotation.names import cell_name, cell_number
from musicbert.corpus.files.archive import Member, MidiSource
from musicbert.corpus.files.ledger import NO_LABEL, Outcome
from musicbert.corpus.files.matching import match
from musicbert.corpus.labelled.pieces import NO_CLASS, Kind, LabelledPiece, Level, Task
from musicbert.corpus.tables.kinds import (
    Labels,
    TableColumns,
    as_labels,
    find_columns,
    refuse_identifiers,
)
from musicbert.corpus.tables.note_labels import (
    NoteEntry,
    NoteOrder,
    OnsetUnit,
    label_notes,
    note_entries,
)
from musicbert.errors import DatasetError, MusicBertError
from musicbert.midi import programs_elsewhere, read_score
from musicbert.midi.reader import ChannelPrograms

logger = logging.getLogger(__name__)
LABEL, WEIGHT = "label", "weight"
#: metric that selects, by the kind of labels
METRICS: dict[Kind, str] = {"classes": "accuracy", "multilabel": "micro_f1", "regression": "r2"}
PART_NAMES = {"train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid",
         "dev": "valid", "test": "test"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class LabelTable:
    """A table of labels: level, kind and classes, and a line (of labels of notes: an entry) for each file.

    ``groups``, ``splits`` and ``weights`` are by file, where the table has such columns; ``split_name`` is
    the name of the column of the split.
    """

    level: Level
    labels: Labels
    files: tuple[str, ...]
    columns: TableColumns
    entries: dict[str, NoteEntry]
    groups: dict[str, str]
    splits: dict[str, str]
    weights: dict[str, float]
    split_name: str = "given"
    separator: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Every option that decides what the table says, by its name on the command line."""
        columns = self.columns
        return {
            "--level": self.level,
            "--kind": self.labels.kind,
            "--separator": self.separator,
            "--classes": list(self.labels.classes),
            "--label-columns": list(columns.labels),
            "--file-column": columns.file,
            "--group-column": columns.group,
            "--split-column": columns.split,
            "--weight-column": columns.weight,
        }

    def task(self, name: str = LABEL, *, metric: str = "", ignore: Sequence[str] = ()) -> Task:
        """What is to be learned: a task that ignores some classes (neither trained on nor scored).

        Without ``metric`` it is selected by that of the kind of labels. Raises `DatasetError` ``bad-label``
        where a class to ignore does not exist.
        """
        unknown = [name for name in ignore if name not in self.labels.classes]
        if unknown:
            raise DatasetError("bad-label", f"there is no class {unknown[0]!r} to ignore")
        return Task(
            name,
            LABEL,
            self.level,
            self.labels.kind,
            self.labels.classes,
            metric or METRICS[self.labels.kind],
            ignore=tuple(self.labels.classes.index(name) for name in ignore),
            splits={self.split_name: ""} if self.splits else {},
            seeds=(1,),
        )

    def tasks(self, task: Task) -> list[Task]:
        """The task, and the weights of pieces where the table has them, for `write_shards`."""
        weight = Task(WEIGHT, WEIGHT, "sequence", "regression", (WEIGHT,), "r2")
        return [task, weight] if self.weights else [task]


def read_label_table(
    path: str | PathLike[str],
    *,
    level: Level | None = None,
    kind: Kind | None = None,
    separator: str | None = None,
    classes: Sequence[str] | None = None,
    **columns: Any,
) -> LabelTable:
    """Read a table of labels (``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``).

    ``level`` None infers what the labels are of: lines with a note, or an onset and a pitch, are of notes.
    The other options are those of `musicbert.corpus.tables.kinds.as_labels` and `find_columns`. Raises
    `DatasetError` with what is wrong with the table, and its path.
    """
    table = read_table(path)
    try:
        named_columns = find_columns(table, **columns)
        if level is None:
            names = {name.lower() for name in table.columns}
            level = "note" if names & {"note", "note_index"} or {"onset", "pitch"} <= names else "sequence"
        if level == "sequence" and not columns.get("labels"):
            refuse_identifiers(table, named_columns.labels)
        files = tuple(cell_name(value) for value in table[named_columns.file])
        blank = [row for row, value in enumerate(table[named_columns.file], 1) if is_missing(value)]
        if blank:
            what = f"{len(blank)} lines name no file, first row {blank[0]} after the header"
            raise DatasetError(
                "bad-table", what, hint=f"fill in the column {named_columns.file!r}, or remove them"
            )
        extra = _Extra(table, named_columns, files).all()
        if extra["weights"] and not any(extra["weights"].values()):
            raise DatasetError("bad-label", "every weight is 0: nothing would be learned")
        _say_capitals("groups", extra["groups"].values())
        more = {**extra, "separator": separator}
        if level == "note":
            entries, labels = note_entries(table, named_columns, kind, classes)
            _say_capitals("classes", labels.classes)
            return LabelTable("note", labels, tuple(entries), named_columns, entries, **more)
        rows = list(table[list(named_columns.labels)].itertuples(index=False, name=None))
        labels = as_labels(rows, named_columns.labels, kind, separator=separator, classes=classes)
        _say_capitals("classes", labels.classes)
        twice = [name for name, times in Counter(files).items() if times > 1]
        if twice:
            raise DatasetError("duplicate-label", f"{len(twice)} files have two lines, such as {twice[0]}")
        return LabelTable("sequence", labels, files, named_columns, {}, **more)
    except DatasetError as error:
        raise DatasetError(error.reason, error.message, path=error.path or path, hint=error.hint) from error


def _say_capitals(what: str, names: Iterable[str]) -> None:
    """Warn of names that differ by capitals only: they are kept apart."""
    seen: dict[str, str] = {}
    for name in dict.fromkeys(names):
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            logger.warning("two %s differ by capitals only: %r and %r", what, other, name)


class _Extra:
    """Groups, splits and weights of the files of a table."""

    def __init__(self, table: Any, columns: TableColumns, files: Sequence[str]) -> None:
        self.table, self.columns, self.files = table, columns, files

    def _column(self, name: str | None) -> dict[str, Any]:
        if name is None:
            return {}
        cells: dict[str, Any] = {}
        for file, value in zip(self.files, self.table[name].tolist(), strict=True):
            if is_missing(value):
                continue
            if cell_name(cells.setdefault(file, value)) != cell_name(value):
                both = f"{cell_name(cells[file])!r} and {cell_name(value)!r}"
                raise DatasetError("bad-table", f"the lines of {file} have two values of {name!r}: {both}")
        blank = [file for file in dict.fromkeys(self.files) if file not in cells]
        if blank:
            then = {
                self.columns.group: "each is a group of its own",
                self.columns.split: "they are in no part: neither trained on nor tested",
                self.columns.weight: "their weight is 1",
            }[name]
            logger.warning("%d files have no %r, such as %s; %s", len(blank), name, blank[0], then)
        return cells

    def all(self) -> dict[str, Any]:
        columns = self.columns
        weights = {}
        for file, value in self._column(columns.weight).items():
            try:
                weights[file] = cell_number(value)
            except (TypeError, ValueError) as error:
                raise DatasetError("bad-label", f"the weight {value!r} is not a number") from error
            if not 0 <= weights[file] < float("inf"):
                raise DatasetError("bad-label", f"the weight {value!r} is not a number from 0 on")
        return {
            "groups": {file: cell_name(value) for file, value in self._column(columns.group).items()},
            "splits": {file: _part(value) for file, value in self._column(columns.split).items()},
            "weights": weights,
            "split_name": (columns.split or "given").lower(),
        }


def _part(value: Any) -> str:
    text = cell_name(value).lower()
    part = PART_NAMES.get(text, text)
    if part not in PART_NAMES.values() and not part.isdecimal():
        raise DatasetError("bad-split", f"{value!r} is neither train, valid or test nor the number of a fold")
    return part


class TableReader:
    """Labelled pieces of a table, with the MIDI files of an open folder or zip.

    ``matched`` holds the file of each line that has one, ``outcomes`` labels without a file and files without
    a label. ``order`` and ``unit`` as in `musicbert.corpus.tables.note_labels.label_notes`,
    ``channel_programs`` as in `read_score`. Raises `DatasetError` ``no-match`` where no line has a file.
    """

    def __init__(
        self,
        table: LabelTable,
        source: MidiSource,
        *,
        order: NoteOrder = "file",
        unit: OnsetUnit = "beats",
        channel_programs: ChannelPrograms = "track",
    ) -> None:
        self.channel_programs = channel_programs
        self.table, self.source, self.order, self.unit = table, source, order, unit
        matched = match(table.files, source, strict=False)
        self.matched, self.outcomes = dict(matched.members), matched.outcomes
        self._line = {file: line for line, file in enumerate(table.files)}

    def hashes(self) -> dict[str, str]:
        """Hash of each file that is read, by its path, and of every other file why it is not."""
        hashes = {outcome.path: outcome.outcome for outcome in self.outcomes if outcome.path}
        for member in self.matched.values():
            try:
                hashes[member.path] = hashlib.sha256(self.source.read(member)).hexdigest()
            except DatasetError as error:
                hashes[member.path] = error.reason
        return hashes

    def __len__(self) -> int:
        return len(self.matched)

    def __iter__(self) -> Iterator[LabelledPiece | Outcome]:
        """Read the pieces, in the order of the table."""
        for file, member in self.matched.items():
            try:
                yield self._piece(file, member)
            except MusicBertError as error:
                if error.reason == "contradiction":  # the whole table is in doubt
                    error.path = member.path
                    raise
                yield Outcome(file, error.reason, path=member.path, detail=error.message)

    def _piece(self, file: str, member: Member) -> LabelledPiece:
        table = self.table
        data = self.source.read(member)
        score = read_score(data, name=member.path, channel_programs=self.channel_programs)
        if table.level == "note":
            label: Any = label_notes(
                table.entries[file], score, table.labels, order=self.order, unit=self.unit
            )
            known = (label != NO_CLASS) if table.labels.kind == "classes" else ~np.isnan(label)
        else:
            label = table.labels.values[self._line[file]]
            known = label != NO_CLASS if table.labels.kind == "classes" else ~np.isnan(label)
        if not np.any(known):
            raise DatasetError(NO_LABEL, "its label is empty")
        labels = {LABEL: label}
        if table.weights:
            labels[WEIGHT] = table.weights.get(file, 1.0)
        splits = {table.split_name: table.splits[file]} if file in table.splits else {}
        group, elsewhere = table.groups.get(file, file), programs_elsewhere(data)
        return LabelledPiece(file, score, group, labels, splits, member.path, elsewhere)
