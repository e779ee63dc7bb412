"""Scores of the twelve tasks of M2BERT's benchmark, as published and as they should be.

Every score takes *segments*: sequences of notes with the true and the predicted class of each note, and where
it lies (bar and position). Class 0 is the padding class of the published labels. Shares are NaN where nothing
is scored. Three of the published scores have a fault, which ``compatible`` versions reproduce:

F1 of a class
    The published score counts only notes whose truth *and prediction* are class 1 or 2: a note predicted as
    class 0 (padding) vanishes instead of being a miss (`f1_score`).
Grid of sixteenths
    The published score fills one grid a batch, as long as the batch's longest segment, so the last label of a
    shorter segment is stretched and the score depends on what shares its batch (`grid_accuracy`).
Segments
    Sequence tasks are scored by segment, so long pieces count more often; `piece_votes` scores pieces.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from musicbert.arrays import Bools, Ints

#: Positions of a bar.
SIXTEENTHS = 16
OTHER, WANTED = 1, 2


@dataclass(frozen=True)
class Segment:
    """Labelled and predicted notes of one sequence, in order."""

    truth: Ints  # (n,); below 0 is missing and not scored
    predicted: Ints  # (n,)
    new_bar: Bools  # whether each note is the first of its bar (n,)
    position: Ints  # sixteenth in its bar (n,), 0-15


def segments(
    truth: ArrayLike, predicted: ArrayLike, bar: ArrayLike, position: ArrayLike, *, length: int = 1024
) -> list[Segment]:
    """Cut the notes of one piece, in the order of the encoding, into segments [all: shape=(n,)]."""
    true, guess, bars, place = (np.asarray(x, np.int64) for x in (truth, predicted, bar, position))
    new = np.diff(bars, prepend=bars[:1] - 1) != 0
    cuts = [slice(start, start + length) for start in range(0, len(bars), length)]
    return [Segment(true[at], guess[at], new[at], place[at]) for at in cuts]


def _share(cells: Iterable[tuple[Bools, Bools]]) -> float:
    """Share of scored cells that are right, from (right, scored) of every segment."""
    counts = np.array([((right & scored).sum(), scored.sum()) for right, scored in cells]).reshape(-1, 2)
    hits, total = counts.sum(axis=0)
    return float(hits / total) if total else float("nan")


def accuracy(parts: Iterable[Segment]) -> float:
    """Share of notes whose class is right, over all segments."""
    return _share((part.truth == part.predicted, part.truth >= 0) for part in parts)


def bar_accuracy(parts: Iterable[Segment]) -> float:
    """Share of bars whose class is right, by their first notes; bars of class 0 or none are not scored."""
    return _share((part.truth == part.predicted, part.new_bar & (part.truth > 0)) for part in parts)


def f1_score(parts: Iterable[Segment], *, wanted: int = WANTED, compatible: bool = False) -> float:
    """F1 of one class over the notes of all segments (0 where it neither occurs nor is predicted).

    ``compatible``: as published: leave out notes that are predicted as (or labelled with) another class than
    1 and 2.
    """
    hits = size = 0
    for part in parts:
        known = part.truth >= 0
        if compatible:
            known = np.isin(part.truth, (OTHER, WANTED)) & np.isin(part.predicted, (OTHER, WANTED))
        truth, predicted = (classes[known] == wanted for classes in (part.truth, part.predicted))
        hits += int((truth & predicted).sum())
        size += int(predicted.sum()) + int(truth.sum())
    return 2 * hits / size if size else 0.0


def grid_accuracy(parts: Sequence[Segment], *, batch: int | None = None) -> float:
    """Share of sixteenths whose class is right, where each note's class holds until the next.

    Where several notes begin together the last one counts, as published; a segment begins with a new bar.
    Each segment has its own grid, up to the end of the bar of its last note. With ``batch``, as published,
    segments of a batch share the length of the longest, to which the last class of the others is stretched.
    """

    def cells() -> Iterator[tuple[Bools, Bools]]:
        for start in range(0, len(parts), batch or 1):
            group = [part for part in parts[start : start + (batch or 1)] if len(part.truth)]
            places = [_places(part) for part in group]
            length = max((int(place[-1]) // SIXTEENTHS + 1 for place in places), default=0) * SIXTEENTHS
            for part, place in zip(group, places, strict=True):
                truth = _held(part.truth, place, length)
                yield truth == _held(part.predicted, place, length), truth > 0

    return _share(cells())


def _places(part: Segment) -> Ints:
    """Sixteenth of each note from the beginning of the segment [shape=(n,)]."""
    new = part.new_bar.copy()
    new[0] = True
    places: Ints = (np.cumsum(new) - 1) * SIXTEENTHS + part.position
    return places


def _held(classes: Ints, place: Ints, length: int) -> Ints:
    """Class that holds at each sixteenth [shape=(length,)]; 0 before the first note.

    Every note writes its class from its place to the end, one after the other, so a note that comes later in
    the sequence but earlier in the bar overwrites what was there.
    """
    # at each sixteenth, the last note (in order) among those placed at or before it
    last = np.full(length, -1, np.int64)
    np.maximum.at(last, place, np.arange(len(place)))
    last = np.maximum.accumulate(last)
    held: Ints = np.where(last >= 0, classes[np.maximum(last, 0)], 0)
    return held


def piece_votes(pieces: Sequence[Hashable], truth: ArrayLike, predicted: ArrayLike, *, classes: int) -> float:
    """Share of pieces of which most segments are given the right class; ties go to the smaller class.

    ``pieces``, ``truth``: piece of each segment, and the class of that piece [shape=(n,)]; ``predicted``:
    class [shape=(n,)], or logits or probabilities, which are added up [shape=(n, classes)].
    """
    names, first, number = np.unique(np.asarray(pieces, object), return_index=True, return_inverse=True)
    if not len(names):
        return float("nan")
    given = np.asarray(predicted)
    votes = np.zeros((len(names), classes))
    np.add.at(votes, number, np.eye(classes)[given.astype(np.int64)] if given.ndim == 1 else given)
    return float((votes.argmax(axis=1) == np.asarray(truth)[first]).mean())


#: Name of a score -> function of segments, without the published faults.
SCORES: dict[str, Callable[[Sequence[Segment]], float]] = {
    "accuracy": accuracy,
    "f1": f1_score,
    "grid_accuracy": grid_accuracy,
    "bar_accuracy": bar_accuracy,
}
