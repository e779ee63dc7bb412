"""Times on beats: the beat grid of POP909, and known bar lines stretched to four beats.

POP909 (the published preprocessing of MIDI-BERT): ``beat_audio.txt`` holds the time of each beat in seconds
and its number in the bar; ``beat_midi.txt`` the time and whether it is a downbeat in two and in four. A beat
is four sixteenths of 120 ticks whatever its length, and the first downbeat begins a bar. Verified in
``tests/parity/test_readers_{pop909,bps_motif}.py``.
"""

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Floats
from musicbert.encoding.beat_notes import BEATS_PER_BAR
from musicbert.errors import DatasetError
from musicbert.midi import Score

TICKS_PER_BEAT = 480
#: Ticks of the grid: a sixteenth.
GRID = 120
#: Seconds before the first beat within which a note still belongs to it, if it is longer than `_LONG_S`.
_EARLY_S, _LONG_S = 0.1, 0.2
#: Bars that a hole in an annotation may have.
MAX_HOLE = 1 << 16
#: Largest difference of the share of downbeats from a quarter.
_SHARE = 0.03


def read_beats(text: str, path: str) -> Floats:
    """Read a table of numbers separated by spaces [shape=(beats, columns), float64].

    ``bad-beats`` if it is none.
    """
    try:
        table = np.array([line.split() for line in text.splitlines() if line.strip()], np.float64)
    except ValueError as error:
        raise DatasetError("bad-beats", f"The table of beats cannot be read: {error}", path=path) from error
    if table.ndim != 2 or len(table) < 2 or table.shape[1] < 2 or not (np.diff(table[:, 0]) > 0).all():
        raise DatasetError("bad-beats", "The beats are not two or more ascending times", path=path)
    return table


def in_four(audio: Floats, midi: Floats) -> bool:
    """Whether a song is in 4/4 by its tables of beats in audio and MIDI [shape=(beats, 2) and (beats, 3)].

    Columns: seconds and number in the bar; seconds, downbeat in two, downbeat in four.
    """
    return bool(audio[:, 1].max() == BEATS_PER_BAR and abs(midi[:, -1].mean() - 1 / BEATS_PER_BAR) < _SHARE)


def align_to_beats(score: Score, audio: ArrayLike, midi: ArrayLike | None = None) -> Score:
    """Put a song on the grid of its beats: 480 ticks a beat, 4/4, no tempo (120 BPM).

    A note up to 0.1 s before the first beat and longer than 0.2 s is moved to it; other earlier notes are
    left out, and so are notes more than a beat after the last one and notes whose duration rounds to none.
    Track numbers are kept; within a track notes come by onset, the highest first. Without the table ``midi``
    the metre is not checked (see `in_four`). Raises `DatasetError`: ``not-in-four``, ``bad-beats``.
    """
    table = np.asarray(audio, np.float64)
    if midi is not None and not in_four(table, np.asarray(midi, np.float64)):
        raise DatasetError("not-in-four", "The song is not in 4/4 by its tables of beats")
    downbeats = np.flatnonzero(table[:, 1] == 1)
    if not len(downbeats):
        raise DatasetError("bad-beats", "No beat is a downbeat")
    beats = table[:, 0]
    pickup = (BEATS_PER_BAR - int(downbeats[0])) % BEATS_PER_BAR
    lengths = np.append(np.diff(beats), beats[-1] - beats[-2])

    onset, offset = score.seconds(score.onset), score.seconds(score.offset)
    early = (onset < beats[0]) & (onset >= beats[0] - _EARLY_S) & (offset - onset > _LONG_S)
    onset = np.where(early, beats[0], onset)
    beat = np.searchsorted(beats, onset, side="right") - 1
    inside = (beat >= 0) & (onset <= beats[-1] + lengths[-1])
    beat = np.maximum(beat, 0)
    steps = TICKS_PER_BEAT // GRID
    start = np.rint((onset - beats[beat]) / lengths[beat] * steps).astype(np.int64)
    length = np.rint((offset - onset) / lengths[beat] * steps).astype(np.int64)
    start = (beat + pickup) * TICKS_PER_BEAT + start * GRID
    kept = np.flatnonzero(inside & (length > 0))
    kept = kept[np.lexsort((-score.pitch[kept], start[kept], score.track[kept]))]
    one = np.zeros(1, np.int64)
    return Score(
        ticks_per_beat=TICKS_PER_BEAT,
        onset=start[kept],
        offset=(start + length * GRID)[kept],
        pitch=score.pitch[kept],
        velocity=score.velocity[kept],
        program=score.track[kept],
        drum=score.drum[kept],
        track=score.track[kept],
        metre_tick=one,
        metre_numerator=one + BEATS_PER_BAR,
        metre_denominator=one + BEATS_PER_BAR,
    )


def times_to_beats(times: ArrayLike, bar_lines: ArrayLike) -> Floats:
    """Convert times [shape=(n,)] to beats [shape=(n,), float64], 0 at the first bar line.

    ``bar_lines``: beginnings of at least two bars, strictly ascending, in the same unit. Times outside lie in
    bars as long as the first and the last one. Raises `DatasetError` ``bad-bars``.

    Examples
    --------
    >>> times_to_beats([-3.0, 0.0, 1.5, 4.0], [0.0, 3.0, 5.0])
    array([-4.,  0.,  2.,  6.])
    """
    lines = np.asarray(bar_lines, np.float64)
    if len(lines) < 2 or not (np.diff(lines) > 0).all():
        raise DatasetError("bad-bars", "The bar lines are not two or more ascending times")
    at = np.asarray(times, np.float64)
    bar = np.clip(np.searchsorted(lines, at, side="right") - 1, 0, len(lines) - 2)
    beats: Floats = BEATS_PER_BAR * (bar + (at - lines[bar]) / (lines[bar + 1] - lines[bar]))
    return beats


def fill_gaps(bar_lines: ArrayLike, *, longest: float = 8.0) -> Floats:
    """Return bar lines with regular ones put into gaps.

    A bar that is at least ``longest`` times as long as the one before it is no bar but a hole in the
    annotation (BPS-FH has one of 202 beats in its third sonata): it is cut into bars of the length before it,
    the last of which takes what remains.

    Examples
    --------
    >>> fill_gaps([0, 4, 8, 50]).tolist()
    [0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 36.0, 40.0, 44.0, 48.0, 50.0]
    """
    lines = np.asarray(bar_lines, np.float64)
    lengths = np.diff(lines)
    pieces = [lines[:1]]
    usual = 0.0
    for start, length in zip(lines[:-1], lengths, strict=True):
        if usual and length >= longest * usual:
            if length > MAX_HOLE * usual:
                message = f"A hole of {length / usual:.3g} bars in the annotation"
                raise DatasetError(
                    "bad-annotation", message, hint="leave the piece out, or mend its bar lines"
                )
            pieces.append(start + usual * np.arange(1, np.ceil(length / usual - 1e-9)))
        else:
            usual = length
        pieces.append(np.array([start + length]))
    return np.concatenate(pieces)
