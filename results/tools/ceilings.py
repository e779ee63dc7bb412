r"""Noise ceilings of all rating sets, on the segments of each split.

Example: python results/tools/ceilings.py --data data --labels runs/labels --results results

The folder of --data holds xai/{total.csv,segmented_midi.zip} and
percepiano/{total.csv,segment_midi.zip,folds.json}, that of --labels the label maps of scripts/run_xai.sh
(SET.json). Writes RESULTS/ceilings.json and ceilings.md; what the ends are:
`musicbert.annotation.reliability`. ``--reports`` puts them into the reports below RESULTS.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from program import make_parser, report_errors
from run_xai import LABELS, SPLITS

from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.names import segment_id
from musicbert.annotation.reliability import MARKS, NOTHING, ceiling_mark, reliability_table
from musicbert.annotation.table import read_ratings
from musicbert.atomic import read_json, write_text
from musicbert.corpus.files.archive import MidiSource
from musicbert.evaluation.baselines.rating_baselines import baseline_folds
from musicbert.evaluation.rows import Row, read_rows
from musicbert.evaluation.tables import dump, markdown_table
from musicbert.provenance import provenance

__all__ = ["into_report", "marks", "page", "split_ceilings", "table"]

#: what the music of a set is in --data
MUSIC = {"xai": "segmented_midi.zip", "percepiano": "segment_midi.zip"}


def split_ceilings(data: Path, labels: Path, name: str, *, repeats: int = 40) -> dict[str, Any]:
    """Return by split the segments that are tested, and the ends of each dimension's ceiling on them."""
    folder = data / ("percepiano" if name == "percepiano" else "xai")
    label_map, ratings = LabelMap.load(labels), read_ratings(folder / "total.csv")
    with MidiSource(folder / MUSIC[folder.name]) as music:
        known = {segment_id(member.name) for member in music.members}
    ids = [name for name in label_map.ids if name in known]
    result = {}
    for split in (text.partition(":")[2] for text in SPLITS.split() if text.startswith(f"{name}:")):
        folds = baseline_folds(split, ids, folds_file=folder / "folds.json")
        tested = {name for fold in folds.values() for name in fold["test"]}
        frame = reliability_table(
            ratings,
            columns=[dimension.column for dimension in label_map.dimensions],
            center_raters="--center-raters" in LABELS[name],
            ids=tested,
            among=set(ids),
            repeats=repeats,
        )
        ends = {end: frame[f"ceiling_{label_map.kind}_{end}"] for end in ("low", "high")}
        result[split] = {
            "segments": len(tested),
            **{end: float(values.mean()) for end, values in ends.items()},
            "dimensions": {
                name: {end: float(values[name]) for end, values in ends.items()} for name in frame.index
            },
        }
    return result


def marks(split: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, list[str]]:
    """Mark -> dimensions of a split, by the best baseline of its rows."""
    rows = read_rows(result["rows"])
    marked: dict[str, list[str]] = {}
    for name, ends in split["dimensions"].items():
        best = max(row.value(f"r2:{name}") for row in rows if row.entry(f"r2:{name}")["value"] is not None)
        if mark := ceiling_mark(ends["low"], best):
            marked.setdefault(mark, []).append(name)
    return marked


def table(ceilings: Mapping[str, Any], results: Path) -> list[str]:
    """Lines of the table of all sets and splits, with the dimensions that are marked."""
    lines = []
    for name, splits in ceilings.items():
        path = results / f"baselines_{name}.json"
        scored = read_json(path)["splits"] if path.is_file() else {}
        for split, content in splits.items():
            marked = marks(content, scored[split]) if split in scored else {}
            cells = [", ".join(marked.get(mark, ())) or "–" for mark in MARKS]
            ends = f"{content['low']:.2f}–{content['high']:.2f}"
            lines.append([name, split, str(content["segments"]), ends, *cells])
    heads = ["set", "split", "tested segments", "ceiling, mean over dimensions", *MARKS.values()]
    return markdown_table(heads, lines)


def page(results: Path) -> str:
    """Return ceilings.md, made of ceilings.json and the results of the baselines."""
    content = read_json(results / "ceilings.json")
    lines = [
        "# Noise ceilings of the rating sets", "", f"`{content['made_by']['command']}`", "",
        "R² that a perfect predictor of the true scores would be expected to reach on the tested segments:",
        "at the low end offsets of raters are noise, at the high end not. At its ceiling: the best baseline",
        f"reaches the low end. Nothing to learn: the low end is below {NOTHING:g}.", "",
        *table(content["sets"], results), "",
    ]  # fmt: skip
    return "\n".join(lines)


def into_report(folder: Path, ends: Mapping[str, Any]) -> None:
    """Put the ceiling of a split into the stored report of a network, whose predictions may be gone.

    Changes the row in ``report.json``, the sentence and the column of ``report.md`` and the columns of
    ``dimensions.csv``; everything else stays as it was scored.
    """
    report = read_json(folder / "report.json")
    names = report["task"]["classes"]
    values = {"r2": ends, **{f"r2:{name}": ends["dimensions"][name] for name in names}}
    middle = {key: (each["low"] + each["high"]) / 2 for key, each in values.items()}
    pooled = {
        key: {"value": middle[key], "low": each["low"], "high": each["high"], "sd": None}
        for key, each in values.items()
    }
    rows = [row for row in report["rows"] if row["kind"] != "ceiling"]
    row = Row("ceiling", {"pooled": pooled}, split=report["split"], task=report["task"]["label"])
    write_text(folder / "report.json", dump({**report, "rows": [*rows, row.as_dict()]}))
    known = {n: [row.value(f"r2:{n}") for row in read_rows(rows)] for n in names}
    best = {n: max(value for value in scores if np.isfinite(value)) for n, scores in known.items()}
    said = {n: MARKS.get(ceiling_mark(ends["dimensions"][n]["low"], best[n]), "") for n in names}
    spans = [f"{values[f'r2:{n}']['low']:.3f}–{values[f'r2:{n}']['high']:.3f}" for n in names]
    frame = pd.read_csv(folder / "dimensions.csv")
    frame = frame.drop(columns=[name for name in ("ceiling low", "ceiling high", "mark") if name in frame])
    at, order = frame.columns.get_loc("ceiling"), frame["dimension"]
    columns = {
        "ceiling": [middle[f"r2:{n}"] for n in order],
        **{f"ceiling {end}": [values[f"r2:{n}"][end] for n in order] for end in ("low", "high")},
        "mark": [said[n] for n in order],
    }
    parts = [frame.iloc[:, :at], pd.DataFrame(columns), frame.iloc[:, at + 1 :]]
    frame = pd.concat(parts, axis=1)
    text = frame.to_csv(index=False, float_format="%.5f", lineterminator="\n")
    write_text(folder / "dimensions.csv", text)
    lines, inside = [], -1
    for line in (folder / "report.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("Noise ceiling of these labels"):
            line = re.sub(r": [^:]*\.$", f": {ends['low']:.3f}–{ends['high']:.3f}.", line)
        elif line.startswith("| low ↔ high |"):
            inside = -2
        elif inside == -2:  # the line below the heads
            inside = 0
        elif 0 <= inside < len(names) and line.startswith("|"):
            first, *rest = line.strip("| ").split(" | ")
            first = re.sub(f" \\(({'|'.join(MARKS.values())})\\)$", "", first)
            mark = said[names[inside]]
            cells = [first + (f" ({mark})" if mark else ""), *rest[:-1], spans[inside]]
            line, inside = f"| {' | '.join(cells)} |", inside + 1
        lines.append(line)
    write_text(folder / "report.md", "\n".join(lines) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments and write both files. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder of xai/ and percepiano/")
    parser.add_argument("--labels", type=Path, help="folder of the label maps, SET.json")
    parser.add_argument(
        "--reports", action="store_true", help="only put RESULTS/ceilings.json into the stored reports"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder for the files")
    parser.add_argument("--repeats", type=int, default=40, help="halvings of the raters")
    given = parser.parse_args(arguments)

    def put() -> str:
        sets = read_json(given.results / "ceilings.json")["sets"]
        done = 0
        for path in sorted(given.results.glob("*/*/*/regression/report.json")):
            name, split = path.parts[-5:-3]
            if split in sets.get(name, {}):
                into_report(path.parent, sets[name][split])
                done += 1
        return f"{done} reports"

    if given.reports:
        return report_errors(put)
    if given.data is None or given.labels is None:
        parser.error("--data and --labels are missing (or --reports)")

    def write() -> str:
        files = {name: given.labels / f"{name}.json" for name in LABELS}
        sets = {
            name: split_ceilings(given.data, path, name, repeats=given.repeats)
            for name, path in files.items()
            if path.is_file()
        }
        command = ["results/tools/ceilings.py", *(arguments or sys.argv[1:])]
        content = {"made_by": provenance(command, inputs=files, seed=7), "sets": sets}
        write_text(given.results / "ceilings.json", dump(content))
        write_text(given.results / "ceilings.md", page(given.results))
        return f"-> {given.results / 'ceilings.json'}, ceilings.md"

    return report_errors(write)


if __name__ == "__main__":
    sys.exit(main())
