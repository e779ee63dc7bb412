"""A walk over the events of a MIDI file, for three things that the native parser does not report.

symusic keeps denominators in 8 bits, sorts tempi and time signatures by an unstable sort (above some sixteen
of them, two on one tick may change places), and makes an object of ten kilobytes for every program of every
channel of every track. The walk is slow, so the reader asks for it only where one of these can matter
(`musicbert.midi.parsers`).

Tracks are read like symusic reads them: a track ends at its end mark, running status holds over meta events.
"""

from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

_TEMPO, _METRE, _END = 0x51, 0x58, 0x2F
#: data bytes of a channel message, by the upper half of its status
_DATA_BYTES = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}


@dataclass
class Events:
    """Result of a walk.

    ``tempi``: tick and microseconds of a quarter note of every tempo event, in the order of the file;
    ``metres``: tick, numerator and power of the denominator of every time signature, in the order of the
    file; ``instruments``: programs with notes, counted for every channel of every track.
    """

    tempi: list[tuple[int, int]] = field(default_factory=list)
    metres: list[tuple[int, int, int]] = field(default_factory=list)
    instruments: int = 0


def may_have_instruments(data: bytes) -> int:
    """Upper bound of the instruments of a file: 16 a track, and one for every byte of a program change."""
    status = np.frombuffer(data, np.uint8)
    return 16 * data.count(b"MTrk") + int(np.count_nonzero((status & 0xF0) == 0xC0))


def walk(data: bytes) -> Events:
    """Walk over all tracks of a file with a checked header; a damaged track ends where the damage begins."""
    events = Events()
    at = 14
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "big")
        if data[at : at + 4] == b"MTrk":
            with suppress(IndexError, KeyError):  # cut off, or no event: what came before counts
                _walk_track(data, at + 8, min(at + 8 + length, len(data)), events)
        at += 8 + length
    return events


def _walk_track(data: bytes, at: int, stop: int, events: Events) -> None:
    tick = status = 0
    program = [0] * 16
    used: set[int] = set()
    while at < stop:
        delta, at = _number(data, at)
        tick += delta
        if data[at] >= 0x80:
            status, at = data[at], at + 1
            if status >= 0xF0:
                kind, length = 0, 0
                if status == 0xFF:
                    kind, at = data[at], at + 1
                length, at = _number(data, at)
                if status == 0xFF and kind == _END:
                    break
                if status == 0xFF and kind == _TEMPO:
                    events.tempi.append((tick, int.from_bytes(data[at : at + 3], "big")))
                elif status == 0xFF and kind == _METRE:
                    events.metres.append((tick, data[at], data[at + 1]))
                at += length
                continue
        channel = status & 0x0F
        if status >> 4 == 0xC:
            program[channel] = data[at]
        elif status >> 4 == 0x9 and (key := channel << 8 | program[channel]) not in used:
            used.add(key)
            events.instruments += 1
        at += _DATA_BYTES[status >> 4]


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return the variable-length number at an offset, and the offset after it."""
    value = 0
    while True:
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
