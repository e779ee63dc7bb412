"""The columns of a `Score`, and the check that they can be encoded and written.

Contract: all columns of one group have the same length; ticks are int64 counted from 0; notes keep the order
of the file (tracks one after the other), changes of tempo and metre are sorted by tick. Nothing is added to
the file: without a tempo or time signature these columns are empty (120 BPM and 4/4 are implied).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from musicbert.arrays import Bools, Floats, Ints
from musicbert.errors import MidiError
from musicbert.midi.limits import DEFAULT_LIMITS, ReadLimits

#: Numbers of the format that upstream takes (0 < numerator, denominator, division < 2^31).
BELOW = 2**31
#: Largest pitch, velocity and program.
MAX_VALUE = 127

#: Numbers below which they are compared one by one.
_FEW = 16

#: Tempo of a file that names none (Standard MIDI Files 1.0, "Set Tempo").
DEFAULT_BPM = 120.0
#: Microseconds of a minute: BPM = this / (microseconds of a quarter note).
MINUTE_US = 60e6
#: The smallest and the largest number of 64 bits.
_SLOWEST, _FASTEST = 5e-324, float(np.finfo(np.float64).max)


_NO_INTS, _NO_FLOATS = np.zeros(0, np.int64), np.zeros(0)


def _no_ints() -> Ints:
    return _NO_INTS


@dataclass(frozen=True, eq=False)
class ScoreColumns:
    """Notes, tempi, metres and controllers of one piece (see `musicbert.midi.Score`).

    Attributes
    ----------
    ticks_per_beat
        Ticks of a quarter note.
    onset, offset
        Start and end of each note [shape=(n,), int64, ticks].
    pitch, velocity, program
        [shape=(n,), int64]; pitch 0-127, velocity 1-127, General MIDI program 0-127.
    drum
        Whether the note is on a percussion track [shape=(n,), bool].
    track
        Index of the note's track [shape=(n,), int64].
    tempo_tick, tempo_bpm
        Changes of tempo [shape=(t,), int64 ticks and float64 quarter notes a minute].
    metre_tick, metre_numerator, metre_denominator
        Changes of time signature [shape=(m,), int64].
    control_tick, control_number, control_value, control_track
        Control changes (pedals are 64, 66 and 67) [shape=(c,), int64], sorted by tick.
    track_name
        Name of each track with notes; may be empty, and so may the names.
    notation
        Format of the written score that this was read from, such as ``MusicXML``; empty for MIDI.
    remarks
        What reading a written score left out or assumed, in words (`musicbert.midi.notation`).
    """

    ticks_per_beat: int
    onset: Ints
    offset: Ints
    pitch: Ints
    velocity: Ints
    program: Ints
    drum: Bools
    track: Ints
    tempo_tick: Ints = field(default_factory=_no_ints)
    tempo_bpm: Floats = field(default_factory=lambda: _NO_FLOATS)
    metre_tick: Ints = field(default_factory=_no_ints)
    metre_numerator: Ints = field(default_factory=_no_ints)
    metre_denominator: Ints = field(default_factory=_no_ints)
    control_tick: Ints = field(default_factory=_no_ints)
    control_number: Ints = field(default_factory=_no_ints)
    control_value: Ints = field(default_factory=_no_ints)
    control_track: Ints = field(default_factory=_no_ints)
    track_name: tuple[str, ...] = ()
    notation: str = ""
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of notes."""
        return len(self.onset)

    def seconds(self, ticks: Ints) -> Floats:
        """Convert ticks, in any order, to seconds by the tempo map [shape=(k,), float64]."""
        starts = np.concatenate([[0], self.tempo_tick])
        bpm = np.concatenate([[DEFAULT_BPM], self.tempo_bpm])
        seconds_per_tick = 60.0 / (bpm * self.ticks_per_beat)
        elapsed = np.concatenate([[0.0], np.cumsum(np.diff(starts) * seconds_per_tick[:-1])])
        ticks = np.asarray(ticks, np.int64)
        at = np.maximum(np.searchsorted(starts, ticks, side="right") - 1, 0)
        result: Floats = elapsed[at] + (ticks - starts[at]) * seconds_per_tick[at]
        return result


def check_score(score: ScoreColumns, *, limits: ReadLimits | None = None, path: str | None = None) -> None:
    """Check that a score can be encoded and written.

    Raises `MidiError` (``no-notes``, ``too-many-notes``, ``bad-division``, ``bad-value``).
    """
    limits = limits or DEFAULT_LIMITS
    n = len(score.onset)
    if n == 0:
        raise MidiError("no-notes", "the piece has no notes", path=path)
    if n <= limits.max_notes and 0 < score.ticks_per_beat < BELOW and _is_plain(score, limits):
        return
    if n > limits.max_notes:
        raise MidiError(
            "too-many-notes",
            f"{n} notes, more than {limits.max_notes}",
            path=path,
            hint="raise ReadLimits.max_notes if you trust the file",
        )
    if not 0 < score.ticks_per_beat < BELOW:
        raise MidiError("bad-division", f"{score.ticks_per_beat} ticks of a quarter note", path=path)
    groups = {
        "notes": ("onset", "offset", "pitch", "velocity", "program", "drum", "track"),
        "tempi": ("tempo_tick", "tempo_bpm"),
        "metres": ("metre_tick", "metre_numerator", "metre_denominator"),
        "controls": ("control_tick", "control_number", "control_value", "control_track"),
    }
    for group, names in groups.items():
        shapes = {getattr(score, name).shape for name in names}
        if shapes != {(len(getattr(score, names[0])),)}:
            raise MidiError("bad-value", f"the columns of the {group} differ in length", path=path)
    _within("onset", score.onset, 0, limits.max_ticks, path)
    _within("offset", score.offset, 0, limits.max_ticks, path)
    if (score.offset < score.onset).any():
        raise MidiError("bad-value", "a note ends before it begins", path=path)
    _within("pitch", score.pitch, 0, MAX_VALUE, path)
    _within("velocity", score.velocity, 0, MAX_VALUE, path)
    _within("program", score.program, 0, MAX_VALUE, path)
    if len(score.metre_tick):
        _within("metre tick", score.metre_tick, 0, limits.max_ticks, path)
        _within("metre numerator", score.metre_numerator, 1, BELOW - 1, path)
        _within("metre denominator", score.metre_denominator, 1, BELOW - 1, path)
    if len(score.tempo_tick):
        _within("tempo tick", score.tempo_tick, 0, limits.max_ticks, path)
        if not (np.isfinite(score.tempo_bpm).all() and score.tempo_bpm.min() > 0):
            raise MidiError("bad-value", "a tempo is zero or not finite", path=path)
    if len(score.control_tick):
        _within("control tick", score.control_tick, 0, limits.max_ticks, path)


def _is_plain(score: ScoreColumns, limits: ReadLimits) -> bool:
    """Whether few operations show that all is as it should be; if not, `check_score` finds out what is wrong.

    One bit above a limit of ``2^k - 1``, or the sign, in any of several values is that bit of all by "or".
    """
    onset, offset, pitch, velocity, program = (
        score.onset, score.offset, score.pitch, score.velocity, score.program
    )  # fmt: skip
    tempo, metre, control = score.tempo_tick, score.metre_tick, score.control_tick
    if not (
        _are_alike(onset, offset, pitch, velocity, program, score.drum, score.track)
        and _are_alike(tempo, score.tempo_bpm)
        and _are_alike(metre, score.metre_numerator, score.metre_denominator)
        and _are_alike(control, score.control_number, score.control_value, score.control_track)
    ):
        return False
    try:
        ticks = _or(onset | offset | (offset - onset)) | (_or(control) if len(control) else 0)
        numbers = _or(pitch | velocity | program)
    except TypeError:  # columns that are not whole numbers
        return False
    return (
        0 <= ticks <= limits.max_ticks
        and 0 <= numbers <= MAX_VALUE
        and (not len(tempo) or _are_in(tempo, 0, limits.max_ticks))
        and (not len(tempo) or _are_in(score.tempo_bpm, _SLOWEST, _FASTEST))
        and (not len(metre) or _are_in(metre, 0, limits.max_ticks))
        and (not len(metre) or _are_in(score.metre_numerator, 1, BELOW - 1))
        and (not len(metre) or _are_in(score.metre_denominator, 1, BELOW - 1))
    )


def _are_alike(first: Any, *columns: Any) -> bool:
    """Whether columns have one dimension and the same length."""
    shape = first.shape
    for column in columns:
        if column.shape != shape:
            return False
    return len(shape) == 1


def _or(column: Any) -> int:
    return int(np.bitwise_or.reduce(column))


def _are_in(column: Any, low: float, high: float) -> bool:
    if len(column) < _FEW:  # as an array, a few take longer
        return all(low <= value <= high for value in column.tolist())
    return bool(low <= column.min() and column.max() <= high)


def _within(what: str, column: Any, low: int, high: int, path: str | None) -> None:
    """Raise unless all values of a column lie in low-high."""
    lowest, highest = int(column.min()), int(column.max())
    if lowest < low or highest > high:
        value = lowest if lowest < low else highest
        raise MidiError("bad-value", f"{what} {value} is outside {low}-{high}", path=path)
