"""Notes per second of encoding as compound words on one core, beside Python loops.

    python benchmarks/cp_speed.py pretrain_small.tar.xz --files 20 --output FILE.md

Takes a seeded sample of files of each collection in an archive (or folder), checks that the loops and the
codec ``cp-m2bert`` give equal rows, and measures, file by file, in one process and one thread, in turn:

* read: `musicbert.midi.read_score` from bytes in memory;
* cp, m2bert: the score as compound words, mended and as published;
* beats: notes in beats as compound words, as published;
* loops, loops beats: the same two published ways in `loop_cp` (from a parsed `miditoolkit.MidiFile`).

Every step is run three times on each file and the least time counts. Time is the processor time of the
process, so that other work on the machine counts as little as possible.
"""

import argparse
import datetime
import io
import platform
import sys
import tarfile
import tempfile
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import loop_cp
import miditoolkit
import numpy as np
from encode_speed import MICRO, REPEATS, commit, cpu_name, sample, timed

from musicbert.encoding.beat_notes import BeatNotes
from musicbert.encoding.codecs import get_codec
from musicbert.errors import MidiError
from musicbert.midi import Score, read_score

COLUMNS = ("read", "cp", "m2bert", "beats", "loops", "loops beats")
#: What is compared: our way, the loops' way.
RATIOS = (("m2bert", "loops"), ("beats", "loops beats"))


def in_beats(score: Score) -> BeatNotes:
    """Notes of a score in beats."""
    onset, offset = (times / score.ticks_per_beat for times in (score.onset, score.offset))
    return BeatNotes(onset, offset, score.pitch, score.velocity)


def measure(data: bytes) -> tuple[dict[str, float], int]:
    """Seconds of each step for one file, and notes; raises `ValueError` if miditoolkit reads other rows."""
    seconds = {}
    seconds["read"], score = timed(read_score, data)
    notes = in_beats(score)
    lists = np.stack([notes.onset, notes.offset, notes.pitch], axis=1).tolist()
    midi = miditoolkit.MidiFile(file=io.BytesIO(data))
    other = read_score(data, reader="miditoolkit")  # has the tracks in the order of the loops
    seconds["cp"], (rows, _) = timed(get_codec("cp").encode, score)
    seconds["m2bert"], _ = timed(get_codec("cp-m2bert").encode, score)
    seconds["beats"], (beats, _) = timed(get_codec("cp-m2bert").encode, notes)
    seconds["loops"], looped = timed(loop_cp.encode, midi)
    seconds["loops beats"], looped_beats = timed(loop_cp.encode_beats, lists)
    published, _ = get_codec("cp-m2bert").encode(other)
    if not np.array_equal(beats, looped_beats) or len(rows) != len(score):
        raise SystemExit("the ways give different rows")
    if not np.array_equal(published, looped):
        raise ValueError("miditoolkit reads it otherwise")
    return seconds, len(score)


def row(name: str, files: int, notes: int, seconds: dict[str, float]) -> str:
    """One line of the table."""
    cells = [f"{seconds[column] / notes * MICRO:.2f}" for column in COLUMNS]
    cells += [f"{notes / seconds[column] / MICRO:.1f}" for column in ("cp", "m2bert", "beats")]
    cells += [f"{seconds[loops] / seconds[ours]:.0f}" for ours, loops in RATIOS]
    return f"| {name} | {files} | {notes:,} | " + " | ".join(cells) + " |"


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
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "symusic", "miditoolkit"))
    headings = [
        *COLUMNS,
        "cp M notes/s",
        "m2bert M notes/s",
        "beats M notes/s",
        "loops / m2bert",
        "loops / beats",
    ]
    head = [
        "# Speed of encoding compound words",
        "",
        f"- command: `python benchmarks/cp_speed.py {arguments.source.name} --files {arguments.files} "
        f"--seed {arguments.seed}`",
        f"- commit {commit()}, {datetime.date.today().isoformat()}",
        f"- {cpu_name()}, one thread; Python {platform.python_version()}, {packages}",
        f"- rows of both ways were equal on every file; {skipped} file(s) left out because a way cannot read"
        f" them or miditoolkit reads them otherwise; least of {REPEATS} runs of a step",
        "",
        "Microseconds of processor time a note. read: MIDI bytes to a score; cp, m2bert, beats: this",
        "package, from the score (mended, as published) and from notes in beats (as published); loops, loops",
        "beats: the published two from parsed notes with Python loops (`benchmarks/loop_cp.py`).",
        "",
        "| collection | files | notes | " + " | ".join(headings) + " |",
        "|---|" + "---:|" * (len(headings) + 2),
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
