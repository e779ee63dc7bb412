#!/usr/bin/env python
"""Make labels from annotators' ratings: ``python map_midi_to_label.py --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from musicbert.annotation.dimensions import RATING_SETS
from musicbert.annotation.files import FORMATS, write_whole
from musicbert.annotation.labels import make_labels
from musicbert.annotation.rating_rows import all_ratings
from musicbert.annotation.reliability import reliability_markdown, reliability_table
from musicbert.annotation.selection import LabelOptions
from musicbert.annotation.table import RatingTable, read_ratings
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

A published name is the LOW pole: a low "Convincing" means convincing. Both poles are in <output>.meta.json.
"""

DEFAULT_NAMES = {
    "apex": "midi_label_map_apex_reg_cls",
    "mean": "midi_label_map_mean_reg_cls",
    "median": "midi_label_map_median_reg_cls",
    "stdev": "midi_label_map_stdev",
    "all": "midi_label_map",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    make = argparse.ArgumentParser(
        prog="map_midi_to_label.py",
        description="Turn a table of ratings (XAI-music or PercePiano CSV) into one row of labels a segment.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        default="row",
        help="where a question has no answer (0 or blank): drop the row as published, or mask the cell",
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
        help="second rows of one (user, dataID); auto: an error, but PercePiano's published ones count twice",
    )
    make.add_argument(
        "--reliability", type=Path, metavar="DIR", help="write how far raters agree to this folder"
    )
    return make


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
    write_whole(target.with_suffix(".md"), reliability_markdown(frame).encode())
    try:
        from musicbert.viz import reliability_plot
    except ImportError as error:
        print(f"no picture of the reliabilities: {error}")
    else:
        reliability_plot(frame, target.with_suffix(".png"))
    print(f"reliabilities: {target.with_suffix('')}.*")


def run(args: argparse.Namespace) -> None:
    """Make and write the labels."""
    options = LabelOptions(
        label=args.label,
        columns=args.columns,
        zeros=args.zeros,
        min_raters=args.min_raters,
        drop_high_stdev=args.drop_high_stdev,
        center_raters=args.center_raters,
        classes=args.classes,
        merge_scores=args.merge_scores,
    )
    output = args.output or Path(f"{DEFAULT_NAMES[args.label]}.{args.format or 'json'}")
    table = read_ratings(args.csv, duplicates=args.duplicates)
    made, report = (all_ratings if args.label == "all" else make_labels)(table, options)
    made.save(output, format=args.format)
    if args.reliability:
        write_reliability(table, args)
    print(f"{output}: {len(made)} segments, {len(made.dimensions)} dimensions, label {args.label}")
    print(report.summary())


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 2 for bad usage or bad input (one line on standard error)."""
    args = parser().parse_args(arguments)
    try:
        run(args)
    except RatingError as error:
        print(f"map_midi_to_label.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
