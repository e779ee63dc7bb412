"""Notes of a MIDI file with their tracks and channels, which the parsers do not report.

By the standard a program change holds for its channel, in whichever track it stands; both parsers, and so the
published preprocessing, apply it to the channel of its own track only. `with_channel_programs` reads it as
the standard says: of the changes on the note's channel up to its onset, the last one holds (of one tick the
later track, but not one after the note in its own track). Tracks of format 2 are songs of their own.
"""

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from musicbert.arrays import Bools, Ints
from musicbert.midi.columns import ScoreColumns
from musicbert.midi.events import (
    NOTE_OFF,
    NOTE_ON,
    PROGRAM,
    Events,
    content,
    file_events,
    number,
    track_chunks,
)
from musicbert.midi.writer import DRUM_CHANNEL

#: Program of a change that was not read.
_UNKNOWN = -1
_COLUMNS = ("onset", "offset", "pitch", "velocity", "drum")


class FileNotes:
    """Notes of a file, paired first in, first out, in the order of the file; columns [shape=(n,), int64].

    ``onset``, ``offset``, ``pitch``, ``velocity``, ``drum``, ``program`` (by its track): as in a `Score`;
    ``track``: number of the chunk; ``channel``; ``on``, ``off``: indices of the two `events`; ``held``:
    program of the channel, across tracks.
    """

    def __init__(self, data: bytes) -> None:
        self.events = events = file_events(data)
        kind = events.status >> 4
        at = np.flatnonzero((kind == NOTE_ON) | (kind == NOTE_OFF))
        pitch, velocity = content(data, events.data[at]), content(data, events.data[at] + 1)
        group = events.track[at] << 4 | events.status[at] & 0x0F
        begins, ends = _pairs(group << 7 | pitch & 0x7F, (kind[at] == NOTE_ON) & (velocity > 0))
        order = np.argsort(begins)
        begins, ends = begins[order], ends[order]
        self.on, self.off = at[begins], at[ends]
        self.pitch, self.velocity = pitch[begins], velocity[begins]
        self.onset, self.offset = events.tick[self.on], events.tick[self.off]
        self.track, self.channel = events.track[self.on], events.status[self.on] & 0x0F
        self.drum: Bools = self.channel == DRUM_CHANNEL
        self.program = events.programs(data, self.on)
        self.held = _held(data, events, self.on, self.program)

    def find(self, score: ScoreColumns) -> Ints:
        """File note of each note of the score that was read from this file; -1 where there is none."""
        found = np.full(len(score.onset), -1)
        for programs in (self.program, self.held, None):  # None: a program that changes while a note sounds
            left = np.flatnonzero(found < 0)
            if not len(left):
                break
            free = np.setdiff1d(np.arange(len(self.onset)), found)[::-1]
            waiting: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
            for note, key in zip(free.tolist(), _keys(self, programs, free), strict=True):
                waiting[key].append(note)
            read = None if programs is None else score.program
            for note, key in zip(left.tolist(), _keys(score, read, left), strict=True):
                if waiting[key]:
                    found[note] = waiting[key].pop()
        return found


def _keys(notes: Any, program: Ints | None, chosen: Ints) -> list[tuple[int, ...]]:
    columns = [getattr(notes, name) for name in _COLUMNS] + ([] if program is None else [program])
    return list(zip(*(column[chosen].tolist() for column in columns), strict=True))


def _pairs(key: Ints, begins: Bools) -> tuple[Ints, Ints]:
    """Beginning and end of each note that ends: first in, first out among the events of one key."""
    order = np.argsort(key, kind="stable")
    begin, group = begins[order], np.cumsum(np.diff(key[order], prepend=key[:1]) != 0)
    step = np.where(begin, 1, -1)
    first = np.searchsorted(group, group)  # of its group
    # sounding notes after each event, if ends were never ignored; every group far below the one before
    floor = -group * (len(key) + 1)
    level = np.cumsum(step)
    level = level - (level - step)[first] + floor
    lowest = np.minimum.accumulate(np.minimum(level, floor))
    ignored = ~begin & (level < np.append(0, lowest[:-1])) & (level < floor)
    starts, ends = np.flatnonzero(begin), np.flatnonzero(~begin & ~ignored)
    # the k-th end of a group belongs to its k-th beginning
    found = np.searchsorted(_numbered(group[starts], len(key)), _numbered(group[ends], len(key)))
    return order[starts[found]], order[ends]


def _numbered(group: Ints, n: int) -> Ints:
    """Number of the group, then of the member in its group, as one ascending number."""
    return group * (n + 1) + np.arange(len(group)) - np.searchsorted(group, group)


def _held(data: bytes, events: Events, notes: Ints, program: Ints) -> Ints:
    """Program of the channel at some events, across tracks; ``program``: that of the track alone."""
    held = program.copy()
    if int.from_bytes(data[8:10], "big") != 1:
        return held
    changes = np.flatnonzero(events.status >> 4 == PROGRAM)
    changes = changes[np.argsort(events.tick[changes], kind="stable")]
    values = content(data, events.data[changes])
    for channel in np.unique(events.status[changes] & 0x0F):
        own = events.status[changes] & 0x0F == channel
        mine = np.flatnonzero(events.status[notes] & 0x0F == channel)
        tracks = np.union1d(events.track[changes[own]], events.track[notes[mine]])
        if len(tracks) < 2 or not len(mine):
            continue
        found = np.searchsorted(events.tick[changes[own]], events.tick[notes[mine]], side="right") - 1
        ruling: list[int] = changes[own].tolist()
        programs = values[own].tolist()
        for note, at, k in zip(mine.tolist(), notes[mine].tolist(), found.tolist(), strict=True):
            while k >= 0 and ruling[k] > at and _together(events, ruling[k], at):
                k -= 1
            held[note] = programs[k] if k >= 0 else 0
    return held


def _together(events: Events, one: int, other: int) -> bool:
    """Whether two events are on one tick of one track."""
    same = events.tick[one] == events.tick[other] and events.track[one] == events.track[other]
    return bool(same)


def with_channel_programs(score: Any, data: bytes) -> Any:
    """Return the score of a file with the programs of the channels, as the standard says."""
    notes = FileNotes(data)
    place = notes.find(score)
    change = (place >= 0) & ~score.drum
    program = score.program.copy()
    program[change] = notes.held[place[change]]
    return replace(score, program=program)


def programs_elsewhere(data: bytes) -> int:
    """Count the notes, percussion apart, whose program another track sets (see the head of this file)."""
    tracks = _tracks_elsewhere(data)
    if not tracks:
        return 0
    chunks = list(track_chunks(data))
    wanted = sorted(set().union(*tracks.values()))
    head = data[:10] + len(wanted).to_bytes(2, "big") + data[12 : 8 + int.from_bytes(data[4:8], "big")]
    notes = FileNotes(head + b"".join(data[chunks[k][0] - 8 : chunks[k][1]] for k in wanted))
    counted = np.isin(notes.channel, list(tracks))
    return int(((notes.program != notes.held) & ~notes.drum & counted).sum())


def _tracks_elsewhere(data: bytes) -> dict[int, set[int]]:
    """Channels that may have such notes, and the tracks with notes or programs of each.

    This is a look at the bytes alone, which may see events where there are none.
    """
    first_note: defaultdict[int, dict[int, int]] = defaultdict(dict)  # channel -> track -> byte
    first_change: defaultdict[int, dict[int, int]] = defaultdict(dict)
    programs: defaultdict[int, set[int]] = defaultdict(set)
    if data[:4] != b"MThd" or int.from_bytes(data[8:10], "big") != 1 or data.count(b"MTrk") < 2:
        return {}
    for track, (begin, stop) in enumerate(track_chunks(data)):
        chunk = np.frombuffer(data, np.uint8, stop - begin, begin)
        for kind, firsts in ((NOTE_ON, first_note), (PROGRAM, first_change)):
            where = np.flatnonzero((chunk[:-1] >> 4 == kind) & (chunk[1:] < 0x80))
            if kind == NOTE_ON:  # of two data bytes, so most delta times are told from it
                where = where[chunk.take(where + 2, mode="clip") < 0x80]
            channels, first = np.unique(chunk[where] & 0x0F, return_index=True)
            firsts_of = zip(channels.tolist(), where[first].tolist(), strict=True)
            for channel, at in firsts_of:
                firsts[channel][track] = at
            if kind == PROGRAM:
                for at in (where + begin).tolist():
                    programs[data[at] & 0x0F].add(data[at + 1])
                    _, after = number(data, at + 2)
                    if after < stop and data[after] < 0x80:  # another one, without a status
                        programs[data[at] & 0x0F].add(_UNKNOWN)
    found: dict[int, set[int]] = {}
    for channel, there in first_note.items():
        changes = first_change[channel]
        tracks = {*there, *changes}
        if channel == DRUM_CHANNEL or len(tracks) < 2 or programs[channel] <= {0}:
            continue
        everywhere = all(track in changes and changes[track] < at for track, at in there.items())
        if len(programs[channel]) > 1 or not everywhere:
            found[channel] = tracks
    return found
