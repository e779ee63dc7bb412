"""Tasks of the benchmark on any checkpoint: fine-tuned task by task, and one table.

``OUT/<ABBREVIATION>/<split>/`` holds the runs of a task (`musicbert.fairseq_plugin.runs.engine`),
``scores.json`` all scores, ``table.md`` the table. Both files are rewritten after each run; after an
interruption, the same command continues with what is missing.
"""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.labelled.shards import MANIFEST, Shards
from musicbert.corpus.readers.tasks import BenchmarkTask
from musicbert.corpus.splits.task_folds import Validation, task_folds
from musicbert.corpus.splits.training_share import check_share, share_folds
from musicbert.errors import DatasetError, MusicBertError
from musicbert.evaluation.baselines.benchmark import features_of
from musicbert.evaluation.benchmark_scores import pieces_of
from musicbert.evaluation.reports.benchmark import TaskFiles, baseline_scores, network_scores
from musicbert.fairseq_plugin.runs.engine import Run, RunOutcome, start_runs
from musicbert.fairseq_plugin.runs.models import ModelChoice, choose_model
from musicbert.fairseq_plugin.runs.plan import plan_task
from musicbert.provenance import provenance
from musicbert.recipes.finetuning import RATINGS_ONLY, FineTuning, published_for_shards
from musicbert.reuse import hashes_of, made_from, record_hash

#: Sources that have the labels of another, where that one is not there.
_INSTEAD = {"pm2s": ("asap",)}


def benchmark_recipe(row: BenchmarkTask, model: ModelChoice) -> FineTuning:
    """Published values of the benchmark, for either backbone; from scratch with a larger learning rate."""
    recipe = published_for_shards("m2bert", row.task.level)
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
    change: Callable[[FineTuning], FineTuning] = lambda recipe: recipe,
    only_folds: Sequence[str] | None = None,
    train_share: float = 1.0,
    workers: int = 1,
    threads: int = 1,
    cpu: bool = False,
    baselines: bool = True,
    seen: Collection[str] | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Fine-tune and score, task by task.

    ``model``: checkpoint, folder, name, or ``scratch:ARCH``; ``note_data``, ``seq_data``: folders of shards
    by source, for labels of notes and of pieces (``scripts/prepare_smc_benchmark.sh``); ``splits``: those
    that a data set lacks are noted; ``seeds``: default: those of the task's resource class; ``change``:
    changes `benchmark_recipe`; ``only_folds``: folds of cross-validations to run; ``train_share``: share of
    each training part that networks and baselines learn from, above 0 and up to 1; ``seen``: pieces that are
    scored apart from the others; ``say``: told about each task.

    Returns a record for each task and split, as in ``scores.json``, with ``same_as`` where two splits have
    the same parts. Raises `CheckpointError` (the model cannot be found or read); `ConfigError`
    (``bad-share``).
    """
    check_share(train_share)
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    folders = {"note": note_data, "sequence": seq_data}
    weights = choose_model(model).path
    changed = asdict(change(FineTuning()))
    recipe = {f"recipe, {name}": value for name, value in changed.items() if name not in RATINGS_ONLY}
    asked = {"seeds": seeds, "only_folds": only_folds, "train_share": train_share, "cpu": cpu, **recipe}
    files = TaskFiles(
        target,
        Path(model).name,
        {
            (row.abbreviation, split): _data_hash(row, folders[row.task.level])
            for row in tasks
            for split in splits
        },
        made_from=made_from(asked, {} if weights is None else {"weights": record_hash(hashes_of(weights))}),
        made_by=provenance(sys.argv, inputs={}, seed=0),
    )
    records = files.records
    for row in tasks:
        try:
            shards = _open(row, folders[row.task.level])
            choice = choose_model(model, codec=shards.codec)
            pieces = pieces_of(shards)
        except DatasetError as error:
            records.append({"task": row.abbreviation, "split": "–", "note": _text(error)})
            say(f"{row.abbreviation}: {error}")
            files.write()
            continue
        recipe = change(benchmark_recipe(row, choice))
        done: dict[str, dict[str, Any]] = {}
        for split in splits:
            same = _same_split(shards, split, done)
            if same is not None:  # nothing leaks in the published split: train once
                records.append({**done[same], "split": split, "same_as": same})
                files.write()
                continue
            record: dict[str, Any] = {"task": row.abbreviation, "split": split}
            record["data"] = {"source": shards.path.name, "sha256": shards.sha256, "codec": shards.codec}
            if train_share != 1:
                record["train_share"] = train_share
            records.append(record)
            validation: Validation = "next" if row.folds else "auto"
            try:
                runs = plan_task(
                    shards, row.task, choice, target / row.abbreviation / split,
                    split=split, only_folds=only_folds if row.folds else None, seeds=seeds, recipe=recipe,
                    validation=validation, train_share=train_share, threads=threads, cpu=cpu,
                )  # fmt: skip
                update = _scorer(row, shards, pieces, runs, record, files, seen)
                update(None)
                name = f"{row.abbreviation}, {split}"
                start_runs(runs, workers=workers, progress=progress, after=update, name=name)
                if baselines and split in shards.split_names:
                    trained = _trained_on(shards, row, split, validation, train_share)
                    record["baselines"] = baseline_scores(
                        row, pieces, split, trained=trained, features=features_of(shards)
                    )
            except MusicBertError as error:
                record["note"] = _text(error)
            done[split] = record
            files.write()
            say(f"{row.abbreviation}, {split}: {_in_words(row, record)}")
    return records


def _in_words(row: BenchmarkTask, record: Mapping[str, Any]) -> str:
    """Score of a task, and what is to be known of it."""
    if not record.get("network"):
        return str(record.get("note", "nothing"))
    score = record["network"]["score"]
    spread = "" if score["sd"] is None else f" (sd {score['sd']:.3f})"
    note = f"; {record['note']}" if record.get("note") else ""
    return f"{row.score} {score['mean']:.3f}{spread}{note}"


def _scorer(
    row: BenchmarkTask,
    shards: Shards,
    pieces: Sequence[LabelledPiece],
    runs: Sequence[Run],
    record: dict[str, Any],
    files: TaskFiles,
    seen: Collection[str] | None,
) -> Callable[[RunOutcome | None], None]:
    """Return what scores the complete runs of a task whenever a run ends, and writes the files."""
    by_name = {piece.name: piece for piece in pieces}
    place = runs[0].out.parents[1]
    known: dict[Path, dict[str, Any]] = {}
    ours = {run.out for run in runs}
    failed: list[str] = []

    def update(outcome: RunOutcome | None) -> None:
        if outcome is not None and outcome.error:
            failed.append(outcome.error)
        record["network"] = network_scores(row, shards, by_name, place, known=known, only=ours, seen=seen)
        notes = []
        if record["split"] not in shards.split_names:
            notes.append("no such split came with the data: five folds made here, no baselines")
        done, total = sum(run.done for run in runs), len(runs)
        if done + len(failed) < total:
            notes.append(f"stopped, or still running: {done} of {total} runs are done")
        if failed:
            notes.append(f"{len(failed)} of {total} runs failed: {failed[0]}")
        record.pop("note", None)
        if notes:
            record["note"] = "; ".join(notes)
        files.write()

    return update


def _open(row: BenchmarkTask, folder: str | PathLike[str] | None) -> Shards:
    """Open the data set of a task."""
    if folder is None:
        raise DatasetError("no-data", f"there is no data for labels of each {row.task.level}")
    for name in (row.source, *_INSTEAD.get(row.source, ())):
        place = Path(folder) / name
        if (place / MANIFEST).is_file():
            return Shards(place)
    hint = f"scripts/prepare_smc_benchmark.sh - OUT --source {row.source}=PATH"
    raise DatasetError("no-data", f"the data of {row.source} are missing", path=folder, hint=hint)


def _data_hash(row: BenchmarkTask, folder: str | PathLike[str] | None) -> str | None:
    """Hash of the data of a task; None where there are none."""
    try:
        return _open(row, folder).sha256
    except DatasetError:
        return None


def _trained_on(
    shards: Shards, row: BenchmarkTask, split: str, validation: Validation, share: float
) -> dict[str, list[str]] | None:
    """Names that the networks of each fold learn from; None for whole training parts."""
    if share == 1:
        return None
    folds, groups = task_folds(shards, row.task, split, validation=validation)
    return {name: fold["train"] for name, fold in share_folds(shards, row.task, folds, groups, share).items()}


def _text(error: MusicBertError) -> str:
    """Message of an error without paths, since tables are published."""
    hint = f" ({error.hint})" if error.hint else ""
    return f"{error.message} [{error.reason}]{hint}"


def _same_split(shards: Shards, split: str, done: Mapping[str, Any]) -> str | None:
    """Name of a split that was run and has the same pieces in the same parts."""
    if split not in shards.split_names:
        return None
    parts = shards.split(split)
    return next((name for name in done if name in shards.split_names and shards.split(name) == parts), None)
