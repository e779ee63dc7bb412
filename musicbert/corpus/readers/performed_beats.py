"""Beats and downbeats in performances (BP, DbP): PM2S's features, and ASAP with its annotations.

PM2S
    ``metadata.csv`` (performance_id, piece_id, split, feature_file, performance_MIDI_external) and
    ``features/<id>.pkl``: notes [shape=(n, 4): pitch, onset s, duration s, velocity] and annotations (beats
    and downbeats in seconds). ``published``: its own split, in which 507 performances of ASAP are listed
    twice; ``clean``: each performance once. No piece is in two parts of PM2S's own split, but the published
    program then moves the last 500 segments of train to valid, in the middle of a piece
    (`musicbert.corpus.readers.published.move_tail`).
ASAP
    ``<composer>/.../<performance>.mid`` beside ``<performance>_annotations.txt`` (seconds twice, then ``b``,
    ``db`` or ``bR`` and other marks). ``clean``: parts by composition; there is no published split.

Seconds become beats by the median duration of a note, doubled or halved until it lies in 0.3-1.5 s: the
published rule, which knows nothing of the beats that are to be found. A note is on a beat if it begins within
70 ms of one (``compatible=True``: on a raster of 10 ms).
"""

import io
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from musicbert.annotation.folds import PARTS
from musicbert.arrays import Floats, Ints
from musicbert.corpus.files.beats import read_marks
from musicbert.corpus.files.object_npy import load_pickle
from musicbert.corpus.readers.contract import Item, Loaded, Source
from musicbert.corpus.readers.files import SourceFiles
from musicbert.corpus.splits.song_groups import clean_parts
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.errors import DatasetError
from musicbert.midi import read_score

_TOLERANCE_S, _RASTER_S = 0.07, 0.01
_SHORTEST_S, _LONGEST_S = 0.3, 1.5
OFF, ON = 1, 2
_FEATURE = r"(?:^|/)features/[^/]+\.pkl$"
_METADATA = r"(?:^|/)metadata\.csv$"
_ANNOTATION = r"(?P<piece>[^/]+(?:/[^/]+)*)/(?P<name>[^/]+)_annotations\.txt$"


def pseudo_beat(duration: ArrayLike) -> float:
    """Seconds of a beat, guessed from the durations of notes [shape=(n,), seconds].

    Examples
    --------
    >>> pseudo_beat([0.1, 0.2, 0.4])
    0.4
    """
    beat = float(np.median(np.asarray(duration, np.float64)))
    if not beat > 0:
        return _SHORTEST_S
    while beat < _SHORTEST_S:
        beat *= 2
    while beat > _LONGEST_S:
        beat /= 2
    return beat


def near_a_beat(onset: ArrayLike, beats: ArrayLike, *, compatible: bool = False) -> Ints:
    """Class of each note [shape=(n,), int64]: 2 within 70 ms of a beat, else 1; onsets and beats in seconds.

    ``compatible`` rounds times to 10 ms.
    """
    times, marks = np.asarray(onset, np.float64), np.sort(np.asarray(beats, np.float64))
    tolerance = _TOLERANCE_S
    if compatible:
        times, marks = np.rint(times / _RASTER_S), np.rint(marks / _RASTER_S)
        tolerance = round(_TOLERANCE_S / _RASTER_S)
    if not len(marks):
        return np.full(len(times), OFF, np.int64)
    after = np.clip(np.searchsorted(marks, times), 0, len(marks) - 1)
    before = np.maximum(after - 1, 0)
    distance = np.minimum(np.abs(marks[after] - times), np.abs(marks[before] - times))
    return np.where(distance <= tolerance + 1e-9, ON, OFF).astype(np.int64)


def _pieces(
    name: str, notes: Floats, beats: ArrayLike, downbeats: ArrayLike, compatible: bool
) -> list[Loaded]:
    """Labelled notes of a performance [shape=(n, 4): pitch, onset s, duration s, velocity]."""
    notes = notes[np.lexsort((notes[:, 0], notes[:, 1]))]
    pitch, onset, duration, velocity = notes.T
    beat = pseudo_beat(duration)
    music = BeatNotes(
        onset=onset / beat,
        offset=(onset + duration) / beat,
        pitch=pitch.astype(np.int64),
        velocity=velocity.astype(np.int64),
    )
    labels = {
        "beat": near_a_beat(onset, beats, compatible=compatible),
        "downbeat": near_a_beat(onset, downbeats, compatible=compatible),
    }
    return [(name, music, labels)]


def _pm2s_items(files: SourceFiles, compatible: bool) -> list[Item]:
    import pandas as pd  # slow to import, and many callers read no table

    path = files.require(_METADATA, "metadata.csv of PM2S")[0].string
    try:
        table = pd.read_csv(io.BytesIO(files.read(path)), dtype=str, keep_default_na=False)
        columns = [
            table[name] for name in ("performance_id", "piece_id", "split", "performance_MIDI_external")
        ]
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        raise DatasetError("not-a-table", f"metadata.csv cannot be read: {error}", path=path) from error
    features = {
        found.string.rpartition("/")[2]: found.string for found in files.require(_FEATURE, "features/*.pkl")
    }
    items: list[Item] = []
    seen: set[str] = set()
    for name, piece, split, midi in zip(*columns, strict=True):
        feature = features.get(f"{name}.pkl")
        if feature is None or split not in PARTS:
            continue
        splits = {"published": split} if midi in seen else {"published": split, "clean": split}
        seen.add(midi)
        items.append(
            Item(
                name,
                feature,
                f"piece{piece}",
                splits,
                partial(_load_feature, files, feature, name, compatible),
            )
        )
    if not items:
        raise DatasetError("wrong-layout", "No performance of metadata.csv has its features", path=path)
    return items


def _load_feature(files: SourceFiles, path: str, name: str, compatible: bool) -> list[Loaded]:
    content: Any = load_pickle(path, content=files.read(path))
    try:
        notes, annotations = content
        notes = np.asarray(notes, np.float64)
        beats, downbeats = (np.asarray(annotations[key], np.float64) for key in ("beats", "downbeats"))
    except (TypeError, ValueError, KeyError) as error:
        raise DatasetError(
            "bad-features", f"Not notes and annotations of PM2S: {error}", path=path
        ) from error
    if notes.ndim != 2 or notes.shape[1] != 4 or not len(notes):
        raise DatasetError("bad-features", "Not an array of notes with four columns", path=path)
    return _pieces(name, notes, beats, downbeats, compatible)


def _asap_items(files: SourceFiles, compatible: bool) -> list[Item]:
    annotated = []
    for match in files.require(_ANNOTATION, "<performance>_annotations.txt of ASAP"):
        midi = match.string.replace("_annotations.txt", ".mid")
        if midi in files and match["name"] != "midi_score":
            annotated.append((match, midi))
    groups = {midi: _composition(match["piece"]) for match, midi in annotated}
    clean = clean_parts(groups) if groups else {}
    return [
        Item(
            midi.removesuffix(".mid"),
            midi,
            groups[midi],
            {"clean": clean[midi]},
            partial(_load_asap, files, match.string, midi, compatible),
        )
        for match, midi in annotated
    ]


def _composition(folder: str) -> str:
    """Composition of a folder; versions without repeats are in folders of their own (``17-1_no_repeat``)."""
    return folder.removesuffix("_no_repeat")


def _load_asap(files: SourceFiles, annotation: str, midi: str, compatible: bool) -> list[Loaded]:
    marks = read_marks(files.text(annotation), annotation)
    score = read_score(files.read(midi), name=midi)
    onset, offset = score.seconds(score.onset), score.seconds(score.offset)
    notes = np.stack([score.pitch, onset, offset - onset, score.velocity], axis=1).astype(np.float64)
    beats = [time for times in marks.values() for time in times]
    return _pieces(midi.removesuffix(".mid"), notes, beats, marks["db"], compatible)


PM2S = Source(
    name="pm2s",
    about="beats of performed piano music (ASAP, A-MAPS, CPM)",
    origin="github.com/cheriell/PM2S, features made with its dev/data/data_utils.py",
    licence="MIT (program); ASAP CC BY-NC-SA 4.0, CPM for study and research",
    layout="metadata.csv and features/<id>.pkl",
    wanted=rf"{_FEATURE}|{_METADATA}",
    items=_pm2s_items,
)
ASAP = Source(
    name="asap",
    about="beats of performed piano music (ASAP alone)",
    origin="github.com/fosfrancesco/asap-dataset",
    licence="CC BY-NC-SA 4.0",
    layout="<composer>/.../<performance>.mid with <performance>_annotations.txt",
    wanted=r"\.mid$|_annotations\.txt$",
    items=_asap_items,
)
