"""README table of MusicBERT's four tasks.

`results/downstream/<task>/scores.json` is what ``scripts/eval_nsp.py`` and ``scripts/eval_genre.py`` write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
#: rows of networks: seeds of one, their mean, and probes of embeddings
_SEED = re.compile(
    r"(?P<name>probe of .+|.+?(?= seed\d+$|, mean of \d+ seeds$))"
    r"(?: seed\d+|, mean of (?P<seeds>\d+) seeds)?$"
)


def downstream_table(results: Path) -> list[str]:
    """Lines of the table of MusicBERT's four tasks; none where there are no scores."""
    rows: list[tuple[list[str], dict[str, str]]] = []
    for task, (about, metric) in TASKS.items():
        path = results / "downstream" / task / "scores.json"
        if not path.is_file():
            continue
        scores = json.loads(path.read_text(encoding="utf-8"))["rows"]
        value = {name: row[metric]["value"] for name, row in scores.items() if metric in row}
        nothing = next(name for name in NOTHING if name in value)
        plain = [name for name in value if not _SEED.match(name) and name not in (*NOTHING, *CONTROLS)]
        best = max(plain, key=lambda name: value[name])
        cells = [about, SCORES[metric], f"{value[nothing]:.3f}", f"{value[best]:.3f} ({best})"]
        rows.append((cells, _networks(scores, metric)))
    return _lines(["task", "score", "by chance", "hand features, best"], rows)


def _networks(scores: Mapping[str, Any], metric: str) -> dict[str, str]:
    """Network -> its score: mean and standard deviation over seeds, or the one there is with its interval."""
    found: dict[str, str] = {}
    for name, row in scores.items():
        match = _SEED.match(name)
        if match is None:
            continue
        each = row[metric]
        if match["seeds"]:
            found[match["name"]] = f"{each['value']:.3f} ± {each['sd']:.3f} ({match['seeds']})"
        else:
            found.setdefault(match["name"], f"{each['value']:.3f} [{each['low']:.3f}, {each['high']:.3f}]")
    return found


def _lines(columns: list[str], rows: list[tuple[list[str], dict[str, str]]]) -> list[str]:
    if not rows:
        return []
    networks = list(dict.fromkeys(name for _, found in rows for name in found))
    lines = ["| " + " | ".join([*columns, *networks]) + " |"]
    lines.append("|" + "---|" * (len(columns) + len(networks)))
    for cells, found in rows:
        lines.append("| " + " | ".join([*cells, *(found.get(name, "–") for name in networks)]) + " |")
    return [*lines, ""]
