"""``next`` and ``acc`` scored: checkpoints, chance and baselines over the queries of a data-bin."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.sentences import pair_baselines
from musicbert.evaluation.metrics.bootstrap import Draws, Interval, resample
from musicbert.evaluation.metrics.classification import classification_draws
from musicbert.evaluation.metrics.ranking import PLACES, chance, metric_names, ranking_draws
from musicbert.evaluation.predictions import Predictions, probabilities, save_predictions
from musicbert.evaluation.rows import Row, row_from_draws
from musicbert.predict.sentences.scoring import LABEL, Scoring, read_about, seeds_of

_TRUE = "1"
#: Candidates of a query in data without ``label/<part>.group``, as published.
GROUP = 50


def score_pairs(
    data: str | PathLike[str],
    out: str | PathLike[str],
    *,
    checkpoints: Mapping[str, str | PathLike[str]],
    group: int = GROUP,
    scoring: Scoring | None = None,
) -> list[Row]:
    """Score checkpoints and baselines and write ``scores.{json,csv,md}`` and the predictions (``<row>.npz``).

    The group of a pair is the number of its query; the bootstrap draws queries. ``checkpoints``: row ->
    fine-tuned checkpoint; several seeds are several rows; ``group``: candidates of a query, for data that do
    not name them.
    Returns the rows, also of the mean over seeds where there are several.
    Raises `CheckpointError, DatasetError` (those of `Scoring.logits` and `read_part`; ``wrong-label``,
    ``bad-groups``).
    """
    scoring = scoring or Scoring()
    about = SentenceBin(data, parts=[scoring.part])
    if _TRUE not in about.classes:
        raise DatasetError("wrong-label", f"The labels are {about.classes}, not 0 and 1", path=data)
    true = about.classes.index(_TRUE)
    labels = about.hot[:, true]
    queries = _queries(about, group, data)
    scores: dict[str, Floats] = {}
    if scoring.baselines:
        scores |= pair_baselines(data, scoring.part, seed=scoring.seed)
    for name, checkpoint in checkpoints.items():
        logits = scoring.logits(checkpoint, data, len(about.classes))
        scores[name] = probabilities(logits, "classes")[:, true]
        predictions = Predictions(
            label=LABEL,
            level="sequence",
            kind="classes",
            classes=tuple(about.classes),
            ids=np.array(about.ids or range(len(labels)), np.str_),
            groups=queries.astype(np.str_),
            target=np.where(labels, true, 1 - true),
            outputs=logits,
        )
        save_predictions(Path(out) / f"{name}.npz", {LABEL: predictions})
    number, sizes = np.unique(queries, return_inverse=True, return_counts=True)[1:]
    weights = resample(len(sizes), n_resamples=scoring.resamples, seed=scoring.seed)
    draws: dict[str, Draws] = {}
    for name, values in scores.items():
        draws[name] = ranking_draws(values, labels, queries, weights=weights)
        if name in checkpoints:
            right = classification_draws(labels, values > 0.5, None, weights, number)
            draws[name]["accuracy"] = right["accuracy"]
    facts: dict[str, Any] = {"split": scoring.part, "task": LABEL}
    expected = {name: Interval(value).as_dict() for name, value in chance(labels, queries).items()}
    rows = [Row("baseline", {"pooled": expected}, name="chance", **facts)]
    facts |= {"items": len(labels), "over": "groups"}
    rows += [
        row_from_draws("network" if name in checkpoints else "baseline", [predictions], name=name, **facts)
        for name, predictions in draws.items()
    ]
    rows += [
        row_from_draws("network", [draws[row] for row in members], seeds="one", name=name, **facts)
        for name, members in seeds_of(checkpoints).items()
    ]
    names = metric_names()
    candidates = "-".join(str(size) for size in dict.fromkeys((sizes.min(), sizes.max())))
    scoring.write(
        out,
        data,
        rows,
        notes=[
            f"{len(sizes)} queries of {candidates} candidates, {int(labels.sum())} true pairs. "
            "Brackets: 95 % bootstrap interval over queries; sd of seeds: standard deviation over seeds.",
            "recall@k is what MusicBERT publishes as HITS@k; the two agree where every query has one "
            "true candidate.",
        ],
        metrics=[names[: 1 + len(PLACES)], ["map", *names[1 + len(PLACES) :]]],
        inputs={"data": Path(data) / "input0" / f"{scoring.part}.bin", **checkpoints},
        about=read_about(Path(data) / "label" / "about.json") or None,
        queries=len(sizes),
        pairs=len(labels),
        group=group,
    )
    return rows


def _queries(about: SentenceBin, group: int, data: str | PathLike[str]) -> Ints:
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
