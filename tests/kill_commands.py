"""Kill long commands at random moments, and compare what they make in the end.

    python tests/kill_commands.py [--kills 50] [--only build|finetune|index|remix] [--seed 1]

build: one of two workers or both get SIGKILL, while they read, while they are idle or while the corpus is
written. The corpus has to be equal to one that nobody disturbed, or there is an error and no corpus, and the
same command completes it. finetune: the command gets SIGKILL twice and is given again; predictions and models
of its runs have to be equal. index and remix: the command gets SIGKILL once and is given again; all files
have to be equal to those of a run that nobody disturbed.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

SONGS, INDEXED = 60, 600
BUILD = "--workers 2 --shares 70 15 15 --window 40 --overlap 1 --quiet --performance-input"
FINETUNE = (
    "--model scratch:musicbert_tiny --folds 2 --epochs 3 --cpu --quiet --window 60 --batch 4 "
    "--learning-rate 1e-3 --no-report --keep-models"
)


def contents(folder, *patterns):
    """Hash of each file below a folder, but for times."""
    found = {path for pattern in patterns for path in folder.rglob(pattern) if path.is_file()}
    files = sorted(path for path in found if path.name != "timings.jsonl")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def workers_of(parent):
    """Numbers of the processes that a build has started to do its work."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            owner = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if owner == parent and "spawn_main" in (path / "cmdline").read_text():
                found.append(int(path.name))
        except (OSError, ValueError):  # it has ended
            continue
    return found


def call(command, moment=None, victims=lambda process: [process]):
    """Run a command and kill ``victims`` after ``moment`` seconds; returns status, text and kills."""
    killed = 0
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        if moment is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            for victim in victims(process.pid) if process.poll() is None else []:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    killed += 1
        text = process.communicate()[0]
    return process.returncode, text, killed


def kill_builds(folder, kills, rng):
    """Kill workers of builds; returns what happened in words, and what went wrong."""
    from seeded.data import write_songs

    write_songs(folder / "songs", [f"{number:032x}" for number in range(SONGS)], bars=16)
    words = [sys.executable, "-m", "musicbert", "build", folder / "songs", *BUILD.split(), "--output"]
    begin = time.monotonic()
    status, text, _ = call([*words, folder / "whole"])
    seconds, expected = time.monotonic() - begin, contents(folder / "whole", "*")
    assert status == 0, text

    def some(process):
        there = workers_of(process)
        return rng.sample(there, rng.choice([1, len(there)]) if there else 0)

    wrong, killed, builds, errors = [], 0, 0, 0
    while killed < kills:
        output = folder / f"build{builds}"
        builds += 1
        status, text, count = call([*words, output], rng.uniform(0.1, 0.95) * seconds, some)
        killed += count
        if status:
            errors += 1
            wrong += [] if "rror" in text else [f"{output.name}: status {status} without an error"]
            wrong += [] if not output.exists() else [f"{output.name}: an error, and a corpus"]
            status, text, _ = call([*words, output])
        if status or contents(output, "*") != expected:
            wrong.append(f"{output.name}: status {status}, another corpus: {text[-300:]}")
        shutil.rmtree(output, ignore_errors=True)
    return f"{killed} kills of workers in {builds} builds, {errors} errors", wrong


def kill_and_repeat(words, folder, kills, rng, *, made=("*",), times=1, before=None, usual=0):
    """Kill a command, and give it again; returns what happened in words, and what went wrong.

    ``made``: files that have to be equal; ``times``: kills before the last run; ``before``: what lies in the
    output at first; ``usual``: exit status of an undisturbed run.
    """
    from warm_python import python

    def prepared(name):
        if before is not None:
            shutil.copytree(before, folder / name)
        return [python(), "-m", "musicbert", *words, folder / name]

    for name in ("first", "whole"):  # the first one has more to import
        begin = time.monotonic()
        status, text, _ = call(prepared(name))
        seconds = time.monotonic() - begin
        assert status == usual, text
    expected = contents(folder / "whole", *made)
    wrong, killed, runs = [], 0, 0
    while killed < kills:
        command, there = prepared(f"run{runs}"), killed
        runs += 1
        for _ in range(times):
            killed += call(command, rng.uniform(0.15, 0.95) * seconds)[2]
            time.sleep(0.2 if times == 1 else 1)  # its children end
        status, text, _ = call(command)
        found = contents(command[-1], *made)
        if status != usual or found != expected:
            files = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            wrong.append(f"{command[-1].name}: status {status}, other results: {files[:5]} {text[-500:]}")
        shutil.rmtree(command[-1], ignore_errors=True)
        assert killed > there or runs < 10 * kills, "the command ends before it is killed"
    return f"{killed} kills in {runs} runs", wrong


def kill_fine_tunings(folder, kills, rng):
    """Kill `musicbert finetune`; returns what happened in words, and what went wrong."""
    from seeded.data import Data

    data = Data(folder)
    files = ["--labels", data.tables() / "classes.csv", "--midi", data.songs()]
    words = ["finetune", *files, *FINETUNE.split(), "--output"]
    made = ("test.npz", "model.safetensors", "split.json")
    return kill_and_repeat(words, folder, kills, rng, made=made, times=2)


def kill_indexing(folder, kills, rng):
    """Kill `musicbert index`, half of the times while it brings an index up to date."""
    from seeded.data import write_songs

    names = [f"{number:04}" for number in range(INDEXED)]
    write_songs(folder / "songs", names, bars=2)
    write_songs(folder / "old", [f"{number:04}" for number in range(100, INDEXED, 2)], bars=2)
    (folder / "songs" / "damaged.mid").write_bytes(b"MThd")
    words = ["index", folder / "songs", "--quiet", "--output"]
    told, wrong = [], []
    call([sys.executable, "-m", "musicbert", "index", folder / "old", "--output", folder / "older"])
    for name, before in ("new", None), ("up to date", folder / "older"):
        (folder / name).mkdir()
        share = kills // 2 if before else kills - kills // 2
        said, faults = kill_and_repeat(words, folder / name, share, rng, before=before, usual=1)
        told.append(f"{name}: {said}")
        wrong += faults
    return "; ".join(told), wrong


def kill_remixing(folder, kills, rng):
    """Kill `musicbert remix`; returns what happened in words, and what went wrong."""
    from seeded.data import write_songs

    write_songs(folder / "songs", ["song"], bars=4)
    words = ["remix", folder / "songs" / "song.mid", "--versions", "4", "--pictures", "--output"]
    return kill_and_repeat(words, folder, kills, rng)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = {
        "build": kill_builds,
        "finetune": kill_fine_tunings,
        "index": kill_indexing,
        "remix": kill_remixing,
    }
    parser.add_argument("--kills", type=int, default=50, help="kills of each command (%(default)s)")
    parser.add_argument("--only", choices=kinds, help="command to kill (all)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills (%(default)s)")
    options, faults = parser.parse_args(), 0
    for name in [options.only] if options.only else kinds:
        with tempfile.TemporaryDirectory() as folder:
            told, wrong = kinds[name](Path(folder), options.kills, random.Random(options.seed))
        sys.stdout.write(f"{name}: {told}, {len(wrong)} faults\n")
        sys.stdout.write("".join(f"  {line}\n" for line in wrong[:5]))
        sys.stdout.flush()
        faults += len(wrong)
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ |= {"PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}
    sys.exit(main())
