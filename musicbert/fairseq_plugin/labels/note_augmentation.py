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

from dataclasses import dataclass, fields

import numpy as np

from musicbert.encoding import KNOWN_INPUTS
from musicbert.encoding.clock import LAST_BAR, move_onsets
from musicbert.encoding.quantise import duration_code, duration_value
from musicbert.errors import DatasetError

_BAR, _POSITION, _PROGRAM, _PITCH, _DURATION, _VELOCITY, _METRE, _TEMPO = range(8)
_MAX_PITCH, _MAX_VELOCITY, _DRUMS = 127, 31, 128

#: MIDI velocities of one velocity step
_STEP = 4

#: change of a performance input: for one semitone, and for one of MIDI's velocities (its scalings)
_SEMITONE, _VELOCITY_UNIT = 1 / 20, 1 / 32

#: performance inputs that are logarithms of seconds, and those in seconds
_LOGARITHMS = ("ioi_previous", "ioi_next", "duration", "sounding", "beat_period")
_SECONDS = ("asynchrony",)


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
        ``KNOWN_INPUTS``. ``origin``: row that each returned one came from [shape=(m,), int64].
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
            move_onsets(rows, lambda onsets: onsets + shift)
        if self.bar:
            rows[:, _BAR] -= rows[:, _BAR].min()
            rows[:, _BAR] += rng.integers(max(LAST_BAR - rows[:, _BAR].max(), 0) + 1)
        order = np.lexsort(rows.T[::-1])
        performance = None if performance is None else performance[order]
        return rows[order], performance, origin[order]


class _Inputs:
    """Performance inputs by name; changes nothing where there are none of that name."""

    def __init__(self, table: np.ndarray | None) -> None:
        self.table = table
        names = () if table is None else KNOWN_INPUTS.get(table.shape[1], ())
        self.column = {name: index for index, name in enumerate(names)}

    def add(self, name: str, value: np.ndarray | float) -> None:
        if self.table is not None and name in self.column:
            known = self.table[:, self.column["beat_known"]] if name == "beat_period" else 1
            self.table[:, self.column[name]] += value * known

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


def _stretch(rows: np.ndarray, factor: float) -> bool:
    """Multiply onsets and durations, in place; False where that is impossible."""
    if not move_onsets(rows, lambda onsets: onsets * factor):
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
