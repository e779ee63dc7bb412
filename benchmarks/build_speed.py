"""MIDI files to a binarised corpus: this package beside miditoolkit and Python loops, and on two cores.

    python benchmarks/build_speed.py FOLDER --files 20 --output FILE.md

Takes a seeded sample of files of each collection in a folder (or archive) and makes a data-bin of it twice:

* this package: `build_corpus` with one worker and all that it does beside (duplicates, near-duplicates,
  splits, ledger, atomic shards);
* loops: `miditoolkit.MidiFile`, `loop_encoder.encode`, upstream's MD5 of the pairs, windows and bar offsets
  row by row, lines of text, and a dictionary look-up of each token to make the `.bin`.

Both draw windows and offsets from the same generators, and the benchmark stops unless they give the same
sequences; files of which the two parsers give different rows (a program that changes while a note sounds) are
left out. Time is the processor time of the process (all its threads), which other work on the machine
changes little; this package runs three times and the least counts. Then the whole folder is built with one
and with two worker processes, and the bytes are compared. Wall times mean something only on an idle machine,
so the load stands beside them, with the processor time that each process took.
"""

import argparse
import collections
import datetime
import hashlib
import io
import os
import platform
import resource
import tempfile
import time
from array import array
from pathlib import Path

import loop_encoder
import miditoolkit
import numpy as np
from encode_speed import commit, cpu_name, sample

from musicbert.corpus.bins.databin import read_index, read_tokens
from musicbert.corpus.builder import BuildOptions, build_corpus
from musicbert.corpus.files.ledger import read_ledger
from musicbert.encoding import dictionary_text, encode

LMD_FULL = 178_561
REPEATS = 3
WINDOW, STEP, BARS = 1000, 250, 256
EVERYTHING = BuildOptions(shares=(1, 0, 0))


def loops_build(paths: list[Path], output: Path) -> list[bytes]:
    """Make a ``.bin`` with loops; return its sequences."""
    ids = {"<s>": 0, "</s>": 2}
    for number, line in enumerate(dictionary_text().splitlines()):
        ids[line.split()[0]] = 4 + number
    seen: set[str] = set()
    sequences = []
    with output.open("wb") as binary:
        for path in paths:
            data = path.read_bytes()
            rows = loop_encoder.encode(miditoolkit.MidiFile(file=io.BytesIO(data)))
            md5 = hashlib.md5(str(tuple((row[2], row[3]) for row in rows)).encode()).hexdigest()
            if md5 in seen:
                continue
            seen.add(md5)
            for line in loops_lines(rows, hashlib.sha256(data).digest()):
                numbers = array("H", [ids[token] for token in line.split()] + [ids["</s>"]])
                binary.write(numbers.tobytes())
                sequences.append(numbers.tobytes())
    return sequences


def loops_lines(rows: list[tuple[int, ...]], digest: bytes) -> list[str]:
    """Upstream's windows of a piece as text, drawn from the generator that this package would use."""
    words = [int.from_bytes(digest[at : at + 4], "little") for at in range(0, 16, 4)]
    rng = np.random.default_rng([EVERYTHING.seed, *words])
    lines = []
    for begin in range(-int(rng.integers(0, WINDOW - 1, endpoint=True)), len(rows), STEP):
        part = rows[max(begin, 0) : begin + WINDOW]
        low, high = -min(row[0] for row in part), BARS - 1 - max(row[0] for row in part)
        offset = int(rng.integers(low, high, endpoint=True)) if low <= high else low
        tokens = ["<s>"] * 8
        for row in part:
            if row[0] + offset >= BARS:
                break
            tokens += [f"<0-{row[0] + offset}>"] + [f"<{j}-{row[j]}>" for j in range(1, 8)]
        lines.append(" ".join(tokens + ["</s>"] * 7))
    return lines


def sequences_of(corpus: Path) -> list[bytes]:
    """All sequences of a data-bin."""
    tokens, lengths = read_tokens(corpus / "train"), read_index(corpus / "train")
    return [part.tobytes() for part in np.split(tokens, np.cumsum(lengths)[:-1])]


def one_core(paths: list[Path], scratch: Path) -> tuple[float, float, int]:
    """Seconds of this package and of the loops, and notes."""
    links = scratch / "midi"
    links.mkdir()
    for number, path in enumerate(paths):
        (links / f"{number:05d}.mid").write_bytes(path.read_bytes())
    ours = float("inf")
    for run in range(REPEATS):
        begin = time.process_time()
        build_corpus(links, scratch / f"ours{run}", EVERYTHING, progress=False)
        ours = min(ours, time.process_time() - begin)
    begin = time.process_time()
    sequences = loops_build(paths, scratch / "loops.bin")
    loops = time.process_time() - begin
    if collections.Counter(sequences) != collections.Counter(sequences_of(scratch / "ours0")):
        raise SystemExit("the two paths give different sequences")
    return ours, loops, sum(entry.notes or 0 for entry in read_ledger(scratch / "ours0" / "ledger.jsonl"))


def readable(paths: list[Path]) -> list[Path]:
    """Files that both paths can encode."""
    kept = []
    for path in paths:
        try:
            rows = loop_encoder.encode(miditoolkit.MidiFile(str(path)))
            if rows and np.array_equal(rows, encode(path)):
                kept.append(path)
            else:
                print(f"left out {path.name}: the parsers differ")
        except Exception as error:  # miditoolkit has errors of many types
            print(f"left out {path.name}: {error!r}")
    return kept


def two_cores(folder: Path, scratch: Path) -> list[str]:
    """Build a whole folder with one and with two worker processes; return rows of a table."""
    lines, walls = [], {}
    for workers in (1, 2):
        load = os.getloadavg()[0]
        parent, children, begin = time.process_time(), _children(), time.perf_counter()
        build_corpus(folder, scratch / f"whole{workers}", BuildOptions(), workers=workers, progress=False)
        walls[workers] = time.perf_counter() - begin
        parent, children = time.process_time() - parent, _children() - children
        chain = parent + children / workers
        cells = f"{walls[workers]:.1f} | {parent:.1f} | {children:.1f} | {chain:.1f} | {load:.1f}"
        lines.append(f"| {workers} | {cells} |")
    corpora = [(scratch / f"whole{workers}" / "train.bin").read_bytes() for workers in (1, 2)]
    if corpora[0] != corpora[1]:
        raise SystemExit("the number of workers changes the corpus")
    return lines


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of MIDI files")
    parser.add_argument("--files", type=int, default=20, help="files of each collection (20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="where the table is written")
    arguments = parser.parse_args()
    groups = sample(arguments.source, arguments.files, arguments.seed)
    rows = []
    groups = {name: readable(paths) for name, paths in groups.items()}
    for name, paths in groups.items():
        if not paths:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            ours, loops, notes = one_core(paths, Path(scratch))
        rows.append(_row(name, len(paths), notes, ours, loops))
        print(rows[-1], flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        together = [path for paths in groups.values() for path in paths]
        ours, loops, notes = one_core(together, Path(scratch))
        rows.append(_row("**all, one corpus**", len(together), notes, ours, loops))
        print(rows[-1], flush=True)
        scaling = two_cores(arguments.source, Path(scratch))
        ledger = read_ledger(Path(scratch) / "whole1" / "ledger.jsonl")
    rate = ours / notes
    inside = [entry for entry in ledger if (entry.path or "").startswith("lmd/")] or ledger
    mean = sum(entry.notes or 0 for entry in inside) / len(inside)
    hours = LMD_FULL * mean * rate / 3600
    slow = LMD_FULL * mean * loops / notes / 3600
    written = LMD_FULL * mean * 4 * 16 / 1e9
    text = "\n".join(
        [
            "# Speed of building a corpus",
            "",
            f"- command: `python benchmarks/build_speed.py {arguments.source.name} --files {arguments.files} "
            f"--seed {arguments.seed}`",
            f"- commit {commit()}, {datetime.date.today().isoformat()}; {cpu_name()}; "
            f"Python {platform.python_version()}",
            "- both paths gave the same sequences; processor time of one process; this package: least of "
            f"{REPEATS} runs",
            "",
            "MIDI files to `.bin`, windows of 1,000 notes, overlap 4. Microseconds of processor time a note.",
            "",
            "| collection | files | notes | this package | loops | times faster |",
            "|---|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"## The whole folder ({len(ledger):,} files)",
            "",
            "Seconds; the bytes were equal. Load: processes that wanted a core when it began.",
            "",
            "Chain: processor time of this process and a worker's share of the workers', the least that an",
            "idle machine would take.",
            "",
            "| workers | wall | processor, this process | processor, workers | chain | load |",
            "|---:|---:|---:|---:|---:|---:|",
            *scaling,
            "",
            f"## LMD-full ({LMD_FULL:,} files)",
            "",
            f"At {mean:,.0f} notes a file (mean of the {len(inside):,} files of LMD here) and the rate of",
            f"the last row: {hours:.2f} hours of one core (loops: {slow:.0f} hours), and {written:.0f} GB of",
            "`.bin` before duplicates are left out.",
            "",
        ]
    )
    if arguments.output:
        arguments.output.write_text(text)
    print(text)


def _row(name: str, files: int, notes: int, ours: float, loops: float) -> str:
    cells = f"{ours / notes * 1e6:.2f} | {loops / notes * 1e6:.1f} | {loops / ours:.0f}"
    return f"| {name} | {files} | {notes:,} | {cells} |"


if __name__ == "__main__":
    main()
