"""Write the tables of results/README.md and the small one of the README from the files in results/ alone.

Example: python results/tools/readme_tables.py

`results/baselines_<set>.json` holds the baselines (`evaluation/baselines/rating_baselines.py`),
`results/ceilings.json` the noise ceilings (``ceilings.py``), and
`results/<set>/<split>/<variant>/<task>/report.json` a network's report
(`musicbert.evaluation.rows`).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ceilings import marks, page
from compare_predictions import levers_table
from program import die, make_parser
from readme_ablations import ablation_table, size_table, with_and_without_table
from readme_probes import seen_table, whole_table
from readme_short import short_table
from readme_tasks import downstream_table

from musicbert.annotation.reliability import MARKS as CEILING_MARKS
from musicbert.atomic import write_text
from musicbert.errors import DatasetError, MusicBertError
from musicbert.evaluation.reports.ratings import PARTNERS
from musicbert.evaluation.rows import read_rows

__all__ = ["readme_tables", "replace_section"]

#: set -> what its labels are
SETS = {
    "xai_mnskim_mean": "XAI-music, 25 dimensions (mnskim), mean labels",
    "percepiano": "PercePiano, 19 dimensions, mean labels (published)",
    "xai_centred": "XAI-music, the other 25 dimensions, rater-centred mean labels",
    "xai": "XAI-music, the other 25 dimensions, the published variant of labels (KDE apex)",
    "xai_mnskim": "XAI-music, 25 dimensions (mnskim), the published variant of labels (KDE apex)",
}
#: split -> what a reader has to know about it
SPLITS = {
    "segment": "published segments (**leaks**: the same bars by the same players are in training)",
    "segment_clean": "the same test, its music left out of training (64 segments, **exhausted**: no target)",
    "content_8fold": "8 folds by content, no shared bars",
    "content_4fold": "4 folds by content, no shared bars",
    "composition_strict4": "4 folds by composition as handed down (**leaks**: 16-bar and 8-bar cuts overlap)",
    "performer_published": "published performer split",
    "performer_cv": "5 folds by performer",
}
LOOKUP = "lookup:"
FEATURES = ("ridge", "random_forest", "extra_trees", "svr", "logistic", "svm", "ensemble", "committee")
_STATES = "committee+score+musicbert-mini-performance"
#: task -> rows of further inputs -> column; ``peers`` and ``levels`` look at other test performances, too
MORE = {
    "regression": {
        "committee+score": "and features against the score",
        "committee+score+peers": "and against other performances",
        _STATES: "score and frozen states",
        f"{_STATES} with random weights": "score and states of random weights",
        "committee+score+levels": "score, two levels",
        f"{_STATES}+levels": "score, frozen states, two levels",
        f"{_STATES} with random weights+levels": "score, random states, two levels",
    },
    "classes": {"ensemble+score": "and features against the score"},
}
MARKS = ("<!-- results: made by results/tools/readme_tables.py -->", "<!-- /results -->")


def _metric(task: str) -> str:
    return "r2" if task == "regression" else "accuracy"


def _networks(folder: Path, task: str) -> dict[str, tuple[str, float]]:
    """Variant -> (shown score with its spread, score) of the reports below a split's folder."""
    networks = {}
    for path in sorted(folder.glob(f"*/{task}/report.json")):
        report = json.loads(path.read_text())
        rows, variant = read_rows(report["rows"]), path.parts[-3]
        seeds = len({run["seed"] for run in report["runs"]})
        main = next(row for row in rows if row.kind == "network" and row.seeds != "one")
        value = main.value(_metric(task))
        networks[variant] = (f"{value:.3f} ({seeds})", value)
        for row in rows:
            if row.kind in ("blend", "hybrid") and variant.startswith("performance"):
                mixed = row.value(_metric(task))
                shown = f"{mixed:.3f}{_over_features(report, row.kind, task)}"
                networks[f"{variant}, {row.kind}"] = (shown, mixed)
    return networks


def _over_features(report: Mapping[str, Any], kind: str, task: str) -> str:
    """Difference to the features, its interval, and their name where it is not the fixed partner's."""
    known = [entry for entry in report.get("differences", ()) if entry["kind"] == kind]
    if not known or known[0]["low"] is None:
        return ""
    name = known[0]["against"].removeprefix("features: ")
    other = "" if name == PARTNERS[task][0] else f", with {name.replace('_', ' ')}"
    return f" ({known[0]['value']:+.3f} [{known[0]['low']:+.3f}, {known[0]['high']:+.3f}]{other})"


def _ceilings(results: Path, name: str) -> Mapping[str, Any]:
    path = results / "ceilings.json"
    sets = json.loads(path.read_text(encoding="utf-8"))["sets"] if path.is_file() else {}
    found: Mapping[str, Any] = sets.get(name, {})
    return found


def _table(results: Path, name: str, task: str) -> list[str]:
    content = json.loads((results / f"baselines_{name}.json").read_text())
    metric = "R², mean over dimensions" if task == "regression" else "performer accuracy"
    columns = ["split", "mean" if task == "regression" else "majority"]
    ceilings = _ceilings(results, name) if task == "regression" else {}
    columns[1:1] = ["ceiling"] if ceilings else []
    columns += ["name look-up"] if task == "regression" else []
    columns += ["hand features, best"]
    names = {row["name"] for split in content["splits"].values() for row in split["rows"]}
    more = [row for row in MORE[task] if row in names]
    columns += [MORE[task][row] for row in more]
    rows, variants = [], []
    for split, about in SPLITS.items():
        baseline = content["splits"].get(split if task == "regression" else f"{split}_performer")
        if baseline is None or (task == "classes" and split.startswith("performer")):
            continue  # performers of a test by performer are in no training part
        scores = {row.name: row.value(_metric(task)) for row in read_rows(baseline["rows"])}
        nothing = scores["mean" if task == "regression" else "majority"]
        cells = [f"{nothing:.3f}"]
        if ceilings:
            ends = ceilings.get(split)
            cells[:0] = [f"{ends['low']:.2f}–{ends['high']:.2f}" if ends else "–"]
        if task == "regression":
            cells.append(f"{max(value for row, value in scores.items() if row.startswith(LOOKUP)):.3f}")
        best = max((row for row in scores if row in FEATURES), key=lambda row: scores[row])
        cells.append(f"{scores[best]:.3f} ({best.replace('_', ' ')})")
        cells += [f"{scores[row]:.3f}" if row in scores else "–" for row in more]
        networks = _networks(results / name / split, task)
        variants += [variant for variant in networks if variant not in variants]
        rows.append((about, cells, networks))
    if not rows:
        return []
    variants = [name for name in variants if ", " not in name] + [name for name in variants if ", " in name]
    lines = [f"**{SETS[name]}: {metric}**", ""]
    lines += ["| " + " | ".join([*columns, *variants]) + " |", "|" + "---|" * (len(columns) + len(variants))]
    for about, cells, networks in rows:
        shown = [networks[variant][0] if variant in networks else "–" for variant in variants]
        lines.append("| " + " | ".join([about, *cells, *shown]) + " |")
    return [*lines, "", *_marked(ceilings, content["splits"])]


def _marked(ceilings: Mapping[str, Any], scored: Mapping[str, Any]) -> list[str]:
    """Dimensions at their ceiling and without anything to learn, on folds by content."""
    split = next((split for split in ceilings if split.startswith("content") and split in scored), None)
    if split is None:
        return []
    known = marks(ceilings[split], scored[split])
    texts = [f"{CEILING_MARKS[mark]}: {', '.join(names)}" for mark, names in known.items()]
    return [f"On folds by content, {'; '.join(texts)}.", ""] if texts else []


def readme_tables(results: Path) -> str:
    """Return the tables of all sets there are results of, as Markdown.

    Raises
    ------
    DatasetError
        ``not-found`` where there are no results.
    """
    names = [name for name in SETS if (results / f"baselines_{name}.json").exists()]
    if not names:
        raise DatasetError("not-found", "no results here", path=results, hint="run scripts/run_xai.sh")
    lines: list[str] = []
    for name in names:
        for task in ("regression", "classes"):
            lines += _table(results, name, task)
    for title, table in (
        (
            "PercePiano, 4 folds by content, one seed of a short training, random weights beside it: R²",
            levers_table(results),
        ),
        ("MusicBERT's four tasks", downstream_table(results)),
        ("Whole pieces by a frozen musicbert-mini, beside hand features", whole_table(results)),
        (
            "Frozen probes on test pieces that the pre-training has seen, and on the others",
            seen_table(results),
        ),
        (
            "M2BERT's tasks, with and without pre-training (accuracy, or F1 for BP, DbP and MNID)",
            with_and_without_table(results),
        ),
        ("Larger networks, pre-trained for more notes (three seeds, 95 % intervals)", size_table(results)),
        ("What pre-training learns: gain over none, on as many notes each", ablation_table(results)),
    ):
        lines += [f"**{title}**", "", *table] if table else []
    return "\n".join(lines)


def replace_section(text: str, tables: str) -> str:
    """Put the tables between the marks of a text.

    Raises
    ------
    DatasetError
        ``no-marks``.
    """
    begin, end = MARKS
    if begin not in text or end not in text:
        raise DatasetError("no-marks", f"the text has no section between {begin} and {end}")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    return pattern.sub(lambda _: f"{begin}\n\n{tables}\n{end}", text)


def main() -> int:
    """Parse the arguments and rewrite the sections of both pages. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="page of the small table")
    parser.add_argument("--page", type=Path, default=Path("results/README.md"), help="page of all tables")
    parser.add_argument("--check", action="store_true", help="only compare; exit code 1 if they differ")
    given = parser.parse_args()
    try:
        short = "\n".join(short_table(given.results))
        tables = {given.page: readme_tables(given.results), given.readme: short}
        before = {path: path.read_text(encoding="utf-8") for path in tables}
        after = {path: replace_section(before[path], tables[path]) for path in tables}
    except (MusicBertError, OSError) as error:
        die(str(error))
    if given.check:
        return int(before != after)
    for path, text in after.items():
        write_text(path, text)
    if (given.results / "ceilings.json").is_file():
        write_text(given.results / "ceilings.md", page(given.results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
