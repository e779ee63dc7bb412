"""README tables of pre-training's worth: M2BERT's tasks with and without it, and which pre-training.

They are made from `results/ablations/scores.json` (``report_ablations.py``), `results/baselines_smc.json`
(``baselines_smc.py``) and `results/smc/<checkpoint>` (``musicbert benchmark``, ``merge_benchmarks.py``).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from ablation_scores import difference, estimate

__all__ = ["ablation_table", "size_table", "with_and_without_table"]

#: encoding -> network without pre-training, its variant, checkpoint that comes with the package, its variant
SHIPPED = {
    "cp": ("M2BERT, scratch", "scratch-cp", "m2bert-mini", "cp-denoise-roll@6000"),
    "octuple": ("MusicBERT, scratch", "scratch-octuple", "musicbert-mini", "musicbert-mini"),
}
#: variants of one budget of pre-training -> what they are
OBJECTIVES = {
    "bar": "MusicBERT, bar masks",
    "compound": "MusicBERT, compound masks",
    "element": "MusicBERT, element masks",
    "octuple-bar": "MusicBERT, bar masks by M2BERT's program",
    "octuple-denoise": "MusicBERT, denoising",
    "octuple-denoise-roll": "MusicBERT, denoising and piano roll",
    "cp-mask": "M2BERT, MidiBERT's masks",
    "cp-bar": "M2BERT, bar masks",
    "cp-denoise": "M2BERT, denoising",
    "cp-denoise-roll-nochroma": "M2BERT, denoising and piano roll without chroma",
    "cp-denoise-roll": "M2BERT, denoising and piano roll",
}
#: pre-trained networks, the smaller one and the larger one
SIZES = (("m2bert-mini", "m2bert-base"), ("musicbert-mini", "musicbert-small"))
#: order of the tasks
TASKS = ("ME", "VE", "OTC", "CR", "LK", "BP", "DbP", "VF", "MNID", "PS", "ER")
#: the baseline that knows nothing; those that see what networks do not: true labels, the published order
NOTHING, UNFAIR = "majority", ("previous", "order (published notes)")


def with_and_without_table(results: Path) -> list[str]:
    """Lines of the table of scores with and without pre-training; none where there are no scores."""
    report = _report(results)
    if report is None:
        return []
    scores = {name: _by_task(rows) for name, rows in report["scores"].items()}
    gains = {name: _by_task(rows) for name, rows in report["gains"].items()}
    columns = ["task", "majority", "baseline, best"]
    for scratch, _, shipped, _ in SHIPPED.values():
        columns += [scratch, shipped, "gain", "over the baseline"]
    runs = {shipped: _runs(results / "smc" / shipped) for _, _, shipped, _ in SHIPPED.values()}
    lines = []
    for task in TASKS:
        folds = {fold for tasks in runs.values() for _, fold in tasks.get(task, ())}
        nothing, best, shown = _baselines(results, task, folds)
        cells = [task, nothing, shown]
        for _, without, shipped, variant in SHIPPED.values():
            both = [scores.get(name, {}).get(task) for name in (without, variant)]
            gain = gains.get(variant, {}).get(task)
            mine = {key: score for key, score in runs[shipped].get(task, {}).items() if key[1] in best}
            over = difference(mine, {key: best[key[1]] for key in mine}).as_dict() if mine else None
            cells += [*(_value(entry) for entry in both), _gain(gain), _gain(over)]
        if any(cell != "–" for cell in cells[3:]):
            lines.append(_row(cells))
    return [_row(columns), "|" + "---|" * len(columns), *lines, ""] if lines else []


def ablation_table(results: Path) -> list[str]:
    """Lines of the table of gains by objective; none where there are no scores."""
    report = _report(results)
    if report is None:
        return []
    gains = {name: _by_task(report["gains"].get(name, ())) for name in OBJECTIVES}
    count = {task: sum(task in gain for gain in gains.values()) for task in TASKS}
    tasks = [task for task in TASKS if count[task] > len(OBJECTIVES) // 2]
    if not tasks:
        return []
    lines = [_row(["pre-training", *tasks]), "|" + "---|" * (len(tasks) + 1)]
    for name, about in OBJECTIVES.items():
        if gains[name]:
            lines.append(_row([about, *(_gain(gains[name].get(task)) for task in tasks)]))
    return [*lines, ""]


def size_table(results: Path) -> list[str]:
    """Lines of the table of larger pre-trained networks beside smaller ones; none without a larger one."""
    pairs = [[_runs(results / "smc" / name) for name in pair] for pair in SIZES]
    columns = ["task", *(name for pair in SIZES for name in (*pair, "difference"))]
    lines = []
    for task in TASKS:
        cells = [task]
        for small, large in pairs:
            cells += [
                _value(estimate(runs[task]).as_dict() if task in runs else None) for runs in (small, large)
            ]
            # means of the same runs, or there is nothing to compare
            both = task in small and task in large and small[task].keys() == large[task].keys()
            gain = difference(large[task], small[task]) if both else None
            cells.append(_gain(None if gain is None else gain.as_dict()))
        if any(task in large for _, large in pairs):
            lines.append(_row(cells))
    return [_row(columns), "|" + "---|" * len(columns), *lines, ""] if lines else []


def _runs(folder: Path) -> dict[str, dict[tuple[int, str], float]]:
    """Task -> (seed, fold) -> score, on clean splits, of a benchmark's folder; empty where there is none."""
    path = folder / "scores.json"
    if not path.is_file():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return {
        row["task"]: {(run["seed"], run["fold"]): run["score"] for run in row["network"]["runs"]}
        for row in rows
        if row["split"] == "clean" and row.get("network") and row.get("train_share", 1) == 1
    }


def _report(results: Path) -> Mapping[str, Any] | None:
    path = results / "ablations" / "scores.json"
    if not path.is_file():
        return None
    report: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def _by_task(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {row["task"]: row for row in rows if row["split"] == "clean"}


def _baselines(results: Path, task: str, folds: Collection[str]) -> tuple[str, dict[str, float], str]:
    """Majority, scores by fold of the best baseline and these in words; on clean splits, of some folds.

    Where no fold is named, or the file has none, it is that over all folds.
    """
    path = results / "baselines_smc.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["split"] == "clean" and row["task"] == task:
            each = {str(fold): scores["score"] for fold, scores in enumerate(row.get("folds", ()))}
            known = {fold: score for fold, score in each.items() if fold in folds}
            scores[row["baseline"]] = known or {"all": row["score"]}
    means = {name: mean(list(each.values())) for name, each in scores.items()}
    others = [name for name in means if name not in (NOTHING, *UNFAIR)]
    best = max(others, key=lambda name: means[name], default=None)
    nothing = f"{means[NOTHING]:.3f}" if NOTHING in means else "–"
    return (
        nothing,
        {} if best is None else scores[best],
        "–" if best is None else f"{means[best]:.3f} ({best})",
    )


def _value(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    return f"{row['value']:.3f}" + ("" if row["sd"] is None else f" ± {row['sd']:.3f}")


def _gain(row: Mapping[str, Any] | None) -> str:
    """A difference with its interval, bold where the interval excludes zero."""
    if row is None:
        return "–"
    if row["low"] is None:
        return f"{row['value']:+.3f}"
    shown = f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
    return f"**{shown}**" if row["low"] > 0 or row["high"] < 0 else shown


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
