"""Synthetic performances and simulated raters: a small, seeded stand-in for real ratings.

Ten expressive parameters (tempo, rubato, loudness, dynamic range, articulation, pedal, melody emphasis,
asynchrony, register, unevenness) drive both the MIDI and the ratings, so there is something to learn. A
performer has habits (the mean of each parameter), each segment varies them, and raters perceive them with a
bias and noise of their own. File names and the columns of the rating table are those of the real rating task
(`Piece_Opus_<movement>_<bars>bars_<performer>_<segment>.wav`), so every step of the main job runs on them
unchanged.

All randomness comes from `numpy.random.default_rng`; the same seed gives the same bytes.
"""

import csv
import io
import zipfile
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from musicbert.annotation.dimensions import XAI
from musicbert.arrays import Bools, Floats, Ints
from musicbert.atomic import write_bytes
from musicbert.midi import Score, midi_bytes
from musicbert.midi.columns import DEFAULT_BPM
from musicbert.midi.score import TICKS_PER_BEAT, piano_score

#: Expressive parameters, each about standard normal over the set.
PARAMETERS = (
    "tempo",
    "rubato",
    "loudness",
    "dynamic_range",
    "legato",
    "pedal",
    "emphasis",
    "asynchrony",
    "register",
    "unevenness",
)

TICKS_PER_SECOND = TICKS_PER_BEAT * DEFAULT_BPM / 60

#: What moves the answer to each question up, towards the high pole (7): parameter -> weight. Question numbers
#: are those of the rating table, 0 = "Stable beat" ... 27 = "Convincing".
LOADINGS: dict[int, dict[str, float]] = {
    0: {"rubato": 0.9, "unevenness": 0.6},
    1: {"rubato": 0.8},
    2: {"unevenness": 0.5},
    3: {"rubato": 0.7, "unevenness": 0.4},
    4: {"legato": -1.1, "pedal": -0.4},
    5: {"legato": -0.6, "loudness": 0.6},
    6: {"pedal": -1.2},
    7: {"pedal": 0.9, "asynchrony": 0.4},
    8: {"pedal": 0.3, "dynamic_range": 0.4},
    9: {"unevenness": 0.7, "dynamic_range": 0.5},
    10: {"pedal": -0.6, "loudness": -0.5},
    11: {"register": -0.9, "loudness": -0.4},
    12: {"dynamic_range": 0.8, "rubato": 0.4},
    13: {"loudness": 1.1},
    14: {"loudness": 0.6, "unevenness": 0.5},
    15: {"unevenness": 0.7},
    16: {"dynamic_range": -1.1},
    17: {"tempo": -1.2},
    18: {"unevenness": 0.5, "legato": -0.5},
    19: {"rubato": -0.9},
    20: {"dynamic_range": 0.6, "pedal": 0.4},
    21: {"asynchrony": 0.5, "pedal": 0.4},
    22: {"register": -0.7, "tempo": -0.5},
    23: {"tempo": -0.6, "loudness": -0.7},
    24: {"loudness": -0.9},
    25: {"rubato": -0.5, "emphasis": -0.5},
    26: {"pedal": -0.5, "loudness": 0.4},
    27: {"unevenness": 0.6, "emphasis": -0.5},
}


@dataclass(frozen=True)
class MadeSet:
    """Made performances with their ratings.

    ``scores``: segment id -> performance; ``parameters``: segment id -> expressive parameters [shape=(10,),
    order of `PARAMETERS`]; ``rating_rows``: rows of the rating table, header first, as text cells.
    """

    scores: dict[str, Score]
    parameters: dict[str, Floats]
    rating_rows: list[list[str]]


@dataclass(frozen=True)
class _Line:
    """Notes of a score before they are performed: beats, pitches, and which are the melody."""

    onset: Floats
    length: Floats
    pitch: Ints
    melody: Bools


def _compose(rng: np.random.Generator, *, bars: int) -> _Line:
    """Write a melody of quarters and eighths over broken chords, 3/4."""
    onset: list[float] = []
    length: list[float] = []
    pitch: list[int] = []
    melody: list[bool] = []
    scale = np.array([0, 2, 4, 5, 7, 9, 11])
    key = int(rng.integers(-3, 4))
    degree = int(rng.integers(7, 12))
    for bar in range(bars):
        root = int(rng.choice([0, 3, 4, 5]))
        for beat, step in enumerate((0, 2, 4)):
            chord = root + step
            onset.append(3.0 * bar + beat)
            length.append(1.0)
            pitch.append(48 + key + int(scale[chord % 7]) + 12 * (chord // 7))
            melody.append(False)
        at = 0.0
        while at < 3.0:
            span = float(rng.choice([0.5, 0.5, 1.0]))
            span = min(span, 3.0 - at)
            degree = int(np.clip(degree + rng.integers(-2, 3), 5, 16))
            onset.append(3.0 * bar + at)
            length.append(span)
            pitch.append(60 + key + int(scale[degree % 7]) + 12 * (degree // 7 - 1))
            melody.append(True)
            at += span
    order = np.lexsort((pitch, onset))
    return _Line(
        np.array(onset)[order],
        np.array(length)[order],
        np.array(pitch, np.int64)[order],
        np.array(melody)[order],
    )


def _perform(line: _Line, parameters: Floats, rng: np.random.Generator) -> Score:
    """Play a line with expressive parameters [shape=(10,), standard normal]."""
    p = dict(zip(PARAMETERS, parameters, strict=True))
    beats = line.onset
    phrase = 12.0  # beats: four bars of 3/4
    second_per_beat = 0.5 * np.exp(-0.18 * p["tempo"])
    swell = np.sin(2 * np.pi * beats / phrase)
    stretch = 1.0 - 0.05 * (2.5 + p["rubato"]) * np.cos(2 * np.pi * beats / phrase)
    start = second_per_beat * np.interp(
        beats, np.unique(beats), np.cumsum(np.r_[0.0, np.diff(np.unique(beats))] * _at_unique(beats, stretch))
    )
    start = start + rng.normal(0.0, 0.006 * np.exp(0.5 * p["unevenness"]), len(beats))
    start = start + np.where(line.melody, -1.0, 1.0) * 0.008 * np.exp(0.5 * p["asynchrony"])
    start = np.maximum(start - start.min(), 0.0) + 0.3
    held = line.length * second_per_beat * 0.8 * np.exp(0.22 * p["legato"])
    velocity = 62 + 9 * p["loudness"] + swell * (8 + 5 * p["dynamic_range"])
    velocity = velocity + np.where(line.melody, 6 + 4 * p["emphasis"], -4)
    velocity = velocity + rng.normal(0.0, 3.0 * np.exp(0.35 * p["unevenness"]), len(beats))
    pitch = line.pitch + 12 * int(np.clip(np.round(p["register"] / 1.5), -1, 1))

    onset = np.round(start * TICKS_PER_SECOND).astype(np.int64)
    offset = onset + np.maximum(np.round(held * TICKS_PER_SECOND).astype(np.int64), 12)
    order = np.lexsort((pitch, onset))
    control_tick, control_value = _pedal(line, onset, p["pedal"], rng)
    velocity = np.clip(np.round(velocity), 1, 127).astype(np.int64)
    return replace(
        piano_score(onset[order], offset[order], pitch[order], velocity[order]),
        control_tick=control_tick,
        control_number=np.full(len(control_tick), 64, np.int64),
        control_value=control_value,
        control_track=np.zeros(len(control_tick), np.int64),
    )


def _at_unique(beats: Floats, values: Floats) -> Floats:
    """Values at the first note of each distinct beat."""
    return values[np.unique(beats, return_index=True)[1]]


def _pedal(line: _Line, onset: Ints, depth: float, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Sustain pedal down in a share of the bars that grows with `depth`, released before the next."""
    bars = np.arange(0, int(line.onset.max() // 3) + 1)
    bar_tick = np.array([onset[np.searchsorted(line.onset, 3.0 * bar)] for bar in bars])
    last = np.append(bar_tick[1:], onset.max() + TICKS_PER_BEAT)
    used = rng.random(len(bars)) < 1 / (1 + np.exp(-(0.3 + 1.2 * depth)))
    share = 0.45 + 0.45 / (1 + np.exp(-depth))
    down = bar_tick[used] + 20
    up = (bar_tick + share * (last - bar_tick)).astype(np.int64)[used]
    level = np.clip(85 + 18 * depth + rng.normal(0, 6, len(down)), 30, 127).astype(np.int64)
    tick = np.concatenate([down, up])
    value = np.concatenate([level, np.zeros(len(up), np.int64)])
    order = np.argsort(tick, kind="stable")
    return tick[order], value[order]


def _rate(
    parameters: dict[str, Floats], rng: np.random.Generator, *, raters: int, per_segment: int
) -> list[list[str]]:
    """Simulate the rating table: header and one row a rating, blanks and zeros included."""
    questions = list(XAI)
    weights = np.array([[LOADINGS[q].get(name, 0.0) for name in PARAMETERS] for q in range(len(questions))])
    bias = rng.normal(0, 0.45, (raters, len(questions)))
    rows = [
        ["user", "dataID", "filename", *(question.column for question in questions), "work_length", "message"]
    ]
    number = 1000
    for segment, values in parameters.items():
        for rater in rng.choice(raters, per_segment, replace=False):
            number += 1
            answer = 4 + 1.2 * (weights @ values) + bias[rater] + rng.normal(0, 0.8, len(questions))
            cells = [str(int(v)) for v in np.clip(np.round(answer), 1, 7)]
            if rng.random() < 0.05:
                cells[int(rng.integers(4, len(cells)))] = "0"  # "cannot tell"
            if rng.random() < 0.05:
                cells[1] = cells[2] = ""  # conditional questions that were not asked
            remark = "a remark,\nin two lines" if rng.random() < 0.05 else ""
            rows.append(
                [str(rater), str(number), f"{segment}.wav", *cells, str(int(rng.integers(20, 200))), remark]
            )
    return rows


def make_set(
    seed: int = 7,
    *,
    performers: int = 6,
    segments: int = 10,
    movements: int = 2,
    raters: int = 12,
    per_segment: int = 7,
) -> MadeSet:
    """Make performances and ratings.

    Every performer plays every segment of every movement; ``per_segment`` of the raters rate a performance.
    """
    rng = np.random.default_rng(seed)
    habits = rng.normal(0, 0.8, (performers, len(PARAMETERS)))
    scores: dict[str, Score] = {}
    parameters: dict[str, Floats] = {}
    for movement in range(1, movements + 1):
        for segment in range(1, segments + 1):
            line = _compose(rng, bars=8)
            for performer in range(performers):
                played = habits[performer] + rng.normal(0, 0.7, len(PARAMETERS))
                name = f"Made_No1_mv{movement}_8bars_{performer}_{segment:02d}"
                parameters[name] = played
                scores[name] = _perform(line, played, rng)
    return MadeSet(scores, parameters, _rate(parameters, rng, raters=raters, per_segment=per_segment))


def write_made_set(made: MadeSet, folder: str | PathLike[str]) -> tuple[Path, Path]:
    """Write `total.csv` (ratings) and `segment_midi.zip` into a folder; return both paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(made.rating_rows)
    ratings = folder / "total.csv"
    write_bytes(ratings, table.getvalue().encode())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, score in made.scores.items():
            member = zipfile.ZipInfo(f"segment_midi/{name}.mid", date_time=(2000, 1, 1, 0, 0, 0))
            archive.writestr(member, midi_bytes(score))
    music = folder / "segment_midi.zip"
    write_bytes(music, packed.getvalue())
    return ratings, music
