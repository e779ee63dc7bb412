"""`write_midi`: a `Score` as a Standard MIDI File of format 1, without any third-party writer.

The first track holds tempi and metres; each track of the score follows, its controllers first. Percussion
goes to channel 10; other tracks take the remaining channels in turn, and further MIDI ports after the
fifteenth. At one tick, ends come before beginnings, so that a repeated note is not cut; a note of zero ticks
begins before it ends. Controllers are written before notes of the same tick.

``read_score(midi_bytes(score))`` gives the notes, tempi, metres, controllers and names of the score. Notes of
one pitch that sound together cannot share a channel, where the first "note off" would end the wrong one: the
later ones move to a separate track and channel (on the same channel if the track has controllers, so that the
pedal still holds them). Readers ignore tracks without notes, so controllers of such a track join the first
one. What the format cannot hold is an error: a velocity of 0 (it means "note off"), a tempo outside 3.58 BPM
to 60 million BPM, numbers out of range. Tempi are stored in whole microseconds a quarter note.

Reference: Standard MIDI Files 1.0 (RP-001).
"""

from collections.abc import Sequence
from itertools import pairwise
from os import PathLike

import numpy as np

from musicbert.arrays import Ints
from musicbert.atomic import write_bytes
from musicbert.errors import MidiError
from musicbert.midi.columns import MINUTE_US, ScoreColumns, check_score

#: Largest values that the format can hold.
MAX_DELTA, MAX_DIVISION, MAX_MICROSECONDS, MAX_TRACKS = 0x0FFFFFFF, 0x7FFF, 0xFFFFFF, 0xFFFF
DRUM_CHANNEL = 9
MELODIC_CHANNELS = [channel for channel in range(16) if channel != DRUM_CHANNEL]
_END_OF_TRACK = b"\x00\xff\x2f\x00"
#: Fills a pause that is too long for one delta time: an empty text event, `MAX_DELTA` ticks later.
_FILLER = b"\xff\xff\xff\x7f\xff\x01\x00"
#: Order of events at one tick.
_CONTROL, _END, _ZERO_BEGIN, _BEGIN, _ZERO_END = range(5)


def write_midi(score: ScoreColumns, path: str | PathLike[str]) -> None:
    """Write the score to a file, atomically; raises as `midi_bytes`, and `OSError`."""
    write_bytes(path, midi_bytes(score))


def midi_bytes(score: ScoreColumns, *, markers: Sequence[tuple[int, str]] = ()) -> bytes:
    """Return the bytes of the MIDI file; ``markers``: ticks with their texts.

    Raises
    ------
    MidiError
        ``bad-value``: a number does not fit into the format; also the reasons of `check_score`.
    """
    check_score(score)
    check_writable(score)
    key = (score.track << 8) | (score.program << 1) | score.drum  # one MIDI track holds one program
    keys = np.unique(key).tolist()
    note_tracks = set(score.track.tolist())
    control_track = np.where(
        np.isin(score.control_track, list(note_tracks)), score.control_track, keys[0] >> 8
    )
    tracks, moved = [_meta_track(score, markers)], []
    slot = 0  # channels that are taken, drums apart
    pending = set(control_track.tolist())
    for value in keys:
        index, drum = value >> 8, bool(value & 1)
        controls = np.flatnonzero(control_track == index) if index in pending else np.zeros(0, np.int64)
        pending.discard(index)
        parts = lanes(score, np.flatnonzero(key == value))
        place = (0, DRUM_CHANNEL) if drum else _place(slot)
        slot += not drum
        tracks.append(music_track(score, parts[0], controls, *place, name=_name(score, index)))
        keeps = index in control_track
        moved += [
            (lane, index, drum, depth, place if keeps else None) for depth, lane in enumerate(parts[1:], 1)
        ]
    none = np.zeros(0, np.int64)
    for notes, index, drum, depth, kept in moved:
        place = kept or ((depth, DRUM_CHANNEL) if drum else _place(slot))
        slot += kept is None and not drum
        tracks.append(music_track(score, notes, none, *place, name=_name(score, index)))
    if len(tracks) > MAX_TRACKS:
        raise MidiError("bad-value", f"{len(tracks)} tracks do not fit into a MIDI file")
    header = b"MThd" + (6).to_bytes(4, "big") + (1).to_bytes(2, "big")
    header += len(tracks).to_bytes(2, "big") + score.ticks_per_beat.to_bytes(2, "big")
    return header + b"".join(map(chunk_of, tracks))


def chunk_of(events: bytes) -> bytes:
    """Chunk of the events of a track."""
    return b"MTrk" + len(events).to_bytes(4, "big") + events


def check_writable(score: ScoreColumns) -> None:
    """Raise `MidiError` for what the format cannot hold."""
    if score.ticks_per_beat > MAX_DIVISION:
        raise MidiError("bad-division", f"a MIDI file holds at most {MAX_DIVISION} ticks of a quarter note")
    if not score.velocity.all():
        note = int(np.flatnonzero(score.velocity == 0)[0])
        raise MidiError(
            "bad-value",
            f"note {note} has velocity 0, which means 'note off' in a MIDI file",
            hint="use a velocity of 1 to 127, or leave the note out",
        )
    for name in ("control_number", "control_value"):
        column = getattr(score, name)
        if len(column) and not 0 <= column.min() <= column.max() <= 127:
            raise MidiError("bad-value", f"{name.replace('_', ' ')} is outside 0-127")


def _place(slot: int) -> tuple[int, int]:
    """Return MIDI port and channel of a melodic track."""
    return slot // len(MELODIC_CHANNELS), MELODIC_CHANNELS[slot % len(MELODIC_CHANNELS)]


def _name(score: ScoreColumns, track: int) -> str:
    """Name of a track of the score; empty where it has none."""
    return score.track_name[track] if 0 <= track < len(score.track_name) else ""


def lanes(score: ScoreColumns, notes: Ints) -> list[Ints]:
    """Divide notes into parts, in each of which no two notes of one pitch sound together.

    Two notes of zero ticks at one tick count as sounding together, and so does any note that begins with one.
    """
    onset, offset, pitch = score.onset[notes], score.offset[notes], score.pitch[notes]
    order = np.lexsort((offset, onset, pitch))
    on, off, same = onset[order], offset[order], np.diff(pitch[order]) == 0
    # comparing neighbours is enough to see whether any two notes overlap
    clash = same & ((on[1:] < off[:-1]) | ((on[1:] == on[:-1]) & (on[:-1] == off[:-1])))
    if not clash.any():
        return [notes]
    crowded = np.isin(pitch, pitch[order][1:][clash])
    lane = np.zeros(len(notes), np.int64)
    last: dict[int, list[tuple[int, int]]] = {}  # of each pitch: the last note's onset and end in every lane
    for at in order[crowded[order]].tolist():
        begin, end = int(onset[at]), int(offset[at])
        taken = last.setdefault(int(pitch[at]), [])
        free = (k for k, (on_, off_) in enumerate(taken) if off_ <= begin and not on_ == off_ == begin)
        lane[at] = chosen = next(free, len(taken))
        taken[chosen : chosen + 1] = [(begin, end)]
    return [notes[lane == k] for k in range(int(lane.max()) + 1)]


def _meta_track(score: ScoreColumns, markers: Sequence[tuple[int, str]]) -> bytes:
    """Tempi, metres and markers."""
    tempi = zip(score.tempo_tick.tolist(), score.tempo_bpm.tolist(), strict=True)
    events = [(tick, tempo_event(bpm)) for tick, bpm in tempi]
    columns = (score.metre_tick, score.metre_numerator, score.metre_denominator)
    metres = zip(*(column.tolist() for column in columns), strict=True)
    events += [(tick, metre_event(numerator, denominator)) for tick, numerator, denominator in metres]
    texts = [(tick, text.encode("utf-8", "replace")) for tick, text in markers]
    events += [(tick, b"\xff\x06" + variable(len(text)) + text) for tick, text in texts]
    events.sort(key=lambda event: event[0])
    ticks = [0, *(tick for tick, _ in events)]
    deltas = [variable(later - earlier) for earlier, later in pairwise(ticks)]
    return b"".join(delta + event for delta, (_, event) in zip(deltas, events, strict=True)) + _END_OF_TRACK


def tempo_event(bpm: float) -> bytes:
    """A change of tempo, in quarter notes a minute; raises `MidiError` for what the format cannot hold."""
    microseconds = round(MINUTE_US / bpm)
    if not 1 <= microseconds <= MAX_MICROSECONDS:
        raise MidiError("bad-value", f"a MIDI file cannot hold a tempo of {bpm:g} quarter notes a minute")
    return b"\xff\x51\x03" + microseconds.to_bytes(3, "big")


def metre_event(numerator: int, denominator: int) -> bytes:
    """A time signature; raises `MidiError` for what the format cannot hold."""
    power = denominator.bit_length() - 1
    if denominator != 1 << power or numerator > 255:
        raise MidiError("bad-value", f"a MIDI file cannot hold the time signature {numerator}/{denominator}")
    return b"\xff\x58\x04" + bytes([numerator, power, 24, 8])


def variable(value: int) -> bytes:
    """Encode one delta time, after as many fillers as it takes."""
    fillers, value = divmod(value, MAX_DELTA) if value > MAX_DELTA else (0, value)
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return _FILLER * fillers + bytes(reversed(digits))


def music_track(
    score: ScoreColumns, notes: Ints, controls: Ints, port: int, channel: int, *, name: str
) -> bytes:
    """Name, port, program, controllers and notes of one track (all notes have one program)."""
    onset, offset = score.onset[notes], score.offset[notes]
    pitch, velocity = score.pitch[notes], score.velocity[notes]
    empty = onset == offset
    n, c = len(notes), len(controls)
    tick = np.concatenate([score.control_tick[controls], onset, offset])
    begin, end = np.where(empty, _ZERO_BEGIN, _BEGIN), np.where(empty, _ZERO_END, _END)
    order = np.concatenate([np.full(c, _CONTROL), begin, end])
    status = np.repeat([0xB0 | channel, 0x90 | channel, 0x80 | channel], [c, n, n])
    first = np.concatenate([score.control_number[controls], pitch, pitch])
    second = np.concatenate([score.control_value[controls], velocity, np.zeros(n, np.int64)])
    sequence = np.lexsort((order, tick))
    delta = np.diff(tick[sequence], prepend=0)
    title = name.encode("utf-8", "replace")
    head = b"\x00\xff\x03" + variable(len(title)) + title if title else b""
    head += bytes([0, 0xFF, 0x21, 1, port & 0x7F]) if port else b""
    head += bytes([0, 0xC0 | channel, int(score.program[notes[0]])])
    return head + _event_bytes(delta, status[sequence], first[sequence], second[sequence]) + _END_OF_TRACK


def _event_bytes(delta: Ints, status: Ints, first: Ints, second: Ints) -> bytes:
    """Bytes of events that all have a status and two data bytes."""
    long = np.flatnonzero(delta > MAX_DELTA)
    if len(long):  # pauses that need fillers are rare
        at = int(long[0])
        fillers = variable(int(delta[at]))
        event = fillers + bytes([int(status[at]), int(first[at]), int(second[at])])
        before, after = (
            _event_bytes(*(column[part] for column in (delta, status, first, second)))
            for part in (slice(at), slice(at + 1, None))
        )
        return before + event + after
    columns = [
        delta >> 21 & 0x7F | 0x80,
        delta >> 14 & 0x7F | 0x80,
        delta >> 7 & 0x7F | 0x80,
        delta & 0x7F,
        status,
        first,
        second,
    ]
    table = np.stack(columns, axis=1).astype(np.uint8)
    used = np.ones(table.shape, np.bool_)
    used[:, :3] = delta[:, None] >= 1 << np.array([21, 14, 7])
    return table[used].tobytes()
