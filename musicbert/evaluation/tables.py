"""Scores as JSON and as cells and tables of Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["baseline_tables", "dump", "headline", "interval_cell", "number_cell"]


def dump(result: Mapping[str, Any]) -> str:
    """Return a result as JSON with five decimals."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 5)
        if isinstance(value, Mapping):
            return {key: rounded(each) for key, each in value.items()}
        return [rounded(each) for each in value] if isinstance(value, list | tuple) else value

    return json.dumps(rounded(result), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def headline(row: Mapping[str, Any]) -> str:
    """Return the main figure of a row in words."""
    if "regression" in row:
        value = row["regression"]["pooled"]["r2"]["mean"]
        return f"R2 {value['value']:.3f}, mean of folds {row['regression']['mean_of_folds']['r2']:.3f}"
    return f"accuracy {row['classes']['pooled']['accuracy']['value']:.3f}"


def interval_cell(interval: Mapping[str, Any]) -> str:
    """Return a value with its interval, or with its standard deviation over seeds."""
    if interval["value"] is None:
        return "–"
    if interval["low"] is None:
        spread = "" if interval.get("sd") is None else f" ± {interval['sd']:.3f}"
        return f"{interval['value']:.3f}{spread}"
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def number_cell(value: float | None, digits: int = 3) -> str:
    """Return a value with some decimals, a dash for none."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def _over(rows: Mapping[str, Any]) -> str:
    """Return what the bootstrap of these rows drew."""
    drawn = {row["bootstrap"]["over"] for row in rows.values()}
    return "groups of segments that share music" if drawn == {"groups"} else "segments"


def baseline_tables(result: Mapping[str, Any]) -> str:
    """Return one table a split of a result file (pooled scores with intervals)."""
    lines = [f"# Baselines: {result['name']}", ""]
    if result.get("about"):
        lines += [str(result["about"]), ""]
    for split, content in result["splits"].items():
        sizes = content["folds"].values()
        shared = sum(fold["test_sharing_music_with_training"] for fold in sizes)
        tests = sum(fold["test"] for fold in sizes)
        distinct = next(iter(content["rows"].values()))["n"]
        if distinct < tests:  # every fold's model is tested on the same segments
            shared, tests = shared * distinct // tests, distinct
        train = sorted({fold["train"] for fold in sizes})
        span = f"{train[0]}" if len(train) == 1 else f"{train[0]}–{train[-1]}"
        lines += [
            f"## {split} ({content['task']})",
            "",
            f"{len(sizes)} folds, {span} segments to train on, {tests} tested; "
            f"{shared} test segments share bars with training. "
            f"Brackets: 95 % bootstrap intervals over {_over(content['rows'])}.",
            "",
        ]
        if content["task"] == "regression":
            lines += [
                "| row | R² pooled | R² mean of folds | flattened R² | MSE | MAE | Pearson | Spearman |"
            ]
            lines += ["|---|---|---|---|---|---|---|---|"]
            for name, row in content["rows"].items():
                r = row["regression"]
                rest = " | ".join(
                    number_cell(r["pooled"][m]["mean"]["value"], 4 if m == "mse" else 3)
                    for m in ("mse", "mae", "pearson", "spearman")
                )
                first = interval_cell(r["pooled"]["r2"]["mean"])
                folds = number_cell(r["mean_of_folds"]["r2"])
                flat = number_cell(r["flattened_r2"])
                lines.append(f"| {name} | {first} | {folds} | {flat} | {rest} |")
        else:
            lines += ["| row | accuracy | macro-F1 | balanced accuracy |", "|---|---|---|---|"]
            for name, row in content["rows"].items():
                c = row["classes"]["pooled"]
                cells = " | ".join(interval_cell(c[m]) for m in ("accuracy", "macro_f1", "balanced_accuracy"))
                lines.append(f"| {name} | {cells} |")
        lines.append("")
    return "\n".join(lines)
