"""Peak memory of building a corpus of 1, 10 and 100 times as many files.

    python benchmarks/build_memory.py --files 4842 --times 1 10 100 --output FILE.md

Makes a tar archive of small MIDI files (random tunes of 64 notes), builds a corpus of it with one worker in a
process of its own, and reads the peak of the resident memory from the system.
"""

import argparse
import datetime
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from encode_speed import commit, cpu_name

NOTES = 64
CHILD = """
import json, resource, sys, time
from musicbert.corpus.builder import BuildOptions, build_corpus
source, output = sys.argv[1:]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = build_corpus(source, output, BuildOptions(), progress=False)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([before, after, time.process_time(), report.found, report.outcomes.get("ok", 0)]))
"""


def tune(rng: np.random.Generator) -> bytes:
    """Bytes of a MIDI file of `NOTES` random notes, one after the other."""
    pitches = rng.integers(40, 90, NOTES).tolist()
    body = b"".join(bytes((0, 0x90, pitch, 80, 60, 0x80, pitch, 0)) for pitch in pitches)
    body += b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 120) + b"MTrk" + struct.pack(">I", len(body)) + body


def make_archive(path: Path, files: int) -> None:
    rng = np.random.default_rng(1)
    with tarfile.open(path, "w") as archive:
        for number in range(files):
            content = tune(rng)
            info = tarfile.TarInfo(f"{number // 1000}/{number}.mid")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
            archive.members = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=4842, help="files at 1x (4842)")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    rows = []
    for times in given.times:
        with tempfile.TemporaryDirectory() as scratch:
            make_archive(Path(scratch) / "made.tar", given.files * times)
            command = [
                sys.executable,
                "-c",
                CHILD,
                str(Path(scratch) / "made.tar"),
                str(Path(scratch) / "out"),
            ]
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        before, after, seconds, found, ok = json.loads(done.stdout)
        rows.append(
            f"| {times} | {found:,} | {ok:,} | {before / 1024:.0f} | {after / 1024:.0f} | {seconds:.0f} |"
        )
        print(rows[-1], flush=True)
    text = "\n".join(
        [
            "# Peak memory of building a corpus",
            "",
            f"- command: `python benchmarks/build_memory.py --files {given.files} --times "
            f"{' '.join(map(str, given.times))}`",
            f"- commit {commit()}, {datetime.date.today().isoformat()}; {cpu_name()}; one worker",
            f"- a tar archive of made files of {NOTES} notes",
            "",
            "| times | files | ok | MiB after import | MiB at the peak | processor seconds |",
            "|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
        ]
    )
    if given.output:
        given.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
