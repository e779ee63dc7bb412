"""Short MIDI files and the start of programs, before and after a change, measured in turn in one run.

    python benchmarks/small_files.py pretrain_small.tar.xz --before COMMIT --output FILE.md

Takes the package as it was at a commit and as it is at HEAD (``git archive``), and runs each of these in
processes of their own, one and the other in turn:

* encode: `musicbert.encode` of files of some 130 notes from bytes in memory; rows or errors are compared;
* encode, others: the same for a sample of all files;
* read: `musicbert.read_score` of a sample of a collection with several instruments a file (``--collection``);
* windows: `musicbert encode FILE --windows`;
* npy: `musicbert encode FOLDER --format npy` of 1,000 of the short files, until they are on the disk;
* plug-in: fairseq, then `musicbert.fairseq_plugin`; fairseq alone is taken off.

Time is processor time (npy: wall time, too), the least of some runs.
"""

import argparse
import contextlib
import datetime
import hashlib
import io
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from encode_speed import ROOT, commit, cpu_name

#: Task -> commit -> what each process printed.
Results = dict[str, dict[str, list[dict]]]
SHORT, NEAR = 130, 30
FILES, COPIES = 60, 1000
TASKS = ["encode", "others", "read", "windows", "npy", "plug-in"]
#: Bytes of files among which the short ones are looked for.
SMALL, SMALL_FILES = 6000, 400


def encode(folder: Path, *, only_read: bool = False) -> dict[str, float | str]:
    """Least seconds of encoding, or of reading alone, a file, and a hash of all rows and errors."""
    import musicbert
    from musicbert.errors import MidiError

    act = musicbert.read_score if only_read else musicbert.encode
    digest, total = hashlib.sha256(), 0.0
    names = sorted(folder.iterdir())
    for path in names:
        data, best = path.read_bytes(), float("inf")
        for _ in range(20):
            begin = time.process_time()
            with contextlib.suppress(MidiError):
                act(data)
            best = min(best, time.process_time() - begin)
        total += best
        try:
            digest.update(musicbert.encode(data).tobytes())
        except MidiError as error:
            digest.update(error.reason.encode())
    return {"seconds": total / len(names), "equal": digest.hexdigest()}


def command(folder: Path, words: list[str]) -> dict[str, float | str]:
    """Seconds and peak memory of a command in this process; hash of what it writes."""
    from musicbert.cli.main import main

    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        begin, clock = time.process_time(), time.perf_counter()
        assert main([*words, "--output", f"{scratch}/out"]) == 0
        seconds, wall = time.process_time() - begin, time.perf_counter() - clock
        out = Path(scratch) / "out"
        files = sorted(out.iterdir()) if out.is_dir() else [out]
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    return {"seconds": seconds, "wall": wall, "equal": digest, "torch": float("torch" in sys.modules)}


def child(task: str, folder: Path) -> None:
    """Run one task and print what it took."""
    start = time.process_time()
    if task in ("encode", "others", "read"):
        result = encode(folder / task, only_read=task == "read")
    elif task == "windows":
        result = command(folder / "encode", ["encode", str(min((folder / "encode").iterdir())), "--windows"])
    elif task == "npy":
        result = command(folder / "copies", ["encode", str(folder / "copies"), "--format", "npy"])
    else:
        import fairseq.tasks

        fairseq = time.process_time()
        before = {name.partition(".")[0] for name in sys.modules}
        import musicbert.fairseq_plugin  # noqa: F401

        more = {name.partition(".")[0] for name in sys.modules} - before - sys.stdlib_module_names
        result = {"seconds": time.process_time() - fairseq, "fairseq": fairseq - start, "more": sorted(more)}
    result["MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result["whole"] = time.process_time()
    print(json.dumps(result))


def prepare(source: Path, folder: Path, seed: int, collection: str) -> dict[str, int]:
    """Lay out the files; returns how many there are of each kind."""
    from musicbert.errors import MidiError
    from musicbert.midi import read_score

    for name in ("encode", "others", "read", "copies"):
        (folder / name).mkdir()
    with tarfile.open(source) as archive:
        members = [m for m in archive if m.isfile() and m.name.lower().endswith((".mid", ".midi"))]
        draw = random.Random(seed)
        others = {member.name for member in draw.sample(members, FILES)}
        small = {*others, *draw.sample([m.name for m in members if m.size < SMALL], SMALL_FILES)}
        part = [member.name for member in members if f"/{collection}/" in member.name]
        read = set(draw.sample(part, min(FILES, len(part))))
        short = 0
        for number, member in enumerate(members):  # in the order of the archive, which is fast
            samples = [name for name, chosen in (("others", others), ("read", read)) if member.name in chosen]
            if not samples and (member.name not in small or short == FILES):
                continue
            data = archive.extractfile(member).read()
            for name in samples:
                (folder / name / f"{number}.mid").write_bytes(data)
            try:
                notes = len(read_score(data))
            except MidiError:
                continue
            if member.name in small and abs(notes - SHORT) <= NEAR and short < FILES:
                (folder / "encode" / f"{number}.mid").write_bytes(data)
                short += 1
    chosen = sorted((folder / "encode").iterdir())
    for number in range(COPIES):
        (folder / "copies" / f"{number}.mid").write_bytes(chosen[number % len(chosen)].read_bytes())
    return {"encode": short, "others": len(others), "read": len(read)}


def measure(
    tasks: list[str], roots: dict[str, Path], folder: Path, rounds: int
) -> dict[str, dict[str, list]]:
    """Results of each task at each commit, in turn."""
    results = {task: {name: [] for name in roots} for task in tasks}
    for task in tasks:
        for _ in range(rounds):
            for name, root in roots.items():
                done = subprocess.run(
                    [sys.executable, __file__, "--child", task, str(folder)],
                    env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
                    capture_output=True,
                    text=True,
                    check=True,
                )
                results[task][name].append(json.loads(done.stdout.splitlines()[-1]))
        both = [{each.get("equal") for each in results[task][name]} for name in roots]
        if both[0] != both[1]:
            print(f"{task}: rows or errors differ", file=sys.stderr)
    return results


def table(results: Results, counts: dict[str, int]) -> list[str]:
    """Lines of the table."""
    lines = ["| what | before | after | before / after |", "|---|---:|---:|---:|"]

    def line(what: str, task: str, key: str, factor: float, unit: str) -> None:
        before, after = (
            min(each[key] for each in results[task][name]) * factor for name in ("before", "after")
        )
        lines.append(f"| {what} | {before:,.4g} {unit} | {after:,.4g} {unit} | {before / after:.2f} |")

    for task in results:
        if task in counts:
            same = len({each["equal"] for name in results[task].values() for each in name}) == 1
            rows = "equal rows and errors" if same else "ROWS OR ERRORS DIFFER"
            what = {
                "encode": "short files",
                "others": "files of all lengths",
                "read": "files, reading alone",
            }[task]
            line(f"{counts[task]} {what}, a file; {rows}", task, "seconds", 1e6, "us")
        elif task == "plug-in":
            line("fairseq and the plug-in, the whole process", task, "whole", 1, "s")
            line("of this, the plug-in", task, "seconds", 1, "s")
            more = results[task]["after"][0]["more"]
            lines.append(f"| other packages that the plug-in imports | | {', '.join(more)} | |")
        else:
            what = "`encode --windows`" if task == "windows" else f"`encode --format npy`, {COPIES} files"
            line(f"{what}, the whole process", task, "whole", 1, "s")
            line(f"{what}, memory", task, "MiB", 1, "MiB")
            if task == "npy":
                line(f"{what}, wall time of the command", task, "wall", 1, "s")
            torch = [results[task][name][0]["torch"] for name in ("before", "after")]
            lines.append(f"| {what}, torch is imported | {bool(torch[0])} | {bool(torch[1])} | |")
    return lines


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="archive (.tar.xz) of MIDI files")
    parser.add_argument("--before", required=True, help="commit to compare with")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--collection", default="lmd", help="folder of the files of the task `read` (lmd)")
    parser.add_argument("--output", type=Path, help="where the table is written")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, roots = Path(scratch), {}
        for name, revision in (("before", arguments.before), ("after", "HEAD")):
            archive = subprocess.run(
                ["git", "-C", str(ROOT), "archive", revision, "musicbert"], capture_output=True, check=True
            )
            roots[name] = folder / name
            with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as package:
                package.extractall(roots[name], filter="data")
        counts = prepare(arguments.source, folder, arguments.seed, arguments.collection)
        results = measure(arguments.tasks, roots, folder, arguments.rounds)
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "symusic", "mido"))
    text = "\n".join(
        [
            "# Short files and the start of programs",
            "",
            f"- command: `python benchmarks/small_files.py {arguments.source.name} "
            f"--before {arguments.before} --rounds {arguments.rounds} --seed {arguments.seed}`",
            f"- commit {commit()}, {datetime.date.today().isoformat()}",
            f"- {cpu_name()}, one thread; Python {platform.python_version()}, {packages}",
            f"- processor time, least of {arguments.rounds} processes, in turn; load of the machine at the "
            f"end: {os.getloadavg()[0]:.1f}",
            "",
            *table(results, counts),
            "",
        ]
    )
    if arguments.output:
        arguments.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
