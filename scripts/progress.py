"""Show fairseq's JSON log on standard input as a progress bar; errors and warnings stay as they are.

Example: fairseq-train ... --log-format json 2>&1 | python scripts/progress.py --updates 7000
"""

from __future__ import annotations

import argparse
import json
import re
import sys

from tqdm import tqdm

STATS = re.compile(r"\| (train_inner|train|valid) \| (\{.*\})\s*$")
LOUD = re.compile(
    r"weights:|No existing checkpoint|Loaded checkpoint|\| WARNING \||^error|Error", re.IGNORECASE
)


def main() -> int:
    """Read the log to its end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--updates", type=int, required=True, help="updates in all")
    given = parser.parse_args()
    trace = False
    shown: dict[str, str] = {}
    with tqdm(total=given.updates, unit="update") as bar:
        for line in sys.stdin:
            found = STATS.search(line)
            trace = trace or line.startswith("Traceback")
            if found is None:
                if trace or LOUD.search(line):
                    bar.write(line.rstrip())
                continue
            part, values = found.group(1), json.loads(found.group(2))
            updates = (
                values.get("num_updates")
                or values.get("train_num_updates")
                or values.get("valid_num_updates")
            )
            if updates is not None:
                bar.update(max(int(float(updates)) - bar.n, 0))
            prefix = "valid_" if part == "valid" else ("train_" if part == "train" else "")
            for name in ("loss", "R2", "accuracy"):
                if f"{prefix}{name}" in values:
                    where = "valid" if part == "valid" else "train"
                    shown[f"{where} {name}"] = values[f"{prefix}{name}"]
            bar.set_postfix(shown, refresh=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
