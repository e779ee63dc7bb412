r"""Report of a pre-training from its log: report.json, about.md (for a model card) and curves.png.

Example: python scripts/pretrain/report.py --log checkpoints/mlm/train.log --corpus data_bin/build.json \
    --hardware "one NVIDIA H100" --notes notes.md --out results/pretraining/musicbert-mini
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from musicbert.errors import MusicBertError


def main() -> int:
    """Exit code: 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", type=Path, required=True, help="log of fairseq-train, also packed (.xz)")
    parser.add_argument("--corpus", type=Path, required=True, help="build.json of the corpus")
    parser.add_argument("--hardware", required=True, help="what it ran on")
    parser.add_argument("--notes", type=Path, required=True, help="Markdown: sources, licences, limits")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--ceiling",
        type=float,
        help="TFLOP/s of a large matrix product there, summed over the GPUs (benchmarks/pretrain_step.py)",
    )
    given = parser.parse_args()
    from pretraining_report import pretraining_report

    from musicbert.provenance import provenance

    try:
        source = provenance(
            ["python", "scripts/pretrain/report.py", *sys.argv[1:]],
            inputs={"log": given.log, "corpus": given.corpus},
            seed=0,
        )
        report = pretraining_report(
            given.log,
            given.corpus,
            given.out,
            hardware=given.hardware,
            notes=given.notes.read_text(encoding="utf-8"),
            provenance=source,
            ceiling=given.ceiling,
        )
    except (MusicBertError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{report['notes_seen']:,} notes seen, {report['notes_a_second']:,} a second: {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
