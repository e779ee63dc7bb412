"""`musicbert index`: a folder of MIDI files described, to be searched by likeness."""

import argparse
import sys

DESCRIPTION = """Describe all MIDI files of a folder, so that `musicbert similar` finds what is most like some
music.

An index that is there already is brought up to date: only new and changed files are described, removed ones
are dropped. A run that was stopped continues where it was."""
EPILOG = """examples:
  musicbert index midi/ --output index
  musicbert index midi/ --output index-mini --model musicbert-mini
  musicbert similar piece.mid --index index

exit status: 0 done; 1 some files were left out (ledger.jsonl in the index says why); 2 all were, or bad
usage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert index`."""
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="folder, or zip archive, of MIDI files and written scores")
    add("--output", "-o", required=True, metavar="INDEX", help="folder of the index")
    add(
        "--model",
        default="features",
        help="features: counts of what is played, no network, the best in docs/similarity.md; or a folder, "
        "checkpoint file or name of a network such as musicbert-mini (%(default)s)",
    )
    add(
        "--layer", type=int, help="of a network: block whose states are taken, 0 is before the first (middle)"
    )
    add("--device", help="of a network: cpu, cuda, ... (a GPU if there is one)")
    add("--overwrite", action="store_true", help="replace an index of another model, layer or version")
    add("--quiet", action="store_true", help="no progress bar")


def run(options: argparse.Namespace) -> int:
    """Index; return the exit status."""
    from musicbert.similarity import index_folder

    update = index_folder(
        options.folder,
        options.output,
        model=options.model,
        layer=options.layer,
        device=options.device,
        overwrite=options.overwrite,
        progress=not options.quiet,
    )
    print(f"{options.output}: {update}", file=sys.stderr)
    return 0 if set(update.outcomes) == {"ok"} else 1
