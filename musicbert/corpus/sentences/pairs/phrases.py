"""Phrases of the melody and the accompaniment of a multi-track piece.

A phrase is `bars` successive bars in 4/4, counted from the first bar of the melody; the next one begins
where it ends. It counts where the melody has at least `fewest` notes in it. Its accompaniment is what the
other tracks, percussion apart, play in the same bars. So that nothing but the notes tells pieces apart, bars
are counted from 0, the tempo is 120 BPM, and the melody has program 80 and the accompaniment 0 (in ``next``
both phrases are melody), as in PiRhDy's files.

Which track is the melody: the one that is asked for, else the first whose name says so (melody, vocal,
voice, lead, ...), else the pitched track whose notes are the highest of their onset most often, among those
that play one note at a time.
"""

import re
from dataclasses import dataclass

import numpy as np

from musicbert.arrays import Ints
from musicbert.corpus.sentences.pairs.pirhdy import PROGRAMS
from musicbert.encoding import encode_notes
from musicbert.encoding.quantise import METRES, tempo_code
from musicbert.errors import DatasetError
from musicbert.midi import Score

BAR, _, PROGRAM, _, _, VELOCITY, METRE, TEMPO = range(8)
_METRE, _TEMPO = METRES.index((4, 4)), int(tempo_code(120.0))
_MELODY_NAME = re.compile(r"melod|vocal|vox|voice|voz|lead|sing|solo|chant", re.IGNORECASE)
#: Share of a track's onsets that have one note only, from which it counts as a single voice.
_SINGLE = 0.9
#: Minimum notes of a melody.
_FEWEST_MELODY_NOTES = 16
#: Code of velocity 64, where velocities are levelled.
_LEVEL = 16


@dataclass(frozen=True)
class PhraseOptions:
    """How pieces are cut; a track is a number (from 0, counted over tracks with notes) or part of a name."""

    bars: int = 4  # of a phrase
    fewest: int = 4  # minimum notes of a phrase (and of its accompaniment, for ``acc``)
    melody: str | None = None  # track of the melody
    accompaniment: tuple[str, ...] = ()  # tracks of the accompaniment; all others but percussion if empty
    level_velocity: bool = False  # give all notes velocity 64


@dataclass(frozen=True, eq=False)
class Phrase:
    """Notes of one phrase, bars from 0."""

    bar: int  # its first bar in the piece
    melody: Ints  # rows [shape=(n, 8)]
    accompaniment: Ints  # rows [shape=(n, 8)]; there may be none


def melody_track(score: Score, wanted: str | None = None) -> int:
    """Choose the melody; raises `DatasetError` (``no-melody``: no such track, or none that could be one)."""
    tracks = _pitched(score)
    if wanted is not None:
        return _named(score, wanted)
    for track in tracks:
        if len(score.track_name) > track and _MELODY_NAME.search(score.track_name[track]):
            return track
    pitched = np.flatnonzero(~score.drum)
    top = np.full(len(score), False)
    order = pitched[np.lexsort((-score.pitch[pitched], score.onset[pitched]))]
    first = np.diff(score.onset[order], prepend=-1) != 0
    top[order[first]] = True
    best, best_count = -1, 0
    for track in tracks:
        mine = score.track == track
        onsets = score.onset[mine]
        if len(onsets) < _FEWEST_MELODY_NOTES or len(np.unique(onsets)) < _SINGLE * len(onsets):
            continue
        highest = int(top[mine].sum())
        if highest > best_count:
            best, best_count = track, highest
    if best < 0:
        raise DatasetError("no-melody", "No track plays one note at a time", hint="name it with --melody")
    return best


def accompaniment_tracks(score: Score, melody: int, wanted: tuple[str, ...] = ()) -> list[int]:
    """Choose the accompaniment; raises `DatasetError` (``no-accompaniment``)."""
    tracks = [_named(score, name) for name in wanted] if wanted else _pitched(score)
    others = [track for track in tracks if track != melody]
    if not others:
        raise DatasetError("no-accompaniment", "Nothing but the melody plays")
    return others


def phrases(score: Score, options: PhraseOptions, *, accompanied: bool = True) -> list[Phrase]:
    """Cut a piece into phrases (in their order, with a gap in their bars where a phrase does not count).

    Without ``accompanied``, phrases need no accompaniment.

    Raises `DatasetError` (``no-melody``, ``no-accompaniment``, ``no-phrase``); `MidiError` (as
    `encode_notes`).
    """
    melody = melody_track(score, options.melody)
    others = accompaniment_tracks(score, melody, options.accompaniment) if accompanied else []
    rows, note = encode_notes(score)
    track, rows = score.track[note], rows.copy()
    bars_of_metre = rows[:, [BAR, METRE]]
    rows[:, METRE], rows[:, TEMPO] = _METRE, _TEMPO
    if options.level_velocity:
        rows[:, VELOCITY] = _LEVEL
    voices = (rows[track == melody], rows[np.isin(track, others)])
    if len(voices[0]) == 0:
        raise DatasetError("no-melody", "The melody has no note that can be encoded")
    other_metre = np.unique(bars_of_metre[bars_of_metre[:, 1] != _METRE, 0])
    cut_phrases = []
    for begin in range(int(voices[0][0, BAR]), int(voices[0][-1, BAR]) + 1, options.bars):
        end = begin + options.bars
        if np.searchsorted(other_metre, begin) != np.searchsorted(other_metre, end):
            continue
        cut = [
            _cut(voice, begin, end, program) for voice, program in zip(voices, PROGRAMS["acc"], strict=True)
        ]
        if len(cut[0]) >= options.fewest and (not accompanied or len(cut[1]) >= options.fewest):
            cut_phrases.append(Phrase(begin, cut[0], cut[1]))
    if not cut_phrases:
        raise DatasetError("no-phrase", f"No {options.bars} bars in 4/4 have enough notes")
    return cut_phrases


def _cut(rows: Ints, begin: int, end: int, program: int) -> Ints:
    start, stop = np.searchsorted(rows[:, BAR], [begin, end])
    part = rows[start:stop].copy()
    part[:, BAR] -= begin
    part[:, PROGRAM] = program
    return part[np.lexsort(part.T[::-1])]  # one program now: the order of two tracks may change


def _pitched(score: Score) -> list[int]:
    tracks: list[int] = np.unique(score.track[~score.drum]).tolist()
    return tracks


def _named(score: Score, wanted: str) -> int:
    """Return the track of a number or a part of a name."""
    tracks = np.unique(score.track).tolist()
    if wanted.isdecimal():
        if int(wanted) in tracks:
            return int(wanted)
    else:
        for track in tracks:
            if len(score.track_name) > track and wanted.lower() in score.track_name[track].lower():
                return int(track)
    raise DatasetError(
        "no-melody", f"There is no track {wanted!r}; there are {', '.join(map(repr, score.track_name))}"
    )
