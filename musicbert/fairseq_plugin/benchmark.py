"""Any set of the benchmark's tasks on any checkpoint: fine-tuned task by task, and one table.

``OUT/<ABBREVIATION>/<split>/`` holds the runs of a task (`musicbert.fairseq_plugin.finetune_runs`),
``scores.json`` everything that was scored, ``table.md`` the table. Both are written anew after each task, so
a run that is stopped has the tasks that it did, and the same command goes on with the others; what is done is
not done again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.atomic import write_json, write_text
from musicbert.corpus.readers.tasks import BenchmarkTask
from musicbert.corpus.shards import MANIFEST, Shards
from musicbert.corpus.task_folds import Validation, task_folds
from musicbert.corpus.training_share import check_share, share_folds
from musicbert.errors import DatasetError, MusicBertError
from musicbert.evaluation.task_scores import pieces_of
from musicbert.evaluation.task_table import baseline_scores, markdown_table, network_scores
from musicbert.fairseq_plugin.finetune_models import ModelChoice, choose_model
from musicbert.fairseq_plugin.finetune_recipe import Recipe, published_recipe
from musicbert.fairseq_plugin.finetune_runs import plan_task, start_runs
from musicbert.provenance import provenance

__all__ = ["benchmark_recipe", "run_benchmark"]

#: Sources that have the labels of another, where that one is not there.
_INSTEAD = {"pm2s": ("asap",)}


def benchmark_recipe(row: BenchmarkTask, model: ModelChoice) -> Recipe:
    """Recipe of the published benchmark, for either backbone; from scratch, with the engine's learning rate.

    Constant 2e-5, no clipping, 10 epochs, all windows: 6 of 1,024 notes, or 12 of 512 for labels of pieces
    (MusicBERT's positions hold 1,000 notes).
    """
    recipe = published_recipe("m2bert", row.task.level)
    return recipe if model.pretrained else recipe.with_(learning_rate=0.0)


def run_benchmark(
    model: str,
    note_data: str | PathLike[str] | None,
    seq_data: str | PathLike[str] | None,
    out: str | PathLike[str],
    tasks: Sequence[BenchmarkTask],
    *,
    splits: Sequence[str] = ("published", "clean"),
    seeds: Sequence[int] | None = None,
    changes: Mapping[str, Any] | None = None,
    only_folds: Sequence[str] | None = None,
    train_share: float = 1.0,
    workers: int = 1,
    threads: int = 1,
    cpu: bool = False,
    baselines: bool = True,
    progress: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Fine-tune and score.

    Parameters
    ----------
    model
        Checkpoint, folder, name, or ``scratch:ARCH``.
    note_data, seq_data
        Folders of shards by source, for labels of notes and of pieces (``scripts/prepare_smc_benchmark.sh``).
    out
        Folder of the runs and the table.
    tasks
        What to run, in this order.
    splits
        Splits; those that a data set lacks are noted.
    seeds
        Seeds; those of the task's resource class if None.
    changes
        Attributes of `Recipe` that differ from `benchmark_recipe`.
    only_folds
        Folds of cross-validations to run (all).
    train_share
        Share of each training part that networks and baselines learn from, above 0 and up to 1
        (`musicbert.corpus.training_share`).
    workers, threads, cpu
        See `plan_task` and `start_runs`.
    baselines
        Score the simple baselines, too.
    progress
        Show bars.
    say
        Told about each task.

    Returns
    -------
    One record a task and split, as in ``scores.json``; ``same_as`` where two splits have the same parts.

    Raises
    ------
    CheckpointError
        The model cannot be found or read.
    ConfigError
        ``bad-share``.
    """
    check_share(train_share)
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    for row in tasks:
        folder = note_data if row.task.level == "note" else seq_data
        try:
            shards = _open(row, folder)
            choice = choose_model(model, codec=shards.codec)
            pieces = pieces_of(shards)
        except DatasetError as error:
            records.append({"task": row.abbreviation, "split": "–", "note": _said(error)})
            say(f"{row.abbreviation}: {error}")
            _write(records, target, model)
            continue
        recipe = benchmark_recipe(row, choice).with_(**dict(changes or {}))
        done: dict[str, dict[str, Any]] = {}
        for split in splits:
            same = _same_split(shards, split, done)
            if same is not None:  # nothing leaks in the published split: one training serves both
                records.append({**done[same], "split": split, "same_as": same})
                _write(records, target, model)
                continue
            record: dict[str, Any] = {"task": row.abbreviation, "split": split}
            record["data"] = {"source": shards.path.name, "sha256": shards.sha256, "codec": shards.codec}
            if train_share != 1:
                record["train_share"] = train_share
            records.append(record)
            place = target / row.abbreviation / split
            validation: Validation = "next" if row.folds else "auto"
            try:
                runs = plan_task(
                    shards, row.task, choice, place,
                    split=split, only_folds=only_folds if row.folds else None, seeds=seeds, recipe=recipe,
                    validation=validation, train_share=train_share, threads=threads, cpu=cpu,
                )  # fmt: skip
                if split not in shards.split_names:
                    record["note"] = "no such split came with the data: five folds made here, no baselines"
                outcomes = start_runs(runs, workers=workers, progress=progress)
                failed = [outcome.error for outcome in outcomes if outcome.error]
                if failed:
                    record["note"] = f"{len(failed)} of {len(runs)} runs failed: {failed[0]}"
                named = {piece.name: piece for piece in pieces}
                record["network"] = network_scores(row, shards, named, place)
                if baselines and split in shards.split_names:
                    trained = _trained_on(shards, row, split, validation, train_share)
                    record["baselines"] = baseline_scores(row, pieces, split, trained=trained)
            except MusicBertError as error:
                record["note"] = _said(error)
            done[split] = record
            _write(records, target, model)
            found = record.get("network")
            say(f"{row.abbreviation}, {split}: {found['score'] if found else record.get('note', 'nothing')}")
    return records


def _open(row: BenchmarkTask, folder: str | PathLike[str] | None) -> Shards:
    """Open the data set of a task."""
    if folder is None:
        raise DatasetError("no-data", f"there is no data for labels of each {row.task.level}")
    for name in (row.source, *_INSTEAD.get(row.source, ())):
        place = Path(folder) / name
        if (place / MANIFEST).is_file():
            return Shards(place)
    raise DatasetError(
        "no-data",
        f"the data of {row.source} are not there",
        path=folder,
        hint=f"scripts/prepare_smc_benchmark.sh - OUT --source {row.source}=PATH",
    )


def _trained_on(
    shards: Shards, row: BenchmarkTask, split: str, validation: Validation, share: float
) -> dict[str, list[str]] | None:
    """Names that the networks of each fold learn from; None for whole training parts."""
    if share == 1:
        return None
    folds, groups = task_folds(shards, row.task, split, validation=validation)
    return {name: fold["train"] for name, fold in share_folds(shards, row.task, folds, groups, share).items()}


def _said(error: MusicBertError) -> str:
    """What an error says, without paths: tables are published."""
    hint = f" ({error.hint})" if error.hint else ""
    return f"{error.message} [{error.reason}]{hint}"


def _same_split(shards: Shards, split: str, done: Mapping[str, Any]) -> str | None:
    """Name of a split that is done and has the same pieces in the same parts."""
    if split not in shards.split_names:
        return None
    own = shards.split(split)
    return next((name for name in done if name in shards.split_names and shards.split(name) == own), None)


def _write(records: Sequence[dict[str, Any]], target: Path, model: str) -> None:
    made_by = provenance(sys.argv, inputs={}, seed=0)
    write_json(target / "scores.json", {"model": Path(model).name, "rows": list(records), "made_by": made_by})
    write_text(target / "table.md", markdown_table(records, Path(model).name))
