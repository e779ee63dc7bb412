"""The events of a MIDI file, for what the native parser does not report.

symusic keeps denominators in 8 bits, sorts tempi and time signatures by an unstable sort (above some sixteen
of them, two on one tick may change places), makes an object of ten kilobytes for every program of every
channel of every track, and gives no channels. This is slower, so the reader asks for it only where one of
these can matter (`musicbert.midi.parsers`, `musicbert.midi.channels`, `musicbert.midi.edit`).

The file has as many tracks as its header says; chunks after them are ignored. A track ends at its end mark,
or with its chunk. Running status holds over meta and system exclusive events; a length follows ``F7``, as in
the standard. For every byte it is found at once where an event that began there would end; one loop then
follows the chain.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from musicbert.arrays import Ints

NAME, LYRIC, PORT, TEMPO, METRE, END = 0x03, 0x05, 0x21, 0x51, 0x58, 0x2F
#: Bytes of a value (of a time signature as far as it is used); shorter events have no meaning.
VALUE_BYTES = {PORT: 1, TEMPO: 3, METRE: 2}
NOTE_OFF, NOTE_ON, PROGRAM = 0x8, 0x9, 0xC
META = 0xFF
#: Bytes that are looked at together, and those that the head of an event may need after them.
_BLOCK, _HEAD = 1 << 16, 12
#: Data bytes by status: of channel messages, and of system messages that have no length.
_CHANNEL_BYTES = np.repeat(np.array([0] * 8 + [2, 2, 2, 2, 1, 1, 2, 0], np.uint8), 16)
_DATA_BYTES = _CHANNEL_BYTES.copy()
_DATA_BYTES[0xF1:0xF4] = 1, 2, 1
#: The same as bytes, for loops.
DATA_BYTES = _DATA_BYTES.tobytes()
#: Data bytes of an event without a status after an event: 0 as before, `_NONE` if there can be none.
_NONE = 0xFF
_RUNNING = _CHANNEL_BYTES.copy()
_RUNNING[0xF1:META] = _NONE
_RUNNING[0xF7] = 0
#: By status: whether it is of an event with a length; whether the standard does not define it.
_HAS_LENGTH, _UNDEFINED = np.zeros((2, 256), bool)
_HAS_LENGTH[[0xF0, 0xF7, META]] = True
_UNDEFINED[[0xF4, 0xF5, 0xF9, 0xFD]] = True
#: Most bytes of a number in a file.
_NUMBER_BYTES = 4
#: What follows an end mark, and an event that cannot be.
_ENDED, _DAMAGED = -1, -2


class Events(NamedTuple):
    """Events of a file without end marks, in its order; columns [shape=(n,), integers].

    ``track``: number of the chunk; ``tick``; ``status``; ``kind`` of a meta event, else -1; where its bytes
    are in the file: delta time from ``start``, status (unless it is running) before ``data``, data (with the
    length of a meta event) to ``stop - 1``.
    """

    track: Ints
    tick: Ints
    status: Ints
    kind: Ints
    start: Ints
    data: Ints
    stop: Ints

    def has_value(self, data: bytes, kind: int) -> Any:
        """Whether events are meta events of a kind, and long enough for its value [shape=(n,), bool]."""
        length = content(data, self.data)
        return (self.kind == kind) & (length >= VALUE_BYTES[kind]) & (length < 0x80)

    def meta(self, data: bytes, kind: int) -> list[tuple[int, int]]:
        """Tick and first data byte (after the length) of the meta events that have a value of a kind."""
        chosen = np.flatnonzero(self.has_value(data, kind))
        return list(zip(self.tick[chosen].tolist(), (self.data[chosen] + 1).tolist(), strict=True))

    def programs(self, data: bytes, notes: Ints) -> Ints:
        """Program of the channel in its track at some events, by their indices."""
        group = (self.track << 4 | self.status & 0x0F).astype(np.int64)
        changes = np.flatnonzero(self.status >> 4 == PROGRAM)
        changes = changes[np.argsort(group[changes], kind="stable")]
        if not len(changes):
            return np.zeros(len(notes), np.int64)
        size = len(group)
        last = np.searchsorted(group[changes] * size + changes, group[notes] * size + notes) - 1
        known = (last >= 0) & (group[changes[last]] == group[notes])
        return np.where(known, content(data, self.data[changes[last]]), 0)


def content(data: bytes, at: Ints) -> Ints:
    """Bytes of a file at some places [shape as given, int64]."""
    return np.frombuffer(data, np.uint8)[np.minimum(at, len(data) - 1)].astype(np.int64)


def may_have_instruments(data: bytes, most: int) -> bool:
    """Whether a file may have more instruments than ``most``: 16 a track, and one for each program change.

    An instrument of its own takes a program change and a note with their statuses, of seven bytes.
    """
    more = most - 16 * int.from_bytes(data[10:12], "big")
    if len(data) // 7 <= more:
        return False
    return int(np.count_nonzero((np.frombuffer(data, np.uint8) & 0xF0) == 0xC0)) > more


def instruments(data: bytes) -> int:
    """Programs with notes, counted for every channel of every track."""
    events = file_events(data)
    notes = np.flatnonzero(events.status >> 4 == NOTE_ON)
    group = events.track[notes] << 4 | events.status[notes] & 0x0F
    return len(np.unique(group << 7 | events.programs(data, notes)))


def tempi_and_metres(data: bytes) -> tuple[list[tuple[int, int]], list[tuple[int, int, int]]]:
    """Tempi and time signatures of a file, in its order.

    Tick and microseconds of a quarter note; tick, numerator and power of the denominator.
    """
    chunks = [data[begin - 8 : stop] for begin, stop in track_chunks(data)]
    chunks = [chunk for chunk in chunks if b"\xff\x51" in chunk or b"\xff\x58" in chunk]
    data = data[:10] + len(chunks).to_bytes(2, "big") + data[12:14] + b"".join(chunks)
    events = file_events(data)
    tempi = [(tick, int.from_bytes(data[at : at + 3], "big")) for tick, at in events.meta(data, TEMPO)]
    return tempi, [(tick, data[at], data[at + 1]) for tick, at in events.meta(data, METRE)]


def number(data: bytes, at: int) -> tuple[int, int]:
    """Read a variable-length number, and the place after it."""
    value = 0
    while at < len(data):
        value, at = value << 7 | data[at] & 0x7F, at + 1
        if data[at - 1] < 0x80:
            break
    return value, at


def track_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """First byte of the events of each track of a file with a checked header, and the end of its chunk."""
    at, tracks = 8 + int.from_bytes(data[4:8], "big"), int.from_bytes(data[10:12], "big")
    while at + 8 <= len(data) and tracks:
        length = int.from_bytes(data[at + 4 : at + 8], "big")
        if data[at : at + 4] == b"MTrk":
            yield at + 8, min(at + 8 + length, len(data))
            tracks -= 1
        at += 8 + length


def file_events(data: bytes, *, whole: bool = False) -> Events:
    """Events of a file with a checked header.

    A damaged track ends where the damage begins, or raises `ValueError` (``whole``).
    """
    block = _Block(data, 0)
    parts: list[tuple[Any, ...]] = []
    for number, (at, stop) in enumerate(track_chunks(data)):
        running = 0
        if whole and int.from_bytes(data[at - 4 : at], "big") != stop - at:
            raise ValueError(f"track {number + 1} is cut off")
        while 0 <= at < stop:
            if not block.begin <= at < block.end:
                parts.append(block.columns())
                block = _Block(data, at)
            at, running = block.follow(number, at, stop, running)
        if whole and at == _DAMAGED:
            raise ValueError(f"track {number + 1} has a damaged event")
    parts.append(block.columns())
    track, delta, byte, kind, start, place, ending = map(np.concatenate, zip(*parts, strict=True))
    del parts, block
    channel = np.where((byte >= 0x80) & (byte < 0xF0), np.arange(len(start)), 0)
    status = np.where(byte < 0x80, byte[np.maximum.accumulate(channel)], byte) if len(byte) else byte
    tick = np.cumsum(delta)
    first = np.searchsorted(track, track)  # of its track
    return Events(track, tick - (tick - delta)[first], status, kind, start, place, ending)


class _Block:
    """What begins at each byte of a part of a file, if an event begins there; and the events that do."""

    def __init__(self, data: bytes, begin: int) -> None:
        self.begin, self.end = begin, min(begin + _BLOCK, len(data))
        size = self.end - begin
        view = np.frombuffer(data, np.uint8, min(size + _HEAD, len(data) - begin), begin)
        self.view = np.append(view, [0xFF] * _HEAD).astype(np.int64)
        n = len(self.view)
        last = np.where(self.view < 0x80, np.arange(n), n)
        after = np.minimum.accumulate(last[::-1])[::-1] + 1  # the first byte after a number
        self.at = np.minimum(after[:size], n - 1)  # where status or data begin
        self.byte = self.view[self.at]
        following = np.where(self.byte < 0x80, self.at, self.at + 1 + _DATA_BYTES[self.byte])
        damaged = (self.at - np.arange(size) > _NUMBER_BYTES) | _UNDEFINED[self.byte]
        other = np.flatnonzero(_HAS_LENGTH[self.byte])
        meta = self.byte[other] == META
        number = np.minimum(self.at[other] + 1 + meta, n - 1)
        self.kind = np.full(size, -1)
        self.kind[other[meta]] = self.view[number[meta] - 1]
        long = after[number] + self._numbers(number)
        damaged[other] |= after[number] - number > _NUMBER_BYTES
        following[other] = np.where(self.kind[other] == END, _ENDED, long)
        following[damaged] = _DAMAGED
        self.following: list[int] = following.tolist()
        self.length = _RUNNING[self.byte].tobytes()
        self.without = (self.byte < 0x80).tobytes()
        self.found: list[tuple[int, list[int]]] = []  # a track, and where its events begin and the last ends

    def follow(self, track: int, at: int, stop: int, running: int) -> tuple[int, int]:
        """Follow the events of a track from a byte on.

        Returns the next byte, or how the track ends, and the data bytes of an event without a status
        (``running``: of those before).
        """
        at, last, stop = at - self.begin, stop - self.begin, min(stop, self.end) - self.begin
        chain = [at]
        self.found.append((track, chain))
        while at < stop:
            running = self.length[at] or running
            then = self.following[at]
            if self.without[at] and then >= 0:
                then = then + running if 0 < running < _NONE else _DAMAGED
            if then < 0 or then > last:
                return (_ENDED if then == _ENDED else _DAMAGED), running
            chain.append(then)
            at = then
        return at + self.begin, running

    def columns(self) -> tuple[Any, ...]:
        """Track, delta time, first byte after it, kind of meta event, and places of all events."""
        track = np.repeat(
            np.array([track for track, _ in self.found], np.int64),
            [len(chain) - 1 for _, chain in self.found],
        )
        first = np.array([at for _, chain in self.found for at in chain[:-1]], np.int64)
        ending = np.array([at for _, chain in self.found for at in chain[1:]], np.int64)
        byte, kind = self.byte[first], self.kind[first]
        data = self.at[first] + (byte >= 0x80) + (kind >= 0)
        wide = (byte, kind, first + self.begin, data + self.begin, ending + self.begin)
        columns: Any = [column.astype(np.int32) for column in wide]  # a file has 16 MiB at most
        return track.astype(np.int32), self._numbers(first), *columns

    def _numbers(self, at: Ints) -> Ints:
        """Values of the variable-length numbers that begin at some bytes; one without an end is too large."""
        value, open_ = np.zeros(len(at), np.int64), np.ones(len(at), bool)
        for k in range(_HEAD // 2):
            byte = self.view[np.minimum(at + k, len(self.view) - 1)]
            value = np.where(open_, value << 7 | byte & 0x7F, value)
            open_ &= byte >= 0x80
            if not open_.any():
                break
        return np.where(open_, 1 << 42, value)
