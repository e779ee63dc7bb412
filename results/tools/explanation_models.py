r"""Fit the committees that `explanations_faithful.py` explains on music that they do not know.

Example: python results/tools/explanation_models.py --labels percepiano.json --midi \
    data/percepiano/segment_midi.zip --ratings data/percepiano/total.csv --folds-file \
    data/percepiano/folds.json --output models

For each fold of --split, OUTPUT/foldK holds ``profile`` (the profile of `musicbert analyse`, fitted on the
fold's training part: performances on a clock of their own), ``features.npz`` (a committee of features on the
clock of the files), and ``test.id``, the performances that neither was fitted on. Ranges and places in
``profile`` are those of the profile that ships: only its ratings are the fold's. A fold that is there
is left.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from explanation_factors import add_arguments, read_examples
from profile_model import fit, subset
from program import make_parser, report_errors, say
from threadpoolctl import threadpool_limits

from musicbert.analysis.model import load_profile_model, save_profile_model
from musicbert.annotation.label_map import LabelMap
from musicbert.atomic import write_text
from musicbert.evaluation.baselines.rated_examples import PLAYING, feature_table, load_examples, rater_means
from musicbert.evaluation.baselines.rating_baselines import baseline_folds
from musicbert.evaluation.predictions import RATINGS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code."""
    parser = make_parser(__doc__)
    add_arguments(parser)
    return report_errors(partial(_make, parser.parse_args(arguments)))


@threadpool_limits.wrap(limits=1)
def _make(options: Any) -> str:
    labels = LabelMap.load(options.labels)
    table, _ = feature_table(options.midi, PLAYING, labels=labels, cache=options.cache)
    kinds = {
        "profile": read_examples(options),
        "features": rater_means(load_examples(labels, table)[RATINGS], labels, options.ratings),
    }
    names = kinds["profile"].ids.tolist()
    folds = baseline_folds(options.split, names, folds_file=options.folds_file)
    # of features alone, which is what reasons are given for
    shipped = {key: value for key, value in load_profile_model().about.items() if key != "explained"}
    for number, fold in enumerate(folds.values()):
        folder = options.output / f"fold{number}"
        if (folder / "test.id").is_file():
            continue
        for kind, examples in kinds.items():
            train = np.flatnonzero(~np.isin(examples.ids, fold["test"]))
            model = fit("committee", subset(examples, train))
            if kind == "profile":
                save_profile_model(
                    folder / kind, model, {**shipped, "name": f"profile without fold {number}"}
                )
            else:
                model.save(folder / f"{kind}.npz")
        write_text(folder / "test.id", "".join(f"{name}\n" for name in fold["test"]))
        say(f"fold {number} is fitted")
    return f"{len(folds)} folds in {options.output}"


if __name__ == "__main__":
    sys.exit(main())
