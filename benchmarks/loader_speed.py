"""How many notes a second one process reads, masks and puts into batches, for each form of a masked data set.

    python benchmarks/loader_speed.py DATA_BIN [--write benchmarks/loader_speed_<hardware>_<date>.md]

Batches of four rows of at most 8,191 tokens in random order, as the data loader asks for them, from a
data-bin that `musicbert build` made. Processor time of one process, best of several rounds; other work on the
machine changes it a little. Beside it what the published program needs for the random numbers of a row alone:
a table of (256 * 256 + 1,237) * 8 uniforms, drawn once for the source and once for the target.
"""

from __future__ import annotations

import argparse
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

import musicbert.fairseq_plugin  # noqa: F401 - registers
from musicbert.fairseq_plugin.data.databin import load_dictionary, load_pieces
from musicbert.fairseq_plugin.pretraining.masked_dataset import (
    AS_STORED,
    Form,
    MaskedOctuples,
    pack,
    piece_sizes,
)
from musicbert.objectives.masking import MaskPolicy

LIMIT, ROWS, BATCHES, ROUNDS = 8191, 4, 40, 5
SETTINGS = {
    "octuple, bar masks, padded (published)": (AS_STORED, MaskPolicy()),
    "octuple, element masks": (AS_STORED, MaskPolicy("element")),
    "octuple, compound masks": (AS_STORED, MaskPolicy("compound")),
    "octuple, stream, pieces apart": (Form(layout="stream", separate=True), MaskPolicy(per_piece=True)),
    "octuple, no compound": (Form(compound=False), MaskPolicy()),
    "cp, 1,000 rows": (Form(view="cp", crop=1000), MaskPolicy()),
    "remi, 4,000 tokens": (Form(view="remi", compound=False, crop=4000), MaskPolicy()),
}


def positions_per_second(dataset: MaskedOctuples) -> tuple[float, float]:
    """Rows, and tokens, a second of processor time."""
    order = np.random.default_rng(0).permutation(len(dataset))
    best = (0.0, 0.0)
    for turn in range(ROUNDS):
        chosen = np.resize(np.roll(order, -turn * ROWS * BATCHES), ROWS * BATCHES).reshape(-1, ROWS)
        begin, tokens = time.process_time(), 0
        for rows in chosen:
            tokens += dataset.collater([dataset[int(row)] for row in rows])["ntokens"]
        spent = time.process_time() - begin
        best = max(best, (chosen.size / spent, tokens / spent))
    return best


def table_milliseconds() -> float:
    rng, best = np.random.default_rng(0), float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(2):
            rng.random((256 * 256 + 1237, 8))
        best = min(best, 1000 * (time.process_time() - begin))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", help="data-bin with a train part")
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pieces = load_pieces(options.data, "train", load_dictionary(options.data))
    lines = []
    for name, (form, policy) in SETTINGS.items():
        begin = time.process_time()
        sizes = piece_sizes(pieces, form)
        opening = time.process_time() - begin
        blocks = pack(sizes, LIMIT, "complete")
        rows, tokens = positions_per_second(MaskedOctuples(pieces, blocks, policy, form=form, sizes=sizes))
        note = f"{tokens / 8:,.0f}" if form.view == "octuple" else ""
        lines.append(f"| {name} | {1000 / rows:.2f} | {tokens:,.0f} | {note} | {opening:.1f} |")
        print(lines[-1], flush=True)
    table = table_milliseconds()
    print(f"published table of random numbers: {table:.1f} ms a row")
    if options.write:
        text = [
            "# Masked rows a second",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, NumPy {np.__version__}, "
            f"Python {platform.python_version()}; {len(pieces):,} pieces.",
            "Made by `python benchmarks/loader_speed.py DATA_BIN`, which says what is measured.",
            "",
            "| form | ms a row | tokens/s | notes/s | seconds to open |",
            "|---|---:|---:|---:|---:|",
            *lines,
            "",
            f"The published program's random numbers alone: {table:.1f} ms a row.",
            "",
        ]
        options.write.write_text("\n".join(text))


if __name__ == "__main__":
    main()
