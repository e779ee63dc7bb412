"""A fine-tuned checkpoint over a part of a sentence data-bin, in plain torch.

Any checkpoint with a classification head works (ours, or one that upstream's programs wrote), on a CPU too.
Sequences run in batches of similar length, without the padding to 8,192 tokens of the published program. A
model that was trained on a form of the ablation (``--encoding cp`` or ``remi``) reads that form, cut to its
positions as in training.

Linear probes tell what a model's embeddings know of genre and style without fine-tuning: on the mean of the
last states over a window's notes, one logistic regression a label is fitted, as on the hand-made features.
Probes of whole pieces take mean and deviation over the notes of the states in the middle of the network,
averaged over all windows of a piece.
"""

import itertools
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from musicbert.arrays import Floats, Ints, Singles
from musicbert.corpus.bins.databin import read_index
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.encoding.sequence_views import position_width, sequence_in_view, sizes_in_view
from musicbert.encoding.vocabulary import N_FIELDS, PAD
from musicbert.errors import CheckpointError, DatasetError
from musicbert.evaluation.baselines.sentences import first_windows, logistic_scores, mean_over_windows
from musicbert.predict.runner import pick_device, run_batches
from musicbert.weights import build_model, read_bundle

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
    if bundle.view == "octuple" and stored.max(initial=0) // N_FIELDS > model.config.max_positions:
        raise DatasetError(
            "too-long", f"A sequence has {stored.max()} tokens, more than the model takes", path=prefix
        )
    ends = np.concatenate([[0], np.cumsum(stored)])
    tokens = np.memmap(f"{prefix}.bin", "<u2", "r") if len(stored) else np.zeros(0, np.uint16)
    width = position_width(bundle.view)
    sizes = sizes_in_view(lambda begin, end: tokens[ends[begin] : ends[end]], stored, bundle.view)
    longest = None if bundle.view == "octuple" else model.config.max_positions // width - 2
    if longest is not None:
        sizes = np.minimum(sizes, (longest + 2) * width)
    logits = np.zeros((len(sizes), model.classification_heads[head].out_proj.out_features), np.float32)

    def make_batch(chosen: Ints) -> torch.Tensor:
        batch = np.full((len(chosen), int(sizes[chosen].max())), PAD, np.int64)  # (B, T*F)
        for row, at in zip(batch, chosen, strict=True):
            sequence = tokens[ends[at] : ends[at + 1]]
            row[: sizes[at]] = sequence_in_view(sequence, bundle.view, longest=longest)
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
            batch_rows=batch_tokens * width // N_FIELDS,  # as many positions, whatever the tokens of each
            progress=progress,
        )
    return logits


def random_twin(model: Any, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of a new model of the same sizes, of any family: the control of a probe."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(model.module)(model.config).state_dict()
    return {name: value for name, value in fresh.items() if name in model.module.state_dict()}


def window_vectors(
    model: Any,
    folder: str | PathLike[str],
    part: str,
    chosen: Ints,
    *,
    known: dict[bytes, Floats] | None = None,
    moments: bool = False,
) -> Floats:
    """Embed some sequences (ascending numbers) of a part of one fold [shape=(n, D), float64].

    ``known``: vectors by window, looked up and filled: folds share their windows. ``moments``: mean and
    deviation of the middle states [shape=(n, 2D)] in place of the mean of the last ones.
    """

    def embed(rows: list[Ints]) -> Any:
        if moments:
            return model.moments(rows, layer=(model.config.layers + 1) // 2)[:, 0]
        return model.embed(rows, pooling="mean")

    known = {} if known is None else known
    results: list[Floats] = []
    data = SentenceBin(folder, parts=[part])
    for _, pieces in itertools.groupby(chosen.tolist(), lambda piece: piece // 64):
        rows = list(map(data.rows, pieces))
        keys = [row.tobytes() for row in rows]
        new = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        if new:
            known.update(zip(new, np.asarray(embed(list(new.values())), np.float64), strict=True))
        results += [known[key] for key in keys]
    return np.stack(results) if results else np.zeros((0, 0))


def probe_scores(
    model: Any, folder: str | PathLike[str], part: str = "test", *, known: dict[bytes, Floats] | None = None
) -> Floats:
    """Score the sequences of a part by regressions on embeddings of the training part [shape=(n, C), 0-1]."""
    training, about = SentenceBin(folder, parts=["train"]), SentenceBin(folder, parts=[part])
    chosen = first_windows(training)
    train = window_vectors(model, folder, "train", chosen, known=known)
    here = window_vectors(model, folder, part, np.arange(len(about)), known=known)
    return logistic_scores(train, training.hot[chosen].astype(np.int64), here)


def whole_probe_scores(
    model: Any, folder: str | PathLike[str], part: str = "test", *, known: dict[bytes, Floats] | None = None
) -> Floats:
    """Score whole pieces as `probe_scores` does, from all of their windows.

    Returns a row a sequence, equal for all those of a piece [shape=(n, C), 0-1].
    """

    def pieces(name: str) -> tuple[SentenceBin, list[str], Any, Floats]:
        data = SentenceBin(folder, parts=[name])
        vectors = window_vectors(model, folder, name, np.arange(len(data)), known=known, moments=True)
        return data, *mean_over_windows(data, vectors)

    _, _, labels, train = pieces("train")
    about, names, _, here = pieces(part)
    at = {name: k for k, name in enumerate(names)}
    ids = about.ids or names
    return logistic_scores(train, labels.astype(np.int64), here)[[at[name] for name in ids]]
