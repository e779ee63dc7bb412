"""Melody, chord roots, local keys, beats and downbeats of any music, by one network with five heads.

>>> layers = music_layers(musicbert.read_score("piece.mid"))  # doctest: +SKIP
>>> [key.name for key in layers.keys]  # doctest: +SKIP
['C major', 'G major', 'C major']

The network `MODEL` reads notes in compound words, as its training data had them: for beats in seconds,
divided by a length that their durations suggest; for all else in bars of four beats, whatever the metre. The
bars are those of the file where its onsets lie on its beats, otherwise those that were found. Percussion is
left out. Beats are found as `musicbert.analysis.beats` says, chords and keys as
`musicbert.analysis.harmony` does.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.analysis.beats import (
    ON_GRID,
    Onsets,
    file_beats,
    grid_strength,
    ticks_of,
    track_bars,
    track_beats,
)
from musicbert.analysis.harmony import Smoothing, at_sixteenths, key_name, respelled, root_name, sounding
from musicbert.arrays import Bools, Floats, Ints
from musicbert.atomic import read_json
from musicbert.corpus.readers.beats import times_to_beats
from musicbert.corpus.readers.performed_beats import ON, pseudo_beat
from musicbert.corpus.readers.tasks import CHORD_ROOTS, LOCAL_KEYS
from musicbert.encoding.beat_notes import BEATS_PER_BAR, MAX_BEATS, BeatNotes
from musicbert.errors import CheckpointError, first_line
from musicbert.midi import Score

#: the network that comes with the package, and the file with its scores and transitions
MODEL, ABOUT = "m2bert-mini-layers", "layers.json"
NAMES = ("melody", "chords", "keys", "beats", "downbeats")
#: fewest pitched notes for any layer, and for beats of a performance
FEWEST, FEWEST_FOR_BEATS = 8, 16
#: share of the notes that may overlap with the next in music of one voice
ONE_VOICE = 0.05
#: instruments from which on a piece is unlike the songs for piano that melodies were learned from
MANY_INSTRUMENTS = 2
#: names of tracks that hold the tune
_TUNE = re.compile(r"\b(melod\w*|vocals?|voice|voix|voce|canto|singer|sing\w*stimme|gesang)\b", re.IGNORECASE)
#: seconds of a stretch of music, and share of stretches in which a melody is heard that is one
_STRETCH, _LINE = 2.0, 0.25
_VOCAL, _SLOTS = 1, 4


@dataclass(frozen=True)
class Segment:
    """Where a chord root or a key holds: beginning and end in ticks and seconds, name, probability 0-1."""

    start: int
    end: int
    start_seconds: float
    end_seconds: float
    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Times:
    """Beats or downbeats: ticks and seconds [both: shape=(k,)].

    ``found``: whether they were found in the playing; otherwise the file states them.
    """

    ticks: Ints
    seconds: Floats
    found: bool

    def __len__(self) -> int:
        return len(self.ticks)


@dataclass(frozen=True)
class LayerScore:
    """How good a layer is on music outside training: its value, that of a simple baseline, and words."""

    metric: str
    value: float
    baseline: float
    baseline_name: str
    music: str


@dataclass(frozen=True, eq=False)
class Layers:
    """What was found in a piece; None for a layer that does not apply, with the reason in ``remarks``.

    ``melody``: whether each note of the score is of the melody [shape=(n,), bool]; ``chords``: roots alone;
    ``remarks``: what is to be known of a layer, by its name; ``scores``: by its name (beats and downbeats
    that the file states have none).
    """

    melody: Bools | None = None
    chords: tuple[Segment, ...] | None = None
    keys: tuple[Segment, ...] | None = None
    beats: Times | None = None
    downbeats: Times | None = None
    remarks: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, LayerScore] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LayerModel:
    """The network and what stands beside it: transitions of chords and keys, and scores of the layers."""

    tagger: Any
    smoothing: Mapping[str, Smoothing]
    scores: Mapping[str, LayerScore]


@lru_cache(maxsize=1)
def load_layer_model(folder: str | PathLike[str] = MODEL) -> LayerModel:
    """Open the network; raises `CheckpointError` (``bad-config``; those of `musicbert.from_pretrained`)."""
    from musicbert.predict import TaggerModel, from_pretrained
    from musicbert.weights import resolve

    place = resolve(folder)
    tagger = from_pretrained(place, device="cpu")
    try:
        if not isinstance(tagger, TaggerModel) or set(_LABELS) - set(tagger.heads):
            raise ValueError(f"it does not have the heads {', '.join(_LABELS)}")
        about = read_json(Path(place) / ABOUT)
        smoothing = {name: Smoothing.from_dict(values) for name, values in about["smoothing"].items()}
        scores = {name: LayerScore(**values) for name, values in about["scores"].items() if name in NAMES}
        sizes = {name: smoothing[name].moves.shape[0] for name in ("chordroot", "localkey")}
        if any(size != tagger.heads[name].outputs for name, size in sizes.items()):
            raise ValueError("its transitions are of other classes")
    except (OSError, KeyError, TypeError, ValueError) as error:
        message = f"Not a model of layers: {first_line(error)}"
        raise CheckpointError("bad-config", message, path=place) from error
    return LayerModel(tagger, smoothing, scores)


_LABELS = ("beat", "downbeat", "chordroot", "localkey", "melody")


def music_layers(score: Score, *, model: str | PathLike[str] | None = None) -> Layers:
    """Find melody, chord roots, keys, beats and downbeats.

    Parameters
    ----------
    score
        Any music; percussion is left out.
    model
        Folder or name of another network with the same five heads. None: the one that comes with the package.

    Raises
    ------
    CheckpointError
        The network cannot be opened.
    """
    pitched = np.flatnonzero(~score.drum)
    if len(pitched) < FEWEST:
        what = f"{len(pitched)} pitched notes" if len(pitched) else "no pitched notes"
        return Layers(remarks=dict.fromkeys(NAMES, f"There are {what}, and at least {FEWEST} are needed."))
    known = load_layer_model(MODEL if model is None else model)
    remarks: dict[str, str] = {}
    beats, downbeats = _beats(score, pitched, known.tagger, remarks)
    notes = _in_bars(score, pitched, beats, downbeats)
    result = known.tagger.predict_labels([notes])[0]
    melody = np.zeros(len(score), np.bool_)
    melody[pitched] = _melody(score, pitched, result["melody"].scores, remarks)
    parts = {}
    for layer, label, namer in (("chords", "chordroot", root_name), ("keys", "localkey", key_name)):
        smoothing, classes = known.smoothing[label], _CLASSES[label]
        parts[layer] = _segments(score, pitched, result[label].scores, notes, smoothing, classes, namer)
    shown = set(NAMES) if beats is not None and beats.found else set(NAMES) - {"beats", "downbeats"}
    return Layers(
        melody=melody,
        chords=parts["chords"],
        keys=parts["keys"],
        beats=beats,
        downbeats=downbeats,
        remarks=remarks,
        scores={name: value for name, value in known.scores.items() if name in shown},
    )


_CLASSES = {"chordroot": CHORD_ROOTS, "localkey": LOCAL_KEYS}


def performed(seconds: Floats, ends: Floats, pitch: Ints, velocity: Ints) -> BeatNotes:
    """Notes of a performance as the heads of beats read them (see `pseudo_beat`) [all: shape=(n,)]."""
    beat = max(pseudo_beat(ends - seconds), float(ends.max()) / MAX_BEATS)
    return BeatNotes(seconds / beat, np.maximum(ends, seconds) / beat, pitch, velocity)


def beat_probabilities(result: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """Probability of each note to lie on a beat and on a downbeat [both: shape=(n,)]."""
    beat, down = (np.nan_to_num(result[name].scores[:, ON].astype(np.float64)) for name in _LABELS[:2])
    return beat, down


def _beats(
    score: Score, pitched: Ints, tagger: Any, remarks: dict[str, str]
) -> tuple[Times | None, Times | None]:
    """Beats and downbeats, with words on where they come from."""
    strength = grid_strength(score)
    if strength >= ON_GRID:
        ticks = file_beats(score)
        beats, downbeats = (Times(each, score.seconds(each), found=False) for each in ticks)
        metre = "" if len(score.metre_tick) else ", which has no time signature (4/4 assumed)"
        text = f"From the file{metre}: the onsets lie on its beats (strength {strength:.2f} of 1)."
        remarks |= dict.fromkeys(("beats", "downbeats"), text)
        return beats, downbeats
    if len(pitched) < FEWEST_FOR_BEATS:
        text = f"{len(pitched)} notes do not tell beats; at least {FEWEST_FOR_BEATS} are needed."
        remarks |= dict.fromkeys(("beats", "downbeats"), text)
        return None, None
    seconds, ends = score.seconds(score.onset[pitched]), score.seconds(score.offset[pitched])
    notes = performed(seconds, ends, score.pitch[pitched], score.velocity[pitched])
    onsets = Onsets.of(seconds, *beat_probabilities(tagger.predict_labels([notes])[0]))
    found = track_beats(onsets)
    down = track_bars(found, onsets)
    if len(found) < 2:
        remarks |= dict.fromkeys(("beats", "downbeats"), "No regular beats were found.")
        return None, None
    text = f"Found in the playing: the onsets do not lie on the beats of the file (strength {strength:.2f})."
    remarks |= dict.fromkeys(("beats", "downbeats"), text)
    return tuple(Times(ticks_of(score, each), each, found=True) for each in (found, found[down]))  # type: ignore[return-value]


def _in_bars(score: Score, pitched: Ints, beats: Times | None, downbeats: Times | None) -> BeatNotes:
    """Notes in beats of which each bar has four."""
    lines = np.zeros(0) if downbeats is None else np.unique(downbeats.ticks).astype(np.float64)
    if len(lines) < 2 and beats is not None:
        lines = np.unique(beats.ticks)[::BEATS_PER_BAR].astype(np.float64)
    if len(lines) < 2:
        lines = np.array([0.0, BEATS_PER_BAR * score.ticks_per_beat])
    onset, offset = (
        np.clip(times_to_beats(ticks, lines), -MAX_BEATS, MAX_BEATS)
        for ticks in (score.onset[pitched], score.offset[pitched])
    )
    return BeatNotes(onset, np.maximum(onset, offset), score.pitch[pitched], score.velocity[pitched])


def _melody(score: Score, pitched: Ints, probability: Floats, remarks: dict[str, str]) -> Bools:
    """Which of the pitched notes are melody."""
    onset, offset = score.onset[pitched], score.offset[pitched]
    order = np.argsort(onset, kind="stable")
    overlap = offset[order][:-1] > onset[order][1:] + (offset - onset)[order][:-1] // 4
    if overlap.mean() < ONE_VOICE:
        remarks["melody"] = "One note sounds at a time: all are melody."
        return np.ones(len(pitched), np.bool_)
    vocal = np.nan_to_num(probability[:, _VOCAL])
    chosen = vocal > 0.5
    instruments = len(np.unique(score.program[pitched]))
    stretch = score.seconds(onset) // _STRETCH
    said = []
    if not chosen.any():
        said.append("No note stands out as melody.")
    elif len(np.unique(stretch[chosen])) < _LINE * len(np.unique(stretch)):
        said.append(f"No line of it was found: these {int(chosen.sum()):,} notes are scattered.")
    elif instruments > MANY_INSTRUMENTS:
        said.append(f"Learned from songs for piano; in a file of {instruments} instruments much is missed.")
    named = [name for name in score.track_name if _TUNE.search(name)]
    if named and said:
        said.append(f"The file itself has a track named {named[0]}.")
    if said:
        remarks["melody"] = " ".join(said)
    return np.asarray(chosen)


def _segments(
    score: Score,
    pitched: Ints,
    probability: Floats,
    notes: BeatNotes,
    smoothing: Smoothing,
    classes: Sequence[str],
    namer: Callable[[str], str],
) -> tuple[Segment, ...]:
    """Segments of one class each, from the first onset to the last offset."""
    slots = np.floor(notes.onset * _SLOTS + 0.5).astype(np.int64)
    known = ~np.isnan(probability).any(1)
    observed, at = at_sixteenths(probability[known].astype(np.float64), slots[known])
    path, alike = respelled(smoothing.path(observed, at), at, classes), sounding(classes)
    onset = score.onset[pitched][known]
    first = np.full(len(at), np.iinfo(np.int64).max)
    np.minimum.at(first, np.searchsorted(at, slots[known]), onset)
    begins = np.flatnonzero(np.diff(path, prepend=-1))
    ticks = np.append(first[begins], int(score.offset[pitched].max()))
    ticks = np.maximum.accumulate(ticks)
    seconds = score.seconds(ticks)
    ends = [*begins[1:], len(path)]
    return tuple(
        Segment(
            int(ticks[k]),
            int(ticks[k + 1]),
            round(float(seconds[k]), 4),
            round(float(seconds[k + 1]), 4),
            namer(classes[path[a]]),
            round(float(observed[a:b, alike == alike[path[a]]].sum(1).mean()), 4),
        )
        for k, (a, b) in enumerate(zip(begins, ends, strict=True))
    )
