"""A report on disk: ``report.json``, ``dimensions.csv``, ``report.md`` and pictures.

| file | holds |
|---|---|
| ``report.json`` | all scores with intervals, differences, ceiling, provenance |
| ``dimensions.csv`` | a line a dimension, both poles, every row's scores |
| ``report.md`` | the tables for people |
| ``scores.png`` | a bar a row with interval, and the ceiling |
| ``dimensions.png`` | R² of each dimension against baseline and ceiling |
| ``scatter.png`` | predictions against labels |
| ``confusion.png`` | performer classes |
| ``curves.png`` | training curves, where logs were found |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musicbert import viz
from musicbert.annotation.label_map import LabelMap
from musicbert.atomic import write_text
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.feature_table import feature_table
from musicbert.evaluation.metrics.regression_and_classes import REGRESSION
from musicbert.evaluation.reports.rating_report import HEADLINE, Report, build_report
from musicbert.evaluation.tables import dump, interval_cell, number_cell
from musicbert.provenance import provenance

__all__ = ["dimension_table", "report_markdown", "report_set", "write_report"]


def _headline(report: Report, row: Mapping[str, Any]) -> Mapping[str, float | None]:
    section, metric = HEADLINE[report.task]
    found = row[section]["pooled"][metric]
    headline: Mapping[str, float | None] = found["mean"] if report.task == "regression" else found
    return headline


def _front(report: Report) -> list[str]:
    """Name up to four rows for the pictures: networks from the best on, and the best baseline."""

    def value(name: str) -> float:
        found = _headline(report, report.rows[name])["value"]
        return float("-inf") if found is None else found

    networks = [name for name in report.networks if "one seed" not in name]
    baselines = [name for name in report.rows if name not in report.networks]
    best = sorted(baselines, key=value, reverse=True)[:1]
    lookups = sorted((n for n in baselines if n.startswith("lookup")), key=value, reverse=True)[:1]
    return [*networks[:2], *best, *lookups][:4]


def dimension_table(report: Report) -> pd.DataFrame:
    """Return the scores of each dimension, a line a dimension.

    Returns
    -------
    Columns ``dimension``, ``low_pole``, ``high_pole``, ``ceiling``, then ``<row> <metric>`` for every row and
    metric, and ``<row> r2 low`` and ``high`` where there is an interval
    """
    columns: dict[str, Any] = {
        "dimension": [d.name for d in report.labels.dimensions],
        "low_pole": [d.low for d in report.labels.dimensions],
        "high_pole": [d.high for d in report.labels.dimensions],
        "ceiling": report.ceiling,
    }
    for name, row in report.rows.items():
        for metric in REGRESSION:
            found = row["regression"]["pooled"][metric]
            columns[f"{name} {metric}"] = found["each"]
            if "each_interval" in found:
                ends = np.array(found["each_interval"], dtype=float)
                columns[f"{name} {metric} low"], columns[f"{name} {metric} high"] = ends.T
    return pd.DataFrame(columns)


def _score_lines(report: Report) -> list[str]:
    regression = report.task == "regression"
    metrics = ("mse", "mae", "pearson", "spearman") if regression else ("macro_f1", "balanced_accuracy")
    first = "R² pooled" if regression else "accuracy pooled"
    titles = [
        first,
        "mean of folds",
        *(m.replace("_", " ") for m in metrics),
        *(["flattened R²"] if regression else []),
    ]
    lines = ["| row | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    section, headline = HEADLINE[report.task]
    for name, row in report.rows.items():
        scores = row[section]
        pooled = scores["pooled"]
        rest = [(pooled[m]["mean"] if regression else pooled[m])["value"] for m in metrics]
        cells = [
            interval_cell(_headline(report, row)),
            number_cell(scores["mean_of_folds"][headline]),
            *(number_cell(v, 4 if m in ("mse", "mae") else 3) for m, v in zip(metrics, rest, strict=True)),
            *([number_cell(scores["flattened_r2"])] if regression else []),
        ]
        shown = f"**{name}**" if name in report.networks else name
        lines.append(f"| {shown} | " + " | ".join(cells) + " |")
    return lines


def report_markdown(report: Report, pictures: list[str]) -> str:
    """Return the report as Markdown; both poles of each dimension are named, the low one first."""
    folds = {fold for fold, _ in report.runs}
    seeds = {seed for _, seed in report.runs}
    n = len(report.ensemble)
    sizes = f"{n} test items, {len(folds)} folds, {len(seeds)} seeds."
    over = {row["bootstrap"]["over"] for name, row in report.rows.items() if name in report.networks}
    drawn = "groups of items that share music" if over == {"groups"} else "items"
    brackets = f"Brackets: 95 % bootstrap interval over {drawn}"
    lines = [
        f"# {report.name}",
        "",
        f"{sizes} {brackets}; ± standard deviation over seeds. Networks in bold.",
        "",
        *_score_lines(report),
        "",
    ]
    if report.task == "regression" and np.isfinite(report.ceiling).any():
        value = f"{np.nanmean(report.ceiling):.3f}"
        lines += [f"Noise ceiling of these labels, mean over dimensions: {value}.", ""]
    for name, difference in report.differences.items():
        cell = interval_cell(difference)
        lines += [f"- {name} minus `{difference['against']}` ({difference['n']} items, paired): {cell}"]
    if report.differences:
        lines.append("")
    if report.task == "regression":
        front = _front(report)
        table = dimension_table(report)
        lines += [
            "## R² of each dimension",
            "",
            "Low labels mean the left pole, high labels the right one.",
            "",
        ]
        lines += ["| low ↔ high | " + " | ".join([*front, "ceiling"]) + " |", "|---" * (len(front) + 2) + "|"]
        for k, dimension in enumerate(report.labels.dimensions):
            cells = [number_cell(table[f"{name} r2"][k]) for name in front] + [number_cell(report.ceiling[k])]
            lines.append(f"| {viz.poles(dimension.low, dimension.high)} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += [f"![{Path(name).stem}]({name})" for name in pictures]
    return "\n".join(lines) + "\n"


def _ends(row: Mapping[str, float | None]) -> tuple[float, float, float]:
    """Return value, low and high end of an interval, NaN for none."""
    value, low, high = (np.nan if row[k] is None else float(row[k] or 0.0) for k in ("value", "low", "high"))
    return value, low, high


def _pictures(report: Report, out: Path) -> list[str]:
    section, _ = HEADLINE[report.task]
    rows = {name: _headline(report, row) for name, row in report.rows.items()}
    bars = {name: _ends(row) for name, row in rows.items()}
    known = np.isfinite(report.ceiling).any()
    written = ["scores.png"]
    regression = report.task == "regression"
    viz.score_bars(
        bars,
        out / "scores.png",
        ceiling=float(np.nanmean(report.ceiling)) if known and regression else None,
        highlight=report.networks,
        title=report.name,
        unit="R² (mean over dimensions)" if regression else "accuracy",
    )
    main = next(name for name in report.networks if "one seed" not in name)
    if regression:
        poles = [(d.low, d.high) for d in report.labels.dimensions]
        table = dimension_table(report)
        viz.dimension_plot(
            {name: table[f"{name} r2"].to_numpy(float) for name in _front(report)},
            poles,
            out / "dimensions.png",
            ceiling=report.ceiling if known else None,
            interval=report.rows[main]["regression"]["pooled"]["r2"].get("each_interval"),
            title=f"{report.name}: R² of each dimension",
        )
        whole = report.ensemble
        scores = zip(
            table[f"{main} r2"].to_numpy(float), table[f"{main} pearson"].to_numpy(float), strict=True
        )
        viz.scatter_grid(
            whole.labels,
            whole.regression,  # type: ignore[arg-type]
            poles,
            out / "scatter.png",
            title=f"{report.name}: predicted against labelled ({main})",
            notes=[f"R² {r2:.2f}, r {r:.2f}" for r2, r in scores],
        )
        written += ["dimensions.png", "scatter.png"]
    else:
        matrix = report.rows[main][section]["confusion"]
        classes = list(report.labels.classes)
        classes += [f"class {k}" for k in range(len(classes), len(matrix))]
        viz.confusion_plot(matrix, classes, out / "confusion.png", title=f"{report.name}: {main}")
        written.append("confusion.png")
    if report.curves:
        viz.curves_plot(report.curves, out / "curves.png", title=f"{report.name}: training curves")
        written.append("curves.png")
    return written


def write_report(
    report: Report, out: str | PathLike[str], *, provenance: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write every file of the report into a folder and return the contents of ``report.json``."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "name": report.name,
        "task": report.task,
        "label_kind": report.labels.kind,
        "dimensions": [{"name": d.name, "low": d.low, "high": d.high} for d in report.labels.dimensions],
        "classes": list(report.labels.classes),
        "runs": [{"fold": fold, "seed": seed} for fold, seed in report.runs],
        "ceiling": [None if np.isnan(v) else float(v) for v in report.ceiling],
        "rows": report.rows,
        "networks": report.networks,
        "differences": report.differences,
        "provenance": dict(provenance or {}),
    }
    write_text(folder / "report.json", dump(result))
    if report.task == "regression":
        table = dimension_table(report)
        write_text(
            folder / "dimensions.csv", table.to_csv(index=False, float_format="%.5f", lineterminator="\n")
        )
    write_text(folder / "report.md", report_markdown(report, _pictures(report, folder)))
    return result


def report_set(
    *,
    runs: Path,
    labels: Path,
    out: Path,
    columns: str | None = None,
    task: str = "regression",
    name: str = "",
    baselines: Path | None = None,
    split: str | None = None,
    baseline_predictions: Path | None = None,
    ceiling: Path | None = None,
    kind: str | None = None,
    midi: Path | None = None,
    cache: Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
    command: Sequence[str] = (),
) -> dict[str, float | None]:
    """Read everything that ``scripts/report_xai.py`` names, write the report, return headline scores.

    Raises
    ------
    MusicBertError
        What reading raises; ``bad-baselines`` where the result does not hold the split.
    """
    label_map = LabelMap.load(labels, columns=columns)
    key = None if split is None else split if task == "regression" else f"{split}_performer"
    scores = None
    if baselines is not None:
        try:
            scores = json.loads(baselines.read_text(encoding="utf-8"))["splits"][key]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                "bad-baselines",
                f"there is no split {key!r} to read here",
                path=baselines,
                hint="run scripts/baselines_xai.py with this --split and --task",
            ) from error
    predictions = (
        None if baseline_predictions is None or split is None else baseline_predictions / split / task
    )
    report = build_report(
        runs,
        label_map,
        task=task,
        name=name,
        baselines=scores,
        baseline_predictions=predictions,
        ceiling=None if ceiling is None else pd.read_csv(ceiling, index_col=0),
        kind=kind,
        features=None if midi is None else feature_table(midi, cache=cache)[0],
        n_resamples=resamples,
        seed=seed,
    )
    inputs = {"labels": labels, "baselines": baselines, "ceiling": ceiling, "midi": midi}
    inputs |= {
        f"{p.parent.parent.name}/{p.parent.name}": p for p in sorted(runs.glob("fold*/seed*/test.npz"))
    }
    source = provenance(
        command,
        inputs={role: path for role, path in inputs.items() if path is not None},
        seed=seed,
        configuration={"split": split, "task": task, "resamples": resamples},
    )
    write_report(report, out, provenance=source)
    return {row: _headline(report, scores)["value"] for row, scores in report.rows.items()}
