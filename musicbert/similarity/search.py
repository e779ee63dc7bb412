"""`Index`: the pieces, or the bars, that are most like some music.

Vectors are compared as scikit-learn's `NearestNeighbors` does, exactly, block by block of the index, so that
memory does not grow with it. Before, every number is standardised by its mean and deviation in the index
(from `STANDARD` vectors on; below, they say too little), and vectors are brought to length 1: likeness is the
cosine, 1 for the same. Bars are compared with all passages of equal length, which begin at each bar with
notes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from musicbert.arrays import Bools, Ints, Singles
from musicbert.errors import DatasetError, MidiError
from musicbert.midi import Score, read_bytes, read_score
from musicbert.midi.reader import name_of
from musicbert.reuse import differences, made_from
from musicbert.similarity.describe import PIECE, Bars, Describer, open_describer, transposed
from musicbert.similarity.store import parts_of, read_bars, read_manifest, read_pieces, settings_of

Of = Literal["pieces", "bars"]
#: vectors from which numbers are standardised, and how many of an index are looked at for it
STANDARD, SAMPLE = 32, 20_000
#: deviations beyond which a number counts as this far: one rare instrument is not to decide alone
FAR = 5.0
#: bytes of parts that stay in memory between queries
_KEPT = 1 << 29
_TINY = 1e-6
#: keys, in semitones, that a query is tried in
KEYS = (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6)


@dataclass(frozen=True)
class Neighbour:
    """A piece of the index, or bars of one, and how much it is like the query.

    ``file``: path in the indexed folder; ``likeness``: cosine, -1 to 1; ``bars``: first and last, from 1;
    None for whole pieces; ``same_file``: whether it has the bytes of the query; ``semitones``: how far the
    query was moved to be most like it (0 unless all keys were tried).
    """

    file: str
    likeness: float
    bars: tuple[int, int] | None = None
    same_file: bool = False
    semitones: int = 0


class Index:
    """An index that `index_folder` wrote, open for queries; see `open_index`."""

    def __init__(self, folder: Path, manifest: dict[str, Any], describer: Describer) -> None:
        self.folder, self.describer = folder, describer
        #: paths of the pieces by the hash of their bytes
        self.files: dict[str, list[str]] = {}
        for name, digest in manifest["files"].items():
            self.files.setdefault(digest, []).append(name)
        self._parts = parts_of(folder, manifest["settings"])
        small = sum(path.stat().st_size for path in self._parts) <= _KEPT
        self._pieces, self._bars = map(cache, (read_pieces, read_bars)) if small else (read_pieces, read_bars)
        self._standards: dict[int | None, tuple[Singles, Singles]] = {}

    def __len__(self) -> int:
        """Return the number of files."""
        return sum(map(len, self.files.values()))

    def __repr__(self) -> str:
        return f"Index({len(self)} files, {self.describer.name})"

    def query(
        self,
        source: Any,
        *,
        bars: tuple[int, int] | None = None,
        top: int = 10,
        of: Of | None = None,
        any_key: bool = False,
    ) -> list[Neighbour]:
        """Return what is most like some music, the most alike first.

        Parameters
        ----------
        source
            A path, bytes, an open file or a `Score`.
        bars
            Only the bars from the first to the last of these, from 1 as in a score; None: the whole piece.
        top
            How many are wanted.
        of
            ``pieces``: whole ones, by default where no bars are given; ``bars``: passages as long as
            ``bars``; those of one piece do not overlap.
        any_key
            Try the query in all twelve keys, and take for each answer the one that is most like it.

        Raises
        ------
        MidiError
            Those of `read_score` and `encode`; ``no-bars``: the piece has no notes in these bars.
        ValueError
            Other values; passages are wanted, and no bars given.
        """
        of = of or ("pieces" if bars is None else "bars")
        if of not in get_args(Of) or top < 1:
            raise ValueError(f"of is one of {get_args(Of)}, and top at least 1")
        if of == "bars" and bars is None:
            raise ValueError("passages of which length? give the bars of the query, such as 5-8")
        if bars is not None and not 1 <= bars[0] <= bars[1]:
            raise ValueError(f"bars are two ascending numbers from 1, not {bars}")
        data, name = read_bytes(source), name_of(source)
        digest = None if data is None else hashlib.sha256(data).hexdigest()
        score = read_score(source if data is None else data, name=name)
        keys = KEYS if any_key else KEYS[:1]
        queries = np.stack([self._vector(transposed(score, key), bars, name) for key in keys])
        length = None if of == "pieces" or bars is None else bars[1] - bars[0] + 1
        found = self._nearest(queries, length, top, digest)
        return [replace(neighbour, semitones=keys[neighbour.semitones]) for neighbour in found]

    def _vector(self, score: Score, bars: tuple[int, int] | None, name: str | None) -> Singles:
        described, spread = self.describer.describe([score])[0], self.describer.spread
        if bars is None:
            return described.whole(spread=spread)
        first, stop = np.array([bars[0] - 1]), np.array([bars[1]])
        if np.searchsorted(described.key, first) == np.searchsorted(described.key, stop):
            last = int(described.key[-1]) + 1
            raise MidiError(
                "no-bars",
                f"There are no notes in bars {bars[0]} to {bars[1]}; the last bar with notes is {last}",
                path=name,
                hint="bars count from 1",
            )
        return described.passages(first, stop, spread=spread)[0]

    def _blocks(self, length: int | None) -> Iterator[tuple[Singles, list[str], Ints, Ints]]:
        """A block for each part: vectors, pieces of the part, and of each vector its piece and first bar."""
        found = 0
        for path in self._parts:
            hashes, table = self._pieces(path) if length is None else self._bars(path)
            here = np.array([digest in self.files for digest in hashes])
            found += int(here.sum())
            if length is None:
                piece = np.flatnonzero(here)
                yield table[piece].astype(np.float32), hashes, piece, np.zeros(len(piece), np.int64)
            else:
                piece, first, vectors = _passages(table, here, length, self.describer.spread)
                yield vectors, hashes, piece, first
        if missing := len(self.files) - found:
            raise DatasetError(
                "bad-index",
                f"The index is damaged: {missing} of its {len(self.files)} pieces are missing",
                path=self.folder,
                hint="run `musicbert index` again, which describes them anew",
            )

    def _nearest(self, queries: Singles, length: int | None, top: int, digest: str | None) -> list[Neighbour]:
        from sklearn.neighbors import NearestNeighbors

        centre, scale = self._standard(length)
        wanted = unit((queries - centre) / scale)
        # passages beside a better one are left out, so more are looked at
        most = top if length is None else top * 2 * length
        found: list[tuple[float, str, int, int]] = []  # likeness, piece, first bar, key
        for vectors, hashes, piece, first in self._blocks(length):
            if not len(vectors):
                continue
            nearest = NearestNeighbors(n_neighbors=min(most, len(vectors)), algorithm="brute")
            nearest.fit(unit((vectors - centre) / scale))
            for key, (distances, rows) in enumerate(zip(*nearest.kneighbors(wanted), strict=True)):
                for distance, row in zip(distances.tolist(), rows.tolist(), strict=True):
                    found.append((1 - distance**2 / 2, hashes[piece[row]], int(first[row]), key))
        found.sort(key=lambda each: (-each[0], self.files[each[1]][0], each[2], each[3]))
        answers: list[Neighbour] = []
        taken: dict[str, list[int]] = {}
        for likeness, of, begin, key in found:
            others = taken.setdefault(of, [])
            if any(abs(begin - other) < (length or 1) for other in others):
                continue
            others.append(begin)
            bars = None if length is None else (begin + 1, begin + length)
            answers += [Neighbour(name, likeness, bars, of == digest, key) for name in self.files[of]]
            if len(answers) >= top:
                break
        return answers[:top]

    def _standard(self, length: int | None) -> tuple[Singles, Singles]:
        """Mean and deviation of the numbers of vectors in the index [shape=(W,) each]."""
        if length not in self._standards:
            self._standards[length] = self._make_standard(length)
        return self._standards[length]

    def _make_standard(self, length: int | None) -> tuple[Singles, Singles]:
        blocks: list[Singles] = []
        for vectors, *_ in self._blocks(length):
            blocks.append(vectors)
            if sum(map(len, blocks)) >= SAMPLE:
                break
        sample = np.concatenate(blocks)
        if len(sample) < STANDARD:
            return np.zeros(sample.shape[1], np.float32), np.ones(sample.shape[1], np.float32)
        centre, scale = sample.mean(axis=0), sample.std(axis=0)
        return centre, np.where(scale > _TINY, scale, 1)


def unit(vectors: Singles) -> Singles:
    """Vectors without outliers (`FAR` deviations), of length 1."""
    vectors = np.clip(vectors, -FAR, FAR)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY))


def _passages(bars: Bars, here: Bools, length: int, spread: bool) -> tuple[Ints, Ints, Singles]:
    """Piece in the part, first bar and vector of every passage of some pieces of a part.

    Passages begin at bars with notes and end with the piece at the latest; a shorter piece is one passage.
    """
    piece, bar = np.divmod(bars.key, PIECE)
    begins = np.flatnonzero(np.diff(piece, prepend=-1))
    last = bar[np.append(begins[1:], len(bar)) - 1][piece]
    wanted = here[piece] & (bar + length <= last + 1)
    wanted[begins] |= here
    key = bars.key[wanted]
    return piece[wanted], bar[wanted], bars.passages(key, key + length, spread=spread)


def open_index(
    folder: str | PathLike[str], *, model: str | PathLike[str] | None = None, device: str | None = None
) -> Index:
    """Open an index; ``model``: where its network is now, by default where it was.

    Raises `DatasetError`: ``not-found``, ``bad-index``, ``other-settings`` (made with another version of this
    package, or ``model`` is another one); `CheckpointError` as `musicbert.from_pretrained`.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    layer = manifest["settings"].get("layer")
    describer = open_describer(manifest["model"] if model is None else model, layer=layer, device=device)
    changed = differences({**manifest, "files": {}}, made_from(settings_of(describer), {}))
    if changed:
        raise DatasetError(
            "other-settings",
            f"The index was made with something else: {'; '.join(changed)}",
            path=path,
            hint="give its model with --model, or make the index again with --overwrite",
        )
    return Index(path, manifest, describer)
