"""The parts of a music21 score become the columns of a `Score`.

music21 counts in quarter notes, as exact fractions. A tick is the smallest part of a quarter note in which
every onset and offset is a whole number, and a divisor of 1/480; where that needs more than `MAX_TICKS`, as
no real score does, ticks are rounded and that is said.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import accumulate, pairwise
from math import lcm
from typing import Any, NamedTuple

import numpy as np

from musicbert.errors import MidiError
from musicbert.file_kinds import ABC
from musicbert.midi.notation.musicxml import sound_of
from musicbert.midi.score import Score

#: Velocity of all notes: mezzo forte, as MuseScore and others export it.
VELOCITY = 80
TICKS, MAX_TICKS = 480, 32_767  # the largest division of a MIDI file
_DRUM_CHANNEL = 9
#: denominators of time signatures that the encodings know
_DENOMINATORS = (1, 2, 4, 8, 16, 32, 64)
_FOUR = Fraction(4)


class _Bar(NamedTuple):
    """Where a bar begins and ends, in quarter notes, and its time signature."""

    start: Fraction
    length: Fraction
    metre: tuple[int, int] | None

    @property
    def nominal(self) -> Fraction | None:
        return None if self.metre is None else _FOUR * self.metre[0] / self.metre[1]


class _Note(NamedTuple):
    onset: Fraction
    offset: Fraction
    pitch: int
    program: int
    drum: bool
    track: int


def read_parts(
    score: Any,
    notation: str,
    remarks: list[str],
    *,
    tempi: Iterable[tuple[float, float]] = (),
    metres: Mapping[int, tuple[int, int]] | None = None,
    transposed: bool = False,
    written: int | None = None,
    max_notes: int,
    path: str | None = None,
) -> Score:
    """Make a `Score` of a music21 score; ``remarks`` gets what is said of it.

    ``tempi``: further changes of tempo, as quarter notes from the beginning and quarter notes a minute;
    ``metres``: further changes of the time signature, by number of the bar from 0; ``transposed``: whether
    the file has transposing instruments (else those that music21 knows by their names are ignored);
    ``written``: how many notes the file has, where that is known.
    Raises `MidiError`: ``no-notes``, ``too-many-notes``, ``unsupported-notation``.
    """
    counts: Counter[str] = Counter()
    parts = list(score.parts) or [score]
    starts, bars = _bars(parts, metres or {}, remarks, path)
    notes: list[_Note] = []
    names = []
    marks = {Fraction(at): float(bpm) for at, bpm in tempi}
    for track, part in enumerate(parts):
        flat = part.flatten()
        moved = _Moved(part, starts)
        notes += _part_notes(flat, part, notation, track, moved, counts, transposed)
        names.append(str(getattr(part, "partName", None) or ""))
        for at, bpm in _tempi(flat, counts):
            marks.setdefault(moved(at), bpm)
        if len(notes) > max_notes:
            raise MidiError("too-many-notes", f"more than {max_notes} notes", path=path)
    if written is not None and counts["seen"] != written:
        message = f"music21 reads {counts['seen']:,} of the {written:,} notes in this {notation}"
        raise MidiError("unsupported-notation", message, path=path)
    if not notes:
        raise MidiError("no-notes", f"the {notation} has no notes", path=path)
    shift, signatures = _metres(bars, remarks)
    _say(score, counts, marks, signatures, remarks)
    times = [shift, *(each for note in notes for each in (note.onset, note.offset))]
    times += [at for at, _ in signatures]
    scale = lcm(TICKS, *{each.denominator for each in times})
    if scale > MAX_TICKS:
        remarks.append(f"times are rounded to 1/{MAX_TICKS} of a quarter note")
        scale = MAX_TICKS

    def ticks(values: Iterable[Fraction]) -> Any:
        return np.array([round((value + shift) * scale) for value in values], np.int64)

    tempo = [(at or -shift, bpm) for at, bpm in sorted(marks.items())]
    table = np.array([(n.pitch, n.program, n.track) for n in notes], np.int64).reshape(-1, 3)
    return Score(
        ticks_per_beat=scale,
        onset=ticks(note.onset for note in notes),
        offset=ticks(note.offset for note in notes),
        pitch=table[:, 0],
        velocity=np.full(len(notes), VELOCITY, np.int64),
        program=table[:, 1],
        drum=np.array([note.drum for note in notes], np.bool_),
        track=table[:, 2],
        tempo_tick=ticks(at for at, _ in tempo),
        tempo_bpm=np.array([bpm for _, bpm in tempo], np.float64),
        metre_tick=ticks(at for at, _ in signatures),
        metre_numerator=np.array([metre[0] for _, metre in signatures], np.int64),
        metre_denominator=np.array([metre[1] for _, metre in signatures], np.int64),
        track_name=tuple(names),
        notation=notation,
        remarks=tuple(remarks),
    )


def _measures(part: Any) -> list[Any]:
    from music21 import stream

    return list(part.getElementsByClass(stream.Measure))


def _bars(
    parts: list[Any], metres: Mapping[int, tuple[int, int]], remarks: list[str], path: str | None
) -> tuple[list[Fraction], list[_Bar]]:
    """Where each bar begins in all parts, and the bars; both empty where there are none."""
    tables = [
        [(Fraction(bar.offset), Fraction(bar.duration.quarterLength), bar) for bar in _measures(part)]
        for part in parts
    ]
    signs = {tuple(filter(None, map(_signature, _signatures(part)))) for part in parts} - {()}
    if len(signs) > 1:
        remarks.append("the parts have different time signatures: those of one part hold for all")
    tables = [table for table in tables if table]
    if not tables:
        first = metres.get(0) or next((sign[0] for sign in signs), None)
        return [], [_Bar(Fraction(0), Fraction(0), first)] if first else []
    for table in tables:
        if any(after[0] <= bar[0] and bar[1] > 0 for bar, after in pairwise(table)):
            raise MidiError(
                "unsupported-notation",
                "a bar is longer than its time signature, and music21 lays the next one over it",
                path=path,
                hint="correct the bar",
            )
    longest = max(tables, key=len)
    starts = [bar[0] for bar in longest]
    if any([bar[0] for bar in table] != starts[: len(table)] for table in tables):
        if len({len(table) for table in tables}) > 1:
            raise MidiError(
                "unsupported-notation",
                "the parts differ in the number and the length of their bars",
                path=path,
            )
        remarks.append("bars of the parts differ in length: each begins where the longest one before it ends")
        steps = [[after[0] - bar[0] for bar, after in pairwise(table)] for table in tables]
        starts = [Fraction(0), *accumulate(max(step) for step in zip(*steps, strict=True))]
    last = max(table[-1][1] for table in tables)
    lengths = [after - start for start, after in pairwise(starts)] + [last]
    metre, bars = None, []
    for number, (_, _, measure) in enumerate(longest):
        metre = metres.get(number) or _signature(measure.timeSignature) or metre
        bars.append(_Bar(starts[number], lengths[number], metre))
    return starts, bars


def _signatures(part: Any) -> list[Any]:
    from music21 import meter

    return list(part.recurse().getElementsByClass(meter.TimeSignature))


def _signature(found: Any) -> tuple[int, int] | None:
    number = getattr(found, "numerator", None)
    return None if number is None else (int(number), int(found.denominator))


class _Moved:
    """Times of a part, moved to where its bars begin in all parts."""

    def __init__(self, part: Any, starts: list[Fraction]) -> None:
        own = [Fraction(measure.offset) for measure in _measures(part)]
        self.own = own if len(own) == len(starts) and own != starts else []
        self.starts = starts

    def __call__(self, when: Any) -> Fraction:
        at = Fraction(when)
        if not self.own:
            return at
        k = max(bisect_right(self.own, at) - 1, 0)
        return at + self.starts[k] - self.own[k]


def _part_notes(
    flat: Any, part: Any, notation: str, track: int, moved: _Moved, counts: Counter[str], transposed: bool
) -> list[_Note]:
    """Notes of a part by onset and pitch, tied ones joined."""
    from music21 import harmony

    instruments = [
        (Fraction(each.getOffsetInHierarchy(part)), each)
        for each in part.getInstruments(recurse=True, returnDefault=False)
    ]
    instruments.sort(key=lambda pair: pair[0])
    notes: list[_Note] = []
    waiting: dict[tuple[int, bool], list[int]] = defaultdict(list)
    tied: set[int] = set()  # notes of tied chords of ABC, whose ties music21 has lost
    marked = None
    for element in flat.notes:
        if isinstance(element, harmony.Harmony):
            marked = element.offset
            continue
        at = Fraction(element.offset)
        length = Fraction(element.quarterLength)
        now = [each for start, each in instruments if start <= at][-1:] or [e for _, e in instruments[:1]]
        for note in getattr(element, "notes", (element,)):
            counts["seen"] += 1
            if element.duration.isGrace or length == 0:
                counts["grace notes"] += 1
                continue
            key = _key(note, now[0] if now else None, counts, transposed)
            if key is None:
                continue
            pitch, program, drum = key
            tie = note.tie.type if note.tie is not None else ""
            chord_tie = notation == ABC and element.isChord and marked == element.offset
            onset, offset = moved(at), moved(at) + length
            open_ties = waiting[pitch, drum]
            joined = None
            if open_ties:
                ends = tie in ("stop", "continue")
                joined = next(
                    (k for k in open_ties if notes[k].offset == onset and (ends or k in tied)), None
                )
            if joined is None:
                joined = len(notes)
                notes.append(_Note(onset, offset, pitch, program, drum, track))
            else:
                notes[joined] = notes[joined]._replace(offset=offset)
                open_ties.remove(joined)
            if tie in ("start", "continue") or chord_tie:
                open_ties.append(joined)
            if chord_tie:
                tied.add(joined)
            else:
                tied.discard(joined)
    return sorted(notes, key=lambda note: (note.onset, note.pitch, note.offset))


def _key(note: Any, instrument: Any, counts: Counter[str], transposed: bool) -> tuple[int, int, bool] | None:
    """Pitch, program and whether it is percussion; None for percussion without a key."""
    own = getattr(note, "storedInstrument", None) or instrument
    sound = sound_of(note.style.color if note.hasStyleInformation else None)
    key, program, drum = sound or (
        getattr(own, "percMapPitch", None),
        getattr(own, "midiProgram", None),
        getattr(own, "midiChannel", None) == _DRUM_CHANNEL,
    )
    if not hasattr(note, "pitch"):  # unpitched
        if key is None:
            counts["unpitched notes"] += 1
            return None
        return int(key), 0, True
    if drum and key is not None:
        return int(key), 0, True
    height = note.pitch.ps
    if transposed and own is not None and own.transposition is not None and not drum:
        height += own.transposition.chromatic.semitones
    if height != round(height):
        counts["quarter tones"] += 1
    if program is None:
        counts["no program"] += 1
    return round(height), 0 if drum else int(program or 0), drum


def _tempi(flat: Any, counts: Counter[str]) -> Iterable[tuple[Fraction, float]]:
    from music21 import tempo

    for mark in flat.getElementsByClass(tempo.MetronomeMark):
        number = mark.numberSounding if mark.number is None or mark.numberImplicit else mark.number
        if number is None:
            counts["tempo words"] += 1
            continue
        bpm = mark.getQuarterBPM() if number == mark.number else number
        if bpm and bpm > 0:
            yield Fraction(mark.offset), float(bpm)


def _metres(bars: list[_Bar], remarks: list[str]) -> tuple[Fraction, list[tuple[Fraction, tuple[int, int]]]]:
    """How far all moves so that a pickup ends a whole bar, and the time signatures."""
    if not bars or all(bar.metre is None for bar in bars):
        return Fraction(0), []
    shift, odd, misfit = Fraction(0), 0, 0
    found: list[tuple[Fraction, tuple[int, int]]] = []

    def put(at: Fraction, metre: tuple[int, int]) -> None:
        if not found or found[-1][1] != metre:
            found.append((at, metre))

    first, k = bars[0], 0
    if first.nominal is not None and 0 < first.length < first.nominal and len(bars) > 1:
        shift, k = first.nominal - first.length, 1
        put(first.start - shift, first.metre or (4, 4))
    while k < len(bars):
        bar, here = bars[k], k
        k += 1
        if bar.metre is None or bar.nominal is None:
            continue
        if bar.length == bar.nominal or k == len(bars) or bar.length == 0:
            put(bar.start, bar.metre)
            continue
        whole = bar.length
        while whole < bar.nominal and k < len(bars) and bars[k].metre == bar.metre:
            whole += bars[k].length
            k += 1
        if whole == bar.nominal:  # a bar in two parts, around a repeat sign
            put(bar.start, bar.metre)
            continue
        k = here + 1
        odd += 1
        own = _metre_of(bar.length, bar.metre[1])
        misfit += own is None
        put(bar.start, own or bar.metre)
    if odd:
        remarks.append(f"{many(odd, 'bar')} unlike the time signature: with one of their own")
    if misfit:
        remarks.append(
            f"{many(misfit, 'bar')} of a length that no time signature has: bar lines after them are off"
        )
    return shift, found


def _metre_of(length: Fraction, denominator: int) -> tuple[int, int] | None:
    for each in (d for d in _DENOMINATORS if d >= denominator):
        count = length * each / 4
        if count.denominator == 1 and count > 0:
            return int(count), each
    return None


def many(count: int, what: str) -> str:
    """A count with its noun."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def _say(score: Any, counts: Counter[str], marks: Any, metres: Any, remarks: list[str]) -> None:
    from music21 import bar, repeat

    remarks.insert(
        0,
        f"a written score, without the timing and dynamics of a performance: velocity {VELOCITY} throughout",
    )
    if not marks:
        words = " (marks in words are not read)" if counts["tempo words"] else ""
        remarks.append(f"no tempo mark with a number{words}: 120 quarter notes a minute")
    if not metres:
        remarks.append("no time signature: bars of 4/4")
    if n := counts["grace notes"]:
        remarks.append(f"{many(n, 'grace note')} left out")
    if n := counts["unpitched notes"]:
        remarks.append(f"{many(n, 'unpitched note')} without a MIDI key left out")
    if n := counts["quarter tones"]:
        remarks.append(f"{many(n, 'quarter tone')} rounded to half tones")
    if counts["no program"]:
        remarks.append("instruments without a MIDI program are played by a piano")
    found = score.recurse()
    if found.getElementsByClass((bar.Repeat, repeat.RepeatMark)).first() is not None:
        remarks.append("repeats are not played: the music comes once, as on the page")
