"""Which runs an experiment has: every fold with every seed.

`plan_task` lists those of a task on labelled pieces and writes ``OUT/task.json`` (what was asked for) and
``OUT/fold<k>/split.json`` (the pieces of each part); `run_task` also does them. `plan_folds` lists those of
any recipe on the fold folders of a data-bin. `musicbert.fairseq_plugin.runs.engine` says what the folder
``OUT/fold<k>/seed<s>`` of a run holds. The fold ``all`` has no test part: its model has seen every piece and
is the one to use.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.annotation.folds import Fold, carve_validation, leaks
from musicbert.atomic import write_json
from musicbert.corpus.labelled.pieces import Task
from musicbert.corpus.labelled.shards import Shards
from musicbert.corpus.splits.task_folds import CLEAN, Validation, task_folds
from musicbert.corpus.splits.training_share import share_folds
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.runs.engine import LAST, Run, RunOutcome, check_settings, start_runs
from musicbert.fairseq_plugin.runs.models import ModelChoice, choose_model
from musicbert.fairseq_plugin.runs.recipe import Recipe, training_arguments

__all__ = ["ALL", "fold_folders", "plan_folds", "plan_task", "run_task"]

SPLIT, TASK = "split.json", "task.json"
ALL = "all"


def plan_folds(
    data: Path,
    out: Path,
    seeds: Iterable[int],
    arguments: Sequence[str],
    *,
    folds: Sequence[str] | None = None,
    checkpoint: str = LAST,
    **how: Any,
) -> list[Run]:
    """List the runs of every fold of a data-bin with every seed, seeds outermost.

    Parameters
    ----------
    data
        Data-bin, with a folder for each fold.
    out
        Folder of the experiment.
    folds
        Names of the folds to run; all if None.
    seeds, arguments, checkpoint, how
        See `Run`: ``parts``, ``keep_checkpoint``, ``threads``, ``before``.

    Raises
    ------
    DatasetError
        ``not-found``, ``unknown-fold``, ``other-settings``.
    """
    folders = _chosen(fold_folders(data), folds, data)
    runs = [
        Run(
            data=folder.absolute(),
            out=_run_folder(out, name, seed),
            seed=seed,
            arguments=tuple(arguments),
            checkpoint=checkpoint,
            **how,
        )
        for seed in seeds
        for name, folder in folders.items()
    ]
    check_settings(runs)
    return runs


def fold_folders(data: Path) -> dict[str, Path]:
    """Name -> folder of the folds of a data-bin, in order.

    Raises
    ------
    DatasetError
        ``not-found``.
    """
    folders = [place.parent for place in data.glob("*/input0") if place.parent.name.isdecimal()]
    if not folders:
        raise DatasetError(
            "not-found",
            "no data-bin here (a folder for each fold)",
            path=data,
            hint="run scripts/binarize_xai.sh",
        )
    return {folder.name: folder for folder in sorted(folders, key=lambda place: int(place.name))}


def plan_task(
    shards: Shards,
    task: Task,
    model: ModelChoice | str,
    out: str | PathLike[str],
    *,
    split: str = CLEAN,
    folds: int = 5,
    only_folds: Sequence[str] | None = None,
    seeds: Iterable[int] | None = None,
    recipe: Recipe | None = None,
    validation: Validation = "auto",
    split_seed: int | str = 7,
    train_share: float = 1.0,
    parts: Sequence[str] = ("test",),
    keep_models: bool = False,
    final: bool = False,
    threads: int = 1,
    cpu: bool = False,
) -> list[Run]:
    """List the runs of every fold with every seed, seeds outermost, and write their splits.

    Parameters
    ----------
    shards, task, model
        What to train on, what to learn, what to start from (`choose_model`).
    out
        Folder of the experiment.
    split, folds, validation, split_seed
        See `musicbert.corpus.splits.task_folds.task_folds`.
    train_share
        Share of each training part that is trained on, above 0 and up to 1
        (`musicbert.corpus.splits.training_share`).
    only_folds
        Names of the folds to run; all if None.
    seeds
        Seeds; those of the task if None.
    recipe
        How to fine-tune.
    parts
        Parts to predict.
    keep_models
        Export the model of every run.
    final
        Also train one model on every piece, with the first seed: the fold ``all``.
    threads, cpu
        See `Run`.

    Raises
    ------
    DatasetError
        ``wrong-codec``, ``unknown-fold``, ``other-settings`` (the folder holds runs, or a split, of other
        settings), and those of `task_folds`.
    ConfigError
        ``bad-share``.
    """
    choice = choose_model(model, codec=shards.codec) if isinstance(model, str) else model
    recipe, out = recipe or Recipe(), Path(out).absolute()
    if choice.family == "musicbert" and shards.codec != "octuple":
        raise DatasetError(
            "wrong-codec",
            f"MusicBERT reads octuples, and this data set holds {shards.codec!r}",
            path=shards.path,
            hint="write it with the codec 'octuple'",
        )
    plans, groups = task_folds(shards, task, split, n_folds=folds, seed=split_seed, validation=validation)
    everything = {ALL: _everything(plans, groups, str(split_seed))} if final else {}
    chosen = _chosen(plans, only_folds, shards.path)
    chosen = share_folds(shards, task, chosen, groups, train_share, seed=split_seed)
    seeds = list(seeds if seeds is not None else task.seeds)
    record = {
        "task": asdict(task),
        "data": {"path": shards.path.name, "sha256": shards.sha256, "codec": shards.codec},
        "model": choice.name,
        "family": choice.family,
        "split": split,
        "train_share": train_share,
        "leaks": {name: leaks(fold, groups) for name, fold in chosen.items()},
        "leak_note": task.splits.get(split, ""),
        "recipe": asdict(recipe),
        "seeds": seeds,
    }
    chosen |= share_folds(shards, task, everything, groups, train_share, seed=split_seed)
    about = {
        "family": choice.family,
        "task": {
            **{name: getattr(task, name) for name in ("name", "label", "level", "kind")},
            "classes": list(task.classes),
            "ignore": list(task.ignore),
        },
    }
    origin = Path(choice.name).name if choice.pretrained else choice.name
    arguments = {
        name: tuple(
            training_arguments(shards, task, choice, recipe, [shards.index[piece] for piece in fold["train"]])
        )
        for name, fold in chosen.items()
    }
    runs = [
        Run(
            data=shards.path.absolute(),
            split=out / f"fold{name}" / SPLIT,
            out=_run_folder(out, name, seed),
            seed=seed,
            arguments=arguments[name],
            parts=() if name == ALL else tuple(parts),
            keep_model=keep_models or name == ALL,
            about={**about, "origin": {"model": origin, "seed": seed}},
            threads=threads,
            cpu=cpu,
        )
        for seed in seeds
        for name in chosen
        if name != ALL or seed == seeds[0]
    ]
    share = {} if train_share == 1 else {"train_share": train_share}
    splits = {out / f"fold{name}" / SPLIT: {**fold, **share} for name, fold in chosen.items()}
    check_settings(runs)
    for path, content in splits.items():
        _check_split(path, content)
    for path, content in {**splits, out / TASK: record}.items():
        _write(path, content)
    return runs


def run_task(
    shards: Shards,
    task: Task,
    model: ModelChoice | str,
    out: str | PathLike[str],
    *,
    workers: int = 1,
    progress: bool = True,
    **options: Any,
) -> list[RunOutcome]:
    """Fine-tune on every fold with every seed (see `plan_task` and `start_runs`).

    >>> run_task(Shards("melody"), task, "scratch:musicbert_tiny", "out", seeds=[2021])  # doctest: +SKIP
    """
    return start_runs(plan_task(shards, task, model, out, **options), workers=workers, progress=progress)


def _chosen(folds: Mapping[str, Any], names: Sequence[str] | None, path: Path) -> dict[str, Any]:
    unknown = sorted(set(names or ()) - set(folds))
    if unknown:
        raise DatasetError(
            "unknown-fold", f"no fold {', '.join(unknown)}; there are {', '.join(folds)}", path=path
        )
    return {name: folds[name] for name in (names or folds)}


def _run_folder(out: Path, fold: str, seed: int) -> Path:
    return (out / f"fold{fold}" / f"seed{seed}").absolute()


def _everything(plans: dict[str, Fold], groups: dict[str, str], seed: str) -> Fold:
    """Every piece for training, except for a validation part to select by."""
    names = sorted({name for fold in plans.values() for part in fold.values() for name in part})
    train, valid = carve_validation(names, groups, seed=f"{seed}/{ALL}")
    return {"train": train, "valid": valid, "test": []}


def _check_split(path: Path, content: Mapping[str, Any]) -> None:
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != content:
        raise DatasetError(
            "other-settings",
            "this experiment was begun with another split, or another share of its training part",
            path=path,
            hint="choose another output folder, or remove this one",
        )


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, unless it holds this already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.loads(json.dumps(content))  # tuples are lists on disk
    if not path.is_file() or json.loads(path.read_text(encoding="utf-8")) != text:
        write_json(path, content)
