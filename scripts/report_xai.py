"""Report of an experiment: its runs beside baselines and noise ceiling, as JSON, CSV, Markdown and pictures.

Runs lie as RUNS/fold<k>/seed<s>/{test,valid,train}.npz with a log.jsonl or train.log beside them. RUNS may
be the folder of a report: its predictions.npz is scored again.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from musicbert.command_line import Parser, exit_status, refuse_unused


def parser() -> Parser:
    """Make the command line."""
    make = Parser(description=__doc__)
    add = make.add_argument
    add("--runs", type=Path, required=True, help="folder of fold<k>/seed<s>")
    add("--labels", type=Path, required=True, help="label map that the data set was made from")
    add("--columns", help="column set of a label map without a side file")
    add("--out", type=Path, required=True, help="folder for the report")
    add("--task", choices=("regression", "classes"), default="regression")
    add("--name", default="", help="title (default: name of the folder of runs)")
    add("--baselines", type=Path, help="result of scripts/baselines_xai.py")
    add("--split", help="split of that result, such as content_8fold")
    add("--baseline-predictions", type=Path, help="DIR given to baselines_xai.py --predictions")
    add("--ceiling", type=Path, help="reliability.csv of map_midi_to_label.py --reliability")
    add("--ratings", type=Path, help="table of ratings: the noise ceiling of the segments that were tested")
    add("--kind", choices=("apex", "mean", "median"), help="kind of label, for its ceiling")
    add("--midi", type=Path, help="MIDI files: adds the hybrid of embeddings and features")
    add("--cache", type=Path, help="folder where features are kept between runs")
    add("--resamples", type=int, default=1000, help="of the bootstrap (default: %(default)s)")
    add("--seed", type=int, default=0)
    return make


@exit_status
def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, run, write."""
    make = parser()
    options = make.parse_args(arguments)
    if options.baselines and not options.split:
        make.error("--baselines needs --split")
    if options.task == "classes":
        refuse_unused(
            options, ["ceiling", "ratings", "kind"], "with --task classes: the ceiling is one of ratings"
        )
    if options.ratings is None:
        refuse_unused(options, ["kind"] if options.ceiling is None else [], "without --ceiling or --ratings")
    for name, needed in (("cache", "midi"), ("baseline_predictions", "baselines")):
        if getattr(options, needed) is None:
            refuse_unused(options, [name], f"without --{needed}")
    del options.given
    from musicbert.evaluation.reports.ratings import report_set

    command = ["python", "scripts/report_xai.py", *(arguments or sys.argv[1:])]
    print(json.dumps(report_set(command=command, **vars(options))))


if __name__ == "__main__":
    sys.exit(main())
