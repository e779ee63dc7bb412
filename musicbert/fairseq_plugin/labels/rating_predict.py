"""Predictions of a fine-tuned checkpoint on one split of a data-bin.

The result is the contract "Predictions" of ``docs/architecture.md``: ``ids``, ``regression`` [shape=(n, d),
0-1] and/or ``class_logits`` [shape=(n, c)], ``labels`` [shape=(n, d), NaN missing], ``class_of``
[shape=(n,)], ``embedding`` [shape=(n, D)], in the order of the split. Pieces run in float32, in batches of
similar length.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import checkpoint_utils, utils
from omegaconf import open_dict

from musicbert.atomic import replacing
from musicbert.errors import CheckpointError, DatasetError
from musicbert.fairseq_plugin.contrastive.model import ContrastiveModel
from musicbert.fairseq_plugin.labels.ratings import HEADS_OF, RatingTask

__all__ = ["load_fine_tuned", "predict", "save_predictions"]


def load_fine_tuned(
    checkpoint: str | PathLike[str], data: str | PathLike[str] | None = None
) -> tuple[Any, RatingTask]:
    """Load a checkpoint of the rating or the contrastive task, in evaluation mode, on the CPU.

    Parameters
    ----------
    checkpoint
        File that fairseq-train wrote.
    data
        Folder of one fold of a data-bin; the one that it was trained on if None.

    Returns
    -------
    model, task

    Raises
    ------
    CheckpointError
        ``not-found``, ``unsafe-pickle``, ``unreadable``, ``other-task``.
    DatasetError
        Where the data-bin is damaged, or has other classes or dimensions.
    """
    state = _read(Path(checkpoint))
    settings = state["cfg"]
    changes: dict[str, dict[str, Any]] = {
        "model": {"init_from": None, "restore_file": None},  # these files need not exist any more
        "task": {"augment": ""} | ({} if data is None else {"data": str(data)}),
    }
    for group, values in changes.items():
        with open_dict(settings):
            for name, value in values.items():
                setattr(settings[group], name, value)
    models, _, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], state=state)
    return models[0].float().eval(), task


def _read(path: Path) -> dict[str, Any]:
    """Read a checkpoint of fairseq with its settings."""
    if not path.is_file():
        raise CheckpointError("not-found", "The checkpoint is missing", path=path, hint="train first")
    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
        settings = state["cfg"]["task"]  # a Namespace in older checkpoints
        name = getattr(settings, "_name", None) or getattr(settings, "task", None)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            "unsafe-pickle",
            "It is damaged, or holds objects that are not loaded for safety",
            path=path,
            hint="give a file that fairseq-train wrote",
        ) from error
    except (KeyError, TypeError, AttributeError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            "unreadable",
            f"It is no checkpoint of fairseq: {str(error).splitlines()[0] if str(error) else error!r}",
            path=path,
            hint="give a file that fairseq-train wrote",
        ) from error
    if name not in ("xai", "xai_pretrain_task"):
        raise CheckpointError(
            "other-task",
            f"It was trained on the task {name!r}, not on ratings",
            path=path,
            hint="fine-tune it first",
        )
    return state


def _outputs(model: Any, task: RatingTask) -> Callable[[dict[str, Any]], dict[str, torch.Tensor]]:
    """Return the function from a batch to its predictions."""

    def contrastive(sample: dict[str, Any]) -> dict[str, torch.Tensor]:
        inputs = sample["net_input"]
        embedding = model.embed_music(inputs["src_tokens"], performance=inputs.get("performance"))
        more = {"class_logits": model.classificationHead(embedding)} if model.fine_tuning else {}
        return {"embedding": embedding, **more}

    def rating(sample: dict[str, Any]) -> dict[str, torch.Tensor]:
        inputs = sample["net_input"]
        embedding = model.sentence_features(inputs["src_tokens"], performance=inputs.get("performance"))
        result = {"embedding": embedding}
        for kind, heads, name in (
            (classification, model.classification_heads, task.cfg.classification_head_name),
            (regression, model.regression_heads, task.cfg.regression_head_name),
        ):
            if kind is not None:
                output = heads[name](embedding)
                if kind == "performers":
                    result["class_logits"] = output
                else:
                    result["regression"] = torch.sigmoid(output)
        return result

    if isinstance(model, ContrastiveModel):
        return contrastive
    classification, regression = HEADS_OF[task.cfg.criterion_name]
    return rating


def predict(
    checkpoint: str | PathLike[str],
    data: str | PathLike[str] | None = None,
    split: str = "test",
    *,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Predict the ratings and the performers of one split.

    Parameters
    ----------
    checkpoint, data
        See :func:`load_fine_tuned`.
    split
        ``train``, ``valid`` or ``test``.
    batch_size
        Pieces of one batch, at most.
    device
        Where to compute; a GPU if there is one when None.
    progress
        Called with the number of pieces done and the number of all.

    Returns
    -------
    dict
        The arrays of the module's docstring, and ``classes`` and ``dimensions``, the names.

    Raises
    ------
    CheckpointError, DatasetError
        See :func:`load_fine_tuned`; also ``missing-split``.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1, not {batch_size}")
    model, task = load_fine_tuned(checkpoint, data)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = model.to(device)
    dataset = task.load_dataset(split)
    longest = int(dataset.sizes.max())
    if longest > task.max_positions():
        raise DatasetError(
            "too-long",
            f"a piece of {longest} tokens is longer than the {task.max_positions()} of the model",
            path=task.cfg.data,
            hint="train with --shorten-method truncate",
        )
    outputs = _outputs(model, task)
    order = np.argsort(-dataset.sizes, kind="stable")  # longest first: too little memory shows at once
    found: dict[str, list[np.ndarray]] = {}
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            sample = dataset.collater([dataset[int(index)] for index in chosen])
            if device.type == "cuda":
                sample = utils.move_to_cuda(sample, device)
            order_in_batch = sample["id"].cpu().numpy()
            assert set(order_in_batch) == set(chosen)
            found.setdefault("index", []).append(order_in_batch)
            for key, value in outputs(sample).items():
                found.setdefault(key, []).append(value.float().cpu().numpy())
            if progress is not None:
                progress(min(start + batch_size, len(order)), len(order))
    joined = {key: np.concatenate(parts) for key, parts in found.items()}
    back = np.argsort(joined.pop("index"))
    labels = dataset.labels
    ids = labels.ids or tuple(f"{split}-{index}" for index in range(len(dataset)))
    performers = task.performers(labels)
    return {
        **{key: value[back] for key, value in joined.items()},
        "ids": np.array(ids),
        "labels": labels.ratings,
        "class_of": labels.class_of if performers is None else performers,
        "classes": np.array(task.schema.classes),
        "dimensions": np.array(task.schema.dimensions),
    }


def save_predictions(predictions: dict[str, np.ndarray], path: str | PathLike[str]) -> Path:
    """Write predictions as a compressed ``.npz``, whole or not at all, and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez_compressed(file, **predictions)  # type: ignore[arg-type]
    return path
