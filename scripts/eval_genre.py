"""F1 and ROC-AUC of genre or style over all folds, beside baselines.

python scripts/eval_genre.py checkpoints/genre_topmagd_musicbert_base topmagd_data_bin
python scripts/eval_genre.py "checkpoints/fold{fold}.pt" topmagd_data_bin
python scripts/eval_genre.py topmagd_data_bin                     (baselines only)
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from musicbert.command_line import Parser, exit_status, refuse_unused


def _probes(names: list[str], device: str | None) -> dict[str, Any]:
    """Models by row, each followed by one of random weights."""
    import musicbert
    from musicbert.predict.sentences.databin import random_twin

    models = {}
    for name in names:
        for row in (f"probe of {Path(name).stem}", f"probe of {Path(name).stem}, random weights"):
            models[row] = musicbert.from_pretrained(name, device=device)
        models[row].module.load_state_dict(random_twin(models[row]), strict=False)
    return models


@exit_status
def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, score, report."""
    from musicbert.predict.sentences.scoring import Scoring, add_scoring_arguments

    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("checkpoint", nargs="*", help="--save-dirs of train_genre.sh, or files with {fold} in their path")
    add("data", type=Path, help="data-bin with a folder for each fold, such as topmagd_data_bin")
    add(
        "--probe",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="probe the embeddings of these models too, and of random weights of their sizes",
    )
    add(
        "--whole",
        action="store_true",
        help="probe all windows of each piece as well (mean and deviation), alone and with the features",
    )
    add_scoring_arguments(parser)
    options = parser.parse_args(arguments)
    if not options.probe:
        refuse_unused(options, ["whole"], "without --probe")
    if not options.checkpoint:
        refuse_unused(options, ["head"] if options.probe else ["head", "device"], "without a checkpoint")
        if not (options.baselines or options.probe):
            parser.error("--no-baselines leaves nothing to score without a checkpoint or --probe")

    from musicbert.evaluation.tables import row_table
    from musicbert.predict.sentences.genres import score_genres
    from musicbert.predict.sentences.scoring import find_fold_runs

    data = (
        options.data.parent if options.data.name in ("x", "{fold}") else options.data
    )  # as upstream takes it
    output = options.output or Path(f"{data.absolute().name}_scores")
    runs = {row: folds for path in options.checkpoint for row, folds in find_fold_runs(path).items()}
    rows = score_genres(
        data,
        output,
        checkpoints=runs,
        whole=options.whole,
        probes=_probes(options.probe, options.device),
        scoring=Scoring.from_arguments(options, ["scripts/eval_genre.py", *(arguments or sys.argv[1:])]),
    )
    print("\n".join(row_table(rows, ["micro_f1", "macro_f1", "roc_auc_micro", "roc_auc_macro", "exact"])))
    print(f"-> {output}/scores.{{json,csv,md}}")


if __name__ == "__main__":
    sys.exit(main())
