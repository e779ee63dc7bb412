"""Predictions of a fine-tuned model, in plain torch, on the pieces of a labelled set of any format.

Each head of the model is matched to a label of the set: by name, else the first label of the same kind with
as many outputs. Sequences of a sentence data-bin keep the tokens between their phrases, as in training.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from musicbert.arrays import Singles
from musicbert.corpus.labelled import LabelColumn, LabelledSet, SentenceBin
from musicbert.corpus.labelled.pieces import NO_CLASS
from musicbert.errors import CheckpointError, DatasetError, nearest
from musicbert.evaluation.predictions import MEANS, Predictions, outputs_of
from musicbert.predict.model import Model, from_pretrained
from musicbert.predict.pieces import Piece
from musicbert.predict.sentences.databin import class_logits
from musicbert.predict.tagger import load_tagger_model
from musicbert.weights import Head, resolve
from musicbert.weights.tagger_folder import is_tagger_folder, tasks_of

#: activation of a head -> kinds of labels that it predicts
_KINDS = {"softmax": ("classes",), "sigmoid": ("regression", "multilabel"), "none": ("regression",)}


def pieces_of_part(data: LabelledSet, part: str = "", split: str = "") -> list[int]:
    """Numbers of the pieces of a part (or fold number) of a split.

    An empty part is the test part of a data-bin, and all pieces (``all``) of shards. An empty split is the
    first one.

    Raises `ValueError` (a part without pieces).
    """
    part = part or ("test" if data.split_names == ("data-bin",) else "all")
    if part == "all":
        return list(range(len(data)))
    known = data.split(split or next(iter(data.split_names), ""))
    pieces = [data.index[name] for name, part_of_piece in known.items() if part_of_piece == part]
    if not pieces:
        parts = ", ".join(sorted(set(known.values()))) or "no parts"
        raise ValueError(f"no piece in the part {part!r}; there are {parts}, and all")
    return sorted(pieces)


def predict_labelled(
    model: str | PathLike[str],
    data: LabelledSet,
    pieces: Sequence[int],
    *,
    heads: Sequence[str] | None = None,
    device: str | torch.device | None = None,
) -> dict[str, Predictions]:
    """Predict labels of pieces that have them.

    ``model``: folder of `musicbert finetune`, checkpoint file or name. ``pieces``: numbers of pieces.
    ``heads``: names of heads; None: all that match a label. Returns predictions by label.
    Raises `CheckpointError` (``other-labels``: no head matches a label; those of opening the model).
    """
    path = resolve(model)
    if is_tagger_folder(path):
        return _from_tagger(path, data, pieces, device, heads)
    opened = from_pretrained(path, device=device)
    known = opened.heads if isinstance(opened, Model) else {}
    _check_heads(path, heads, list(known))
    matched = {
        head.name: column
        for head in known.values()
        if (heads is None or head.name in heads) and (column := _label_of(head, data)) is not None
    }
    if not matched:
        raise _other_labels(path, data, ", ".join(known) or "none")
    outputs: dict[str, NDArray[Any]] = {}
    if isinstance(data, SentenceBin):
        outputs = {name: _sequences(path, data, pieces, name, device) for name in matched}
    else:
        results = opened.predict(_read(data, pieces, opened.config.performance_features), heads=[*matched])
        for name, column in matched.items():
            what = "scores" if column.kind == "regression" else "logits"
            outputs[name] = np.stack([getattr(result[name], what) for result in results])
    return {c.name: _predictions(data, c, pieces, outputs[name]) for name, c in matched.items()}


def _sequences(
    path: Any, data: SentenceBin, pieces: Sequence[int], head: str, device: str | torch.device | None
) -> Singles:
    """Logits of a head for sequences [shape=(pieces, C)]."""
    rows: dict[int, Singles] = {}
    for part in data.parts:
        if wanted := set(pieces) & set(data.part(part)):
            logits = class_logits(path, data.path, part, head=head, device=device)
            rows |= {piece: logits[piece - data.part(part).start] for piece in wanted}
    return np.stack([rows[piece] for piece in pieces])


def _check_heads(path: Any, heads: Sequence[str] | None, known: Sequence[str]) -> None:
    for name in heads or ():
        if name not in known:
            message = f"no head {name!r}; there are {', '.join(known) or 'none'}"
            raise CheckpointError("unknown-head", message, path=path, hint=nearest(name, known))


def _from_tagger(
    path: Any,
    data: LabelledSet,
    pieces: Sequence[int],
    device: str | torch.device | None,
    heads: Sequence[str] | None,
) -> dict[str, Predictions]:
    model = load_tagger_model(path, device=device)
    _check_heads(path, heads, list(model.heads))
    tasks = {task.get("name") or task["label"]: task for task in tasks_of(model.settings)}
    matched = {
        name: column
        for name, head in model.heads.items()
        if (heads is None or name in heads) and (column := data.labels.get(tasks[name]["label"])) is not None
        if (column.level, column.kind, column.classes) == (model.level, model.kind, head.names)
    }
    if not matched:
        raise _other_labels(path, data, ", ".join(model.heads))
    if data.codec != model.codec.name:
        raise CheckpointError(
            "other-encoding", f"The model reads {model.codec.name!r}, the data hold {data.codec!r}", path=path
        )
    read = _read(data, pieces, int(model.settings["architecture"].get("performance_features", 0)))
    results = model.predict_labels(read)
    predictions = {}
    for name, column in matched.items():
        scores = [
            result[name].scores[None] if result[name].known is None else result[name].scores[piece.note_index]
            for result, piece in zip(results, read, strict=True)
        ]
        outputs, ignore = (
            outputs_of(np.concatenate(scores), column.kind),
            tuple(tasks[name].get("ignore", ())),
        )
        predictions[column.name] = _predictions(data, column, pieces, outputs, ignore)
    return predictions


def _label_of(head: Head, data: LabelledSet) -> LabelColumn | None:
    """Label that a head predicts: that of its name, or the only one of its kind and size; None otherwise.

    None for the raters' means too, which are a second target in training alone.
    """
    fitting = [
        column
        for column in data.labels.values()
        if column.level == "sequence"
        and head.name != MEANS
        and column.kind in _KINDS[head.activation]
        and len(column.classes) == head.outputs
        and head.names in ((), column.classes)
    ]
    named = [column for column in fitting if column.name == head.name]
    return next(iter(named or fitting), None) if len(named or fitting) == 1 else None


def _read(data: LabelledSet, pieces: Sequence[int], performance: int) -> list[Piece]:
    if performance not in (0, data.performance_width):
        message = f"The model has {performance} performance inputs, the data {data.performance_width}"
        raise DatasetError("no-performance", message, path=data.path, hint="make the data with these inputs")
    return [
        Piece(data.rows(k), data.performance(k) if performance else None, data.note_index(k)) for k in pieces
    ]


def _predictions(
    data: LabelledSet,
    column: LabelColumn,
    pieces: Sequence[int],
    outputs: NDArray[Any],
    ignore: tuple[int, ...] = (),
) -> Predictions:
    names = [data.names[piece] for piece in pieces]
    more: dict[str, Any] = {}
    if column.level == "note":
        target = np.concatenate([data.note_labels(column.name, piece) for piece in pieces])
        more["offsets"] = np.concatenate([[0], np.cumsum(data.lengths[list(pieces)])])
        more["note_index"] = np.concatenate([data.note_index(piece) for piece in pieces])
        unread = np.isnan(outputs).any(axis=1)  # the model reads the first window of a piece only
        target[unread] = NO_CLASS if column.kind == "classes" else np.nan
        outputs = np.where(unread[:, None], 0, outputs)
    else:
        target = np.asarray(data.label(column.name))[list(pieces)]
    return Predictions(
        label=column.name,
        level=column.level,
        kind=column.kind,
        classes=column.classes,
        ids=np.array(names, np.str_),
        groups=np.array([data.groups[name] for name in names], np.str_),
        target=target,
        outputs=np.asarray(outputs, np.float32),
        ignore=ignore,
        **more,
    )


def _other_labels(path: Any, data: LabelledSet, heads: str) -> CheckpointError:
    return CheckpointError(
        "other-labels",
        f"None of its heads ({heads}) predicts a label of {data.path}: {', '.join(data.labels)}",
        path=path,
    )
