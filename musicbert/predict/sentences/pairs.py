"""``next`` and ``acc`` scored: checkpoints, chance and baselines over the queries of a data-bin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.labelled.sentence_bin import SentencePart, read_part
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.sentences import pair_baselines
from musicbert.evaluation.metrics.bootstrap import Draws, Interval, resample
from musicbert.evaluation.metrics.classification import classification_draws
from musicbert.evaluation.metrics.ranking import PLACES, chance, metric_names, ranking_draws
from musicbert.evaluation.predictions import Predictions, probabilities, save_predictions
from musicbert.evaluation.rows import Row, row_from_draws
from musicbert.evaluation.tables import write_scores
from musicbert.predict.sentences.databin import class_logits
from musicbert.predict.sentences.runs import seeds_of
from musicbert.provenance import provenance

__all__ = ["score_pairs"]

Floats = NDArray[np.float64]
_TRUE, _LABEL = "1", "label"
#: Candidates of a query in data without ``label/<part>.group``, as published.
GROUP = 50


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
) -> list[Row]:
    """Score checkpoints and baselines and write ``scores.{json,csv,md}`` and the predictions.

    Parameters
    ----------
    data
        Data-bin of the task.
    out
        Folder for the results; ``<row>.npz`` holds the predictions under the label ``label``; the group of a
        pair is the number of its query.
    checkpoints
        Row -> fine-tuned checkpoint; several seeds are several rows.
    part
        ``test`` or ``valid``.
    baselines
        Score the baselines too (`musicbert.evaluation.baselines.sentences`).
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
    The rows, also of the mean over seeds where there are several

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
    expected = {"pooled": {name: Interval(value).as_dict() for name, value in expected.items()}}
    rows = [Row("baseline", expected, name="chance", split=part, task=_LABEL)]
    scores: dict[str, Floats] = dict(pair_baselines(data, part, seed=seed)) if baselines else {}
    folder, true = Path(out), about.classes.index(_TRUE)
    for name, checkpoint in checkpoints.items():
        logits = class_logits(checkpoint, data, part, head=head, device=device, progress=progress)
        if logits.shape[1] != len(about.classes):
            raise DatasetError(
                "class-count-mismatch", f"The head has {logits.shape[1]} outputs", path=str(checkpoint)
            )
        scores[name] = probabilities(logits, "classes")[:, true]
        found = Predictions(
            label=_LABEL,
            level="sequence",
            kind="classes",
            classes=tuple(about.classes),
            ids=np.array(about.ids or range(len(labels)), np.str_),
            groups=queries.astype(np.str_),
            target=np.where(labels, true, 1 - true),
            outputs=logits,
        )
        save_predictions(folder / f"{name}.npz", {_LABEL: found})
    draws: dict[str, Draws] = {}
    for name, values in scores.items():
        draws[name] = ranking_draws(values, labels, queries, weights=weights)
        if name in checkpoints:
            query = np.unique(queries, return_inverse=True)[1]
            draws[name] |= {
                "accuracy": classification_draws(labels, values > 0.5, None, weights, query)["accuracy"]
            }
    about_row = {"split": part, "task": _LABEL, "items": len(labels), "over": "groups"}
    rows += [
        row_from_draws("network" if name in checkpoints else "baseline", [found], name=name, **about_row)
        for name, found in draws.items()
    ]
    rows += [
        row_from_draws("network", [draws[row] for row in members], seeds="one", name=name, **about_row)
        for name, members in seeds_of(checkpoints).items()
    ]
    names = metric_names()
    sizes = np.unique(queries, return_counts=True)[1]
    candidates = f"{sizes.min()}" if sizes.min() == sizes.max() else f"{sizes.min()}-{sizes.max()}"
    made = Path(data) / "label" / "about.json"
    write_scores(
        folder,
        title=f"{Path(data).absolute().name}, {part}",
        notes=[
            f"{len(sizes)} queries of {candidates} candidates, {int(labels.sum())} true pairs. "
            "Brackets: 95 % bootstrap interval over queries; sd of seeds: standard deviation over seeds.",
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
