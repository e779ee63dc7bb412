"""Make a data-bin for masked-LM pre-training from folders or zip archives of MIDI files.

Example: python scripts/make_mlm_data.py --midi corpus/ --output corpus_data_bin --overlap 1
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from musicbert.corpus.pretraining import PretrainingOptions, build_pretraining
from musicbert.errors import MusicBertError


def main() -> int:
    """Parse the arguments, build, and tell what became of the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--midi", type=Path, nargs="+", required=True, help="folders or zip archives")
    parser.add_argument("--output", type=Path, required=True, help="data-bin to write")
    parser.add_argument("--window", type=int, default=1000, help="notes of a sequence (%(default)s)")
    parser.add_argument("--overlap", type=int, default=4, help="sequences a note is in (%(default)s)")
    parser.add_argument("--valid-share", type=float, default=0.02, help="share of the files (%(default)s)")
    parser.add_argument("--exclude", default="", help="regular expression of paths to leave out")
    parser.add_argument("--performance-input", action="store_true", help="write pedal and timing inputs")
    parser.add_argument("--seed", type=int, default=7, help="%(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier data-bin")
    given = parser.parse_args()
    try:
        options = PretrainingOptions(
            window=given.window,
            overlap=given.overlap,
            valid_share=given.valid_share,
            exclude=given.exclude,
            performance=given.performance_input,
            seed=given.seed,
        )
        summary = build_pretraining(given.midi, given.output, options, overwrite=given.overwrite)
    except (MusicBertError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    ok = summary.pop("ok")
    others = ", ".join(f"{number} {reason}" for reason, number in sorted(summary.items())) or "none"
    print(f"{ok} files written to {given.output}; left out: {others} (see ledger.jsonl)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
