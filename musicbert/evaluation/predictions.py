"""`Predictions`: labels and predictions of the notes or pieces of one part of a split, and their file.

Every network with labels and every baseline writes this, and every score is computed from it.

On disk (``test.npz``): one compressed archive, never pickled, with one or several labels. Arrays are named
``<label>/<array>``; ``<label>/meta`` is a JSON text of the attributes that are no arrays. Ratings have the
labels ``ratings`` (regression, 0-1) and ``performer`` (classes). Beside a report, ``predictions.npz`` has the
same layout, with the fold and seed in place of the label (`kept`). `load_predictions` also reads the two
former layouts: arrays of one label without a prefix, and ``ids, labels, class_of, regression, class_logits``.

Legend: ``n`` pieces, ``N`` notes of all pieces, ``S`` segments (windows), ``C`` outputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax

from musicbert.arrays import Bools, Floats, Ints
from musicbert.atomic import parse_json
from musicbert.corpus.files.folders import read_npz, write_npz
from musicbert.corpus.labelled.pieces import NO_CLASS, Kind, Level
from musicbert.errors import DatasetError

#: labels of ratings in a file
RATINGS, PERFORMER, MEANS = "ratings", "performer", "means"
_ATTRIBUTES = ("label", "level", "kind", "classes", "ignore")
_ARRAYS = (
    "ids", "groups", "target", "outputs", "offsets", "note_index", "segment_piece", "segment_start",
    "segment_outputs", "embedding",
)  # fmt: skip
#: smallest probability of an averaged prediction
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Predictions:
    """One label of some pieces and what was predicted.

    Raises `ValueError` (where the shapes do not fit together).
    """

    label: str
    level: Level  # of the label; kind and classes: see `musicbert.corpus.labelled.pieces.Task`
    kind: Kind
    classes: tuple[str, ...]
    ids: NDArray[np.str_]  # names of the pieces (n,)
    groups: NDArray[np.str_]  # (n,)
    target: NDArray[Any]  # classes (N or n,), notes without one -1; other kinds (N or n, C), missing NaN
    outputs: NDArray[Any]  # logits of classes or labels, values of a regression (N or n, C); mean of segments
    ignore: tuple[int, ...] = ()  # classes that are not scored
    offsets: Ints | None = None  # notes of piece i are offsets[i] to offsets[i + 1] - 1 (n + 1,); of notes
    note_index: Ints | None = None  # note of its piece that each label belongs to (N,); of notes
    segment_piece: Ints | None = None  # piece of each segment (S,); of pieces, as the next two
    segment_start: Ints | None = None  # its first row (S,)
    segment_outputs: NDArray[Any] | None = None  # (S, C)
    embedding: NDArray[Any] | None = None  # pooled representation of each piece (n, D)

    def __post_init__(self) -> None:
        notes = self.level == "note"
        if notes != (self.offsets is not None):
            raise ValueError("offsets belong to labels of notes, and to these only")
        rows = len(self.ids) if self.offsets is None else int(self.offsets[-1])
        count = len(self.classes)
        shape = (rows,) if self.kind == "classes" else (rows, count)
        if len(self.groups) != len(self.ids) or (notes and len(self.offsets) != len(self.ids) + 1):  # type: ignore[arg-type]
            raise ValueError("pieces, groups and offsets differ in length")
        if self.target.shape != shape or self.outputs.shape != (rows, count):
            raise ValueError(
                f"{rows} items with {count} outputs, but targets {self.target.shape} and outputs "
                f"{self.outputs.shape}"
            )
        if self.embedding is not None and len(self.embedding) != len(self.ids):
            raise ValueError(f"{len(self.ids)} pieces, but {len(self.embedding)} embeddings")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def piece_of(self) -> Ints:
        """Number of the piece of each labelled item [shape=(N or n,)]."""
        if self.offsets is None:
            return np.arange(len(self))
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def scored(self) -> Bools:
        """Items that have a label which is not ignored [shape=(N or n,)]."""
        return scored_items(self.target, self.kind, self.ignore)

    @property
    def predicted(self) -> Ints:
        """Class of each item [shape=(N or n,)]; of several labels [shape=(..., C)], 1 where above a half."""
        if self.kind == "classes":
            return self.outputs.argmax(axis=1)
        return (self.outputs > 0).astype(np.int64)

    def segments(self) -> Predictions:
        """Segments in place of pieces, each with the label and group of its piece and its own name."""
        if self.segment_piece is None or self.segment_outputs is None:
            raise ValueError("these predictions have no segments")
        which = self.segment_piece
        return replace(
            self,
            ids=np.array([f"{name}#{k}" for k, name in enumerate(self.ids[which])], np.str_),
            groups=self.groups[which],
            target=self.target[which],
            outputs=self.segment_outputs,
            segment_piece=None,
            segment_start=None,
            segment_outputs=None,
            embedding=None,
        )


def scored_items(target: NDArray[Any], kind: Kind, ignore: Sequence[int] = ()) -> Bools:
    """Items with a label that is not ignored [shape=(N or n,)] (see `Predictions`)."""
    if kind == "classes":
        return (target != NO_CLASS) & ~np.isin(target, ignore)
    return ~np.isnan(target).all(axis=1)


def probabilities(outputs: NDArray[Any], kind: Kind) -> Floats:
    """Return probabilities of classes (labels), or the values of a regression, from outputs [float64]."""
    values = np.asarray(outputs, np.float64)
    if kind == "classes":
        return np.asarray(softmax(values, axis=-1))
    return np.asarray(expit(values)) if kind == "multilabel" else values


def outputs_of(chance: NDArray[Any], kind: Kind) -> Floats:
    """Return the outputs of which `probabilities` gives these values; 0 and 1 stay finite."""
    if kind == "regression":
        return np.asarray(chance, np.float64)
    inside = np.clip(chance, _TINY, 1 - _TINY if kind == "multilabel" else None)
    return np.asarray(logit(inside) if kind == "multilabel" else np.log(inside))


def save_predictions(path: str | PathLike[str], predictions: Mapping[str, Predictions]) -> Path:
    """Write predictions by label as one ``.npz``, whole or not at all; parent folders are made."""
    arrays: dict[str, NDArray[Any]] = {}
    for label, part in predictions.items():
        meta = json.dumps({name: getattr(part, name) for name in _ATTRIBUTES})
        arrays[f"{label}/meta"] = np.array(meta)
        arrays |= {f"{label}/{k}": value for k in _ARRAYS if (value := getattr(part, k)) is not None}
    write_npz(path, arrays)
    return Path(path)


def kept(part: Predictions) -> Predictions:
    """Return predictions as they are kept beside a report: single precision, no embedding, no label.

    Labels belong to the data: `musicbert.evaluation.reports.ratings` takes them from a label map.
    """
    blank = np.full_like(part.target, NO_CLASS if part.kind == "classes" else np.nan)
    return replace(part, target=blank, embedding=None, **_as_type(part, np.float32))


def rounded(part: Predictions) -> Predictions:
    """Return predictions with the precision that is kept, so that scores of kept ones are the same."""
    return replace(part, **{name: x.astype(np.float64) for name, x in _as_type(part, np.float32).items()})


def _as_type(part: Predictions, dtype: type) -> dict[str, NDArray[Any]]:
    names = ("outputs", "segment_outputs")
    return {name: values.astype(dtype) for name in names if (values := getattr(part, name)) is not None}


def load_predictions(path: str | PathLike[str]) -> dict[str, Predictions]:
    """Read a file of predictions by label.

    Raises `DatasetError`: ``not-found``, ``bad-predictions`` (not an archive of these arrays, or pickled).
    """
    try:
        arrays = read_npz(path)
        if "class_of" in arrays:
            return _former_ratings(arrays)
        if "meta" in arrays:  # former layout of one label
            arrays = {f"/{name}": value for name, value in arrays.items()}
        labels: dict[str, dict[str, Any]] = {}
        for name, value in arrays.items():
            label, _, key = name.rpartition("/")
            labels.setdefault(label, {})[key] = value
        parts = {name: _from_arrays(columns) for name, columns in labels.items()}
        if not parts:
            raise ValueError("it has no label")
        return {name or part.label: part for name, part in parts.items()}
    except FileNotFoundError as error:
        raise DatasetError("not-found", "There are no predictions here", path=path) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError) as error:
        raise DatasetError(
            "bad-predictions", f"These predictions cannot be read: {error}", path=path, hint="predict again"
        ) from error


def _from_arrays(columns: dict[str, Any]) -> Predictions:
    meta = parse_json(str(columns.pop("meta")))
    values = {name: value for name, value in columns.items() if name in _ARRAYS}
    return Predictions(
        **{**meta, "classes": tuple(meta["classes"]), "ignore": tuple(meta["ignore"])}, **values
    )


def _former_ratings(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Predictions]:
    """Ratings and performers of the layout without labels; every piece is a group of its own."""
    ids = arrays["ids"].astype(np.str_)
    regression, logits = arrays.get("regression"), arrays.get("class_logits")
    labels = np.asarray(arrays["labels"], np.float64)
    stored = {}
    if regression is not None or logits is None:
        values = np.full(labels.shape, np.nan) if regression is None else regression
        stored[RATINGS] = ("regression", arrays.get("dimensions"), labels, values)
    if logits is not None:
        stored[PERFORMER] = ("classes", arrays.get("classes"), arrays["class_of"].astype(np.int64), logits)
    return {
        label: Predictions(
            label=label,
            level="sequence",
            kind=kind,
            classes=tuple(map(str, range(values.shape[1]) if names is None else names)),
            ids=ids,
            groups=ids,
            target=target,
            outputs=values,
            embedding=arrays.get("embedding"),
        )
        for label, (kind, names, target, values) in stored.items()
    }


def pool(parts: Sequence[Predictions]) -> Predictions:
    """Put parts together: folds beside each other, seeds and committees averaged.

    A piece that occurs more than once gets the mean of its predictions: of values, or of probabilities (the
    outputs are then their logarithms or logits). Embeddings are left out: different networks share no axes.

    Raises `ValueError`: without parts, for parts of different labels, or where a piece has different labels
    in two parts.
    """
    if not parts:
        raise ValueError("nothing to pool")
    first = parts[0]
    if len(parts) == 1 and len(np.unique(first.ids)) == len(first):
        return first
    if any((p.label, p.kind, p.classes) != (first.label, first.kind, first.classes) for p in parts):
        raise ValueError("predictions of different labels cannot be pooled")

    def put(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if any(value is None for value in values) else np.concatenate(values)

    changes: dict[str, Any] = {name: put(name) for name in _ARRAYS}
    starts = np.cumsum([0, *(len(part) for part in parts)])
    if first.offsets is not None:
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])  # type: ignore[arg-type]
        changes["offsets"] = np.concatenate([[0], np.cumsum(lengths)])
    if changes["segment_piece"] is not None:
        changes["segment_piece"] = np.concatenate(
            [part.segment_piece + start for part, start in zip(parts, starts, strict=False)]
        )
    changes["embedding"] = None
    pooled = replace(first, **changes)
    return pooled if len(np.unique(pooled.ids)) == len(pooled) else _averaged(pooled)


def _averaged(pooled: Predictions) -> Predictions:
    """Every piece once, in the order of first occurrence, with the mean of its predictions."""
    _, at, piece = np.unique(pooled.ids, return_index=True, return_inverse=True)
    order = np.argsort(at)
    at, piece = at[order], np.argsort(order)[piece]  # first occurrence; number of each occurrence's piece
    changes: dict[str, Any] = {"ids": pooled.ids[at], "groups": pooled.groups[at]}
    row, kept = piece, at
    if pooled.offsets is not None:
        lengths = np.diff(pooled.offsets)
        if not np.array_equal(lengths, lengths[at][piece]):
            raise ValueError("a piece has different notes in different parts")
        changes["offsets"] = offsets = np.concatenate([[0], np.cumsum(lengths[at])])
        inside = np.arange(len(pooled.target)) - np.repeat(pooled.offsets[:-1], lengths)
        row = np.repeat(offsets[piece], lengths) + inside
        kept = np.unique(row, return_index=True)[1]
        changes["note_index"] = None if pooled.note_index is None else pooled.note_index[kept]
    target = changes["target"] = pooled.target[kept]
    if not np.array_equal(pooled.target, target[row], equal_nan=pooled.kind != "classes"):
        raise ValueError("an item has different labels in different parts")
    changes["outputs"] = _mean_by(row, pooled.outputs, pooled.kind)
    if pooled.segment_outputs is not None:
        keys = np.stack([piece[pooled.segment_piece], pooled.segment_start], axis=1)
        keys, segment = np.unique(keys, axis=0, return_inverse=True)
        changes["segment_piece"], changes["segment_start"] = keys.T
        changes["segment_outputs"] = _mean_by(segment.reshape(-1), pooled.segment_outputs, pooled.kind)
    return replace(pooled, **changes)


def _mean_by(index: Ints, outputs: NDArray[Any], kind: Kind) -> Floats:
    """Mean of the predictions with the same index [shape=(indices, C)]."""
    values = probabilities(outputs, kind)
    total = np.zeros((int(index.max(initial=-1)) + 1, values.shape[1]))
    np.add.at(total, index, values)
    return outputs_of(total / np.bincount(index)[:, None], kind)
