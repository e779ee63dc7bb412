"""A labelled piece as bytes of the files of a shard: its rows, labels and inputs."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.labelled.contract import LabelColumn, PieceInfo
from musicbert.corpus.labelled.pieces import NO_CLASS, LabelledPiece, Task
from musicbert.corpus.labelled.shards import (
    FEATURES,
    FLOAT_TYPE,
    INDEX_TYPE,
    NOTE_INDEX,
    PERFORMANCE,
    ROW_TYPE,
    ROWS,
)
from musicbert.encoding.beat_notes import BeatNotes, beat_notes_to_score
from musicbert.encoding.codec import Codec
from musicbert.encoding.performance import performance_inputs
from musicbert.errors import DatasetError, MidiError
from musicbert.features import FEATURES as FEATURE_NAMES
from musicbert.features import features


def columns_of(tasks: Iterable[Task]) -> list[LabelColumn]:
    """Labels that tasks need, each once; `ValueError` where two tasks read one label in different ways."""
    columns: dict[str, LabelColumn] = {}
    for task in tasks:
        column = LabelColumn(task.label, task.level, task.kind, task.classes)
        if columns.setdefault(task.label, column) != column:
            raise ValueError(f"two tasks read the label {task.label!r} in different ways")
    return list(columns.values())


def piece_bytes(
    piece: LabelledPiece,
    codec: Codec,
    columns: Sequence[LabelColumn],
    *,
    performance: bool = False,
    with_features: bool = False,
) -> tuple[dict[str, bytes], PieceInfo]:
    """Encode a piece: the bytes that each file gets (undefined features are NaN), and its manifest entry.

    Raises `MidiError` (``no-notes``, ``bad-value``, and those of the codec) and those of `label_array`.
    """
    rows, index = codec.encode(piece.notes)
    if len(rows) == 0:
        raise MidiError("no-notes", "the encoding keeps none of its notes")
    if rows.min() < 0 or rows.max() > np.iinfo(ROW_TYPE).max:
        raise MidiError("bad-value", f"a value of its rows is outside 0-{np.iinfo(ROW_TYPE).max}")
    content = {ROWS: rows.astype(ROW_TYPE).tobytes(), NOTE_INDEX: index.astype(INDEX_TYPE).tobytes()}
    for k, column in enumerate(columns):
        values = label_array(column, piece)
        content[f"label{k}.bin"] = (values[index] if column.level == "note" else values).tobytes()
    score = None
    if performance or with_features:
        notes = piece.notes
        score = beat_notes_to_score(notes) if isinstance(notes, BeatNotes) else notes
    if score is not None and performance:
        content[PERFORMANCE] = performance_inputs(score, index).astype(FLOAT_TYPE).tobytes()
    if score is not None and with_features:
        try:
            values = features(score)
        except MidiError:
            values = np.full(len(FEATURE_NAMES), np.nan)
        content[FEATURES] = values.astype(FLOAT_TYPE).tobytes()
    digest = hashlib.sha256(content[ROWS]).hexdigest()
    info = PieceInfo(
        piece.name, piece.group, dict(piece.splits), piece.source, len(piece.notes), len(rows), digest
    )
    return content, info


def label_array(column: LabelColumn, piece: LabelledPiece) -> NDArray[Any]:
    """Labels of a piece as they are stored (see `LabelColumn`), in the order of its notes.

    Raises `DatasetError`: ``wrong-length`` where there is not one label a note (a number an output),
    ``bad-label`` for a class that does not exist, or what is not a number.
    """
    shape = ((len(piece.notes),) if column.level == "note" else ()) + column.width
    if column.name not in piece.labels:
        return np.full(shape, NO_CLASS if column.kind == "classes" else np.nan, column.dtype)
    try:
        values = np.asarray(piece.labels[column.name], np.int64 if column.kind == "classes" else np.float64)
    except (TypeError, ValueError) as error:
        message = f"{column.name!r} holds a value that is not a number: {error}"
        raise DatasetError("bad-label", message) from error
    if column.width == (1,) and values.ndim == len(shape) - 1:
        values = values[..., None]
    if values.shape != shape:
        message = f"labels {column.name!r} have shape {values.shape}, the piece asks for {shape}"
        raise DatasetError("wrong-length", message)
    if column.kind == "classes":
        good = (values >= NO_CLASS) & (values < len(column.classes))
    elif column.kind == "multilabel":
        good = np.isnan(values) | (values == 0) | (values == 1)
    else:
        good = ~np.isinf(values)
    if not np.all(good):
        raise DatasetError("bad-label", f"{column.name!r} holds a value that is not one of its classes")
    return values.astype(column.dtype)
