"""Make a data-bin for masked-LM pre-training (the options of `musicbert build`, by their former names).

Example: python scripts/make_mlm_data.py --midi corpus/ --output corpus_data_bin --overlap 1
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from musicbert.cli import build


def main() -> int:
    """Pass the arguments on."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--midi", nargs="+", required=True, help="folders or archives")
    parser.add_argument("--output", type=Path, required=True, help="data-bin to write")
    parser.add_argument("--valid-share", type=float, default=0.02, help="share of the files (%(default)s)")
    given, others = parser.parse_known_args()
    shares = ["--shares", str(1 - given.valid_share), str(given.valid_share), "0"]
    command = [*given.midi, "--output", str(given.output), *shares, "--max-failure-rate", "1"]
    return build.main([*command, *others])


if __name__ == "__main__":
    sys.exit(main())
