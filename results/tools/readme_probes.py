"""README tables of frozen networks: `results/probes/<set>/probe.json` of ``probe_music``, ``probe_notes``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probe_music import DIFFERENCES, FEATURES, PARTNER, TITLES, signed_cell

from musicbert.atomic import read_json
from musicbert.evaluation.tables import interval_cell, markdown_table

__all__ = ["seen_table", "whole_table"]

_WHAT = ("pieces", "pre-trained", "minus random weights")
_MIXED = "pre-trained and features"


def _records(results: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: read_json(path) for path in sorted((results / "probes").glob("*/probe.json"))}


def _difference(part: Mapping[str, Any], row: str, minus: str) -> str:
    found = (each for each in part["differences"] if (each["row"], each["minus"]) == (row, minus))
    return signed_cell(next(found))


def whole_table(results: Path) -> list[str]:
    """Lines of the table of whole pieces; none where there are no results."""
    lines = []
    for name, record in _records(results).items():
        if "parts" not in record:
            continue
        part = record["parts"]["all"]
        rows = part["rows"]
        best = max((row for row in rows if row.startswith(FEATURES)), key=lambda row: rows[row]["value"])
        cells = [f"{name} ({part['pieces']} pieces)", TITLES[record["metric"]], interval_cell(rows[PARTNER])]
        cells += [f"{rows[best]['value']:.3f} ({best.removeprefix(FEATURES)})"]
        cells += [interval_cell(rows[row]) for row in DIFFERENCES[0]]
        cells += [_difference(part, *DIFFERENCES[0]), interval_cell(rows[_MIXED])]
        cells += [_difference(part, row, PARTNER) for row in (_MIXED, "random weights and features")]
        lines.append(cells)
    head = ["set", "score", "features, ensemble", "features, best by its test score", *DIFFERENCES[0]]
    head += ["pre-trained minus random", _MIXED, "minus features", "with random weights"]
    return [*markdown_table(head, lines), ""] if lines else []


def seen_table(results: Path) -> list[str]:
    """Lines of the table of seen and unseen test pieces; none where there are no results."""
    lines = []
    for name, record in _records(results).items():
        if "parts" in record:
            gains = {
                part: (found["pieces"], _difference(found, *DIFFERENCES[0]), found["rows"]["pre-trained"])
                for part, found in record["parts"].items()
            }
            lines += _line(record, name, TITLES[record["metric"]], gains)
            continue
        for label in record["counts"]:
            rows = {(r["row"], r["part"]): r for r in record["rows"] if r["label"] == label}
            gains = {
                part: (row["pieces"], signed_cell(rows["gain", part]), row)
                for (which, part), row in rows.items()
                if which == "pre-trained"
            }
            lines += _line(record, label, record["scores"][label], gains)
    head = [
        "label",
        "network",
        "score",
        *(f"{part} {what}" for part in ("seen:", "unseen:") for what in _WHAT),
    ]
    return [*markdown_table(head, lines), ""] if lines else []


def _line(record: Mapping[str, Any], name: str, score: str, gains: Mapping[str, Any]) -> list[list[str]]:
    if "seen" not in gains:
        return []
    cells = []
    for part in ("seen", "unseen"):
        count, gain, row = gains[part]
        cells += [str(count), interval_cell(row), gain]
    return [[name, record["model"], score, *cells]]
