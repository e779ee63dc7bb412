"""Bytes of a file, and objects of symusic, as a `Score`, by the rules of ``docs/encoding.md``.

symusic gives notes in the order of their beginnings, with the programs that rule there, and a controller to
the instrument (channel and program) that its channel has in the track at the time, or else to the next one
that begins on the channel. The file itself is read (`musicbert.midi.events`), which is slower, for what
symusic leaves open or does otherwise:

* the order of instruments in a track that has several: symusic sorts them by channel and program;
* the order of tempi and time signatures on one tick, where there are many, and denominators above 128;
* names that are not UTF-8;
* events on which parsers differ (`musicbert.midi.plain_file`).

Tracks are counted over those that have notes; controllers without such a track get track -1.
"""

from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Ints
from musicbert.midi.columns import MINUTE_US
from musicbert.midi.events import tempi_and_metres
from musicbert.midi.plain_file import MAX_POWER, look_at, plain_file
from musicbert.midi.score import Score
from musicbert.midi.tracks import by_first_end, chunks_of, native, single_instruments, track_names

#: Events up to which symusic's sort is stable.
_STABLE_SORT = 16
#: Events up to which lists are faster than arrays.
_FEW = 4


def parse_symusic(data: bytes) -> Score:
    """Parse the bytes of a MIDI file with symusic."""
    look = look_at(data)
    source, plain = None if look.odd else native(data), data
    if source is None:
        plain = plain_file(data)
        source = native(plain)
    if source is None:
        raise ValueError("a data byte is above 127")
    tracks = _Tracks(source)
    foreign = "\ufffd" in "".join(tracks.names)
    single = single_instruments(plain, tracks.names, tracks.sizes)
    if foreign or single:
        places = chunks_of(plain, len(tracks.names), single)
        tracks.reorder(by_first_end(plain, tracks.notes, places))
        if foreign:
            texts = track_names(data)
            tracks.names = [texts.get(place, "") for place in places]
    score = _score(source, tracks)
    if look.wide or _is_ambiguous(score.tempo_tick) or _is_ambiguous(score.metre_tick):
        return _in_order_of_file(score, *tempi_and_metres(data))
    return score


def _is_ambiguous(ticks: Ints) -> bool:
    """Whether symusic may have changed the order of events that share a tick."""
    return len(ticks) > _STABLE_SORT and bool((np.diff(ticks) == 0).any())


def _in_order_of_file(
    score: Score, tempi: list[tuple[int, int]], metres: list[tuple[int, int, int]]
) -> Score:
    """Put tempi and metres in the order of the file, with their whole denominators.

    If the events and symusic disagree (a damaged track), they stay as they are.
    """
    changes: dict[str, Any] = {}
    tempi = sorted(tempi, key=lambda event: event[0])
    bpm = np.array([MINUTE_US / mspq if mspq else np.inf for _, mspq in tempi])
    before = sorted(zip(score.tempo_tick.tolist(), score.tempo_bpm.tolist(), strict=True))
    if before == sorted((tick, value) for (tick, _), value in zip(tempi, bpm.tolist(), strict=True)):
        changes["tempo_bpm"] = bpm
    metres = sorted(metres, key=lambda event: event[0])
    shown = [(tick, numerator, 2 ** (power % 32) & 0xFF) for tick, numerator, power in metres]
    columns = (score.metre_tick, score.metre_numerator, score.metre_denominator)
    if sorted(shown) == sorted(zip(*(column.tolist() for column in columns), strict=True)):
        changes["metre_numerator"] = np.array([numerator for _, numerator, _ in metres], np.int64)
        changes["metre_denominator"] = np.array([2 ** min(power, 31) for *_, power in metres], np.int64)
    elif any(power > MAX_POWER for *_, power in metres):
        raise ValueError("a time signature with a denominator above 128 in a damaged track")
    return replace(score, **changes)


def from_symusic(source: Any) -> Score:
    """Convert a ``symusic.Score`` (in ticks)."""
    if type(source).__name__ != "ScoreTick":
        source = source.to("tick")
    return _score(source, _Tracks(source))


class _Tracks:
    """Tracks of a ``symusic.Score`` with their names, notes and controllers; ``silent``: without notes."""

    def __init__(self, source: Any) -> None:
        self.sounding: list[Any] = []
        self.notes: list[dict[str, NDArray[Any]]] = []
        self.sizes: list[int] = []
        self.controls: list[Any] = []
        self.silent: list[Any] = []  # controllers of tracks without notes
        for track in source.tracks:
            notes, controls = track.notes, track.controls
            if size := len(notes):
                self.sounding.append(track)
                self.sizes.append(size)
                self.notes.append(notes.numpy())
                self.controls.append(controls)
            elif len(controls):
                self.silent.append(controls)
        self.names = [_name(track) for track in self.sounding]

    def reorder(self, order: list[int]) -> None:
        for name in ("sounding", "names", "notes", "sizes", "controls"):
            setattr(self, name, [getattr(self, name)[index] for index in order])


def _score(source: Any, tracks: _Tracks) -> Score:
    ends = list(accumulate(tracks.sizes))
    onset, offset, pitch, velocity = _table(tracks.notes, ("time", "duration", "pitch", "velocity"))
    if not _ascends(onset, ends):
        onset[:] = -1  # file order is by onset: a tick counter of 32 bits ran over
    offset += onset
    program, number = np.zeros((2, len(onset)), np.int64)
    drum = np.zeros(len(onset), np.bool_)
    begin = 0
    for k, (track, end) in enumerate(zip(tracks.sounding, ends, strict=True)):
        if k:
            number[begin:end] = k
        if track.program:
            program[begin:end] = track.program
        if track.is_drum:
            drum[begin:end] = True
        begin = end
    return Score(
        ticks_per_beat=int(source.ticks_per_quarter),
        onset=onset,
        offset=offset,
        pitch=pitch,
        velocity=velocity,
        program=program,
        drum=drum,
        track=number,
        **_tempi(source.tempos),
        **_metres(source.time_signatures),
        **_controls(tracks.controls, tracks.silent),
        track_name=tuple(tracks.names),
    )


def _table(lists: list[dict[str, NDArray[Any]]], fields: tuple[str, ...]) -> Ints:
    """Columns of some lists of symusic, one list after the other [shape=(fields, n), int64]."""
    columns = [each[field] for field in fields for each in lists]
    if not columns:
        return np.zeros((len(fields), 0), np.int64)
    return np.concatenate(columns, dtype=np.int64).reshape(len(fields), -1)


def _ascends(onset: Ints, ends: list[int]) -> bool:
    """Whether the onsets of each track ascend; ``ends``: where the tracks end."""
    falls = bytearray((onset[1:] < onset[:-1]).tobytes())
    for end in ends[:-1]:
        falls[end - 1] = 0
    return 1 not in falls


def _tempi(source: Any) -> dict[str, Any]:
    n = len(source)
    if not n:
        return {}
    if n <= _FEW:  # as arrays, a few take longer
        ticks = [each.time for each in source]
        bpm = [MINUTE_US / each.mspq if each.mspq else np.inf for each in source]
        return {"tempo_tick": np.array(ticks, np.int64), "tempo_bpm": np.array(bpm)}
    columns = source.numpy()
    with np.errstate(divide="ignore"):
        return {"tempo_tick": columns["time"].astype(np.int64), "tempo_bpm": MINUTE_US / columns["mspq"]}


def _metres(source: Any) -> dict[str, Any]:
    n = len(source)
    if not n:
        return {}
    if n <= _FEW:
        rows = [(each.time, each.numerator, each.denominator) for each in source]
        tick, numerator, denominator = np.array(list(zip(*rows, strict=True)), np.int64)
    else:
        tick, numerator, denominator = _table([source.numpy()], ("time", "numerator", "denominator"))
    return {"metre_tick": tick, "metre_numerator": numerator, "metre_denominator": denominator}


def _controls(sounding: list[Any], silent: list[Any]) -> dict[str, Any]:
    """Columns of the controllers of tracks with notes and without, by time."""
    lists = [(k, controls) for k, controls in enumerate(sounding) if len(controls)]
    lists += [(-1, controls) for controls in silent]
    if not lists:
        return {}
    table = _table([controls.numpy() for _, controls in lists], ("time", "number", "value"))
    number = np.array([k for k, _ in lists], np.int64).repeat([len(controls) for _, controls in lists])
    if not _ascends(table[0], []):
        order = np.argsort(table[0], kind="stable")
        table, number = table.take(order, axis=1), number[order]
    return {
        "control_tick": table[0],
        "control_number": table[1],
        "control_value": table[2],
        "control_track": number,
    }


def _name(track: Any) -> str:
    """Name of a track; empty if its bytes are not text."""
    try:
        return str(track.name)
    except UnicodeDecodeError:
        return ""
