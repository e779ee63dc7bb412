"""The benchmark's own files: ``<name>_<split>.npy`` of notes and ``<name>_<split>_<task>ans.npy`` of labels.

Three forms are read, as they are published, without running their pickles: lists of notes in beats
(``downstream_note/``), segments of compound words with a label a note, and segments with a label a segment.
``<split>`` is a part (``train``) or a fold (``fold_3``). Names of pieces are not in the files, so they are
``<name>_<split>/<number>`` and each is a group of its own; there is no clean split of them.

The lists of violin fingering hold times within the bar (94 % of the published labels come to lie on other
notes through it): they are put right as `musicbert.corpus.readers.tnua` does. Segments are taken back to
notes in beats, a bar further at each Bar (New). `export` writes X and y as upstream's fine-tuning reads them.
Verified in ``tests/unit/corpus/readers/test_smc_files.py``.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.arrays import Ints
from musicbert.corpus.bins.upstream import read_label_lists, read_note_lists, read_segments
from musicbert.corpus.files.folders import write_npy
from musicbert.corpus.files.object_npy import load_npy
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.labelled.shards import Shards
from musicbert.corpus.readers.tasks import BENCHMARK, BenchmarkTask
from musicbert.corpus.readers.tnua import bars_of
from musicbert.encoding.beat_notes import BEATS_PER_BAR, BeatNotes
from musicbert.encoding.compound_word import LOW_PITCH, PAD_ROW, bar_numbers, chunk_rows, chunk_values
from musicbert.errors import DatasetError

#: name in files -> source
NAMES = {
    "pop909": "pop909",
    "pm2s": "pm2s",
    "augnet": "augmentednet",
    "tnua": "tnua",
    "orch": "orchestra",
    "tagatraum": "tagtraum",
    "tagtraum": "tagtraum",
    "bps_motif": "bps_motif",
    "pianist8": "pianist8",
    "emopia": "emopia",
}
_TASKS = {row.task.label: row for row in BENCHMARK.values()}
_FILE = re.compile(rf"(?P<name>{'|'.join(NAMES)})_(?P<split>train|valid|test|fold_(?P<fold>\d))\.npy")
_VELOCITY = 64
#: Positions of a beat, and durations of a beat: ids count sixteenths and thirty-seconds of a bar of four.
_POSITIONS, _DURATIONS = 4, 8


@dataclass(frozen=True)
class SmcFile:
    """One file of notes, with its source, its part or fold, and its label files by name of the label."""

    path: Path
    source: str
    part: str
    answers: dict[str, Path]

    @property
    def rows(self) -> list[BenchmarkTask]:
        """Tasks whose labels are there."""
        return [_TASKS[label] for label in self.answers]


def find_files(folder: str | PathLike[str]) -> list[SmcFile]:
    """Find the files of the benchmark in a folder; `DatasetError` ``not-found`` or ``wrong-layout``."""
    root = Path(folder)
    if not root.is_dir():
        raise DatasetError("not-found", "There is no such folder", path=root)
    arrays = []
    for path in sorted(root.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match is None:
            continue
        stem = path.name.removesuffix(".npy")
        answers = {label: answer for label in _TASKS if (answer := root / f"{stem}_{label}ans.npy").is_file()}
        if answers:
            part = match["fold"] or match["split"]
            arrays.append(SmcFile(path, NAMES[match["name"]], part, answers))
    if not arrays:
        raise DatasetError(
            "wrong-layout",
            "There is no file such as pop909_train.npy with pop909_train_melodyans.npy in it",
            path=root,
        )
    return arrays


def read_file(file: SmcFile) -> Iterator[LabelledPiece]:
    """Read the pieces (or segments) of a file.

    Raises `DatasetError`: ``unreadable``, ``unsafe-pickle``, ``bad-value``, ``wrong-length``.
    """
    content = load_npy(file.path)
    segments = isinstance(content, np.ndarray) and content.ndim == 3 and content.shape[-1] == 4
    columns: dict[str, Sequence[Any]] = {}
    notes: list[BeatNotes]
    kept: list[Ints] | None = None
    if segments:
        tokens, _ = read_segments(file.path)
        kept = [np.flatnonzero(rows[:, 0] != PAD_ROW[0]) for rows in tokens]
        notes = [_notes_of(rows[at]) for rows, at in zip(tokens, kept, strict=True)]
    else:
        notes = read_note_lists(file.path)
    for label, path in file.answers.items():
        if _TASKS[label].task.level == "sequence":
            columns[label] = np.asarray(load_npy(path), np.int64).reshape(-1).tolist()
        elif kept is not None:
            _, answers = read_segments(file.path, path)
            assert answers is not None
            columns[label] = [row[at] for row, at in zip(answers, kept, strict=True)]
        else:
            columns[label] = read_label_lists(path)
        if len(columns[label]) != len(notes):
            raise DatasetError(
                "wrong-length", f"{len(columns[label])} labels for {len(notes)} pieces", path=path
            )
    name = file.path.name.removesuffix(".npy")
    for number, piece in enumerate(notes):
        if len(piece) == 0:
            continue
        if file.source == "tnua" and not segments:
            piece = _with_bars(piece)
        labels = {label: values[number] for label, values in columns.items()}
        called = f"{name}/{number:05d}"
        yield LabelledPiece(called, piece, called, labels, {"published": file.part}, file.path.name)


def _notes_of(rows: Ints) -> BeatNotes:
    """Notes in beats of compound words without padding; empty bars between them are not known."""
    onset = bar_numbers(rows) * BEATS_PER_BAR + rows[:, 1] / _POSITIONS
    offset = onset + (rows[:, 3] + 1) / _DURATIONS
    velocity = np.full(len(rows), _VELOCITY, np.int64)
    return BeatNotes(onset.astype(np.float64), offset.astype(np.float64), rows[:, 2] + LOW_PITCH, velocity)


def _with_bars(notes: BeatNotes) -> BeatNotes:
    shift = BEATS_PER_BAR * bars_of(notes.onset).astype(np.float64)
    return BeatNotes(notes.onset + shift, notes.offset + shift, notes.pitch, notes.velocity)


def export(shards: Shards, folder: str | PathLike[str], name: str, *, split: str = "published") -> list[Path]:
    """Write X and y of compound-word shards as upstream's fine-tuning reads them; return the files.

    ``<name>_<split>.npy`` [shape=(N, L, 4), int64] and labels [shape=(N, L) or (N,)]; ``name`` is one of
    `NAMES`, ``split`` decides the parts. Raises `DatasetError` ``wrong-codec``.
    """
    if not shards.codec.startswith("cp"):
        raise DatasetError("wrong-codec", "Upstream reads compound words", path=shards.path, hint="use cp")
    Path(folder).mkdir(parents=True, exist_ok=True)
    parts = shards.split(split)
    written = []
    for part in dict.fromkeys(parts.values()):
        pieces = [shards.index[piece] for piece, assigned in parts.items() if assigned == part]
        level = next(iter(shards.labels.values())).level
        length = 1024 if level == "note" else 512
        stem = f"{name}_{f'fold_{part}' if part.isdigit() else part}"
        chunks = [chunk_rows(shards.rows(piece), length) for piece in pieces]
        written.append(Path(folder) / f"{stem}.npy")
        write_npy(written[-1], np.concatenate(chunks).astype(np.int64))
        for label in shards.labels:
            if level == "note":
                values = [chunk_values(shards.note_labels(label, piece), length) for piece in pieces]
            else:
                piece_labels = shards.label(label)
                values = [
                    np.full(len(c), piece_labels[piece]) for c, piece in zip(chunks, pieces, strict=True)
                ]
            written.append(Path(folder) / f"{stem}_{label}ans.npy")
            write_npy(written[-1], np.concatenate(values).astype(np.int64))
    return written
