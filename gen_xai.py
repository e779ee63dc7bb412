"""Make the raw rating data set from a label map and MIDI files (see musicbert/corpus/ratings/build.py)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from musicbert.annotation.splits import RULES
from musicbert.command_line import Parser, exit_status
from musicbert.corpus.ratings.build import LABELS, MIDI_NAMES, OUTPUT, SplitOptions, build, find_default
from musicbert.corpus.ratings.piece import EncodeOptions


def _parser() -> Parser:
    parser = Parser(description=__doc__, epilog="Next: bash scripts/binarize_xai.sh xai", allow_abbrev=False)
    files = parser.add_argument_group("files")
    files.add_argument("--labels", type=Path, help=f"label map (default: {LABELS}, here or in data/)")
    files.add_argument(
        "--midi", type=Path, help=f"zip archive or folder (default: the first of {', '.join(MIDI_NAMES)})"
    )
    files.add_argument("--output", type=Path, default=Path(OUTPUT), help="folder to write (%(default)s)")
    files.add_argument("--overwrite", action="store_true", help="replace an earlier data set")
    files.add_argument(
        "--columns", help="column set of a label map without side file (published, mnskim, ...)"
    )

    split = parser.add_argument_group("split")
    split.add_argument(
        "--split",
        choices=[rule.replace("_", "-") for rule in RULES],
        type=lambda text: text.replace("_", "-"),
        help="segment (the default of the published segments) repeats training music in its test; "
        "k-fold (the default of other studies) does not",
    )
    split.add_argument(
        "--group-column",
        metavar="NAME",
        help="what is kept together, of the columns given to map_midi_to_label.py --group-column (its first)",
    )
    split.add_argument("--folds", type=int, metavar="N", help="folds of k-fold (8) and random (1)")
    split.add_argument(
        "--performers",
        nargs="+",
        metavar="NAME",
        help="test performers of --split performer (default: each in turn)",
    )
    split.add_argument(
        "--folds-file",
        metavar="FILE[:NAME]",
        help="folds from a file instead (musicbert/corpus/splits/fold_files.py)",
    )
    split.add_argument(
        "--valid",
        choices=("groups", "none"),
        default="groups",
        help="validation: whole groups out of training, or none (the published two-way split)",
    )
    split.add_argument("--seed", type=int, default=7, help="seed of every choice (%(default)s)")

    encoding = parser.add_argument_group("encoding")
    encoding.add_argument(
        "--bar-offset",
        choices=("random", "zero"),
        default="random",
        help="first bar (%(default)s)",
    )
    encoding.add_argument(
        "--performance-input", action="store_true", help="also write pedal and timing of every note"
    )
    encoding.add_argument(
        "--neutralise-tempo-metre",
        action="store_true",
        help="put all on one clock (4/4, 120 BPM, onset 0): tempo and metre give away who plays",
    )
    encoding.add_argument(
        "--reader", choices=("symusic", "miditoolkit"), default="symusic", help="MIDI parser"
    )
    encoding.add_argument("--workers", type=int, default=1, help="processes (%(default)s)")
    return parser


@partial(exit_status, stopped="stopped; nothing was written")
def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments and run the command."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for name in ("workers", "folds"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if options.seed < 0:
        parser.error("--seed must not be negative")
    report = build(
        options.labels or find_default([LABELS]),
        options.midi or find_default(MIDI_NAMES),
        options.output,
        encoding=EncodeOptions(
            seed=options.seed,
            bar_offset=options.bar_offset,
            performance=options.performance_input,
            neutralise=options.neutralise_tempo_metre,
            reader=options.reader,
        ),
        split=SplitOptions(
            rule=options.split
            and (options.split if options.split == "k-fold" else options.split.replace("-", "_")),
            group_column=options.group_column,
            folds_file=options.folds_file,
            n_folds=options.folds,
            performers=tuple(options.performers) if options.performers else None,
            seed=options.seed,
            valid=options.valid,
        ),
        columns=options.columns,
        workers=options.workers,
        overwrite=options.overwrite,
        progress=True,
    )
    print(f"{options.output}: every file's outcome is in ledger.jsonl")
    print(report.summary())


if __name__ == "__main__":
    sys.exit(main())
