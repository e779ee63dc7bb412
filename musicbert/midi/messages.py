"""The reader in pure Python, by mido, on which miditoolkit is built; and objects of miditoolkit.

It reads a file in its plainest form (`musicbert.midi.plain_file`) by the rules of ``docs/encoding.md``, as
`musicbert.midi.parsers` does with symusic, and gives the same `Score`.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np

from musicbert.arrays import Ints
from musicbert.midi.columns import MINUTE_US
from musicbert.midi.events import LYRIC, tempi_and_metres
from musicbert.midi.plain_file import plain_file
from musicbert.midi.score import Score
from musicbert.midi.tracks import track_names
from musicbert.midi.writer import DRUM_CHANNEL

#: Channel to which symusic counts lyrics, as if they were notes.
_LYRIC_CHANNEL = 15
#: Largest power of a denominator.
_MAX_POWER = 31


@dataclass
class _Instrument:
    """Notes (onset, offset or -1, pitch, velocity) and controllers (tick, number, value) of one program."""

    program: int
    drum: bool
    chunk: int
    controls: list[tuple[int, int, int]]
    notes: list[list[int]] = field(default_factory=list)
    first_end: int | None = None


def parse_miditoolkit(data: bytes) -> Score:
    """Parse the bytes of a MIDI file with mido."""
    import mido

    file = mido.MidiFile(file=BytesIO(plain_file(data, metas=(LYRIC,))))
    instruments: list[_Instrument] = []
    for number, track in enumerate(file.tracks):
        found = _instruments(number, track)
        instruments += sorted(found, key=lambda each: (each.first_end is None, each.first_end))
    instruments.sort(key=lambda each: each.first_end is None)  # those without a whole note last
    sounding = [each for each in instruments if each.first_end is not None]
    whole = [[note for note in each.notes if note[1] >= 0] for each in sounding]
    sizes = [len(notes) for notes in whole]
    notes = _table([tuple(note) for notes in whole for note in notes], 4)
    controls = _table(
        [
            (*control, index if index < len(sounding) else -1)
            for index, each in enumerate(instruments)
            for control in each.controls
        ],
        4,
    )
    names = track_names(data)
    tempi, metres = (sorted(events, key=lambda event: event[0]) for events in tempi_and_metres(data))
    rows = [(tick, numerator, 2 ** min(power, _MAX_POWER)) for tick, numerator, power in metres]
    return _score(
        file.ticks_per_beat,
        notes,
        sizes,
        [(each.program, each.drum) for each in sounding],
        [(tick, MINUTE_US / mspq if mspq else float("inf")) for tick, mspq in tempi],
        _table(rows, 3),
        controls,
        [names.get(each.chunk, "") for each in sounding],
    )


def _instruments(chunk: int, track: Any) -> list[_Instrument]:
    """Instruments of a track, by the rules that `musicbert.midi.parsers` has from symusic."""
    found: dict[tuple[int, int], _Instrument] = {}
    waiting: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)  # controllers by channel
    programs = [0] * 16
    sounding: defaultdict[tuple[int, int], deque[tuple[_Instrument, list[int]]]] = defaultdict(deque)
    tick = ends = 0

    def instrument(channel: int) -> _Instrument:
        key = channel, programs[channel]
        if key not in found:
            found[key] = _Instrument(key[1], channel == DRUM_CHANNEL, chunk, waiting.pop(channel, []))
        return found[key]

    for message in track:
        tick += message.time
        if message.type == "note_on" and message.velocity:
            own = instrument(message.channel)
            own.notes.append([tick, -1, message.note, message.velocity])
            sounding[message.channel, message.note].append((own, own.notes[-1]))
        elif message.type in ("note_on", "note_off"):
            if sounding[message.channel, message.note]:
                own, note = sounding[message.channel, message.note].popleft()
                note[1], ends = tick, ends + 1
                own.first_end = own.first_end or ends
        elif message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "control_change":
            known = found.get((message.channel, programs[message.channel]))
            place = known.controls if known else waiting[message.channel]
            place.append((tick, message.control, message.value))
        elif message.type == "lyrics":
            instrument(_LYRIC_CHANNEL)
    return [found[key] for key in sorted(found)]


def from_miditoolkit(source: Any) -> Score:
    """Convert a ``miditoolkit.MidiFile`` (any version with ``instruments``), which keeps less than a file."""
    with_notes = [instrument for instrument in source.instruments if instrument.notes]
    sizes = [len(instrument.notes) for instrument in with_notes]
    notes = _table(
        [
            (note.start, note.end, note.pitch, note.velocity)
            for instrument in with_notes
            for note in sorted(instrument.notes, key=lambda note: note.start)
        ],
        4,
    )
    metres = _table([(m.time, m.numerator, m.denominator) for m in source.time_signature_changes], 3)
    order = {id(instrument): index for index, instrument in enumerate(with_notes)}
    controls = _table(
        [
            (control.time, control.number, control.value, order.get(id(instrument), -1))
            for instrument in source.instruments
            for control in instrument.control_changes
        ],
        4,
    )
    return _score(
        int(source.ticks_per_beat),
        notes,
        sizes,
        [(int(each.program), bool(each.is_drum)) for each in with_notes],
        sorted(((change.time, float(change.tempo)) for change in source.tempo_changes), key=lambda t: t[0]),
        metres[np.argsort(metres[:, 0], kind="stable")],
        controls,
        [str(instrument.name) for instrument in with_notes],
    )


def _score(
    ticks_per_beat: int,
    notes: Ints,
    sizes: list[int],
    instruments: list[tuple[int, bool]],
    tempi: list[tuple[int, float]],
    metres: Ints,
    controls: Ints,
    names: list[str],
) -> Score:
    """Score of tables; ``instruments``: program, and whether it is drums; ``sizes``: notes of each."""
    controls = controls[np.argsort(controls[:, 0], kind="stable")]
    return Score(
        ticks_per_beat=ticks_per_beat,
        onset=notes[:, 0],
        offset=notes[:, 1],
        pitch=notes[:, 2],
        velocity=notes[:, 3],
        program=np.repeat(np.array([program for program, _ in instruments], np.int64), sizes),
        drum=np.repeat(np.array([drum for _, drum in instruments], np.bool_), sizes),
        track=np.repeat(np.arange(len(sizes)), sizes),
        tempo_tick=np.array([tick for tick, _ in tempi], np.int64),
        tempo_bpm=np.array([bpm for _, bpm in tempi], np.float64),
        metre_tick=metres[:, 0],
        metre_numerator=metres[:, 1],
        metre_denominator=metres[:, 2],
        control_tick=controls[:, 0],
        control_number=controls[:, 1],
        control_value=controls[:, 2],
        control_track=controls[:, 3],
        track_name=tuple(names),
    )


def _table(rows: list[tuple[Any, ...]], width: int) -> Ints:
    """Tuples as a matrix [shape=(len(rows), width), int64]; raises OverflowError above 2^63."""
    if not rows:
        return np.zeros((0, width), np.int64)
    return np.array([[int(value) for value in row] for row in rows], np.int64)
