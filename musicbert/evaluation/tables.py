"""Rows of scores as Markdown tables, CSV, JSON, and files of a table: ``scores.{json,csv,md}``."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.atomic import write_text
from musicbert.evaluation.rows import Row, drawn_over, read_rows, shown_name

#: column of a mean over folds: the metric, followed by this
OF_FOLDS = " of folds"
#: metrics that are shown without their interval, to keep tables narrow
NARROW = ("mse", "mae", "pearson", "spearman", "flattened_r2")
_TITLES = {"r2": "R²", "flattened_r2": "flattened R²"}


def dump(result: Any) -> str:
    """Return a result as JSON with five decimals; what holds only numbers and texts is on one line."""

    def text(value: Any, indent: str) -> str:
        if isinstance(value, float):
            return json.dumps(round(value, 5), allow_nan=False)
        if not isinstance(value, Mapping | list | tuple):
            return json.dumps(value, ensure_ascii=False)
        keyed = isinstance(value, Mapping)
        items = list(value.values()) if keyed else list(value)
        nested = any(isinstance(item, Mapping | list | tuple) for item in items)
        inside = f"{indent} " if nested else indent
        lines = [text(item, inside) for item in items]
        if keyed:
            names = (json.dumps(str(name), ensure_ascii=False) for name in value)
            lines = [f"{name}: {line}" for name, line in zip(names, lines, strict=True)]
        begin, end = "{}" if keyed else "[]"
        if not nested:
            return begin + ", ".join(lines) + end
        return f"{begin}\n{inside}" + f",\n{inside}".join(lines) + f"\n{indent}{end}"

    return text(result, "") + "\n"


def number_cell(value: float | None, digits: int = 3) -> str:
    """Return a value with some decimals, a dash for none."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def interval_cell(entry: Mapping[str, float | None], digits: int = 3) -> str:
    """Return a value with its interval, or with its standard deviation over folds where it has none."""
    text, low, high = (number_cell(entry.get(key), digits) for key in ("value", "low", "high"))
    if entry.get("low") is not None:
        text += f" [{low}, {high}]"
    elif entry.get("sd") is not None:
        text += f" ± {number_cell(entry['sd'], digits)}"
    seeds = entry.get("seeds_sd")
    return text + ("" if seeds is None else f", sd of seeds {number_cell(seeds, digits)}")


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    body = [f"| {' | '.join(cells)} |" for cells in lines]
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *body]


def row_table(rows: Iterable[Row], metrics: Sequence[str], *, bold: bool = False) -> list[str]:
    """Return a table, a line a row and a column a metric (or ``METRIC of folds``), networks ``bold``."""
    lines = []
    for row in rows:
        name = shown_name(row)
        cells = [f"**{name}**" if bold and row.kind not in ("baseline", "ceiling") else name]
        for metric in metrics:
            plain, digits = metric.removesuffix(OF_FOLDS), 4 if metric.startswith(("mse", "mae")) else 3
            if metric.endswith(OF_FOLDS):
                entry = row.scores.get("mean_of_folds", {}).get(plain) or {}
            else:
                entry = row.entry(metric)
                entry = {"value": entry.get("value")} if metric in NARROW else entry
            cells.append(interval_cell(entry, digits))
        lines.append(cells)
    return markdown_table(["row", *(_TITLES.get(metric, metric) for metric in metrics)], lines)


def rows_csv(rows: Iterable[Row]) -> str:
    """Return all scores of rows, a line a metric."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ("row", "kind", "seeds", "metric", "value", "low", "high", "seeds_sd", "mean_of_folds", "folds_sd")
    writer.writerow(head)
    for row in rows:
        for metric, entry in row.scores["pooled"].items():
            fold = row.scores.get("mean_of_folds", {}).get(metric, {})
            values = [entry.get(key) for key in ("value", "low", "high", "seeds_sd")]
            values += [fold.get("value"), fold.get("sd")]
            cells = ["" if value is None else f"{value:.5f}" for value in values]
            writer.writerow([shown_name(row), row.kind, row.seeds or "", metric, *cells])
    return stream.getvalue()


def write_scores(
    out: str | PathLike[str],
    *,
    title: str,
    notes: Sequence[str],
    rows: Sequence[Row],
    metrics: Sequence[Sequence[str]],
    more: Mapping[str, Any],
) -> Path:
    """Write ``scores.json``, ``scores.csv`` and ``scores.md``, and return the folder.

    ``notes``: sentences below the title; ``metrics``: columns of each Markdown table (see `row_table`);
    ``more``: further content of the JSON, such as sizes and provenance.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "title": title,
        "notes": list(notes),
        "columns": [*map(list, metrics)],
        **more,
    }
    write_text(folder / "scores.json", dump({**content, "rows": [row.as_dict() for row in rows]}))
    write_text(folder / "scores.csv", rows_csv(rows))
    lines = [f"# {title}", "", *(line for note in notes for line in (note, ""))]
    for columns in metrics:
        lines += [*row_table(rows, columns), ""]
    write_text(folder / "scores.md", "\n".join(lines))
    return folder


def baseline_tables(result: Mapping[str, Any]) -> str:
    """Return one table a split of a result of baselines (pooled scores with intervals)."""
    lines = [f"# Baselines: {result['name']}", ""]
    if result.get("about"):
        lines += [str(result["about"]), ""]
    for split, content in result["splits"].items():
        rows, folds = read_rows(content["rows"]), content["folds"].values()
        shared, tests = (
            sum(fold[key] for fold in folds) for key in ("test_sharing_music_with_training", "test")
        )
        distinct = rows[0].items if rows else tests
        if distinct < tests:  # every fold's model is tested on the same segments
            shared, tests = shared * distinct // tests, distinct
        train = sorted({fold["train"] for fold in folds})
        span = "–".join(str(size) for size in dict.fromkeys((train[0], train[-1])))
        over = drawn_over(rows[0], "segments") if rows else "segments"
        regression = content["task"] == "regression"
        metrics = ["r2", f"r2{OF_FOLDS}", "flattened_r2", "mse", "mae", "pearson", "spearman"]
        lines += [
            f"## {split} ({content['task']})",
            "",
            f"{len(folds)} folds, {span} segments to train on, {tests} tested; "
            f"{shared} test segments share bars with training. "
            f"Brackets: 95 % bootstrap intervals over {over}.",
            "",
            *row_table(rows, metrics if regression else ["accuracy", "macro_f1", "balanced_accuracy"]),
            "",
        ]
        if differences := content.get("differences"):
            lines += ["| row | minus | R², difference on the same resamples |", "|---|---|---|"]
            for entry in differences:
                shown = "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**entry["r2"])
                lines.append(f"| {entry['row']} | {entry['minus']} | {shown} |")
            lines.append("")
    return "\n".join(lines)
