"""What fine-tuning on labelled shards is to do: the runs of every fold with every seed, and their splits.

``plan_task`` lists them and writes ``OUT/task.json`` and ``OUT/fold<k>/split.json``; they are done by
`musicbert.fairseq_plugin.runs.runs`, which says what lies where.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

from musicbert.annotation.folds import Fold, carve_validation, leaks
from musicbert.atomic import write_json
from musicbert.corpus.labelled.pieces import Task
from musicbert.corpus.labelled.shards import Shards
from musicbert.corpus.splits.task_folds import CLEAN, Validation, task_folds
from musicbert.corpus.splits.training_share import share_folds
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.runs.models import ModelChoice, choose_model
from musicbert.fairseq_plugin.runs.recipe import Recipe, training_arguments
from musicbert.provenance import command_line

__all__ = ["ALL", "DONE", "TagRun", "plan_task"]

DONE, SPLIT, TASK = "run.json", "split.json", "task.json"
ALL = "all"


@dataclass(frozen=True)
class TagRun:
    """One training and its predictions.

    Attributes
    ----------
    data, split, out
        Shards, file with the parts, and folder of the run.
    seed
        Seed of the training.
    arguments
        Options of fairseq-train beside the data, the split, the seed and the save directory.
    task
        What is learned.
    codec, family, model_name
        Encoding and model, for the export.
    parts
        Parts to predict.
    keep_model
        Export the model.
    threads
        Threads of torch.
    cpu
        Compute on the CPU even where there is a GPU.
    """

    data: Path
    split: Path
    out: Path
    seed: int
    arguments: tuple[str, ...]
    task: Task
    codec: str
    family: str
    model_name: str
    parts: tuple[str, ...] = ("test",)
    keep_model: bool = False
    threads: int = 1
    cpu: bool = False

    @property
    def done(self) -> bool:
        """Whether the run is complete."""
        return (self.out / DONE).exists()

    def options(self) -> list[str]:
        """Options of fairseq-train as they would be typed elsewhere."""
        return [
            *self.arguments,
            *("--seed", str(self.seed), "--required-batch-size-multiple", "1"),
            *("--no-epoch-checkpoints", "--no-last-checkpoints", "--no-save-optimizer-state"),
            *("--log-format", "json", "--num-workers", "0"),
            *(("--cpu",) if self.cpu else ()),
        ]


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
) -> list[TagRun]:
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
        Also train one model on every piece, of the first seed: the fold ``all``.
    threads, cpu
        See `TagRun`.

    Raises
    ------
    DatasetError
        ``wrong-codec``, ``unknown-fold``, ``other-settings`` where a run is done, but with other options, and
        those of `task_folds`.
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
    unknown = sorted(set(only_folds or ()) - set(plans))
    if unknown:
        raise DatasetError("unknown-fold", f"no fold {', '.join(unknown)}; there are {', '.join(plans)}")
    chosen = {name: plans[name] for name in (only_folds or plans)}
    everything = {ALL: _everything(plans, groups, str(split_seed))} if final else {}
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
    common = {
        "data": shards.path.absolute(),
        "task": task,
        "codec": shards.codec,
        "family": choice.family,
        "model_name": choice.name if not choice.pretrained else Path(choice.name).name,
        "threads": threads,
        "cpu": cpu,
    }
    out.mkdir(parents=True, exist_ok=True)
    runs = []
    arguments = {}
    for name, fold in chosen.items():
        (out / f"fold{name}").mkdir(exist_ok=True)
        _write_split(out / f"fold{name}" / SPLIT, fold, train_share)
        pieces = [shards.index[piece] for piece in fold["train"]]
        arguments[name] = tuple(training_arguments(shards, task, choice, recipe, pieces))
    for seed in seeds:
        for name in chosen:
            if name == ALL and seed != seeds[0]:
                continue
            runs.append(
                TagRun(
                    split=out / f"fold{name}" / SPLIT,
                    out=out / f"fold{name}" / f"seed{seed}",
                    seed=seed,
                    arguments=arguments[name],
                    parts=() if name == ALL else tuple(parts),
                    keep_model=keep_models or name == ALL,
                    **common,
                )
            )
    for run in runs:
        _check_settings(run)
    write_json(out / TASK, record)
    return runs


def _everything(plans: dict[str, Fold], groups: dict[str, str], seed: str) -> Fold:
    """Every piece for training, but a validation part to select by."""
    names = sorted({name for fold in plans.values() for part in fold.values() for name in part})
    train, valid = carve_validation(names, groups, seed=f"{seed}/{ALL}")
    return {"train": train, "valid": valid, "test": []}


def _write_split(path: Path, fold: Fold, train_share: float) -> None:
    content = {**fold} if train_share == 1 else {**fold, "train_share": train_share}
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != content:
        raise DatasetError(
            "other-settings",
            "this experiment was begun with another split, or another share of its training part",
            path=path,
            hint="choose another output folder, or remove this one",
        )
    write_json(path, content)


def _check_settings(run: TagRun) -> None:
    """Refuse to pass off what other settings have made as the result of these."""
    if not run.done:
        return
    try:
        made = json.loads((run.out / DONE).read_text(encoding="utf-8"))["command"]
    except (ValueError, KeyError, TypeError):
        made = "?"
    if made != command_line(run.options()):
        raise DatasetError(
            "other-settings",
            f"this run was made with other settings: {made}",
            path=run.out,
            hint="choose another output folder, or remove this run",
        )
