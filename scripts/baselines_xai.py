"""Baselines on a label map and its MIDI files: mean, look-up of names, and models on hand-made features.

Writes NAME.json (scores with intervals, configuration, commit, versions, seed, hashes of the data) and
NAME.md.
"""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from musicbert.command_line import Parser, exit_status, refuse_unused

EXAMPLES = """examples:
  python scripts/baselines_xai.py --labels midi_label_map_apex_reg_cls.json --midi data/segmented_midi.zip \\
      --split segment segment_clean content_8fold --task regression classes --output results/baselines_xai
  python scripts/baselines_xai.py --labels percepiano.json --midi data/segment_midi.zip \\
      --folds-file data/folds.json --split composition_strict4 performer_published --output
      results/baselines_pp
"""


def parser() -> Parser:
    """Make the command line."""
    make = Parser(description=__doc__, epilog=EXAMPLES)
    add = make.add_argument
    add("--labels", type=Path, required=True, help="label map of map_midi_to_label.py")
    add("--columns", help="column set of a label map without a side file")
    add("--midi", type=Path, required=True, help="zip archive or folder")
    add(
        "--split",
        dest="splits",
        metavar="SPLIT",
        nargs="+",
        required=True,
        help="splits (musicbert/evaluation/baselines/rating_baselines.py)",
    )
    add(
        "--folds-file",
        type=Path,
        help="folds.json, for splits by the names of its schemes; or a data-bin, for --split databin",
    )
    add("--task", dest="tasks", nargs="+", choices=("regression", "classes"), default=["regression"])
    add("--rows", nargs="+", help="baselines to run (default: all)")
    add(
        "--ratings", type=Path, help="table of ratings: the committee then uses rater means and counts raters"
    )
    add("--output", type=Path, required=True, help="result without its suffix")
    add("--about", default="", help="a sentence for the head of the table")
    add("--predictions", type=Path, help="folder for the predictions (DIR/<split>/<task>/...)")
    add("--cache", type=Path, help="folder where features are kept between runs")
    add(
        "--resamples",
        dest="n_resamples",
        metavar="N",
        type=int,
        default=1000,
        help="of the bootstrap (default: %(default)s)",
    )
    add("--seed", type=int, default=7)
    add(
        "--states",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="give the committee frozen states of these models, and of random weights of their sizes",
    )
    add("--random-seeds", type=int, default=1, help="random weights of each size (default: %(default)s)")
    add("--model", type=Path, help="fit the last row, a committee of ratings, on all segments; file for it")
    add("--extend", action="store_true", help="keep other rows and splits that OUTPUT.json has")
    return make


@exit_status
def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, run, write."""
    options = parser().parse_args(arguments)
    from musicbert.evaluation.baselines.rating_baselines import SPLITS, run_set

    if "regression" not in options.tasks:
        refuse_unused(options, ["ratings", "model"], "without --task regression")
    if not options.states:
        refuse_unused(options, ["random_seeds"], "without --states")
    if set(options.splits) <= set(SPLITS):
        refuse_unused(options, ["folds_file"], "by these splits, which are made here", fatal=False)
    command = ["python", "scripts/baselines_xai.py", *(arguments or sys.argv[1:])]
    del options.given
    models, twins = options.states, options.random_seeds
    del options.states, options.random_seeds
    states = {}
    if models:
        from musicbert.predict.state_blocks import open_descriptions

        states = open_descriptions(models, random_seeds=twins)
    run_set(**vars(options), states=states, command=command, progress=partial(print, flush=True))


if __name__ == "__main__":
    sys.exit(main())
