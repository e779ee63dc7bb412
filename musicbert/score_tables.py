"""Scores as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["baseline_tables", "headline"]


def headline(row: Mapping[str, Any]) -> str:
    """Return the main figure of a row in words."""
    if "regression" in row:
        value = row["regression"]["pooled"]["r2"]["mean"]
        return f"R2 {value['value']:.3f}, mean of folds {row['regression']['mean_of_folds']['r2']:.3f}"
    return f"accuracy {row['classes']['pooled']['accuracy']['value']:.3f}"


def _cell(interval: Mapping[str, float | None]) -> str:
    if interval["value"] is None:
        return "–"
    if interval["low"] is None:
        return f"{interval['value']:.3f}"
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def baseline_tables(result: Mapping[str, Any]) -> str:
    """Return one table a split of a result file (pooled scores with 95 % intervals over content groups)."""
    lines = [f"# Baselines: {result['name']}", ""]
    if result.get("about"):
        lines += [str(result["about"]), ""]
    for split, content in result["splits"].items():
        sizes = content["folds"].values()
        shared = sum(fold["test_sharing_music_with_training"] for fold in sizes)
        tests = sum(fold["test"] for fold in sizes)
        train = sorted({fold["train"] for fold in sizes})
        span = f"{train[0]}" if len(train) == 1 else f"{train[0]}–{train[-1]}"
        lines += [
            f"## {split} ({content['task']})",
            "",
            f"{len(sizes)} folds, {span} segments to train on, {tests} tested; "
            f"{shared} test segments share bars with training.",
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
                    _short(r["pooled"][m]["mean"]["value"])
                    if m != "mse"
                    else f"{r['pooled'][m]['mean']['value']:.4f}"
                    for m in ("mse", "mae", "pearson", "spearman")
                )
                lines.append(
                    f"| {name} | {_cell(r['pooled']['r2']['mean'])} | {_short(r['mean_of_folds']['r2'])} "
                    f"| {_short(r['flattened_r2'])} | {rest} |"
                )
        else:
            lines += ["| row | accuracy | macro-F1 | balanced accuracy |", "|---|---|---|---|"]
            for name, row in content["rows"].items():
                c = row["classes"]["pooled"]
                cells = " | ".join(_cell(c[m]) for m in ("accuracy", "macro_f1", "balanced_accuracy"))
                lines.append(f"| {name} | {cells} |")
        lines.append("")
    return "\n".join(lines)
