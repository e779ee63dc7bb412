"""Seconds and memory of whole commands that answer about music: a process each, as a user starts them.

    python benchmarks/answer_time.py minute.mid --commands analyse explain --output FILE.md

Runs ``musicbert COMMAND FILE`` a few times for each file and takes the run with the least processor time
(user and system, of the whole process), with its wall time and its peak of memory. The wall time means what
it says only where nothing else runs. On a busy machine processor time grows, too, though less: so the load is
written down.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from musicbert.midi import read_score

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("numpy", "scikit-learn", "torch", "symusic")


def measure(command: str, path: Path) -> tuple[float, float, float, int]:
    """Seconds of the processor, seconds of the clock, MiB at the peak, and the exit status of one process."""
    begin = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "musicbert", *command.split(), str(path)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - begin
    return used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)


def main() -> None:
    """Measure and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--commands", nargs="+", default=["analyse", "explain"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = []
    for path in options.files:
        score = read_score(path)
        size = f"{len(score):,} | {float(score.seconds(score.offset).max()):.0f}"
        for command in options.commands:
            runs = [measure(command, path) for _ in range(options.runs)]
            used, wall, memory, status = min(runs)
            failed = f" (exit status {status})" if status else ""
            rows.append(
                f"| {path.name} | {size} | {command}{failed} | {used:.1f} | {wall:.1f} | {memory:.0f} |"
            )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    names = " ".join(path.name for path in options.files)
    text = "\n".join(
        [
            "# Time of an answer", "",
            f"- command: `python benchmarks/answer_time.py {names} --commands {' '.join(options.commands)}`",
            f"- commit {commit}, {datetime.date.today()}; {platform.machine()}, {os.cpu_count()} cores, "
            f"load {os.getloadavg()[0]:.1f}",
            f"- Python {platform.python_version()}, {versions}; least of {options.runs} runs", "",
            "| file | notes | seconds of music | command | processor s | wall s | MiB |",
            "|---|---:|---:|---|---:|---:|---:|", *rows, "",
        ]
    )  # fmt: skip
    print(text)
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
