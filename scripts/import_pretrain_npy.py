#!/usr/bin/env python3
"""Turn M2BERT's own pre-training files into a data folder for scripts/m2bert/pretrain.sh.

    python scripts/import_pretrain_npy.py pop909.npy pianist8.npy ... --output DATA

Files of pieces (pre-training) and of segments (fine-tuning, MidiBERT's too) are read, without running their
pickles. 15 of 100 pieces validate; of equal pieces one stays.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from musicbert.command_line import Parser, exit_status  # noqa: E402


@exit_status
def main() -> None:
    """Run."""
    from musicbert.corpus.bins.upstream import VALID, import_pretraining
    from musicbert.progress import progress_bar

    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("files", type=Path, nargs="+", metavar="NPY", help="upstream's files")
    add("--output", "-o", type=Path, required=True, help="data folder to write")
    add("--valid", type=float, default=VALID, help="share that validates (%(default)s)")
    add("--overwrite", action="store_true", help="replace such a folder")
    given = parser.parse_args()
    counts = import_pretraining(
        given.files, given.output, valid=given.valid, overwrite=given.overwrite,
        progress=partial(progress_bar, desc="reading", unit="file"),
    )  # fmt: skip
    print(f"{given.output}: {', '.join(f'{count} {name}' for name, count in counts.items())}")


if __name__ == "__main__":
    sys.exit(main())
