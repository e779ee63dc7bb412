"""Labels of notes from a table: a list a piece, or a line a note.

A list (JSON Lines or Parquet: ``{"file": "a.mid", "label": ["x", "y", null]}``) has one label for each note
of the file. A line a note names its note by its number (column ``note``, from 0) or by ``onset`` and
``pitch``. Notes are counted in the order of the file (tracks one after the other) or, where asked for, sorted
by onset and pitch. Onsets are in quarter notes, ticks or seconds; two notes of one onset and pitch are taken
in the order of the file.

Whatever else the table says of a note (`NAMES`: onset, end, duration, pitch, velocity, program, bar) is
compared with the music. A contradiction is an error with the row and both values: half of the labels would
stand on wrong notes.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from musicbert.annotation.cells import is_missing
from musicbert.annotation.names import cell_name, cell_number
from musicbert.arrays import Bools, Floats, Ints
from musicbert.corpus.labelled.pieces import NO_CLASS, Kind
from musicbert.corpus.tables.kinds import Labels, TableColumns, as_labels
from musicbert.encoding import Policies
from musicbert.encoding.metre import bar_table
from musicbert.encoding.quantise import positions
from musicbert.errors import DatasetError
from musicbert.midi import Score

logger = logging.getLogger(__name__)
OnsetUnit = Literal["beats", "ticks", "seconds"]
NoteOrder = Literal["file", "sorted"]
#: what columns say of a note -> their names
NAMES = {
    "note": ("note", "note_index", "index"),
    "onset": ("onset", "start"),
    "pitch": ("pitch", "midi_pitch"),
    "end": ("offset", "end"),
    "duration": ("duration",),
    "velocity": ("velocity",),
    "program": ("program",),
    "bar": ("bar", "measure"),
}
#: beyond every note, tick and second of a file
_MOST = 2.0**53
_NAMING, _TIMES = ("note", "onset", "pitch"), ("onset", "end", "duration")
#: how far an onset may be from the one in the table, by unit: rounding to two or three digits
_TOLERANCE = {"beats": 0.011, "ticks": 1.0, "seconds": 0.011}
WRONG_LENGTH, UNMATCHED = "wrong-length", "unmatched-note"


@dataclass(eq=False)
class NoteEntry:
    """Labels of the notes of one file, as the table has them.

    Notes are named by their number, by onset and pitch, or not at all (``values`` lists all notes).
    ``columns``: what the table says of each note (`NAMES`), NaN where it is missing; ``rows``: its row after
    the header.
    """

    listed: bool = False
    values: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    columns: dict[str, list[float]] = field(default_factory=dict)


def note_entries(
    table: pd.DataFrame, columns: TableColumns, kind: Kind | None, classes: Sequence[str] | None
) -> tuple[dict[str, NoteEntry], Labels]:
    """Read the labels of notes: file -> entry, and kind and classes of all lines together.

    Raises `DatasetError`: ``ambiguous-labels``, ``missing-column``, ``bad-label``.
    """
    lower = {name.lower(): name for name in table.columns}
    places = {
        what: next(lower[name] for name in known if name in lower)
        for what, known in NAMES.items()
        if any(name in lower for name in known)
    }
    chosen = [name for name in columns.labels if name not in places.values()]
    if not chosen:  # a table may label notes with what others say to name them
        more = [what for what, name in places.items() if name in columns.labels and what not in _NAMING]
        chosen = [places.pop(what) for what in more]
    if len(chosen) != 1:
        raise DatasetError(
            "ambiguous-labels",
            f"labels of notes stand in one column, here are {', '.join(chosen) or 'none'}",
            hint="choose it with --label-columns",
        )
    files, cells = [cell_name(name) for name in table[columns.file]], table[chosen[0]].tolist()
    entries: dict[str, NoteEntry] = {}
    lists = all(isinstance(cell, list | tuple | np.ndarray) for cell in cells)
    if not lists and "note" not in places and not {"onset", "pitch"} <= set(places):
        raise DatasetError(
            "missing-column", "labels of notes need a list a piece, a column 'note', or 'onset' and 'pitch'"
        )
    needed = ("note",) if "note" in places else () if lists else ("onset", "pitch")
    values = {what: table[name].tolist() for what, name in places.items()}
    for row, (file, cell) in enumerate(zip(files, cells, strict=True)):
        if lists and file in entries:
            raise DatasetError("bad-label", f"{file} has two lists of labels")
        entry = entries.setdefault(file, NoteEntry(lists, columns={what: [] for what in values}))
        labels = list(cell) if lists else [cell]
        entry.values += labels
        entry.rows += [row + 1] * len(labels)
        for what, column in values.items():
            said = _listed(column[row], len(labels)) if lists else [column[row]]
            if len(said) != len(labels):
                raise DatasetError(
                    "bad-label", f"{file} has {len(labels)} labels and {len(said)} values of {places[what]!r}"
                )
            entry.columns[what] += [_number(each, what, what in needed) for each in said]
    numbers = [number for entry in entries.values() for number in entry.columns.get("note", ())]
    if numbers and min(numbers) == 1:
        logger.warning("no line has the note 0: notes are counted from 0, and a table from 1 is one note off")
    every = [[value] for entry in entries.values() for value in entry.values]
    labels_of_all = as_labels(every, [chosen[0]], kind, classes=classes)
    if labels_of_all.kind == "multilabel":
        raise DatasetError("ambiguous-labels", "notes have one label each", hint="give --kind classes")
    at = 0
    for entry in entries.values():
        entry.values, at = labels_of_all.values[at : at + len(entry.values)], at + len(entry.values)
    return entries, Labels(labels_of_all.kind, labels_of_all.classes, [], labels_of_all.why)


def _listed(cell: Any, count: int) -> list[Any]:
    """Values of the notes in a cell beside a list of labels; none where it is missing."""
    return list(cell) if isinstance(cell, list | tuple | np.ndarray) else [None] * count


def _number(value: Any, what: str, needed: bool) -> float:
    """Number in a cell that says something of a note; NaN where it is missing and not needed."""
    if is_missing(value) and not needed:
        return float("nan")
    try:
        number = cell_number(value)
        if what not in _TIMES and not number.is_integer():
            raise ValueError(f"{value!r} is not a whole number")
        if abs(number) >= _MOST:
            raise ValueError(f"{str(value)[:30]} is out of range")
    except (TypeError, ValueError) as error:
        raise DatasetError("bad-label", f"what names a note is not a number: {error}") from error
    return number


def label_notes(
    entry: NoteEntry, score: Score, labels: Labels, *, order: NoteOrder = "file", unit: OnsetUnit = "beats"
) -> NDArray[Any]:
    """Labels of the notes of a score, in its order [shape=(n,), int64 classes or float64].

    Notes without a label in the table have a missing one. ``order`` is how the table counts notes, ``unit``
    that of its onsets. Raises `DatasetError`: ``wrong-length`` for a list of another length or a number that
    no note has, ``unmatched-note`` for an onset and pitch that no (further) note has, or a note that is
    labelled twice, ``contradiction`` where the table says something else of a note than the music.
    """
    if order not in get_args(NoteOrder) or unit not in get_args(OnsetUnit):
        raise ValueError(f"notes are in the order {get_args(NoteOrder)}, onsets in {get_args(OnsetUnit)}")
    n = len(score)
    classes = labels.kind == "classes"
    result: NDArray[Any] = np.full(n, NO_CLASS) if classes else np.full(n, np.nan)
    music = _Music(score, unit)
    numbers = None
    if "note" in entry.columns:
        numbers = np.asarray(entry.columns["note"], np.int64)
    elif entry.listed:
        if len(entry.values) != n:
            raise DatasetError(WRONG_LENGTH, f"{len(entry.values)} labels for {n} notes")
        numbers = np.arange(n)
    places = _by_onset(entry, music) if numbers is None else _numbered(numbers, score, order)
    if len(np.unique(places)) < len(places):
        raise DatasetError(UNMATCHED, "a note is labelled twice")
    wrong = music.contradiction(entry, places)
    if wrong is not None:
        raise DatasetError(
            "contradiction",
            f"the table contradicts the music: {wrong}",
            hint=_explain(entry, score, numbers, order, unit),
        )
    values = entry.values if classes else [float(np.asarray(value).reshape(-1)[0]) for value in entry.values]
    result[places] = values
    return result


def _numbered(numbers: Ints, score: Score, order: NoteOrder) -> Ints:
    """Note of each number."""
    n = len(score)
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= n):
        number = int(numbers.min() if numbers.min() < 0 else numbers.max())
        raise DatasetError(WRONG_LENGTH, f"a label of note {number}, but there are {n} notes, counted from 0")
    sequence: Ints = np.lexsort((score.pitch, score.onset)) if order == "sorted" else np.arange(n)
    return sequence[numbers]


class _Music:
    """What the music says of each note, in the units of a table."""

    def __init__(self, score: Score, unit: OnsetUnit) -> None:
        self.score, self.unit = score, unit
        tolerance = _TOLERANCE[unit]
        self.tolerance = {"onset": tolerance, "end": tolerance, "duration": 2 * tolerance}

    @cached_property
    def onset(self) -> Floats:
        return self._time(self.score.onset)

    def _time(self, ticks: Ints) -> Floats:
        if self.unit == "seconds":
            return self.score.seconds(ticks)
        return ticks / (self.score.ticks_per_beat if self.unit == "beats" else 1)

    def values(self, what: str) -> Floats:
        """What it says [shape=(n,)]; percussion has the program 128."""
        score = self.score
        if what == "onset":
            return self.onset
        if what in _TIMES:
            return self._time(score.offset) - (self.onset if what == "duration" else 0)
        if what == "bar":
            position = positions(score.onset, score.ticks_per_beat)
            policies = Policies(unsupported_metre="nearest", beyond_limit="keep")
            return bar_table(score, int(position.max()) + 1, policies).bars(position)[0].astype(np.float64)
        column = score.program + 128 * score.drum if what == "program" else getattr(score, what)
        return np.asarray(np.minimum(column, 128), np.float64)

    def differs(self, what: str, said: Floats, places: Ints) -> Bools:
        """Whether the table says something else of each note; bars may be counted from 0 or from 1."""
        heard = self.values(what)[places]
        tolerance = self.tolerance.get(what, 0.0)
        different: Bools = np.abs(said - heard) > tolerance
        if what == "bar" and different.any():
            different = min(different, np.abs(said - heard - 1) > 0, key=np.count_nonzero)
        if what == "program":
            different &= ~(self.score.drum[places] & (said == self.score.program[places]))
        return different & ~np.isnan(said)

    def contradiction(self, entry: NoteEntry, places: Ints) -> str | None:
        """The first row that says something else of its note, in words."""
        first: tuple[int, str] | None = None
        for what, column in entry.columns.items():
            if what == "note":
                continue
            said = np.asarray(column, np.float64)
            wrong = np.flatnonzero(self.differs(what, said, places))
            if len(wrong) and (first is None or wrong[0] < first[0]):
                at = int(wrong[0])
                heard = float(self.values(what)[places[at]])
                unit = f" {self.unit}" if what in _TIMES else ""
                first = (
                    at,
                    (
                        f"row {entry.rows[at]} after the header: the table says {what} {said[at]:g}{unit}, "
                        f"note {int(places[at])} of the file has {what} {heard:g}{unit}"
                    ),
                )
        return None if first is None else first[1]


def _explain(entry: NoteEntry, score: Score, numbers: Ints | None, order: NoteOrder, unit: OnsetUnit) -> str:
    """What would make the table and the music agree."""
    others: list[tuple[Ints | None, NoteOrder, OnsetUnit, str]] = []
    if numbers is not None:
        other: NoteOrder = "sorted" if order == "file" else "file"
        others.append((numbers - 1, order, unit, "notes are counted from 0, and the table counts from 1"))
        others.append((numbers, other, unit, f"the table counts notes otherwise: give --note-order {other}"))
    others += [
        (numbers, order, scale, f"times are in {scale}: give --onset-unit {scale}")
        for scale in get_args(OnsetUnit)
    ]
    for shifted, counted, scale, words in others:
        music = _Music(score, scale)
        try:
            places = _by_onset(entry, music) if shifted is None else _numbered(shifted, score, counted)
        except DatasetError:
            continue
        if music.contradiction(entry, places) is None:
            return words
    return "mend the column that is wrong, or remove it"


def _by_onset(entry: NoteEntry, music: _Music) -> Ints:
    """Note of each label, by onset and pitch; of several, the one that is nearest to all that is said."""
    onsets, tolerance = music.onset, music.tolerance["onset"]
    waiting: defaultdict[int, list[int]] = defaultdict(list)
    for note in np.argsort(onsets, kind="stable"):
        waiting[int(music.score.pitch[note])].append(int(note))
    more = {
        what: (column, music.values(what))
        for what, column in entry.columns.items()
        if what in ("end", "duration", "velocity", "program")
    }
    places = []
    for k, (onset, pitch) in enumerate(zip(entry.columns["onset"], entry.columns["pitch"], strict=True)):
        near = [note for note in waiting[int(pitch)] if abs(onsets[note] - onset) <= tolerance]
        if not near:
            raise DatasetError(UNMATCHED, f"no note of pitch {pitch:g} begins at {onset:g} {music.unit}")

        def distance(note: int, k: int = k, onset: float = onset) -> tuple[int, float]:
            others = sum(
                abs(column[k] - heard[note]) > music.tolerance.get(what, 0.0)
                for what, (column, heard) in more.items()
            )
            return others, abs(onsets[note] - onset)

        best = min(near, key=distance)
        waiting[int(pitch)].remove(best)
        places.append(best)
    return np.array(places, np.int64)
