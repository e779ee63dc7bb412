"""README table of MusicBERT's four tasks.

`results/downstream/<task>/scores.json` is what ``scripts/eval_nsp.py`` and ``scripts/eval_genre.py`` write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from musicbert.evaluation.rows import Row, read_rows

__all__ = ["downstream_table"]

#: task -> what it is, its score
TASKS = {
    "next": ("melody completion, PiRhDy files", "map"),
    "next_midi": ("melody completion, from POP909", "map"),
    "acc": ("accompaniment, PiRhDy files", "map"),
    "acc_midi": ("accompaniment, from POP909", "map"),
    "topmagd": ("genre, 5 folds", "roc_auc_macro"),
    "masd": ("style, 5 folds", "roc_auc_macro"),
}
SCORES = {"map": "MAP", "roc_auc_macro": "ROC-AUC, macro"}
#: rows that know nothing, and a control that is no baseline
NOTHING = ("chance", "majority")
CONTROLS = ("second only", "frequency")
_PROBE = "probe of "


def downstream_table(results: Path) -> list[str]:
    """Lines of the table of MusicBERT's four tasks; none where there are no scores."""
    rows: list[tuple[list[str], dict[str, str]]] = []
    for task, (about, metric) in TASKS.items():
        path = results / "downstream" / task / "scores.json"
        if not path.is_file():
            continue
        scores = read_rows(json.loads(path.read_text(encoding="utf-8"))["rows"])
        value = {row.name: row.value(metric) for row in scores if row.kind == "baseline"}
        nothing = next(name for name in NOTHING if name in value)
        plain = [n for n in value if n not in (*NOTHING, *CONTROLS) and not n.startswith(_PROBE)]
        best = max(plain, key=lambda name: value[name])
        cells = [about, SCORES[metric], f"{value[nothing]:.3f}", f"{value[best]:.3f} ({best})"]
        rows.append((cells, _networks(scores, metric)))
    return _lines(["task", "score", "by chance", "hand features, best"], rows)


def _networks(rows: Sequence[Row], metric: str) -> dict[str, str]:
    """Network -> its score: mean and standard deviation over seeds, or the one there is with its interval."""
    scores: dict[str, str] = {}
    for row in rows:
        entry, name = row.entry(metric), row.name
        if row.seeds == "one":
            scores[name] = f"{entry['value']:.3f} ± {entry['seeds_sd']:.3f} ({row.n_seeds})"
        elif row.kind == "network" or name.startswith(_PROBE):
            shown = f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"
            scores.setdefault(re.sub(r" seed\d+$", "", name), shown)
    return scores


def _lines(columns: list[str], rows: list[tuple[list[str], dict[str, str]]]) -> list[str]:
    if not rows:
        return []
    networks = list(dict.fromkeys(name for _, found in rows for name in found))
    lines = ["| " + " | ".join([*columns, *networks]) + " |"]
    lines.append("|" + "---|" * (len(columns) + len(networks)))
    for cells, found in rows:
        lines.append("| " + " | ".join([*cells, *(found.get(name, "–") for name in networks)]) + " |")
    return [*lines, ""]
