"""The one small table of the README: a line a task, with and without a network.

It is made from the same files as the tables of `results/README.md` (``readme_tables.py``,
``readme_tasks.py``, ``readme_ablations.py``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from readme_ablations import with_and_without_table
from readme_tasks import CONTROLS, NOTHING

from musicbert.evaluation.reports.ratings import PARTNERS
from musicbert.evaluation.rows import Row, read_rows

__all__ = ["short_table"]

HEAD = ("task", "score", "by chance", "no network", "network from scratch", "network with these weights")
#: set -> split, its name, number of dimensions
RATINGS = {
    "xai_mnskim_mean": ("content_8fold", "XAI-music", 25),
    "percepiano": ("content_4fold", "PercePiano", 19),
}
PAIRS = {
    "next": ("which phrase continues this melody", "map", "MAP"),
    "acc": ("which accompaniment belongs to this melody", "map", "MAP"),
    "masd": ("style of a song", "roc_auc_macro", "ROC-AUC"),
}
#: tasks of notes that the table names; all are in results/README.md
NOTES = {"ME": "melody", "CR": "chord roots", "BP": "beats", "DbP": "downbeats"}
_F1 = ("BP", "DbP")
_METRICS = {"regression": "r2", "classes": "accuracy"}


def short_table(results: Path) -> list[str]:
    """Lines of the README's table; tasks without results are left out."""
    rows = [*_ratings(results), *_pairs(results), *_notes(results)]
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEAD, ["---"] * len(HEAD), *rows)]
    return [*lines, ""] if rows else []


def _shown(row: Row | None, metric: str) -> str:
    """A score with its interval, or with its deviation over seeds."""
    if row is None:
        return "–"
    entry = row.entry(metric)
    if row.seeds == "one" and entry.get("seeds_sd") is not None:
        return f"{entry['value']:.3f} ± {entry['seeds_sd']:.3f}"
    if entry.get("low") is None:
        return f"{entry['value']:.3f}"
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


def _network(folder: Path, task: str) -> Row | None:
    """The mean of the predictions of all seeds, of a report."""
    path = folder / task / "report.json"
    if not path.is_file():
        return None
    rows = read_rows(json.loads(path.read_text(encoding="utf-8"))["rows"])
    return next(row for row in rows if row.kind == "network" and row.seeds != "one")


def _ratings(results: Path) -> Iterable[list[str]]:
    for name, (split, about, count) in RATINGS.items():
        path = results / f"baselines_{name}.json"
        if not path.is_file():
            continue
        splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
        for task, metric in _METRICS.items():
            found = splits.get(split if task == "regression" else f"{split}_performer")
            if found is None:
                continue
            rows = {row.name: row for row in read_rows(found["rows"])}
            nothing = rows["mean" if task == "regression" else "majority"]
            qualities = f"{count} qualities of playing ({about}){_ceiling(results, name, split)}"
            folders = [results / name / split / f"performance-{start}" for start in ("scratch", "mlm")]
            yield [
                *((qualities, "R²") if task == "regression" else (f"who plays ({about})", "accuracy")),
                f"{nothing.value(metric):.3f}",
                _shown(rows.get(PARTNERS[task][0]), metric),
                *(_shown(_network(folder, task), metric) for folder in folders),
            ]


def _ceiling(results: Path, name: str, split: str) -> str:
    path = results / "ceilings.json"
    sets: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))["sets"] if path.is_file() else {}
    ends = sets.get(name, {}).get(split)
    return f"; ceiling {ends['low']:.2f}–{ends['high']:.2f}" if ends else ""


def _pairs(results: Path) -> Iterable[list[str]]:
    for task, (about, metric, score) in PAIRS.items():
        path = results / "downstream" / task / "scores.json"
        if not path.is_file():
            continue
        rows = read_rows(json.loads(path.read_text(encoding="utf-8"))["rows"])
        plain = {row.name: row for row in rows if row.kind == "baseline"}
        nothing = next(plain[name] for name in NOTHING if name in plain)
        rivals = [
            name for name in plain if name not in (*NOTHING, *CONTROLS) and not name.startswith("probe")
        ]
        best = max((plain[name] for name in rivals), key=lambda row: row.value(metric))
        means = {row.name: row for row in rows if row.seeds == "one"}
        networks = (_shown(means.get(name), metric) for name in ("mini-scratch", "mini-init"))
        yield [about, score, f"{nothing.value(metric):.3f}", _shown(best, metric), *networks]


def _notes(results: Path) -> Iterable[list[str]]:
    for line in with_and_without_table(results)[2:]:
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if cells[0] in NOTES:
            score = "F1" if cells[0] in _F1 else "accuracy"
            about = f"{NOTES[cells[0]]}, each note of a piece"
            yield [about, score, cells[1], cells[2].split(" (")[0], *cells[3:5]]
