"""`musicbert finetune`: train a head (and the backbone) on labelled MIDI files."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from musicbert.cli.inputs import add_channel_programs, plain_messages, share, too_many_failures
from musicbert.command_line import refuse_unused
from musicbert.recipes.finetuning import FineTuning, published_for_databin, published_for_shards

DESCRIPTION = "Fine-tune a model on labelled music: labels of pieces or of notes; ratings; pairs."
EPILOG = """examples:
  musicbert finetune --labels moods.csv --midi midi/ --model musicbert_small --output runs/moods
  musicbert finetune --labels tags.jsonl --midi midi.zip --model scratch:musicbert_tiny --output runs/tags \\
      --kind multilabel --folds 5 --seeds 1 2 3 --workers 4
  musicbert finetune --labels notes.csv --midi midi/ --model scratch:m2bert_mini --output runs/notes \\
      --level note
  musicbert finetune --data shards/melody --label melody --split published --model checkpoints/mine \\
      --published --output runs/melody
  musicbert finetune --data xai_data_bin_apex_reg_cls --label ratings performer --model musicbert_base \\
      --published --output runs/xai
  musicbert finetune --data next_data_bin --name next --model musicbert_small --published --output runs/next

The table has a column `file` and one or more columns of labels, and may have `group`, `split` (or `fold`) and
`weight`. A complete run is not started again, so the same command continues after an interruption. Then
OUT/report/report.md holds the scores (with several labels OUT/report/LABEL/report.md), and
`musicbert predict midi/ --model OUT/model` uses the model. The folds of a data-bin are its fold folders.

exit status: 0 done; 1 done, but runs failed, or more lines than --max-failure-rate could not be used; 2 bad
usage or input, nothing was trained; 130 stopped by Ctrl-C."""

#: options of tables
_TABLE_ONLY = (
    *("level", "kind", "separator", "classes", "file_column", "label_columns", "group_column"),
    *("split_column", "weight_column", "note_order", "onset_unit", "codec", "channel_programs"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert finetune`."""
    add = parser.add_argument
    add("--labels", type=Path, metavar="TABLE", help=".csv, .tsv, .xlsx, .jsonl or .parquet")
    add("--midi", type=Path, metavar="MIDI", help="folder or zip of the MIDI files")
    add("--data", type=Path, metavar="FOLDER",
        help="shards, or a data-bin of ratings or sentences, in place of --labels and --midi")  # fmt: skip
    add("--model", required=True, help="checkpoint, folder, name, or scratch:ARCH (musicbert_tiny, ...)")
    add("--output", "-o", type=Path, required=True, help="folder of the experiment")
    add("--overwrite", action="store_true",
        help="make an experiment anew that was made from other options or files")  # fmt: skip
    add("--name", help="name of the task (that of the table)")

    group = parser.add_argument_group("table")
    add = group.add_argument
    add("--level", choices=("sequence", "note"), help="whether pieces or notes are labelled (detected)")
    add("--kind", choices=("classes", "multilabel", "regression"), help="kind of labels (detected)")
    add("--separator", help="between several labels in one cell (; or |)")
    add("--classes", nargs="+", metavar="NAME", help="all classes, in order (those that occur)")
    add("--ignore-classes", nargs="+", default=[], metavar="NAME", help="not trained on and not scored")
    add("--file-column", metavar="COLUMN", help="names of the MIDI files (file, path, midi, name, ...)")
    add("--label-columns", nargs="+", metavar="COLUMN", help="labels (all other columns)")
    add("--group-column", metavar="COLUMN", help="pieces of a group stay in one part (group)")
    add("--split-column", metavar="COLUMN", help="train, valid, test, or the number of a fold (split, fold)")
    add("--weight-column", metavar="COLUMN", help="weight of a piece in the loss (weight)")
    add("--note-order", choices=("file", "sorted"), default="file",
        help="how notes are counted: as the file has them, or by onset and pitch (%(default)s)")  # fmt: skip
    add("--onset-unit", choices=("beats", "ticks", "seconds"), default="beats", help="(%(default)s)")
    add_channel_programs(group)
    add("--label", nargs="+", default=[], metavar="LABEL",
        help="label of --data to learn (the only one); of ratings both (ratings performer), of notes "
        "several: one head learns them together")  # fmt: skip
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
    add("--metric", default="", help="metric to select by, such as accuracy, macro_f1, f1:CLASS, r2; "
        "for several labels of notes one each, joined with commas")  # fmt: skip
    add("--search", nargs="+", default=[], metavar="OPTIONS",
        help="alternatives of options for fairseq-train, each one text ('--lr 1e-5' '--lr 1e-4'): the best "
        "on groups of the training part is taken (see fold*/search.json; not for sentences)")  # fmt: skip
    add("--published", action="store_true", help="hyper-parameters of the papers, where not given here")
    add_recipe(group)

    group = parser.add_argument_group("running")
    add = group.add_argument
    add("--workers", type=int, default=1, help="runs at a time (%(default)s)")
    add("--threads", type=int, default=1, help="threads of each run on a CPU (%(default)s)")
    add("--cpu", action="store_true", help="do not use the GPU")
    add("--keep-models", action="store_true", help="keep the model of every run")
    add("--no-final", action="store_true", help="do not train a model on every piece")
    add("--no-report", action="store_true", help="do not score (see `musicbert evaluate`)")
    add("--resamples", type=int, default=1000, help="of the bootstrap (%(default)s)")
    add("--max-failure-rate", type=share, default=0.05, metavar="SHARE",
        help="exit with status 1 if more of the labelled lines fail, in 0-1 (%(default)s)")  # fmt: skip
    add("--quiet", action="store_true", help="no progress bars")


def add_train_share(group: argparse._ActionsContainer) -> None:
    """Add the share of the training part, for learning curves over labels."""
    group.add_argument("--train-share", type=share, default=1.0, metavar="SHARE",
        help="train on this share of each training part, in whole groups, in 0-1 (%(default)g)")  # fmt: skip


def add_recipe(group: argparse._ActionsContainer) -> None:
    """Add a flag for each option of `FineTuning`; None stands for "not given"."""
    for entry in _options():
        flag, about = f"--{entry.name.replace('_', '-')}", entry.metadata
        if entry.default is False:
            group.add_argument(flag, action="store_true", default=None, help=about["help"])
        else:
            choices = about["choices"] or None
            group.add_argument(flag, type=type(entry.default), choices=choices, help=about["help"])
    bf16 = "multiply in bfloat16 (faster on a GPU, and on CPUs that have it)"
    group.add_argument("--bf16", action="store_true", help=bf16)


def _options() -> list[Field[Any]]:
    return [entry for entry in fields(FineTuning) if entry.metadata]


def changed(recipe: FineTuning, options: argparse.Namespace) -> FineTuning:
    """Return a recipe with the options that were given."""
    values = {entry.name: getattr(options, entry.name) for entry in _options()}
    extra = (*recipe.extra, *(("--autocast-bf16",) if options.bf16 else ()))
    return recipe.with_(**{name: value for name, value in values.items() if value is not None}, extra=extra)


def run(options: argparse.Namespace) -> int:
    """Prepare, train and score; return the exit status."""
    if options.data is not None:
        refuse_unused(options, ["labels", "midi", *_TABLE_ONLY], "with --data")
    elif options.labels is None or options.midi is None:
        raise ValueError("give --labels and --midi, or --data")
    else:
        refuse_unused(options, ["label"], "with --labels: --label-columns chooses columns of a table")
    if options.no_report:
        refuse_unused(options, ["resamples"], "with --no-report", fatal=False)
    from musicbert.reuse import hold_folder

    with hold_folder(options.output), _without_logging():
        return _finetune(options)


@contextmanager
def _without_logging() -> Iterator[None]:
    """Keep log messages of fairseq and other packages off the terminal: each run writes a log file."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _finetune(options: argparse.Namespace) -> int:
    import musicbert.fairseq_plugin  # noqa: F401 - registers tasks and models
    from musicbert.errors import DatasetError
    from musicbert.fairseq_plugin.runs.data import publish_model, replacing_experiment
    from musicbert.fairseq_plugin.runs.engine import start_runs, summary
    from musicbert.fairseq_plugin.runs.search import choose_options

    plain_messages()
    try:
        prepared, runs = _prepare(options)
    except DatasetError as error:
        if error.reason != "other-settings":
            raise
        if not options.overwrite:
            error.hint = "choose another --output, or make this one anew with --overwrite"
            raise
        print(f"{options.output} is made anew: {error.message}")
        with replacing_experiment(options.output):
            prepared, runs = _prepare(options)
    how = {"workers": options.workers, "progress": not options.quiet}
    runs = choose_options(runs, **how)
    outcomes = start_runs(runs, **how)
    failed = any(outcome.error for outcome in outcomes)
    if outcomes:
        print(summary(outcomes), file=sys.stderr if failed else sys.stdout)
    if not failed:
        model_folder = publish_model(runs, options.output)
        if not outcomes:
            print("all runs were finished before")
        if not options.no_report:
            from musicbert.cli.evaluate import report_runs

            more = {"resamples": options.resamples, "quiet": options.quiet, "again": bool(outcomes)}
            report_runs(options.output, prepared.folds, **more)
        if model_folder is not None:
            print(f"model: {model_folder}")
    print(prepared.summary())
    rate, what = prepared.failure_rate, "the labelled lines could not be used"
    return int(too_many_failures(rate, options.max_failure_rate, what, prepared.data.path) or failed)


def _prepare(options: argparse.Namespace) -> tuple[Any, list[Any]]:
    """Prepare the data and list the runs."""
    from musicbert.fairseq_plugin.runs.arguments import check_metric
    from musicbert.fairseq_plugin.runs.data import prepare_set
    from musicbert.fairseq_plugin.runs.models import choose_model

    if options.data is not None:
        prepared = prepare_set(
            options.data,
            options.label,
            name=options.name or "",
            metric=options.metric,
            ignore=options.ignore_classes,
        )
        model = choose_model(options.model, codec=prepared.data.codec)
    else:
        model = choose_model(options.model, codec=options.codec)
        prepared = _from_table(options, model)
    if options.metric:
        for task in prepared.tasks[: 1 if prepared.is_databin else None]:
            check_metric(task, databin=prepared.is_databin)
    for task in prepared.tasks:
        print(f"{task.level} labels, {task.kind}: {', '.join(task.classes)}")
    return prepared, _plan(options, prepared, model)


def _plan(options: argparse.Namespace, prepared: Any, model: Any) -> list[Any]:
    """List the runs and write the files of the experiment."""
    from musicbert.corpus.labelled import RatingBin
    from musicbert.fairseq_plugin.runs.plan import plan_databin, plan_task

    data, tasks = prepared.data, prepared.tasks
    recipe = FineTuning()
    if options.published and prepared.is_databin:
        recipe = published_for_databin(frozenset(task.label for task in tasks), tasks[0].kind)
    elif options.published:
        recipe = published_for_shards(model.family, tasks[0].level)
    common = {
        "only_folds": options.only_folds,
        "seeds": options.seeds,
        "recipe": changed(recipe, options),
        "keep_models": options.keep_models,
        "final": not options.no_final,
        "threads": options.threads,
        "cpu": options.cpu,
        "search": tuple(options.search),
    }
    if prepared.is_databin:
        if options.split != "data-bin":
            refuse_unused(options, ["split"], "by a data-bin, which has its own split")
        names = ["train_share", "folds", "validation", "split_seed", "ignore_classes"]
        names += [] if isinstance(data, RatingBin) else ["search"]
        refuse_unused(options, names, "by a data-bin" if isinstance(data, RatingBin) else "by sentences")
        return plan_databin(prepared.folds, tasks, model, options.output, **common)
    if tasks[0].kind != "classes":
        names = ["label_smoothing"] + ["class_weights"] * (tasks[0].kind == "regression")
        refuse_unused(options, names, f"for labels of the kind {tasks[0].kind}")
    if tasks[0].level == "note":
        refuse_unused(options, ["head"], "for labels of notes: it is the pooling for labels of pieces")
    split = options.split or (data.split_names[0] if data.split_names else "clean")
    if split in data.split_names:
        parts = data.split(split).values()
        names = ["folds"] if any(part.isdecimal() for part in parts) else ["folds", "validation"]
        refuse_unused(options, names, f"with the split {split!r}, which the data come with", fatal=False)
    return plan_task(
        data,
        tasks[0],
        model,
        options.output,
        split=split,
        folds=options.folds,
        validation=options.validation,
        split_seed=options.split_seed,
        train_share=options.train_share,
        others=tasks[1:],
        **common,
    )


def _from_table(options: argparse.Namespace, model: Any) -> Any:
    """Read the table and prepare the data set."""
    from musicbert.corpus.tables.reader import read_label_table
    from musicbert.fairseq_plugin.runs.data import prepare_table

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
    if table.level != "note":
        refuse_unused(options, ["note_order", "onset_unit"], "for labels of pieces")
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
        channel_programs=options.channel_programs,
    )
