"""Evaluate a fine-tuned checkpoint on one part of a rated data set: predictions, table, pictures.

bash scripts/eval_xai.sh --checkpoint checkpoints/RUN/checkpoint_best.pt --midi data/segment_midi.zip
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import baselines_xai
import eval_xai
import report_xai

from musicbert.annotation.folds import PARTS
from musicbert.command_line import Parser, exit_status, refuse_unused
from musicbert.errors import DatasetError
from musicbert.evaluation.predictions import PERFORMER, RATINGS, load_predictions
from musicbert.reuse import hold_folder, read_record

#: label of the predictions -> task of the report
TASKS = {RATINGS: "regression", PERFORMER: "classes"}


def _parser() -> Parser:
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="fine-tuned checkpoint")
    add("--data", default="xai_data_bin_apex_reg_cls", help="binarised data set (default: %(default)s)")
    add("--fold", default="0", help="fold of the data set (default: %(default)s)")
    add("--split", default="test", choices=PARTS, help="(default: %(default)s)")
    add("--output", type=Path, help="folder for the results (default: eval/ beside the checkpoint)")
    add(
        "--labels",
        type=Path,
        default=Path("midi_label_map_apex_reg_cls.json"),
        help="label map that the data set was made from (default: %(default)s)",
    )
    add(
        "--midi",
        type=Path,
        help="zip or folder of the performances: adds baselines on hand-made features, and the hybrid",
    )
    add(
        "--baselines",
        type=Path,
        help="where the result of the baselines is kept, without its suffix (default: in the output)",
    )
    add(
        "--reliability",
        type=Path,
        help="reliability.csv of map_midi_to_label.py --reliability: adds the noise ceiling",
    )
    return parser


@exit_status
def main(arguments: list[str] | None = None) -> int:
    """Predict and report; return the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.midi and given.split != "test":
        parser.error("--midi adds baselines on the test part: leave it out with another --split")
    if not given.midi:
        refuse_unused(given, ["baselines"], "without --midi, which baselines read")
    fold = Path(given.data) / given.fold
    for path, hint in (
        (given.checkpoint, "train first, with scripts/regression/finetuning.sh for example"),
        (fold / "input0", "make it with scripts/binarize_xai.sh"),
        (given.labels, "label map that the data set was made from (--labels)"),
    ):
        if not path.exists():
            print(f"error: {path} is missing: {hint}", file=sys.stderr)
            return 2
    out = given.output or given.checkpoint.parent / "eval"
    with hold_folder(out):
        return _evaluate(given, fold, out)


def _evaluate(given: argparse.Namespace, fold: Path, out: Path) -> int:
    """Predict, and write the reports, in a folder of this process."""
    run = out / "runs" / f"fold{given.fold}" / "seed0"
    if others := [path for path in (out / "runs").glob("fold*/seed*") if path != run]:
        message = f"It holds predictions of something else, which would count too: {others[0]}"
        raise DatasetError("output-exists", message, path=out, hint="choose another --output")
    logging.disable(logging.DEBUG)  # fairseq turns the loggers of all packages on
    for part in dict.fromkeys(("train", given.split)):
        words = [given.checkpoint, fold, "--split", part, "--output", run / f"{part}.npz"]
        if status := eval_xai.main([*map(str, words)]):
            return status
    if given.split != "test":
        shutil.copyfile(run / f"{given.split}.npz", run / "test.npz")
    log = given.checkpoint.with_name("train.log")
    if log.is_file():
        shutil.copyfile(log, run / log.name)
    return _report(given, fold, out, [TASKS[label] for label in load_predictions(run / "test.npz")])


def _report(given: argparse.Namespace, fold: Path, out: Path, tasks: list[str]) -> int:
    """Write a report for each task of the checkpoint, beside baselines where MIDI files are given."""
    words: list[object] = ["--runs", out / "runs", "--labels", given.labels]
    if "regression" not in tasks:
        refuse_unused(given, ["reliability"], "by a model that predicts no ratings", fatal=False)
    if given.midi:
        from musicbert.evaluation.baselines.rating_baselines import set_record

        baselines = given.baselines or out / "baselines"
        result = baselines.with_name(f"{baselines.name}.json")
        options = ["--labels", given.labels, "--midi", given.midi, "--split", "databin"]
        options += ["--folds-file", fold, "--task", "regression", "classes", "--output", baselines]
        asked = vars(baselines_xai.parser().parse_args([*map(str, options)]))
        kept = (read_record(result) or {}).get("made_from") == set_record(**asked)
        if not kept and (status := baselines_xai.main([*map(str, options)])):
            return status
        words += ["--midi", given.midi, "--baselines", result, "--split", "databin"]
    for task in tasks:
        name = f"{given.checkpoint.parent.name}, {task}"
        options = [*words, "--task", task, "--name", name, "--out", out / task]
        if given.reliability and task == "regression":
            options += ["--ceiling", given.reliability]
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            status = report_xai.main([*map(str, options)])
        if status:
            return status
        print(f"== {out / task / 'report.md'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
