"""Gather the pieces that weights to be given away may be pre-trained on, and say why others are left out.

Example: python scripts/pretrain/choose_pieces.py pretrain_small --asap asap-dataset \
    --held-out PM2S/dev/metadata/metadata.csv --output licensed
"""

import argparse
import collections
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pretraining_pieces import choose, held_out_asap

from musicbert.corpus.files.folders import build_directory
from musicbert.errors import MusicBertError


def main() -> int:
    """Parse the arguments, copy the files that are taken, write the ledger."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("collection", type=Path, help="folder with manifest.csv")
    parser.add_argument("--asap", type=Path, help="whole ASAP data set, in place of the collection's part")
    parser.add_argument("--held-out", type=Path, help="table of PM2S, whose test compositions are left out")
    parser.add_argument("--piano", action="store_true", help="leave out the band arrangements (lmd)")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    given = parser.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    try:
        held_out = held_out_asap(given.held_out) if given.held_out else set()
        with build_directory(given.output) as partial, (partial / "choice.jsonl").open("w") as ledger:
            for each in choose(given.collection, given.asap, held_out):
                reason = each.reason
                if reason is None and given.piano and each.name.startswith("lmd/"):
                    reason = "no piano music"
                line = {"file": each.name, "licence": each.licence, "reason": reason}
                ledger.write(json.dumps(line) + "\n")
                counts[reason or f"taken: {each.name.partition('/')[0]}"] += 1
                if reason is None:
                    target = partial / each.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(each.path, target)
    except MusicBertError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for reason, count in sorted(counts.items()):
        print(f"{count:6d}  {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
