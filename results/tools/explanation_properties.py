r"""Whether measured properties that explain the profile agree with ratings, and how noisy they are.

Example: python results/tools/explanation_properties.py --labels percepiano.json --midi \
    data/percepiano/segment_midi.zip --ratings data/percepiano/total.csv --folds-file \
    data/percepiano/folds.json --output results/explanations/properties

As `explanation_factors.py`, with the properties of `musicbert.explanation.properties` instead of factors:
the same performances, the same pairs of the same bars, models that were not trained on their music. Compared
are differences of ratings with differences of effects: of the property with the largest difference, and of a
random one. The notes themselves are left out, since they are the same in both. A dimension is offered where
the first correlates better on all but 2.5 % of bootstrap resamples over groups of music.

Writes OUTPUT.json and OUTPUT.md, and --package, the file that the package reads: the noise of each effect and
which dimensions are offered.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from explanation_factors import (
    SEED,
    add_arguments,
    agreement,
    choose,
    fold_models,
    jackknife,
    read_examples,
)
from program import make_parser, report_errors, say
from threadpoolctl import threadpool_limits

from musicbert.annotation.names import parse_segment
from musicbert.atomic import write_json, write_text
from musicbert.evaluation.baselines.rated_examples import same_bars
from musicbert.evaluation.tables import markdown_table
from musicbert.explanation.properties import NOTES, PROPERTIES, effects_of
from musicbert.provenance import provenance


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
    table = []
    for number, model in enumerate(models):
        table.append(effects_of(model, examples.features[chosen])[2])
        say(f"explained by model {number}")
    effects = np.array(table)  # (g, m, G, d)
    held_out = effects[tested, np.arange(len(chosen))]  # (m, G, d)
    noise = np.sqrt((jackknife(effects) ** 2).mean(0))  # (G, d)
    names = [parse_segment(name) for name in examples.ids[chosen].tolist()]
    bars, groups = [same_bars(name) for name in names], examples.groups[chosen].astype(str).tolist()
    playing = [k for k, name in enumerate(PROPERTIES) if name != NOTES]
    words = [list(PROPERTIES)[k] for k in playing]
    found = {}
    for d, name in enumerate(examples.classes):
        of_playing = held_out[:, playing, d]
        found[name] = {
            **agreement(of_playing, examples.target[chosen, d], bars, groups, words),
            "noise": dict(zip(PROPERTIES, noise[:, d].round(5).tolist(), strict=True)),
            "size": dict(zip(PROPERTIES, np.abs(held_out[:, :, d]).mean(0).round(5).tolist(), strict=True)),
        }
        found[name]["offered"] = found[name]["gain"]["low"] > 0
    inputs = {"labels": options.labels, "midi": options.midi, "ratings": options.ratings}
    command = ["python", "results/tools/explanation_properties.py", *arguments]
    about = provenance(command, inputs=inputs, seed=SEED)
    result = {"about": about, "performances": len(chosen), "groups": len(set(groups)), "dimensions": found}
    write_json(options.output.with_suffix(".json"), result)
    text = page(result)
    write_text(options.output.with_suffix(".md"), text)
    if options.package is not None:
        keys = ("noise", "offered")
        write_json(options.package, {name: {key: each[key] for key in keys} for name, each in found.items()})
    return text


def page(result: Mapping[str, Any]) -> str:
    """Tables of the result."""
    found = result["dimensions"]
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
            "Mean size of effects ± jackknife standard error (on 0-1):", "",
            *markdown_table(["dimension", *PROPERTIES], sizes), "",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
