"""Labels of notes from a table: a list a piece, or a line a note.

A list (JSON Lines or Parquet: ``{"file": "a.mid", "label": ["x", "y", null]}``) has one label for each note
of the file. A line a note names its note by its number (column ``note``, from 0) or by ``onset`` and
``pitch``. Notes are counted in the order of the file (tracks one after the other) or, where asked for, sorted
by onset and pitch. Onsets are in quarter notes, ticks or seconds; two notes of one onset and pitch are taken
in the order of the file.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from musicbert.annotation.names import cell_name
from musicbert.arrays import Ints
from musicbert.corpus.labelled.pieces import NO_CLASS, Kind
from musicbert.corpus.tables.kinds import Labels, TableColumns, as_labels
from musicbert.errors import DatasetError
from musicbert.midi import Score

OnsetUnit = Literal["beats", "ticks", "seconds"]
NoteOrder = Literal["file", "sorted"]
NOTE_NAMES, ONSET_NAMES, PITCH_NAMES = (
    ("note", "note_index", "index"),
    ("onset", "start"),
    ("pitch", "midi_pitch"),
)
#: how far an onset may be from the one in the table, by unit: rounding to two or three digits
_TOLERANCE = {"beats": 0.011, "ticks": 1.0, "seconds": 0.011}
WRONG_LENGTH, UNMATCHED = "wrong-length", "unmatched-note"


@dataclass(eq=False)
class NoteEntry:
    """Labels of the notes of one file, as the table has them.

    Notes are named by ``number``, by ``onset`` and ``pitch``, or not at all (``values`` lists all notes).
    """

    values: list[Any] = field(default_factory=list)
    number: list[int] | None = None
    onset: list[float] = field(default_factory=list)
    pitch: list[int] = field(default_factory=list)


def _column(table: pd.DataFrame, known: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in table.columns}
    return next((lower[name] for name in known if name in lower), None)


def note_entries(
    table: pd.DataFrame, columns: TableColumns, kind: Kind | None, classes: Sequence[str] | None
) -> tuple[dict[str, NoteEntry], Labels]:
    """Read the labels of notes: file -> entry, and kind and classes of all lines together.

    Raises `DatasetError`: ``ambiguous-labels``, ``missing-column``, ``bad-label``.
    """
    note, onset, pitch = (_column(table, known) for known in (NOTE_NAMES, ONSET_NAMES, PITCH_NAMES))
    places = {note, onset, pitch} - {None}
    chosen = [name for name in columns.labels if name not in places]
    if len(chosen) != 1:
        raise DatasetError(
            "ambiguous-labels",
            f"labels of notes stand in one column, here are {', '.join(chosen) or 'none'}",
            hint="choose it with --label-columns",
        )
    files, cells = [cell_name(name) for name in table[columns.file]], table[chosen[0]].tolist()
    entries: dict[str, NoteEntry] = {}
    if all(isinstance(cell, list | tuple | np.ndarray) for cell in cells):
        for file, cell in zip(files, cells, strict=True):
            if file in entries:
                raise DatasetError("bad-label", f"{file} has two lists of labels")
            entries[file] = NoteEntry(list(cell))
    elif note is not None or (onset is not None and pitch is not None):
        _lines(table, entries, files, cells, note, onset, pitch)
    else:
        raise DatasetError(
            "missing-column", "labels of notes need a list a piece, a column 'note', or 'onset' and 'pitch'"
        )
    every = [[value] for entry in entries.values() for value in entry.values]
    note_labels = as_labels(every, [chosen[0]], kind, classes=classes)
    if note_labels.kind == "multilabel":
        raise DatasetError("ambiguous-labels", "notes have one label each", hint="give --kind classes")
    at = 0
    for entry in entries.values():
        entry.values, at = note_labels.values[at : at + len(entry.values)], at + len(entry.values)
    return entries, Labels(note_labels.kind, note_labels.classes, [], note_labels.why)


def _whole(value: Any) -> int:
    number = float(value)
    if not number.is_integer():
        raise ValueError(f"{value!r} is not a whole number")
    return int(number)


def _lines(
    table: pd.DataFrame,
    entries: dict[str, NoteEntry],
    files: Sequence[str],
    cells: Sequence[Any],
    note: str | None,
    onset: str | None,
    pitch: str | None,
) -> None:
    try:
        if note is not None:
            numbers = [_whole(value) for value in table[note]]
        else:
            onsets = [float(value) for value in table[onset]]
            pitches = [_whole(value) for value in table[pitch]]
    except (TypeError, ValueError) as error:
        raise DatasetError("bad-label", f"a note is named by what is no number: {error}") from error
    for line, (file, cell) in enumerate(zip(files, cells, strict=True)):
        entry = entries.setdefault(file, NoteEntry(number=[] if note is not None else None))
        entry.values.append(cell)
        if entry.number is not None:
            entry.number.append(numbers[line])
        else:
            entry.onset.append(onsets[line])
            entry.pitch.append(pitches[line])


def label_notes(
    entry: NoteEntry, score: Score, labels: Labels, *, order: NoteOrder = "file", unit: OnsetUnit = "beats"
) -> NDArray[Any]:
    """Labels of the notes of a score, in its order [shape=(n,), int64 classes or float64].

    Notes without a label in the table have a missing one. ``order`` is how the table counts notes, ``unit``
    that of its onsets. Raises `DatasetError`: ``wrong-length`` for a list of another length or a number that
    no note has, ``unmatched-note`` for an onset and pitch that no (further) note has, or a note that is
    labelled twice.
    """
    if order not in get_args(NoteOrder) or unit not in get_args(OnsetUnit):
        raise ValueError(f"notes are in the order {get_args(NoteOrder)}, onsets in {get_args(OnsetUnit)}")
    n = len(score)
    classes = labels.kind == "classes"
    result: NDArray[Any] = np.full(n, NO_CLASS) if classes else np.full(n, np.nan)
    if entry.onset:
        places = _by_onset(entry, score, unit)
    else:
        if entry.number is None and len(entry.values) != n:
            raise DatasetError(WRONG_LENGTH, f"{len(entry.values)} labels for {n} notes")
        numbers = np.arange(n) if entry.number is None else np.asarray(entry.number, np.int64)
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= n):
            raise DatasetError(WRONG_LENGTH, f"a label of note {int(numbers.max())}, but there are {n} notes")
        sequence = np.lexsort((score.pitch, score.onset)) if order == "sorted" else np.arange(n)
        places = sequence[numbers]
    if len(np.unique(places)) < len(places):
        raise DatasetError(UNMATCHED, "a note is labelled twice")
    values = entry.values if classes else [float(np.asarray(value).reshape(-1)[0]) for value in entry.values]
    result[places] = values
    return result


def _by_onset(entry: NoteEntry, score: Score, unit: OnsetUnit) -> Ints:
    """Note of each label, by onset and pitch."""
    if unit == "ticks":
        onsets = score.onset.astype(np.float64)
    else:
        onsets = score.onset / score.ticks_per_beat if unit == "beats" else score.seconds(score.onset)
    waiting: defaultdict[int, list[int]] = defaultdict(list)
    for note in np.argsort(onsets, kind="stable"):
        waiting[int(score.pitch[note])].append(int(note))
    places = []
    for onset, pitch in zip(entry.onset, entry.pitch, strict=True):
        near = [note for note in waiting[pitch] if abs(onsets[note] - onset) <= _TOLERANCE[unit]]
        if not near:
            raise DatasetError(UNMATCHED, f"no note of pitch {pitch} begins at {onset:g} {unit}")
        best = min(near, key=lambda note: abs(onsets[note] - onset))
        waiting[pitch].remove(best)
        places.append(best)
    return np.array(places, np.int64)
