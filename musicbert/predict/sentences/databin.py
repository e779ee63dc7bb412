"""A fine-tuned checkpoint over a part of a sentence data-bin, in plain torch.

Any checkpoint with a classification head works (ours, or one that upstream's programs wrote), on a CPU too.
Sequences run in batches of similar length, without the padding to 8,192 tokens of the published program. A
model that was trained on a form of the ablation (``--encoding cp`` or ``remi``) reads that form, cut to its
positions as in training.
"""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from musicbert.arrays import Ints, Singles
from musicbert.corpus.bins.databin import read_index
from musicbert.encoding.sequence_views import position_width, sequence_in_view, sizes_in_view
from musicbert.encoding.vocabulary import FIELDS, PAD
from musicbert.errors import CheckpointError, DatasetError
from musicbert.predict.runner import pick_device, run_batches
from musicbert.weights import build_model, read_bundle

WIDTH = len(FIELDS)
#: largest number of tokens in a batch on each kind of device (a longer sequence is a batch of its own)
_BATCH_TOKENS = {"cpu": 32_768, "cuda": 262_144}


def class_logits(
    checkpoint: str | PathLike[str],
    data: str | PathLike[str],
    part: str,
    *,
    head: str | None = None,
    device: str | torch.device | None = None,
    precision: Literal["float32", "bfloat16"] = "float32",
    progress: Callable[[int, int], None] | None = None,
) -> Singles:
    """Return the logits of a classification head for every sequence, in the order of the data.

    ``data``, ``part``: one fold of a data-bin, and ``train``, ``valid`` or ``test``; ``head``: the only one
    if None; ``device``: a GPU if there is one when None; ``precision``: of the matrix products; ``progress``:
    called with (done, all) sequences.
    Returns [shape=(n, classes), float32].
    Raises `CheckpointError`: as `read_bundle` and `build_model`; ``no-head`` where the checkpoint has no such
    head, or several; `DatasetError` (``not-found``, ``bad-index``, ``too-long``).
    """
    bundle = read_bundle(checkpoint, family="musicbert")
    model, _ = build_model(bundle, path=checkpoint)
    heads = list(model.classification_heads)
    if head is None and len(heads) == 1:
        head = heads[0]
    if head not in heads:
        raise CheckpointError(
            "no-head",
            f"It has no classification head {head!r}" if head else "It does not have exactly one head",
            path=checkpoint,
            hint=f"choose with --head: {', '.join(heads)}" if heads else "fine-tune it first",
        )
    where = pick_device(device)
    model = model.to(where).eval()
    prefix = Path(data) / "input0" / part
    stored = read_index(prefix).astype(np.int64)
    if bundle.view == "octuple" and len(stored) and int(stored.max()) // WIDTH > model.config.max_positions:
        raise DatasetError(
            "too-long", f"A sequence has {stored.max()} tokens, more than the model takes", path=prefix
        )
    ends = np.concatenate([[0], np.cumsum(stored)])
    tokens = np.memmap(f"{prefix}.bin", "<u2", "r") if len(stored) else np.zeros(0, np.uint16)
    width = position_width(bundle.view)
    sizes = sizes_in_view(lambda begin, end: tokens[ends[begin] : ends[end]], stored, bundle.view)
    most = None if bundle.view == "octuple" else model.config.max_positions // width - 2
    if most is not None:
        sizes = np.minimum(sizes, (most + 2) * width)
    logits = np.zeros((len(sizes), model.classification_heads[head].out_proj.out_features), np.float32)

    def make_batch(chosen: Ints) -> torch.Tensor:
        batch = np.full((len(chosen), int(sizes[chosen].max())), PAD, np.int64)  # (B, T*F)
        for row, at in zip(batch, chosen, strict=True):
            sequence = tokens[ends[at] : ends[at + 1]]
            row[: sizes[at]] = sequence_in_view(sequence, bundle.view, most=most)
        return torch.from_numpy(batch).to(where)

    def take(chosen: Ints, output: torch.Tensor) -> None:
        logits[chosen] = output.float().cpu().numpy()  # (B, C)

    batch_tokens = _BATCH_TOKENS.get(where.type, _BATCH_TOKENS["cpu"])
    with torch.autocast(where.type, torch.bfloat16, enabled=precision == "bfloat16"):
        run_batches(
            sizes,
            make_batch,
            lambda batch: model(batch, features_only=True, classification_head_name=head)[0],
            take,
            batch_rows=batch_tokens * width // WIDTH,  # as many positions, whatever the tokens of each
            progress=progress,
        )
    return logits
