"""`musicbert benchmark`: any of the twelve tasks of M2BERT's benchmark, on any checkpoint."""

import argparse
import sys
from pathlib import Path

from musicbert.cli.finetune import add_recipe, add_train_share, changed
from musicbert.cli.inputs import add_seen, plain_messages
from musicbert.command_line import refuse_unused
from musicbert.recipes.finetuning import RATINGS_ONLY

DESCRIPTION = (
    "Fine-tune and score a checkpoint on the tasks of M2BERT's benchmark, with one table of results."
)
EPILOG = """examples:
  musicbert benchmark checkpoints/m2bert_base --note-data smc/note --seq-data smc/seq --output runs/smc
  musicbert benchmark scratch:musicbert_mini --note-data smc_octuple/note --output runs/vf --tasks VF MNID \\
      --splits clean --seeds 1 --epochs 3

Defaults are the benchmark's published hyper-parameters: constant learning rate 2e-5 (5e-4 from scratch),
10 epochs, no gradient clipping, batches of 6 windows of 1,024 notes (12 of 512 for labels of pieces), number
of seeds by the amount of data. scripts/prepare_smc_benchmark.sh makes the data: compound words for M2BERT,
octuples for MusicBERT. Repeat the command to continue after an interruption.

exit status: 0 done; 1 done, but a task had no data or a run failed (see OUT/table.md); 2 bad usage or input;
130 stopped by Ctrl-C."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert benchmark`."""
    add = parser.add_argument
    add("model", help="checkpoint, folder, name, or scratch:ARCH (m2bert_mini, ...)")
    add("--note-data", type=_folder, metavar="FOLDER", help="shards by source, for labels of notes (-: none)")
    add("--seq-data", type=_folder, metavar="FOLDER", help="shards by source, for labels of pieces (-: none)")
    add("--output", "-o", type=Path, help="folder of the runs and the table (results_smc/MODEL)")
    add("--tasks", nargs="+", metavar="TASK", help="such as ME VF or melody (all whose data exist)")
    add("--splits", nargs="+", default=["published", "clean"], help="(published clean)")
    add("--seeds", type=int, nargs="+", help="(by the amount of data: 1, 2 or 4 seeds from 2021 on)")
    add("--only-folds", nargs="+", metavar="FOLD", help="folds of cross-validations to run (all)")
    add_train_share(parser)
    add("--no-baselines", action="store_true", help="do not score the simple baselines")
    add_seen(parser)
    add_recipe(parser.add_argument_group("training"))
    group = parser.add_argument_group("running")
    add = group.add_argument
    add("--workers", type=int, default=1, help="runs at a time (%(default)s)")
    add("--threads", type=int, default=1, help="threads of each run on a CPU (%(default)s)")
    add("--cpu", action="store_true", help="do not use the GPU")
    add("--quiet", action="store_true", help="no progress bars")


def _folder(text: str) -> Path | None:
    return None if text == "-" else Path(text)


def run(options: argparse.Namespace) -> int:
    """Run the tasks and print the table; return the exit status."""
    output = options.output or Path("results_smc", Path(options.model.removeprefix("scratch:")).stem)
    if options.note_data is None and options.seq_data is None:
        raise ValueError("give --note-data, --seq-data or both")
    refuse_unused(options, RATINGS_ONLY, "by the benchmark: they are of data-bins of ratings")
    from musicbert.corpus.labelled.shards import MANIFEST
    from musicbert.corpus.readers.tasks import BENCHMARK, get_task

    if options.tasks:
        tasks = [get_task(name) for name in options.tasks]
    else:
        folders = {"note": options.note_data, "sequence": options.seq_data}
        places = {"pm2s": ("pm2s", "asap")}
        tasks = [
            row
            for row in BENCHMARK.values()
            if (folder := folders[row.task.level]) is not None
            and any((folder / name / MANIFEST).is_file() for name in places.get(row.source, (row.source,)))
        ]
        if not tasks:
            raise ValueError("there are no data for any task: scripts/prepare_smc_benchmark.sh makes them")
    import musicbert.fairseq_plugin  # noqa: F401 - registers tasks and models
    from musicbert.evaluation.reports.seen import read_seen
    from musicbert.fairseq_plugin.runs.benchmark import run_benchmark
    from musicbert.reuse import hold_folder

    plain_messages()
    with hold_folder(output):
        records = run_benchmark(
            options.model,
            options.note_data,
            options.seq_data,
            output,
            tasks,
            splits=options.splits,
            seeds=options.seeds,
            change=lambda recipe: changed(recipe, options),
            only_folds=options.only_folds,
            train_share=options.train_share,
            workers=options.workers,
            threads=options.threads,
            cpu=options.cpu,
            baselines=not options.no_baselines,
            seen=None if options.seen is None else read_seen(options.seen),
            progress=not options.quiet,
            say=lambda text: print(text, file=sys.stderr),
        )
        print((output / "table.md").read_text(encoding="utf-8"))
    return 0 if all(record.get("network") and not record.get("note") for record in records) else 1
