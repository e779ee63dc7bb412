"""Pairs of phrases for melody completion (next) and accompaniment suggestion (acc): TASK_data_raw.

From PiRhDy's files (--pirhdy DIR, with context_next/ and context_acc/), or from any MIDI files that have a
melody and an accompaniment (--midi DIR or ZIP).

  python scripts/gen_nsp.py next --pirhdy PiRhDy/dataset
  python scripts/gen_nsp.py acc --midi POP909 --melody vocal
"""

import argparse
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from musicbert.command_line import Parser, exit_status, refuse_unused


def _shares(text: str) -> tuple[float, float, float]:
    train, valid, test = (float(part) for part in text.split(","))
    return train, valid, test


def _chosen(kind: type[Any], options: argparse.Namespace) -> Any:
    """Return the options of one dataclass; arguments have the names of its fields."""
    return kind(
        **{field.name: getattr(options, field.name) for field in fields(kind) if hasattr(options, field.name)}
    )


def _parser() -> Parser:
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("task", choices=("next", "acc"))
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pirhdy", type=Path, help="PiRhDy's dataset folder, or context_TASK itself")
    source.add_argument("--midi", type=Path, help="folder or zip of MIDI files")
    add("--output", type=Path, help="folder to write (default: TASK_data_raw)")
    add("--overwrite", action="store_true", help="replace an earlier raw set")
    add("--seed", type=int, default=7, help="seed of every draw (%(default)s)")
    add("--workers", type=int, default=1, help="processes; the result is the same (%(default)s)")
    add = parser.add_argument_group("from PiRhDy's files").add_argument
    add(
        "--valid-share",
        type=float,
        default=0.05,
        help="share of the training file for validation; 0 as published: validate on the test (%(default)s)",
    )
    add("--samples", type=int, default=0, help="train on so many pairs of lines only (0: all)")
    add("--test-groups", type=int, default=0, help="test on so many groups only (0: all)")
    add("--chords", help="another table of chords: JSON, or upstream's pickle, safely read")
    add = parser.add_argument_group("from MIDI files").add_argument
    add("--melody", help="track of the melody: its number or a part of its name (default: found)")
    add("--accompaniment", nargs="+", default=(), help="tracks of the accompaniment (default: all others)")
    add("--bars", type=int, default=4, help="bars of a phrase (%(default)s)")
    add("--fewest", type=int, default=4, help="fewest notes of a phrase (%(default)s)")
    add("--level-velocity", action="store_true", help="give all notes velocity 64")
    add("--shares", type=_shares, default=(0.8, 0.1, 0.1), help="songs for train,valid,test (0.8,0.1,0.1)")
    add("--negatives", type=int, default=1, help="false pairs for a true one in training (%(default)s)")
    add("--group", type=int, default=50, help="candidates of a test query (%(default)s)")
    add(
        "--others",
        choices=("song", "same"),
        default="song",
        help="false phrases: of other songs, or of the same song, which is harder (%(default)s)",
    )
    add("--most-queries", type=int, default=0, help="test queries at most (0: all)")
    return parser


@partial(exit_status, stopped="stopped; nothing was written")
def main(arguments: list[str] | None = None) -> None:
    """Parse the arguments, write, report."""
    parser = _parser()
    options = parser.parse_args(arguments)
    output = options.output or Path(f"{options.task}_data_raw")
    if options.workers < 1:
        parser.error("--workers is at least 1")
    from musicbert.corpus.sentences.pairs.convert import ConvertOptions, convert
    from musicbert.corpus.sentences.pairs.generate import GenerateOptions, generate
    from musicbert.corpus.sentences.pairs.phrases import PhraseOptions

    kinds = {"pirhdy": (ConvertOptions,), "midi": (GenerateOptions, PhraseOptions)}
    used = {source: {field.name for kind in kinds[source] for field in fields(kind)} for source in kinds}
    source, other = ("midi", "pirhdy") if options.pirhdy is None else ("pirhdy", "midi")
    refuse_unused(options, sorted(used[other] - used[source]), f"with --{source}")
    if options.task == "next":
        refuse_unused(options, ["accompaniment"], "by next, whose pairs are of melodies")
    if options.pirhdy is not None:
        inside = options.pirhdy / f"context_{options.task}"
        folder = inside if inside.is_dir() else options.pirhdy
        report = convert(
            folder / "train",
            folder / "test",
            output,
            _chosen(ConvertOptions, options),
            overwrite=options.overwrite,
            progress=True,
        )
    else:
        options.accompaniment = tuple(options.accompaniment)
        options.cut = _chosen(PhraseOptions, options)
        report = generate(
            options.midi,
            output,
            _chosen(GenerateOptions, options),
            overwrite=options.overwrite,
            progress=True,
        )
    print(f"{output}: {report.summary()}")


if __name__ == "__main__":
    sys.exit(main())
