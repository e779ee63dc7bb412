"""Fine-tuning on labelled shards: every fold of a split with every seed, resumable, several at a time.

``run_task`` is the door for readers and recipes:

>>> run_task(Shards("melody"), task, "scratch:musicbert_tiny", "out", seeds=[2021])  # doctest: +SKIP

``OUT/task.json`` says what was asked for. ``OUT/fold<k>/split.json`` names the pieces of each part (and has
``train_share`` where only a share of the training part is trained on), and
``OUT/fold<k>/seed<s>/`` holds ``train.log``, the predictions ``test.npz``
(`musicbert.evaluation.tagging_predictions`), ``model/`` where models are kept, and, written last,
``run.json``. A run whose ``run.json`` is there is not run again; where it was made in another way, that is an
error. The fold ``all`` has no test: its model has seen every piece and is the one to use.

Runs happen in child processes of one server process that has imported torch and fairseq already
(multiprocessing's ``forkserver``), which saves their start-up on every run.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tqdm import tqdm

from musicbert.annotation.folds import Fold, carve_validation, leaks
from musicbert.atomic import write_json
from musicbert.children import calls_in_children
from musicbert.corpus.labelled import Task
from musicbert.corpus.shards import Shards
from musicbert.corpus.task_folds import CLEAN, Validation, task_folds
from musicbert.corpus.training_share import share_folds
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.experiments import RunOutcome, outcome_of, summary
from musicbert.fairseq_plugin.finetune_models import ModelChoice, choose_model
from musicbert.fairseq_plugin.finetune_recipe import Recipe, training_arguments
from musicbert.fairseq_plugin.run_process import end_with_parent, write_into
from musicbert.provenance import command_line, provenance

__all__ = ["TagRun", "plan_task", "run_task", "start_runs", "summary"]

DONE, LOG, SPLIT, TASK, MODEL = "run.json", "train.log", "split.json", "task.json", "model"
BEST = "checkpoint_best.pt"
ALL = "all"
#: what the server process of runs imports beside fairseq
_PRELOAD = ("musicbert.fairseq_plugin.tagging_predict", "musicbert.fairseq_plugin.finetune_runs")


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
        See `musicbert.corpus.task_folds.task_folds`.
    train_share
        Share of each training part that is trained on, above 0 and up to 1
        (`musicbert.corpus.training_share`).
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
    """Fine-tune on every fold with every seed.

    Parameters
    ----------
    shards, task, model, out, options
        See `plan_task`.
    workers
        Runs at a time.
    progress
        Show a bar.

    Returns
    -------
    Outcomes of the runs that were started; done ones are not started again
    """
    return start_runs(plan_task(shards, task, model, out, **options), workers=workers, progress=progress)


def start_runs(
    runs: Sequence[TagRun],
    *,
    workers: int = 1,
    progress: bool = True,
    after: Callable[[RunOutcome], None] = lambda _: None,
) -> list[RunOutcome]:
    """Do all runs that are not done yet; a run that fails does not stop the others.

    Parameters
    ----------
    runs
        See `plan_task`.
    workers, progress
        See `run_task`.
    after
        Called with the outcome of each run, when it ends.

    Returns
    -------
    Outcomes of the runs that were started, in the order they ended
    """
    waiting = [run for run in runs if not run.done]
    if not waiting:
        return []
    outcomes: list[RunOutcome] = []
    bar = tqdm(
        total=len(runs), initial=len(runs) - len(waiting), desc="runs", disable=None if progress else True
    )
    with bar:
        for run, answer in calls_in_children(
            _run, waiting, workers=workers, preload=["fairseq_cli.train", *_PRELOAD]
        ):
            outcomes.append(outcome_of(run.out, answer))
            after(outcomes[-1])
            bar.update()
            bar.set_postfix_str(str(run.out.relative_to(run.out.parents[1])))
    return outcomes


def _run(run: TagRun) -> RunOutcome:
    """Train, predict and export, in a process of its own."""
    begin = time.monotonic()
    end_with_parent()
    shutil.rmtree(run.out, ignore_errors=True)  # what an interrupted run left
    run.out.mkdir(parents=True)
    write_into(run.out / LOG)
    try:
        _train(run)
        checkpoint = run.out / BEST
        scores = _predict(run, checkpoint)
        for file in run.out.glob("checkpoint*.pt"):
            file.unlink()
        seconds = time.monotonic() - begin
        inputs = {"manifest": run.data / "manifest.json", "split": run.split}
        more = provenance(run.options(), inputs=inputs, seed=run.seed)
        write_json(run.out / DONE, {"seconds": round(seconds, 1), **scores, **more})
    except (Exception, SystemExit) as error:
        print(f"failed: {error!r}", file=sys.stderr, flush=True)  # noqa: T201 - into the log
        return RunOutcome(run.out, time.monotonic() - begin, f"{type(error).__name__}: {error}")
    return RunOutcome(run.out, seconds)


def _train(run: TagRun) -> None:
    """Run fairseq-train in this process."""
    import torch
    from fairseq_cli.train import cli_main

    torch.set_num_threads(run.threads)
    package = Path(__file__).resolve().parents[1]
    sys.argv = [
        "fairseq-train",
        *(str(run.data), "--user-dir", str(package), "--save-dir", str(run.out)),
        *("--split-file", str(run.split), *run.options()),
    ]
    cli_main()


def _predict(run: TagRun, checkpoint: Path) -> dict[str, Any]:
    """Predict the parts, export the model; return what to record."""
    from musicbert.fairseq_plugin.tagging_predict import load_tagger, predict_part

    model, task = load_tagger(checkpoint)
    device = "cpu" if run.cpu else None
    for part in run.parts:
        predict_part(model, task, part, device=device).save(run.out / f"{part}.npz")
    if run.keep_model:
        export_tagger(run, model.cpu(), task.cfg)
    count: Callable[[Any], int] = lambda values: sum(value.numel() for value in values)  # noqa: E731
    return {"parameters": count(model.parameters())}


def export_tagger(run: TagRun, model: Any, cfg: Any) -> Path:
    """Write the model as a folder (`musicbert.weights.tagger_folder`)."""
    from musicbert.weights.tagger_folder import save_tagger_folder

    task = run.task
    settings = {
        "family": run.family,
        "architecture": asdict(model.backbone.config),
        "codec": run.codec,
        "window": cfg.window,
        "overlap": cfg.overlap,
        "windows": str(cfg.windows),
        "head": model.settings.as_dict(),
        "task": {
            **{name: getattr(task, name) for name in ("name", "label", "level", "kind")},
            "classes": list(task.classes),
            "ignore": list(task.ignore),
        },
        "origin": {"model": run.model_name, "seed": run.seed},
    }
    return save_tagger_folder(run.out / MODEL, model.state_dict(), settings)
