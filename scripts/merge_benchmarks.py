"""Put tables of `musicbert benchmark` together that were made by several calls, or on several machines.

Example: python scripts/merge_benchmarks.py runs/baselines runs/ME runs/VE --model m2bert-base \
    --output results/smc/m2bert-base
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
    parser.add_argument("parts", nargs="+", type=Path, help="folders with scores.json; later ones win")
    parser.add_argument("--output", type=Path, required=True, help="folder to write, may be one of the parts")
    parser.add_argument("--model", help="name of what was fine-tuned (that of the first part)")
    given = parser.parse_args(arguments)
    from task_merge import merge_benchmarks

    try:
        folder = merge_benchmarks(given.parts, given.output, model=given.model)
    except MusicBertError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"-> {folder}/scores.json, table.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
