"""Objects of symusic and miditoolkit as a `Score`.

Both parsers keep zero-tick notes, pair note-offs first in, first out, drop notes that never end and
controllers of a channel that has no notes; they give the same notes, tempi, metres and controllers on real
files. They differ in

* program changes while a note sounds: symusic gives the note the program of its beginning, miditoolkit that
  of its end (4 of 490 odd files);
* tempi: miditoolkit puts 120 BPM at tick 0 where the file has none, leaves out a tempo equal to the one
  before, and forgets those of earlier tracks when a later track has one at tick 0; in format 2, where several
  songs run at once, it keeps the order of the file;
* controllers after a program change: miditoolkit gives some of them to several instruments, or to none;
* events after a track's end mark: symusic stops at the mark, miditoolkit reads on.

Tracks are counted over those that have notes; controllers without such a track get track -1. Notes of a track
are in order of their onset.
"""

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Ints
from musicbert.midi.columns import MINUTE_US
from musicbert.midi.events import tempi_and_metres
from musicbert.midi.score import Score

#: Largest power of a denominator that symusic keeps.
_MAX_POWER = 7
#: Events up to which symusic's sort is stable.
_STABLE_SORT = 16
#: A time signature in a file: FF 58 04, numerator, power of the denominator.
_METRE_EVENT = b"\xff\x58\x04"


def parse_symusic(data: bytes) -> Score:
    """Parse the bytes of a MIDI file with symusic."""
    import symusic

    score = from_symusic(symusic.Score.from_midi(data))
    wide = _has_wide_denominator(data)
    if wide or _is_ambiguous(score.tempo_tick) or _is_ambiguous(score.metre_tick):
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
    elif any(power > _MAX_POWER for *_, power in metres):
        raise ValueError("a time signature with a denominator above 128 in a damaged track")
    return replace(score, **changes)


def parse_miditoolkit(data: bytes) -> Score:
    """Parse the bytes of a MIDI file with miditoolkit."""
    import miditoolkit

    return from_miditoolkit(miditoolkit.MidiFile(file=BytesIO(data)))


def _has_wide_denominator(data: bytes) -> bool:
    """Whether there is (what looks like) a metre event with a denominator of 2^8 or more."""
    at = data.find(_METRE_EVENT)
    while at >= 0:
        if at + 4 < len(data) and data[at + 4] > _MAX_POWER:
            return True
        at = data.find(_METRE_EVENT, at + 1)
    return False


def from_symusic(source: Any) -> Score:
    """Convert a ``symusic.Score`` (in ticks)."""
    if type(source).__name__ != "ScoreTick":
        source = source.to("tick")
    notes: list[dict[str, NDArray[Any]]] = []
    programs: list[int] = []
    drums: list[bool] = []
    controls: list[dict[str, NDArray[Any]]] = []
    control_tracks: list[int] = []
    names: list[str] = []
    for track in source.tracks:
        has_notes = len(track.notes) > 0
        if len(track.controls):
            controls.append(track.controls.numpy())
            control_tracks.append(len(notes) if has_notes else -1)
        if has_notes:
            notes.append(track.notes.numpy())
            programs.append(track.program)
            drums.append(track.is_drum)
            names.append(_name(track))
    sizes = [len(columns["time"]) for columns in notes]
    onset = _join(notes, "time")
    if not all((columns["time"][1:] >= columns["time"][:-1]).all() for columns in notes):
        onset = np.full_like(onset, -1)  # file order is by onset: a tick counter of 32 bits ran over
    tempos, metres = source.tempos.numpy(), source.time_signatures.numpy()
    control_tick = _join(controls, "time")
    by_tick = np.argsort(control_tick, kind="stable")
    with np.errstate(divide="ignore"):
        bpm = MINUTE_US / tempos["mspq"].astype(np.float64)
    return Score(
        ticks_per_beat=int(source.ticks_per_quarter),
        onset=onset,
        offset=onset + _join(notes, "duration"),
        pitch=_join(notes, "pitch"),
        velocity=_join(notes, "velocity"),
        program=np.repeat(np.array(programs, np.int64), sizes),
        drum=np.repeat(np.array(drums, np.bool_), sizes),
        track=np.repeat(np.arange(len(sizes)), sizes),
        tempo_tick=tempos["time"].astype(np.int64),
        tempo_bpm=bpm,
        metre_tick=metres["time"].astype(np.int64),
        metre_numerator=metres["numerator"].astype(np.int64),
        metre_denominator=metres["denominator"].astype(np.int64),
        control_tick=control_tick[by_tick],
        control_number=_join(controls, "number")[by_tick],
        control_value=_join(controls, "value")[by_tick],
        control_track=np.repeat(
            np.array(control_tracks, np.int64), [len(columns["time"]) for columns in controls]
        )[by_tick],
        track_name=tuple(names),
    )


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


def from_miditoolkit(source: Any) -> Score:
    """Convert a ``miditoolkit.MidiFile`` (any version with ``instruments``)."""
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
    tempos = [(change.time, float(change.tempo)) for change in source.tempo_changes]
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
    controls = controls[np.argsort(controls[:, 0], kind="stable")]
    metres = metres[np.argsort(metres[:, 0], kind="stable")]
    tempos.sort(key=lambda change: change[0])
    return Score(
        ticks_per_beat=int(source.ticks_per_beat),
        onset=notes[:, 0],
        offset=notes[:, 1],
        pitch=notes[:, 2],
        velocity=notes[:, 3],
        program=np.repeat(np.array([int(i.program) for i in with_notes], np.int64), sizes),
        drum=np.repeat(np.array([bool(i.is_drum) for i in with_notes], np.bool_), sizes),
        track=np.repeat(np.arange(len(sizes)), sizes),
        tempo_tick=np.array([tick for tick, _ in tempos], np.int64),
        tempo_bpm=np.array([bpm for _, bpm in tempos], np.float64),
        metre_tick=metres[:, 0],
        metre_numerator=metres[:, 1],
        metre_denominator=metres[:, 2],
        control_tick=controls[:, 0],
        control_number=controls[:, 1],
        control_value=controls[:, 2],
        control_track=controls[:, 3],
        track_name=tuple(str(instrument.name) for instrument in with_notes),
    )


def _table(rows: list[tuple[Any, ...]], width: int) -> Ints:
    """Tuples as a matrix [shape=(len(rows), width), int64]; raises OverflowError above 2^63."""
    if not rows:
        return np.zeros((0, width), np.int64)
    return np.array([[int(value) for value in row] for row in rows], np.int64)
