"""Other programs for notes of a file by its program changes, so that they keep channel and controllers."""

from dataclasses import dataclass, field

import numpy as np

from musicbert.arrays import Bools, Ints
from musicbert.midi.channels import FileNotes
from musicbert.midi.columns import ScoreColumns
from musicbert.midi.events import PROGRAM


@dataclass
class Programs:
    """Program changes with other programs, and new ones, each before a note: track -> event -> bytes.

    ``notes`` are those of the score that get their program by them [shape=(n,), bool].
    """

    notes: Bools
    changed: dict[int, dict[int, bytes]] = field(default_factory=dict)
    before: dict[int, dict[int, bytes]] = field(default_factory=dict)


def change_programs(file: FileNotes, found: Ints, before: ScoreColumns, after: ScoreColumns) -> Programs:
    """Find the channels whose notes can get their new programs in this way.

    ``found``: file note of each note of the scores. A channel is left out if notes of it are in several
    tracks, are drums, are not of the score or move, or if a program would change while a note sounds.
    """
    result = Programs(np.zeros(len(found), bool))
    note_of = np.full(len(file.onset), -1)
    note_of[found[found >= 0]] = np.flatnonzero(found >= 0)
    place = found[(before.program != after.program) & ~before.drum & ~after.drum & (found >= 0)]
    for channel in np.unique(file.channel[place]).tolist():
        own = np.flatnonzero(file.channel == channel)
        own = own[np.argsort(file.on[own], kind="stable")]
        notes = note_of[own]
        track = int(file.track[own[0]])
        same_track = (file.track[own] == track).all()
        if not same_track or (notes < 0).any() or after.drum[notes].any() or before.drum[notes].any():
            continue
        if (before.onset[notes] != after.onset[notes]).any():
            continue
        _change_channel(result, file, own, notes, after, track, channel)
    return result


def _change_channel(
    result: Programs, file: FileNotes, own: Ints, notes: Ints, after: ScoreColumns, track: int, channel: int
) -> None:
    events = file.events
    changes = np.flatnonzero((events.status == PROGRAM << 4 | channel) & (events.track == track))
    ruling = np.searchsorted(changes, file.on[own]) - 1  # the change before each note, or -1
    wanted, onset = after.program[notes], after.onset[notes]
    ends = np.maximum(after.offset[notes], file.offset[own])
    changed: dict[int, bytes] = {}
    inserted: dict[int, bytes] = {}
    state, end, off = 0, -1, -1
    for k, rule in enumerate(ruling.tolist()):
        new = int(wanted[k])
        body = bytes([PROGRAM << 4 | channel, new])
        first_of_rule = rule >= 0 and (k == 0 or ruling[k - 1] != rule)
        if first_of_rule:
            changed[int(changes[rule])] = body
        elif new != state:
            inserted[int(file.on[own[k]])] = body
        if k and new != state and (end > onset[k] or off > file.on[own[k]]):
            return  # an earlier note sounds
        state, end, off = new, max(end, int(ends[k])), max(off, int(file.off[own[k]]))
    result.changed.setdefault(track, {}).update(changed)
    result.before.setdefault(track, {}).update(inserted)
    result.notes[notes] = True
