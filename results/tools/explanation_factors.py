r"""Whether factors of the playing that explain the profile agree with ratings, and how noisy they are.

Example: python results/tools/explanation_factors.py --labels percepiano.json --midi \
    data/percepiano/segment_midi.zip --ratings data/percepiano/total.csv --folds-file \
    data/percepiano/folds.json --output results/explanations/factors

The committee of the profile (`results/tools/profile_model.py`) is fitted on the training part of each fold
of --split and explains performances of the test part, several of the same bars each. For two performances of
the same bars, the difference of their ratings is compared with the difference of the effects of one factor:
of the one with the largest difference, and of a random one. A dimension is offered where the first correlates
better on all but 2.5 % of bootstrap resamples over groups of music. The noise of an effect is its jackknife
standard error over the folds' models, each of which lacks one part of the music.

Writes OUTPUT.json and OUTPUT.md, and --package, the file that the package reads: noise, which dimensions are
offered, and one rater's standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from profile_model import fit, on_a_clock, subset
from program import make_parser, report_errors, say
from threadpoolctl import threadpool_limits

from musicbert.analysis.model import load_profile_model
from musicbert.analysis.passages import played
from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.names import parse_segment, segment_id
from musicbert.annotation.reliability import rater_errors
from musicbert.annotation.table import read_ratings
from musicbert.arrays import Floats, Ints
from musicbert.atomic import write_json, write_text
from musicbert.corpus.files.archive import MidiSource
from musicbert.corpus.files.folders import read_npz, write_npz
from musicbert.errors import ConfigError
from musicbert.evaluation.baselines.committee_file import RatingModel
from musicbert.evaluation.baselines.rated_examples import (
    PLAYING,
    SCORE,
    feature_table,
    load_examples,
    rater_means,
    same_bars,
)
from musicbert.evaluation.baselines.rating_baselines import baseline_folds
from musicbert.evaluation.baselines.regressors import Examples
from musicbert.evaluation.metrics.bootstrap import interval, resample
from musicbert.evaluation.predictions import RATINGS
from musicbert.evaluation.tables import markdown_table
from musicbert.explanation.factors import factor_variants
from musicbert.explanation.playing_factors import FACTORS
from musicbert.explanation.shapley import shapley_values
from musicbert.features import features
from musicbert.midi import read_score
from musicbert.provenance import provenance

__all__ = [
    "add_arguments",
    "agreement",
    "choose",
    "fold_models",
    "inputs_of",
    "jackknife",
    "part",
    "read_examples",
]

SEED = 7
#: performances of the same bars that are explained, at least and at most
FEWEST, MOST = 3, 6
#: random factors for each pair
DRAWS = 20


def choose(examples: Examples, count: int) -> Ints:
    """Some performances, several of the same bars each, from all groups of music in turn."""
    names = [parse_segment(name) for name in examples.ids.tolist()]
    bars: dict[tuple[str, str], list[int]] = {}
    for k, name in enumerate(names):
        if not name.performer.startswith(SCORE):
            bars.setdefault((str(examples.groups[k]), same_bars(name)), []).append(k)
    rng = np.random.default_rng(SEED)
    regions = [key for key, members in bars.items() if len(members) >= FEWEST]
    turn: dict[str, int] = {}
    ranked = []
    for key in [regions[k] for k in rng.permutation(len(regions))]:
        turn[key[0]] = turn.get(key[0], -1) + 1
        ranked.append((turn[key[0]], key))
    chosen: list[int] = []
    for _, key in sorted(ranked, key=lambda each: each[0]):
        if len(chosen) < count:
            chosen += rng.permutation(bars[key])[:MOST].tolist()
    return np.array(chosen, np.int64)


def jackknife(effects: Floats) -> Floats:
    """Standard error of effects from models that each lack a part [shape=(g, ...)] -> [shape=(...)]."""
    count = len(effects)
    return np.asarray(np.sqrt((count - 1) / count * ((effects - effects.mean(0)) ** 2).sum(0)))


def agreement(
    effects: Floats,
    target: Floats,
    bars: Sequence[str],
    groups: Sequence[str],
    names: Sequence[str] = FACTORS,
) -> dict[str, Any]:
    """Correlations of differences within the same bars, for one dimension.

    ``effects`` [shape=(m, k)], ``target`` [shape=(m,)], ``names``: of the factors (or other reasons). Returns
    those of the sum of all factors, of the factor with the largest difference, of a random one, and of each
    factor; ``gain``: largest minus random.
    """
    first, second = np.triu_indices(len(target), 1)
    at = np.asarray(bars)
    same = (at[first] == at[second]) & np.isfinite(target[first]) & np.isfinite(target[second])
    first, second = first[same], second[same]
    apart, rated = effects[first] - effects[second], target[first] - target[second]
    rows = np.arange(len(rated))
    largest = apart[rows, np.abs(apart).argmax(1)]
    rng = np.random.default_rng(SEED)
    random = [apart[rows, rng.integers(0, apart.shape[1], len(rated))] for _ in range(DRAWS)]
    columns = {"all": apart.sum(1), "largest": largest, **dict(zip(names, apart.T, strict=True))}

    of_group, member = np.unique(np.asarray(groups)[first], return_inverse=True)
    weights = resample(len(of_group), seed=SEED)
    draws = {name: _correlations(column, rated, member, weights) for name, column in columns.items()}
    draws["random"] = np.mean([_correlations(column, rated, member, weights) for column in random], axis=0)
    draws["gain"] = draws["largest"] - draws["random"]
    result: dict[str, Any] = {"pairs": len(rated)}
    for name, values in draws.items():
        found = interval(values)
        result[name] = {"value": found.value, "low": found.low, "high": found.high}
    return result


def _correlations(x: Floats, y: Floats, group: Ints, weights: Floats) -> Floats:
    """Correlations about 0 (each pair counts in both orders) on each resample of groups [shape=(1 + b,)]."""
    xy, xx, yy = (weights @ np.bincount(group, values) for values in (x * y, x * x, y * y))
    return np.asarray(xy / np.sqrt(np.maximum(xx * yy, 1e-12)))


def fold_models(
    options: Any, examples: Examples, chosen: Ints, change: Callable[[Examples], Examples] | None = None
) -> tuple[list[RatingModel], Ints]:
    """Models of all folds, and which of them did not see each performance [shape=(m,)].

    ``change``: of the training part; without it, models of ``options.models`` are taken.
    """
    index = {name: k for k, name in enumerate(examples.ids.tolist())}
    folds = baseline_folds(options.split, examples.ids.tolist(), folds_file=options.folds_file)
    tests = [np.array([index[name] for name in fold["test"]], np.int64) for fold in folds.values()]
    models = []
    for number, test in enumerate(tests):
        if change is None and options.models is not None:
            folder = options.models / f"fold{number}"
            if (folder / "test.id").read_text().split() != examples.ids[test].tolist():
                raise ConfigError("other-settings", "The models there are of other folds", path=folder)
            models.append(load_profile_model(folder / "profile").committee)
            continue
        train = subset(examples, np.setdiff1d(np.arange(len(examples.ids)), test))
        models.append(fit("committee", train if change is None else change(train)))
        say(f"fold {number} is fitted")
    tested = [next(f for f, test in enumerate(tests) if k in test) for k in chosen.tolist()]
    return models, np.array(tested)


def _explained(options: Any, examples: Examples, chosen: Ints) -> tuple[Floats, Floats]:
    """Effects of each fold's model [shape=(g, m, k, d)], and the fold that tests each [shape=(m,)]."""
    models, tested = fold_models(options, examples, chosen)
    with MidiSource(options.midi) as source:
        files = {segment_id(member.name): member for member in source.members}
        effects = []
        for done, k in enumerate(chosen.tolist(), start=1):
            name = str(examples.ids[k])

            def explained(name: str = name) -> Floats:
                score = played(read_score(source.read(files[name]), name=name))
                variants, of_subset = factor_variants(score, FACTORS)
                memo: dict[bytes, dict[str, float]] = {}
                table = np.stack([features(each, memo) for each in variants])
                return np.array([shapley_values(model.predict(table)[of_subset]) for model in models])

            effects.append(part(options, f"factors {name}", explained))
            if done % 20 == 0:
                say(f"{done} of {len(chosen)} performances")
    return np.moveaxis(np.array(effects), 1, 0), tested


def part(options: Any, name: str, make: Callable[[], Floats]) -> Floats:
    """Make an array, or read it where an earlier run of the same commit kept it in ``options.parts``.

    ``options.parts_of``: another commit whose parts are taken (the recorded command names it).
    """
    if options.parts is None:
        return make()
    commit = getattr(options, "parts_of", None) or provenance([], inputs={}, seed=SEED)["commit"]
    path = options.parts / str(commit) / f"{name}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(path, {"made": make()})
    return np.asarray(read_npz(path)["made"])


def add_arguments(parser: Any, package: str = "") -> None:
    """Add the arguments of a program that explains performances of PercePiano by held-out models.

    ``package``: the file of the package that it writes, if it does.
    """
    add = parser.add_argument
    add("--labels", type=Path, required=True, help="label map of map_midi_to_label.py")
    add("--midi", type=Path, required=True, help="zip archive or folder")
    add("--ratings", type=Path, required=True, help="table of ratings")
    add("--folds-file", type=Path, help="folds.json, for splits by the names of its schemes")
    add("--split", default="content_4fold", help="folds")
    add("--cache", type=Path, help="folder where features are kept between runs")
    add("--output", type=Path, required=True, help="result without its suffix, or folder")
    if package:
        add("--performances", type=int, default=200, help="about how many are explained")
        add("--package", type=Path, help=f"file of the package ({package})")
        add("--parts", type=Path, help="folder of parts, with which a run that was stopped goes on")
        add("--parts-of", metavar="COMMIT", help="whose parts are taken, if what makes them is unchanged")
        add(
            "--models",
            type=Path,
            help="models of the folds (explanation_models.py); default: fitted",
        )


def inputs_of(options: Any) -> dict[str, Path]:
    """Files that a result was made from, by their role."""
    files = {"labels": options.labels, "midi": options.midi, "ratings": options.ratings}
    folders = sorted(options.models.glob("fold*")) if options.models else []
    return files | {f"model of {each.name}": each / "profile" / "profile.npz" for each in folders}


def read_examples(options: Any) -> Examples:
    """Features of all performances, on a clock of their own, with their ratings."""
    labels = LabelMap.load(options.labels)
    table, _ = feature_table(options.midi, on_a_clock(PLAYING), labels=labels, cache=options.cache)
    return rater_means(load_examples(labels, table)[RATINGS], labels, options.ratings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code."""
    parser = make_parser(__doc__)
    add_arguments(parser, "musicbert/explanation/profile.json")
    return report_errors(partial(_make, parser.parse_args(arguments), list(arguments or sys.argv[1:])))


@threadpool_limits.wrap(limits=1)
def _make(options: Any, arguments: list[str]) -> str:
    examples = read_examples(options)
    chosen = choose(examples, options.performances)
    effects, tested = _explained(options, examples, chosen)
    held_out = effects[tested, np.arange(len(chosen))]  # (m, k, d)
    noise = np.sqrt((jackknife(effects) ** 2).mean(0))  # (k, d)
    names = [parse_segment(name) for name in examples.ids[chosen].tolist()]
    bars, groups = [same_bars(name) for name in names], examples.groups[chosen].astype(str).tolist()
    errors = rater_errors(read_ratings(options.ratings))
    found = {}
    for d, name in enumerate(examples.classes):
        found[name] = {
            **agreement(held_out[:, :, d], examples.target[chosen, d], bars, groups),
            "noise": dict(zip(FACTORS, noise[:, d].round(5).tolist(), strict=True)),
            "size": dict(zip(FACTORS, np.abs(held_out[:, :, d]).mean(0).round(5).tolist(), strict=True)),
            "rater_error": round(errors[name] / 7, 5),
        }
        found[name]["offered"] = found[name]["gain"]["low"] > 0
    about = provenance(
        ["python", "results/tools/explanation_factors.py", *arguments], inputs=inputs_of(options), seed=SEED
    )
    result = {"about": about, "performances": len(chosen), "groups": len(set(groups)), "dimensions": found}
    write_json(options.output.with_suffix(".json"), result)
    text = page(result)
    write_text(options.output.with_suffix(".md"), text)
    if options.package is not None:
        keys = ("noise", "rater_error", "offered")
        write_json(options.package, {name: {key: each[key] for key in keys} for name, each in found.items()})
    return text


def page(result: Mapping[str, Any]) -> str:
    """Tables of the result."""
    found = result["dimensions"]
    rows = [
        [name, *(_cell(each[key]) for key in ("all", "largest", "random", "gain")),
         "yes" if each["offered"] else "no"]
        for name, each in found.items()
    ]  # fmt: skip
    sizes = [
        [name, *(f"{each['size'][f]:.3f} ± {each['noise'][f]:.3f}" for f in FACTORS),
         f"{each['rater_error']:.3f}"]
        for name, each in found.items()
    ]  # fmt: skip
    single = [[name, *(f"{each[f]['value']:.2f}" for f in FACTORS)] for name, each in found.items()]
    pairs = next(iter(found.values()))["pairs"]
    return "\n".join(
        [
            "# Factors of the playing and ratings", "",
            f"{result['performances']} performances of PercePiano from {result['groups']} groups of music, "
            f"explained by models that were not trained on their music; {pairs} pairs of the same bars. "
            f"Made by `{result['about']['command']}`.", "",
            "Correlation of rating differences with differences of effects (95 % bootstrap intervals over "
            "groups of music): of all factors, of the one with the largest difference, of a random one.",
            "", *markdown_table(["dimension", "all", "largest", "random", "gain", "offered"], rows), "",
            "Of each factor alone:", "", *markdown_table(["dimension", *FACTORS], single), "",
            "Mean size of effects ± jackknife standard error; one rater's standard error (all on 0-1):", "",
            *markdown_table(["dimension", *FACTORS, "rater"], sizes), "",
        ]
    )  # fmt: skip


def _cell(entry: Mapping[str, float]) -> str:
    return f"{entry['value']:.2f} [{entry['low']:.2f}, {entry['high']:.2f}]"


if __name__ == "__main__":
    sys.exit(main())
