"""Checkpoints of the tasks with labels, and their predictions on one part of the data, in float32.

Legend: ``B`` windows of a batch, ``T`` rows, ``C`` outputs, ``D`` width.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import checkpoint_utils, utils
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY
from fairseq.tasks import TASK_REGISTRY
from numpy.typing import NDArray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from musicbert.corpus.labelled.pieces import NO_CLASS
from musicbert.errors import CheckpointError, first_line
from musicbert.evaluation.predictions import PERFORMER, Predictions
from musicbert.fairseq_plugin.compat import refuse_other_classes
from musicbert.fairseq_plugin.labels.dataset import LabelDataset, PieceLayout
from musicbert.fairseq_plugin.labels.sentences import PublishedSentenceTask
from musicbert.fairseq_plugin.labels.task import LabelTask
from musicbert.fairseq_plugin.labels.terms import Term, outputs_of
from musicbert.predict.embedding import Stitch
from musicbert.predict.runner import pick_device, run_batches
from musicbert.weights import infer_config, load_checkpoint
from musicbert.weights.families.known import family_of

#: rows of a batch, padding included, at most
BATCH_ROWS = 1 << 14
#: fairseq's default of --restore-file, for which no model waits
OWN_CHECKPOINT = "checkpoint_last.pt"
_TRAINED = "give a file that fairseq-train wrote"


def load_fine_tuned(
    checkpoint: str | PathLike[str],
    data: str | PathLike[str] | None = None,
    split_file: str | PathLike[str] | None = None,
) -> tuple[Any, LabelTask]:
    """Load a checkpoint of a task with labels, in evaluation mode, on the CPU.

    ``data``, ``split_file``: replace those of the training. Returns ``model``, ``task``. Raises
    `CheckpointError` (``not-found``, ``unsafe-pickle``, ``unreadable``, ``other-task``, ``other-model``,
    ``bad-config``, those of `load_checkpoint`) and the `DatasetError` of the task. Of the file's settings,
    numbers and text reach the task and the model, which are of this package.
    """
    path = Path(checkpoint)
    groups, weights = _read(path)
    given = {"data": data, "split_file": split_file}
    groups["task"] |= {name: str(where) for name, where in given.items() if where is not None}
    groups["task"] |= {"augment": ""} if "augment" in groups["task"] else {}
    # files that training started from need not exist any more
    groups["model"] |= {"init_from": None, "restore_file": OWN_CHECKPOINT, "checkpoint_suffix": ""}
    state = {"cfg": OmegaConf.create(groups), "args": None, "model": weights}
    try:
        models, _, task = checkpoint_utils.load_model_ensemble_and_task([str(path)], state=state)
    except (OmegaConfBaseException, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        reason = first_line(error)
        raise CheckpointError("bad-config", f"Its settings do not fit: {reason}", path=path) from error
    return models[0].float().eval(), task


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Tensor]]:
    """Read settings by group, plain values alone, and weights of a checkpoint of fairseq."""
    if not path.is_file():
        raise CheckpointError("not-found", "The checkpoint is missing", path=path, hint="train first")
    checkpoint = load_checkpoint(path)
    if checkpoint.container not in ("cfg", "args"):
        raise CheckpointError("unreadable", "Not a checkpoint of fairseq", path=path, hint=_TRAINED)
    groups = {name: _plain_values(group) for name, group in checkpoint.groups.items()}
    task, model = groups["task"], groups["model"]
    name = task["_name"] = task.get("_name") or task.get("task")
    task.pop("task", None)  # fairseq would take it for the name
    if not issubclass(TASK_REGISTRY.get(str(name), object), LabelTask | PublishedSentenceTask):
        message = f"It was trained on the task {name!r}, which has no labels"
        raise CheckpointError("other-task", message, path=path, hint="fine-tune it first")
    model["_name"] = model.get("_name") or model.get("arch")
    model.pop("arch", None)
    if model["_name"] is None:
        raise CheckpointError("unreadable", "It does not name its model", path=path, hint=_TRAINED)
    refuse_other_classes(groups, path)
    if model["_name"] not in {**MODEL_REGISTRY, **ARCH_MODEL_REGISTRY}:
        message = (
            f"Its model {str(model['_name'])[:60]!r} is not of this package and is not built, for safety"
        )
        raise CheckpointError("other-model", message, path=path, hint=_TRAINED)
    _check_sizes(model, task, checkpoint.weights, path)
    return groups, checkpoint.weights


def _plain_values(group: dict[str, Any]) -> dict[str, Any]:
    """Numbers and text; what refers to another setting (``${...}``) is left out, as if it were not given."""

    def known(value: Any) -> bool:
        if isinstance(value, list):
            return all(map(known, value))
        return value is None or (isinstance(value, bool | int | float | str) and "${" not in str(value))

    return {str(name): value for name, value in group.items() if known(value)}


def _check_sizes(model: dict[str, Any], task: dict[str, Any], weights: dict[str, Tensor], path: Path) -> None:
    """Compare sizes with the tensors before a model is built; fill in those that are not said."""
    backbone = {name.removeprefix("backbone."): value for name, value in weights.items()}
    family = family_of(backbone)
    shown = infer_config(backbone, family=family, path=path)
    sizes = {
        flag: getattr(shown, attribute)
        for flag, attribute in family.flags.items()
        if attribute in family.from_shapes and attribute != "performance_features"
    }
    inner = task.get("head_inner") or 0
    widths = {0, *(size for name, value in weights.items() if "head" in name for size in value.shape)}
    differ = [flag for flag, size in sizes.items() if model.setdefault(flag, size) != size]
    differ += [] if inner in widths else ["head_inner"]
    if differ:
        message = f"{differ[0]} is not what the tensors show ({sizes.get(differ[0], 'no such width')})"
        raise CheckpointError("bad-config", message, path=path)


def predict_part(
    model: Any,
    task: LabelTask,
    part: str = "test",
    *,
    device: str | torch.device | None = None,
    batch_rows: int = BATCH_ROWS,
    batch_items: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Predictions]:
    """Predict one part (``train``, ``valid`` or ``test``); ``model``, ``task``: of `load_fine_tuned`.

    Outputs of a note that lies in several windows are averaged by the windows' shares; those of a piece are
    the mean over its windows, and over the ``phases`` of the task. ``device``, ``batch_rows``,
    ``batch_items``, ``progress``: see `musicbert.predict.runner.pick_device` and `run_batches`.

    Returns by label: logits of classes, and values of a regression (ratings on 0-1). A contrastive model that
    is not fine-tuned has embeddings only; its outputs are NaN. Raises `DatasetError` (those of
    ``task.load_dataset``).
    """
    device = pick_device(device)
    model = model.to(device)
    dataset = task.load_dataset(part)
    dataset.shuffle = dataset.random_shift = False
    dataset.augmentation = None
    outputs: list[list[NDArray[np.float32]]] = [[] for _ in dataset.windows]  # of each window, of each term
    embeddings: list[Any] = [None] * len(outputs)
    lead = dataset.layout.lead

    def make_batch(chosen: NDArray[np.int64]) -> dict[str, Any]:
        sample = dataset.collater([dataset[int(index)] for index in chosen])
        assert sample["id"].tolist() == chosen.tolist()
        return utils.move_to_cuda(sample, device) if device.type == "cuda" else sample

    def take(chosen: NDArray[np.int64], output: tuple[list[Tensor], list[Tensor]]) -> None:
        values, embedding = ([tensor.float().cpu().numpy() for tensor in part] for part in output)
        for row, index in enumerate(chosen.tolist()):
            notes = slice(lead, lead + len(dataset.windows[index]))
            new = [v[row, notes].copy() if v.ndim == 3 else v[row] for v in values]
            outputs[index] = _running_mean(outputs[index], new, dataset.phase[0])
            if embedding and task.keep_embeddings:
                embeddings[index] = _running_mean(embeddings[index], [embedding[0][row]], dataset.phase[0])

    for phase in range(task.phases):
        dataset.phase = (phase, task.phases)
        run_batches(
            -(-dataset.sizes // dataset.unit),
            make_batch,
            lambda sample: _run(model, task.terms, sample["net_input"]),
            take,
            batch_rows=batch_rows,
            batch_items=batch_items,
            progress=progress,
        )
    return {
        name: _predictions(task, name, term, task.pieces(part), dataset, values, embeddings)
        for term, values in zip(task.terms, zip(*outputs, strict=True), strict=True)
        for name in (PERFORMER if term.label == "published" else term.label,)
    }


def _running_mean(before: Any, new: list[NDArray[np.float32]], count: int) -> list[NDArray[np.float32]]:
    """Mean of ``count`` earlier results and a new one."""
    return [(count * old + one) / (count + 1) for old, one in zip(before, new, strict=True)] if count else new


def _run(
    model: Any, terms: tuple[Term, ...], net_input: dict[str, Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Values of each term, and embeddings [shape=(B, D)] where the heads read one vector a piece."""
    tokens, performance = net_input["src_tokens"], net_input.get("performance")
    if hasattr(model, "label_outputs"):
        return model.label_outputs(tokens, performance)
    if terms[0].head:
        embedding = model.sentence_features(tokens, performance=performance)
        heads = [getattr(model, f"{term.family}_heads")[term.head] for term in terms]
        return [term.values(head(embedding)) for term, head in zip(terms, heads, strict=True)], [embedding]
    outputs = outputs_of(model, terms, net_input)  # (B, T, C) or (B, C) each
    return [model.values(logits) if terms[0].kind == "regression" else logits for logits in outputs], []


def _predictions(
    task: LabelTask,
    name: str,
    term: Term,
    pieces: Sequence[int],
    dataset: LabelDataset,
    values: Sequence[NDArray[np.float32]],
    embeddings: Sequence[Any],
) -> Predictions:
    """Put the outputs of windows together."""
    data, column = task.data, task.data.column(term.label)
    number = {piece: k for k, piece in enumerate(pieces)}
    windows = [replace(window, piece=number[window.piece]) for window in dataset.windows]
    notes = column.level == "note"
    lengths = data.lengths[np.asarray(pieces, np.int64)]
    items = [np.arange(length) if notes else np.zeros(1, np.int64) for length in lengths]
    count = values[0].shape[-1]
    stitch = Stitch(items, count, votes=True)
    for window, table in zip(windows, values, strict=True):
        stitch.add(window, table)
    more: dict[str, Any] = {}
    target = (
        data.label(column.name)[np.asarray(pieces, np.int64)]
        if not notes
        else np.concatenate([data.note_labels(column.name, piece) for piece in pieces])
    )
    if notes:
        missing = ~np.concatenate(stitch.covered())  # where only the first window of each piece was read
        target = target.copy()
        target[missing] = NO_CLASS if column.kind == "classes" else np.nan
        more["offsets"] = np.concatenate([[0], np.cumsum(lengths)])
        more["note_index"] = np.concatenate([data.note_index(piece) for piece in pieces])
    elif task.keep_embeddings:
        more["embedding"] = np.concatenate(embeddings).reshape(len(embeddings), -1)
    elif not isinstance(dataset.layout, PieceLayout):
        more["segment_piece"] = np.array([window.piece for window in windows], np.int64)
        more["segment_start"] = np.array([window.start for window in windows], np.int64)
        more["segment_outputs"] = np.stack(values)
    names = [data.names[piece] for piece in pieces]
    return Predictions(
        name,
        column.level,
        column.kind,
        # a published model may have been made for more classes than the data have
        (*column.classes, *(f"unused-{number}" for number in range(len(column.classes), count))),
        np.array(names, np.str_),
        np.array([data.groups[piece] for piece in names], np.str_),
        np.asarray(target),
        np.concatenate(stitch.means()).astype(np.float32),
        ignore=task.ignore,
        **more,
    )
