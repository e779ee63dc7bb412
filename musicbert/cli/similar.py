"""`musicbert similar`: the pieces or bars of an index that are most like some music."""

import argparse
import json
import sys

from musicbert.cli.inputs import bar_range, read_channels

DESCRIPTION = "Find the pieces, or the bars, of an index that are most like some music."
EPILOG = """examples:
  musicbert similar piece.mid --index index
  musicbert similar piece.mid --index index --bars 5-8
  musicbert similar piece.mid --index index --bars 5-8 --of pieces --top 3
  musicbert similar piece.mid --index index --any-key

A line an answer, the most alike first: likeness (1: the same), file, bars. Bars count from 1, as in a score
(in a recording without bar lines, bars of its own tempo and metre events). A file with the bytes of the query
is marked "the same file". Music in another key is less alike: --any-key tries all twelve."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert similar`."""
    add = parser.add_argument
    add("input", metavar="INPUT", help="MIDI file")
    add("--index", required=True, metavar="INDEX", help="folder that `musicbert index` wrote")
    add("--bars", type=bar_range, metavar="FIRST-LAST", help="only these bars, from 1, such as 5-8 (all)")
    add(
        "--of",
        choices=("pieces", "bars"),
        help="what is looked for: whole pieces, or passages as long as --bars (bars where --bars is given)",
    )
    add("--top", type=int, default=10, help="answers (%(default)s)")
    add("--any-key", action="store_true", help="try the music in all twelve keys")
    add(
        "--whiten", action=argparse.BooleanOptionalAction,
        help="directions in which the index varies most count no more than others (with a network: yes)",
    )  # fmt: skip
    add("--model", help="network of the index, if it has moved since")
    add("--device", help="of a network: cpu, cuda, ... (a GPU if there is one)")
    add("--json", action="store_true", help="print the answers as JSON")


def run(options: argparse.Namespace) -> int:
    """Search and print; return the exit status."""
    from musicbert.similarity import open_index
    from musicbert.similarity.search import STANDARD

    index = open_index(options.index, model=options.model, device=options.device, whiten=options.whiten)
    whole = options.of == "pieces" or (options.of is None and options.bars is None)
    if whole and len(index) < STANDARD:
        print(
            f"note: an index of {len(index)} pieces, fewer than {STANDARD}, is compared without knowing what "
            "is usual: likeness is coarse",
            file=sys.stderr,
        )
    read_channels(options.input, options)  # says what is left aside
    answers = index.query(
        options.input, bars=options.bars, top=options.top, of=options.of, any_key=options.any_key
    )
    if options.json:
        json.dump([vars(answer) for answer in answers], sys.stdout, indent=2)
        print()
        return 0
    for answer in answers:
        notes = [f"bars {answer.bars[0]}-{answer.bars[1]}"] if answer.bars else []
        notes += ["the same file"] if answer.same_file else []
        notes += [f"query {answer.semitones:+d} semitones"] if answer.semitones else []
        print("  ".join([f"{answer.likeness:6.3f}", answer.file, *notes]))
    return 0
