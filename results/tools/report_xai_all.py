"""Write reports of everything that scripts/run_xai.sh trained, then the tables of results and README.

A report has scores of the networks beside those of the baselines and the noise ceiling.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from program import ROOT, make_parser, need, run, say

from musicbert.atomic import write_text

#: sets whose labels are KDE apexes; those of the others are means
APEX_SETS = ("xai", "xai_mnskim")


def main(arguments: list[str] | None = None) -> int:
    """Write the reports that are missing. Exit code 2 for bad input, that of a step where it fails."""
    parser = make_parser(__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder that run_xai.sh made")
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of the data, for the ceiling of the tested segments and the hybrid of embeddings and "
        "features (default: the ceiling of all segments, no hybrid)",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder for the reports")
    parser.add_argument("--pictures", action="store_true", help="keep the pictures")
    parser.add_argument("--again", action="store_true", help="also those whose report is there already")
    given = parser.parse_args(arguments)
    need(given.runs / "trained", "run scripts/run_xai.sh first")
    for folder in sorted(given.runs.glob("trained/*/*/*/")):
        if _complete(given.runs, folder):
            for task in ("regression", "classes"):
                _report(given, folder, task)
    pages = ("--readme", ROOT / "README.md", "--page", ROOT / "results" / "README.md")
    run("results/tools/readme_tables.py", "--results", given.results, *pages)
    return 0


def leave_out_pictures(out: Path) -> None:
    """Remove the pictures of a report, and its lines that show them."""
    for picture in out.glob("*.png"):
        picture.unlink()
    page = out / "report.md"
    if not page.is_file():
        return
    text = re.sub(r"\n*^!\[\w+\]\(\w+\.png\)$", "", page.read_text(encoding="utf-8"), flags=re.M)
    write_text(page, text)


def _complete(runs: Path, folder: Path) -> bool:
    """Whether all folds of all seeds are done; say so where not."""
    name, split, variant = folder.parts[-3:]
    folds = sum(path.is_dir() for path in (runs / "bin" / f"{name}_{split}").glob("*"))
    seeds = {path.name for path in folder.glob("fold*/seed*")}
    done, wanted = len(list(folder.rglob("run.json"))), folds * len(seeds)
    if done and done >= wanted:
        return True
    say(f"{name}, {split}, {variant}: {done} of {wanted} runs are done, no report yet")
    return False


def _report(given: argparse.Namespace, folder: Path, task: str) -> None:
    name, split, variant = folder.parts[-3:]
    out = given.results / name / split / variant / task
    if (out / "report.json").is_file() and not given.again:
        return
    say(str(out))
    run(
        *("scripts/report_xai.py", "--runs", folder, "--labels", given.runs / "labels" / f"{name}.json"),
        *("--task", task, "--name", f"{name}, {split}: {variant}, {task}", "--out", out),
        *_baselines(given, name, split, task),
        *(_ceiling(given, name) if task == "regression" else ()),
        *_midi(given, name),
        quiet=True,
    )
    if not given.pictures:
        leave_out_pictures(out)


def _baselines(given: argparse.Namespace, name: str, split: str, task: str) -> Iterator[object]:
    """Options for the baselines, where they were run on this split and task."""
    path = given.results / f"baselines_{name}.json"
    row = split if task == "regression" else f"{split}_performer"
    if not path.is_file() or row not in json.loads(path.read_text(encoding="utf-8"))["splits"]:
        return
    yield from ("--baselines", path, "--split", split)
    kept = given.runs / "baselines" / name
    if (kept / split / task).is_dir():
        yield from ("--baseline-predictions", kept)


def _ceiling(given: argparse.Namespace, name: str) -> Iterator[object]:
    ratings = None if given.data is None else given.data / name.split("_")[0] / "total.csv"
    if ratings is not None and ratings.is_file():  # of the tested segments
        yield from ("--ratings", ratings)
    else:
        yield from ("--ceiling", given.runs / "reliability" / name / "reliability.csv")
    yield from ("--kind", "apex" if name in APEX_SETS else "mean")


def _midi(given: argparse.Namespace, name: str) -> Iterator[object]:
    if given.data is not None:
        inside = "xai/segmented_midi.zip" if name.startswith("xai") else "percepiano/segment_midi.zip"
        if (given.data / inside).is_file():
            yield from ("--midi", given.data / inside, "--cache", given.runs / "features")


if __name__ == "__main__":
    sys.exit(main())
