"""Put the scores of one data set together that were made in several calls, or on several machines.

Example: python scripts/merge_scores.py results/downstream/next_midi runs/init runs/scratch \
    --output results/downstream/next_midi
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from musicbert.errors import MusicBertError


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", type=Path, help="folders with scores.json; later rows win")
    parser.add_argument("--output", type=Path, required=True, help="folder to write, may be one of the parts")
    parser.add_argument(
        "--rename",
        nargs="+",
        default=[],
        metavar="OLD=NEW",
        help="beginnings of rows of later parts",
    )
    parser.add_argument("--note", nargs="+", default=[], help="sentences to put below the heading")
    parser.add_argument(
        "--drop",
        nargs="+",
        default=[],
        metavar="BEGINNING",
        help="beginnings of rows and sentences of the first part that are left out",
    )
    given = parser.parse_args(arguments)
    if any("=" not in each for each in given.rename):
        parser.error("--rename takes OLD=NEW")
    from score_merge import merge_scores

    names = dict(each.split("=", 1) for each in given.rename)
    try:
        folder = merge_scores(given.parts, given.output, names=names, notes=given.note, drop=given.drop)
    except MusicBertError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"-> {folder}/scores.{{json,csv,md}}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
