"""Chord roots and local keys as segments: probabilities of notes smoothed by a hidden Markov model.

The states are the classes of a label, an observation is a sixteenth at which notes begin: the mean of the
logarithms of their probabilities, times `Smoothing.weight`, since notes next to each other say much the same.
From one sixteenth to the next a class stays with the probability ``stay``; otherwise the next one is drawn
as often as it followed in the training data. The segments are the most probable path (Viterbi).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from musicbert.arrays import Floats, Ints

_FLOOR = 1e-6


@dataclass(frozen=True, eq=False)
class Smoothing:
    """Transitions of a label.

    ``stay``: probability that a class holds from one sixteenth to the next, in 0-1; ``moves``: how often each
    class follows another [shape=(C, C), rows add up to 1, zero diagonal]; ``weight`` of an observation.
    """

    stay: float
    moves: Floats
    weight: float = 1.0

    @classmethod
    def learned(
        cls, pieces: Sequence[tuple[Ints, Ints]], classes: int, *, weight: float = 1.0
    ) -> "Smoothing":
        """From pieces: the class at each sixteenth where notes begin, and the number of that sixteenth."""
        counts, changes, steps = np.full((classes, classes), 0.1), 0, 0
        for labels, slots in pieces:
            change = np.flatnonzero(np.diff(labels))
            np.add.at(counts, (labels[change], labels[change + 1]), 1)
            changes += len(change)
            steps += int(slots[-1] - slots[0]) if len(slots) else 0
        np.fill_diagonal(counts, 0)
        return cls(1 - changes / max(steps, 1), counts / counts.sum(1, keepdims=True), weight)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Smoothing":
        """Read what `as_dict` wrote; raises `KeyError`, `TypeError` or `ValueError`."""
        moves = np.asarray(values["moves"], np.float64)
        if moves.ndim != 2 or moves.shape[0] != moves.shape[1] or not 0 < values["stay"] < 1:
            raise ValueError("transitions are not a square table with a probability to stay")
        return cls(float(values["stay"]), moves, float(values["weight"]))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        moves = [[float(f"{value:.3g}") for value in row] for row in self.moves.tolist()]
        return {"stay": round(self.stay, 6), "weight": self.weight, "moves": moves}

    def path(self, probability: Floats, slots: Ints) -> Ints:
        """Most probable classes [shape=(k,)] of observations [shape=(k, C)] at sixteenths, ascending."""
        seen = self.weight * np.log(np.maximum(probability, _FLOOR))
        moves = np.log(np.maximum(self.moves, _FLOOR))
        best, back = seen[0], np.zeros(seen.shape, np.int64)
        own = np.arange(seen.shape[1])
        for k in range(1, len(seen)):
            stay = self.stay ** max(int(slots[k] - slots[k - 1]), 1)
            through = best[:, None] + moves + np.log1p(-stay)
            through[own, own] = best + np.log(stay)
            back[k] = through.argmax(0)
            best = through[back[k], own] + seen[k]
        path = np.zeros(len(seen), np.int64)
        path[-1] = int(best.argmax())
        for k in range(len(seen) - 1, 0, -1):
            path[k - 1] = back[k, path[k]]
        return path


def at_sixteenths(probability: Floats, slots: Ints) -> tuple[Floats, Ints]:
    """Observations: geometric means of the probabilities [shape=(n, C)] of the notes of each sixteenth.

    ``slots``: sixteenth of each note [shape=(n,)], in any order. Returns observations [shape=(k, C)] and
    their sixteenths [shape=(k,)].
    """
    found, number, counts = np.unique(slots, return_inverse=True, return_counts=True)
    total = np.zeros((len(found), probability.shape[1]))
    np.add.at(total, number, np.log(np.maximum(probability, _FLOOR)))
    mean = np.exp(total / counts[:, None])
    return mean / mean.sum(1, keepdims=True), found


#: semitones of the letters above C, and of a sharp and a flat
_LETTERS, _SIGNS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}, {"#": 1, "-": -1}


def sounding(classes: Sequence[str]) -> Ints:
    """Number of what each class sounds like: equal for F# and G-, for major (C) and minor keys (c) apart.

    >>> sounding(["F#", "G-", "g-", "none"]).tolist()
    [6, 6, 18, 24]
    """

    def number(spelled: str) -> int:
        if spelled[:1].upper() not in _LETTERS or spelled == "none":
            return 24
        pitch = _LETTERS[spelled[0].upper()] + sum(_SIGNS[sign] for sign in spelled[1:])
        return pitch % 12 + 12 * spelled[0].islower()

    return np.array([number(each) for each in classes])


def respelled(path: Ints, slots: Ints, classes: Sequence[str]) -> Ints:
    """Spell alike what sounds alike: of F# and G- the one that lasts longer in the piece.

    ``path``, ``slots``: class and sixteenth of observations [shape=(k,)].
    """
    lasts = np.bincount(path, np.diff(slots, append=slots[-1:] + 1), len(classes))
    groups = sounding(classes)
    chosen = np.array([max(np.flatnonzero(groups == group), key=lambda k: lasts[k]) for group in groups])
    return np.asarray(chosen[path])


def root_name(spelled: str) -> str:
    """Name of a chord root as musicians write it.

    >>> root_name("B-"), root_name("F##")
    ('Bb', 'F##')
    """
    return spelled.replace("-", "b")


def key_name(spelled: str) -> str:
    """Name of a key; capitals are major.

    >>> key_name("E-"), key_name("f#")
    ('Eb major', 'F# minor')
    """
    mode = "minor" if spelled[:1].islower() else "major"
    return f"{spelled[:1].upper()}{root_name(spelled[1:])} {mode}"
