r"""Fit the profile model of `musicbert analyse` and measure what it holds.

Example: python results/tools/profile_model.py --labels percepiano.json --midi
data/percepiano/segment_midi.zip \
    --ratings data/percepiano/total.csv --folds-file data/percepiano/folds.json \
    --splits content_4fold composition_strict4 --output checkpoints/profile-percepiano --results
    results/profile

``--labels`` is a label map of map_midi_to_label.py. Every performance is described by itself, without its
score and other performances, on a clock of its own (`musicbert.analysis.passages`), and scored in the form in
which it is saved. ``--states`` compares with committees that read frozen states of a network, and of random
weights of its size. ``--row`` is fitted on all segments and saved, with its committee of features alone where
it reads states, for which reasons are given; the errors of its ranges and the places
among the rated performances are those of ``--folds`` folds over groups of music. ``--results`` gets
profile.{json,md}; labels are not kept.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from program import make_parser, report_errors, say
from sklearn.model_selection import GroupKFold
from threadpoolctl import threadpool_limits

from musicbert.analysis.model import LEVELS, nearest, one_layer, save_profile_model, spread_at, thinned
from musicbert.analysis.passages import played
from musicbert.analysis.ranges import Ranges, coverage
from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.names import parse_segment
from musicbert.arrays import Bools, Floats, Ints
from musicbert.atomic import write_text
from musicbert.corpus.files.folders import read_npz, write_npz
from musicbert.evaluation import baselines
from musicbert.evaluation.baselines.committee_file import RatingModel, fit_rating_model
from musicbert.evaluation.baselines.rated_examples import (
    PLAYING,
    SCORE,
    Describe,
    Description,
    feature_table,
    load_examples,
    rater_means,
)
from musicbert.evaluation.baselines.rating_baselines import baseline_folds, differences
from musicbert.evaluation.baselines.regressors import Examples
from musicbert.evaluation.predictions import RATINGS, Predictions
from musicbert.evaluation.rows import Row, score_row
from musicbert.evaluation.tables import dump, markdown_table
from musicbert.provenance import provenance

__all__ = ["coverage_by", "on_a_clock", "out_of_fold", "subset"]

#: trees of each forest that are kept: 100 and 300 differ by less than 0.0002 in R²
TREES = 100
#: of the distances to the training performances that held-out music has; further away is unlike all of it
FAR = 0.99
SEED = 7


def on_a_clock(description: Description) -> Description:
    """Describe performances as `musicbert analyse` does: on a clock of their own."""

    def make(*arguments: Any) -> Describe:
        describe = description.make(*arguments)
        return lambda name, score: describe(name, played(score))

    return replace(description, make=make, key=f"{description.key} clock")


def subset(examples: Examples, rows: Ints) -> Examples:
    """Return some items."""
    optional = {
        name: None if (value := getattr(examples, name)) is None else value[rows]
        for name in ("means", "raters")
    }
    return replace(
        examples,
        **{name: getattr(examples, name)[rows] for name in ("features", "target", "groups", "ids")},
        **optional,
        identities={name: values[rows] for name, values in examples.identities.items()},
        more={name: values[rows] for name, values in examples.more.items()},
        states={name: values[:, rows] for name, values in examples.states.items()},
    )


#: forests by what they were fitted on, since several rows have the same
_FORESTS: dict[str, Any] = {}


def fit(row: str, examples: Examples, **about: Any) -> RatingModel:
    """Fit a committee in the form in which it is saved."""
    return thinned(fit_rating_model(row, examples, seed=SEED, memo=_FORESTS, **about), TREES)


def out_of_fold(
    row: str, examples: Examples, tests: Sequence[Ints], cache: Path | None = None
) -> tuple[Floats, Floats]:
    """Predict each part from all others: values [shape=(n, d), NaN if untested], distances [shape=(n,)].

    ``cache``: folder where predictions of a part are kept by the code and all that they are made from.
    """
    values, distance = np.full(examples.target.shape, np.nan), np.full(len(examples.ids), np.nan)
    network = examples.row(row)[2]
    for test in tests:
        train = np.setdiff1d(np.arange(len(examples.ids)), test)
        if row == "mean":
            values[test] = np.nanmean(examples.target[train], axis=0)
            continue
        kept = None if cache is None else cache / f"predictions_{_key(row, examples, test)}.npz"
        if kept is not None and kept.is_file():
            known = read_npz(kept)
            values[test], distance[test] = known["values"], known["distance"]
            continue
        model = fit(row, subset(examples, train))
        inputs = examples.inputs(model.about["inputs"])[test]
        values[test] = model.predict(inputs, examples.states[network][:, test] if network else None)
        distance[test] = nearest(model, inputs)
        chosen = [[committee.layer, committee.share] for _, committee in model.parts]
        say(f"{row}: {len(test)} segments predicted; layer, share: {chosen}")
        if kept is not None:
            write_npz(kept, {"values": values[test], "distance": distance[test]})
    return np.clip(values, 0.0, 1.0), distance


def _key(row: str, examples: Examples, test: Ints) -> str:
    """Hash of the code of committees, and of what the predictions of a part are made from."""
    digest = hashlib.sha256(f"{row} {TREES} {SEED}".encode())
    for path in sorted(Path(str(baselines.__file__)).parent.glob("*.py")):
        digest.update(path.read_bytes())
    _, more, network, _ = examples.row(row)
    arrays = [examples.inputs(more), examples.target, examples.means, examples.raters, test]
    for array in [*arrays, examples.states[network] if network else None]:
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return hashlib.sha256(digest.digest() + "\n".join(examples.groups).encode()).hexdigest()[:16]


def coverage_by(inside: Bools, names: Sequence[str]) -> dict[str, float]:
    """Share inside, by name of the items."""
    at = np.asarray(names)
    return {str(name): float(inside[at == name].mean()) for name in np.unique(at)}


def ranges_of(examples: Examples, values: Floats, distance: Floats, rows: Ints) -> tuple[Ranges, float]:
    """Ranges from some out-of-fold errors, and the median distance that their spread is over."""
    median = float(np.median(distance[rows]))
    errors = (examples.target - values)[rows] / spread_at(distance[rows], median)[:, None]
    return Ranges.fit(errors, examples.groups[rows], LEVELS), median


def measured(examples: Examples, values: Floats, distance: Floats, tests: Sequence[Ints]) -> dict[str, Any]:
    """Coverage on each part of ranges that were made from the errors of the other parts."""
    result: dict[str, Any] = {}
    ends = {level: np.zeros((2, *values.shape)) for level in LEVELS}
    for test in tests:
        rest = np.concatenate([other for other in tests if other is not test])
        ranges, median = ranges_of(examples, values, distance, rest)
        for level in LEVELS:
            ends[level][:, test] = ranges.around(values[test], level, spread_at(distance[test], median))
    played_by = examples.identities["performer"]
    whole = np.array([f"{a} | {b}" for a, b in zip(examples.identities["piece"], played_by, strict=True)])
    for level, (low, high) in ends.items():
        inside, width = coverage(examples.target, low, high), high - low
        means = [_mean_of(x, whole) for x in (examples.target, low, high)]
        groups = coverage_by(inside, examples.groups.tolist())
        result[f"{level:g}"] = {
            "segments": float(inside.mean()),
            "groups_of_music": {
                "mean": float(np.mean([*groups.values()])),
                "lowest": min(groups.values()), "count": len(groups),
            },
            "width": float(width.mean()),
            "width_over_deviation_of_labels": float((width.mean(0) / examples.target.std(0)).mean()),
            "means_of_whole_performances": float(coverage(*means).mean()),
            "by_piece": coverage_by(inside, examples.identities["piece"].tolist()),
            "by_performer": coverage_by(inside, played_by.tolist()),
            "by_dimension": dict(zip(examples.classes, map(float, inside.mean(0)), strict=True)),
        }  # fmt: skip
    return result


def _mean_of(values: Floats, names: Any) -> Floats:
    return np.stack([values[names == name].mean(0) for name in np.unique(names)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--labels", type=Path, required=True, help="label map of map_midi_to_label.py")
    add("--midi", type=Path, required=True, help="zip archive or folder")
    add("--ratings", type=Path, help="table of ratings: rater means and numbers of raters")
    add("--folds-file", type=Path, help="folds.json, for splits by the names of its schemes")
    add(
        "--splits", nargs="+", required=True, help="folds on which rows are compared and coverage is measured"
    )
    add(
        "--states",
        nargs="*",
        default=[],
        metavar="MODEL",
        help="compare with frozen states of these networks",
    )
    add("--row", default="committee", help="what is saved")
    add("--folds", type=int, default=8, help="for the errors of the ranges")
    add("--cache", type=Path, help="folder where features and predictions are kept between runs")
    add("--output", type=Path, required=True, help="folder of the model")
    add("--results", type=Path, required=True, help="folder of the results")
    return report_errors(partial(_make, parser.parse_args(arguments), list(arguments or sys.argv[1:])))


@threadpool_limits.wrap(limits=1)
def _make(options: Any, arguments: list[str]) -> str:
    labels = LabelMap.load(options.labels)
    examples = _examples(options, labels)
    index = {name: k for k, name in enumerate(examples.ids.tolist())}
    rows = ["mean", "committee", *(f"committee+{name}" for name in examples.states)]
    splits: dict[str, Any] = {}
    for split in options.splits:
        folds = baseline_folds(split, examples.ids.tolist(), folds_file=options.folds_file)
        tests = [np.array([index[name] for name in fold["test"]], np.int64) for fold in folds.values()]
        scored: list[Row] = []
        for row in rows:
            values, distance = out_of_fold(row, examples, tests, options.cache)
            parts = {str(k): _predictions(examples, values, test) for k, test in enumerate(tests)}
            scored.append(score_row("baseline", [parts], name=row))
            say(f"{split}: {row}: R² {scored[-1].value('r2'):.4f}")
            if row == options.row:
                held = measured(examples, values, distance, tests)
        splits[split] = {
            "rows": [row.as_dict() for row in scored],
            "differences": differences(scored[1:], examples),
            "coverage": held,
        }
    folds = [test for _, test in GroupKFold(options.folds).split(examples.ids, groups=examples.groups)]
    values, distance = out_of_fold(options.row, examples, folds, options.cache)
    ranges, median = ranges_of(examples, values, distance, np.arange(len(values)))
    performers = [parse_segment(name).performer for name in examples.ids.tolist()]
    performed = np.array([not name.startswith(SCORE) for name in performers])  # two renderings of the score
    network = examples.row(options.row)[2]
    error = np.sqrt(np.nanmean((examples.target - values) ** 2, axis=0))
    keys = {name: each.key for name, each in _descriptions(options).items()}
    model = one_layer(fit(options.row, examples, error=error, states=keys.get(network, "")))
    held_out = {
        split: {name: _r2(content, options.row, name) for name in examples.classes}
        for split, content in splits.items()
    }
    content = {
        "name": options.output.name,
        "dimensions": [_dimension(each, held_out) for each in labels.dimensions],
        "scale": [1, 7],
        "ranges": ranges.as_dict(),
        "percentiles": np.percentile(values[performed], np.arange(101), axis=0).round(5).tolist(),
        "distance": {"median": median, "far": float(np.quantile(distance, FAR)), "quantile": FAR},
        "segments": len(examples.ids), "performances": int(performed.sum()),
        "groups_of_music": len(np.unique(examples.groups)),
        "pieces": sorted(set(examples.identities["piece"].tolist())),
    }  # fmt: skip
    explained = None
    if network:
        bare = options.row.replace(f"+{network}", "")
        known, _ = out_of_fold(bare, examples, folds, options.cache)
        apart = np.sqrt(np.mean((known - values) ** 2, axis=0))
        content["explained"] = dict(zip(examples.classes, map(float, apart.round(5)), strict=True))
        explained = fit(bare, examples, error=np.sqrt(np.nanmean((examples.target - known) ** 2, axis=0)))
    save_profile_model(options.output, model, content, explained)
    inputs = {"labels": options.labels, "midi": options.midi}
    inputs |= {"ratings": options.ratings} if options.ratings else {}
    command = ["python", "results/tools/profile_model.py", *arguments]
    result = {
        "row": options.row, "segments": len(examples.ids), "trees": TREES, "splits": splits,
        "shown": [each["name"] for each in content["dimensions"] if each["shown"]],
        "provenance": provenance(command, inputs=inputs, seed=SEED),
    }  # fmt: skip
    options.results.mkdir(parents=True, exist_ok=True)
    write_text(options.results / "profile.json", dump(result))
    write_text(options.results / "profile.md", page(result))
    return f"{options.output}, {options.results}"


def _examples(options: Any, labels: LabelMap) -> Examples:
    table, _ = feature_table(options.midi, on_a_clock(PLAYING), labels=labels, cache=options.cache)
    states = {
        name: (feature_table(options.midi, each, labels=labels, cache=options.cache)[0], each.layers)
        for name, each in _states(options).items()
    }
    examples = load_examples(labels, table, states=states)[RATINGS]
    return examples if options.ratings is None else rater_means(examples, labels, options.ratings)


def _states(options: Any) -> dict[str, Description]:
    return {name: on_a_clock(each) for name, each in _descriptions(options).items()}


def _descriptions(options: Any) -> dict[str, Description]:
    if not options.states:
        return {}
    from musicbert.predict.state_blocks import open_descriptions

    return open_descriptions(options.states)


def _predictions(examples: Examples, values: Floats, test: Ints) -> Predictions:
    return Predictions(
        label=examples.label, level="sequence", kind="regression", classes=examples.classes,
        ids=examples.ids[test], groups=examples.groups[test], target=examples.target[test],
        outputs=values[test],
    )  # fmt: skip


def _r2(content: Mapping[str, Any], row: str, name: str) -> dict[str, float]:
    """R² of one dimension with its interval."""
    scores = next(each for each in content["rows"] if each["name"] == row)["scores"]["pooled"]
    return {key: round(scores[f"r2:{name}"][key], 4) for key in ("value", "low", "high")}


def _dimension(dimension: Any, held_out: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Entry of a dimension; shown where the interval of its R² is above 0, the mean rating, on all folds."""
    scores = {split: by_name[dimension.name] for split, by_name in held_out.items()}
    area = re.match(r"(Music making|\w+)", dimension.name)
    return {
        "name": dimension.name,
        "area": area.group() if area else dimension.name,
        "low": dimension.low,
        "high": dimension.high,
        "r2": scores,
        "shown": all(score["low"] > 0 for score in scores.values()),
    }


def page(result: Mapping[str, Any]) -> str:
    """Tables of the results."""
    lines = [
        "# The profile of `musicbert analyse`", "",
        f"{result['segments']} segments; row `{result['row']}` with {result['trees']} trees a forest, "
        "as it is saved. Every performance "
        "is described by itself. Brackets: 95 % bootstrap intervals over groups of segments that share "
        "music. "
        f"Made by `{result['provenance']['command']}`.", "",
    ]  # fmt: skip
    for split, content in result["splits"].items():
        rows = [[row["name"], _cell(row["scores"]["pooled"]["r2"])] for row in content["rows"]]
        lines += [f"## {split}", "", *markdown_table(["row", "R²"], rows)]
        if content["differences"]:
            rows = [[each["row"], each["minus"], _cell(each["r2"], "+")] for each in content["differences"]]
            lines += ["", *markdown_table(["row", "minus", "R², on the same resamples"], rows)]
        by = ("by_piece", "by_performer", "by_dimension")
        rows = [
            [
                level, *(f"{value:.3f}" for value in (
                    each["segments"], each["groups_of_music"]["mean"], each["groups_of_music"]["lowest"],
                    each["means_of_whole_performances"],
                )),
                *(f"{min(each[key].values()):.3f}–{max(each[key].values()):.3f}" for key in by),
                f"{each['width']:.3f}",
            ]
            for level, each in content["coverage"].items()
        ]  # fmt: skip
        head = [
            "range", "covered segments", "mean over groups of music", "lowest group",
            "means of whole performances", "by piece", "by performer", "by dimension", "width (0-1)",
        ]  # fmt: skip
        lines += ["", *markdown_table(head, rows), ""]
        scores = next(row for row in content["rows"] if row["name"] == result["row"])["scores"]["pooled"]
        shown = [[name[3:], _cell(value)] for name, value in scores.items() if name.startswith("r2:")]
        lines += [*markdown_table(["dimension", "R²"], shown), ""]
    return "\n".join(lines) + "\n"


def _cell(entry: Mapping[str, float], sign: str = "") -> str:
    return f"{entry['value']:{sign}.3f} [{entry['low']:{sign}.3f}, {entry['high']:{sign}.3f}]"


if __name__ == "__main__":
    sys.exit(main())
