"""`musicbert evaluate`: the report of a fine-tuning experiment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from musicbert.cli.inputs import add_seen
from musicbert.command_line import refuse_unused

if TYPE_CHECKING:
    from musicbert.corpus.labelled import LabelledSet


DESCRIPTION = "Score a fine-tuning experiment and simple baselines: JSON, CSV, Markdown and plots."
EPILOG = """examples:
  musicbert evaluate runs/moods
  musicbert evaluate runs/melody --data shards/melody --output results/melody --resamples 2000
  musicbert evaluate runs/moods --no-baselines
  musicbert evaluate runs/beats --seen results/overlaps.json:m2bert-mini

Without --data, baselines are fitted on EXPERIMENT/data. The report is written to EXPERIMENT/report; with
several labels, one for each to EXPERIMENT/report/LABEL.

exit status: 0 done; 2 bad usage or input (such as unfinished runs); 130 stopped by Ctrl-C."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert evaluate`."""
    add = parser.add_argument
    add("experiment", type=Path, metavar="EXPERIMENT", help="folder that `musicbert finetune` wrote")
    add("--data", type=Path, metavar="FOLDER", help="data of the runs, for baselines (EXPERIMENT/data)")
    add("--output", "-o", type=Path, help="folder of the report (EXPERIMENT/report)")
    add_seen(parser)
    add("--no-baselines", action="store_true", help="only the network")
    add("--resamples", type=int, default=1000, help="of the bootstrap (%(default)s)")
    add("--seed", type=int, default=0, help="of the bootstrap and of baselines that draw (%(default)s)")
    add("--quiet", action="store_true", help="do not print the names of baselines while they are fitted")


def run(options: argparse.Namespace) -> int:
    """Score and write; return the exit status."""
    folds = None
    if options.no_baselines:
        refuse_unused(options, ["data", "quiet"], "with --no-baselines")
    else:
        from musicbert.corpus.labelled import open_folds

        folds = open_folds(options.data or options.experiment / "data")
    report_runs(
        options.experiment,
        folds,
        output=options.output,
        resamples=options.resamples,
        seed=options.seed,
        quiet=options.quiet,
        seen=options.seen,
    )
    return 0


def report_runs(
    experiment: Path,
    folds: Mapping[str, LabelledSet] | None,
    *,
    output: Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
    quiet: bool = False,
    again: bool = True,
    seen: str | None = None,
) -> None:
    """Write the report of each label of an experiment and print the headlines.

    Baselines are fitted on ``folds`` (`musicbert.corpus.labelled.open_folds`), if given. ``resamples`` and
    ``seed`` are those of the bootstrap. Without ``again``, a report that was made from the same
    stays. ``seen``: see `musicbert.evaluation.reports.seen.read_seen`.
    """
    from musicbert.corpus.labelled import Shards
    from musicbert.evaluation.reports.build import experiment_report
    from musicbert.evaluation.reports.seen import read_seen, seen_file
    from musicbert.evaluation.reports.write import write_report
    from musicbert.evaluation.rows import shown_name
    from musicbert.evaluation.run_files import read_experiment
    from musicbert.evaluation.tables import number_cell
    from musicbert.provenance import provenance
    from musicbert.reuse import hold_folder, read_record

    first = read_experiment(experiment)
    labels = [task["label"] for task in first.record.get("tasks", [])] or [first.task.label]
    data = next(iter(folds.values()), None) if folds else None
    command = ["musicbert", "evaluate", experiment.name, "--resamples", str(resamples), "--seed", str(seed)]
    command += [] if folds else ["--no-baselines"]
    inputs = {"task": experiment / "task.json"}
    if seen is not None:
        command += ["--seen", seen]
        inputs["seen"] = seen_file(seen)[0]
    pieces_seen = None if seen is None else read_seen(seen)
    made_by = provenance(command, inputs=inputs, seed=seed)
    out = output or experiment / "report"
    with hold_folder(out):
        for label in labels:
            place = out / label if len(labels) > 1 else out
            earlier = (read_record(place / "report.json") or {}).get("provenance") or {}
            if not again and all(earlier.get(name) == made_by[name] for name in ("command", "data")):
                print(f"report: {place / 'report.md'} (as before; `musicbert evaluate` writes it again)")
                continue
            report = experiment_report(
                read_experiment(experiment, label),
                data if isinstance(data, Shards) else folds,
                n_resamples=resamples,
                seed=seed,
                progress=None if quiet else lambda name: print(f"baseline: {name}", file=sys.stderr),
                seen=pieces_seen,
            )
            write_report(report, place, provenance=made_by)
            for row in report.rows:
                print(f"{report.headline} {number_cell(row.value(report.headline))}  {shown_name(row)}")
            for part, rows in report.apart.items():
                for row in rows[:1]:
                    value = number_cell(row.value(report.headline))
                    print(f"{report.headline} {value}  {shown_name(row)}, {part} pieces")
            if leaked := sum(fold["test"] for fold in report.about["leaks"].values()):
                pieces = report.about["pieces"]
                print(f"{leaked} of {pieces} test pieces share music with a training piece of their fold")
            print(f"report: {place / 'report.md'}")
