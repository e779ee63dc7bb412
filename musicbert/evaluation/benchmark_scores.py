"""Scores of predictions for whole pieces of a benchmark task: by segment as published, and by piece.

Notes are put in the order of compound words and cut into segments of the published length, so that every
predictor (a baseline, a network on any encoding) is scored alike. Verified in
``tests/unit/evaluation/test_task_baselines.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.labelled.shards import Shards
from musicbert.corpus.readers.tasks import BenchmarkTask
from musicbert.encoding.beat_notes import BEATS_PER_BAR, BeatNotes
from musicbert.encoding.codec import get_codec
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
from musicbert.evaluation.predictions import Predictions

__all__ = ["pieces_of", "predict_all", "rounds", "score_pieces", "score_predictions"]

#: Positions of a quarter note in compound words and in octuples.
_STEPS = (4, 16)
_VELOCITY = 64


def score_pieces(
    row: BenchmarkTask, pieces: Sequence[LabelledPiece], predicted: Sequence[Any]
) -> dict[str, float]:
    """Score predictions.

    Parameters
    ----------
    row
        The task.
    pieces
        What was predicted.
    predicted
        Classes of the notes of each piece [shape=(n_notes,)], or the class of each piece.

    Returns
    -------
    dict
        ``score`` is the reported one; for notes also ``published`` where the published program counts in
        another way (in batches of the published size), for pieces ``pieces``; ``n`` the number of notes or
        segments.
    """
    task = row.task
    if task.level == "sequence":
        truth, given, names = [], [], []
        for piece, each in zip(pieces, predicted, strict=True):
            count = max(-(-len(piece.notes) // row.window), 1)
            truth += [int(piece.labels[task.label])] * count
            given += [int(each)] * count
            names += [piece.name] * count
        right = np.array(truth) == np.array(given)
        votes = piece_votes(names, truth, given, classes=len(task.classes))
        return {"score": float(right.mean()), "pieces": votes, "n": len(truth)}
    parts: list[Segment] = []
    for piece, each in zip(pieces, predicted, strict=True):
        parts += _segments(row, piece, np.asarray(each))
    found = {"score": SCORES[row.score](parts), "n": sum(int((part.truth >= 0).sum()) for part in parts)}
    if row.score == "f1":
        found["published"] = f1_score(parts, compatible=True)
    elif row.score == "grid_accuracy":
        found["published"] = grid_accuracy(parts, batch=row.batch)
    elif row.score == "bar_accuracy":
        found["published"] = bar_accuracy(parts)
    return found


def _segments(row: BenchmarkTask, piece: LabelledPiece, predicted: np.ndarray[Any, Any]) -> list[Segment]:
    codec = get_codec("cp")
    try:
        rows, index = codec.encode(piece.notes)
    except MusicBertError:  # nothing that can be scored
        return []
    truth = np.asarray(piece.labels[row.task.label])[index]
    bar = bar_numbers(rows)
    return segments(truth, predicted[index], bar, rows[:, 1], length=row.window)


def pieces_of(shards: Shards) -> list[LabelledPiece]:
    """Return the pieces of shards with the notes of their rows: note i of a piece is its row i.

    Times are those of the encoding, in beats of which a bar has four.
    """
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
    row: BenchmarkTask, found: Predictions, shards: Shards, pieces: Mapping[str, LabelledPiece]
) -> dict[str, float]:
    """Score what a fine-tuned network said about a part (see `score_pieces`).

    Parameters
    ----------
    row
        The task.
    found
        Predictions.
    shards
        Data set that they were made on.
    pieces
        Its `pieces_of`, by name.
    """
    if row.task.level == "sequence":
        segments_, votes = found.segments(), found.predicted == found.target
        right = segments_.predicted == segments_.target
        return {"score": float(right.mean()), "pieces": float(votes.mean()), "n": len(right)}
    assert found.offsets is not None
    assert found.note_index is not None
    own, predicted = [], []
    for number, name in enumerate(found.ids.tolist()):
        at = slice(int(found.offsets[number]), int(found.offsets[number + 1]))
        index = shards.note_index(shards.index[name])
        class_of = dict(zip(found.note_index[at].tolist(), found.predicted[at].tolist(), strict=True))
        own.append(pieces[name])
        predicted.append(np.array([class_of.get(note, 0) for note in index.tolist()], np.int64))
    return score_pieces(row, own, predicted)


def rounds(
    row: BenchmarkTask, pieces: Sequence[LabelledPiece], split: str
) -> list[dict[str, list[LabelledPiece]]]:
    """Return train, valid and test of each round of a split: one, or as many as there are folds.

    Fold k is tested, fold k + 1 selects, the others are trained on.

    Raises
    ------
    ValueError
        No piece is in the split.
    """
    inside = [piece for piece in pieces if split in piece.splits]
    if not inside:
        raise ValueError(f"no piece of {row.abbreviation} is in the split {split!r}")
    names = {piece.splits[split] for piece in inside}
    if not all(name.isdigit() for name in names):
        parts = {
            part: [piece for piece in inside if piece.splits[split] == part]
            for part in ("train", "valid", "test")
        }
        return [parts]
    folds = max(int(name) for name in names) + 1

    def part(number: int, fold: int) -> str:
        return "test" if number == fold else "valid" if number == (fold + 1) % folds else "train"

    found = []
    for fold in range(folds):
        parts = {"train": [], "valid": [], "test": []}
        for piece in inside:
            parts[part(int(piece.splits[split]), fold)].append(piece)
        found.append(parts)
    return found


def predict_all(
    fit: Callable[..., Any], row: BenchmarkTask, parts: dict[str, list[LabelledPiece]]
) -> dict[str, float]:
    """Fit a baseline on train and score it on test."""
    predict = fit(parts["train"], row.task)
    return score_pieces(row, parts["test"], [predict(piece) for piece in parts["test"]])
