r"""Time and memory of an index of many pieces, made of real ones.

Example: python results/tools/similarity_scale.py pretrain_small --work work

Indexes a folder, then repeats its descriptions, every count drawn anew around what it was, until there are
enough pieces, and asks. Writes results/similarity/scale.json.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from program import ROOT, make_parser, report_errors, say

from musicbert.atomic import write_json
from musicbert.provenance import provenance
from musicbert.similarity import index_folder, open_index
from musicbert.similarity.describe import PIECE, Bars
from musicbert.similarity.store import INDEX, PARTS, Store, read_bars, read_manifest

QUERIES = 2


def timed(action: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Result of a call, with its time on the clock and of the processor [seconds]."""
    clock, processor = time.perf_counter(), time.process_time()
    result = action()
    return result, {
        "seconds": round(time.perf_counter() - clock, 2),
        "processor seconds": round(time.process_time() - processor, 2),
    }


def repeat(small: Path, large: Path, pieces: int) -> None:
    """Write an index with many pieces made of those of another."""
    shutil.rmtree(large, ignore_errors=True)
    (large / PARTS).mkdir(parents=True)
    manifest = read_manifest(small)
    store, rng = Store(large, manifest), np.random.default_rng(0)
    tables = [read_bars(path) for path in sorted((small / PARTS).iterdir())]
    files: dict[str, str] = {}
    while len(files) < pieces:
        for hashes, bars in tables:
            described = []
            piece = bars.key // PIECE
            for number in range(len(hashes)):
                mine = piece == number
                values = np.minimum(rng.poisson(bars.values[mine]), 255).astype(np.uint8)
                described.append(
                    (f"{len(files):064d}", Bars(bars.key[mine] % PIECE, bars.notes[mine], values))
                )
                files[f"{len(files)}.mid"] = described[-1][0]
            store.add(described, spread=manifest["spread"])
    write_json(large / INDEX, {**manifest, "files": files}, indent=None)


def index_bars(folder: Path) -> int:
    """Bars with notes of an index."""
    return sum(len(read_bars(path)[1].key) for path in (folder / PARTS).iterdir())


def measure(options: Any) -> str:
    """Index, repeat, ask and write."""
    small, large = options.work / "small", options.work / "large"
    shutil.rmtree(small, ignore_errors=True)
    update, indexing = timed(lambda: index_folder(options.folder, small, progress=False))
    say(f"{update} {indexing}")
    if not (large / INDEX).exists():
        repeat(small, large, options.pieces)
    size = sum(path.stat().st_size for path in large.rglob("*"))
    say(f"repeated: {size} bytes")
    index, opening = timed(lambda: open_index(large))
    source = sorted(options.folder.rglob("*.mid"))[::997][:QUERIES]
    asked: dict[str, list[dict[str, float]]] = {"pieces": [], "bars": []}
    for path in source:
        for of, bars in (("pieces", None), ("bars", (5, 8))):
            answers, took = timed(lambda path=path, bars=bars: index.query(path, bars=bars))
            asked[of].append(took)
            say(f"{of}: {took} {answers[0]}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {
        "provenance": provenance(["python", *sys.argv], inputs={}, seed=0),
        "indexed": {"files": len(update.outcomes) and sum(update.outcomes.values()), **indexing},
        "pieces": len(index), "bytes on disk": size, "open": opening, "queries": asked,
        "bars": index_bars(large), "peak memory [MiB]": round(peak / 1024),
    }  # fmt: skip
    write_json(options.output, result)
    return json.dumps({name: value for name, value in result.items() if name != "provenance"})


def main() -> int:
    """Run the program."""
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, help="folder of MIDI files")
    parser.add_argument("--pieces", type=int, default=100_000, help="how many (%(default)s)")
    parser.add_argument("--work", type=Path, required=True, help="folder for the indexes")
    parser.add_argument("--output", type=Path, default=ROOT / "results/similarity/scale.json", help="result")
    options = parser.parse_args()
    return report_errors(lambda: measure(options))


if __name__ == "__main__":
    sys.exit(main())
