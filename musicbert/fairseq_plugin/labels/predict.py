"""Predictions of a fine-tuned tagger on one part of a split, and its export for use without fairseq.

Legend: ``B`` windows of a batch, ``T`` rows, ``C`` outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np
import torch
from fairseq import checkpoint_utils, utils
from omegaconf import open_dict

from musicbert.corpus.labelled.pieces import NO_CLASS
from musicbert.errors import CheckpointError
from musicbert.evaluation.predictions import Predictions
from musicbert.fairseq_plugin.labels.taggers import _TaggingTask
from musicbert.fairseq_plugin.labels.tagging_model import TaggingModel

__all__ = ["load_tagger", "predict_part"]

#: default of fairseq: the run's own last checkpoint, which nobody waits for
_NO_FILE = "checkpoint_last.pt"
#: rows of a batch, padding included, at most
BATCH_ROWS = 1 << 14


def load_tagger(
    checkpoint: str | PathLike[str],
    *,
    data: str | PathLike[str] | None = None,
    split_file: str | PathLike[str] | None = None,
) -> tuple[TaggingModel, _TaggingTask]:
    """Load a checkpoint of a tagging task, in evaluation mode, on the CPU.

    Parameters
    ----------
    checkpoint
        File that fairseq-train wrote.
    data, split_file
        Shards and split in place of those that it was trained on.

    Raises
    ------
    CheckpointError
        ``not-found``, ``unreadable``, ``other-task``.
    DatasetError
        Those of the task.
    """
    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(checkpoint))
        settings = state["cfg"]
        name = settings["task"]["_name"]
    except FileNotFoundError as error:
        raise CheckpointError("not-found", "The checkpoint is missing", path=checkpoint) from error
    except Exception as error:  # the reader of checkpoints raises many
        raise CheckpointError(
            "unreadable", f"It is no checkpoint of fairseq: {error!r}", path=checkpoint
        ) from error
    if name not in ("music_note_tagging", "music_sequence_tagging"):
        raise CheckpointError("other-task", f"It was trained on the task {name!r}", path=checkpoint)
    changes: dict[str, dict[str, Any]] = {
        "model": {"init_from": None, "restore_file": _NO_FILE},
        "task": {},
    }
    if data is not None:
        changes["task"]["data"] = str(data)
    if split_file is not None:
        changes["task"]["split_file"] = str(split_file)
    for group, values in changes.items():
        with open_dict(settings):
            for key, value in values.items():
                if group == "task" or hasattr(settings[group], key) or key in settings[group]:
                    setattr(settings[group], key, value)
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], state=state)
    return models[0].float().eval(), task


def predict_part(
    model: TaggingModel,
    task: _TaggingTask,
    part: str = "test",
    *,
    device: str | torch.device | None = None,
    batch_rows: int = BATCH_ROWS,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Predict one part.

    Outputs of a note that lies in several windows are averaged by the windows' shares; those of a piece are
    the mean over its windows (its vote).

    Parameters
    ----------
    model, task
        As `load_tagger` gives them.
    part
        ``train``, ``valid`` or ``test``.
    device
        Where to compute; a GPU if there is one when None.
    batch_rows
        Rows of a batch, padding included, at most (a longer window is a batch of its own).
    progress
        Called with the number of windows done and of all.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = model.to(device)
    dataset = task.load_dataset(part)
    dataset.shuffle = dataset.random_shift = False
    dataset.augmentation = None
    shards, column = task.shards, task.column
    pieces = task.parts[part]
    number = {piece: k for k, piece in enumerate(pieces)}
    lengths = shards.lengths[pieces]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = int(offsets[-1]) if column.level == "note" else len(pieces)
    outputs = np.zeros((rows, len(column.classes)), np.float64)
    weight = np.zeros(rows)
    segments: list[tuple[int, int, np.ndarray]] = []
    order = np.argsort(-dataset.sizes, kind="stable")  # longest first: too little memory shows at once
    at = 0
    with torch.inference_mode():
        while at < len(order):
            chosen = order[at : at + max(batch_rows // int(dataset.sizes[order[at]]), 1)]
            at += len(chosen)
            sample = dataset.collater([dataset[int(index)] for index in chosen])
            if device.type == "cuda":
                sample = utils.move_to_cuda(sample, device)
            logits = model(**sample["net_input"])  # (B, T, C) or (B, C)
            if column.kind == "regression":
                logits = model.values(logits)
            found = logits.float().cpu().numpy()
            for index, values in zip(chosen, found, strict=True):
                window = dataset.windows[int(index)]
                k = number[window.piece]
                if column.level == "note":
                    begin = offsets[k] + window.start
                    cut = slice(begin, begin + len(window))
                    lead = task.layout.lead
                    outputs[cut] += window.share[:, None] * values[lead : lead + len(window)]
                    weight[cut] += window.share
                else:
                    outputs[k] += values
                    weight[k] += 1
                    segments.append((k, window.start, values))
            if progress is not None:
                progress(at, len(order))
    covered = weight > 0
    outputs[covered] /= weight[covered, None]
    names = np.array([shards.names[piece] for piece in pieces], np.str_)
    common: dict[str, Any] = {
        "label": column.name,
        "level": column.level,
        "kind": column.kind,
        "classes": column.classes,
        "ignore": task.ignore,
        "ids": names,
        "groups": np.array([shards.pieces[piece].group for piece in pieces], np.str_),
        "outputs": outputs.astype(np.float32),
    }
    if column.level == "note":
        target = np.concatenate([shards.note_labels(column.name, piece) for piece in pieces])
        if not covered.all():  # only the first window of each piece was read
            target = target.copy()
            target[~covered] = NO_CLASS if column.kind == "classes" else np.nan
        index = np.concatenate([shards.note_index(piece) for piece in pieces])
        return Predictions(**common, target=target, offsets=offsets, note_index=index)
    segments.sort(key=lambda each: each[:2])
    return Predictions(
        **common,
        target=np.asarray(shards.label(column.name)[np.asarray(pieces)]),
        segment_piece=np.array([each[0] for each in segments], np.int64),
        segment_start=np.array([each[1] for each in segments], np.int64),
        segment_outputs=np.stack([each[2] for each in segments]).astype(np.float32),
    )
