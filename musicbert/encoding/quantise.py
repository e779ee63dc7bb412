"""Quantisation of OctupleMIDI: time, duration, velocity, tempo, time signature.

Units: a position is 1/16 of a quarter note (1/64 of a whole note); tempo in quarter notes a minute.

================  ======================================================  ========================
quantity          code                                                     value of a code
================  ======================================================  ========================
time t (ticks)    ``round(16 t / ticks_per_beat)``, halves to even          -
duration x        16 steps an octave: ``16 i + (x - 16 (2^i - 1)) // 2^i``  lower edge of the bucket
(positions)       with ``i = floor(log2(x / 16 + 1))``; 127 from 4080
velocity v        ``v // 4``                                                ``4 c + 2``
tempo b           ``round(12 log2(b / 16))``, b clipped to 16-256           ``16 * 2^(c / 12)``
time signature    ``2 (2^i - 1) + n - 1``, n / 2^i, i <= 6, n <= 2 * 2^i    -
================  ======================================================  ========================
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Floats, Ints

POSITIONS_PER_BEAT = 16
#: Positions of a whole note; a bar has at most two.
WHOLE_NOTE = 4 * POSITIONS_PER_BEAT
#: Positions after which upstream drops notes (4,096 quarter notes).
MAX_POSITIONS = 1 << 16
_OCTAVES, _STEPS = 8, 16
#: Quarter notes a minute of the first and the last tempo.
SLOWEST, FASTEST = 16.0, 256.0
_TEMPO_STEPS = 12
_VELOCITY_STEP = 4
_MAX_POWER = 6

#: (numerator, denominator) of each time signature code.
METRES: tuple[tuple[int, int], ...] = tuple(
    (numerator, 2**power) for power in range(_MAX_POWER + 1) for numerator in range(1, 2 * 2**power + 1)
)
#: Length of a bar of each time signature code [shape=(254,), int64, positions].
BAR_LENGTHS: Ints = np.array([n * WHOLE_NOTE // d for n, d in METRES], np.int64)
_METRE_CODES = {metre: code for code, metre in enumerate(METRES)}


def positions(ticks: ArrayLike, ticks_per_beat: int) -> Ints:
    """Round ticks to positions, halves to the even side [shape as given, int64]."""
    exact = np.asarray(ticks, np.int64) / (ticks_per_beat / POSITIONS_PER_BEAT)
    return np.rint(exact, out=exact).astype(np.int64) if exact.ndim else np.rint(exact).astype(np.int64)


def _duration_edges() -> Ints:
    codes = np.arange(_OCTAVES * _STEPS)
    octave, step = codes // _STEPS, codes % _STEPS
    return (_STEPS * (2**octave - 1) + step * 2**octave).astype(np.int64)


_EDGES = _duration_edges()
#: code of each duration from 0 to 4080 positions
_DURATION_CODES = np.searchsorted(_EDGES, np.arange(_STEPS * (2**_OCTAVES - 1) + 1), side="right") - 1


def duration_code(duration: ArrayLike) -> Ints:
    """Code of durations in positions (0 or more) [shape as given, int64]."""
    codes: Ints = _DURATION_CODES[np.minimum(np.asarray(duration, np.int64), len(_DURATION_CODES) - 1)]
    return codes


def duration_value(code: ArrayLike) -> Ints:
    """Shortest duration of each code, in positions."""
    return _EDGES[np.asarray(code, np.int64)]


def velocity_code(velocity: ArrayLike) -> Ints:
    """Code 0-31 of velocities 0-127."""
    return np.asarray(velocity, np.int64) // _VELOCITY_STEP


def velocity_value(code: ArrayLike) -> Ints:
    """Velocity in the middle of each code's bucket."""
    return np.asarray(code, np.int64) * _VELOCITY_STEP + _VELOCITY_STEP // 2


def tempo_code(bpm: ArrayLike) -> Ints:
    """Code 0-48 of tempi."""
    clipped = np.clip(np.asarray(bpm, np.float64), SLOWEST, FASTEST)
    codes: Ints = np.rint(_TEMPO_STEPS * np.log2(clipped / SLOWEST)).astype(np.int64)
    return codes


def tempo_value(code: ArrayLike) -> Floats:
    """Tempo in the middle of each code's bucket, in quarter notes a minute."""
    return np.asarray(SLOWEST * 2.0 ** (np.asarray(code, np.int64) / _TEMPO_STEPS))


@lru_cache(maxsize=1024)
def reduce_metre(numerator: int, denominator: int) -> tuple[int, int]:
    """Reduce a time signature as upstream does.

    Halve both numbers while the denominator is above 64 and both are even; then divide the numerator by its
    smallest divisor while the bar is longer than two whole notes (9/4 to 3/4; a prime becomes 1).
    """
    while denominator > 2**_MAX_POWER and numerator % 2 == 0 and denominator % 2 == 0:
        numerator, denominator = numerator // 2, denominator // 2
    while numerator > 2 * denominator:
        numerator //= _smallest_divisor(numerator)
    return numerator, denominator


def _smallest_divisor(number: int) -> int:
    divisor = 2
    while number % divisor and divisor * divisor <= number:
        divisor += 1
    return number if number % divisor else divisor


def metre_code(numerator: int, denominator: int) -> int | None:
    """Code of a reduced time signature, or None where the table lacks it."""
    return _METRE_CODES.get((numerator, denominator))
