"""Write a report of ablations: scores.json, table.md and pictures, from what scripts/run_ablations.sh made.

Example: python results/tools/report_ablations.py runs_ablations --out results/ablations --hardware "one H100"

Tables: scores of every variant, gains over no pre-training, the papers' questions, learning curves over the
notes of pre-training and over the share of labels, and the pre-trainings themselves. Verified in
``tests/results_tools/test_report_ablations.py``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ablation_runs import (
    Variant,
    pretraining_of,
    read_pretrainings,
    read_variants,
    unfinished,
)
from ablation_scores import Estimate, answers, gains, scores
from ablation_tables import (
    Curves,
    Estimates,
    column_names,
    curve_tasks,
    report_text,
    tasks_of,
)
from program import make_parser, report_errors

from musicbert import viz
from musicbert.atomic import write_text
from musicbert.evaluation.tables import dump
from musicbert.provenance import provenance

__all__ = ["ablation_report", "curves_of_labels", "curves_of_notes"]


def ablation_report(
    folder: str | PathLike[str], out: str | PathLike[str], *, hardware: str, made_by: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the report of a folder of ``scripts/run_ablations.sh``.

    Parameters
    ----------
    folder
        What the recipe calls its output.
    out
        Folder to write; pictures of an earlier report that this one has not are removed.
    hardware
        What it ran on.
    made_by
        See `musicbert.provenance.provenance`.

    Returns
    -------
    What ``scores.json`` holds

    Raises
    ------
    DatasetError
        Those of `read_variants`.
    """
    variants, pretrainings = read_variants(folder), read_pretrainings(folder)
    means, gained, answered = scores(variants), gains(variants), answers(variants)
    curves = {"notes": curves_of_notes(variants, pretrainings), "labels": curves_of_labels(variants)}
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    report = {
        "hardware": hardware,
        "variants": {variant.name: _record(variant) for variant in variants},
        "pretraining": pretrainings,
        "unfinished": unfinished(folder),
        "scores": _plain(means),
        "gains": _plain(gained),
        "questions": _plain(answered),
        "curves": {kind: {name: [list(p) for p in points] for name, points in lines.items()}
                   for kind, lines in curves.items()},
        "made_by": dict(made_by),
    }  # fmt: skip
    write_text(target / "scores.json", dump(report))
    pictures = {
        "gains.png": _draw_gains(gained, target / "gains.png"),
        "notes.png": _draw_curves(
            means, curves["notes"], target / "notes.png", "million notes of pre-training"
        ),
        "labels.png": _draw_curves(means, curves["labels"], target / "labels.png", "share of the labels (%)"),
    }
    for name in (name for name, drawn in pictures.items() if not drawn):
        (target / name).unlink(missing_ok=True)
    text = report_text(variants, pretrainings, means, gained, answered, curves, hardware)
    wrong = [f"- {name}: this pre-training did not come to its end" for name in report["unfinished"]]
    wrong += [f"- {variant.name}: {note}" for variant in variants for note in variant.notes]
    text += "\n".join(["## What went wrong", "", *wrong, ""]) if wrong else ""
    write_text(target / "table.md", text)
    return report


def curves_of_notes(variants: Sequence[Variant], pretrainings: Mapping[str, Mapping[str, Any]]) -> Curves:
    """Return the variants that differ in the length of pre-training alone, by millions of notes seen.

    A line has at least two pre-trainings on all labels; it begins with no pre-training, where that was run.
    """
    lines: Curves = {}
    for variant in variants:
        seen = pretraining_of(variant, pretrainings)
        if variant.scratch or variant.share < 1 or not seen:
            continue
        lines.setdefault(variant.base, []).append((seen["notes"] / 1e6, variant.name))
    named = {variant.name: variant for variant in variants}
    for points in lines.values():
        reference = named[points[0][1]].reference(variants)
        if len(points) > 1 and reference is not None:
            points.append((0.0, reference.name))
    return {name: sorted(points) for name, points in lines.items() if len(points) > 1}


def curves_of_labels(variants: Sequence[Variant]) -> Curves:
    """Return the variants that differ in the share of labels alone, by per cent."""
    lines: Curves = {}
    for variant in variants:
        lines.setdefault(variant.name.partition("%")[0], []).append((100 * variant.share, variant.name))
    return {name: sorted(points) for name, points in lines.items() if len(points) > 1}


def _record(variant: Variant) -> dict[str, Any]:
    made_by = {key: variant.made_by.get(key) for key in ("command", "commit", "changed", "versions")}
    runs = [
        {"task": task, "split": split, "seed": seed, "fold": fold, "score": score}
        for (task, split), runs in variant.tasks.items()
        for (seed, fold), score in sorted(runs.items())
    ]
    return {
        "codec": variant.codec,
        "share": variant.share,
        "pretraining": variant.pretraining,
        "notes": list(variant.notes),
        "runs": runs,
        "made_by": made_by,
    }


def _plain(estimates: Estimates) -> dict[str, list[dict[str, Any]]]:
    """Return JSON-ready lists of estimates."""
    return {
        name: [{"task": task, "split": split, **gain.as_dict()} for (task, split), gain in row.items()]
        for name, row in estimates.items()
    }


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    if estimate.low is None or estimate.high is None:
        return estimate.value, math.nan, math.nan
    return estimate.value, estimate.low, estimate.high


def _draw_gains(gained: Estimates, path: Path) -> bool:
    tasks = tasks_of(gained)
    panels = {
        head: {name: _ends(row[task]) for name, row in gained.items() if task in row}
        for task, head in zip(tasks, column_names(tasks), strict=True)
    }
    if panels:
        viz.interval_grid(panels, path, title="Gain over no pre-training", unit="difference of the score")
    return bool(panels)


def _draw_curves(found: Estimates, lines: Curves, path: Path, unit: str) -> bool:
    tasks = curve_tasks(found, lines)
    panels = {
        head: {
            line: [(x, *_ends(found[name][task])) for x, name in points if task in found[name]]
            for line, points in lines.items()
        }
        for task, head in zip(tasks, column_names(tasks), strict=True)
    }
    if panels:
        viz.line_grid(panels, path, title="Score", unit=unit)
    return bool(panels)


def main() -> int:
    """Parse the arguments and write the report. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("runs", type=Path, help="folder with pretrain/ and finetune/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--hardware", default="not recorded", help="what it ran on")
    given = parser.parse_args()

    def report() -> str:
        tables = sorted(given.runs.glob("finetune/*/scores*.json"))
        inputs = {f"{path.parent.name}/{path.name}": path for path in tables}
        command = ["python", "results/tools/report_ablations.py", *sys.argv[1:]]
        made_by = provenance(command, inputs=inputs, seed=0)
        report = ablation_report(given.runs, given.out, hardware=given.hardware, made_by=made_by)
        return f"{len(report['variants'])} variants: {given.out / 'table.md'}"

    return report_errors(report)


if __name__ == "__main__":
    sys.exit(main())
