#!/usr/bin/env python3
r"""Measure the simple baselines of the benchmark tasks whose data are given.

    python scripts/baselines_smc.py --source tnua=vf_tnua.tar.xz --source pop909=me_ve_pop909.tar.xz \
        --source emopia=er_emopia_vgmidi.tar.xz#VGMIDI_as_EMOPIA_1.0 --output results/baselines_smc

Writes OUTPUT.json and OUTPUT.md. Sources and their layouts: docs/benchmark.md.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from task_baseline_run import markdown, measure  # noqa: E402

from musicbert.atomic import write_json, write_text  # noqa: E402
from musicbert.corpus.readers.benchmark import load_data_set, parse_source  # noqa: E402
from musicbert.corpus.readers.tasks import BENCHMARK  # noqa: E402
from musicbert.errors import MusicBertError  # noqa: E402
from musicbert.provenance import command_line, provenance  # noqa: E402


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source", action="append", required=True, metavar="NAME=PATH[#FOLDER]", help="a data set"
    )
    parser.add_argument("--output", type=Path, required=True, help="without a suffix")
    given = parser.parse_args()
    records, files = [], {}
    try:
        for text in given.source:
            name, path, inside = parse_source(text)
            progress = partial(tqdm, desc=name, unit="file")
            data = load_data_set(name, path, inside=inside, progress=progress)
            for outcome in data.failed:
                print(f"left out: {outcome.detail}", file=sys.stderr)
            ordered = (
                load_data_set(name, path, compatible=True, progress=progress) if name == "pop909" else None
            )
            records += measure(data, ordered, say=print)
            files[text.partition("=")[0] + (f"#{inside}" if inside else "")] = path
    except MusicBertError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    published = {row.abbreviation: row.published for row in BENCHMARK.values()}
    record = {"made_by": provenance(sys.argv, inputs=files, seed=0), "rows": records}
    write_json(given.output.with_suffix(".json"), record)
    heading = f"# Simple baselines of the benchmark tasks\n\n`{command_line(sys.argv)}`\n\n"
    text = heading + markdown(records, published)
    write_text(given.output.with_suffix(".md"), text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
