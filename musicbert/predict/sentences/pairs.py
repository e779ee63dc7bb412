"""``next`` and ``acc`` scored: checkpoints, chance and baselines over the queries of a data-bin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.labelled.sentence_bin import SentencePart, read_part
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.pairs import pair_baselines
from musicbert.evaluation.metrics.bootstrap import resample
from musicbert.evaluation.metrics.ranking import PLACES, chance, metric_names, ranking_scores
from musicbert.evaluation.reports.score_files import with_means, write_scores
from musicbert.predict.sentences.databin import class_logits
from musicbert.provenance import provenance

__all__ = ["score_pairs", "true_scores"]

Floats = NDArray[np.float64]
_TRUE = "1"
#: Candidates of a query in data without ``label/<part>.group``, as published.
GROUP = 50


def true_scores(logits: NDArray[np.float32], classes: Sequence[str]) -> Floats:
    """Return the probability that a pair is true [shape=(n,)] from the logits [shape=(n, 2)]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    probability: Floats = weights[:, list(classes).index(_TRUE)] / weights.sum(axis=1)
    return probability


def score_pairs(
    data: str | PathLike[str],
    out: str | PathLike[str],
    *,
    checkpoints: Mapping[str, str | PathLike[str]],
    part: str = "test",
    baselines: bool = True,
    group: int = GROUP,
    head: str | None = None,
    device: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
    command: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Score checkpoints and baselines and write ``scores.{json,csv,md}`` and the predictions.

    Parameters
    ----------
    data
        Data-bin of the task.
    out
        Folder for the results; ``<row>.npz`` holds ``probability``, ``labels`` and ``queries``.
    checkpoints
        Row -> fine-tuned checkpoint; several seeds are several rows.
    part
        ``test`` or ``valid``.
    baselines
        Score the baselines too (`musicbert.evaluation.baselines.pairs`).
    group
        Candidates of a query, for data that do not name their queries.
    head, device
        See `class_logits`.
    resamples, seed
        Of the bootstrap over queries.
    command
        Words of the command line, for the record.
    progress
        Called with (done, all) sequences.

    Returns
    -------
    row -> metric -> interval

    Raises
    ------
    CheckpointError, DatasetError
        Those of `class_logits` and `read_part`; ``bad-groups``.
    """
    about = read_part(data, part)
    if _TRUE not in about.classes:
        raise DatasetError("wrong-label", f"The labels are {about.classes}, not 0 and 1", path=data)
    labels = about.hot[:, about.classes.index(_TRUE)]
    queries = _queries(about, group, data)
    weights = resample(len(np.unique(queries)), n_resamples=resamples, seed=seed)
    expected = chance(labels, queries)
    rows: dict[str, Any] = {
        "chance": {name: {"value": value, "low": None, "high": None} for name, value in expected.items()}
    }
    scores: dict[str, Floats] = dict(pair_baselines(data, part, seed=seed)) if baselines else {}
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, checkpoint in checkpoints.items():
        logits = class_logits(checkpoint, data, part, head=head, device=device, progress=progress)
        if logits.shape[1] != len(about.classes):
            raise DatasetError(
                "class-count-mismatch", f"The head has {logits.shape[1]} outputs", path=str(checkpoint)
            )
        scores[name] = true_scores(logits, about.classes)
        np.savez_compressed(folder / f"{name}.npz", probability=scores[name], labels=labels, queries=queries)
    for name, values in scores.items():
        found = ranking_scores(values, labels, queries, weights=weights)
        rows[name] = {metric: interval.as_dict() for metric, interval in found.items()}
        if name in checkpoints:
            rows[name]["accuracy"] = {
                "value": float(((values > 0.5) == labels).mean()),
                "low": None,
                "high": None,
            }
    names = metric_names()
    sizes = np.unique(queries, return_counts=True)[1]
    candidates = f"{sizes.min()}" if sizes.min() == sizes.max() else f"{sizes.min()}-{sizes.max()}"
    made = Path(data) / "label" / "about.json"
    rows = with_means(rows)
    write_scores(
        folder,
        title=f"{Path(data).absolute().name}, {part}",
        notes=[
            f"{len(sizes)} queries of {candidates} candidates, {int(labels.sum())} true pairs. "
            "Brackets: 95 % bootstrap interval over queries.",
            "recall@k is what MusicBERT publishes as HITS@k; the two agree where every query has one "
            "true candidate.",
        ],
        rows=rows,
        metrics=[names[: 1 + len(PLACES)], ["map", *names[1 + len(PLACES) :]]],
        more={
            "about": json.loads(made.read_text(encoding="utf-8")) if made.is_file() else None,
            "queries": len(sizes),
            "pairs": len(labels),
            "provenance": provenance(
                command,
                inputs={
                    "data": Path(data) / "input0" / f"{part}.bin",
                    **{name: str(path) for name, path in checkpoints.items()},
                },
                seed=seed,
                configuration={"part": part, "group": group, "resamples": resamples},
            ),
        },
    )
    return rows


def _queries(about: SentencePart, group: int, data: str | PathLike[str]) -> NDArray[np.int64]:
    if about.queries is not None:
        return about.queries
    if group < 2 or len(about) % group:
        raise DatasetError(
            "bad-groups",
            f"{len(about)} pairs are not groups of {group}",
            path=data,
            hint="give the size of a group with --group",
        )
    return np.arange(len(about)) // group
