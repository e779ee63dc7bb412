"""`encode`: a piece as OctupleMIDI, one row of eight codes a note.

Rows: int64 [shape=(n_notes, 8)], columns bar, position, program, pitch, duration, velocity, time signature,
tempo, sorted lexicographically. Bars are counted from 0 and may exceed 255: only text and ids need less.
Percussion is program 128 with 128 added to its pitch. A duration is the difference of two rounded times, so
short notes may get 0. Identical rows stay. Lost: track, channel, controllers, key signatures.

Bar, position, time signature and tempo follow from a note's position in the piece (0-65535, or more by the
policy ``beyond_limit="keep"``). So a note is one 63-bit number (position, program, pitch, duration, velocity,
index), one sort orders all notes, and the eight columns are cut out of the sorted numbers, without a loop
over notes.

Reference: Zeng et al. 2021, section 3.2, and upstream's code for every detail.
"""

from functools import lru_cache
from os import PathLike
from typing import IO, Any

import numpy as np

from musicbert.arrays import Ints
from musicbert.encoding.metre import BarTable, bar_table
from musicbert.encoding.policies import COMPATIBLE, Policies
from musicbert.encoding.quantise import BAR_LENGTHS, MAX_POSITIONS, duration_code, positions, tempo_code
from musicbert.errors import MidiError
from musicbert.midi import ReadLimits, Score, read_score
from musicbert.midi.columns import DEFAULT_BPM, check_score
from musicbert.midi.reader import ChannelPrograms, Reader

#: Program and pitch shift of percussion.
DRUM_PROGRAM, DRUM_PITCH = 128, 128
#: Bits of the fields of a sort key, from the lowest: velocity, duration, pitch, program; position on top.
_VELOCITY_BITS, _DURATION_BITS, _PITCH_BITS, _PROGRAM_BITS, _POSITION_BITS = 5, 7, 8, 8, 16
_KEY_BITS = _VELOCITY_BITS + _DURATION_BITS + _PITCH_BITS + _PROGRAM_BITS + _POSITION_BITS
_INDEX_BITS = 63 - _KEY_BITS
#: Of program, pitch, duration and velocity, the columns 2-5: shift in a key, and bits [shape=(4, 1)].
_BITS = (_PROGRAM_BITS, _PITCH_BITS, _DURATION_BITS, _VELOCITY_BITS)
_SHIFTS = np.array([[sum(_BITS[field + 1 :])] for field in range(4)], np.int64)
_MASKS = np.array([[(1 << bits) - 1] for bits in _BITS], np.int64)
_BAR_COLUMNS = (0, 6)
_NO_INDEX = np.zeros(0, np.int64)
#: Bits of a position where the index of the note need not fit beside it.
_MOST_POSITION_BITS = _POSITION_BITS + _INDEX_BITS


class PieceRows(np.ndarray):
    """Rows of a piece that remember the time signatures of its silent bars, which no column holds.

    ``silent``: numbers and codes of these bars, and the columns bar and time signature that they belong to.
    What is computed from such rows, or read from a file, has forgotten them (None).
    """

    silent: tuple[Ints, Ints, Ints] | None = None

    def silent_bars(self) -> tuple[Ints, Ints]:
        """Numbers and codes of the silent bars; none where the rows have been changed since."""
        if self.silent is None or not np.array_equal(self[:, _BAR_COLUMNS], self.silent[2]):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return self.silent[:2]


def encode(
    source: str | PathLike[str] | bytes | IO[bytes] | Score | Any,
    *,
    policies: Policies = COMPATIBLE,
    reader: Reader = "symusic",
    limits: ReadLimits | None = None,
    channel_programs: ChannelPrograms = "track",
) -> Ints:
    """Encode one piece.

    Parameters
    ----------
    source
        Anything that `read_score` takes.
    policies
        What to do with music that the encoding cannot hold; the default is upstream's way.
    reader, limits, channel_programs
        See `read_score`.

    Returns
    -------
    [shape=(n_notes, 8), int64]
        Where the time signature changes and bars are silent, these are `PieceRows`.

    Raises
    ------
    MidiError
        As `read_score`, and ``unsupported-metre``; with other policies also ``too-large``.

    Examples
    --------
    >>> rows = encode("piece.mid")  # doctest: +SKIP
    """
    if isinstance(source, Score):
        check_score(source, limits=limits)
    else:
        source = read_score(source, reader=reader, limits=limits, channel_programs=channel_programs)
    rows, _, bars = _encode(source, policies, indexed=False)
    return _with_silent_bars(rows, bars) if any(source.metre_tick.tolist()) else rows


def encode_notes(
    score: Score, *, policies: Policies = COMPATIBLE, limits: ReadLimits | None = None, checked: bool = False
) -> tuple[Ints, Ints]:
    """Encode a score as rows [shape=(n, 8), int64] and their ``note_index`` (see `Codec`).

    Equal rows are in the order of the score. ``checked``: the score comes unchanged from `read_score`, which
    has checked it. Other parameters and errors as for `encode`.
    """
    if not checked:
        check_score(score, limits=limits)
    rows, index, _ = _encode(score, policies)
    return rows, index


def _encode(score: Score, policies: Policies, *, indexed: bool = True) -> tuple[Ints, Ints, BarTable]:
    """Rows of a score, their ``note_index`` (empty where it is not asked for), and the bars."""
    n = len(score.onset)
    times = positions(np.concatenate((score.onset, score.offset)), score.ticks_per_beat)
    start, end = times[:n], times[n:]
    last = int(start.max())
    kept = _kept(score, start, last, policies)
    columns: list[Any] = [start, end, score.pitch, score.velocity, score.program, score.drum]
    if kept is not None:
        columns = [column[kept] for column in columns]
    onset, end, pitch, velocity, program, drum = columns
    key = onset << _PROGRAM_BITS
    key |= program
    key <<= _PITCH_BITS
    key |= pitch
    if True in drum.tobytes():
        drums = (onset << _PROGRAM_BITS | DRUM_PROGRAM) << _PITCH_BITS | pitch + DRUM_PITCH
        key = np.where(drum, drums, key)
    key <<= _DURATION_BITS
    key |= duration_code(end - onset)
    key <<= _VELOCITY_BITS
    key |= velocity >> 2
    key, order = _sorted(key, last) if indexed else (np.sort(key), _NO_INDEX)
    limit = last + 1
    if policies.beyond_limit != "keep":
        limit = min(limit, MAX_POSITIONS)
    bars = bar_table(score, limit, policies)
    return _columns(key, score, bars), kept[order] if indexed and kept is not None else order, bars


def _with_silent_bars(rows: Ints, bars: BarTable) -> Ints:
    """Rows of a score whose time signature changes, with the signatures of its silent bars."""
    last = int(rows[-1, 0])
    if last >= MAX_POSITIONS:
        return rows
    sounding = np.zeros(last + 1, np.bool_)
    sounding[rows[:, 0]] = True
    silent = np.flatnonzero(~sounding)
    if len(silent) == 0:
        return rows
    start = bars.start(silent)
    codes = bars.codes(start) + np.zeros_like(silent)
    whole = BAR_LENGTHS[codes] == bars.start(silent + 1) - start
    result = rows.view(PieceRows)
    result.silent = silent[whole], codes[whole], rows[:, _BAR_COLUMNS]
    return result


def notes_beyond_limit(score: Score) -> int:
    """Count the notes that begin after the last position; ``beyond_limit="drop"`` leaves them out."""
    return int((positions(score.onset, score.ticks_per_beat) >= MAX_POSITIONS).sum())


def _kept(score: Score, start: Ints, last: int, policies: Policies) -> Ints | None:
    """Indices of the notes to encode, or None for all; ``last``: the last of their positions."""
    keep = policies.beyond_limit == "keep"
    most = 1 << _MOST_POSITION_BITS if keep else MAX_POSITIONS
    if last < most and policies.zero_ticks != "drop":
        return None
    inside = start < most
    if not inside.all() and policies.beyond_limit != "drop":
        raise MidiError(
            "too-large",
            f"{int((~inside).sum())} notes begin after "
            + ("2^31 quarter notes" if keep else f"{MAX_POSITIONS} positions (1,024 bars of 4/4)"),
            hint="cut the piece"
            if keep
            else 'choose --beyond-limit keep or drop (in Python beyond_limit="keep"), or cut the piece',
        )
    if policies.zero_ticks == "drop":
        inside &= score.offset > score.onset
    if inside.all():
        return None
    kept = np.flatnonzero(inside)
    if len(kept) == 0:
        raise MidiError("no-notes", "no note is left: all are beyond the limit or of zero length")
    return kept


def _sorted(key: Ints, last: int) -> tuple[Ints, Ints]:
    """Sorted keys and the order that sorts them; equal keys keep their order. ``last``: largest position."""
    n = len(key)
    if n > 1 << _INDEX_BITS or last >> _POSITION_BITS:
        order = np.argsort(key, kind="stable")
        return key[order], order
    packed = np.sort((key << _INDEX_BITS) | np.arange(n))
    return packed >> _INDEX_BITS, packed & ((1 << _INDEX_BITS) - 1)


def _columns(key: Ints, score: Score, bars: BarTable) -> Ints:
    """Cut the eight columns out of sorted keys."""
    rows = np.empty((len(key), 8), np.int64)
    rows[:, 2:6] = (key >> _SHIFTS & _MASKS).T
    key = key >> _KEY_BITS - _POSITION_BITS
    rows[:, 0], rows[:, 1] = bars.bars(key)
    rows[:, 6] = bars.codes(key)
    rows[:, 7] = _tempo(score, key)
    return rows


def _tempo(score: Score, position: Ints) -> Ints | int:
    """Tempo code at each position: the last change at or before it, 120 BPM before the first."""
    ticks = score.tempo_tick
    if not any(ticks.tolist()):  # the last one of the first tick holds
        return _code(float(score.tempo_bpm[-1]) if len(ticks) else DEFAULT_BPM)
    by_tick = np.argsort(ticks, kind="stable")
    at = positions(ticks[by_tick], score.ticks_per_beat)
    starts = np.concatenate([[-1], at])
    codes = tempo_code(np.concatenate([[DEFAULT_BPM], score.tempo_bpm[by_tick]]))
    return codes[np.searchsorted(starts, position, side="right") - 1]


@lru_cache(maxsize=1024)
def _code(bpm: float) -> int:
    return int(tempo_code(bpm))
