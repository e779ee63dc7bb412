"""Beats and downbeats as times against annotated performances: F-measure, simple baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.analysis.beats import NEAR, Onsets, track_bars, track_beats
from musicbert.analysis.layers import beat_probabilities, performed
from musicbert.arrays import Floats, Ints
from musicbert.corpus.files.object_npy import load_pickle
from musicbert.corpus.readers.files import SourceFiles
from musicbert.corpus.readers.performed_beats import PM2S
from musicbert.evaluation.metrics.bootstrap import interval, resample
from musicbert.predict import TaggerModel

_Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Performance:
    """A performance of PM2S: notes [shape=(n, 4): pitch, onset s, duration s, velocity] and annotations."""

    name: str
    part: str
    notes: Floats
    beats: Floats
    downbeats: Floats


def performances(path: Path, parts: Sequence[str]) -> list[Performance]:
    """Read the performances of some parts of the clean split."""
    found = []
    with SourceFiles(path, PM2S.wanted) as files:
        for item in PM2S.items(files, False):
            if item.splits.get("clean") in parts:
                notes, marks = load_pickle(item.path, content=files.read(item.path))
                notes = np.asarray(notes, np.float64)
                notes = notes[np.lexsort((notes[:, 0], notes[:, 1]))]
                times = [np.asarray(marks[key], np.float64) for key in ("beats", "downbeats")]
                found.append(Performance(item.name, item.splits["clean"], notes, *times))
    return found


def music_of(names: Sequence[str], seen: set[str]) -> dict[str, Ints]:
    """Places of all pieces, of those that the pre-training has not seen, and of those that it has."""
    known = np.isin(names, list(seen))
    places = {"all": np.arange(len(names)), "unseen": np.flatnonzero(~known), "seen": np.flatnonzero(known)}
    return {music: chosen for music, chosen in places.items() if len(chosen)}


def f_measure(found: Floats, true: Floats) -> float:
    """F-measure of times, each matched once within 70 ms."""
    found, true = np.sort(found), np.sort(true)
    i = j = hits = 0
    while i < len(found) and j < len(true):
        difference = found[i] - true[j]
        if abs(difference) <= NEAR:
            i, j, hits = i + 1, j + 1, hits + 1
        elif difference < 0:
            i += 1
        else:
            j += 1
    return 2 * hits / max(len(found) + len(true), 1)


def onsets_of(model: TaggerModel, performance: Performance) -> Onsets:
    """Onsets of a performance with what the network says of them."""
    pitch, onset, duration, velocity = performance.notes.T
    notes = performed(onset, onset + duration, pitch.astype(np.int64), velocity.astype(np.int64))
    return Onsets.of(onset, *beat_probabilities(model.predict_labels([notes])[0]))


def _regular(times: Floats, every: int) -> tuple[Floats, Floats]:
    """Beats at the most frequent distance of onsets, from the first onset, and every so many a downbeat."""
    gaps = np.diff(times)
    gaps = gaps[(gaps > 0.2) & (gaps < 2.4)]
    counts, edges = np.histogram(np.log(gaps), 48) if len(gaps) else (np.ones(1), np.log([0.5, 0.5]))
    at = int(counts.argmax())
    beats = np.arange(times[0], times[-1], float(np.exp((edges[at] + edges[at + 1]) / 2)))
    return beats, beats[::every]


def time_rows(path: Path, models: Mapping[str, TaggerModel], seen: set[str]) -> Iterator[_Row]:
    """Rows of scores of beats and downbeats as times."""
    music = performances(path, ("test",))
    found: dict[str, list[tuple[Floats, Floats]]] = defaultdict(list)
    for each in music:
        for name, model in models.items():
            onsets = onsets_of(model, each)
            beats = track_beats(onsets)
            found[name].append((beats, beats[track_bars(beats, onsets)]))
            if name == "network":
                times = onsets.seconds
                even = Onsets(times, np.full(len(times), 0.5), np.zeros(len(times)))
                beats = track_beats(even)
                found["baseline: the same search, all onsets alike"].append(
                    (beats, beats[track_bars(beats, even)])
                )
                found["baseline: every onset"].append((times, times))
                found["baseline: a regular pulse"].append(_regular(times, 4))
    for name, times in found.items():
        for k, label in enumerate(("beat", "downbeat")):
            values = np.array(
                [
                    f_measure(one[k], each.downbeats if k else each.beats)
                    for one, each in zip(times, music, strict=True)
                ]
            )
            for which, chosen in music_of([each.name for each in music], seen).items():
                weights = resample(len(chosen), n_resamples=1000)
                draws = weights @ values[chosen] / weights.sum(1)
                yield {
                    "label": label, "metric": "F-measure, 70 ms", "row": name, "music": which,
                    "pieces": len(chosen), **interval(draws).as_dict(),
                }  # fmt: skip
