"""Scores of predictions for whole pieces of a benchmark task: by segment as published, and by piece.

Notes are put in the order of compound words and cut into segments of the published length, so that every
predictor (a baseline, a network on any encoding) is scored alike.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from musicbert.corpus.labelled.contract import LabelledSet
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.readers.tasks import BenchmarkTask
from musicbert.encoding.beat_notes import BEATS_PER_BAR, BeatNotes
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.compound_word import bar_numbers
from musicbert.encoding.note_columns import note_columns
from musicbert.errors import MusicBertError
from musicbert.evaluation.metrics.benchmark import (
    SCORES,
    Segment,
    bar_accuracy,
    f1_score,
    grid_accuracy,
    piece_votes,
    segments,
)
from musicbert.evaluation.metrics.bootstrap import Interval, divide, interval, mean, resample, weighted_sums
from musicbert.evaluation.predictions import Predictions

#: Positions of a quarter note in compound words and in octuples.
_STEPS = (4, 16)
_VELOCITY = 64


def score_pieces(
    row: BenchmarkTask, pieces: Sequence[LabelledPiece], predicted: Sequence[Any]
) -> dict[str, float]:
    """Score the predicted classes of the notes of each piece [shape=(n_notes,)], or the class of each piece.

    Returns ``score``, the reported one; for notes also ``published`` where the published program counts in
    another way (in batches of the published size), for pieces ``pieces``; ``n``, the number of notes or
    segments.
    """
    task = row.task
    if task.level == "sequence":
        counts = [max(-(-len(piece.notes) // row.window), 1) for piece in pieces]
        truth = np.repeat([int(piece.labels[task.label]) for piece in pieces], counts)
        given = np.repeat([int(label) for label in predicted], counts)
        names = np.repeat([piece.name for piece in pieces], counts).tolist()
        votes = piece_votes(names, truth, given, classes=len(task.classes))
        return {"score": float((truth == given).mean()), "pieces": votes, "n": len(truth)}
    parts = [
        part
        for piece, classes in zip(pieces, predicted, strict=True)
        for part in _segments(row, piece, np.asarray(classes))
    ]
    scores = {"score": SCORES[row.score](parts), "n": sum(int((part.truth >= 0).sum()) for part in parts)}
    published: dict[str, Callable[[], float]] = {
        "f1": lambda: f1_score(parts, compatible=True),
        "grid_accuracy": lambda: grid_accuracy(parts, batch=row.batch),
        "bar_accuracy": lambda: bar_accuracy(parts),
    }
    return scores | ({"published": published[row.score]()} if row.score in published else {})


def _segments(row: BenchmarkTask, piece: LabelledPiece, predicted: np.ndarray[Any, Any]) -> list[Segment]:
    codec = get_codec("cp")
    try:
        rows, index = codec.encode(piece.notes)
    except MusicBertError:  # nothing that can be scored
        return []
    truth = np.asarray(piece.labels[row.task.label])[index]
    return segments(truth, predicted[index], bar_numbers(rows), rows[:, 1], length=row.window)


def pieces_of(shards: LabelledSet) -> list[LabelledPiece]:
    """Return the pieces of a set: note i of a piece is its row i, times are in beats (four a bar)."""
    step = 1 / _STEPS[shards.codec == "octuple"]
    pieces = []
    for number, info in enumerate(shards.pieces):
        columns = note_columns(shards.rows(number), shards.codec)
        onset = columns.bar * float(BEATS_PER_BAR) + columns.position * step
        notes = BeatNotes(
            onset=onset,
            offset=onset + np.maximum(columns.duration, 1) * step,
            pitch=columns.pitch % 128,
            velocity=np.full(len(onset), _VELOCITY, np.int64),
        )
        labels = {
            name: shards.note_labels(name, number) if column.level == "note" else shards.label(name)[number]
            for name, column in shards.labels.items()
        }
        pieces.append(LabelledPiece(info.name, notes, info.group, labels, info.splits, info.source))
    return pieces


def score_predictions(
    row: BenchmarkTask, predictions: Predictions, shards: LabelledSet, pieces: Mapping[str, LabelledPiece]
) -> dict[str, float]:
    """Score what a network predicted for a part (see `score_pieces`); ``pieces``: `pieces_of` by name."""
    if row.task.level == "sequence":
        parts = predictions.segments()
        right, votes = (level.predicted == level.target for level in (parts, predictions))
        return {"score": float(right.mean()), "pieces": float(votes.mean()), "n": len(right)}
    assert predictions.offsets is not None
    assert predictions.note_index is not None
    names, classes = predictions.ids.tolist(), []
    for name, start, stop in zip(names, predictions.offsets, predictions.offsets[1:], strict=False):
        index = predictions.note_index[start:stop].tolist()
        class_of = dict(zip(index, predictions.predicted[start:stop].tolist(), strict=True))
        notes = shards.note_index(shards.index[name]).tolist()
        classes.append(np.array([class_of.get(note, 0) for note in notes], np.int64))
    return score_pieces(row, [pieces[name] for name in names], classes)


def share_interval(
    rounds_of: Sequence[Sequence[LabelledPiece]], guesses: Sequence[Sequence[Any]], row: BenchmarkTask
) -> Interval:
    """Return the mean over rounds of the share of right segments, with its interval over groups of pieces.

    ``rounds_of``: the tested pieces of each round; ``guesses``: the class of each.
    """
    names = sorted({piece.group for pieces in rounds_of for piece in pieces})
    weights = resample(len(names))
    shares = []
    for pieces, given in zip(rounds_of, guesses, strict=True):
        counts = np.array([max(-(-len(piece.notes) // row.window), 1) for piece in pieces])
        right = np.array([int(p.labels[row.task.label]) == g for p, g in zip(pieces, given, strict=True)])
        group = np.searchsorted(names, [piece.group for piece in pieces])
        sums = weighted_sums(np.stack([counts * right, counts], axis=1), weights, group)
        shares.append(divide(sums[:, 0], sums[:, 1]))
    return interval(mean(np.array(shares), axis=0))


def rounds(
    row: BenchmarkTask, pieces: Sequence[LabelledPiece], split: str
) -> list[dict[str, list[LabelledPiece]]]:
    """Return the parts of each round of a split; of k folds, fold k is tested and fold k + 1 selects.

    Raises `ValueError` (no piece is in the split).
    """
    inside = [piece for piece in pieces if split in piece.splits]
    if not inside:
        raise ValueError(f"no piece of {row.abbreviation} is in the split {split!r}")
    places = [piece.splits[split] for piece in inside]
    numbered = all(place.isdigit() for place in places)
    count = max(int(place) for place in places) + 1 if numbered else 1
    result = []
    for fold in range(count):
        parts: dict[str, list[LabelledPiece]] = {"train": [], "valid": [], "test": []}
        roles = {str((fold + 1) % count): "valid", str(fold): "test"}
        for piece, place in zip(inside, places, strict=True):
            parts.get(roles.get(place, "train") if numbered else place, []).append(piece)
        result.append(parts)
    return result
