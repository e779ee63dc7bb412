"""What likeness is measured on: a vector for every note, averaged over bars and over passages of bars.

``features`` counts what is played (`tallies`); a network gives the states after one of its blocks, read in
all windows of the whole piece. A passage is described by the mean over its notes, of networks followed by the
standard deviation; a piece and any of its bars are therefore described alike, whatever their length. Bars
count from 0 here, as `musicbert.encode` counts them.

Transposition: music is described as played, so vectors hold the key. `transposed` moves a query.

Legend: ``n`` notes, ``b`` bars with notes, ``D`` numbers of a note, ``W`` those of a passage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Ints, Singles
from musicbert.encoding import encode_notes
from musicbert.encoding.policies import WHOLE
from musicbert.features.playing import CHORD_GAP
from musicbert.midi import Score

#: name of the description that needs no network
FEATURES = "features"
#: bars of a piece are fewer: a piece's bars become numbers of their own in a table of many pieces
PIECE = 1 << 32


@dataclass(frozen=True, eq=False)
class Bars:
    """Bars with notes, in ascending order.

    ``key``: number of the bar plus `PIECE` times the piece [shape=(b,), int64]; ``notes``: notes of each
    [shape=(b,), int32]; ``values``: of tallies their sums, whole numbers; of networks mean and standard
    deviation of the states [shape=(b, W)].
    """

    key: Ints
    notes: NDArray[np.int32]
    values: NDArray[Any]

    def passage(self, first: int, stop: int, *, spread: bool) -> Singles:
        """Describe the bars from the key ``first`` to before ``stop`` [shape=(W,), float32].

        ``spread``: whether ``values`` have standard deviations. A passage without notes has zeros.
        """
        at, until = np.searchsorted(self.key, [first, stop])
        total = max(int(self.notes[at:until].sum()), 1)
        sums = self._sums(at, until, spread).sum(axis=0, dtype=np.float64)
        return _deviating(sums[None] / total, spread)[0].astype(np.float32)

    def passages(self, length: int, begin: int, end: int, *, spread: bool) -> Singles:
        """Describe the passages of ``length`` bars that begin at the rows ``begin`` to before ``end``.

        [shape=(end - begin, W), float32]; bars after the end of a piece have no notes.
        """
        until, many = min(end + length - 1, len(self.key)), end - begin
        key, notes, sums = self.key[begin:until], self.notes[begin:until], self._sums(begin, until, spread)
        if not spread:  # the smallest numbers that hold a sum are the fastest
            sums = sums.astype(np.min_scalar_type(int(sums.max(initial=0)) * length))
        total, found = notes[:many].copy(), sums[:many].copy()
        for later in range(1, length):
            ahead = slice(later, later + many)
            here = slice(len(key[ahead]))
            far = np.flatnonzero(key[ahead] - key[here] >= length)
            if len(far) == len(key[ahead]):
                break
            for of, parts in ((total, notes[ahead]), (found, sums[ahead])):
                of[here] += parts
                of[far] -= parts[far]
        kind = np.float64 if spread else np.float32
        mean = found.astype(kind) / total[:, None].astype(kind)
        return _deviating(mean, spread).astype(np.float32, copy=False)

    def _sums(self, begin: int, end: int, spread: bool) -> NDArray[Any]:
        """Sums over the notes of some bars; of networks those of states and of their squares."""
        if not spread:
            return self.values[begin:end]
        values, half = self.values[begin:end].astype(np.float64), self.values.shape[1] // 2
        values[:, half:] = values[:, half:] ** 2 + values[:, :half] ** 2
        return values * self.notes[begin:end, None]

    def whole(self, *, spread: bool) -> Singles:
        """Describe the piece [shape=(W,), float32]."""
        return self.passage(int(self.key[0]), int(self.key[-1]) + 1, spread=spread)


def _deviating(moments: NDArray[Any], spread: bool) -> NDArray[Any]:
    """Deviations in place of means of squares."""
    if spread:
        mean, squares = np.hsplit(moments, 2)
        squares[:] = np.sqrt(np.maximum(squares - mean**2, 0.0))
    return moments


class Describer(Protocol):
    """What describes the notes of scores: `Network` or `Features`."""

    #: as the user names it
    name: str
    #: whether a passage has standard deviations
    spread: bool
    #: what has to be equal where vectors are compared, JSON-ready
    settings: dict[str, Any]

    def describe(self, scores: Sequence[Score]) -> list[Bars]:
        """Describe scores bar by bar; raises `MidiError` for one that cannot be encoded."""
        ...


def by_bar(bars: Ints, states: NDArray[Any], *, spread: bool) -> Bars:
    """Gather what notes are described by [shape=(n, D)] in their bars [shape=(n,); below 0: no bar].

    ``spread``: as mean and standard deviation; otherwise they are tallies, and summed.
    """
    order = np.argsort(bars, kind="stable")
    order = order[bars[order] >= 0]
    bars, states = bars[order], states[order]
    begins = np.flatnonzero(np.diff(bars, prepend=-1))
    notes = np.diff(np.append(begins, len(bars)))
    sums = np.add.reduceat(states, begins, dtype=np.float64 if spread else np.int64)
    if spread:
        mean = sums / notes[:, None]
        left = (states - np.repeat(mean, notes, axis=0)) ** 2
        sums = np.hstack([mean, np.sqrt(np.add.reduceat(left, begins) / notes[:, None])])
    values = sums.astype(np.float32 if spread else np.min_scalar_type(sums.max(initial=0)))
    return Bars(bars[begins], notes.astype(np.int32), values)


def bars_of(score: Score) -> Ints:
    """Bar of each note [shape=(n,), int64], from 0; -1 for notes that the encoding leaves out."""
    rows, index = encode_notes(score, policies=WHOLE)
    bars = np.full(len(score), -1, np.int64)
    bars[index] = rows[:, 0]
    return bars


class Network:
    """A MusicBERT, M2BERT or MidiBERT: the states after one block.

    ``name``: as `musicbert.from_pretrained` takes it; ``layer``: the block, 0 is the input of the first;
    None: the middle one. Raises `CheckpointError` as `from_pretrained` does, and `ValueError` for another
    layer.
    """

    spread = True

    def __init__(
        self, name: str | PathLike[str], *, layer: int | None = None, device: str | None = None
    ) -> None:
        from musicbert.predict import from_pretrained  # torch takes seconds, and `features` need none

        self.name = str(name)
        self._model = from_pretrained(name, device=device)
        depth = self._model.config.layers
        layer = (depth + 1) // 2 if layer is None else layer
        if not 0 <= layer <= depth:
            raise ValueError(f"--layer is 0 to {depth} for this model, not {layer}")
        digest = hashlib.sha256()
        for key, value in sorted(self._model.module.state_dict().items()):
            digest.update(key.encode() + value.cpu().numpy().tobytes())
        self.settings = {"weights": digest.hexdigest(), "layer": layer}

    def describe(self, scores: Sequence[Score]) -> list[Bars]:
        """See `Describer`."""
        pieces = [self._model.read(score) for score in scores]
        found = self._model.embed(pieces, level="note", layer=self.settings["layer"])
        return [
            by_bar(bars_of(score)[piece.note_index], states, spread=True)
            for score, piece, states in zip(scores, pieces, found, strict=True)
        ]


class Features:
    """Counts of what is played, without a network (`tallies`)."""

    name, spread = FEATURES, False
    settings: dict[str, Any] = {"weights": FEATURES, "layer": None}  # noqa: RUF012 - never changed

    def describe(self, scores: Sequence[Score]) -> list[Bars]:
        """See `Describer`."""
        return [by_bar(bars_of(score), tallies(score), spread=False) for score in scores]


def open_describer(
    model: str | PathLike[str], *, layer: int | None = None, device: str | None = None
) -> Describer:
    """Open a network by name, or `Features` for ``features``, which have no layers (`ValueError`)."""
    if str(model) != FEATURES:
        return Network(model, layer=layer, device=device)
    if layer is not None or device is not None:
        raise ValueError(f"--layer and --device are of networks: {FEATURES} have none")
    return Features()


def tallies(score: Score) -> NDArray[np.uint8]:
    """Describe each note by what is counted of it [shape=(n, 101), uint8], in the order of the score.

    Each group of columns has one 1. Of tuned notes: pitch class; pitch class above the lowest note of the
    chord; octave; step of the highest line to this note, from -12 to 12 semitones (only its notes); time
    since the chord before, in steps of a factor of 2 from 1/32 s. Of all notes: duration in the same steps;
    velocity in eighths; family of instruments, percussion the last. A chord ends where `CHORD_GAP` seconds
    pass.
    """
    onset, end = score.seconds(score.onset), score.seconds(score.offset)
    order = np.lexsort((score.pitch, onset))
    tuned = order[~score.drum[order]]
    of_pitch = np.zeros((len(score), 12 + 12 + 11 + 25 + 8), np.uint8)
    if len(tuned):
        pitch, time = score.pitch[tuned], onset[tuned]
        begins = np.flatnonzero(np.diff(time, prepend=-np.inf) > CHORD_GAP)
        chord = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(time))))
        bass, top = np.minimum.reduceat(pitch, begins), np.maximum.reduceat(pitch, begins)
        step = _choices(np.diff(top, prepend=top[:1]) + 12, 25)[chord]
        step[pitch != top[chord]] = 0
        wait = _octaves(np.diff(time[begins], prepend=time[0]))[chord]
        groups = [
            _choices(pitch % 12, 12),
            _choices((pitch - bass[chord]) % 12, 12),
            _choices(pitch // 12, 11),
            step,
            _choices(wait, 8),
        ]
        of_pitch[tuned] = np.hstack(groups)
    family = np.where(score.drum, 16, score.program // 8)
    lasting = _octaves(end - onset)
    return np.hstack(
        [of_pitch, _choices(lasting, 8), _choices(score.velocity // 16, 8), _choices(family, 17)]
    )


def _choices(values: Any, size: int) -> NDArray[np.uint8]:
    """One column a value, 1 where it is taken [shape=(n, size)]; a value outside counts as the nearest."""
    return np.eye(size, dtype=np.uint8)[np.clip(values, 0, size - 1)]


def _octaves(seconds: Any) -> Ints:
    """Steps of a factor of 2 from 1/32 s."""
    return np.floor(np.log2(np.maximum(seconds, 1e-9) * 32)).astype(np.int64)


def transposed(score: Score, semitones: int) -> Score:
    """Return a score in another key, percussion as it was; pitches beyond 0-127 move by an octave."""
    pitch = score.pitch + semitones * ~score.drum
    return replace(score, pitch=pitch + 12 * ((pitch < 0).astype(np.int64) - (pitch > 127)))
