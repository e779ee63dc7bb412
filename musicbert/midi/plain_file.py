"""A MIDI file in its plainest form, which all parsers read alike.

symusic takes ``F7`` for an event of one byte, running status after a system exclusive event for another such
event, and what follows a tempo that is too short for its value; mido refuses key signatures that do not
exist. `look_at` finds the files with events on which parsers differ, without following the events of common
files; `plain_file` writes the events that a `Score` is made of with their own status, and an empty text in
the place of each other one.
"""

from bisect import bisect_left
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Ints
from musicbert.midi.events import (
    LYRIC,
    META,
    METRE,
    NAME,
    NOTE_OFF,
    NOTE_ON,
    PROGRAM,
    TEMPO,
    VALUE_BYTES,
    file_events,
    number,
    track_chunks,
)
from musicbert.midi.tracks import native_track

CONTROL = 0xB
_EXCLUSIVE, _END_EXCLUSIVE = 0xF0, b"\xf7"
_FOUR = b"\1" * 4
_NO_EVENT = b"\xff\x01\x00"
#: Length of each kind of meta event, by the standard; 0: not looked at.
_LENGTHS = np.zeros(256, np.uint8)
_LENGTHS[[TEMPO, METRE]] = 3, 4
#: Largest power of a denominator that symusic keeps.
MAX_POWER = 7
_MAX_POWER = bytes([MAX_POWER])
#: Bytes of a file that is small, and the kinds of bytes: data, other status or meta event, system event.
_SMALL = 4096
_KINDS = bytes((byte >= 0x80) + (_EXCLUSIVE <= byte < META) for byte in range(256))
#: A status that the native parser refuses.
_REFUSED = 0xF4
#: Bytes before a byte among which the meta event that it is in is looked for.
_MOST_TEXT = 500


class Look(NamedTuple):
    """``odd``: parsers may differ; ``wide``: a time signature may have a denominator above 128."""

    odd: bool
    wide: bool


_COMMON = Look(odd=False, wide=False)


def look_at(data: bytes) -> Look:
    """Look at the bytes of a file with a checked header.

    Odd are tempi and time signatures of another length than the standard's, numbers of five bytes or more,
    system events other than whole exclusive ones that are followed by a status, and bytes that look so.
    """
    if len(data) < _SMALL and _is_common(data):
        return _COMMON
    view = np.frombuffer(data, np.uint8)
    system = np.flatnonzero(view >= _EXCLUSIVE)
    byte = view[system]
    others = system[byte != META]
    meta = system[byte == META] if len(others) else system
    kind = view.take(meta + 1, mode="clip")
    expected = _LENGTHS[kind]
    odd = _has(expected * (expected != view.take(meta + 2, mode="clip")))
    wide = any(data[at + 4 : at + 5] > _MAX_POWER for at in meta[kind == METRE].tolist())
    if len(others):
        others = others[view[others - 1] < 0x80]  # the byte before a status is the last of a delta time
        tempi = meta[kind == TEMPO]
        if len(tempi):
            inside = others - tempi[np.searchsorted(tempi, others) - 1]
            others = others[(inside < 3) | (inside > 5)]
    odd = odd or _has_odd_number(data, view) or _has_odd_event(data, others.tolist())
    return Look(odd, wide)


def _is_common(data: bytes) -> bool:
    """Whether a small file has no odd bytes at all; as arrays, few bytes take longer."""
    kinds = data.translate(_KINDS)
    if b"\2" in kinds or _FOUR in kinds:
        return False
    metre = data.find(b"\xff\x58")
    while metre >= 0:
        if data[metre + 2 : metre + 3] != b"\4" or data[metre + 4 : metre + 5] > _MAX_POWER:
            return False
        metre = data.find(b"\xff\x58", metre + 1)
    tempi = data.count(b"\xff\x51")
    return not tempi or tempi == data.count(b"\xff\x51\3")


def _has(values: NDArray[Any]) -> bool:
    """Whether any of them is not 0; faster than ``any`` for few."""
    return bool(values.tobytes().strip(b"\0"))


def _has_odd_number(data: bytes, view: NDArray[np.uint8]) -> bool:
    """Whether bytes look like a number of five bytes or more: four without an end, not in a meta event."""
    high = view >= 0x80
    two = high[1:] & high[:-1]
    four = two[2:] & two[:-2]
    return bool(four.any()) and not all(_is_in_meta(data, at) for at in np.flatnonzero(four).tolist())


def _has_odd_event(data: bytes, system: list[int]) -> bool:
    """Whether one of some bytes (0xF0-0xFE) is an event on which parsers differ."""
    unclear, explained = [], 0
    for at in system:
        if at < explained or b"MTrk" in data[at - 7 : at] or _is_in_meta(data, at):
            continue
        end = _exclusive(data, at)
        if end:
            explained = end
        else:
            unclear.append(at)
    if not unclear:
        return False
    changed = bytearray(data)
    for at in unclear:
        changed[at] = _REFUSED
    return any(
        bisect_left(unclear, begin) < bisect_left(unclear, stop)
        and native_track(changed, begin, stop) is None
        for begin, stop in track_chunks(data)
    )


def _is_in_meta(data: bytes, at: int) -> bool:
    """Whether a byte is of the content of what looks like a meta event."""
    begin = max(at - _MOST_TEXT, 0)
    meta = data.rfind(b"\xff", begin, at)
    while meta >= 0:
        if data[meta + 1 : meta + 2] < b"\x80":
            length, content = number(data, meta + 2)
            if content <= at < content + length:
                return True
        meta = data.rfind(b"\xff", begin, meta)
    return False


def _exclusive(data: bytes, at: int) -> int:
    """End of a whole exclusive event, the next event after which, meta events apart, has a status; else 0."""
    if data[at] != _EXCLUSIVE:
        return 0
    length, at = number(data, at + 1)
    end = at = at + length
    if not length or data[end - 1 : end] != _END_EXCLUSIVE:
        return 0
    while at < len(data):
        _, at = number(data, at)
        if data[at : at + 1] != b"\xff" or data[at + 1 : at + 2] == b"\x2f":
            return end if data[at : at + 1] >= b"\x80" else 0
        length, at = number(data, at + 2)
        at += length
    return end


def plain_file(data: bytes, *, metas: tuple[int, ...] = (TEMPO, METRE, NAME, LYRIC)) -> bytes:
    """Write a file with a checked header in its plainest form.

    Notes, programs, controllers and the meta events of some kinds stay, each with its own status; lyrics
    without their text.
    Raises `ValueError` for a damaged track.
    """
    events = file_events(data, whole=True)
    keep = np.isin(events.status >> 4, (NOTE_OFF, NOTE_ON, CONTROL, PROGRAM))
    for kind in metas:
        keep |= events.has_value(data, kind) if kind in VALUE_BYTES else events.kind == kind
    columns = (events.start, events.data, events.stop, events.status, events.kind)
    rows = zip(*(column.tolist() for column in columns), keep.tolist(), strict=True)
    parts = []
    for start, at, stop, status, kind, kept in rows:
        _, delta = number(data, start)
        if not kept:
            body = _NO_EVENT
        elif kind < 0:
            body = bytes([status]) + data[at:stop]
        else:
            body = bytes([status, kind]) + (b"\0" if kind == LYRIC else data[at:stop])
        parts.append(data[start:delta] + body)
    tracks = [*track_chunks(data)]
    bounds: Ints = np.searchsorted(events.track, np.arange(len(tracks) + 1))
    chunks = [b"".join(parts[a:b]) + b"\0\xff\x2f\0" for a, b in pairwise(bounds.tolist())]
    head = data[:10] + len(tracks).to_bytes(2, "big") + data[12:14]
    return head + b"".join(b"MTrk" + len(chunk).to_bytes(4, "big") + chunk for chunk in chunks)
