r"""Which test pieces a file holds, by its music: windows of nine notes in intervals.

All tuned notes of a file are put in order, those of a chord by pitch (`GAP_S` from one onset to the next: a
played chord is one), and every window of `INTERVALS` successive intervals in semitones becomes a hash: key,
tempo, metre, instruments, velocity and durations do not matter. A second list has the windows of the highest
notes alone, which arrangements share. Windows of fewer than `DISTINCT` different intervals (scales, trills,
repeated notes) are in too much music to tell anything and are left out. A file A holds a test piece B where,
in one of the two lists,

    |A and B| >= SHARED   and   |A and B| / min(|A|, |B|) >= SHARE,

or where both lists are equal, for pieces too short for that. What it finds and what not: `docs/corpus.md`.
Near-duplicates within one corpus, of any number of files, are found with less memory by
`musicbert.corpus.splits.near_duplicates`. See ``tests/unit/corpus/splits/test_fingerprints.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Floats, Ints
from musicbert.corpus.files.folders import read_npz, write_npz
from musicbert.encoding.beat_notes import BeatNotes
from musicbert.errors import DatasetError
from musicbert.midi import Score

GAP_S = 0.05
INTERVALS, DISTINCT = 8, 4
SHARED, SHARE = 20, 0.08
#: Seconds of a beat where only beats are known.
_BEAT_S = 0.5
#: The two lists of a fingerprint.
LINES = ("notes", "highest")
#: Hashes of the windows of all notes, and of the highest notes, each ascending and without repeats.
Fingerprint = tuple[NDArray[np.uint32], NDArray[np.uint32]]


@dataclass(frozen=True)
class Match:
    """A test piece that a file holds: shared windows, and their share of those of the shorter of the two."""

    piece: str
    shared: int
    share: float

    def __str__(self) -> str:
        """Return it as a ledger says it."""
        return f"{self.piece} ({self.shared} windows of nine notes, {self.share:.0%})"


def fingerprint(notes: Score | BeatNotes) -> Fingerprint:
    """Return the fingerprint of a piece; percussion does not count."""
    if isinstance(notes, BeatNotes):
        seconds, pitch = notes.onset * _BEAT_S, notes.pitch
    else:
        tuned = ~np.asarray(notes.drum, bool)
        seconds, pitch = notes.seconds(notes.onset)[tuned], notes.pitch[tuned]
    order = np.argsort(seconds, kind="stable")
    return _lines(seconds[order], pitch[order].astype(np.int64))


def _lines(seconds: Floats, pitch: Ints) -> Fingerprint:
    if len(pitch) == 0:
        return _windows(pitch), _windows(pitch)
    begins = np.diff(seconds, prepend=-np.inf) > GAP_S
    in_order = pitch[np.lexsort((pitch, np.cumsum(begins)))]
    return _windows(in_order), _windows(np.maximum.reduceat(pitch, np.flatnonzero(begins)))


def _windows(pitch: Ints) -> NDArray[np.uint32]:
    intervals = np.diff(pitch) + 128  # 1-255
    if len(intervals) < INTERVALS:
        return np.empty(0, np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(intervals, INTERVALS)
    telling = (np.diff(np.sort(windows, axis=1), axis=1) != 0).sum(axis=1) >= DISTINCT - 1
    packed = np.ascontiguousarray(windows[telling].astype(np.uint8)).view(np.uint64).reshape(-1)
    packed = packed * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing; the upper bits are well mixed
    packed ^= packed >> np.uint64(32)
    return np.unique(((packed * np.uint64(0xD6E8FEB86659FD93)) >> np.uint64(32)).astype(np.uint32))


class Fingerprints:
    """Fingerprints of many pieces, by name; 12 bytes a window in memory, 4 on disk."""

    def __init__(self, pieces: Mapping[str, Fingerprint]) -> None:
        self.names = list(pieces)
        self.pieces = dict(pieces)
        self._sizes = np.array([[len(line) for line in each] for each in pieces.values()], np.int64).reshape(
            -1, 2
        )
        self._lines = []
        for number in range(len(LINES)):
            windows = np.concatenate([np.empty(0, np.uint32), *(each[number] for each in pieces.values())])
            owners = np.repeat(np.arange(len(self.names)), self._sizes[:, number])
            order = np.argsort(windows, kind="stable")
            self._lines.append((windows[order], owners[order]))

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.names)

    def matches(self, music: Fingerprint) -> list[Match]:
        """Return the pieces that some music holds, the surest first."""
        best: dict[int, Match] = {}
        for (windows, owners), sizes, line in zip(self._lines, self._sizes.T, music, strict=True):
            low, high = (np.searchsorted(windows, line, side) for side in ("left", "right"))
            counts = high - low
            at = np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
            shared = np.bincount(owners[at], minlength=len(self))
            share = shared / np.maximum(np.minimum(sizes, len(line)), 1)
            for piece in np.flatnonzero((shared >= SHARED) & (share >= SHARE)).tolist():
                match = Match(self.names[piece], int(shared[piece]), float(share[piece]))
                if piece not in best or match.share > best[piece].share:
                    best[piece] = match
        if len(music[0]) and not best:
            same = np.flatnonzero((self._sizes == [len(line) for line in music]).all(axis=1))
            for piece in same.tolist():
                if all(map(np.array_equal, self.pieces[self.names[piece]], music)):
                    best[piece] = Match(self.names[piece], len(music[0]), 1.0)
        return sorted(best.values(), key=lambda match: (-match.share, match.piece))

    def save(self, path: str | PathLike[str]) -> None:
        """Write a ``.npz``: names, sizes [shape=(n, 2)], and for each list the windows of all pieces."""
        arrays = {"names": np.array(self.names, str), "sizes": self._sizes}
        for number, name in enumerate(LINES):
            lines = (each[number] for each in self.pieces.values())
            arrays[name] = np.concatenate([np.empty(0, np.uint32), *lines])
        write_npz(path, arrays)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Fingerprints":
        """Read what `save` wrote; `DatasetError`: ``not-found``, ``bad-fingerprints``."""
        if not Path(path).is_file():
            raise DatasetError("not-found", "There are no such fingerprints", path=path)
        try:
            arrays = read_npz(path)
            names, sizes = arrays["names"].tolist(), arrays["sizes"].reshape(-1, 2)
            windows = [arrays[name].astype(np.uint32, casting="safe") for name in LINES]
            if (sizes < 0).any() or sizes.sum(axis=0).tolist() != [len(line) for line in windows]:
                raise ValueError("its sizes are not those of its windows")
            lines = [np.split(line, np.cumsum(sizes[:, number])[:-1]) for number, line in enumerate(windows)]
            return cls(dict(zip(names, zip(*lines, strict=True), strict=True)) if names else {})
        except (OSError, ValueError, KeyError, TypeError) as error:
            hint = "make them with `musicbert data fingerprints`"
            raise DatasetError(
                "bad-fingerprints", f"Not fingerprints of music: {error}", path=path, hint=hint
            ) from error
