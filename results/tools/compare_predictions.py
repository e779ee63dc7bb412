r"""R² of networks on the same segments, with intervals over groups of music, and paired differences.

Example: python results/tools/compare_predictions.py results/levers/percepiano_content_4fold.npz \
    --labels percepiano.json --beside results/baselines_percepiano_content_4fold.npz:committee+score \
    --pairs "performance-mlm, layers 1-2 frozen - performance-random" --output results/levers/scores.json

With --runs NAME=FOLDER (of run_experiments.py) the predictions of all folds that are done are first put into
the file, as the row NAME. It has no labels: map_midi_to_label.py makes them. Each network, and its average
with the row of --beside, is compared with that row. A comparison is over segments that both sides predict;
groups of segments that share bars are resampled (`content_groups`).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from program import die, make_parser, need

from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.names import content_groups
from musicbert.arrays import Floats
from musicbert.atomic import read_json, write_json
from musicbert.corpus.files.folders import read_npz, write_npz
from musicbert.evaluation.baselines.rating_baselines import DIGITS
from musicbert.evaluation.metrics.bootstrap import group_numbers, interval, resample
from musicbert.evaluation.metrics.regression import regression_draws
from musicbert.evaluation.predictions import RATINGS
from musicbert.evaluation.run_files import read_runs
from musicbert.evaluation.tables import markdown_table
from musicbert.provenance import provenance

ROW, MEAN = "row:", "average with "


def add_runs(kept: Path, name: str, folder: Path) -> None:
    """Put the predictions of a folder, one seed each fold, into a file; NaN stands for none."""
    table = read_npz(kept) if kept.is_file() else {}
    found = {
        ids: row
        for run in read_runs(folder)
        for part in (run.parts["test"][RATINGS],)
        for ids, row in zip(part.ids.tolist(), np.round(part.outputs, DIGITS), strict=True)
    }
    known = table["ids"].tolist() if "ids" in table else []
    ids = [*known, *sorted(found.keys() - set(known))]
    width = len(next(iter(found.values())))
    blank = np.full((len(ids) - len(known), width), np.nan, np.float32)
    rows = {key: np.vstack([value, blank]) for key, value in table.items() if key.startswith(ROW)}
    rows[f"{ROW}{name}"] = np.array([found.get(each, [np.nan] * width) for each in ids], np.float32)
    groups = content_groups(ids)
    write_npz(kept, {"ids": np.array(ids), "groups": np.array([groups[each] for each in ids]), **rows})


def predictions_of(kept: Path, beside: str = "") -> tuple[list[str], dict[str, Floats]]:
    """Names of the segments and rows of a file, those of FILE:ROW, and the averages of both."""
    table = read_npz(kept)
    ids = table["ids"].tolist()
    rows = {name.removeprefix(ROW): table[name].astype(float) for name in table if name.startswith(ROW)}
    if beside:
        file, _, name = beside.partition(":")
        need(Path(file), "--beside is FILE:ROW")
        other = read_npz(file)
        at = {each: number for number, each in enumerate(other["ids"].tolist())}
        partner = other[f"{ROW}{name}"].astype(float)[[at[each] for each in ids]]
        rows |= {f"{row}, {MEAN}{name}": (values + partner) / 2 for row, values in rows.items()}
        rows[name] = partner
    return ids, rows


def pairs_with(networks: Sequence[str], features: str) -> list[str]:
    """Each network, and its average with the features, minus the features."""
    return [f"{name}{more} - {features}" for name in networks for more in ("", f", {MEAN}{features}")]


def scores(
    ids: Sequence[str], rows: dict[str, Floats], labels: LabelMap, pairs: Sequence[str], resamples: int = 2000
) -> dict[str, Any]:
    """Score each row on all segments that it predicts, and each pair ``A - B`` on those of both."""
    group_of, position = content_groups(ids), {name: at for at, name in enumerate(labels.ids)}
    target = labels.values[[position[name] for name in ids]]
    groups = np.array([group_of[name] for name in ids])
    known = {name: np.isfinite(values).all(axis=1) for name, values in rows.items()}

    done: dict[tuple[str, bytes], Floats] = {}

    def drawn(name: str, use: np.ndarray) -> Floats:
        if (name, use.tobytes()) in done:
            return done[name, use.tobytes()]
        number, count = group_numbers(groups[use])
        weights = resample(count, n_resamples=resamples)
        draws = done[name, use.tobytes()] = regression_draws(
            target[use], rows[name][use], (), weights, number
        )["r2"]
        return draws

    def entry(draws: Floats, use: np.ndarray) -> dict[str, Any]:
        size = {"segments": int(use.sum()), "groups": len(np.unique(groups[use]))}
        return size | interval(draws).as_dict()

    differences = {}
    for pair in pairs:
        sides = pair.split(" - ")
        if len(sides) != 2 or not set(sides) <= rows.keys():
            die(f"{pair!r} is not A - B; the rows are {', '.join(rows)}")
        use = known[sides[0]] & known[sides[1]]
        differences[pair] = entry(drawn(sides[0], use) - drawn(sides[1], use), use)
    return {
        "resamples": resamples,
        "r2": {name: entry(drawn(name, use), use) for name, use in known.items()},
        "difference": differences,
    }


def levers_table(results: Path) -> list[str]:
    """Networks of `results/levers` beside features and random weights, as lines of Markdown."""
    file = results / "levers" / "scores.json"
    if not file.is_file():
        return []
    record = read_json(file)
    sides = [pair.split(" - ") for pair in record["difference"]]
    features = Counter(minus for _, minus in sides).most_common(1)[0][0]
    lines = []
    for name, score in record["r2"].items():
        if name != features and MEAN not in name:
            others = [minus for one, minus in sides if one == name and minus != features]
            differences = (f"{name} - {features}", f"{name}, {MEAN}{features} - {features}")
            cells = [_signed(record["difference"][pair]) for pair in differences]
            more = "; ".join(
                f"{_signed(record['difference'][f'{name} - {other}'])} ({other})" for other in others
            )
            value = f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
            size = f"{score['segments']} ({score['groups']})"
            lines.append((name, size, value, *cells, more or "–"))
    head = (
        "network",
        "segments (groups of music)",
        "R²",
        f"minus {features}",
        "average of both, minus it",
        "minus others",
    )
    return [*markdown_table(head, lines), ""]


def _signed(entry: dict[str, Any]) -> str:
    return f"{entry['value']:+.3f} [{entry['low']:+.3f}, {entry['high']:+.3f}]"


def main(arguments: list[str] | None = None) -> int:
    """Write the scores."""
    given = _parser().parse_args(arguments)
    for word in given.runs:
        name, _, folder = word.rpartition("=")
        add_runs(given.kept, name, Path(folder))
    need(given.kept, "make it with --runs")
    networks, features = list(predictions_of(given.kept)[1]), given.beside.rpartition(":")[2]
    ids, rows = predictions_of(given.kept, given.beside)
    pairs = [*given.pairs, *(pairs_with(networks, features) if features else ())]
    found = scores(ids, rows, LabelMap.load(given.labels), pairs, given.resamples)
    made_by = provenance(
        sys.argv if arguments is None else [__file__, *arguments],
        inputs={"labels": given.labels, "predictions": given.kept},
        seed=0,
    )
    write_json(given.output, {**found, "provenance": made_by})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("kept", type=Path, help="file of predictions of rated segments, one row a network, without labels")
    add("--labels", type=Path, required=True, help="label map, from map_midi_to_label.py")
    add("--runs", nargs="*", default=[], metavar="NAME=FOLDER", help="runs to put into the file first")
    add("--beside", default="", metavar="FILE:ROW", help="kept predictions of features, and which row")
    add("--pairs", nargs="*", default=[], metavar="A - B", help="differences of rows")
    add("--output", type=Path, required=True, help="JSON to write")
    add("--resamples", type=int, default=2000, help="of the groups")
    return parser


if __name__ == "__main__":
    sys.exit(main())
