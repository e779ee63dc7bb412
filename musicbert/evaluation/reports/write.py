"""A report of fine-tuning on disk: ``report.json``, ``scores.csv``, ``report.md`` and pictures.

``scores.png`` has a bar a row with its interval, ``confusion.png`` the classes, ``curves.png`` the losses and
scores of training.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from musicbert import viz
from musicbert.atomic import write_text
from musicbert.evaluation.tables import dump, number_cell
from musicbert.evaluation.training_log import read_curves

__all__ = ["tagging_markdown", "write_tagging_report"]

#: classes up to which the confusion matrix is drawn
MOST_CLASSES = 40


def _cell(entry: Mapping[str, Any] | None) -> str:
    if not entry or entry["value"] is None:
        return "–"
    low, high, seeds = entry.get("low"), entry.get("high"), entry.get("seeds_sd")
    text = f"{entry['value']:.3f}"
    text += "" if low is None else f" [{low:.3f}, {high:.3f}]"
    return text + ("" if seeds is None else f", sd of seeds {seeds:.3f}")


def _mean_cell(entry: Mapping[str, Any] | None) -> str:
    if not entry or entry["value"] is None:
        return "–"
    return number_cell(entry["value"]) + ("" if entry["sd"] is None else f" ± {entry['sd']:.3f}")


def _shown_metrics(report: Mapping[str, Any]) -> list[str]:
    """Headline first, then the others but those of single classes."""
    known = report["rows"][report["main"]]["pooled"]
    plain = [name for name in known if ":" not in name and name != report["headline"]]
    return [report["headline"], *plain]


def _share_lines(report: Mapping[str, Any]) -> list[str]:
    """What was trained on, where that is not the whole training part."""
    if report["train_share"] == 1:
        return []
    counts = sorted(report["train_pieces"].values())
    span = f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
    wanted = 100 * report["train_share"]
    text = f"Networks and baselines learned from {wanted:g} % of each training part: {span} pieces of a fold."
    return [text, ""]


def tagging_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    task, shown = report["task"], _shown_metrics(report)
    unit = "notes" if task["level"] == "note" else "pieces"
    leaked = sum(each["test"] for each in report["leaks"].values())
    lines = [
        f"# {task['name']}: {report['model']} on {report['data']['path']}",
        "",
        f"{report['items']:,} {unit} of {report['pieces']:,} pieces in {report['groups']:,} groups; "
        f"{report['folds']} fold(s) of the split `{report['split']}`; "
        f"seeds {', '.join(map(str, report['seeds']))}; {report['parameters']:,} parameters; "
        f"encoding `{report['data']['codec']}`.",
        "",
        *_share_lines(report),
        f"{leaked} test pieces share a group with a training piece of their fold."
        + (f" {report['leak_note']}" if report["leak_note"] else ""),
        "",
        f"Intervals: 95 % bootstrap over groups of pieces ({report['bootstrap']['resamples']:,} resamples), "
        "test parts of all folds as one set.",
        "",
        "| row | " + " | ".join(shown) + " |",
        "|---" * (len(shown) + 1) + "|",
    ]
    for name, row in report["rows"].items():
        cells = [_cell(row["pooled"].get(metric)) for metric in shown]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "Mean over folds and seeds ± standard deviation over folds:", ""]
    lines += ["| row | " + " | ".join(shown) + " |", "|---" * (len(shown) + 1) + "|"]
    for name, row in report["rows"].items():
        cells = [_mean_cell(row["mean_of_folds"].get(metric)) for metric in shown]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if report["differences"]:
        lines += [
            "",
            f"`{report['main']}` minus each baseline, {report['headline']}, on the same resamples:",
            "",
        ]
        lines += ["| baseline | difference |", "|---|---|"]
        lines += [f"| {name} | {_cell(entry)} |" for name, entry in report["differences"].items()]
    if report["per_class"]:
        names = list(report["per_class"][0])
        lines += ["", f"`{report['main']}`, each class:" if len(names) > 2 else "Each output:", ""]
        lines += ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
        for row in report["per_class"]:
            cells = [str(v) if isinstance(v, str | int) else number_cell(v) for v in row.values()]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _csv(report: Mapping[str, Any]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["row", "kind", "metric", "value", "low", "high", "seeds_sd", "mean_of_folds", "folds_sd"]
    )
    for name, row in report["rows"].items():
        for metric, entry in row["pooled"].items():
            fold = row["mean_of_folds"].get(metric, {})
            values = [entry.get(k) for k in ("value", "low", "high", "seeds_sd")]
            values += [fold.get("value"), fold.get("sd")]
            shown = ["" if value is None else f"{value:.5f}" for value in values]
            writer.writerow([name, row["kind"], metric, *shown])
    return stream.getvalue()


def _curves(folder: Path) -> dict[str, dict[str, list[tuple[float, float]]]]:
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for log in sorted(folder.glob("fold*/seed*/train.log")):
        for quantity, parts in read_curves(log).items():
            if quantity in ("loss", "score"):
                for part, points in parts.items():
                    finite = [(x, y) for x, y in points if np.isfinite(y)]
                    curves.setdefault(quantity, {})[f"{part} {log.parent.parent.name} {log.parent.name}"] = (
                        finite
                    )
    return {quantity: lines for quantity, lines in curves.items() if any(lines.values())}


def write_tagging_report(
    report: Mapping[str, Any],
    out: str | PathLike[str],
    *,
    runs: str | PathLike[str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a report and return its files.

    Parameters
    ----------
    report
        What `musicbert.evaluation.reports.build.build_tagging_report` gives.
    out
        Folder; it is made.
    runs
        Folder of the runs, for the curves of training.
    provenance
        Where it comes from (`musicbert.provenance`).
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "report.json", dump({**report, "provenance": provenance or {}}))
    write_text(out / "scores.csv", _csv(report))
    write_text(out / "report.md", tagging_markdown(report))
    written = [out / "report.json", out / "scores.csv", out / "report.md"]
    metric, title = report["headline"], f"{report['task']['name']}: {report['model']}"
    bars = {}
    for name, row in report["rows"].items():
        entry = row["pooled"].get(metric, {})
        ends = [entry.get(k) for k in ("value", "low", "high")]
        bars[name] = tuple(float("nan") if end is None else float(end) for end in ends)
    networks = [name for name, row in report["rows"].items() if row["kind"] == "network"]
    viz.score_bars(bars, out / "scores.png", highlight=networks, title=title, unit=metric)  # type: ignore[arg-type]
    written.append(out / "scores.png")
    classes = report["task"]["classes"]
    if "confusion" in report and len(classes) <= MOST_CLASSES:
        path = out / "confusion.png"
        viz.confusion_plot(report["confusion"], classes, path, title=title, what=report["task"]["name"])
        written.append(path)
    curves = _curves(Path(runs)) if runs is not None else {}
    if curves:
        viz.curves_plot(curves, out / "curves.png", title=title)
        written.append(out / "curves.png")
    return written
