"""The report of a fine-tuning experiment: the network beside its baselines, every row named.

Rows
----
``network, one seed``
    Scores of each seed (test parts of all folds together), averaged, with their standard deviation.
``network, ensemble of N seeds``
    The mean of the seeds' predictions (``network`` where there is one seed).
``network, segments``
    Single windows in place of pieces, as the benchmarks of the papers score labels of pieces.
``majority``, ``features: logistic``, ``skyline table``, ...
    `musicbert.evaluation.baselines.taggers`, fitted on the training part of the same folds.

``pooled``: the test parts of all folds as one set, with bootstrap intervals over groups of pieces.
``mean_of_folds``: each fold scored alone, averaged over folds and seeds, as cross-validations are published;
``sd`` is that over the folds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.annotation.names import natural_key
from musicbert.corpus.labelled.pieces import Task
from musicbert.corpus.labelled.shards import Shards
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.taggers import baseline_names, baseline_predictions
from musicbert.evaluation.metrics.bootstrap import Interval
from musicbert.evaluation.predictions import Predictions, load_predictions, pool
from musicbert.evaluation.scores import (
    confusion,
    draw_scores,
    metrics_of,
    per_class,
    resampled_groups,
)

__all__ = ["RunFolder", "build_tagging_report", "read_run_folder"]

#: runs by seed and fold
Runs = dict[int, dict[str, Predictions]]
Extra = Mapping[str, Callable[[Predictions], float]]


class RunFolder:
    """What `musicbert.fairseq_plugin.runs.engine` has left in a folder.

    Attributes
    ----------
    record
        ``task.json``.
    task
        The task.
    splits
        Parts of each fold that is scored.
    runs
        Test predictions by seed and fold.
    parameters, seconds
        Parameters of the model; seconds of all runs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.record = json.loads((path / "task.json").read_text(encoding="utf-8"))
            values = dict(self.record["task"])
            self.task = Task(**{**values, **{k: tuple(values[k]) for k in ("classes", "ignore", "seeds")}})
            seeds = [int(seed) for seed in self.record["seeds"]]
        except FileNotFoundError as error:
            raise DatasetError(
                "not-found", "There is no experiment here (no task.json)", path=path, hint="fine-tune first"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError("bad-runs", f"task.json cannot be read: {error!r}", path=path) from error
        folds = sorted(self.record["leaks"], key=natural_key)
        missing = [
            f"fold{fold}/seed{seed}"
            for seed in seeds
            for fold in folds
            if not (path / f"fold{fold}" / f"seed{seed}" / "run.json").is_file()
        ]
        if missing:
            raise DatasetError(
                "incomplete-runs",
                f"{len(missing)} of {len(seeds) * len(folds)} runs are not done, such as {missing[0]}",
                path=path,
                hint="give the same fine-tuning command again",
            )
        self.splits = {
            fold: json.loads((path / f"fold{fold}" / "split.json").read_text(encoding="utf-8"))
            for fold in folds
        }
        self.runs: Runs = {
            seed: {
                fold: load_predictions(path / f"fold{fold}" / f"seed{seed}" / "test.npz")[self.task.label]
                for fold in folds
            }
            for seed in seeds
        }
        done = [json.loads(file.read_text(encoding="utf-8")) for file in path.glob("fold*/seed*/run.json")]
        self.parameters = max(int(each.get("parameters", 0)) for each in done)
        self.seconds = sum(float(each.get("seconds", 0)) for each in done)


def read_run_folder(path: str | PathLike[str]) -> RunFolder:
    """Read an experiment.

    Raises
    ------
    DatasetError
        ``not-found``, ``bad-runs``, ``incomplete-runs``, ``bad-predictions``.
    """
    return RunFolder(Path(path))


def _interval(draws: NDArray[np.float64]) -> dict[str, float | None]:
    """Value (first) with its percentile interval over the resamples (the rest)."""
    value, rest = draws[0], draws[1:][np.isfinite(draws[1:])]
    if not np.isfinite(value) or not len(rest):
        return Interval(float(value), np.nan, np.nan, np.nan).as_dict()
    low, high = np.quantile(rest, [0.025, 0.975])
    return Interval(float(value), float(low), float(high), float(rest.std())).as_dict()


def _row(
    seeds: Sequence[Mapping[str, Predictions]],
    weights: NDArray[np.float64],
    kind: str,
    extra: Extra | None,
) -> dict[str, Any]:
    """Scores of a row: pooled over folds, averaged over seeds."""
    joined = [pool(list(folds.values())) for folds in seeds]
    drawn = [draw_scores(each, weights) for each in joined]
    pooled = {name: _interval(np.mean([each[name] for each in drawn], axis=0)) for name in drawn[0]}
    for name, metric in (extra or {}).items():
        value = float(np.mean([metric(each) for each in joined]))
        pooled[name] = Interval(value, np.nan, np.nan, np.nan).as_dict()
    if len(seeds) > 1:
        for name in drawn[0]:
            pooled[name]["seeds_sd"] = float(np.std([each[name][0] for each in drawn], ddof=1))
    apart = [[metrics_of(part, extra) for part in folds.values()] for folds in seeds]
    mean_of_folds = {}
    for name in apart[0][0]:
        table = np.array([[fold[name] for fold in folds] for folds in apart], np.float64)  # (seeds, folds)
        by_fold = _nanmean(table)
        known = by_fold[np.isfinite(by_fold)]
        mean_of_folds[name] = {
            "value": float(known.mean()) if len(known) else None,
            "sd": float(known.std(ddof=1)) if len(known) > 1 else None,
        }
    return {"kind": kind, "pooled": pooled, "mean_of_folds": mean_of_folds, "draws": drawn}


def _nanmean(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis, NaN left out [shape=(n,)]."""
    known = np.isfinite(table)
    count = known.sum(0)
    total = np.where(known, table, 0.0).sum(0)
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def build_tagging_report(
    folder: RunFolder,
    shards: Shards | None = None,
    *,
    extra: Extra | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Score an experiment.

    Parameters
    ----------
    folder
        The runs.
    shards
        The data set, for baselines; none are made without it.
    extra
        Further metrics: name -> function of predictions.
    n_resamples, seed
        Of the bootstrap (and of baselines that draw).
    progress
        Called with the name of each baseline before it is fitted.

    Returns
    -------
    JSON-ready dictionary (see the module)

    Raises
    ------
    DatasetError
        ``other-data`` where the shards are not those that the runs were made with.
    """
    task, runs = folder.task, list(folder.runs.values())
    if shards is not None and shards.sha256 != folder.record["data"]["sha256"]:
        raise DatasetError("other-data", "the runs were made with other data", path=shards.path)
    whole = pool(list(runs[0].values()))
    weights = resampled_groups(len(np.unique(whole.groups)), n_resamples=n_resamples, seed=seed)
    rows: dict[str, dict[str, Any]] = {}
    ensemble = [{fold: pool([run[fold] for run in runs]) for fold in runs[0]}]
    if len(runs) > 1:
        rows["network, one seed"] = _row(runs, weights, "network", extra)
        rows[f"network, ensemble of {len(runs)} seeds"] = _row(ensemble, weights, "network", extra)
    else:
        rows["network"] = _row(runs, weights, "network", extra)
    has_segments = whole.segment_piece is not None and len(whole.segment_piece) > len(whole)
    if has_segments:
        cut = [{fold: part.segments() for fold, part in run.items()} for run in runs]
        rows["network, segments"] = _row(cut, weights, "network", None)
    if shards is not None:
        for name in baseline_names(shards, task):
            if progress is not None:
                progress(name)
            rows[name] = _row([_baseline(shards, task, folder, name, seed)], weights, "baseline", extra)
    metric = _headline(task, rows)
    main = next(name for name in rows if "one seed" not in name)
    best = pool(list(ensemble[0].values()))
    result = {
        "format": "musicbert-tagging-report",
        "task": folder.record["task"],
        "data": folder.record["data"],
        "model": folder.record["model"],
        "parameters": folder.parameters,
        "split": folder.record["split"],
        "train_share": folder.record.get("train_share", 1.0),
        "train_pieces": {fold: len(split["train"]) for fold, split in folder.splits.items()},
        "leaks": folder.record["leaks"],
        "leak_note": folder.record.get("leak_note", ""),
        "recipe": folder.record["recipe"],
        "seeds": folder.record["seeds"],
        "seconds": round(folder.seconds, 1),
        "pieces": len(whole),
        "items": int(whole.scored.sum()),
        "groups": len(np.unique(whole.groups)),
        "folds": len(folder.splits),
        "bootstrap": {"resamples": n_resamples, "over": "groups of pieces"},
        "headline": metric,
        "main": main,
        "differences": _differences(rows, main, metric),
        "per_class": _clean(per_class(best)),
    }
    if task.kind == "classes":
        result["confusion"] = confusion(best).tolist()
    result["rows"] = {name: {k: v for k, v in row.items() if k != "draws"} for name, row in rows.items()}
    return result


def _baseline(shards: Shards, task: Task, folder: RunFolder, name: str, seed: int) -> dict[str, Predictions]:
    return {
        fold: baseline_predictions(
            shards,
            task,
            name,
            [shards.index[piece] for piece in split["train"]],
            [shards.index[piece] for piece in split["test"]],
            seed=seed,
        )
        for fold, split in folder.splits.items()
    }


def _headline(task: Task, rows: Mapping[str, Mapping[str, Any]]) -> str:
    known = next(iter(rows.values()))["pooled"]
    return task.metric if task.metric in known else next(iter(known))


def _differences(rows: Mapping[str, Any], main: str, metric: str) -> dict[str, Any]:
    """Paired interval of the network's headline minus that of each baseline."""
    found = {}
    mine = rows[main]["draws"][0].get(metric)
    for name, row in rows.items():
        theirs = row["draws"][0].get(metric)
        if row["kind"] == "baseline" and mine is not None and theirs is not None:
            found[name] = _interval(mine - theirs)
    return found


def _clean(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Table for JSON: None for NaN."""
    return [{k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()} for row in table]
