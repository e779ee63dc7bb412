r"""Which pieces are versions of one song: MinHash of transposition-invariant melody fragments.

A piece becomes the sequence of its highest notes: percussion left out, notes that begin within `CLUSTER`
positions of each other taken as one chord (so that a played chord counts as one), the highest of each chord
kept. Fragments are `GRAM` successive intervals of it, in semitones: key, tempo, metre, instruments,
velocity and durations do not matter. The hashes of the fragments fall into `HASHES` bins and a signature is
the minimum of each; the share of equal minima of two signatures estimates the Jaccard index of their sets
of fragments:

    P(min h(A) = min h(B)) = |A and B| / |A or B|

(Broder, "On the resemblance and containment of documents", 1997; with one hash function for all bins, empty
ones filled from the next: Shrivastava and Li, "Densifying one permutation hashing via rotation", 2014).
Pieces are compared where `ROWS` successive minima are equal (locality-sensitive hashing, Leskovec,
Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4), each with the one before it and with the
first of its bucket, so the work grows with the number of pieces, not with that of pairs. Those at
`THRESHOLD` or above are one group, transitively.

Signatures: [shape=(HASHES,), uint32]; all ones where a piece has fewer than `FEWEST` fragments, and such a
piece has no version but its exact duplicates. See ``tests/unit/corpus/splits/test_near_duplicates.py``.
"""

from collections.abc import Sequence
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Ints

HASHES, ROWS = 64, 2
#: Positions (1/16 of a quarter note) within which onsets are one chord: 31 ms at 120 BPM, from one onset to
#: the next.
CLUSTER = 1
GRAM, FEWEST = 6, 8
THRESHOLD = 0.15
_DRUMS = 128
_BIN_BITS = 6
assert 1 << _BIN_BITS == HASHES
#: Values are below 2^31, so that they differ from the mark of an empty bin.
_BELOW_BINS = np.uint32(0x7FFFFFFF)
NO_SIGNATURE = np.full(HASHES, 0xFFFFFFFF, np.uint32)
#: Signatures in memory at once: 4 MiB.
_BLOCK = 1 << 12


def signature(onset: Ints, program: Ints, pitch: Ints) -> NDArray[np.uint32]:
    """Signature [shape=(HASHES,), uint32] of notes by ascending onset [shape=(n,), positions].

    Program 128 is percussion.
    """
    tuned = program != _DRUMS
    if not tuned.all():
        onset, pitch = onset[tuned], pitch[tuned]
    if len(onset) == 0:
        return NO_SIGNATURE
    starts = np.flatnonzero(np.diff(onset, prepend=onset[0] - CLUSTER - 1) > CLUSTER)
    intervals = np.diff(np.maximum.reduceat(pitch, starts)) + _DRUMS  # 1-255
    if len(intervals) < GRAM + FEWEST - 1:
        return NO_SIGNATURE
    n = len(intervals) - GRAM + 1
    fragments = np.zeros(n, np.uint64)
    for step in range(GRAM):
        fragments = (fragments << np.uint64(8)) | intervals[step : step + n].astype(np.uint64)
    fragments *= np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing; the upper bits are well mixed
    fragments ^= fragments >> np.uint64(32)
    fragments *= np.uint64(0xD6E8FEB86659FD93)
    minima = NO_SIGNATURE.copy()
    values = (fragments >> np.uint64(_BIN_BITS)).astype(np.uint32) & _BELOW_BINS
    np.minimum.at(minima, (fragments >> np.uint64(64 - _BIN_BITS)).astype(np.intp), values)
    return _filled(minima)


def _filled(minima: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Give empty bins the value of the next full one, marked by the distance."""
    full = np.flatnonzero(minima != NO_SIGNATURE)
    if len(full) == HASHES:
        return minima
    bins = np.arange(HASHES)
    donor = full[np.searchsorted(full, bins) % len(full)]
    distance = ((donor - bins) % HASHES).astype(np.uint32)
    return minima[donor] + distance * np.uint32(0x9E3779B1)


class StoredSignatures:
    """Signatures in a file (uint32 [shape=(n, HASHES)]); only those that are asked for come into memory."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = path

    def __getitem__(self, indices: Ints) -> NDArray[np.uint32]:
        """Return some signatures [shape=(len(indices), HASHES), uint32]; the file is mapped no longer."""
        mapped = np.memmap(self._path, np.uint32, "r").reshape(-1, HASHES)
        return np.array(mapped[indices])


class Groups:
    """Disjoint sets over 0..n-1 (union by smaller root, with path halving); 8 bytes a member."""

    def __init__(self, n: int) -> None:
        self._parent = np.arange(n, dtype=np.int64)

    def root(self, member: int) -> int:
        """Return the smallest member of the set."""
        parent = self._parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = int(parent[member])
        return member

    def join(self, one: int, other: int) -> None:
        """Make one set of two."""
        one, other = self.root(one), self.root(other)
        if one != other:
            self._parent[max(one, other)] = min(one, other)

    def roots(self) -> Ints:
        """Return the root of every member [shape=(n,), int64]."""
        roots = self._parent
        while not np.array_equal(roots, roots[roots]):
            roots = roots[roots]
        return roots


def join_similar(signatures: NDArray[np.uint32] | StoredSignatures, members: Ints, groups: Groups) -> None:
    """Join, in place, the pieces whose signatures agree in `THRESHOLD` of the places.

    ``signatures`` [shape=(n, HASHES), uint32] may lie on disk; ``members`` [shape=(m,)] are the pieces to
    compare, in an order that does not depend on that of the files.
    """
    ascending = np.sort(members)  # so that a block of a stored array is read in one piece
    back = np.searchsorted(ascending, members)
    for band in range(0, HASHES, ROWS):
        keys = np.zeros(len(members), np.uint64)
        for begin in range(0, len(members), _BLOCK):
            block = signatures[ascending[begin : begin + _BLOCK]].astype(np.uint64)
            for row in range(band, band + ROWS):
                keys[begin : begin + _BLOCK] = (keys[begin : begin + _BLOCK] << np.uint64(32)) | block[:, row]
        key = keys[back]
        order = np.argsort(key, kind="stable")
        key, sorted_members = key[order], members[order]
        same = key[1:] == key[:-1]
        heads = np.flatnonzero(np.concatenate([[True], ~same]))
        first = np.repeat(heads, np.diff(np.append(heads, len(key)))) if len(key) else heads
        at = np.flatnonzero(same) + 1
        for neighbour in (at - 1, first[at]):
            for begin in range(0, len(at), _BLOCK):
                ones = sorted_members[at[begin : begin + _BLOCK]]
                others = sorted_members[neighbour[begin : begin + _BLOCK]]
                equal = (signatures[ones] == signatures[others]).mean(axis=1)
                for index in np.flatnonzero(equal >= THRESHOLD):
                    groups.join(int(ones[index]), int(others[index]))


def joined(signatures: NDArray[np.uint32], members: Ints, *keys: Sequence[object]) -> Ints:
    """Root of each piece [shape=(n,)]: pieces with an equal key, or with similar signatures, are joined."""
    groups = Groups(len(signatures))
    for column in keys:
        first: dict[object, int] = {}
        for piece, key in enumerate(column):
            groups.join(first.setdefault(key, piece), piece)
    join_similar(signatures, members, groups)
    return groups.roots()
