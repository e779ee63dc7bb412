r"""Whether measured properties that explain the profile agree with ratings, and how noisy they are.

Example: python results/tools/explanation_properties.py --labels percepiano.json --midi \
    data/percepiano/segment_midi.zip --ratings data/percepiano/total.csv --folds-file \
    data/percepiano/folds.json --output results/explanations/properties

As `explanation_factors.py`, with the properties of `musicbert.explanation.properties` instead of factors:
the same performances, the same pairs of the same bars, models that were not trained on their music. Compared
are differences of ratings with differences of effects: of the property with the largest difference, and of a
random one. The notes themselves are left out, since they are the same in both. A dimension is offered where
the first correlates better on all but 2.5 % of bootstrap resamples over groups of music.

Two controls. Models are fitted on shuffled labels: their effects must say nothing about ratings. And on the
first fold, a model is fitted anew for each of the `PERMUTED` properties with the largest effects, whose
columns are permuted over its training performances (together, by one permutation): the property must lose its
share of the effects, and the words must be silent about it.

Writes OUTPUT.json and OUTPUT.md, and --package, the file that the package reads: the noise of each effect and
which dimensions are offered.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from explanation_factors import (
    SEED,
    add_arguments,
    agreement,
    choose,
    fold_models,
    inputs_of,
    jackknife,
    part,
    read_examples,
)
from profile_model import fit, subset
from program import make_parser, report_errors, say
from threadpoolctl import threadpool_limits

from musicbert.annotation.names import parse_segment
from musicbert.arrays import Floats, Ints
from musicbert.atomic import write_json, write_text
from musicbert.evaluation.baselines.rated_examples import same_bars
from musicbert.evaluation.baselines.rating_baselines import baseline_folds
from musicbert.evaluation.baselines.regressors import Examples
from musicbert.evaluation.tables import markdown_table
from musicbert.explanation.properties import NOTES, PROPERTIES, effects_of, property_of
from musicbert.explanation.words import CLEAR, SMALL
from musicbert.provenance import provenance

#: properties whose columns are permuted
PERMUTED = 4


def permuted(examples: Examples, columns: Ints) -> Examples:
    """Permute some features over the items, by one permutation."""
    features = examples.features.copy()
    order = np.random.default_rng(SEED).permutation(len(features))
    features[:, columns] = features[order][:, columns]
    return replace(examples, features=features)


def shuffled(examples: Examples) -> Examples:
    """Give each item the ratings of another one."""
    order = np.random.default_rng(SEED).permutation(len(examples.ids))
    ratings = {
        name: None if (values := getattr(examples, name)) is None else values[order]
        for name in ("means", "raters")
    }
    return replace(examples, target=examples.target[order], **ratings)


def strength(effects: Floats, noise: Floats) -> dict[str, float]:
    """Mean size of effects [shape=(m, d)] of a property, and the share that is named beside their noise."""
    size = np.abs(effects)
    return {"size": float(size.mean()), "named": float((size >= np.maximum(SMALL, CLEAR * noise)).mean())}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code."""
    parser = make_parser(__doc__)
    add_arguments(parser, "musicbert/explanation/properties.json")
    return report_errors(partial(_make, parser.parse_args(arguments), list(arguments or sys.argv[1:])))


@threadpool_limits.wrap(limits=1)
def _make(options: Any, arguments: list[str]) -> str:
    examples = read_examples(options)
    chosen = choose(examples, options.performances)
    models, tested = fold_models(options, examples, chosen)
    inputs = examples.features[chosen]
    effects = np.array(
        [
            part(options, f"effects {number}", lambda model=model: effects_of(model, inputs)[2])
            for number, model in enumerate(models)
        ]
    )  # (g, m, G, d)
    held_out = effects[tested, np.arange(len(chosen))]  # (m, G, d)
    noise = np.sqrt((jackknife(effects) ** 2).mean(0))  # (G, d)
    names = [parse_segment(name) for name in examples.ids[chosen].tolist()]
    bars, groups = [same_bars(name) for name in names], examples.groups[chosen].astype(str).tolist()
    playing = [k for k, name in enumerate(PROPERTIES) if name != NOTES]
    words = [list(PROPERTIES)[k] for k in playing]
    of_shuffled = part(options, "shuffled", lambda: _of_shuffled(options, examples, chosen, tested))
    found = {}
    for d, name in enumerate(examples.classes):
        rated = examples.target[chosen, d]
        found[name] = {
            **agreement(held_out[:, playing, d], rated, bars, groups, words),
            "shuffled labels": agreement(of_shuffled[:, playing, d], rated, bars, groups, words),
            "noise": dict(zip(PROPERTIES, noise[:, d].round(5).tolist(), strict=True)),
            "size": dict(zip(PROPERTIES, np.abs(held_out[:, :, d]).mean(0).round(5).tolist(), strict=True)),
        }
        found[name]["offered"] = found[name]["gain"]["low"] > 0
    command = ["python", "results/tools/explanation_properties.py", *arguments]
    about = provenance(command, inputs=inputs_of(options), seed=SEED)
    result = {
        "about": about,
        "performances": len(chosen),
        "groups": len(set(groups)),
        "dimensions": found,
        "permuted": _permuted(options, examples, chosen[tested == 0], held_out[tested == 0], noise),
    }
    write_json(options.output.with_suffix(".json"), result)
    text = page(result)
    write_text(options.output.with_suffix(".md"), text)
    if options.package is not None:
        keys = ("noise", "offered")
        write_json(options.package, {name: {key: each[key] for key in keys} for name, each in found.items()})
    return text


def _of_shuffled(options: Any, examples: Examples, chosen: Ints, tested: Ints) -> Floats:
    """Effects on each performance of the model that lacks its music, fitted on shuffled labels."""
    models, _ = fold_models(options, examples, chosen, shuffled)
    found = np.zeros((len(chosen), len(PROPERTIES), len(examples.classes)))
    for number, model in enumerate(models):
        found[tested == number] = effects_of(model, examples.features[chosen[tested == number]])[2]
    return found


def _permuted(options: Any, examples: Examples, test: Ints, effects: Floats, noise: Floats) -> dict[str, Any]:
    """Strength of the largest properties as they are, and after their columns were permuted in training."""
    folds = baseline_folds(options.split, examples.ids.tolist(), folds_file=options.folds_file)
    train = np.flatnonzero(~np.isin(examples.ids, next(iter(folds.values()))["test"]))
    size = {name: np.abs(effects[:, k]).mean() for k, name in enumerate(PROPERTIES) if name != NOTES}
    result = {}
    for name in sorted(size, key=lambda each: -size[each])[:PERMUTED]:
        k = list(PROPERTIES).index(name)

        def explained(k: int = k) -> Floats:
            columns = np.flatnonzero(property_of() == k)
            model = fit("committee", permuted(subset(examples, train), columns))
            return effects_of(model, examples.features[test])[2]

        again = part(options, f"permuted {name}", explained)
        result[name] = {
            "as it is": strength(effects[:, k], noise[k]),
            "permuted": strength(again[:, k], noise[k]),
            "others, as they are": float(np.delete(np.abs(effects), k, 1).sum(1).mean()),
            "others, permuted": float(np.delete(np.abs(again), k, 1).sum(1).mean()),
        }
        say(f"{name} was permuted")
    return result


def page(result: Mapping[str, Any]) -> str:
    """Tables of the result."""
    found = result["dimensions"]
    shuffled_labels = [each["shuffled labels"] for each in found.values()]
    control = [
        ["as they are", *_mean(found.values()), f"{sum(each['offered'] for each in found.values())}"],
        ["shuffled", *_mean(shuffled_labels), f"{sum(each['gain']['low'] > 0 for each in shuffled_labels)}"],
    ]
    lost = [
        [name, *(f"{each[how]['size']:.4f}" for how in ("as it is", "permuted")),
         *(f"{100 * each[how]['named']:.1f} %" for how in ("as it is", "permuted"))]
        for name, each in result["permuted"].items()
    ]  # fmt: skip
    rows = [
        [name, *(f"{each[k]['value']:.2f} [{each[k]['low']:.2f}, {each[k]['high']:.2f}]"
                 for k in ("all", "largest", "random", "gain")), "yes" if each["offered"] else "no"]
        for name, each in found.items()
    ]  # fmt: skip
    sizes = [
        [name, *(f"{each['size'][p]:.3f} ± {each['noise'][p]:.3f}" for p in PROPERTIES)]
        for name, each in found.items()
    ]
    pairs = next(iter(found.values()))["pairs"]
    return "\n".join(
        [
            "# Measured properties of the playing and ratings", "",
            f"{result['performances']} performances of PercePiano from {result['groups']} groups of music, "
            f"explained by models that were not trained on their music; {pairs} pairs of the same bars. "
            f"Made by `{result['about']['command']}`.", "",
            "Correlation of rating differences with differences of effects (95 % bootstrap intervals over "
            "groups of music): of all properties, of the one with the largest difference, of a random one.",
            "", *markdown_table(["dimension", "all", "largest", "random", "gain", "offered"], rows), "",
            "Control: models fitted on the ratings of other performances. Means over dimensions, and the "
            "number of dimensions that would be offered:", "",
            *markdown_table(["labels", "all", "largest", "random", "gain", "offered"], control), "",
            f"Control: the {len(lost)} properties with the largest effects, each with its features permuted "
            "over the training performances of the first fold. Mean size of its effects over dimensions and "
            "held-out performances, and how often it is large enough to be named:", "",
            *markdown_table(["property", "size", "permuted", "named", "permuted"], lost), "",
            "Mean size of effects ± jackknife standard error (on 0-1):", "",
            *markdown_table(["dimension", *PROPERTIES], sizes), "",
        ]
    )  # fmt: skip


def _mean(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Mean correlations over dimensions."""
    each = list(rows)
    return [f"{np.mean([e[k]['value'] for e in each]):.2f}" for k in ("all", "largest", "random", "gain")]


if __name__ == "__main__":
    sys.exit(main())
