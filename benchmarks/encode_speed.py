"""Notes per second of reading and encoding on one core, beside miditoolkit and Python loops.

    python benchmarks/encode_speed.py pretrain_small.tar.xz --files 20 --output FILE.md

Takes a seeded sample of files of each collection in an archive (or folder), checks that all paths give equal
rows (files that miditoolkit reads otherwise are left out), and measures, file by file, in one process and one
thread, the paths in turn:

* read, encode: `musicbert.midi.read_score` from bytes in memory, then `musicbert.encoding.encode_notes`;
* miditoolkit read: the same reading with ``reader="miditoolkit"``;
* loops: `miditoolkit.MidiFile`, then `loop_encoder.encode`.

Every step is run three times on each file and the least time counts. Time is the processor time of the
process, so that other work on the machine counts as little as possible.
"""

import argparse
import datetime
import io
import platform
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import loop_encoder
import miditoolkit
import numpy as np

from musicbert.encoding import encode_notes
from musicbert.errors import MidiError
from musicbert.midi import read_score

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 3
SUFFIXES = (".mid", ".midi")
COLUMNS = ("read", "encode", "miditoolkit read", "loops read", "loops encode")
MICRO = 1e6


def timed(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[float, Any]:
    """Least seconds of some runs, and the last result."""
    best = float("inf")
    for _ in range(REPEATS):
        begin = time.process_time()
        result = function(*arguments, **options)
        best = min(best, time.process_time() - begin)
    return best, result


def measure(data: bytes) -> tuple[dict[str, float], int]:
    """Seconds of each step for one file, and notes.

    Raises `ValueError` if miditoolkit reads other rows (a program that changes while a note sounds, tempi of
    several tracks).
    """
    seconds = {}
    seconds["read"], score = timed(read_score, data)
    seconds["encode"], (rows, _) = timed(encode_notes, score)
    seconds["miditoolkit read"], other = timed(read_score, data, reader="miditoolkit")
    seconds["loops read"], midi = timed(lambda: miditoolkit.MidiFile(file=io.BytesIO(data)))
    seconds["loops encode"], looped = timed(loop_encoder.encode, midi)
    if not np.array_equal(rows, encode_notes(other)[0]):
        raise SystemExit("the two readers give different rows")
    if not np.array_equal(rows, np.array(looped)):
        raise ValueError("miditoolkit reads it otherwise")
    return seconds, len(score)


def cpu_name() -> str:
    """Model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str:
    """Short hash of the commit, marked where the measured files differ from it."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    measured = ["musicbert/midi", "musicbert/encoding", "benchmarks"]
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no", "--", *measured],
        capture_output=True,
        text=True,
        check=False,
    )
    return (name.stdout.strip() or "unknown") + (" with changes" if changed.stdout.strip() else "")


def sample(folder: Path, count: int, seed: int) -> dict[str, list[Path]]:
    """Seeded sample of files by collection, the first folder level that holds several."""
    top = folder
    while len(inside := [path for path in sorted(top.iterdir()) if path.is_dir()]) == 1:
        top = inside[0]
    groups = defaultdict(list)
    for path in sorted(top.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            groups[path.relative_to(top).parts[0]].append(path)
    rng = random.Random(seed)
    return {name: rng.sample(paths, min(count, len(paths))) for name, paths in groups.items()}


def row(name: str, files: int, notes: int, seconds: dict[str, float]) -> str:
    """One line of the table."""
    ours = seconds["read"] + seconds["encode"]
    loops = seconds["loops read"] + seconds["loops encode"]
    cells = [f"{seconds[column] / notes * MICRO:.2f}" for column in COLUMNS]
    speed = [f"{notes / ours:,.0f}", f"{notes / loops:,.0f}", f"{loops / ours:.0f}"]
    return f"| {name} | {files} | {notes:,} | " + " | ".join(cells + speed) + " |"


def report(groups: dict[str, list[Path]], arguments: argparse.Namespace) -> str:
    """Measure all groups and write the table."""
    lines, total, skipped = [], defaultdict(float), 0
    all_files = all_notes = 0
    for name, paths in groups.items():
        seconds, files, notes = defaultdict(float), 0, 0
        for path in paths:
            try:
                one, count = measure(path.read_bytes())
            except (MidiError, OSError, EOFError, ValueError) as error:
                print(f"left out {path.name}: {error}", file=sys.stderr)
                skipped += 1
                continue
            files, notes = files + 1, notes + count
            for column in COLUMNS:
                seconds[column] += one[column]
                total[column] += one[column]
        if files:
            lines.append(row(name, files, notes, seconds))
            all_files, all_notes = all_files + files, all_notes + notes
            print(lines[-1], flush=True)
    lines.append(row("**all**", all_files, all_notes, total))
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "symusic", "miditoolkit", "mido"))
    head = [
        "# Speed of reading and encoding MIDI",
        "",
        f"- command: `python benchmarks/encode_speed.py {arguments.source.name} --files {arguments.files} "
        f"--seed {arguments.seed}`",
        f"- commit {commit()}, {datetime.date.today().isoformat()}",
        f"- {cpu_name()}, one thread; Python {platform.python_version()}, {packages}",
        f"- rows of all paths were equal on every file; {skipped} file(s) left out because miditoolkit cannot"
        f" read them or reads them otherwise; least of {REPEATS} runs of a step",
        "",
        "Microseconds of processor time a note. read, encode: this package; miditoolkit read: with the",
        "other reader; loops: `miditoolkit.MidiFile` and Python loops (`benchmarks/loop_encoder.py`).",
        "",
        "| collection | files | notes | "
        + " | ".join(COLUMNS)
        + " | notes/s | loops notes/s | times faster |",
        "|---|" + "---:|" * (len(COLUMNS) + 5),
    ]
    return "\n".join([*head, *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="archive (.tar.xz) or folder of MIDI files")
    parser.add_argument("--files", type=int, default=30, help="files of each collection (30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="where the table is written")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.source
        if folder.is_file():
            with tarfile.open(folder) as archive:
                archive.extractall(scratch, filter="data")
            folder = Path(scratch)
        text = report(sample(folder, arguments.files, arguments.seed), arguments)
    if arguments.output:
        arguments.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
