"""`Index`: the pieces, or the bars, that are most like some music.

Vectors are compared exactly, all of them, `BLOCK` at a time: a block stays in the processor's cache, and
memory does not grow with the index. Before, every number is standardised by its mean and deviation in the
index (from `STANDARD` vectors on; below, they say too little), states of networks are whitened (`Standard`),
and vectors are brought to length 1: likeness is the cosine, 1 for the same. Bars are compared with all
passages of equal length, which begin at each bar with notes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Bools, Ints, Singles
from musicbert.errors import DatasetError, MidiError
from musicbert.midi import read_bytes, read_score
from musicbert.midi.reader import name_of
from musicbert.reuse import differences, made_from
from musicbert.similarity.describe import PIECE, Bars, Describer, open_describer, transposed
from musicbert.similarity.store import parts_of, read_bars, read_manifest, read_pieces, settings_of

Of = Literal["pieces", "bars"]
#: vectors from which numbers are standardised, and how many of an index are looked at for it
STANDARD, SAMPLE = 32, 20_000
#: deviations beyond which a number counts as this far: one rare instrument is not to decide alone
FAR = 5.0
#: vectors that are compared at a time
BLOCK = 2048
#: bytes of parts that stay in memory between queries
_KEPT = 1 << 29
_TINY = 1e-6
#: share of the mean variance that is added to every variance before whitening
SHRINKAGE = 0.1
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

    def __init__(
        self, folder: Path, manifest: dict[str, Any], describer: Describer, whiten: bool | None = None
    ) -> None:
        self.folder, self.describer = folder, describer
        self.whiten = describer.spread if whiten is None else whiten
        #: paths of the pieces by the hash of their bytes
        self.files: dict[str, list[str]] = {}
        for name, digest in manifest["files"].items():
            self.files.setdefault(digest, []).append(name)
        self._parts = parts_of(folder, manifest["settings"])
        small = sum(path.stat().st_size for path in self._parts) <= _KEPT
        self._pieces, self._bars = map(cache, (read_pieces, read_bars)) if small else (read_pieces, read_bars)
        self._standards: dict[int | None, Standard] = {}

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
            ``bars``; those of one piece do not overlap. Silent bars at both ends of ``bars`` do not count.
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
        described = [self.describer.describe([transposed(score, key)])[0] for key in keys]
        first, stop = _heard(described[0], bars, name)
        spread = self.describer.spread
        queries = np.stack([each.passage(first, stop, spread=spread) for each in described])
        found = self._nearest(queries, None if of == "pieces" else stop - first, top, digest)
        return [replace(neighbour, semitones=keys[neighbour.semitones]) for neighbour in found]

    def _parts_of(self, length: int | None) -> Iterator[tuple[Iterator[Singles], list[str], Ints, Ints]]:
        """Of each part: its vectors in blocks, its pieces, and of each vector the piece and first bar."""
        found = 0
        for path in self._parts:
            hashes, table = self._pieces(path) if length is None else self._bars(path)
            here = np.array([digest in self.files for digest in hashes])
            found += int(here.sum())
            if isinstance(table, Bars):
                piece, first, wanted = _passages(table, here, length or 1)
                read = partial(table.passages, length or 1, spread=self.describer.spread)
            else:
                piece, first, wanted = np.flatnonzero(here), np.zeros(here.sum(), np.int64), here
                read = partial(_rows, table)
            vectors = _blocks(wanted, read)
            yield vectors, hashes, piece, first
        if missing := len(self.files) - found:
            raise DatasetError(
                "bad-index",
                f"The index is damaged: {missing} of its {len(self.files)} pieces are missing",
                path=self.folder,
                hint="run `musicbert index` again, which describes them anew",
            )

    def _nearest(self, queries: Singles, length: int | None, top: int, digest: str | None) -> list[Neighbour]:
        standard = self._standard(length)
        wanted = standard.unit(queries)
        # passages beside a better one are left out, so more are looked at
        most = top if length is None else top * 2 * length
        found: list[tuple[float, str, int, int]] = []  # likeness, piece, first bar, key
        floor = np.full(len(wanted), -np.inf, np.float32)  # of each key, what the last of `most` has
        for vectors, hashes, piece, first in self._parts_of(length):
            likeness = [wanted @ standard.unit(block).T for block in vectors]
            for key, values in enumerate(np.concatenate(likeness, axis=1) if likeness else ()):
                rows = np.flatnonzero(values > floor[key])
                if len(rows) > most:
                    rows = rows[np.argpartition(-values[rows], most - 1)[:most]]
                    floor[key] = values[rows].min()
                found += [
                    (float(values[row]), hashes[piece[row]], int(first[row]), key) for row in rows.tolist()
                ]
        found.sort(key=lambda each: (-each[0], self.files[each[1]][0], each[2], each[3]))
        answers: list[Neighbour] = []
        taken: dict[str, list[int]] = {}
        for similar, of, begin, key in found:
            others = taken.setdefault(of, [])
            if any(abs(begin - other) < (length or 1) for other in others):
                continue
            others.append(begin)
            bars = None if length is None else (begin + 1, begin + length)
            answers += [Neighbour(name, similar, bars, of == digest, key) for name in self.files[of]]
            if len(answers) >= top:
                break
        return answers[:top]

    def _standard(self, length: int | None) -> Standard:
        """What is usual among the vectors of the index."""
        if length not in self._standards:
            blocks: list[Singles] = []
            for vectors, *_ in self._parts_of(length):
                blocks += vectors
                if sum(map(len, blocks)) >= SAMPLE:
                    break
            self._standards[length] = Standard.of(np.concatenate(blocks), whiten=self.whiten)
        return self._standards[length]


@dataclass(frozen=True, eq=False)
class Standard:
    """What is usual among vectors, by which others become comparable.

    ``centre``, ``scale``: mean and deviation of their numbers [shape=(W,)]. For whitening, ``turn``: the
    directions in which they vary, divided by their deviations [shape=(W, d)]; ``middle``: their mean there.
    Without it, what most states of a network follow, such as how regular the timing is, decides alone.
    """

    centre: Singles
    scale: Singles
    turn: Singles | None = None
    middle: Singles | float = 0.0

    @classmethod
    def of(cls, sample: Singles, *, whiten: bool) -> Standard:
        """Learn it from vectors [shape=(n, W)]; of fewer than `STANDARD`, nothing is."""
        if len(sample) < STANDARD:
            return cls(np.zeros(sample.shape[1], np.float32), np.ones(sample.shape[1], np.float32))
        centre, scale = sample.mean(axis=0), sample.std(axis=0)
        plain = cls(centre, np.where(scale > _TINY, scale, 1))
        if not whiten:
            return plain
        table = plain.apart(sample.astype(np.float64))
        variance, directions = np.linalg.eigh(np.cov(table, rowvar=False, bias=True))
        there = variance > _TINY * variance.max()
        variance, directions = variance[there], directions[:, there]
        turn = (directions / np.sqrt(variance + SHRINKAGE * variance.mean())).astype(np.float32)
        return replace(plain, turn=turn, middle=table.mean(axis=0).astype(np.float32) @ turn)

    def apart(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Numbers in deviations from what is usual, at most `FAR`; ``vectors`` are overwritten."""
        vectors -= self.centre
        vectors /= self.scale
        return np.clip(vectors, -FAR, FAR, out=vectors)

    def unit(self, vectors: NDArray[Any]) -> NDArray[Any]:
        """Vectors of length 1, whose products are likenesses; ``vectors`` are overwritten."""
        vectors = self.apart(vectors)
        if self.turn is not None:
            vectors = vectors @ self.turn - self.middle
        length = np.sqrt(np.einsum("nw,nw->n", vectors, vectors))
        vectors /= np.maximum(length, _TINY)[:, None]
        return vectors


def _heard(described: Bars, bars: tuple[int, int] | None, name: str | None) -> tuple[int, int]:
    """First bar with notes among some of a piece, from 0, and the one after the last; `MidiError` if none."""
    first, stop = (0, PIECE) if bars is None else (bars[0] - 1, bars[1])
    there = described.key[(described.key >= first) & (described.key < stop)]
    if len(there):
        return int(there[0]), int(there[-1]) + 1
    last = described.key[-1] + 1
    raise MidiError(
        "no-bars",
        f"There are no notes in bars {first + 1} to {stop}; the last bar with notes is {last}",
        path=name,
        hint="bars count from 1",
    )


def _rows(table: NDArray[np.float16], begin: int, end: int) -> Singles:
    return table[begin:end].astype(np.float32)


def _blocks(wanted: Bools, read: Callable[[int, int], Singles]) -> Iterator[Singles]:
    """The wanted vectors, block by block; ``read`` gives those from one row to before another."""
    for begin in range(0, len(wanted), BLOCK):
        here = wanted[begin : begin + BLOCK]
        if here.any():
            vectors = read(begin, begin + len(here))
            yield vectors if here.all() else vectors[here]


def _passages(bars: Bars, here: Bools, length: int) -> tuple[Ints, Ints, Bools]:
    """Piece in the part and first bar of every passage of some pieces of a part, and which bars begin one.

    Passages begin at bars with notes and end with the piece at the latest; a shorter piece is one passage.
    """
    piece, bar = np.divmod(bars.key, PIECE)
    begins = np.flatnonzero(np.diff(piece, prepend=-1))
    last = bar[np.append(begins[1:], len(bar)) - 1][piece]
    wanted = here[piece] & (bar + length <= last + 1)
    wanted[begins] |= here
    return piece[wanted], bar[wanted], wanted


def open_index(
    folder: str | PathLike[str],
    *,
    model: str | PathLike[str] | None = None,
    device: str | None = None,
    whiten: bool | None = None,
) -> Index:
    """Open an index; ``model``: where its network is now, by default where it was.

    ``whiten``: whether directions in which the vectors of the index vary most count no more than others; by
    default those of networks (`Standard`).

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
            hint="give its model with --model, or make it again with `musicbert index --overwrite`",
        )
    return Index(path, manifest, describer, whiten)
