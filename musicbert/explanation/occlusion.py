"""Occlusion: what a score loses without a note, or the notes of a bar or a voice (Zeiler, Fergus 2014).

Works for every target. Two replacements, since an answer holds against its replacement only:

====== =====================================================================================================
gone   networks: the notes are hidden, as in pre-training; other models: the notes are removed from the music
flat   the notes stay, with the median velocity of the piece and without asynchrony; in bars the pedal is up
====== =====================================================================================================

Bars are those of the file. A performance without bar lines of its own has bars of 2 s (4/4 at 120 BPM).

Legend: ``n`` notes of the score, ``g`` groups, ``d`` dimensions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np

from musicbert.analysis.passages import played
from musicbert.arrays import Bools, Floats, Ints
from musicbert.encoding import encode_notes
from musicbert.encoding.policies import WHOLE
from musicbert.errors import ConfigError
from musicbert.explanation.networks import Network
from musicbert.explanation.target import ProfileTarget, Target
from musicbert.features.playing import CHORD_GAP
from musicbert.midi import Score
from musicbert.predict.pieces import read_piece

By = Literal["bar", "voice", "note"]
#: names of groups, and the group of each note [shape=(n,), int64], -1 for none
Groups = tuple[tuple[str, ...], Ints]
REPLACEMENTS = ("gone", "flat")
#: groups of bars at most: in longer music a group has several bars
MOST_GROUPS = 128
#: pieces that are scored at a time
_BATCH = 32
#: notes before and after a note that may sound with it
_BEFORE, _AFTER = 64, 16


@dataclass(frozen=True, eq=False)
class Occlusion:
    """What each group of notes adds to the scores.

    ``groups``: names; ``group_of``: group of each note [shape=(n,), int64], -1 for notes that the encoding
    leaves out; ``score`` [shape=(d,)]; ``effects``: replacement -> score minus the score without the group
    [shape=(g, d)], NaN where nothing would be left.
    """

    by: By
    names: tuple[str, ...]
    groups: tuple[str, ...]
    group_of: Ints
    score: Floats
    effects: Mapping[str, Floats]

    def of(self, dimensions: Sequence[int]) -> "Occlusion":
        """Some dimensions, by number."""
        chosen = list(dimensions)
        effects = {name: table[:, chosen] for name, table in self.effects.items()}
        names = tuple(self.names[k] for k in chosen)
        return replace(self, names=names, score=self.score[chosen], effects=effects)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON; None where nothing would be left."""
        tables = {
            name: [[None if np.isnan(value) else float(value) for value in row] for row in table]
            for name, table in self.effects.items()
        }
        return {
            "by": self.by,
            "dimensions": list(self.names),
            "groups": list(self.groups),
            "group_of": self.group_of.tolist(),
            "score": self.score.tolist(),
            "effects": tables,
        }


def occlude(
    target: Target,
    score: Score,
    by: By = "bar",
    *,
    replacements: Sequence[str] = REPLACEMENTS,
    groups: Groups | None = None,
) -> Occlusion:
    """Hide each bar, each voice, or each note, in turn.

    ``groups``: names of groups and the group of each note, in place of those of this score.
    Voices are the tracks, or in a single track the upper, inner and lower voice (`voices`).
    Raises `ConfigError` (``bad-value``) and what the target raises.
    """
    if by not in get_args(By) or set(replacements) - set(REPLACEMENTS):
        raise ConfigError("bad-value", f"It hides {get_args(By)}, and puts {REPLACEMENTS} in their place")
    names, group_of = _groups(score, by) if groups is None else groups
    members = [np.flatnonzero(group_of == number) for number in range(len(names))]
    whole = target.scores([score])[0]
    effects = {}
    for name in replacements:
        changed = _without(target, score, members) if name == "gone" else _flattened(score, members, by)
        table = np.full((len(names), len(whole)), np.nan)
        while batch := list(islice(changed, _BATCH)):
            numbers, music = zip(*batch, strict=True)
            table[list(numbers)] = whole - target.scores(list(music))
        effects[name] = table
    return Occlusion(by, target.names, names, group_of, whole, effects)


def occlude_passages(
    target: ProfileTarget, score: Score, by: By = "bar", *, replacement: str = "gone"
) -> Occlusion:
    """Hide each group of a long performance within its passages; effects are on the profile, their mean.

    Notes in no rated passage have group -1. Raises `MidiError` (``no-profile``).
    """
    names, group_of = _groups(score, by)
    inside = np.full(len(score), -1)
    table, whole = np.zeros((len(names), len(target.names))), np.zeros(len(target.names))
    for weight, part in target.rated(score):
        inside[part.notes] = group_of[part.notes]
        present = np.unique(inside[part.notes])
        present = present[present >= 0]
        local = np.where(inside[part.notes] < 0, -1, np.searchsorted(present, inside[part.notes]))
        groups = (tuple(names[k] for k in present), local)
        found = occlude(target, played(score, part), by, replacements=(replacement,), groups=groups)
        table[present] += weight * np.nan_to_num(found.effects[replacement])
        whole += weight * found.score
    return Occlusion(by, target.names, names, inside, whole, {replacement: table})


def voices(score: Score) -> Ints:
    """Voice of each note [shape=(n,), int64]: 0 upper, 1 inner, 2 lower.

    Upper: nothing higher sounds when it begins; lower: not upper, and nothing lower sounds then.
    """
    order = np.lexsort((score.pitch, score.onset))
    onset, offset = score.seconds(score.onset)[order], score.seconds(score.offset)[order]
    pitch, n = score.pitch[order], len(order)
    higher, lower = np.zeros(n, bool), np.zeros(n, bool)
    for step in (*range(-_BEFORE, 0), *range(1, _AFTER + 1)):
        at = np.arange(max(0, -step), min(n, n - step))  # the notes that have such a neighbour
        if len(at) == 0:
            continue
        near = at + step
        sounds = (onset[near] <= onset[at] + CHORD_GAP) & (
            (offset[near] > onset[at] + CHORD_GAP) | (np.abs(onset[near] - onset[at]) <= CHORD_GAP)
        )
        higher[at] |= sounds & (pitch[near] > pitch[at])
        lower[at] |= sounds & (pitch[near] < pitch[at])
    voice = np.empty(n, np.int64)
    voice[order] = np.where(~higher, 0, np.where(lower, 1, 2))
    return voice


def _groups(score: Score, by: By) -> Groups:
    if by == "note":
        return tuple(f"note {number + 1}" for number in range(len(score))), np.arange(len(score))
    return _bars(score) if by == "bar" else _voices(score)


def _bars(score: Score) -> Groups:
    """Names of the bars, counted from 1, and the group of each note."""
    rows, index = encode_notes(score, policies=WHOLE)
    bars, number = np.unique(rows[:, 0], return_inverse=True)
    size = -(-len(bars) // MOST_GROUPS)
    group_of = np.full(len(score), -1)
    group_of[index] = number // size
    parts = [bars[begin : begin + size] + 1 for begin in range(0, len(bars), size)]
    names = tuple(f"bar {p[0]}" if len(p) == 1 else f"bars {p[0]}-{p[-1]}" for p in parts)
    return names, group_of


def _voices(score: Score) -> Groups:
    tracks, number = np.unique(score.track, return_inverse=True)
    if len(tracks) > 1:
        titles = dict(enumerate(score.track_name))
        return tuple(f"track {t} {titles.get(int(t), '')}".strip() for t in tracks), number
    present, number = np.unique(voices(score), return_inverse=True)
    return tuple(("upper voice", "inner voices", "lower voice")[each] for each in present), number


def _without(target: Target, score: Score, members: Sequence[Ints]) -> Iterator[tuple[int, Any]]:
    """The music without each group, hidden where the target is a network."""
    network = Network.of(target)
    if network is None:
        for number, notes in enumerate(members):
            if len(notes) < len(score):
                yield number, keep_notes(score, ~np.isin(np.arange(len(score)), notes))
        return
    runner = network.runner
    piece = read_piece(score, codec=runner.layout.codec, performance=runner.performance)
    for number, notes in enumerate(members):
        mask = np.isin(piece.note_index, notes)
        yield number, replace(piece, hidden=np.repeat(mask[:, None], piece.rows.shape[1], axis=1))


def _flattened(score: Score, members: Sequence[Ints], by: By) -> Iterator[tuple[int, Score]]:
    for number, notes in enumerate(members):
        yield number, flatten_notes(score, np.isin(np.arange(len(score)), notes), pedal=by == "bar")


def keep_notes(score: Score, kept: Bools) -> Score:
    """Return the music with only some of its notes [shape=(n,), bool]; pedals and metres stay."""
    columns = ("onset", "offset", "pitch", "velocity", "program", "drum", "track")
    return replace(score, **{name: getattr(score, name)[kept] for name in columns})


def flat(score: Score) -> Score:
    """Return the same notes with the median velocity, no pedal, and the notes of a chord struck together."""
    onset = score.seconds(score.onset)
    order = np.argsort(onset, kind="stable")
    begins = np.diff(onset[order], prepend=-np.inf) > CHORD_GAP
    chord = np.cumsum(begins) - 1
    start = score.onset.copy()
    start[order] = score.onset[order][begins][chord]
    pedal = np.isin(score.control_number, (64, 66, 67))
    return replace(
        score,
        onset=start,
        velocity=np.full(len(score), round(float(np.median(score.velocity))), np.int64),
        **{
            name: getattr(score, name)[~pedal]
            for name in ("control_tick", "control_number", "control_value", "control_track")
        },
    )


def flatten_notes(score: Score, notes: Bools, *, pedal: bool = True) -> Score:
    """Return the music with some of its notes played flat [shape=(n,), bool].

    ``pedal``: all pedals are up from their first onset to their last release.
    """
    even = flat(score)
    score = replace(
        score,
        onset=np.where(notes, even.onset, score.onset),
        velocity=np.where(notes, even.velocity, score.velocity),
    )
    if not (pedal and notes.any() and len(score.control_tick)):
        return score
    first, last = int(score.onset[notes].min()), int(score.offset[notes].max())
    pedals = np.isin(score.control_number, (64, 66, 67))
    before = score.control_tick <= last
    events = [
        (tick, number, value, track)
        for number, track in {
            (int(a), int(b))
            for a, b in zip(score.control_number[pedals], score.control_track[pedals], strict=True)
        }
        for tick, value in (
            (first, 0),
            (last, _last(score, before & (score.control_number == number) & (score.control_track == track))),
        )
    ]
    gone = pedals & (score.control_tick >= first) & before
    names = ("control_tick", "control_number", "control_value", "control_track")
    columns = [
        np.concatenate([getattr(score, name)[~gone], np.array(values, np.int64)])
        for name, values in zip(names, zip(*events, strict=True) if events else [[]] * 4, strict=True)
    ]
    order = np.argsort(columns[0], kind="stable")
    return replace(score, **{name: column[order] for name, column in zip(names, columns, strict=True)})


def _last(score: Score, chosen: Bools) -> int:
    """Value of the last of some events, 0 if there is none."""
    return int(score.control_value[chosen][-1]) if chosen.any() else 0
