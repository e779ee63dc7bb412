"""Chord root (CR) and local key (LK): the 596 annotated pieces of AugmentedNet.

``dataset/{training,validation,test}/<piece>.tsv``, frames of 1/8 of a quarter note with the columns
``j_offset``, ``s_measure``, ``s_notes`` and ``s_isOnset`` of the score, ``a_root`` and ``a_localKey`` of the
analysis; ``dataset_summary.tsv`` with the score of each piece.

A note has the label of the last frame that begins at or before its onset. Bars begin where ``s_measure``
changes; each is stretched to 4 beats. Notes come from the frames: pitches that begin in a frame and sound
until they are gone or begin again, so a tied note is one, and onsets are exact to 1/8 of a quarter note.
``compatible=True`` takes them from the scores (``rawdata/...``) through music21 as the published program does
(install the extra ``scores``; about half an hour for all), with tied notes apart and a pickup stretched to a
whole bar.

``published``: AugmentedNet's own parts; no score is in two of them, but versions may be (see
`musicbert.corpus.splits.song_groups`). ``clean`` is the same unless `regroup` makes it anew; the group of a
piece is its score.
"""

import csv
import io
import re
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Floats, Ints
from musicbert.corpus.readers.beats import times_to_beats
from musicbert.corpus.readers.contract import Item, Loaded, Source
from musicbert.corpus.readers.files import SourceFiles
from musicbert.corpus.readers.tasks import CHORD_ROOTS, LOCAL_KEYS
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.errors import DatasetError
from musicbert.midi.limits import ReadLimits
from musicbert.midi.notation.files import plain_text, unpacked, xml_text

_FRAMES = r"(?:^|/)(?P<part>training|validation|test)/(?P<name>[^/]+)\.tsv$"
_SUMMARY = r"(?:^|/)dataset_summary\.tsv$"
_SCORES = r"(?:^|/)rawdata/.+\.(?:mxl|musicxml|xml|krn)$"
_PARTS = {"training": "train", "validation": "valid", "test": "test"}
_COLUMNS = ("j_offset", "s_measure", "s_notes", "s_isOnset", "a_root", "a_localKey")
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
#: Python lists of names and of truth values, as the frames hold them.
_NAME, _TRUTH = re.compile(r"'([^']+)'"), re.compile(r"\b(True|False)\b")
_VELOCITY = 64
#: Octaves that scores use.
_OCTAVES = range(-1, 10)


def midi_pitch(name: str) -> int:
    """MIDI pitch of a note in music21's spelling (``-`` is flat); `ValueError` if it names none.

    >>> midi_pitch("C4"), midi_pitch("B--3"), midi_pitch("F##5")
    (60, 57, 79)
    """
    step, rest = name[:1], name[1:]
    marks = len(rest) - len(rest.lstrip("#-"))
    octave = int(rest[marks:])
    if step not in _STEPS or octave not in _OCTAVES:
        raise ValueError(f"{name!r} is not the name of a note")
    return 12 * (octave + 1) + _STEPS[step] + rest[:marks].count("#") - rest[:marks].count("-")


def frame_notes(
    offsets: Floats, notes: list[list[str]], onsets: list[list[bool]]
) -> tuple[Floats, Floats, Ints]:
    """Put notes together from frames.

    Onset, offset [shape=(n,), quarter notes] and pitch, by onset and pitch. ``offsets`` [shape=(m,), quarter
    notes]: beginning of each frame; ``notes`` and ``onsets``: names of the pitches that sound in each frame,
    and whether each begins there.
    """
    ends = np.append(offsets[1:], 2 * offsets[-1] - offsets[-2] if len(offsets) > 1 else offsets[-1] + 0.125)
    names = {name: midi_pitch(name) for name in {name for frame in notes for name in frame}}
    sounding: dict[int, float] = {}
    held_notes: list[tuple[float, int, float]] = []
    before: list[str] | None = None
    for at, frame, begins in zip(offsets, notes, onsets, strict=True):
        if frame == before and not any(begins):  # everything sounds on
            continue
        before = frame
        here: dict[int, bool] = {}
        for name, begin in zip(frame, begins, strict=True):
            here[names[name]] = here.get(names[name], False) or begin
        over = [pitch for pitch in sounding if here.get(pitch, True)]
        held_notes += [(sounding.pop(pitch), pitch, at) for pitch in over]
        for pitch in here:
            sounding.setdefault(pitch, at)
    held_notes += [(start, pitch, ends[-1]) for pitch, start in sounding.items()]
    table = np.array(sorted(held_notes), np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 2], table[:, 1].astype(np.int64)


def measure_lines(offsets: Floats, measures: Floats, *, compatible: bool = False) -> Floats:
    """Bar lines [shape=(bars + 1,), quarter notes, with the end of the last bar], by the measures of frames.

    ``compatible`` takes the first and the last measure for whole bars. Otherwise a first one that is shorter
    than the second is a pickup (the end of a bar of the second's length), and a shorter last one begins such
    a bar.
    """
    starts = np.concatenate([[True], np.diff(measures) != 0])
    frame = offsets[1] - offsets[0] if len(offsets) > 1 else 0.125
    lines = np.append(offsets[starts], offsets[-1] + frame)
    if not compatible and len(lines) > 2:
        lengths = np.diff(lines)
        if lengths[0] < lengths[1]:
            lines[0] = lines[1] - lengths[1]
        if lengths[-1] < lengths[-2]:
            lines[-1] = lines[-2] + lengths[-2]
    return lines


def _items(files: SourceFiles, compatible: bool) -> list[Item]:
    scores = _summary(files)
    items = []
    for match in files.require(_FRAMES, "{training,validation,test}/<piece>.tsv of AugmentedNet"):
        name, path, part = match["name"], match.string, _PARTS[match["part"]]
        score = scores.get(name, "")
        load = partial(_load, files, path, name, score, compatible)
        items.append(Item(name, path, score or name, {"published": part, "clean": part}, load))
    return items


def _summary(files: SourceFiles) -> dict[str, str]:
    """Score of each piece, as far as the summary says."""
    summaries = files.find(_SUMMARY)
    if not summaries:
        return {}
    rows = csv.DictReader(io.StringIO(files.text(summaries[0].string)), delimiter="\t")
    return {row["file"]: row.get("score") or "" for row in rows if row.get("file")}


def _load(files: SourceFiles, path: str, name: str, score: str, compatible: bool) -> list[Loaded]:
    table = _table(files, path)
    try:
        offsets, measures = (np.array(table[key], np.float64) for key in ("j_offset", "s_measure"))
        if compatible:
            onset, offset, pitch = _score_notes(files, score, path)
        else:
            names = {text: _NAME.findall(text) for text in set(table["s_notes"])}
            truths = {text: [w == "True" for w in _TRUTH.findall(text)] for text in set(table["s_isOnset"])}
            frames = [names[text] for text in table["s_notes"]]
            begins = [truths[text] for text in table["s_isOnset"]]
            onset, offset, pitch = frame_notes(offsets, frames, begins)
    except (ValueError, TypeError, KeyError) as error:
        raise DatasetError("bad-frames", f"A frame cannot be read: {error}", path=path) from error
    if not len(onset):
        raise DatasetError("no-notes", "No note begins in the frames", path=path)
    lines = measure_lines(offsets, measures, compatible=compatible)
    frame = np.clip(np.searchsorted(offsets, onset + 1e-9, side="right") - 1, 0, len(offsets) - 1)
    labels = {
        "chordroot": _numbers(table["a_root"], CHORD_ROOTS, path)[frame],
        "localkey": _numbers(table["a_localKey"], LOCAL_KEYS, path)[frame],
    }
    notes = BeatNotes(
        times_to_beats(onset, lines),
        times_to_beats(offset, lines),
        pitch,
        np.full(len(pitch), _VELOCITY, np.int64),
    )
    return [(name, notes, labels)]


def _table(files: SourceFiles, path: str) -> dict[str, list[str]]:
    """Columns of the frames that are needed."""
    import pandas as pd  # slow to import, and many callers read no table

    try:
        table = pd.read_csv(
            io.BytesIO(files.read(path)), sep="\t", usecols=list(_COLUMNS), dtype=str, keep_default_na=False
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise DatasetError("not-a-table", f"The frames cannot be read: {error}", path=path) from error
    if not len(table):
        raise DatasetError("empty-table", "There are no frames", path=path)
    return {column: table[column].tolist() for column in _COLUMNS}


def _numbers(values: list[str], names: ArrayLike, path: str) -> Ints:
    number = {name: index for index, name in enumerate(np.asarray(names).tolist()) if index}
    try:
        return np.array([number[value] for value in values], np.int64)
    except KeyError as error:
        message = f"{error} is not a label of the published tables"
        raise DatasetError("bad-label", message, path=path) from error


def _score_notes(files: SourceFiles, score: str, path: str) -> tuple[Floats, Floats, Ints]:
    """Notes of the score of a piece."""
    scores = [name for name in files.paths if score and name.endswith(score)]
    if not scores:
        raise DatasetError(
            "not-found",
            f"There is no score {score!r} for the piece",
            path=path,
            hint="put rawdata/ beside dataset/",
        )
    return score_notes(files.read(scores[0]), scores[0])


AUGMENTEDNET = Source(
    name="augmentednet",
    about="596 pieces with Roman numeral analysis",
    origin="github.com/napulen/AugmentedNet",
    licence="MIT (program); scores and analyses CC BY-SA, CC BY-NC-SA and others",
    layout="dataset/{training,validation,test}/<piece>.tsv and dataset_summary.tsv[, rawdata/...: scores]",
    wanted=rf"{_FRAMES}|{_SUMMARY}|{_SCORES}".replace("(?P<part>", "(?:").replace("(?P<name>", "(?:"),
    items=_items,
)


#: The longest score unpacks to about 20 MB, more than a fourth of these bytes.
_LIMITS = ReadLimits(max_bytes=64 << 20)


def score_notes(content: bytes, path: str) -> tuple[Floats, Floats, Ints]:
    """Onsets, offsets [quarter notes] and pitches [shape=(n,)] of a score, by onset, pitch and duration.

    Chords are given note by note, tied notes apart, notes without duration left out. The suffix of ``path``
    (``.mxl``, ``.musicxml``, ``.xml``, ``.krn``) says what ``content`` is. music21 is an extra (``pip install
    musicbert[scores]``), imported here. Raises `DatasetError`: ``no-music21``, ``bad-score``.
    """
    try:
        from music21 import converter
    except ImportError as error:
        raise DatasetError(
            "no-music21", "Notes of scores need music21", path=path, hint="pip install 'musicbert[scores]'"
        ) from error
    suffix = PurePosixPath(path).suffix.lower()
    try:
        content = unpacked(content, _LIMITS, path) if suffix == ".mxl" else content
        text = plain_text(content) if suffix == ".krn" else xml_text(content, "score", path)[0]
        parsed: Any = converter.parseData(text, format="humdrum" if suffix == ".krn" else "musicxml")
        table = [
            (float(note.offset), pitch.midi, float(note.quarterLength))
            for note in parsed.flatten().notes
            if note.quarterLength > 0
            for pitch in note.pitches
        ]
    except Exception as error:  # music21 raises whatever its parsers meet
        raise DatasetError("bad-score", f"music21 cannot read the score: {error!r}", path=path) from error
    rows = np.array(sorted(table), np.float64).reshape(-1, 3)
    return rows[:, 0], rows[:, 0] + rows[:, 2], rows[:, 1].astype(np.int64)
