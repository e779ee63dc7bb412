"""Options of a training chosen inside its training part: learning rates, or any recipe.

A run with `Run.search` has alternatives: more options of fairseq-train, as one text each. For every fold,
whole groups of its training part validate; every alternative is trained on the rest and scored on them. All
seeds of the fold then train with the best one. The test part is not looked at. ``OUT/fold<k>/search.json``
says which groups validated and how each alternative did.
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicbert.annotation.folds import carve_validation
from musicbert.atomic import read_json, write_json
from musicbert.corpus.labelled import open_labelled
from musicbert.errors import ConfigError
from musicbert.evaluation.predictions import Predictions, load_predictions
from musicbert.fairseq_plugin.labels.sums import METRICS, metrics_of, sums_of
from musicbert.fairseq_plugin.runs import engine
from musicbert.fairseq_plugin.runs.engine import Run, check_settings, summary

SEARCH, TRIALS = "search.json", "search"
#: share of the training part that validates
SHARE = 0.2


def choose_options(runs: Sequence[Run], **how: Any) -> list[Run]:
    """Try the alternatives of runs, and return all runs with the options that did best, checked.

    ``how``: of `start_runs`. Raises `DatasetError` (``no-validation``, ``other-settings``) and `ConfigError`
    (``unfinished``: a trial failed).
    """
    folds = {run.out.parent: run for run in reversed(runs) if run.search}  # the first seed of each
    trials = {fold: _trials(fold, run) for fold, run in folds.items()}
    if not folds:
        return list(runs)
    outcomes = engine.start_runs(check_settings([trial for of in trials.values() for trial in of]), **how)
    if any(outcome.error for outcome in outcomes):
        raise ConfigError("unfinished", f"the search for options stopped: {summary(outcomes)}")
    chosen = {fold: _choose(fold, folds[fold], of) for fold, of in trials.items()}
    return check_settings(
        [
            replace(run, search=(), arguments=(*run.arguments, *chosen[run.out.parent]))
            if run.search
            else run
            for run in runs
        ]
    )


def _trials(fold: Path, run: Run) -> list[Run]:
    """List a run for each alternative, and write the split into what trains and what validates."""
    data = open_labelled(run.data)
    if run.split is None:
        train = [data.names[piece] for piece in data.part("train")]  # type: ignore[attr-defined]
    else:
        train = read_json(run.split)["train"]
    fit, valid = carve_validation(train, data.groups, seed=f"search/{run.seed}", fraction=SHARE)
    split = fold / TRIALS / "split.json"
    split.parent.mkdir(parents=True, exist_ok=True)
    write_json(split, {"train": fit, "valid": valid, "test": []})
    common = {
        "split": split,
        "parts": ("valid",),
        "search": (),
        "keep_model": False,
        "keep_checkpoint": False,
    }
    return [
        replace(
            run, out=split.parent / f"{number}", arguments=(*run.arguments, *shlex.split(words)), **common
        )  # type: ignore[arg-type]
        for number, words in enumerate(run.search)
    ]


def _choose(fold: Path, run: Run, trials: Sequence[Run]) -> list[str]:
    """Options of the alternative with the best score on what validates."""
    found = [load_predictions(trial.out / "valid.npz") for trial in trials]
    label = next(iter(found[0])) if "ratings" not in found[0] else "ratings"
    metric, scores = _metric(found[0][label]), [_score(predictions[label]) for predictions in found]
    best = max(range(len(scores)), key=lambda number: (scores[number], -number))
    groups = sorted(set(found[0][label].groups.tolist()))
    write_json(
        fold / SEARCH,
        {
            "label": label,
            "metric": metric,
            "validated on groups": groups,
            "tried": [
                {"options": words, "score": score} for words, score in zip(run.search, scores, strict=True)
            ],
            "chosen": run.search[best],
        },
    )
    return shlex.split(run.search[best])


def _metric(predictions: Predictions) -> str:
    return "roc_auc_macro" if predictions.kind == "multilabel" else METRICS[predictions.kind][0]


def _score(predictions: Predictions) -> float:
    """Score of predictions; below every other one where it is undefined."""
    outputs, target = (torch.from_numpy(values) for values in (predictions.outputs, predictions.target))
    sums = sums_of(predictions.kind, outputs, target.long() if predictions.kind == "classes" else target)
    score = metrics_of(predictions.kind, sums)[_metric(predictions)]
    return round(float(np.nan_to_num(score, nan=-1e9)), 6)
