r"""Merge tables of `musicbert benchmark` that were made by several calls, or on several machines.

Example: python results/tools/merge_benchmarks.py runs/baselines runs/ME runs/VE --model m2bert-base \
    --output results/smc/m2bert-base

Each part is a folder with ``scores.json``, as ``musicbert benchmark`` writes it. Where two parts have a task
and split, their runs are put together, and of a run that both have (fold and seed) the later one counts:
folds and seeds may come from several machines, and baselines from another. Verified in
``tests/results_tools/test_merge_benchmarks.py``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from program import make_parser, report_errors

from musicbert.atomic import write_json, write_text
from musicbert.errors import DatasetError
from musicbert.evaluation.reports.benchmark import SCORES, TABLE, benchmark_table, summary_of_runs

__all__ = ["merge_benchmarks"]


def merge_benchmarks(
    parts: Sequence[str | PathLike[str]], out: str | PathLike[str], *, model: str | None = None
) -> Path:
    """Write the tasks of several benchmarks as one ``scores.json`` and ``table.md``.

    Parameters
    ----------
    parts
        Folders.
    out
        Folder to write; it may be one of the parts.
    model
        Name of what was fine-tuned (that of the first part); the calls of the parts say what it was.

    Returns
    -------
    `out`; ``made_by`` of its ``scores.json`` has a list of the tasks and the provenance of each part.

    Raises
    ------
    DatasetError
        ``bad-scores`` where a part cannot be read, ``other-data`` where a task was scored on other data.
    """
    rows: dict[tuple[str, str, float], dict[str, Any]] = {}
    made_by: list[dict[str, Any]] = []
    for part in map(Path, parts):
        content = _read(part)
        model = content["model"] if model is None else model
        for row in content["rows"]:
            key = (row["task"], row["split"], float(row.get("train_share", 1)))
            rows[key] = _joined(rows.get(key, {}), row, part)
        provenance = content["made_by"]
        tasks = sorted({row["task"] for row in content["rows"]})
        made_by += [
            part for part in provenance.get("parts", [{"tasks": tasks, **provenance}]) if part not in made_by
        ]
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    merged = list(rows.values())
    write_json(target / SCORES, {"model": model, "rows": merged, "made_by": {"parts": made_by}})
    write_text(target / TABLE, benchmark_table(merged, str(model)))
    return target


def _joined(old: Mapping[str, Any], new: Mapping[str, Any], part: Path) -> dict[str, Any]:
    """A task and split as two parts have it."""
    hashes = [row["data"]["sha256"] for row in (old, new) if row.get("data")]
    if len(set(hashes)) > 1:
        raise DatasetError(
            "other-data", f"{new['task']}, {new['split']} was scored on other data than before", path=part
        )
    joined = {**old, **{name: value for name, value in new.items() if value is not None}}
    joined.pop("note", None)
    with_runs = [row for row in (old, new) if row.get("network")]
    # a note is about the runs of its own part
    notes = [row["note"] for row in (with_runs or (old, new)) if row.get("note")]
    if len(with_runs) > 1:
        both = [run for row in with_runs for run in row["network"]["runs"]]
        runs = {(str(run["fold"]), int(run["seed"])): run for run in both}
        joined["network"] = summary_of_runs([runs[key] for key in sorted(runs)])
        notes = [f"{len(runs)} runs, of several calls that were not all complete"] if notes else []
    return {**joined, "note": notes[-1]} if notes else joined


def _read(part: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((part / SCORES).read_text(encoding="utf-8"))
        _ = (
            content["model"],
            [(row["task"], row["split"]) for row in content["rows"]],
            dict(content["made_by"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            "bad-scores",
            "there is no scores.json of a benchmark",
            path=part,
            hint="name folders that musicbert benchmark --output wrote",
        ) from error
    return content


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments and merge. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("parts", nargs="+", type=Path, help="folders with scores.json; later ones win")
    parser.add_argument("--output", type=Path, required=True, help="folder to write, may be one of the parts")
    parser.add_argument("--model", help="name of what was fine-tuned (default: that of the first part)")
    given = parser.parse_args(arguments)

    def merge() -> str:
        folder = merge_benchmarks(given.parts, given.output, model=given.model)
        return f"-> {folder}/scores.json, table.md"

    return report_errors(merge)


if __name__ == "__main__":
    sys.exit(main())
