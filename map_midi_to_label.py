#!/usr/bin/env python
"""Make labels from annotators' ratings: ``python map_midi_to_label.py --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musicbert.annotation.dimensions import RATING_SETS
from musicbert.annotation.files import FORMATS, write_whole
from musicbert.annotation.labels import make_labels
from musicbert.annotation.names import cell_number
from musicbert.annotation.rating_rows import all_ratings
from musicbert.annotation.reliability import reliability_markdown, reliability_table
from musicbert.annotation.selection import LabelOptions
from musicbert.annotation.study.answers import LAYOUTS, NUMBER_FORMATS, StudyOptions
from musicbert.annotation.study.read import read_study
from musicbert.annotation.table import RatingTable, read_ratings
from musicbert.command_line import Parser, exit_status
from musicbert.errors import RatingError

EXAMPLES = """\
examples:
  python map_midi_to_label.py
      published labels (apex, 25 dimensions) from data/total.csv
  python map_midi_to_label.py --label mean --zeros cell --center-raters --output labels.json
      the least noisy labels: only unanswered cells are masked, each rater's own mean is subtracted
  python map_midi_to_label.py --columns mnskim --drop-high-stdev
      the other published set of 25 columns, without segments whose raters disagree
  python map_midi_to_label.py --columns "Fast paced,Soft,Question_3_1_1" --format csv
      an own list of questions, as a table
  python map_midi_to_label.py --csv total_2rounds.csv --label mean --zeros cell --reliability reports
      PercePiano's 19 dimensions; how far its raters agree goes to reports/reliability.{csv,md,png}

  python map_midi_to_label.py --csv ratings.csv --rater-column rater --file-column piece --scale 1 9 \\
          --dimensions dimensions.yaml --group-column work --label mean
      a study of your own, here one row a rater and piece; docs/own-study.md shows the other layouts

A published name is the LOW pole: a low "Convincing" means convincing. Both poles are in <output>.meta.json.
"""

DEFAULT_NAMES = {
    "apex": "midi_label_map_apex_reg_cls",
    "mean": "midi_label_map_mean_reg_cls",
    "median": "midi_label_map_median_reg_cls",
    "stdev": "midi_label_map_stdev",
    "all": "midi_label_map",
}


def parser() -> Parser:
    """The command line."""
    make = Parser(
        prog="map_midi_to_label.py",
        description="Turn a table of ratings (published or any other) into one row of labels a piece.",
        epilog=EXAMPLES,
    )
    make.add_argument(
        "--csv", type=Path, default=Path("data/total.csv"), help="ratings (default: %(default)s)"
    )
    make.add_argument(
        "--output", type=Path, help="label map (default: midi_label_map_apex_reg_cls.json for apex)"
    )
    make.add_argument("--format", choices=sorted(FORMATS.values()), help="default: by the suffix of --output")
    make.add_argument(
        "--label", choices=sorted(DEFAULT_NAMES), default="apex", help="default: apex, as published"
    )
    sets = ", ".join(dict.fromkeys(name for study in RATING_SETS.values() for name in study.columns))
    make.add_argument(
        "--columns", help=f"{sets}; or a comma-separated list (default: published; full for --label all)"
    )
    make.add_argument(
        "--zeros",
        choices=("row", "cell"),
        help="where a question has no answer: drop the row (default of published formats), "
        "or mask the cell (default of other studies)",
    )
    make.add_argument("--min-raters", type=int, default=1, metavar="N", help="fewest ratings (default: 1)")
    make.add_argument("--drop-high-stdev", action="store_true", help="drop segments whose raters disagree")
    make.add_argument(
        "--center-raters", action="store_true", help="subtract each rater's mean of each question"
    )
    make.add_argument(
        "--classes",
        choices=("appearance", "sorted"),
        default="appearance",
        help="number performers by first appearance (published) or sorted",
    )
    make.add_argument(
        "--merge-scores", action="store_true", help="PercePiano: 13 Score segments become Score2"
    )
    make.add_argument(
        "--duplicates",
        choices=("auto", "error", "keep", "drop"),
        default="auto",
        help="second rows of one (user, dataID), or of a rater and piece: error, both count "
        "(keep), or equal ones count once (drop); auto: an error, but those of PercePiano count twice",
    )
    make.add_argument(
        "--preset",
        metavar="NAME",
        help=f"read the table as one of {', '.join(RATING_SETS)}, whatever its columns",
    )
    make.add_argument(
        "--reliability", type=Path, metavar="DIR", help="write how far raters agree to this folder"
    )
    _add_study(make.add_argument_group("a study of your own", "docs/own-study.md"))
    return make


def _add_study(group: Any) -> None:
    """Add the options of `StudyOptions`; their names are ``study_<field>``."""

    def add(*flags: str, name: str, **options: Any) -> None:
        group.add_argument(*flags, dest=f"study_{name}", **options)

    add(
        "--scale",
        name="scale",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="lowest and highest rating",
    )
    add("--rater-column", name="rater", metavar="NAME", help="who rated")
    add("--file-column", "--piece-column", name="file", metavar="NAME", help="what was rated: names of files")
    add("--dimension-column", name="dimension", metavar="NAME", help="one row a rating: what is rated")
    add("--value-column", name="value", metavar="NAME", help="one row a rating: the rating")
    add("--layout", name="layout", choices=LAYOUTS, help="default: follows from the columns that are named")
    add(
        "--group-column", name="groups", nargs="+", metavar="NAME", help="pieces that share music, for splits"
    )
    add("--performer-column", name="performer", metavar="NAME", help="who plays")
    add(
        "--dimensions", name="dimensions", metavar="FILE",
        help=".yaml or a table: column, name, low, high (the poles), reversed, lowest, highest (its scale)",
    )  # fmt: skip
    add(
        "--pieces", name="pieces", metavar="TABLE",
        help="a row a piece: file, piece (its name in the ratings), groups, performer",
    )  # fmt: skip
    add(
        "--pattern", name="pattern", metavar="TEXT",
        help="columns of a survey, such as '{piece}_{dimension}' or 'Q{any}_{dimension} - {piece}'",
    )  # fmt: skip
    add(
        "--missing-values", name="missing", nargs="+", metavar="VALUE", help="no answer, such as 99 or 'k.A.'"
    )
    add("--answers", name="answers", nargs="+", metavar="WORDS=NUMBER", help="answers in words")
    add(
        "--numbers", name="numbers", nargs="+", choices=NUMBER_FORMATS,
        help="accept 3,5; or 50%%; or '7 - very much'",
    )  # fmt: skip
    add(
        "--ignore",
        name="ignore",
        nargs="+",
        metavar="NAME",
        help="columns, dimensions and pieces to leave out",
    )
    add("--drop-raters", name="drop_raters", nargs="+", metavar="NAME", help="raters to leave out")
    add("--keep-test-rows", name="keep_tests", action="store_true", default=None,
        help="count rows that Qualtrics and SoSci mark as previews, tests or spam")  # fmt: skip
    add("--header-rows", name="header_rows", type=int, metavar="N", help="default: 1, of Qualtrics 3")
    add("--names-row", name="names_row", type=int, metavar="N", help="header row with the names (default: 1)")


def study_options(args: argparse.Namespace) -> StudyOptions | None:
    """Options of a study of one's own; None for a published format.

    Raises `RatingError`: ``bad-option``.
    """
    given = {
        name.removeprefix("study_"): tuple(value) if isinstance(value, list) else value
        for name, value in vars(args).items()
        if name.startswith("study_") and value is not None
    }
    if not given:
        return None
    if "scale" not in given:
        raise RatingError("bad-option", "the scale of the ratings is not known", hint="such as --scale 1 9")
    if args.preset or args.merge_scores:
        raise RatingError("bad-option", "--preset and --merge-scores belong to published formats")
    if not given.get("rater") and given.get("file") and (args.reliability or args.center_raters):
        raise RatingError("bad-option", "how far raters agree is only known with a --rater-column")
    if "answers" in given:
        pairs = [text.rpartition("=")[::2] for text in given["answers"]]
        try:
            given["answers"] = {words: cell_number(number) for words, number in pairs}
        except ValueError as error:
            raise RatingError("bad-option", f"--answers: {error}", hint="WORDS=NUMBER") from error
        if "" in given["answers"]:
            raise RatingError("bad-option", "--answers: a number without words", hint="WORDS=NUMBER")
    if args.columns and not given.get("dimensions"):
        given["columns"] = tuple(name.strip() for name in args.columns.split(",") if name.strip())
    if args.duplicates != "auto":
        given["duplicates"] = args.duplicates
    return StudyOptions(**given)


def write_reliability(table: RatingTable, args: argparse.Namespace) -> None:
    """Write the table of reliabilities as CSV and Markdown, and a picture where matplotlib is installed."""
    frame = reliability_table(table, columns=args.columns, center_raters=args.center_raters)
    try:
        args.reliability.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RatingError(
            "cannot-write", f"no such folder: {error.strerror}", path=args.reliability
        ) from error
    target = args.reliability / "reliability.csv"
    write_whole(target, frame.to_csv(lineterminator="\n").encode())
    write_whole(target.with_suffix(".md"), reliability_markdown(frame, table.study.scale).encode())
    try:
        from musicbert.viz import reliability_plot
    except ImportError as error:
        print(f"no picture of the reliabilities: {error}")
    else:
        reliability_plot(frame, target.with_suffix(".png"))
    print(f"reliabilities: {target.with_suffix('')}.*")


def run(args: argparse.Namespace) -> None:
    """Make and write the labels."""
    study = study_options(args)
    options = LabelOptions(
        label=args.label,
        columns=args.columns,
        zeros=args.zeros or ("row" if study is None else "cell"),
        min_raters=args.min_raters,
        drop_high_stdev=args.drop_high_stdev,
        center_raters=args.center_raters,
        classes=args.classes,
        merge_scores=args.merge_scores,
    )
    output = args.output or Path(f"{DEFAULT_NAMES[args.label]}.{args.format or 'json'}")
    if study is None:
        table = read_ratings(args.csv, duplicates=args.duplicates, preset=args.preset)
    else:
        table = read_study(args.csv, study)
    for note in table.notes:
        print(f"{args.csv}: {note}")
    made, report = (all_ratings if args.label == "all" else make_labels)(table, options)
    made.save(output, format=args.format)
    if args.reliability:
        write_reliability(table, args)
    print(f"{output}: {len(made)} segments, {len(made.dimensions)} dimensions, label {args.label}")
    print(report.summary())


@exit_status
def main(arguments: Sequence[str] | None = None) -> None:
    """Exit status: 0, or 2 for bad usage or bad input (one line on standard error)."""
    run(parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
