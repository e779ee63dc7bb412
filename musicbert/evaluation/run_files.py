"""Runs of a network on disk: predictions and curves by fold and seed.

Layout: ``<runs>/fold<k>/seed<s>/{test,valid,train}.npz``, or ``<report>/predictions.npz``, which a report
keeps; and, where there is one, a log (``log.jsonl``,
``train.log`` or a folder ``tensorboard``). An experiment of `musicbert finetune` has a ``task.json`` too, and
a ``run.json`` of each run that is done.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.annotation.names import natural_key
from musicbert.atomic import check_types, read_json
from musicbert.corpus.labelled.pieces import Task
from musicbert.errors import DatasetError
from musicbert.evaluation.predictions import Predictions, load_predictions
from musicbert.evaluation.training_log import Curves, read_curves

_FOLDER = re.compile(r"fold(?P<fold>\w+)[/\\]seed(?P<seed>\d+)$")
#: name of a piece that its data-bin does not name: unique within a fold only
_UNNAMED = re.compile(r"(train|valid|test)-\d+")
LOGS = ("log.jsonl", "train.log", "tensorboard")
#: predictions that a report keeps
KEPT = "predictions.npz"
#: quantities whose curves are drawn
CURVES = ("loss", "score", "r2", "R2", "accuracy")


@dataclass(frozen=True, eq=False)
class Run:
    """One training run: its fold and seed, predictions by part and label, curves."""

    fold: str
    seed: int
    parts: Mapping[str, Mapping[str, Predictions]]
    curves: Curves


def read_runs(folder: str | PathLike[str], parts: Sequence[str] = ("test",)) -> list[Run]:
    """Read these parts of every run below a folder, sorted by fold and seed; each has ``test``.

    A folder of a report gives the predictions that it kept, without labels.
    Raises `DatasetError` (``no-runs`` where there is no ``fold<k>/seed<s>/test.npz``; ``bad-predictions``).
    """
    runs = []
    if (file := Path(folder) / KEPT).is_file():
        for name, part in load_predictions(file).items():
            if match := _FOLDER.search(name):
                runs.append(Run(match["fold"], int(match["seed"]), {"test": {part.label: part}}, {}))
    for test in sorted(Path(folder).glob("fold*/seed*/test.npz")):
        match = _FOLDER.search(str(test.parent))
        if match is None:
            continue
        files = {part: test.with_name(f"{part}.npz") for part in parts}
        log = next((test.with_name(name) for name in LOGS if test.with_name(name).exists()), None)
        loaded = {
            part: {
                label: named_by_fold(predictions, match["fold"])
                for label, predictions in load_predictions(path).items()
            }
            for part, path in files.items()
            if path.is_file()
        }
        runs.append(Run(match["fold"], int(match["seed"]), loaded, {} if log is None else read_curves(log)))
    if not runs:
        raise DatasetError(
            "no-runs", "there are no predictions here", path=folder, hint="expected fold<k>/seed<s>/test.npz"
        )
    return sorted(runs, key=lambda run: (natural_key(run.fold), run.seed))


def kept_folds(folder: str | PathLike[str], kind: str) -> dict[str, Predictions]:
    """Return by fold what the report in a folder kept of a row (``hybrid``, ``partner``), if anything."""
    file, start = Path(folder) / KEPT, f"{kind}/fold"
    parts = load_predictions(file) if file.is_file() else {}
    return {name.removeprefix(start): part for name, part in parts.items() if name.startswith(start)}


def named_by_fold(predictions: Predictions, fold: str) -> Predictions:
    """Put the fold before names that are unique within it only."""
    if not all(_UNNAMED.fullmatch(name) for name in predictions.ids.tolist()):
        return predictions
    ids = np.array([f"fold{fold}/{name}" for name in predictions.ids.tolist()], np.str_)
    alone = np.array_equal(predictions.groups, predictions.ids)
    return replace(predictions, ids=ids, groups=ids if alone else predictions.groups)


def curves_of_runs(runs: Sequence[Run]) -> Curves:
    """Return the curves of losses and scores of all runs, a line a part, fold and seed."""
    curves: Curves = {}
    for run in runs:
        for quantity, parts in run.curves.items():
            for part, points in parts.items():
                if quantity in CURVES and points:
                    curves.setdefault(quantity, {})[f"{part} fold {run.fold} seed {run.seed}"] = points
    return curves


@dataclass(frozen=True, eq=False)
class Experiment:
    """What `musicbert finetune` left in a folder, for one label."""

    path: Path
    record: Mapping[str, Any]  # task.json
    task: Task
    runs: Mapping[int, Mapping[str, Predictions]]  # test predictions by seed and fold
    splits: Mapping[str, Mapping[str, Sequence[str]]]  # parts of each fold, where the folder has them
    curves: Curves
    parameters: int
    seconds: float  # of all runs


def read_experiment(path: str | PathLike[str], label: str = "") -> Experiment:
    """Read an experiment for one label, the first if empty.

    Raises `DatasetError`: ``not-found``, ``bad-runs``, ``incomplete-runs``, ``bad-predictions``,
    ``unknown-label``.
    """
    path = Path(path)
    try:
        record = read_json(path / "task.json")
        check_types(record, leaks=dict, seeds=list, data=dict)
        check_types(record["data"], codec=str)
        if (
            any(type(seed) is not int for seed in record["seeds"])
            or not record["leaks"]
            or not record["seeds"]
        ):
            raise ValueError("no folds, or seeds that are not numbers")
        if any("/" in fold or "\0" in fold for fold in record["leaks"]):
            raise ValueError("a fold is not a name")
        tasks = [_task(values) for values in record.get("tasks") or [record["task"]]]
        wanted = {(fold, int(seed)) for fold in record["leaks"] for seed in record["seeds"]}
    except FileNotFoundError as error:
        raise DatasetError(
            "not-found", "There is no experiment here (no task.json)", path=path, hint="fine-tune first"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DatasetError("bad-runs", f"task.json cannot be read: {error!r}", path=path) from error
    task = next((task for task in tasks if task.label == (label or tasks[0].label)), None)
    if task is None:
        names = ", ".join(task.label for task in tasks)
        raise DatasetError("unknown-label", f"No label {label!r}; there are {names}", path=path)
    folders = {(fold, seed): path / f"fold{fold}" / f"seed{seed}" for fold, seed in wanted}
    missing = sorted(str(f.relative_to(path)) for f in folders.values() if not (f / "run.json").is_file())
    if missing:
        raise DatasetError(
            "incomplete-runs",
            f"{len(missing)} of {len(wanted)} runs are not done, such as {missing[0]}",
            path=path,
            hint="give the same fine-tuning command again",
        )
    runs = [run for run in read_runs(path) if (run.fold, run.seed) in wanted]
    folds = sorted(record["leaks"], key=natural_key)
    files = {fold: path / f"fold{fold}" / "split.json" for fold in folds}
    try:
        done = [read_json(folder / "run.json") for folder in folders.values()]
        parameters = max(int(each.get("parameters", 0)) for each in done)
        seconds = sum(float(each.get("seconds", 0)) for each in done)
        splits = {fold: read_json(file) for fold, file in files.items() if file.is_file()}
        predictions = {(run.fold, run.seed): run.parts["test"][task.label] for run in runs}
        outputs = {seed: {fold: predictions[fold, seed] for fold in folds} for seed in record["seeds"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"a run.json, a split.json or predictions are not those of task.json: {error!r}"
        raise DatasetError("bad-runs", message, path=path) from error
    return Experiment(
        path=path,
        record=record,
        task=task,
        runs=outputs,
        splits=splits,
        curves=curves_of_runs(runs),
        parameters=parameters,
        seconds=seconds,
    )


def _task(values: Mapping[str, Any]) -> Task:
    check_types(values, label=str, classes=list)
    return Task(**{**values, **{name: tuple(values[name]) for name in ("classes", "ignore", "seeds")}})
