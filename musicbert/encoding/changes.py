"""`changed_score`: a score in which some fields of some notes have other values; all else stays as it is."""

from dataclasses import replace

import numpy as np

from musicbert.arrays import Bools, Ints
from musicbert.encoding.metre import BarTable, bar_table
from musicbert.encoding.octuple import DRUM_PITCH, DRUM_PROGRAM
from musicbert.encoding.policies import Policies
from musicbert.encoding.quantise import (
    METRES,
    POSITIONS_PER_BEAT,
    duration_value,
    positions,
    tempo_value,
    velocity_value,
)
from musicbert.midi import Score
from musicbert.midi.columns import DEFAULT_BPM

BAR, POSITION, PROGRAM, PITCH, DURATION, VELOCITY, METRE, TEMPO = range(8)


def changed_score(score: Score, note_index: Ints, before: Ints, after: Ints, policies: Policies) -> Score:
    """Return the score with the fields that differ between two tables of rows.

    ``before`` [shape=(n, 8)] and ``note_index`` come from `encode_notes` with these policies; ``after`` are
    the same rows with other values. A field that has its old value keeps its exact one: a new pitch moves no
    onset, and a new position keeps the duration in ticks. A tempo holds from its note to the next note whose
    tempo is as it was, a time signature for the bars in which most notes have it. Other notes keep their
    ticks.
    """
    differs = before != after
    rows, notes = after, note_index
    columns = {name: getattr(score, name).copy() for name in ("onset", "offset", "pitch", "velocity")}
    program, drum = score.program.copy(), score.drum.copy()
    last = int(positions(score.onset[notes], score.ticks_per_beat).max())
    bars = bar_table(score, last + 1, policies)

    at = differs[:, VELOCITY]
    columns["velocity"][notes[at]] = velocity_value(rows[at, VELOCITY])
    at = differs[:, PROGRAM] | differs[:, PITCH]
    drums = rows[:, PROGRAM] == DRUM_PROGRAM
    columns["pitch"][notes[at]] = (rows[:, PITCH] - DRUM_PITCH * (rows[:, PITCH] >= DRUM_PITCH))[at]
    at = differs[:, PROGRAM]
    drum[notes[at]] = drums[at]
    program[notes[at]] = np.where(drums, 0, rows[:, PROGRAM])[at]

    at = differs[:, BAR] | differs[:, POSITION]
    onset, offset = score.onset[notes], score.offset[notes]
    place = positions(onset, score.ticks_per_beat)
    place[at] = bars.start(rows[at, BAR]) + rows[at, POSITION]
    begin = np.where(at, _tick_near(onset, place, score.ticks_per_beat), onset)
    end = np.where(at, begin + (offset - onset), offset)
    at = differs[:, DURATION]
    length = duration_value(rows[:, DURATION])
    near = _tick_near(begin + np.maximum(_ticks(length, score.ticks_per_beat), 1), place + length,
                      score.ticks_per_beat)  # fmt: skip
    end = np.where(at, np.maximum(near, begin), end)
    columns["onset"][notes], columns["offset"][notes] = begin, end
    changed = replace(score, **columns, program=program, drum=drum)
    if differs[:, TEMPO].any():
        changed = _with_tempi(changed, begin, place, before[:, TEMPO], rows[:, TEMPO])
    if differs[:, METRE].any():
        changed = _with_metres(changed, bars, rows, differs[:, METRE])
    return changed


def _ticks(place: Ints, ticks_per_beat: int) -> Ints:
    """Nearest tick of positions."""
    nearest: Ints = np.rint(place * (ticks_per_beat / POSITIONS_PER_BEAT)).astype(np.int64)
    return nearest


def _tick_near(tick: Ints, place: Ints, ticks_per_beat: int) -> Ints:
    """Ticks moved by whole positions to a position, so that they stay as far off the grid as they were."""
    moved = tick + _ticks(place - positions(tick, ticks_per_beat), ticks_per_beat)
    right = (positions(moved, ticks_per_beat) == place) & (moved >= 0)
    return np.where(right, moved, _ticks(place, ticks_per_beat))


def _with_tempi(score: Score, onset: Ints, place: Ints, before: Ints, after: Ints) -> Score:
    """Tempi at the notes whose tempo changed, up to the next note whose tempo did not."""
    at, inverse, counts = np.unique(place, return_inverse=True, return_counts=True)
    old, new = (
        np.rint(np.bincount(inverse, weights=codes) / counts).astype(np.int64) for codes in (before, after)
    )
    tick = np.minimum(_ticks(at, score.ticks_per_beat), _first(inverse, onset, len(at)))
    ticks, values = _spans(score.tempo_tick, tick, old != new)
    bpm = np.concatenate([tempo_value(new), score.tempo_bpm, [DEFAULT_BPM]])
    return replace(score, tempo_tick=ticks, tempo_bpm=bpm[values])


def _with_metres(score: Score, bars: BarTable, rows: Ints, differs: Bools) -> Score:
    """Time signatures of the bars in which most notes have another one than the bar."""
    at, inverse = np.unique(rows[:, BAR], return_inverse=True)
    votes = np.zeros((len(at), len(METRES)), np.int64)
    np.add.at(votes, (inverse, rows[:, METRE]), 1)
    code = votes.argmax(axis=1)
    touched = np.bincount(inverse, weights=differs, minlength=len(at)) > 0
    new = touched & (code != bars.codes(bars.start(at)))
    line = np.unique(np.concatenate([at, at + 1]))  # the next bar is as it was, also where it is silent
    codes, changes = np.zeros(len(line), np.int64), np.zeros(len(line), bool)
    place = np.searchsorted(line, at)
    codes[place], changes[place] = code, new
    ticks, values = _spans(score.metre_tick, _ticks(bars.start(line), score.ticks_per_beat), changes)
    numerator, denominator = np.array(METRES, np.int64)[codes].T
    return replace(
        score,
        metre_tick=ticks,
        metre_numerator=np.concatenate([numerator, score.metre_numerator, [4]])[values],
        metre_denominator=np.concatenate([denominator, score.metre_denominator, [4]])[values],
    )


def _first(group: Ints, values: Ints, n: int) -> Ints:
    """Lowest value of each group."""
    lowest = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(lowest, group, values)
    return lowest


def _spans(old: Ints, tick: Ints, changes: Bools) -> tuple[Ints, Ints]:
    """Ticks of a map of tempi or signatures, and which value begins there.

    ``old``: ticks of the map, ascending; from ``tick[i]`` to the next the value is a new one where
    ``changes[i]``. A value is i where it is new, else it counts on through the old ones to the implied one.
    """
    ticks: list[int] = []
    values: list[int] = []
    inside = np.searchsorted(tick, old, side="right") - 1  # the span that an old change lies in
    kept = (inside < 0) | ~changes[np.maximum(inside, 0)]
    for k in np.flatnonzero(changes).tolist():
        ticks.append(int(tick[k]))
        values.append(k)
        if k + 1 < len(tick) and not changes[k + 1] and not (old == tick[k + 1]).any():
            ruling = int(np.searchsorted(old, tick[k + 1], side="right")) - 1
            ticks.append(int(tick[k + 1]))
            values.append(len(tick) + (ruling if ruling >= 0 else len(old)))
    ticks += old[kept].tolist()
    values += (len(tick) + np.flatnonzero(kept)).tolist()
    order = np.argsort(np.array(ticks, np.int64), kind="stable")
    return np.array(ticks, np.int64)[order], np.array(values, np.int64)[order]
