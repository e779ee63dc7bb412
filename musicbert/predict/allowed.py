"""Values of fields in the units of musicians, as codes that `FillOptions.allow` takes.

==============  =================================================================================
field           a value
==============  =================================================================================
pitch           MIDI pitch, 0-127, or its name (C4 is 60); 128 and more are drums (128 + key)
velocity        0-127
duration        quarter notes
position        quarter notes after the bar line
tempo           quarter notes a minute
program         number or name of an instrument
time_signature  such as 3/4
bar             number of the bar, counted from 1
==============  =================================================================================

Values are separated by commas; FIRST-LAST is a range, both included, and FIRST-LAST:STEP one in steps, such
as ``0-3.75:0.25`` for positions on sixteenth notes.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.encoding import FIELD_SIZES, FIELDS
from musicbert.encoding.octuple import DRUM_PITCH
from musicbert.encoding.quantise import (
    FASTEST,
    MAX_POSITIONS,
    POSITIONS_PER_BEAT,
    SLOWEST,
    duration_code,
    metre_code,
    tempo_code,
    velocity_code,
)
from musicbert.errors import ConfigError, nearest
from musicbert.midi.instruments import instrument_number

#: scale -> pitch classes above its tonic
SCALES: Mapping[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic-minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "pentatonic": (0, 2, 4, 7, 9),
    "minor-pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}
_NOTE = re.compile(r"([a-g])([#b]?)(-?\d+)?", re.IGNORECASE)
_STEPS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}


def allowed_values(field: str, text: str) -> list[int]:
    """Codes of values of a field, in ascending order, each the nearest that the encoding has.

    Raises `ConfigError` (``bad-value``; ``bad-instrument``: see `instrument_number`).
    """
    _check_field(field)
    codes: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        codes.update(_codes(field, part))
    size = MAX_POSITIONS if field == "bar" else FIELD_SIZES[FIELDS.index(field)]
    if not codes or min(codes) < 0 or max(codes) >= size:
        raise ConfigError("bad-value", f"{text!r} is no value of {field}, or outside its values", hint=_HINT)
    return sorted(codes)


def scale_pitches(text: str) -> list[int]:
    """Pitches of a scale such as ``C-major``, and all drums, which have no scale.

    Raises `ConfigError` (``bad-value``).
    """
    tonic, _, kind = text.strip().replace(" ", "-").partition("-")
    found, kind = _NOTE.fullmatch(tonic), kind.lower() or "major"
    if not found or found[3] or kind not in SCALES:
        raise ConfigError(
            "bad-value",
            f"{text!r} is not a scale such as C-major or F#-minor",
            hint=nearest(kind, SCALES) or f"scales are {', '.join(SCALES)}",
        )
    classes = {(_pitch(tonic) + step) % 12 for step in SCALES[kind]}
    pitches = range(FIELD_SIZES[FIELDS.index("pitch")])
    return [pitch for pitch in pitches if pitch >= DRUM_PITCH or pitch % 12 in classes]


def numbers_by_field(words: Sequence[str], alone: Sequence[str] = FIELDS) -> float | dict[str, float]:
    """A number, or ``FIELD=NUMBER`` for some fields; a number before these is that of the fields ``alone``.

    Raises `ConfigError` (``bad-value``).
    """
    numbers: dict[str, float] = {}
    for word in words:
        name, equals, value = word.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            raise ConfigError("bad-value", f"{word!r} is not a number, or FIELD=NUMBER", hint=_HINT) from None
        if equals:
            _check_field(name)
            numbers[name] = number
        elif len(words) == 1:
            return number
        else:
            numbers = dict.fromkeys(alone, number) | numbers
    return numbers


_HINT = "docs/remix.md shows the values of each field"


def _check_field(name: str) -> None:
    if name not in FIELDS:
        hint = nearest(name, FIELDS) or f"fields are {', '.join(FIELDS)}"
        raise ConfigError("bad-value", f"There is no field {name!r}", hint=hint)


def _codes(field: str, part: str) -> Iterable[int]:
    """Codes of one value or one range."""
    read, step, code = _UNITS[field]
    with suppress(ValueError, ConfigError):
        return _list(code(np.array([read(part)])))
    bounds, colon, given = part.partition(":")
    for at in (match.start() for match in re.finditer("-", bounds) if step):
        with suppress(ValueError, ConfigError):
            low, high, by = read(bounds[:at]), read(bounds[at + 1 :]), _number(given) if colon else step
            if low <= high and by > 0:
                return _list(code(low + by * np.arange(int((high - low) / by + 1e-9) + 1)))
    if field == "program" and "-" not in part:
        instrument_number(part)  # says what is wrong with a name
    raise ConfigError("bad-value", f"{part!r} is no value or range of {field}", hint=_HINT)


def _list(codes: Ints) -> list[int]:
    return [int(code) for code in codes]


def _pitch(text: str) -> int:
    """Number of a pitch; a name without octave is a pitch class."""
    found = _NOTE.fullmatch(text)
    if not found:
        return int(text)
    step = _STEPS[found[1].lower()] + {"#": 1, "b": -1, "": 0}[found[2]]
    return step + 12 * (int(found[3]) + 1) if found[3] else step % 12


def _named_pitch(text: str) -> int:
    found = _NOTE.fullmatch(text)
    if found and not found[3]:
        raise ValueError("a pitch has an octave")
    return _pitch(text)


def _metre(text: str) -> int:
    numerator, _, denominator = text.partition("/")
    code = metre_code(int(numerator), int(denominator))
    if code is None:
        raise ValueError("the encoding has no such time signature")
    return code


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _tempo(bpm: Floats) -> Ints:
    if (bpm < SLOWEST).any() or (bpm > FASTEST).any():
        raise ValueError("outside the encoding")
    return tempo_code(bpm)


def _grid(quarters: Floats) -> Ints:
    """Positions of quarter notes, which are not below 0."""
    if (quarters < 0).any() or (quarters > MAX_POSITIONS).any():
        raise ValueError("outside the encoding")
    return np.rint(quarters * POSITIONS_PER_BEAT).astype(np.int64)


def _whole(numbers: Floats) -> Ints:
    if (numbers != np.rint(numbers)).any():
        raise ValueError("not a whole number")
    return numbers.astype(np.int64)


#: field -> how a value is read, the usual step of a range, and codes of values
_UNITS: Mapping[str, tuple[Callable[[str], float], float, Callable[[Floats], Ints]]] = {
    "bar": (int, 1, lambda numbers: _whole(numbers) - 1),
    "position": (_number, 1 / POSITIONS_PER_BEAT, _grid),
    "program": (instrument_number, 1, _whole),
    "pitch": (_named_pitch, 1, _whole),
    "duration": (_number, 1 / POSITIONS_PER_BEAT, lambda quarters: duration_code(_grid(quarters))),
    "velocity": (int, 1, lambda numbers: velocity_code(_whole(numbers))),
    "time_signature": (_metre, 0, _whole),  # without ranges
    "tempo": (_number, 1, _tempo),
}
