"""`musicbert evaluate`: the report of a fine-tuning experiment."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "report_runs", "run"]

DESCRIPTION = "Score a fine-tuning experiment beside simple baselines: JSON, CSV, Markdown and pictures."
EPILOG = """examples:
  musicbert evaluate runs/moods
  musicbert evaluate runs/melody --data shards/melody --output results/melody --resamples 2000
  musicbert evaluate runs/moods --no-baselines

Without --data, the data set below the experiment is taken. The report lies in EXPERIMENT/report.

exit status: 0 done; 2 bad usage or input (such as runs that are not done); 130 stopped by Ctrl-C."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert evaluate`."""
    add = parser.add_argument
    add("experiment", type=Path, metavar="EXPERIMENT", help="folder that `musicbert finetune` wrote")
    add("--data", type=Path, metavar="SHARDS", help="data set of the runs, for baselines (EXPERIMENT/data)")
    add("--output", "-o", type=Path, help="folder of the report (EXPERIMENT/report)")
    add("--no-baselines", action="store_true", help="only the network")
    add("--resamples", type=int, default=1000, help="of the bootstrap (%(default)s)")
    add("--seed", type=int, default=0, help="of the bootstrap and of baselines that draw (%(default)s)")
    add("--quiet", action="store_true", help="do not name the baselines as they are fitted")


def run(options: argparse.Namespace) -> int:
    """Score and write; return the exit status."""
    from musicbert.corpus.labelled.shards import Shards

    shards = None
    if not options.no_baselines:
        shards = Shards(options.data or options.experiment / "data")
    report_runs(
        options.experiment,
        shards,
        output=options.output,
        resamples=options.resamples,
        seed=options.seed,
        quiet=options.quiet,
    )
    return 0


def report_runs(
    experiment: Path,
    shards: Any,
    *,
    output: Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
    quiet: bool = False,
) -> Path:
    """Write the report of an experiment, print its headline, and return its folder."""
    from musicbert.evaluation.reports.experiment import experiment_report
    from musicbert.evaluation.reports.write import write_report
    from musicbert.evaluation.rows import shown_name
    from musicbert.evaluation.runs import read_experiment
    from musicbert.evaluation.tables import number_cell
    from musicbert.provenance import provenance

    report = experiment_report(
        read_experiment(experiment),
        shards,
        n_resamples=resamples,
        seed=seed,
        progress=None if quiet else lambda name: print(f"baseline: {name}", file=sys.stderr),
    )
    inputs = {"task": experiment / "task.json"}
    command = ["musicbert", "evaluate", experiment.name, "--resamples", str(resamples), "--seed", str(seed)]
    out = output or experiment / "report"
    write_report(report, out, provenance=provenance(command, inputs=inputs, seed=seed))
    for row in report.rows:
        print(f"{report.headline} {number_cell(row.value(report.headline))}  {shown_name(row)}")
    about = report.about
    leaked = sum(fold["test"] for fold in about["leaks"].values())
    if leaked:
        print(f"{leaked} of {about['pieces']} test pieces share music with a training piece of their fold")
    print(f"report: {out / 'report.md'}")
    return out
