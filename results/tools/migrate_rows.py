"""Move report.json, scores.json and baselines_*.json of before to typed rows in a list.

Example: python results/tools/migrate_rows.py results

Rows were keyed by English names (``network, one seed``); `musicbert.evaluation.rows` says what they are now.
No value changes. Files that have typed rows already, and those of the benchmark, stay as they are. Of score
tables the CSV and the Markdown are written again; reports keep theirs.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from program import make_parser, report_errors

from musicbert.atomic import write_text
from musicbert.evaluation.reports.ratings import LABELS
from musicbert.evaluation.rows import Row
from musicbert.evaluation.tables import dump, write_scores

__all__ = ["migrate"]

_SEEDS = re.compile(r"(?P<name>.+?), (?P<which>mean|ensemble) of (?P<count>\d+) seeds")
#: rows of score tables that are no networks
_BASELINES = (
    "chance", "pitch classes", "velocity", "register", "logistic", "boosting", "second only", "majority",
    "frequency", "extra trees",
)  # fmt: skip
_NONE = {"value": None, "low": None, "high": None, "sd": None}


def migrate(folder: Path) -> list[Path]:
    """Migrate every file below a folder and return those that changed."""
    changed = []
    for path in sorted(
        [*folder.rglob("report.json"), *folder.rglob("scores.json"), *folder.glob("base*.json")]
    ):
        content = json.loads(path.read_text(encoding="utf-8"))
        if path.name == "report.json" and isinstance(content.get("rows"), dict):
            tagger = content.get("format") == "musicbert-tagging-report"
            write_text(path, dump(_tagging(content) if tagger else _ratings(content)))
        elif path.name == "scores.json" and isinstance(content.get("rows"), dict):
            _scores(path, content)
        elif path.name.startswith("baselines") and any(
            isinstance(split["rows"], dict) for split in content.get("splits", {}).values()
        ):
            write_text(path, dump(_baselines(content)))
        else:
            continue
        changed.append(path)
    return changed


def _of_name(name: str, count: int = 1) -> dict[str, Any]:
    """Typed keys of a row's name in a report."""
    if name.startswith("network + features, "):
        return {"kind": name.rpartition(", ")[2]}
    if name == "network, segments":
        return {"kind": "segments"}
    if name == "network, one seed":
        return {"kind": "network", "seeds": "one", "n_seeds": count}
    if name == "network" or name.startswith("network, ensemble"):
        return {"kind": "network", "seeds": None if name == "network" else "ensemble", "n_seeds": count}
    return {"kind": "baseline", "name": name}


def _scored(row: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, Any]:
    """Fields of a row of ratings or performers."""
    section = row["regression"] if "regression" in row else row["classes"]
    pooled: dict[str, Any] = {}
    for metric, entry in section["pooled"].items():
        pooled[metric] = {**_NONE, **entry.get("mean", entry)}
        if seeds := row.get("seeds"):
            values = list(seeds[metric].values())
            pooled[metric] |= {"seeds_sd": pooled[metric]["sd"], "sd": None, "by_seed": values}
        ends = entry.get("each_interval", [])
        for k, (name, value) in enumerate(zip(outputs, entry.get("each", []), strict=False)):
            low, high = ends[k] if ends else (None, None)
            entry_row = {"value": value, "low": low, "high": high, "sd": None}
            pooled[f"{metric}:{name}"] = entry_row if metric == "r2" else {"value": value}
    if "flattened_r2" in section:
        pooled["flattened_r2"] = {**_NONE, "value": section["flattened_r2"]}
    folds = {metric: {"value": value, "sd": None} for metric, value in section["mean_of_folds"].items()}
    content = {
        "items": row["n"],
        "over": {"items": "pieces", "groups": "groups"}[row["bootstrap"]["over"]],
        "scores": {"pooled": pooled, "mean_of_folds": folds},
    }
    return content | ({"confusion": section["confusion"]} if "confusion" in section else {})


def _ratings(content: Mapping[str, Any]) -> dict[str, Any]:
    outputs = [dimension["name"] for dimension in content["dimensions"]]
    label = LABELS[content["task"]]
    regression = content["task"] == "regression"
    split = content["name"].partition(", ")[2].partition(":")[0]
    seeds = len({run["seed"] for run in content["runs"]})
    rows = [
        Row(**_of_name(name, seeds), **_scored(row, outputs), split=split, task=label)
        for name, row in content["rows"].items()
    ]
    ceiling = content["ceiling"]
    known = [value for value in ceiling if value is not None]
    if regression and known:
        pooled = {"r2": {**_NONE, "value": sum(known) / len(known)}}
        pooled |= {f"r2:{name}": {**_NONE, "value": v} for name, v in zip(outputs, ceiling, strict=True)}
        rows.append(Row("ceiling", {"pooled": pooled}, split=split, task=label))
    differences = []
    for name, found in content["differences"].items():
        keys = _of_name(name, seeds)
        differences.append({"kind": keys["kind"], "seeds": keys.get("seeds"), "name": "", **found})
    task = {
        "name": label,
        "label": label,
        "level": "sequence",
        "kind": content["task"],
        "classes": outputs if regression else content["classes"],
        "metric": "r2" if regression else "accuracy",
    }
    return {
        "format": "musicbert-report",
        "name": content["name"],
        "task": task,
        "split": split,
        "headline": task["metric"],
        "label_kind": content["label_kind"],
        "runs": content["runs"],
        "poles": content["dimensions"] if regression else [],
        "rows": [row.as_dict() for row in rows],
        "differences": differences,
        "provenance": content["provenance"],
    }


def _tagging(content: Mapping[str, Any]) -> dict[str, Any]:
    count = len(content["seeds"])
    facts = {"split": content["split"], "task": content["task"]["label"]}
    rows = [
        Row(
            **_of_name(name, count),
            scores={key: row[key] for key in ("pooled", "mean_of_folds")},
            confusion=content.get("confusion") if name == content["main"] else None,
            items=content["items"],
            **facts,
        ).as_dict()
        for name, row in content["rows"].items()
    ]
    main = {key: _of_name(content["main"]).get(key) for key in ("kind", "seeds")}
    differences = [
        {**main, "name": "", "against": name, "n": content["pieces"], **found}
        for name, found in content["differences"].items()
    ]
    left = {key: value for key, value in content.items() if key not in ("main", "confusion")}
    return {**left, "format": "musicbert-report", "rows": rows, "differences": differences}


def _baselines(content: Mapping[str, Any]) -> dict[str, Any]:
    outputs = [dimension["name"] for dimension in content["dimensions"]]
    splits = {}
    for split, part in content["splits"].items():
        facts = {"split": split.removesuffix("_performer"), "task": LABELS[part["task"]]}
        rows = [
            Row("baseline", name=name, **_scored(row, outputs), **facts).as_dict()
            for name, row in part["rows"].items()
        ]
        splits[split] = {**part, "rows": rows}
    return {**content, "splits": splits}


def _metric(name: str) -> str:
    """Today's spelling: ``micro_f1`` for ``f1_micro``."""
    return re.sub(r"^f1_(micro|macro|weighted|samples)", r"\1_f1", name)


def _table_row(name: str, row: Mapping[str, Any], split: str, classes: Mapping[str, Any]) -> Row:
    match = _SEEDS.fullmatch(name)
    network = name not in _BASELINES and not name.startswith("probe of ")
    pooled: dict[str, Any] = {}
    folds: dict[str, Any] = {}
    for metric, entry in row.items():
        plain = _metric(metric.removesuffix(" of folds"))
        value = {**_NONE, **entry}
        if match:
            value |= {"seeds_sd": value["sd"], "sd": None}
        if metric.endswith(" of folds"):
            folds[plain] = {key: value[key] for key in ("value", "sd", "seeds_sd") if key in value}
        else:
            pooled[plain] = value
    pooled |= {f"roc_auc:{key}": {"value": entry["roc_auc"]} for key, entry in classes.get(name, {}).items()}
    return Row(
        kind="network" if network else "baseline",
        seeds="one" if match else None,
        name=match["name"] if match else name,
        split=split,
        task="label",
        n_seeds=int(match["count"]) if match else 1,
        scores={"pooled": pooled} | ({"mean_of_folds": folds} if folds else {}),
    )


def _scores(path: Path, content: Mapping[str, Any]) -> None:
    split = content["title"].rpartition(", ")[2]
    classes = content.get("classes") or {}
    lines = path.with_name("scores.md").read_text(encoding="utf-8").splitlines()
    heads = [line.strip("|").split("|")[1:] for line in lines if line.startswith("| row |")]
    more = {k: v for k, v in content.items() if k not in ("title", "notes", "rows", "classes")}
    if classes:
        more["classes"] = {name: scores["true"] for name, scores in next(iter(classes.values())).items()}
    write_scores(
        path.parent,
        title=content["title"],
        notes=content["notes"],
        rows=[_table_row(name, row, split, classes) for name, row in content["rows"].items()],
        metrics=[[_metric(cell.strip()) for cell in head] for head in heads],
        more=more,
    )


def main() -> int:
    """Parse the arguments and migrate. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("results", type=Path, help="folder of result files")
    given = parser.parse_args()
    return report_errors(lambda: "\n".join(str(path) for path in migrate(given.results)))


if __name__ == "__main__":
    sys.exit(main())
