"""Compound words as M2BERT's and MidiBERT's programs make them, faults included.

Two paths. From a score: onsets in whole ticks are moved to sixteenths, then cut into windows of 1,920 ticks.
From notes in beats: each bar of four beats separately, in floating point, without a grid. Their faults are
listed in `musicbert.encoding.compound_word.profiles` and kept on purpose:

* grid: slots lie below the last onset, so that notes of the last slot move a sixteenth early, and without any
  slot (all onsets 0) there is an error;
* beats: bars are counted up to ``round(latest offset + 4)``, halves to even, so the last bar may be missing.
"""

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.encoding.beat_notes import BEATS_PER_BAR, BeatNotes
from musicbert.encoding.compound_word.profiles import Profile
from musicbert.encoding.compound_word.rows import kept_notes, pack_rows, pitch_ids, sorted_order
from musicbert.encoding.compound_word.vocabulary import DURATIONS, POSITIONS
from musicbert.errors import MidiError
from musicbert.midi import Score

#: Ticks of a quarter note, of a bar, of a slot, and of the shortest duration.
RESOLUTION = 480
BAR_TICKS = 4 * RESOLUTION
SLOT_TICKS = BAR_TICKS // POSITIONS
DURATION_TICKS = 60


def score_rows(score: Score, profile: Profile) -> tuple[Ints, Ints]:
    """Rows of a score and the note of each (see `Codec`)."""
    kept = kept_notes(score, profile)
    start, end = score.onset, score.offset
    pitch, track = score.pitch, score.track
    if kept is not None:
        start, end, pitch, track = start[kept], end[kept], pitch[kept], track[kept]
    source = start
    if profile.rescale and score.ticks_per_beat != RESOLUTION:
        start, end = (_rescaled(times, score.ticks_per_beat) for times in (start, end))
    order = sorted_order(start, track, source, pitch)
    start, duration, pitch = start[order], (end - start)[order], pitch[order]
    slots = -(-int(start[-1]) // SLOT_TICKS)
    if slots == 0:
        raise MidiError(
            "no-grid",
            "all notes begin at 0, for which the published program has no grid",
            hint="encode with the codec cp",
        )
    # nearest slot, halves to the earlier one; the slot of the last onset and later ones are missing
    slot = np.minimum((start + (SLOT_TICKS // 2 - 1)) // SLOT_TICKS, slots - 1)
    bar = slot // POSITIONS
    # bars are counted up to the end of the last note; a note without duration may begin after that
    bars = -(-(int(slot[-1]) * SLOT_TICKS + int(duration[-1])) // BAR_TICKS)
    if bar[-1] >= bars:
        inside = int(np.searchsorted(bar, bars))
        if inside == 0:
            raise MidiError("no-notes", "no note is left: the only bar is not counted")
        order, slot, bar, duration, pitch = (
            column[:inside] for column in (order, slot, bar, duration, pitch)
        )
    steps = (duration - DURATION_TICKS + (DURATION_TICKS // 2 - 1)) // DURATION_TICKS
    steps = np.minimum(np.maximum(steps, 0), DURATIONS - 1)
    rows = pack_rows(bar, slot % POSITIONS, pitch_ids(pitch, profile), steps)
    return rows, order if kept is None else kept[order]


#: Beats after which no note is read: as many as ticks (`musicbert.midi.ReadLimits`).
MAX_BEATS = 2**31


def _rescaled(times: Ints, ticks_per_beat: int) -> Ints:
    """Ticks at 480 a quarter note, fractions cut off."""
    ticks: Ints = (times * RESOLUTION / ticks_per_beat).astype(np.int64)
    return ticks


def beat_rows(notes: BeatNotes, profile: Profile, *, first_bar: int = 0) -> tuple[Ints, Ints]:
    """Rows of notes in beats and the note of each (see `Codec`).

    ``first_bar``: bar that the count begins with: 0 as published for the benchmark's note lists; -1 as
    published for violin fingering from its source, which keeps a pickup.
    """
    # bar lines are multiples of four beats up to the last offset; dividing by four is exact
    last = float(notes.offset.max())
    if last > MAX_BEATS:
        raise MidiError("too-large", f"a note ends {last:.3g} beats from the beginning")
    edges = -(-round(last + BEATS_PER_BAR) // BEATS_PER_BAR) - first_bar
    bar = np.floor(notes.onset / BEATS_PER_BAR).astype(np.int64) - first_bar
    index = np.flatnonzero((bar >= 0) & (bar < edges - 1))
    if len(index) == 0:
        raise MidiError(
            "no-notes",
            "no note is left: all lie before bar 0 or after the last bar that is counted",
            hint="encode with the codec cp",
        )
    order = index[np.lexsort((notes.pitch[index], notes.onset[index]))]
    bar = bar[order]
    edge = (bar + first_bar) * BEATS_PER_BAR
    begin, end = (
        bar * BAR_TICKS + (times[order] - edge) / BEATS_PER_BAR * BAR_TICKS
        for times in (notes.onset, notes.offset)
    )
    slot = _nearest(begin - bar * BAR_TICKS, SLOT_TICKS, POSITIONS)
    steps = _nearest(end - begin - DURATION_TICKS, DURATION_TICKS, DURATIONS)
    return pack_rows(bar, slot, pitch_ids(notes.pitch[order], profile), steps), order


def _nearest(times: Floats, step: int, count: int) -> Ints:
    """Nearest multiple of a step, halves to the lower one, of ``count`` multiples from 0."""
    nearest: Ints = np.clip(np.ceil(times / step - 0.5), 0, count - 1).astype(np.int64)
    return nearest
