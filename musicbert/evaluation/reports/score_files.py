"""A table of scores as files: ``scores.json``, ``scores.csv`` and ``scores.md``.

One row a model or baseline, one column a metric; each cell a value with its bootstrap interval.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.corpus.files.folders import write_text
from musicbert.evaluation.tables import dump, interval_cell

__all__ = ["score_table", "with_means", "write_scores"]

Rows = Mapping[str, Mapping[str, Mapping[str, float | None]]]


def score_table(rows: Rows, metrics: Sequence[str]) -> list[str]:
    """Return a Markdown table of some metrics.

    Parameters
    ----------
    rows
        row -> metric -> ``value``, ``low``, ``high`` (None where there is none).
    metrics
        Columns.
    """
    lines = ["| row | " + " | ".join(metrics) + " |", "|---" * (len(metrics) + 1) + "|"]
    none = {"value": None, "low": None}
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(interval_cell(row.get(m, none)) for m in metrics) + " |")
    return lines


def write_scores(
    out: str | PathLike[str],
    *,
    title: str,
    notes: Sequence[str],
    rows: Rows,
    metrics: Sequence[Sequence[str]],
    more: Mapping[str, Any],
) -> Path:
    """Write the three files.

    Parameters
    ----------
    out
        Folder; made if it is missing.
    title, notes
        Heading, and sentences below it.
    rows
        See `score_table`.
    metrics
        Columns of each Markdown table; the CSV has all metrics.
    more
        Further content of the JSON: sizes, provenance.

    Returns
    -------
    Path
        The folder.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "scores.json", dump({"title": title, "notes": list(notes), **more, "rows": rows}))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["row", "metric", "value", "low", "high"])
    for name, row in rows.items():
        for metric, cell in row.items():
            values = [cell.get(key) for key in ("value", "low", "high")]
            writer.writerow([name, metric, *("" if v is None else f"{v:.5f}" for v in values)])
    write_text(folder / "scores.csv", table.getvalue())
    lines = [f"# {title}", "", *(line for note in notes for line in (note, ""))]
    for columns in metrics:
        lines += [*score_table(rows, columns), ""]
    write_text(folder / "scores.md", "\n".join(lines))
    return folder


def with_means(rows: Rows) -> dict[str, Mapping[str, Mapping[str, float | None]]]:
    """Add, for each set of rows ``NAME seedK``, a row with the mean and standard deviation over the seeds."""
    result = dict(rows)
    seeds: dict[str, list[str]] = {}
    for name in rows:
        base, mark, number = name.rpartition(" seed")
        if mark and number.isdecimal():
            seeds.setdefault(base, []).append(name)
    for base, names in seeds.items():
        if len(names) < 2:
            continue
        row: dict[str, dict[str, float | None]] = {}
        for metric in rows[names[0]]:
            values = [value for name in names if (value := rows[name][metric]["value"]) is not None]
            row[metric] = {
                "value": statistics.fmean(values) if values else None,
                "low": None,
                "high": None,
                "sd": statistics.stdev(values) if len(values) > 1 else None,
            }
        result[f"{base}, mean of {len(names)} seeds"] = row
    return result
