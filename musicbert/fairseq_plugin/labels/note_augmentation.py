"""Augmentation of OctupleMIDI rows, with the performance inputs and the labels that belong to them.

A specification is a comma-separated list; all are off by default and meant for training only:

* ``transpose=K``: all pitches but drums move by one of -K..K semitones that keeps them within 0-127.
* ``velocity=K``: all velocities move by one of -K..K steps (of 4), clipped to 0-31.
* ``stretch=S``: onsets and durations are multiplied by exp(u), u uniform in -S..S (one metre only).
* ``phase=K``: onsets move by 0..K positions on the grid of bars (one metre only).
* ``bar``: bars start at a random number that keeps them within 0-255.
* ``drop=P``: a note is left out with probability P; at least one stays.

Performance inputs of pitch, velocity and time move along (leaving a note out does not change the inter-onset
times of its neighbours). Ratings may depend on what is changed (loudness on velocity, tempo on stretch).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from musicbert.encoding import PERFORMANCE_INPUTS
from musicbert.encoding.quantise import BAR_LENGTHS, duration_code, duration_value
from musicbert.errors import DatasetError

_BAR, _POSITION, _PROGRAM, _PITCH, _DURATION, _VELOCITY, _METRE, _TEMPO = range(8)
_MAX_BAR, _MAX_PITCH, _MAX_VELOCITY, _DRUMS = 255, 127, 31, 128

#: MIDI velocities of one velocity step
_STEP = 4

#: change of a performance input: for one semitone, and for one of MIDI's velocities (its scalings)
_SEMITONE, _VELOCITY_UNIT = 1 / 20, 1 / 32

#: performance inputs that are logarithms of seconds, and those in seconds
_LOGARITHMS, _SECONDS = ("ioi_previous", "ioi_next", "duration", "sounding"), ("asynchrony",)


@dataclass(frozen=True)
class NoteAugmentation:
    """Largest shifts (semitones, steps, logarithm of time, positions), a switch, and a probability."""

    transpose: int = 0
    velocity: int = 0
    stretch: float = 0.0
    phase: int = 0
    bar: int = 0
    drop: float = 0.0

    def __call__(
        self, rows: np.ndarray, performance: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Return changed copies of ``rows`` and ``performance``, and ``origin``.

        ``rows``: OctupleMIDI [shape=(n, 8), int64], bars 0-255; returned in lexicographic order.
        ``performance``: [shape=(n, P), float32] or None; changed only if its columns are
        ``PERFORMANCE_INPUTS``. ``origin``: row that each returned one came from [shape=(m,), int64].
        """
        origin = np.arange(len(rows))
        if self.drop > 0:
            keep = rng.random(len(rows)) >= self.drop
            keep[rng.integers(len(rows))] = True
            origin = origin[keep]
        rows = rows[origin]  # (m, 8), a copy
        performance = None if performance is None else performance[origin]
        inputs = _Inputs(performance)
        if self.transpose:
            _transpose(rows, inputs, self.transpose, rng)
        if self.velocity:
            shift = int(rng.integers(-self.velocity, self.velocity + 1))
            moved = np.clip(rows[:, _VELOCITY] + shift, 0, _MAX_VELOCITY)
            inputs.add("velocity", _STEP * (moved - rows[:, _VELOCITY]) * _VELOCITY_UNIT)
            rows[:, _VELOCITY] = moved
        if self.stretch and _stretch(rows, factor := float(np.exp(rng.uniform(-self.stretch, self.stretch)))):
            for name in _LOGARITHMS:
                inputs.add(name, np.log(factor))
            for name in _SECONDS:
                inputs.multiply(name, factor)
        if self.phase:
            shift = int(rng.integers(self.phase + 1))
            _move_onsets(rows, lambda onsets: onsets + shift)
        if self.bar:
            rows[:, _BAR] -= rows[:, _BAR].min()
            rows[:, _BAR] += rng.integers(max(_MAX_BAR - rows[:, _BAR].max(), 0) + 1)
        order = np.lexsort(rows.T[::-1])
        performance = None if performance is None else performance[order]
        return rows[order], performance, origin[order]


class _Inputs:
    """Performance inputs by name; changes nothing where there are none of that name."""

    def __init__(self, table: np.ndarray | None) -> None:
        self.table = table
        known = table is not None and table.shape[1] == len(PERFORMANCE_INPUTS)
        self.column = {name: index for index, name in enumerate(PERFORMANCE_INPUTS)} if known else {}

    def add(self, name: str, value: np.ndarray | float) -> None:
        if self.table is not None and name in self.column:
            self.table[:, self.column[name]] += value

    def multiply(self, name: str, factor: float) -> None:
        if self.table is not None and name in self.column:
            self.table[:, self.column[name]] *= factor


def _transpose(rows: np.ndarray, inputs: _Inputs, limit: int, rng: np.random.Generator) -> None:
    tonal = rows[:, _PROGRAM] != _DRUMS
    pitch = rows[tonal, _PITCH]
    low = max(-limit, -int(pitch.min(initial=_MAX_PITCH)))
    high = min(limit, _MAX_PITCH - int(pitch.max(initial=0)))
    if low <= high:
        shift = int(rng.integers(low, high + 1))
        rows[:, _PITCH] += shift * tonal
        inputs.add("pitch", shift * tonal * _SEMITONE)


def _move_onsets(rows: np.ndarray, move: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Move onsets in positions from the start of the first bar, in place; False where that is impossible."""
    metres = np.unique(rows[:, _METRE])
    length = int(BAR_LENGTHS[metres[0]])
    if len(metres) > 1 or rows[:, _POSITION].max() >= length:
        return False  # with several metres, bars have several lengths
    first = rows[:, _BAR].min()
    onsets = (rows[:, _BAR] - first) * length + rows[:, _POSITION]  # (n,)
    onsets = np.rint(move(onsets)).astype(np.int64)
    bars = first + onsets // length
    if bars.max() > _MAX_BAR:
        return False
    rows[:, _BAR], rows[:, _POSITION] = bars, onsets % length
    return True


def _stretch(rows: np.ndarray, factor: float) -> bool:
    """Multiply onsets and durations, in place; False where that is impossible."""
    if not _move_onsets(rows, lambda onsets: onsets * factor):
        return False
    rows[:, _DURATION] = duration_code(np.rint(duration_value(rows[:, _DURATION]) * factor).astype(np.int64))
    return True


def parse_augmentation(text: str) -> NoteAugmentation | None:
    """Return the augmentation of a specification such as ``transpose=5,bar,drop=0.1``; None if it is empty.

    Raises `DatasetError` (``bad-augmentation``).
    """
    known = {field.name: type(field.default) for field in fields(NoteAugmentation)}
    chosen: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, value = part.partition("=")
        try:
            chosen[name] = known[name](value or 1)
        except (KeyError, ValueError):
            chosen[name] = -1
        if chosen[name] < 0 or (name in ("drop", "stretch") and chosen[name] >= 1):
            hint = f"join some of {', '.join(known)} with commas, such as transpose=5,bar,drop=0.1"
            raise DatasetError("bad-augmentation", f"Not an augmentation: {part!r}", hint=hint)
    return NoteAugmentation(**chosen) if any(chosen.values()) else None  # type: ignore[arg-type]
