"""Tracks of a file and their instruments (channel and program), in the order in which a `Score` has them.

symusic gives the instruments of a track by channel and program. A `Score` has them, as miditoolkit, in the
order in which their first notes end. Events are followed only as far as that order needs it.
"""

import re
from collections import Counter, deque
from functools import cache
from math import inf
from typing import Any

import numpy as np

from musicbert.midi.events import (
    DATA_BYTES,
    END,
    META,
    NAME,
    NOTE_OFF,
    NOTE_ON,
    PROGRAM,
    file_events,
    number,
    track_chunks,
)

_ONE_TRACK = b"MThd\0\0\0\6\0\0\0\1\1\xe0"
#: Events at the beginning of a track among which a note is looked for.
_FEW_EVENTS = 40
_WITH_LENGTH = (0xF0, 0xF7, META)
_NOTE_STATUS = re.compile(rb"[\x90-\x9f]")
#: Bytes of a note: two events of a delta time, a pitch and a velocity.
_NOTE_BYTES = 6
#: Statuses of a program change, and all bytes that are neither these nor the beginning of a note.
_PROGRAMS = bytes(range(PROGRAM << 4, PROGRAM + 1 << 4))
_NO_STATUS = bytes(byte for byte in range(256) if byte >> 4 not in (NOTE_ON, PROGRAM))


@cache
def _score_class() -> Any:
    """Class of symusic's scores in ticks, for which ``symusic.Score`` looks in every call."""
    import symusic

    return type(symusic.Score())


def native(data: bytes) -> Any:
    """Parse a file with symusic; None where it refuses the bytes."""
    try:
        return _score_class().from_midi(data)
    except Exception:  # of many types
        return None


def native_track(data: bytes | bytearray, begin: int, stop: int) -> Any:
    """Parse the chunk of one track with symusic; None where it refuses the bytes."""
    return native(_ONE_TRACK + data[begin - 8 : stop])


def single_instruments(data: bytes, names: list[str], sizes: list[int]) -> list[bool]:
    """Whether each track of a file has one instrument at most, as its bytes show; none where all have.

    ``names``, ``sizes``: of symusic's tracks. Those of one chunk are neighbours with one name.
    """
    pairs = [sizes[k] + sizes[k + 1] for k in range(len(names) - 1) if names[k] == names[k + 1]]
    if not pairs:
        return []
    least = _NOTE_BYTES * min(pairs)
    single = [
        stop - begin < least or _has_one_instrument(data, begin, stop) for begin, stop in track_chunks(data)
    ]
    return [] if all(single) else single


def _has_one_instrument(data: bytes, begin: int, stop: int) -> bool:
    statuses = data[begin:stop].translate(None, _NO_STATUS).lstrip(_PROGRAMS)
    return statuses == statuses[:1] * len(statuses)


def chunks_of(data: bytes, n: int, single: list[bool]) -> list[int]:
    """Number of the chunk of each of the ``n`` tracks that symusic finds notes in.

    ``single``: whether each chunk has one instrument at most, or nothing.
    """
    chunks = list(track_chunks(data))
    if len(chunks) == 1:
        return [0] * n
    counts = {}  # where they are known
    sounding = []
    for k, (begin, stop) in enumerate(chunks):
        if not _NOTE_STATUS.search(data, begin, stop):
            continue
        if not _first_ends(data, begin, stop, most=1, within=_FEW_EVENTS):
            counts[k] = _count(data, begin, stop)
        elif single and single[k]:
            counts[k] = 1
        if counts.get(k, 1):
            sounding.append(k)
    if len(sounding) == n:
        return sounding
    return [k for k in sounding for _ in range(counts.get(k) or _count(data, *chunks[k]))]


def _count(data: bytes, begin: int, stop: int) -> int:
    """Tracks that symusic makes of the notes of one chunk."""
    return sum(len(track.notes) > 0 for track in native_track(data, begin, stop).tracks)


def by_first_end(data: bytes, notes: list[Any], places: list[int]) -> list[int]:
    """Order of symusic's tracks, with notes, which are in ``places``: by chunk, then by their first ends."""
    if len(set(places)) == len(places) or len(notes) != len(places):
        return list(range(len(notes)))
    order: list[int] = []
    chunks = list(track_chunks(data))
    for place in sorted(set(places)):
        members = [k for k, own in enumerate(places) if own == place]
        if len(members) == 1:
            order += members
            continue
        ends = {k: int(np.add(notes[k]["time"], notes[k]["duration"], dtype=np.int64).min()) for k in members}
        tied = [end for end, count in Counter(ends.values()).items() if count > 1]
        if tied:
            found = _first_ends(data, *chunks[place], last=max(tied))
            early = [k for k in members if ends[k] <= max(tied)]  # symusic has them by channel and program
            if len(found) != len(early):  # ticks beyond 32 bits, which are refused
                return list(range(len(notes)))
            rank = {k: found.index(key) for k, key in zip(early, sorted(found), strict=True)}
            members.sort(key=lambda k: (k not in rank, rank.get(k, ends[k])))
        else:
            members.sort(key=lambda k: ends[k])
        order += members
    return order


def _first_ends(
    data: bytes, at: int, stop: int, *, last: float = inf, most: float = inf, within: float = inf
) -> list[tuple[int, int]]:
    """Channels and programs of a track that end a note, in the order of their first ends.

    ``last``: up to this tick; ``most``: so many; ``within``: so many events.
    """
    tick = status = events = 0
    programs = [0] * 16
    sounding: dict[tuple[int, int], deque[tuple[int, int]]] = {}
    found: dict[tuple[int, int], None] = {}
    while at < stop and len(found) < most and events < within:
        events += 1
        if data[at] < 0x80:
            delta, at = data[at], at + 1
        else:
            delta, at = number(data, at)
        tick += delta
        byte = data[at]
        if tick > last:
            break
        if byte >= 0xF0:
            if byte == META and data[at + 1] == END:
                break
            if byte in _WITH_LENGTH:
                length, at = number(data, at + 1 + (byte == META))
                at += length
            else:
                at += 1 + DATA_BYTES[byte]
            continue
        if byte >= 0x80:
            status, at = byte, at + 1
        kind, key = status >> 4, (status & 0x0F, data[at])
        if kind == PROGRAM:
            programs[key[0]] = key[1]
        elif kind == NOTE_ON and data[at + 1]:
            sounding.setdefault(key, deque()).append((key[0], programs[key[0]]))
        elif kind in (NOTE_ON, NOTE_OFF) and sounding.get(key):
            found[sounding[key].popleft()] = None
        at += DATA_BYTES[status]
    return list(found)


def track_names(data: bytes) -> dict[int, str]:
    """Last name of each track that has one: UTF-8 where its bytes are, otherwise Latin-1."""
    events, names = file_events(data), {}
    named = events.kind == NAME
    columns = (events.track[named], events.data[named], events.stop[named])
    for track, at, stop in zip(*(column.tolist() for column in columns), strict=True):
        text = data[number(data, at)[1] : stop]
        try:
            names[track] = text.decode()
        except UnicodeDecodeError:
            names[track] = text.decode("latin-1")
    return names
