"""R² of networks on the same pieces, with intervals over groups of music, and the paired difference of two.

Example: python results/tools/compare_predictions.py results/levers/frozen.npz results/levers/free.npz \
    --output results/levers/scores.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from program import die, make_parser

from musicbert.atomic import write_json
from musicbert.evaluation.metrics.bootstrap import group_numbers, interval, resample
from musicbert.evaluation.metrics.regression import regression_draws
from musicbert.evaluation.predictions import RATINGS, load_predictions


def scores(paths: list[Path], resamples: int = 2000) -> dict[str, object]:
    """Scores of each file of predictions, and the first minus each other one."""
    found = {path.stem: load_predictions(path)[RATINGS] for path in paths}
    first = next(iter(found.values()))
    if any(one.ids.tolist() != first.ids.tolist() for one in found.values()):
        die("the files predict other pieces")
    group, count = group_numbers(first.groups)
    weights = resample(count, n_resamples=resamples)
    draws = {
        name: regression_draws(one.target, one.outputs, weights=weights, group=group)["r2"]
        for name, one in found.items()
    }
    base, *others = draws
    return {
        "pieces": len(first.ids),
        "groups": count,
        "resamples": resamples,
        "r2": {name: interval(values).as_dict() for name, values in draws.items()},
        "difference": {f"{base} - {name}": interval(draws[base] - draws[name]).as_dict() for name in others},
    }


def main(arguments: list[str] | None = None) -> int:
    """Write the scores."""
    given = _parser().parse_args(arguments)
    write_json(given.output, scores(given.predictions, given.resamples))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    parser.add_argument("predictions", nargs="+", type=Path, help="files of predictions of ratings")
    parser.add_argument("--output", type=Path, required=True, help="JSON to write")
    parser.add_argument("--resamples", type=int, default=2000, help="of the groups")
    return parser


if __name__ == "__main__":
    sys.exit(main())
