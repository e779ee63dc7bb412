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
from musicbert.midi.tracks import by_first_end, chunks_of, native, track_names

#: Events up to which symusic's sort is stable.
_STABLE_SORT = 16


def parse_symusic(data: bytes) -> Score:
    """Parse the bytes of a MIDI file with symusic."""
    look = look_at(data, lambda changed: native(changed) is not None)
    source, plain = None if look.odd else native(data), data
    if source is None:
        plain = plain_file(data)
        source = native(plain)
    if source is None:
        raise ValueError("a data byte is above 127")
    tracks = _Tracks(source)
    foreign = "\ufffd" in "".join(tracks.names)
    if foreign or len(set(tracks.names)) < len(tracks.names):  # tracks of one chunk have one name
        places = chunks_of(plain, len(tracks.names))
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
    """Tracks of a ``symusic.Score`` that have notes, with their names and notes, and ``silent`` ones."""

    def __init__(self, source: Any) -> None:
        every = list(source.tracks)
        self.sounding = [track for track in every if len(track.notes)]
        self.silent = [track for track in every if not len(track.notes)]
        self.names = [_name(track) for track in self.sounding]
        self.notes: list[dict[str, NDArray[Any]]] = [track.notes.numpy() for track in self.sounding]

    def reorder(self, order: list[int]) -> None:
        for name in ("sounding", "names", "notes"):
            setattr(self, name, [getattr(self, name)[index] for index in order])


def _score(source: Any, tracks: _Tracks) -> Score:
    notes = tracks.notes
    sizes = [len(columns["time"]) for columns in notes]
    fields = [columns[field] for field in ("time", "duration", "pitch", "velocity") for columns in notes]
    table = np.concatenate(fields, dtype=np.int64).reshape(4, -1) if fields else np.zeros((4, 0), np.int64)
    onset, offset, pitch, velocity = table
    if not _ascends(onset, sizes):
        onset[:] = -1  # file order is by onset: a tick counter of 32 bits ran over
    offset += onset
    number = np.repeat(np.arange(len(notes)), sizes) if len(notes) > 1 else np.zeros(len(onset), np.int64)
    return Score(
        ticks_per_beat=int(source.ticks_per_quarter),
        onset=onset,
        offset=offset,
        pitch=pitch,
        velocity=velocity,
        program=np.array([track.program for track in tracks.sounding], np.int64)[number],
        drum=np.array([track.is_drum for track in tracks.sounding], np.bool_)[number],
        track=number,
        **_tempi(source.tempos),
        **_columns(source.time_signatures, "metre", ("numerator", "denominator")),
        **_controls(tracks.sounding, tracks.silent),
        track_name=tuple(tracks.names),
    )


def _ascends(onset: Ints, sizes: list[int]) -> bool:
    """Whether the onsets of each track ascend."""
    falls = bytearray((onset[1:] < onset[:-1]).tobytes())
    for stop in accumulate(sizes[:-1]):
        falls[stop - 1] = 0
    return 1 not in falls


def _columns(source: Any, name: str, fields: tuple[str, ...]) -> dict[str, Any]:
    """Columns of a `Score` of the time and some fields of a list of symusic."""
    if not len(source):
        return {}
    columns = source.numpy()
    result = {f"{name}_{field}": columns[field].astype(np.int64) for field in fields}
    return {f"{name}_tick": columns["time"].astype(np.int64), **result}


def _tempi(source: Any) -> dict[str, Any]:
    columns = _columns(source, "tempo", ("mspq",))
    length = columns.pop("tempo_mspq", np.zeros(0))
    with np.errstate(divide="ignore"):
        return {**columns, "tempo_bpm": MINUTE_US / length}


def _controls(tracks: list[Any], silent: list[Any]) -> dict[str, Any]:
    """Columns of the controllers of tracks with notes and without, by time."""
    places = [k for k, track in enumerate([*tracks, *silent]) if len(track.controls)]
    if not places:
        return {}
    controls = [[*tracks, *silent][k].controls.numpy() for k in places]
    tick = _join(controls, "time")
    order = np.argsort(tick, kind="stable")
    numbers = np.array([k if k < len(tracks) else -1 for k in places], np.int64)
    return {
        "control_tick": tick[order],
        "control_number": _join(controls, "number")[order],
        "control_value": _join(controls, "value")[order],
        "control_track": np.repeat(numbers, [len(columns["time"]) for columns in controls])[order],
    }


def _name(track: Any) -> str:
    """Name of a track; empty if its bytes are not text."""
    try:
        return str(track.name)
    except UnicodeDecodeError:
        return ""


def _join(tracks: list[dict[str, NDArray[Any]]], name: str) -> Ints:
    """One int64 column of all tracks."""
    if len(tracks) == 1:
        return tracks[0][name].astype(np.int64)
    if not tracks:
        return np.zeros(0, np.int64)
    return np.concatenate([columns[name] for columns in tracks], dtype=np.int64)
