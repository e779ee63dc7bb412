r"""Train one recipe on every fold with several seeds, and predict; goes on where it was interrupted.

What follows `--` goes to fairseq-train.

Example: python scripts/run_experiments.py --data xai_data_bin_apex_reg_cls --output runs/plain \
    --seeds 1 2 3 --workers 2 -- --task xai --arch musicbert_tiny --criterion M2PFnP_xai ...
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from musicbert.errors import MusicBertError
from musicbert.fairseq_plugin.experiments import plan, run_all, summary


def main() -> int:
    """Parse the arguments, run, and tell what became of the runs."""
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    own, arguments = sys.argv[1:end], sys.argv[end + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="data-bin with a folder for each fold")
    parser.add_argument("--output", type=Path, required=True, help="folder of the experiment")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds (1 2 3)")
    parser.add_argument("--folds", nargs="+", help="folds to run (all)")
    parser.add_argument("--parts", nargs="+", default=["test"], help="parts to predict (test)")
    parser.add_argument("--checkpoint", default="checkpoint_last.pt", help="which predicts (%(default)s)")
    parser.add_argument("--keep-checkpoints", action="store_true", help="do not delete them after predicting")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of one run (%(default)s)")
    given = parser.parse_args(own)
    try:
        runs = plan(
            given.data,
            given.output,
            given.seeds,
            arguments,
            folds=given.folds,
            parts=given.parts,
            checkpoint=given.checkpoint,
            keep_checkpoint=given.keep_checkpoints,
            threads=given.threads,
        )
    except MusicBertError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    outcomes = run_all(runs, workers=given.workers)
    print(summary(outcomes))
    return 1 if any(outcome.error for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
