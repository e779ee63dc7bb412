"""A performance as passages of the length that listeners rated, on a clock of its own.

Half of the rated segments of PercePiano have 87 to 144 notes, nine of ten last 5 to 44 seconds. Longer
music is cut into passages of that length, at onsets; a pause begins a new passage, so that
none joins two pieces of a concert. Bars and tempi of a file are a matter of its clock, not of the playing, so
every passage is written on the same clock: 120 quarter notes a minute, from its first onset.
"""

from dataclasses import dataclass, replace

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.midi.score import TICKS_PER_BEAT, Score, piano_score

#: a passage ends after so many notes, if it has lasted this long (seconds)
NOTES, SECONDS = 110, 6.0
#: the longest passage, if it has enough notes
LONGEST, FEWEST = 40.0, 50
#: silence (seconds) after which a new passage begins
PAUSE = 4.0
#: ticks of a second at 120 quarter notes a minute
TICKS_PER_SECOND = 2 * TICKS_PER_BEAT
#: sustain, sostenuto and soft pedal
PEDALS = (64, 66, 67)


@dataclass(frozen=True, eq=False)
class Passage:
    """Notes of a score, by number in the order of their onsets [shape=(k,), int64]; times in seconds."""

    start: float
    end: float
    notes: Ints


def passages(score: Score) -> list[Passage]:
    """Cut a score into passages, in the order of time; drums are left out."""
    pitched = np.flatnonzero(~score.drum)
    if not len(pitched):
        return []
    onset, offset = score.seconds(score.onset[pitched]), score.seconds(score.offset[pitched])
    order = np.lexsort((score.pitch[pitched], onset))
    pitched, onset, offset = pitched[order], onset[order], offset[order]
    sounding = np.maximum.accumulate(offset)
    cuts = _cuts(onset, sounding)
    result = []
    for first, stop in zip([0, *cuts], [*cuts, len(onset)], strict=True):
        last = float(offset[first:stop].max())
        end = min(last, float(onset[stop])) if stop < len(onset) else last
        result.append(Passage(float(onset[first]), end, pitched[first:stop]))
    return result


def _cuts(onset: Floats, sounding: Floats) -> list[int]:
    """First notes of all passages but the first."""
    # a chord is not torn apart: only an onset after a gap of 35 ms can begin a passage
    free = np.flatnonzero(np.diff(onset) > 0.035) + 1
    silent = {int(k) for k in free if onset[k] - sounding[k - 1] >= PAUSE}
    cuts, begin, whole = [], 0, True  # whole: the passage before this one may take a short rest
    for k in map(int, free):
        count, length = k - begin, onset[k] - onset[begin]
        full = (count >= NOTES and length >= SECONDS) or (count >= FEWEST and length >= LONGEST)
        if not (full or k in silent):
            continue
        if k in silent and not full and not whole and count < NOTES // 2:
            cuts.pop()  # what is left before a pause goes to the passage before it
        cuts.append(k)
        begin, whole = k, k in silent
    if cuts and not whole and len(onset) - begin < NOTES // 2:
        cuts.pop()
    return cuts


def played(score: Score, passage: Passage | None = None) -> Score:
    """Return a passage (or all pitched notes) as one piano track on the same clock, with its pedals.

    A pedal that is down when the passage begins is down at its first tick.
    """
    notes = np.flatnonzero(~score.drum) if passage is None else passage.notes
    start = float(score.seconds(score.onset[notes]).min())
    stop = np.inf if passage is None else passage.end

    def ticks(seconds: Floats) -> Ints:
        return np.round((seconds - start) * TICKS_PER_SECOND).astype(np.int64)

    onset = ticks(score.seconds(score.onset[notes]))
    offset = np.maximum(ticks(score.seconds(score.offset[notes])), onset)
    result = piano_score(onset, offset, score.pitch[notes], score.velocity[notes])
    at = score.seconds(score.control_tick)
    mine = np.isin(score.control_number, PEDALS)
    inside = np.flatnonzero(mine & (at >= start) & (at <= stop))
    held = []
    for number in PEDALS:
        earlier = np.flatnonzero((score.control_number == number) & (at < start))
        if len(earlier) and score.control_value[earlier[-1]]:
            held.append(int(earlier[-1]))
    kept = np.concatenate([np.array(held, np.int64), inside])
    return replace(
        result,
        control_tick=np.maximum(ticks(at[kept]), 0),
        control_number=score.control_number[kept],
        control_value=score.control_value[kept],
        control_track=np.zeros(len(kept), np.int64),
    )
