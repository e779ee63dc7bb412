"""Report of ablations: scores.json, table.md and pictures, from what scripts/run_ablations.sh has made.

Example: python scripts/report_ablations.py runs_ablations --out results/ablations --hardware "one H100"
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from musicbert.errors import MusicBertError


def main() -> int:
    """Exit code: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder with pretrain/ and finetune/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--hardware", default="not recorded", help="what it ran on")
    given = parser.parse_args()
    from ablation_report import ablation_report

    from musicbert.provenance import provenance

    tables = sorted(given.runs.glob("finetune/*/scores*.json"))
    inputs = {f"{path.parent.name}/{path.name}": path for path in tables}
    made_by = provenance(
        ["python", "scripts/report_ablations.py", *sys.argv[1:]],
        inputs=inputs,
        seed=0,
    )
    try:
        report = ablation_report(given.runs, given.out, hardware=given.hardware, provenance=made_by)
    except (MusicBertError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(report['variants'])} variants: {given.out / 'table.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
