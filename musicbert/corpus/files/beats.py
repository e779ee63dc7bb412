"""Beats of performances, and of their scores, from ASAP's annotations.

``NAME_annotations.txt`` lies beside ``NAME.mid``, ``midi_score_annotations.txt`` beside both: a line a beat,
its seconds twice and ``b``, ``db`` (first of a bar) or ``bR``, between tabs. Beat k of the one is beat k of
the other where the performance is aligned.
"""

import math
from pathlib import Path

import numpy as np

from musicbert.arrays import Floats
from musicbert.corpus.files.folders import read_whole
from musicbert.errors import DatasetError
from musicbert.provenance import file_hash
from musicbert.reuse import record_hash

ANNOTATIONS = "_annotations.txt"
#: bytes of a file of annotations; those of ASAP have 60,000
_MAX_BYTES = 8 << 20
MARKS = ("b", "db", "bR")


def read_marks(text: str, path: str) -> dict[str, list[float]]:
    """Seconds of the beats of an annotation file, by their mark.

    Raises `DatasetError` (``bad-annotation``: what stands in the place of a time is none).
    """
    marks: dict[str, list[float]] = {mark: [] for mark in MARKS}
    for line in text.splitlines():
        time, _, mark = line.split("\t") if line.count("\t") == 2 else ("", "", "")
        kind = mark.split(",")[0]
        if kind in marks:
            try:
                marks[kind].append(float(time))
            except ValueError as error:
                raise DatasetError("bad-annotation", f"{time!r} is not a time", path=path) from error
    return marks


def aligned_beats(midi: str) -> tuple[Floats, Floats]:
    """Beats of a MIDI file of a performance, and the same beats of its score, in seconds [shape=(b,) each].

    Raises `DatasetError` (``bad-annotation``; ``bad-beats``: no annotations beside it, or beats that are not
    ascending or not aligned).
    """
    path = Path(midi)
    beats, score = (_beats(place) for place in _annotations(path))
    if len(beats) != len(score):
        message = f"{len(beats)} beats of the performance, {len(score)} of the score: they are not aligned"
        raise DatasetError("bad-beats", message, path=path)
    return beats, score


def annotations_hash(midi: str) -> str:
    """Return a hash of both files that `aligned_beats` reads; a missing file has one too."""
    files = _annotations(Path(midi))
    return record_hash([file_hash(path) if path.is_file() else "missing" for path in files])


def _annotations(path: Path) -> list[Path]:
    """Annotations of a performance and of its score."""
    return [path.with_name(f"{name}{ANNOTATIONS}") for name in (path.stem, "midi_score")]


def _beats(path: Path) -> Floats:
    try:
        text = read_whole(path, "The beats", most=_MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError("bad-beats", f"The beats are not UTF-8 text: {error}", path=path) from error
    except DatasetError as error:
        message = f"There are no beats of it beside it: {error.message}"
        raise DatasetError("bad-beats", message, path=path) from error
    times = np.array(sorted(time for of in read_marks(text, str(path)).values() for time in of))
    if len(times) < 2 or not math.isfinite(times.sum()) or (np.diff(times) <= 0).any():
        raise DatasetError("bad-beats", "The beats are not two or more ascending times", path=path)
    return times
