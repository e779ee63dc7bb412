"""A report on disk.

| file | holds |
|---|---|
| ``report.json`` | task, rows, differences, classes, data, runs, provenance |
| ``scores.csv`` | all scores, a line a row and metric |
| ``dimensions.csv`` | of several outputs: a line an output, both poles, the scores of every row |
| ``report.md`` | the tables for people |
| ``predictions.npz`` | of ratings: predictions, without labels (`musicbert.evaluation.predictions.kept`) |
| ``scores.png`` | a bar a row with its interval, and the noise ceiling |
| ``dimensions.png`` | R² of each output against baseline and ceiling |
| ``scatter.png`` | predictions against labels |
| ``confusion.png`` | classes taken for each other |
| ``curves.png`` | training curves, where there are logs |

Pictures of outputs are made where these have poles, such as ratings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musicbert import viz
from musicbert.annotation.reliability import MARKS, ceiling_mark
from musicbert.atomic import write_text
from musicbert.evaluation.metrics.regression import REGRESSION
from musicbert.evaluation.predictions import save_predictions
from musicbert.evaluation.reports.build import Report
from musicbert.evaluation.rows import Row, drawn_over, shown_name
from musicbert.evaluation.run_files import KEPT
from musicbert.evaluation.tables import (
    OF_FOLDS,
    dump,
    interval_cell,
    markdown_table,
    number_cell,
    row_table,
    rows_csv,
)

FORMAT = "musicbert-report"
#: classes up to which the confusion matrix is drawn
MAX_CLASSES = 40
#: rows in tables and pictures of outputs
FRONT_ROWS = 4


def write_report(
    report: Report, out: str | PathLike[str], *, provenance: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write a report into a folder, which is made, and return its files."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    texts = {"report.json": dump(_content(report, provenance)), "scores.csv": rows_csv(report.rows)}
    if _outputs(report):
        texts["dimensions.csv"] = output_table(report).to_csv(
            index=False, float_format="%.5f", lineterminator="\n"
        )
    pictures = _pictures(report, out)
    texts["report.md"] = report_markdown(report, pictures)
    for name, text in texts.items():
        write_text(out / name, text)
    if report.kept:
        save_predictions(out / KEPT, report.kept)
    return [out / name for name in (*texts, *pictures, *([KEPT] if report.kept else []))]


def _content(report: Report, provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    names = report.task.classes if report.poles else ()
    return {
        "format": FORMAT,
        "name": report.name,
        "task": asdict(report.task),
        "split": report.split,
        "headline": report.headline,
        **report.about,
        "poles": [
            {"name": name, "low": low, "high": high}
            for name, (low, high) in zip(names, report.poles, strict=True)
        ],
        "rows": [row.as_dict() for row in report.rows],
        "differences": report.differences,
        "per_class": report.per_class,
        **({"apart": _apart_content(report)} if report.apart else {}),
        "provenance": dict(provenance or {}),
    }


def _apart_content(report: Report) -> dict[str, Any]:
    return {part: [row.as_dict() for row in rows] for part, rows in report.apart.items()}


def _outputs(report: Report) -> tuple[str, ...]:
    """Names of the outputs of a regression, if there are several, or they have poles."""
    named = report.task.kind == "regression" and (len(report.task.classes) > 1 or report.poles)
    return report.task.classes if named else ()


def _ceiling(report: Report) -> Row | None:
    return next(iter(report.of_kind("ceiling")), None)


def _by_output(row: Row, metric: str, outputs: tuple[str, ...], end: str = "value") -> np.ndarray[Any, Any]:
    """Values (or ends of intervals) of each output [shape=(d,)], NaN where there is none."""
    keys = [f"{metric}:{name}" for name in outputs] if len(outputs) > 1 else [metric]
    values = [row.entry(key).get(end) for key in keys]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def output_table(report: Report) -> pd.DataFrame:
    """Return the scores of each output of a regression, a line an output.

    Columns: ``dimension``, ``low_pole`` and ``high_pole`` (where there are poles), ``ceiling`` with its ends,
    ``mark`` of dimensions at their ceiling or without anything to learn, and of every row ``<row> <metric>``
    and ``<row> r2 low`` and ``high`` (where there is an interval).
    """
    outputs, ceiling = _outputs(report), _ceiling(report)
    columns: dict[str, Any] = {"dimension": list(outputs)}
    if report.poles:
        columns["low_pole"], columns["high_pole"] = map(list, zip(*report.poles, strict=True))
    if ceiling is not None:
        columns["ceiling"] = _by_output(ceiling, "r2", outputs)
        if ceiling.entry("r2").get("low") is not None:
            columns |= {f"ceiling {end}": _by_output(ceiling, "r2", outputs, end) for end in ("low", "high")}
        if any(marks := _marks(report)):
            columns["mark"] = [MARKS.get(mark, "") for mark in marks]
    for row in (row for row in report.rows if row.kind != "ceiling"):
        name = shown_name(row)
        for metric in REGRESSION:
            columns[f"{name} {metric}"] = _by_output(row, metric, outputs)
        ends = {end: _by_output(row, "r2", outputs, end) for end in ("low", "high")}
        if np.isfinite(ends["low"]).any():
            columns |= {f"{name} r2 {end}": values for end, values in ends.items()}
    return pd.DataFrame(columns)


def _marks(report: Report) -> list[str]:
    """Mark of each output (`musicbert.annotation.reliability.ceiling_mark`), by the best row there is."""
    outputs, ceiling = _outputs(report), _ceiling(report)
    if ceiling is None:
        return [""] * len(outputs)
    rows = [row for row in report.rows if row.kind != "ceiling"]
    best = np.nanmax([np.nan_to_num(_by_output(row, "r2", outputs), nan=-np.inf) for row in rows], axis=0)
    low = _by_output(ceiling, "r2", outputs, "low")
    return [ceiling_mark(*pair) for pair in zip(low, best, strict=True)]


def _ceiling_cell(entry: Mapping[str, float | None], digits: int = 3) -> str:
    """Return both ends of a ceiling, or the one figure that there is."""
    if entry.get("low") is None:
        return number_cell(entry.get("value"), digits)
    return "–".join(number_cell(entry[end], digits) for end in ("low", "high"))


def _top_of(ceiling: Row) -> str:
    return "value" if ceiling.entry("r2").get("high") is None else "high"


def _ends(entry: Mapping[str, float | None]) -> tuple[float, float]:
    """Low and high end of a ceiling, twice the one figure where it has no ends."""
    low, high = (entry["value"] if entry.get(end) is None else entry[end] for end in ("low", "high"))
    return (np.nan, np.nan) if low is None or high is None else (low, high)


def _front(report: Report) -> list[Row]:
    """Return up to four rows to compare by output: networks, the best baseline, the best look-up."""

    def best(rows: list[Row]) -> list[Row]:
        known = [row for row in rows if np.isfinite(row.value(report.headline))]
        return sorted(known, key=lambda row: row.value(report.headline), reverse=True)[:1]

    networks = [row for row in report.of_kind("network", "blend", "hybrid") if row.seeds != "one"]
    baselines = report.of_kind("baseline")
    lookups = best([row for row in baselines if row.name.startswith("lookup")])
    chosen = [*networks[:2], *best(baselines), *lookups]
    return list(dict.fromkeys(chosen))[:FRONT_ROWS]


def report_markdown(report: Report, pictures: list[str]) -> str:
    """Return the report as Markdown; both poles of each output are named, the low one first."""
    known = report.main.scores["pooled"]
    shown = [report.headline, *(name for name in known if ":" not in name and name != report.headline)]
    folds = [name for name in shown if name in report.main.scores["mean_of_folds"] and name != "flattened_r2"]
    rows = [row for row in report.rows if row.kind != "ceiling"]
    lines = [
        f"# {report.name}",
        "",
        *_facts(report),
        f"Brackets: 95 % bootstrap intervals over {drawn_over(report.main)}, "
        f"{report.about['bootstrap']['resamples']:,} resamples, test parts of all folds as one set. "
        "Networks in bold.",
        "",
        *row_table(rows, shown, bold=True),
        "",
        "Each fold scored alone: mean over folds and seeds ± standard deviation over folds.",
        "",
        *row_table([row for row in rows if "mean_of_folds" in row.scores], [m + OF_FOLDS for m in folds]),
        "",
    ]
    ceiling = _ceiling(report)
    if ceiling is not None:
        value = _ceiling_cell(ceiling.entry(report.headline))
        lines += [f"Noise ceiling of these labels, mean over outputs: {value}.", ""]
        marked = {
            mark: [name for name, own in zip(_outputs(report), _marks(report), strict=True) if own == mark]
            for mark in MARKS
        }
        lines += [
            f"{MARKS[mark].capitalize()}: {', '.join(names)}." for mark, names in marked.items() if names
        ]
        lines += [""] if any(marked.values()) else []
    lines += [line for text in report.about["missing_rows"] for line in (f"Missing row: {text}.", "")]
    if report.differences:
        lines += [f"Differences of {report.headline}, on the same resamples:", ""]
        names = {(row.kind, row.seeds): shown_name(row) for row in report.rows}
        lines += markdown_table(
            [
                "row",
                "minus",
                "pieces in common" if report.task.level == "sequence" else "notes",
                "difference",
            ],
            [
                (
                    names[difference["kind"], difference["seeds"]],
                    difference["against"],
                    f"{difference['n']:,}",
                    interval_cell(difference),
                )
                for difference in report.differences
            ],
        )
        lines.append("")
    for part, of_part in report.apart.items():
        lines += [f"Test pieces that are {part} by the list of seen music: {_pieces(of_part)}.", ""]
        lines += [*row_table(of_part, shown, bold=True), ""] if of_part else []
    lines += _class_lines(report) + _output_lines(report)
    lines += [f"![{Path(name).stem}]({name})" for name in pictures]
    return "\n".join(lines).rstrip("\n") + "\n"


def _pieces(rows: Sequence[Row]) -> str:
    known = next((row.predictions for row in rows if row.predictions is not None), None)
    return "none" if known is None else f"{len(known):,}"


def _facts(report: Report) -> list[str]:
    """Sentences on sizes, split, runs and leaks."""
    about = report.about
    unit = "notes" if report.task.level == "note" else "pieces"
    parts = [
        f"{about['items']:,} {unit} of {about['pieces']:,} pieces in {about['groups']:,} groups",
        f"{about['folds']} fold(s)" + (f" of the split `{report.split}`" if report.split else ""),
        f"seeds {', '.join(map(str, about['seeds']))}",
    ]
    if "parameters" in about:
        parts.append(f"{about['parameters']:,} parameters")
    if "data" in about:
        parts.append(f"encoding `{about['data']['codec']}`")
    lines = ["; ".join(parts) + ".", ""]
    if "scale" in about:
        lines += [f"What is predicted: {about['scale']}.", ""]
    if about.get("train_share", 1) != 1:
        counts = sorted(about["train_pieces"].values())
        span = f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
        share = 100 * about["train_share"]
        lines += [
            f"Networks and baselines learned from {share:g} % of each training part: {span} pieces a fold.",
            "",
        ]
    if "leaks" in about:
        leaked = sum(fold["test"] for fold in about["leaks"].values())
        note = f" {about['leak_note']}" if about.get("leak_note") else ""
        lines += [f"{leaked} test pieces share a group with a training piece of their fold.{note}", ""]
    return lines


def _class_lines(report: Report) -> list[str]:
    if not report.per_class:
        return []
    lines = [
        [str(v) if isinstance(v, str | int) else number_cell(v) for v in numbers.values()]
        for numbers in report.per_class
    ]
    table = markdown_table(list(report.per_class[0]), lines)
    return [f"`{shown_name(report.main)}`, each class:", "", *table, ""]


def _output_lines(report: Report) -> list[str]:
    outputs, ceiling = _outputs(report), _ceiling(report)
    if not outputs:
        return []
    front = _front(report)
    names = [viz.poles(*poles) for poles in report.poles] or list(outputs)
    columns = [[number_cell(value) for value in _by_output(row, "r2", outputs)] for row in front]
    if ceiling is not None:
        front = [*front, ceiling]
        keys = [f"r2:{name}" for name in outputs] if len(outputs) > 1 else ["r2"]
        columns.append([_ceiling_cell(ceiling.entry(key)) for key in keys])
        marks = [MARKS.get(mark) for mark in _marks(report)]
        names = [f"{name} ({mark})" if mark else name for name, mark in zip(names, marks, strict=True)]
    poles = ["Low labels mean the left pole, high labels the right one.", ""] if report.poles else []
    head = ["low ↔ high" if report.poles else "output", *(shown_name(row) for row in front)]
    table = markdown_table(head, zip(names, *columns, strict=True))
    return ["## R² of each output", "", *poles, *table, ""]


def _pictures(report: Report, out: Path) -> list[str]:
    """Draw what there is and return the names of the files."""
    metric, main, outputs = report.headline, report.main, _outputs(report)
    ceiling = _ceiling(report)
    top = None if ceiling is None else _ends(ceiling.entry(metric))
    bars = {
        shown_name(row): tuple(
            np.nan if (end := row.entry(metric).get(key)) is None else float(end)
            for key in ("value", "low", "high")
        )
        for row in report.rows
        if row.kind != "ceiling"
    }
    networks = [shown_name(row) for row in report.rows if row.kind not in ("baseline", "ceiling")]
    unit = "R² (mean over outputs)" if metric == "r2" and outputs else metric
    viz.score_bars(bars, out / "scores.png", ceiling=top, highlight=networks, title=report.name, unit=unit)  # type: ignore[arg-type]
    written = ["scores.png"]
    if outputs and report.poles and report.task.level == "sequence":
        front = _front(report)
        viz.dimension_plot(
            {shown_name(row): _by_output(row, "r2", outputs) for row in front},
            report.poles,
            out / "dimensions.png",
            ceiling=None if ceiling is None else _by_output(ceiling, "r2", outputs, _top_of(ceiling)),
            lowest=None if ceiling is None else _by_output(ceiling, "r2", outputs, "low"),
            marks=[MARKS.get(mark, "") for mark in _marks(report)],
            interval=np.column_stack([_by_output(front[0], "r2", outputs, end) for end in ("low", "high")]),
            title=f"{report.name}: R² of each output",
        )
        scores = zip(*(_by_output(main, name, outputs) for name in ("r2", "pearson")), strict=True)
        assert main.predictions is not None
        viz.scatter_grid(
            main.predictions.target,
            main.predictions.outputs,
            report.poles,
            out / "scatter.png",
            title=f"{report.name}: predicted against labelled ({shown_name(main)})",
            notes=[f"R² {r2:.2f}, r {r:.2f}" for r2, r in scores],
        )
        written += ["dimensions.png", "scatter.png"]
    classes = report.task.classes
    if main.confusion is not None and len(classes) <= MAX_CLASSES:
        title = f"{report.name}: {shown_name(main)}"
        path = out / "confusion.png"
        viz.confusion_plot(main.confusion, classes, path, title=title, what=report.task.name)
        written.append("confusion.png")
    if report.curves:
        viz.curves_plot(report.curves, out / "curves.png", title=f"{report.name}: training curves")
        written.append("curves.png")
    return written
