"""`musicbert finetune`: train a head (and the backbone) on labelled MIDI files."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musicbert.cli.inputs import share

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "add_recipe", "add_train_share", "recipe_changes", "run"]

DESCRIPTION = "Fine-tune a model on your own labelled MIDI files: labels of pieces or of notes, of any kind."
EPILOG = """examples:
  musicbert finetune --labels moods.csv --midi midi/ --model musicbert_small --output runs/moods
  musicbert finetune --labels tags.jsonl --midi midi.zip --model scratch:musicbert_tiny --output runs/tags \\
      --kind multilabel --folds 5 --seeds 1 2 3 --workers 4
  musicbert finetune --labels notes.csv --midi midi/ --model scratch:m2bert_mini --output runs/notes \\
      --level note
  musicbert finetune --data shards/melody --label melody --split published --model checkpoints/mine \\
      --published --output runs/melody

The table has a column `file` and one or more columns of labels, and may have `group`, `split` (or `fold`) and
`weight`. Runs that are done are not done again, so the same command goes on after an interruption. Then
OUT/report/report.md holds the scores, and `musicbert predict midi/ --model OUT/model` uses the model.

exit status: 0 done; 1 done, but runs failed, or more lines than --max-failure-rate could not be used; 2 bad
usage or input, nothing was trained; 130 stopped by Ctrl-C."""

#: options that are attributes of `Recipe`: flag -> (type, help); what is not given is left to the recipe
_RECIPE: dict[str, tuple[type, str]] = {
    "epochs": (int, "passes over the training part (10)"),
    "max-updates": (int, "updates at most (no bound)"),
    "batch": (int, "windows of a batch (8)"),
    "accumulate": (int, "batches of an update (1)"),
    "learning-rate": (float, "highest learning rate (5e-5; M2BERT 2e-5; from scratch 5e-4)"),
    "warmup": (float, "share of the updates over which the learning rate rises, in 0-1 (0.06)"),
    "weight-decay": (float, "decoupled weight decay (0.01)"),
    "clip": (float, "largest norm of the gradient, 0: no bound (1)"),
    "patience": (int, "epochs without a better score after which training stops, 0: never (0)"),
    "window": (int, "notes of a window (1000; M2BERT 1024, and 512 for labels of pieces)"),
    "overlap": (int, "notes that neighbouring windows share (0)"),
    "head-inner": (int, "width between two layers of the head, 0: one layer (0)"),
    "head-dropout": (float, "dropout in the head (0.1)"),
    "layer": (int, "state that the head reads, 0: before the first block (the last)"),
    "freeze-layers": (int, "keep the embeddings and the first N blocks as they are (0)"),
    "layer-decay": (float, "learning rate of a block over that of the next (1)"),
    "label-smoothing": (float, "of classes, in 0-1 (0)"),
    "augment": (str, "change training notes: transpose=5,velocity=1,stretch=0.1,phase=8,bar,drop=0.1"),
}
_CHOICES = {
    "schedule": (("linear", "constant"), "of the learning rate after its rise (linear)"),
    "windows": (("all", "first"), "windows of a piece that are read (all)"),
    "head": (("first", "mean", "attention"), "of labels of pieces (first; M2BERT attention)"),
    "class-weights": (("none", "balanced", "sqrt"), "weight of classes in the loss (none)"),
}
_FLAGS = {
    "mix-layers": "the head reads a learned mixture of all states",
    "random-shift": "move the windows of training at random",
    "performance-input": "read pedal and timing too (MusicBERT)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert finetune`."""
    add = parser.add_argument
    add("--labels", type=Path, metavar="TABLE", help=".csv, .tsv, .jsonl or .parquet")
    add("--midi", type=Path, metavar="MIDI", help="folder or zip of the MIDI files")
    add("--data", type=Path, metavar="SHARDS", help="a data set of shards, in place of --labels and --midi")
    add("--model", required=True, help="checkpoint, folder, name, or scratch:ARCH (musicbert_tiny, ...)")
    add("--output", "-o", type=Path, required=True, help="folder of the experiment")
    add("--name", help="name of the task (that of the table)")

    group = parser.add_argument_group("table")
    add = group.add_argument
    add("--level", choices=("sequence", "note"), help="what the labels are of (found out)")
    add("--kind", choices=("classes", "multilabel", "regression"), help="kind of labels (found out)")
    add("--separator", help="between several labels in one cell (; or |)")
    add("--classes", nargs="+", metavar="NAME", help="all classes, in order (those that occur)")
    add("--ignore-classes", nargs="+", default=[], metavar="NAME", help="neither trained on nor scored")
    add("--file-column", metavar="COLUMN", help="names of the MIDI files (file, path, midi, name, ...)")
    add("--label-columns", nargs="+", metavar="COLUMN", help="labels (all other columns)")
    add("--group-column", metavar="COLUMN", help="what must not be split (group)")
    add("--split-column", metavar="COLUMN", help="train, valid, test, or the number of a fold (split, fold)")
    add("--weight-column", metavar="COLUMN", help="weight of a piece in the loss (weight)")
    add("--note-order", choices=("file", "sorted"), default="file",
        help="how notes are counted: as the file has them, or by onset and pitch (%(default)s)")  # fmt: skip
    add("--onset-unit", choices=("beats", "ticks", "seconds"), default="beats", help="(%(default)s)")
    add("--label", default="", help="label of --data to learn (the only one)")
    add("--codec", choices=("octuple", "cp", "cp-m2bert", "cp-midibert"), help="encoding (the model's)")

    group = parser.add_argument_group("split")
    add = group.add_argument
    add("--split", help="clean, or a split of the data (that of the table, else clean)")
    add("--folds", type=int, default=5, help="folds of a clean split (%(default)s)")
    add("--only-folds", nargs="+", metavar="FOLD", help="run and score these only (all)")
    add("--validation", choices=("auto", "next", "carve"), default="auto",
        help="the next fold, or groups of the training part (auto: next for folds of the data)")  # fmt: skip
    add("--split-seed", type=int, default=7, help="(%(default)s)")
    add_train_share(group)

    group = parser.add_argument_group("training")
    add = group.add_argument
    add("--seeds", type=int, nargs="+", default=[1], help="(1)")
    add("--metric", default="", help="metric to select by, such as accuracy, macro_f1, f1:CLASS, r2")
    add("--published", action="store_true", help="hyper-parameters of the papers, where not given here")
    add_recipe(group)

    group = parser.add_argument_group("running")
    add = group.add_argument
    add("--workers", type=int, default=1, help="runs at a time (%(default)s)")
    add("--threads", type=int, default=1, help="threads of each run on a CPU (%(default)s)")
    add("--cpu", action="store_true", help="leave the GPU alone")
    add("--keep-models", action="store_true", help="keep the model of every run")
    add("--no-final", action="store_true", help="do not train a model on every piece")
    add("--no-report", action="store_true", help="do not score (`musicbert evaluate` does it later)")
    add("--resamples", type=int, default=1000, help="of the bootstrap (%(default)s)")
    add("--max-failure-rate", type=share, default=0.05, metavar="SHARE",
        help="exit with status 1 if more of the labelled lines fail, in 0-1 (%(default)s)")  # fmt: skip
    add("--quiet", action="store_true", help="no progress bars")


def add_train_share(group: argparse._ActionsContainer) -> None:
    """Add the share of the training part, for learning curves over labels."""
    group.add_argument("--train-share", type=share, default=1.0, metavar="SHARE",
        help="train on this share of each training part, in whole groups, in 0-1 (%(default)g)")  # fmt: skip


def add_recipe(group: argparse._ActionsContainer) -> None:
    """Add a flag for each attribute of `Recipe`; what is not given is left to the recipe."""
    for name, (kind, text) in _RECIPE.items():
        group.add_argument(f"--{name}", type=kind, help=text)
    for name, (choices, text) in _CHOICES.items():
        group.add_argument(f"--{name}", choices=choices, help=text)
    for name, text in _FLAGS.items():
        group.add_argument(f"--{name}", action="store_true", help=text)
    bf16 = "multiply in bfloat16 (faster on a GPU, and on CPUs that have it)"
    group.add_argument("--bf16", action="store_true", help=bf16)


def recipe_changes(options: argparse.Namespace) -> dict[str, Any]:
    """Attributes of `Recipe` that were given."""
    names = [name.replace("-", "_") for name in (*_RECIPE, *_CHOICES, *_FLAGS)]
    values = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in values.items() if value is not None and value is not False}
    return given | ({"extra": ("--autocast-bf16",)} if options.bf16 else {})


def run(options: argparse.Namespace) -> int:
    """Prepare, train and score; return the exit status."""
    if (options.data is None) == (options.labels is None or options.midi is None):
        raise ValueError("give --labels and --midi, or --data")
    with _without_logging():
        return _finetune(options)


@contextmanager
def _without_logging() -> Iterator[None]:
    """Keep what fairseq and its friends log off the terminal: each run has a log of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _finetune(options: argparse.Namespace) -> int:
    import musicbert.fairseq_plugin  # noqa: F401 - registers tasks and models
    from musicbert.fairseq_plugin.runs.engine import start_runs, summary
    from musicbert.fairseq_plugin.runs.models import choose_model
    from musicbert.fairseq_plugin.runs.plan import plan_task
    from musicbert.fairseq_plugin.runs.recipe import Recipe, check_metric, published_recipe
    from musicbert.fairseq_plugin.runs.table import prepare_shards, publish_model

    if options.data is not None:
        prepared = prepare_shards(
            options.data, options.label, metric=options.metric, ignore=options.ignore_classes
        )
        model = choose_model(options.model, codec=prepared.shards.codec)
    else:
        model = choose_model(options.model, codec=options.codec)
        prepared = _from_table(options, model)
    task, shards = prepared.task, prepared.shards
    if options.metric:
        check_metric(task)
    print(f"{task.level} labels, {task.kind}: {', '.join(task.classes)}")
    recipe = published_recipe(model.family, task.level) if options.published else Recipe()
    split = options.split or (shards.split_names[0] if shards.split_names else "clean")
    runs = plan_task(
        shards,
        task,
        model,
        options.output,
        split=split,
        folds=options.folds,
        only_folds=options.only_folds,
        seeds=options.seeds,
        recipe=recipe.with_(**recipe_changes(options)),
        validation=options.validation,
        split_seed=options.split_seed,
        train_share=options.train_share,
        keep_models=options.keep_models,
        final=not options.no_final,
        threads=options.threads,
        cpu=options.cpu,
    )
    outcomes = start_runs(runs, workers=options.workers, progress=not options.quiet)
    failed = any(outcome.error for outcome in outcomes)
    if outcomes:
        print(summary(outcomes), file=sys.stderr if failed else sys.stdout)
    if not failed:
        model_folder = publish_model(runs, options.output)
        if not options.no_report:
            from musicbert.cli.evaluate import report_runs

            report_runs(options.output, shards, resamples=options.resamples, quiet=options.quiet)
        if model_folder is not None:
            print(f"model: {model_folder}")
    print(prepared.summary())
    if prepared.failure_rate > options.max_failure_rate:
        print(
            f"error: {prepared.failure_rate:.1%} of the labelled lines could not be used, more than "
            f"--max-failure-rate {options.max_failure_rate:g}; see {shards.path / 'ledger.jsonl'}",
            file=sys.stderr,
        )
        return 1
    return 1 if failed else 0


def _from_table(options: argparse.Namespace, model: Any) -> Any:
    """Read the table and write the data set."""
    from musicbert.corpus.tables.reader import read_label_table
    from musicbert.fairseq_plugin.runs.table import prepare_table

    table = read_label_table(
        options.labels,
        level=options.level,
        kind=options.kind,
        separator=options.separator,
        classes=options.classes,
        file=options.file_column,
        labels=options.label_columns,
        group=options.group_column,
        split=options.split_column,
        weight=options.weight_column,
    )
    print(f"{options.labels}: {table.labels.kind} ({table.labels.why})")
    task = table.task(
        options.name or options.labels.stem, metric=options.metric, ignore=options.ignore_classes
    )
    return prepare_table(
        table,
        task,
        options.midi,
        options.labels,
        options.output,
        codec=model.codec,
        performance=options.performance_input,
        progress=not options.quiet,
        order=options.note_order,
        unit=options.onset_unit,
    )
