"""Which runs an experiment has: every fold with every seed, seeds outermost.

`plan_task` lists those of a task on shards (`run_task` also does them), `plan_databin` those of one or two
labels of a data-bin, whose fold folders are the folds. Both write ``OUT/task.json`` (settings) and
``OUT/fold<k>/split.json`` (the pieces of each part). `plan_folds` lists runs of a data-bin with any options
of fairseq-train. The fold ``all`` of shards has no test part: its model has seen every piece and is the one
to use.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.annotation.folds import Fold, carve_validation, leaks
from musicbert.atomic import write_json
from musicbert.corpus.bins.databin import fold_folders
from musicbert.corpus.labelled import LabelledSet, Task
from musicbert.corpus.splits.task_folds import CLEAN, PARTS, Validation, task_folds, unlearnable
from musicbert.corpus.splits.training_share import share_folds
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.runs.arguments import databin_arguments, training_arguments
from musicbert.fairseq_plugin.runs.engine import BEST, LAST, Run, RunOutcome, check_settings, start_runs
from musicbert.fairseq_plugin.runs.models import ModelChoice, choose_model
from musicbert.recipes.finetuning import FineTuning
from musicbert.reuse import hold_folder, read_record, record_hash, require_same

SPLIT, TASK = "split.json", "task.json"
logger = logging.getLogger(__name__)
ALL, DATA_BIN = "all", "data-bin"


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
    """List the runs of every fold of a data-bin.

    ``data``: data-bin with a folder for each fold; ``folds``: names of the folds to run; ``arguments``,
    ``checkpoint``, ``how``: see `Run`. Raises `DatasetError` (``not-found``, ``unknown-fold``,
    ``other-settings``).
    """
    folders = _chosen(fold_folders(data, marker="input0", hint="run scripts/binarize_xai.sh"), folds, data)
    common = {"arguments": tuple(arguments), "checkpoint": checkpoint, **how}
    runs = _list(
        out, seeds, {name: {"data": folder.absolute(), **common} for name, folder in folders.items()}
    )
    return check_settings(runs)


def plan_task(
    shards: LabelledSet,
    task: Task,
    model: ModelChoice | str,
    out: str | PathLike[str],
    *,
    split: str = CLEAN,
    folds: int = 5,
    only_folds: Sequence[str] | None = None,
    seeds: Iterable[int] | None = None,
    recipe: FineTuning | None = None,
    validation: Validation = "auto",
    split_seed: int | str = 7,
    train_share: float = 1.0,
    keep_models: bool = False,
    final: bool = False,
    others: Sequence[Task] = (),
    **how: Any,
) -> list[Run]:
    """List the runs of every fold of a task on shards, and write their splits.

    ``model``: see `choose_model`; ``split``, ``folds``, ``validation``, ``split_seed``: see
    `musicbert.corpus.splits.task_folds.task_folds`; ``only_folds``: names of the folds to run;
    ``train_share``: share of each training part that is trained on, above 0 and up to 1; ``seeds``: default:
    those of the task; ``keep_models``: export the model of every run; ``final``: also train the fold ``all``
    with the first seed; ``others``: further labels of notes that the same model learns; ``how``: see `Run`:
    ``threads``, ``cpu``.

    Raises `DatasetError`: ``wrong-codec``, ``unknown-fold``, ``other-settings`` (the folder holds runs, or a
    split, of other settings), and those of `task_folds`; `ConfigError` (``bad-share``).
    """
    choice = choose_model(model, codec=shards.codec) if isinstance(model, str) else model
    recipe, out = recipe or FineTuning(), Path(out).absolute()
    if choice.family == "musicbert" and shards.codec != "octuple":
        message = f"MusicBERT reads octuples, and this data set holds {shards.codec!r}"
        raise DatasetError("wrong-codec", message, path=shards.path, hint="write it with the codec 'octuple'")
    plans, groups = task_folds(
        shards, task, split, n_folds=folds, seed=split_seed, validation=validation, others=others
    )
    for each in (task, *others):
        for line in unlearnable(shards, each, plans):
            logger.warning("%s", line if not others else f"{each.label}: {line}")
    everything = {ALL: _everything(plans, groups, str(split_seed))} if final else {}
    chosen = _chosen(plans, only_folds, shards.path)
    chosen = share_folds(shards, task, chosen, groups, train_share, seed=split_seed)
    seeds = list(seeds if seeds is not None else task.seeds)
    record = _record(
        [task, *others], shards.path.name, shards.sha256, choice, recipe, seeds,
        codec=shards.codec, split=split, train_share=train_share,
        leaks={name: leaks(fold, groups) for name, fold in chosen.items()},
        leak_note=task.splits.get(split, ""),
        made_by={
            **{"--split": split, "--folds": folds, "--validation": validation, "--split-seed": split_seed},
            "--ignore-classes": [task.classes[k] for k in task.ignore],
        },
    )  # fmt: skip
    chosen |= share_folds(shards, task, everything, groups, train_share, seed=split_seed)
    common = {"data": shards.path.absolute(), "about": _about([task, *others], choice), **how}
    places = {
        name: {
            "split": out / f"fold{name}" / SPLIT,
            "sources": {"split": record_hash(fold)},
            "arguments": tuple(
                training_arguments(
                    shards, task, choice, recipe, [shards.index[k] for k in fold["train"]], others
                )
            ),
            "keep_model": keep_models or name == ALL,
            **common,
            **({"parts": ()} if name == ALL else {}),
        }
        for name, fold in chosen.items()
    }
    runs = _list(out, seeds, places)
    runs = [run for run in runs if run.seed == seeds[0] or run.out.parent.name != f"fold{ALL}"]
    share = {} if train_share == 1 else {"train_share": train_share}
    return _begin(out, record, {name: {**fold, **share} for name, fold in chosen.items()}, runs)


def plan_databin(
    folds: Mapping[str, LabelledSet],
    tasks: Sequence[Task],
    model: ModelChoice,
    out: str | PathLike[str],
    *,
    only_folds: Sequence[str] | None = None,
    seeds: Iterable[int] = (1,),
    recipe: FineTuning | None = None,
    keep_models: bool = False,
    final: bool = False,
    **how: Any,
) -> list[Run]:
    """List the runs of every fold of a data-bin.

    ``folds``: the opened fold folders by name; ``tasks``: labels to learn with one model; the first one
    selects the checkpoint (without a validation part the last one predicts); ``final``: export the model of
    the first seed if there is only one fold. The others: see `plan_task`.

    Raises `DatasetError` (``unknown-fold``, ``other-settings``, ``wrong-codec``); `ConfigError`
    (``bad-option``).
    """
    recipe, out, seeds = recipe or FineTuning(), Path(out).absolute(), list(seeds)
    path = next(iter(folds.values())).path
    chosen = _chosen(folds, only_folds, path)
    splits: dict[str, Fold] = {
        name: {
            part: [piece for piece, its_part in data.split(DATA_BIN).items() if its_part == part]
            for part in PARTS
        }
        for name, data in chosen.items()
    }
    hashes = {name: data.sha256 for name, data in chosen.items()}
    one = len(folds) == 1
    record = _record(
        tasks, path.name if one else path.parent.name, next(iter(hashes.values())) if one else hashes,
        model, recipe, seeds, codec="octuple", split=DATA_BIN, train_share=1.0,
        leaks={name: leaks(splits[name], data.groups) for name, data in chosen.items()}, leak_note="",
    )  # fmt: skip
    places = {
        name: {
            "data": data.path.absolute(),
            "arguments": tuple(databin_arguments(data, tasks, model, recipe)),
            "checkpoint": BEST if splits[name]["valid"] else LAST,
            "about": _about(tasks[:1], model),
            **how,
        }
        for name, data in chosen.items()
    }
    runs = [
        replace(run, keep_model=keep_models or (final and one and run.seed == seeds[0]))
        for run in _list(out, seeds, places)
    ]
    return _begin(out, record, splits, runs)


def run_task(
    shards: LabelledSet,
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
    with hold_folder(out):
        return start_runs(plan_task(shards, task, model, out, **options), workers=workers, progress=progress)


def _chosen(folds: Mapping[str, Any], names: Sequence[str] | None, path: Path) -> dict[str, Any]:
    unknown = sorted(set(names or ()) - set(folds))
    if unknown:
        raise DatasetError(
            "unknown-fold", f"no fold {', '.join(unknown)}; there are {', '.join(folds)}", path=path
        )
    return {name: folds[name] for name in (names or folds)}


def _list(out: Path, seeds: Iterable[int], folds: Mapping[str, Mapping[str, Any]]) -> list[Run]:
    """List the runs of folds, given by the attributes of `Run` that they have, seeds outermost."""
    return [
        Run(out=(out / f"fold{name}" / f"seed{seed}").absolute(), seed=seed, **how)
        for seed in seeds
        for name, how in folds.items()
    ]


def _everything(plans: dict[str, Fold], groups: dict[str, str], seed: str) -> Fold:
    """Every piece for training, except for a validation part to select by."""
    names = sorted({name for fold in plans.values() for part in fold.values() for name in part})
    train, valid = carve_validation(
        names, groups, seed=f"{seed}/{ALL}", otherwise="no model of every piece (--no-final)"
    )
    return {"train": train, "valid": valid, "test": []}


def _record(
    tasks: Sequence[Task],
    data: str,
    sha256: str | Mapping[str, str],
    model: ModelChoice,
    recipe: FineTuning,
    seeds: Sequence[int],
    *,
    codec: str,
    **more: Any,
) -> dict[str, Any]:
    """Content of ``task.json``."""
    return {
        "task": asdict(tasks[0]),
        **({"tasks": [asdict(task) for task in tasks]} if len(tasks) > 1 else {}),
        "data": {"path": data, "sha256": sha256, "codec": codec},
        "model": model.name,
        "family": model.family,
        **more,
        "recipe": asdict(recipe),
        "seeds": list(seeds),
    }


def _about(tasks: Sequence[Task], model: ModelChoice) -> dict[str, Any]:
    """What an exported model says about itself."""
    names = ("name", "label", "level", "kind", "classes", "ignore")
    described = [{name: value for name, value in asdict(task).items() if name in names} for task in tasks]
    origin = {"model": Path(model.name).name if model.pretrained else model.name}
    what = {"task": described[0]} if len(tasks) == 1 else {"tasks": described}
    return {"family": model.family, **what, "origin": origin}


def _begin(
    out: Path, record: Mapping[str, Any], splits: Mapping[str, Mapping[str, Any]], runs: Sequence[Run]
) -> list[Run]:
    """Check what the folder holds already, and write the files of the experiment."""
    files = {out / f"fold{name}" / SPLIT: split for name, split in splits.items()}
    before = (read_record(out / TASK) or {}).get("made_by", {})
    for path, split in files.items():
        old = read_record(path)
        if old is not None and old != split:
            hint = "choose another --output, or remove this one to make it anew"
            now = _as_record(split, record.get("made_by", {}))
            require_same(_as_record(old, before), now, path, hint)
    runs = check_settings(runs)
    for path, content in {**files, out / TASK: record}.items():
        if read_record(path) != json.loads(json.dumps(content)):  # tuples are lists on disk
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, content)
    return runs


def _as_record(split: Mapping[str, Any], made_by: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a split is made from as `musicbert.reuse` compares it: options, and the part of each piece."""
    parts = {name: part for part in PARTS for name in split.get(part, ())}
    share = {"--train-share": split.get("train_share", 1)}
    order = {"order of the pieces": record_hash([split.get(part) for part in PARTS])[:8]}
    return {"settings": {**made_by, **share, **parts, **order}, "files": {}}
