"""`edit_midi`: a MIDI file with some of its notes, tempi and time signatures changed, and nothing else.

Events that do not change keep their bytes, track, channel and order. A note that keeps its onset or end keeps
the place of that event; one whose pitch sounds already on its channel, or whose program changes, goes to a
track of its own at the end of the file, on a free channel (on its own if that has controllers, so that the
pedal still holds it; in formats 0 and 2 the free channel is used in the note's track).
"""

import logging
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from musicbert.arrays import Ints
from musicbert.errors import MidiError
from musicbert.midi import parsers
from musicbert.midi.channels import FileNotes
from musicbert.midi.columns import MINUTE_US, ScoreColumns
from musicbert.midi.events import (
    END,
    METRE,
    NOTE_OFF,
    NOTE_ON,
    PORT,
    PROGRAM,
    TEMPO,
    Events,
    content,
    file_events,
    track_chunks,
)
from musicbert.midi.limits import check_header
from musicbert.midi.programs import change_programs
from musicbert.midi.writer import (
    DRUM_CHANNEL,
    MELODIC_CHANNELS,
    check_writable,
    chunk_of,
    lanes,
    metre_event,
    music_track,
    tempo_event,
    variable,
)

logger = logging.getLogger(__name__)
_NOTE = ("onset", "offset", "pitch", "velocity", "program", "drum")
_HINT = "save its score (notes, tempi, metres, controllers), or write the file anew with a music program"
#: Places of new events among those of their tick.
_BEFORE, _AMONG, _AFTER = range(3)


def edit_midi(
    data: bytes, before: ScoreColumns, after: ScoreColumns, *, change_instruments: bool = False
) -> bytes:
    """Return the file ``data``, from which ``before`` was read, as one from which ``after`` is read.

    Note i of one score is note i of the other. ``change_instruments``: where the notes of a channel allow it,
    other programs come from its program changes (`musicbert.midi.programs`), not from other channels, so that
    the notes keep volume, panning and pedal. Raises `MidiError` (``bad-value``): the events of a changed
    note are not found (a damaged file), there is no room for it, or what the format cannot hold.
    """
    check_writable(after)
    if change_instruments:
        with suppress(MidiError):  # where it is not read as wanted
            return _edit_midi(data, before, after, change_instruments=True)
    return _edit_midi(data, before, after, change_instruments=False)


def _edit_midi(data: bytes, before: ScoreColumns, after: ScoreColumns, *, change_instruments: bool) -> bytes:
    changed = np.flatnonzero(np.any([getattr(before, k) != getattr(after, k) for k in _NOTE], axis=0))
    data = check_header(data, None)
    edit = _Edit(data, before, after)
    found = edit.notes.find(before)
    places = found[changed]
    if (places < 0).any():
        raise MidiError(
            "bad-value",
            f"the events of {int((places < 0).sum())} changed notes are not found in the file: it is damaged",
            hint=_HINT,
        )
    if change_instruments:
        edit.change_programs(found)
    edit.change(changed, places)
    _change_tempi_and_metres(edit, before, after)
    result = edit.file()
    by_track = bool((found >= 0).all() and (edit.notes.program[found] == before.program).all())
    _check(result, after, _NOTE if by_track else tuple(name for name in _NOTE if name != "program"))
    return result


@dataclass
class _Track:
    """Changes of one track: ``removed`` events, ``bytes`` of others, and new ones (tick, place, bytes)."""

    removed: set[int] = field(default_factory=set)
    changed: dict[int, bytes] = field(default_factory=dict)
    new: list[tuple[int, int, bytes]] = field(default_factory=list)
    #: new events right before others
    before: dict[int, bytes] = field(default_factory=dict)


class _Edit:
    """A file while it is changed."""

    def __init__(self, data: bytes, before: ScoreColumns, after: ScoreColumns) -> None:
        self.data, self.before, self.after = data, before, after
        self.notes = FileNotes(data)
        self.events: Events = self.notes.events
        self.programs = np.flatnonzero(self.events.status >> 4 == PROGRAM)
        self.tracks: defaultdict[int, _Track] = defaultdict(_Track)
        self.form = int.from_bytes(data[8:10], "big")
        self.more: list[bytes] = []  # new tracks
        self.program = (
            after.program
        )  # what the notes get; those of `change_programs` keep theirs in their track

    def change_programs(self, found: Ints) -> None:
        """Give notes other programs by the program changes of their channels, where that is possible."""
        programs = change_programs(self.notes, found, self.before, self.after)
        self.program = np.where(programs.notes, self.before.program, self.after.program)
        for track, events in programs.changed.items():
            self.tracks[track].changed.update(events)
        for track, events in programs.before.items():
            self.tracks[track].before.update(events)

    def change(self, changed: Ints, places: Ints) -> None:
        """Change notes of the score, which are these notes of the file."""
        notes, before, after = self.notes, self.before, self.after
        names = [name for name in _NOTE if name not in ("velocity", "program")]
        stay = np.all([getattr(before, k)[changed] == getattr(after, k)[changed] for k in names], axis=0)
        stay &= before.program[changed] == self.program[changed]
        for note, place in zip(changed[stay].tolist(), places[stay].tolist(), strict=True):
            event = int(notes.on[place])
            body = bytes([int(self.events.status[event]), int(after.pitch[note]), int(after.velocity[note])])
            self.tracks[int(notes.track[place])].changed[event] = body
        changed, places = changed[~stay], places[~stay]
        sounding = self._sounding(places)
        moved: list[tuple[int, int]] = []
        for note, place in zip(changed.tolist(), places.tolist(), strict=True):
            spans = sounding[int(notes.track[place]), int(notes.channel[place]), int(after.pitch[note])]
            span = (int(after.onset[note]), int(after.offset[note]))
            drum = bool(after.drum[note])
            same = drum == before.drum[note] and self.program[note] == before.program[note]
            if same and not _clashes(spans, span) and self._keeps_program(place, span[0]):
                insort(spans, span)
                self._rewrite(note, place, _touches(spans, span))
            else:
                moved.append((note, place))
                removed = {int(notes.on[place]), int(notes.off[place])}
                self.tracks[int(notes.track[place])].removed |= removed
        self._place(moved)

    def _sounding(self, places: Ints) -> defaultdict[tuple[int, int, int], list[tuple[int, int]]]:
        """Onset and end of the other notes by track, channel and pitch, in order.

        A beginning without an end sounds for ever, an end without a beginning is as a note of zero ticks.
        """
        notes, events = self.notes, self.events
        stays = np.setdiff1d(np.arange(len(notes.onset)), places)
        alone = np.setdiff1d(
            np.flatnonzero((events.status >> 4 == NOTE_ON) | (events.status >> 4 == NOTE_OFF)),
            np.concatenate([notes.on, notes.off]),
        )
        begins = (events.status[alone] >> 4 == NOTE_ON) & (content(self.data, events.data[alone] + 1) > 0)
        columns = (
            (notes.track[stays], events.track[alone]),
            (notes.channel[stays], events.status[alone] & 0x0F),
            (notes.pitch[stays], content(self.data, events.data[alone])),
            (notes.onset[stays], events.tick[alone]),
            (notes.offset[stays], np.where(begins, np.iinfo(np.int64).max, events.tick[alone])),
        )
        spans: defaultdict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
        for *key, onset, offset in zip(*(np.concatenate(each).tolist() for each in columns), strict=True):
            spans[key[0], key[1], key[2]].append((onset, offset))
        for each in spans.values():
            each.sort()
        return spans

    def _keeps_program(self, place: int, onset: int) -> bool:
        """Whether a note would have its program at another onset, too."""
        notes, events = self.notes, self.events
        if onset == notes.onset[place]:
            return True
        own = self.programs[
            (events.track[self.programs] == notes.track[place])
            & (events.status[self.programs] & 0x0F == notes.channel[place])
            & (events.tick[self.programs] <= onset)
        ]
        program = int(content(self.data, events.data[own[-1:]])[0]) if len(own) else 0
        return program == int(notes.program[place])

    def _rewrite(self, note: int, place: int, touches: tuple[bool, bool]) -> None:
        """Change the two events of a note in its track."""
        track, after, notes = self.tracks[int(self.notes.track[place])], self.after, self.notes
        pitch, onset, offset = int(after.pitch[note]), int(after.onset[note]), int(after.offset[note])
        empty = onset == offset
        release = int(content(self.data, self.events.data[notes.off[place]] + 1))
        stay = not empty and notes.onset[place] != notes.offset[place]
        for event, tick, second, where, touching in (
            (int(notes.on[place]), onset, int(after.velocity[note]), _AFTER, touches[0]),
            (int(notes.off[place]), offset, release, _AFTER if empty else _BEFORE, touches[1]),
        ):
            body = bytes([int(self.events.status[event]), pitch, second])
            if tick == self.events.tick[event] and stay and not touching:
                track.changed[event] = body
            else:
                track.removed.add(event)
                track.new.append((tick, where, body))

    def _place(self, moved: list[tuple[int, int]]) -> None:
        """Write notes that have no room where they were to channels of their own."""
        notes, after, events = self.notes, self.after, self.events
        controls = events.status[np.isin(events.status >> 4, (0xA, 0xB, 0xD, 0xE))] & 0x0F
        programs = np.stack(
            [events.status[self.programs] & 0x0F, content(self.data, events.data[self.programs])]
        )
        several = Counter(np.unique(programs, axis=1)[0].tolist())
        controlled = {channel for channel in controls.tolist() if several[channel] < 2}
        groups: defaultdict[tuple[int, bool, int, int], list[int]] = defaultdict(list)
        for note, place in moved:
            channel, drum = int(notes.channel[place]), bool(after.drum[note])
            same = not (drum or notes.drum[place]) and after.program[note] == notes.program[place]
            kept = channel if same and channel in controlled and self.form == 1 else -1
            track = int(notes.track[place]) if self.form != 1 else 0
            groups[int(after.program[note]), drum, kept, track].append(note)
        ports = [self.data[at] for _, at in events.meta(self.data, PORT)]
        used = set((events.status[(events.status >= 0x80) & (events.status < 0xF0)] & 0x0F).tolist())
        free = [(0, channel) for channel in MELODIC_CHANNELS if channel not in used]
        port = max(ports, default=0) + 1
        drums = port
        for (_, drum, kept, track), members in groups.items():
            for lane in lanes(after, np.array(members, np.int64)):
                if drum:
                    place_, drums = (drums, DRUM_CHANNEL), drums + 1
                elif kept >= 0:
                    place_ = (0, kept)
                else:
                    if not free:
                        free, port = [(port, channel) for channel in MELODIC_CHANNELS], port + 1
                    place_ = free.pop(0)
                self._add_track(lane, track, *place_)

    def _add_track(self, lane: Ints, track: int, port: int, channel: int) -> None:
        chunk = chunk_of(music_track(self.after, lane, lane[:0], port, channel, name=""))
        if self.form == 1:
            self.more.append(chunk)
            return
        if port:
            if self.form == 2:
                raise MidiError(
                    "bad-value", "no channel is free for a changed note", hint="save it as a file of format 1"
                )
            if not self.more:
                logger.warning("no channel is free for changed notes: the file gets more tracks (format 1)")
            self.more.append(chunk)
            return
        header = self.data[:8] + b"\0\1\0\1" + self.data[12:14]
        events = file_events(header + chunk)
        for tick, status, at, stop in zip(
            *(c.tolist() for c in (events.tick, events.status, events.data, events.stop)), strict=True
        ):
            body = bytes([status]) + (header + chunk)[at:stop]
            self.tracks[track].new.append((tick, _AFTER, body))

    def file(self) -> bytes:
        """Bytes of the changed file."""
        data, result, at = self.data, b"", 0
        for number, (begin, stop) in enumerate(track_chunks(data)):
            result += data[at : begin - 8]
            at = stop
            if number in self.tracks:
                result += chunk_of(self._track(number, begin, stop))
            else:
                result += data[begin - 8 : stop]
        result += b"".join(self.more)
        if self.more:
            tracks = int.from_bytes(data[10:12], "big") + len(self.more)
            if tracks > 0xFFFF:
                raise MidiError("bad-value", f"{tracks} tracks do not fit into a MIDI file")
            result = result[:8] + b"\0\1" + tracks.to_bytes(2, "big") + result[12:]
        return result + data[at:]

    def _track(self, number: int, begin: int, stop: int) -> bytes:
        """Bytes of the events of a changed track."""
        events, edit, data = self.events, self.tracks[number], self.data
        own = np.flatnonzero(events.track == number).tolist()
        if not edit.removed and not edit.new and not edit.before:  # patched where they are
            patched = bytearray(data[begin:stop])
            for event, content_ in edit.changed.items():
                at = int(events.data[event]) - begin
                patched[at : at + len(content_) - 1] = content_[1:]
            return bytes(patched)
        entries: list[tuple[int, int, float, bytes]]
        entries = [(tick, place, k, body) for k, (tick, place, body) in enumerate(edit.new)]
        entries += [(int(events.tick[k]), _AMONG, k - 0.5, body) for k, body in edit.before.items()]
        for event in own:
            if event in edit.removed:
                continue
            status, at = int(events.status[event]), int(events.data[event])
            head = bytes([status, int(events.kind[event])]) if events.kind[event] >= 0 else bytes([status])
            body = edit.changed.get(event, head + data[at : int(events.stop[event])])
            entries.append((int(events.tick[event]), _AMONG, event, body))
        entries.sort(key=lambda entry: entry[:3])
        written, last = [], 0
        for tick, _, _, body in entries:
            written.append(variable(tick - last) + body)
            last = tick
        end = int(events.stop[own[-1]]) if own else begin
        ticks = int(events.tick[own[-1]]) if own else 0
        return b"".join(written) + _end(data[end:stop], ticks, last)


def _end(tail: bytes, before: int, after: int) -> bytes:
    """What follows the last event, its end mark at the tick where it was, or after what comes later now."""
    delta = k = 0
    while k < len(tail) and k < 4:
        delta, k = delta << 7 | tail[k] & 0x7F, k + 1
        if tail[k - 1] < 0x80:
            break
    if tail[k : k + 2] == bytes([0xFF, END]):
        return variable(max(before + delta - after, 0)) + tail[k:]
    return tail


def _clashes(spans: list[tuple[int, int]], span: tuple[int, int]) -> bool:
    """Whether a note sounds together with one of others, which are in order and do not sound together."""
    onset, offset = span
    k = bisect_left(spans, (onset, -1))
    earlier = spans[k - 1][1] > onset if k else False
    later = k < len(spans) and (spans[k][0] < offset or spans[k][0] == onset)
    return earlier or later


def _touches(spans: list[tuple[int, int]], span: tuple[int, int]) -> tuple[bool, bool]:
    """Whether another note ends where this one begins, and begins where this one ends."""
    k = bisect_left(spans, span)
    before = k > 0 and spans[k - 1][1] == span[0]
    return before, k + 1 < len(spans) and spans[k + 1][0] == span[1]


def _change_tempi_and_metres(edit: _Edit, before: ScoreColumns, after: ScoreColumns) -> None:
    """Remove tempi and time signatures that are no more, and write new ones to the first track."""
    columns = {
        TEMPO: ("tempo_tick", "tempo_bpm"),
        METRE: ("metre_tick", "metre_numerator", "metre_denominator"),
    }
    events, data = edit.events, edit.data
    for kind, names in columns.items():
        old, new = (
            Counter(zip(*(getattr(score, name).tolist() for name in names), strict=True))
            for score in (before, after)
        )
        gone = old - new
        for event in np.flatnonzero(events.kind == kind).tolist():
            tick, at = int(events.tick[event]), int(events.data[event]) + 1
            value: tuple[float, ...]
            if kind == TEMPO:
                value = (tick, MINUTE_US / max(int.from_bytes(data[at : at + 3], "big"), 1e-9))
            else:
                value = (tick, data[at], 1 << data[at + 1])
            if gone[value]:
                gone[value] -= 1
                edit.tracks[int(events.track[event])].removed.add(event)
        for value in (new - old).elements():
            body = tempo_event(value[1]) if kind == TEMPO else metre_event(int(value[1]), int(value[2]))
            edit.tracks[0].new.append((int(value[0]), _AFTER, body))


def _check(data: bytes, after: ScoreColumns, names: tuple[str, ...]) -> None:
    """Raise `MidiError` unless the file is read as ``after``."""
    try:
        again = parsers.parse_symusic(data)
    except Exception as error:  # of many types (see `musicbert.midi.reader`): the file was damaged before
        raise MidiError("bad-value", "the file is damaged and cannot be changed", hint=_HINT) from error
    notes = [
        sorted(zip(*(getattr(score, name).tolist() for name in names), strict=True))
        for score in (again, after)
    ]
    columns = ("tempo_tick", "metre_tick", "metre_numerator", "metre_denominator")
    same = all(np.array_equal(getattr(again, name), getattr(after, name)) for name in columns)
    tempo, wanted = (np.rint(MINUTE_US / score.tempo_bpm) for score in (again, after))  # what a file holds
    if notes[0] != notes[1] or not same or not np.array_equal(tempo, wanted):
        raise MidiError(
            "bad-value",
            "the file cannot hold the changed notes, tempi or time signatures as they are",
            hint=_HINT,
        )
