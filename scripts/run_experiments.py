r"""Train one recipe on every fold with several seeds, and predict; goes on where it was interrupted.

What follows `--` goes to fairseq-train. With `--plan FILE` each line of the file is the options of one
experiment, and all their runs share the workers.

Example: python scripts/run_experiments.py --data xai_data_bin_apex_reg_cls --output runs/plain \
    --seeds 1 2 3 --workers 2 -- --task xai --arch musicbert_tiny --criterion M2PFnP_xai ...
"""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from musicbert.command_line import Parser, exit_status, refuse_unused
from musicbert.reuse import hold_folder

if TYPE_CHECKING:
    from musicbert.fairseq_plugin.runs.engine import Run


def _parser() -> Parser:
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, help="data-bin with a folder for each fold")
    add("--output", type=Path, help="folder of the experiment")
    add("--plan", type=Path, help="file of several experiments, one a line")
    add("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds (1 2 3)")
    add("--folds", nargs="+", help="folds to run (all)")
    add("--parts", nargs="+", default=["test"], help="parts to predict (test)")
    add("--checkpoint", default="checkpoint_last.pt", help="which predicts (%(default)s)")
    add("--keep-checkpoints", action="store_true", help="do not delete them after predicting")
    add("--workers", type=int, default=1, help="runs at a time (%(default)s)")
    add("--threads", type=int, default=1, help="threads of one run (%(default)s)")
    add(
        "--search",
        nargs="+",
        default=[],
        help="alternatives of options for fairseq-train, one text each, such as '--lr 1e-4' '--lr 5e-4': the "
        "best on groups of the training part is taken for each fold, and OUT/fold<k>/search.json says why",
    )
    add(
        "--before",
        default="",
        help="options of a masked-LM training on the fold's own pieces that comes first",
    )
    return parser


def _runs(parser: Parser, words: list[str], plan: Path | None = None) -> tuple[argparse.Namespace, list[Run]]:
    """Parse the options of one experiment (of a line of a plan) and list its runs."""
    end = words.index("--") if "--" in words else len(words)
    given = parser.parse_args(words[:end])
    if plan is not None:
        refuse_unused(given, ["workers", "plan"], f"in a line of {plan}")
    if given.plan is not None:
        others = sorted(given.given - {"plan", "workers"})
        refuse_unused(given, others, "with --plan: each line of its file has its own")
        if words[end + 1 :]:
            parser.error("what follows -- is not used with --plan: each line of its file has its own")
        lines = filter(str.strip, given.plan.read_text(encoding="utf-8").splitlines())
        return given, [run for line in lines for run in _runs(parser, shlex.split(line), given.plan)[1]]
    if given.data is None or given.output is None:
        parser.error("--data and --output are required (or --plan)")
    from musicbert.fairseq_plugin.runs.plan import plan_folds

    return given, plan_folds(
        given.data,
        given.output,
        given.seeds,
        words[end + 1 :],
        folds=given.folds,
        parts=tuple(given.parts),
        checkpoint=given.checkpoint,
        keep_checkpoint=given.keep_checkpoints,
        threads=given.threads,
        before=tuple(shlex.split(given.before)),
        search=tuple(given.search),
    )


@exit_status
def main() -> int:
    """Parse the arguments, run, and tell what became of the runs."""
    from musicbert.fairseq_plugin.runs.engine import start_runs, summary
    from musicbert.fairseq_plugin.runs.search import choose_options

    given, runs = _runs(_parser(), sys.argv[1:])
    with ExitStack() as held:
        for folder in dict.fromkeys(run.out.parents[1] for run in runs):
            held.enter_context(hold_folder(folder))
        outcomes = start_runs(choose_options(runs, workers=given.workers), workers=given.workers)
    print(summary(outcomes))
    return 1 if any(outcome.error for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
