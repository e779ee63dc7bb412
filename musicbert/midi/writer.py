"""`write_midi`: a `Score` as a Standard MIDI File of format 1, without any third-party writer.

The first track holds tempi and metres; each track of the score follows, its controllers first. Percussion
goes to channel 10; other tracks take the remaining channels in turn. At one tick, ends come before
beginnings, so that a repeated note is not cut; a note of zero ticks begins before it ends. Controllers are
written before notes of the same tick.

Reference: Standard MIDI Files 1.0 (RP-001).
"""

from __future__ import annotations

from itertools import pairwise
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from musicbert.atomic import write_bytes
from musicbert.errors import MidiError
from musicbert.midi.reader import check_score
from musicbert.midi.score import Score

__all__ = ["midi_bytes", "write_midi"]

Ints = NDArray[np.int64]

MINUTE_US = 60e6
#: Largest values that the format can hold.
MAX_DELTA, MAX_DIVISION, MAX_MICROSECONDS, MAX_TRACKS = 0x0FFFFFFF, 0x7FFF, 0xFFFFFF, 0xFFFF
DRUM_CHANNEL = 9
_MELODIC_CHANNELS = [channel for channel in range(16) if channel != DRUM_CHANNEL]
_END_OF_TRACK = b"\x00\xff\x2f\x00"
#: Order of events at one tick.
_CONTROL, _END, _ZERO_BEGIN, _BEGIN, _ZERO_END = range(5)


def write_midi(score: Score, path: str | PathLike[str]) -> None:
    """Write the score to a file, atomically.

    Raises
    ------
    MidiError
        ``bad-value`` (and the other reasons of a score that cannot be used).
    OSError
        If the file cannot be written.
    """
    write_bytes(path, midi_bytes(score))


def midi_bytes(score: Score) -> bytes:
    """Return the bytes of the MIDI file.

    Raises
    ------
    MidiError
        ``bad-value`` if a number does not fit into the format.
    """
    check_score(score)
    if score.ticks_per_beat > MAX_DIVISION:
        raise MidiError("bad-division", f"a MIDI file holds at most {MAX_DIVISION} ticks of a quarter note")
    tracks = [_meta_track(score)]
    melodic = 0
    key = (score.track << 8) | (score.program << 1) | score.drum  # one MIDI track holds one program
    pending = set(score.control_track.tolist())
    for value in np.unique(key).tolist():
        index, drum = value >> 8, bool(value & 1)
        channel = DRUM_CHANNEL if drum else _MELODIC_CHANNELS[melodic % len(_MELODIC_CHANNELS)]
        melodic += not drum
        controls = np.flatnonzero(score.control_track == index) if index in pending else np.zeros(0, np.int64)
        pending.discard(index)
        tracks.append(_music_track(score, np.flatnonzero(key == value), controls, channel))
    if pending:  # controllers of tracks without notes
        orphans = np.flatnonzero(np.isin(score.control_track, list(pending)))
        tracks.append(_music_track(score, np.zeros(0, np.int64), orphans, 0))
    if len(tracks) > MAX_TRACKS:
        raise MidiError("bad-value", f"{len(tracks)} tracks do not fit into a MIDI file")
    header = b"MThd" + (6).to_bytes(4, "big") + (1).to_bytes(2, "big")
    header += len(tracks).to_bytes(2, "big") + score.ticks_per_beat.to_bytes(2, "big")
    return header + b"".join(b"MTrk" + len(track).to_bytes(4, "big") + track for track in tracks)


def _meta_track(score: Score) -> bytes:
    """Tempi and metres."""
    events: list[tuple[int, bytes]] = []
    for tick, bpm in zip(score.tempo_tick.tolist(), score.tempo_bpm.tolist(), strict=True):
        microseconds = min(max(round(MINUTE_US / bpm), 1), MAX_MICROSECONDS)
        events.append((tick, b"\xff\x51\x03" + microseconds.to_bytes(3, "big")))
    metres = zip(
        score.metre_tick.tolist(),
        score.metre_numerator.tolist(),
        score.metre_denominator.tolist(),
        strict=True,
    )
    for tick, numerator, denominator in metres:
        power = denominator.bit_length() - 1
        if denominator != 1 << power or numerator > 255:
            raise MidiError(
                "bad-value", f"a MIDI file cannot hold the time signature {numerator}/{denominator}"
            )
        events.append((tick, b"\xff\x58\x04" + bytes([numerator, power, 24, 8])))
    events.sort(key=lambda event: event[0])
    ticks = [0, *(tick for tick, _ in events)]
    deltas = [_variable(later - earlier) for earlier, later in pairwise(ticks)]
    return b"".join(delta + event for delta, (_, event) in zip(deltas, events, strict=True)) + _END_OF_TRACK


def _variable(value: int) -> bytes:
    """Encode one variable-length number."""
    if value > MAX_DELTA:
        raise MidiError("bad-value", f"a pause of {value} ticks does not fit into a MIDI file")
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def _music_track(score: Score, notes: Ints, controls: Ints, channel: int) -> bytes:
    """Program, controllers and notes of one track (all notes have one program)."""
    onset, offset = score.onset[notes], score.offset[notes]
    pitch, velocity = score.pitch[notes], np.maximum(score.velocity[notes], 1)  # velocity 0 would mean "off"
    empty = onset == offset
    n, c = len(notes), len(controls)
    tick = np.concatenate([score.control_tick[controls], onset, offset])
    begin, end = np.where(empty, _ZERO_BEGIN, _BEGIN), np.where(empty, _ZERO_END, _END)
    order = np.concatenate([np.full(c, _CONTROL), begin, end])
    status = np.repeat([0xB0 | channel, 0x90 | channel, 0x80 | channel], [c, n, n])
    first = np.concatenate([score.control_number[controls] & 0x7F, pitch, pitch])
    second = np.concatenate([score.control_value[controls] & 0x7F, velocity, np.zeros(n, np.int64)])
    sequence = np.lexsort((order, tick))
    delta = np.diff(tick[sequence], prepend=0)
    if len(delta) and int(delta.max()) > MAX_DELTA:
        raise MidiError("bad-value", f"a pause of {int(delta.max())} ticks does not fit into a MIDI file")
    program = bytes([0, 0xC0 | channel, int(score.program[notes[0]])]) if n else b""
    return program + _event_bytes(delta, status[sequence], first[sequence], second[sequence]) + _END_OF_TRACK


def _event_bytes(delta: Ints, status: Ints, first: Ints, second: Ints) -> bytes:
    """Bytes of events that all have a status and two data bytes."""
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
    used[:, 0] = delta >= 1 << 21
    used[:, 1] = delta >= 1 << 14
    used[:, 2] = delta >= 1 << 7
    return table[used].tobytes()
