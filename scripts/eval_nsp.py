"""MAP, HITS@k and recall@k of melody completion (next) and accompaniment suggestion (acc), beside baselines.

python scripts/eval_nsp.py checkpoints/nsp_next_musicbert_base next_data_bin
python scripts/eval_nsp.py next_data_bin                          (chance and baselines only)
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from musicbert.command_line import Parser, exit_status, refuse_unused


@exit_status
def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, score, report."""
    from musicbert.predict.sentences.scoring import Scoring, add_scoring_arguments

    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("checkpoint", nargs="*", type=Path, help="checkpoints, or --save-dirs of train_nsp.sh")
    add("data", type=Path, help="data-bin, such as next_data_bin")
    add("--group", type=int, default=50, help="candidates of a query, for data that do not say (%(default)s)")
    add_scoring_arguments(parser)
    options = parser.parse_args(arguments)
    if not options.checkpoint:
        refuse_unused(options, ["head", "device"], "without a checkpoint")
        if not options.baselines:
            refuse_unused(options, ["seed"], "without a checkpoint and baselines")
    if (options.data / "label" / f"{options.part}.group").is_file():
        refuse_unused(options, ["group"], "with these data, which name the candidates of each query")

    from musicbert.evaluation.tables import row_table
    from musicbert.predict.sentences.pairs import score_pairs
    from musicbert.predict.sentences.scoring import find_runs

    output = options.output or Path(f"{options.data.absolute().name}_scores")
    runs = {row: path for checkpoint in options.checkpoint for row, path in find_runs(checkpoint).items()}
    rows = score_pairs(
        options.data,
        output,
        checkpoints=runs,
        group=options.group,
        scoring=Scoring.from_arguments(options, ["scripts/eval_nsp.py", *(arguments or sys.argv[1:])]),
    )
    print("\n".join(row_table(rows, ["map", "hits@1", "hits@5", "hits@10", "hits@25", "recall@1"])))
    print(f"-> {output}/scores.{{json,csv,md}}")


if __name__ == "__main__":
    sys.exit(main())
