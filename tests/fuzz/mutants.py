"""Damaged files by the million: each gives a result or a documented error, in bounded time and memory.

    python tests/fuzz/mutants.py --count 1000000 --workers 2    # random mutants, prints what became of them
    python tests/fuzz/mutants.py --guided --count 100000        # guided by coverage, with atheris from PyPI

Mutant n of a seed is the same on every machine: a failure is repeated by the options that are printed.
"""

import argparse
import io
import os
import random
import resource
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

SHARD = 5000
FIXTURES = ROOT / "tests" / "fixtures"
#: where the damaged files are written: most of the time went into opening them on a disk
MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


def midi(data: bytes, path: Path) -> None:
    """Read, encode, decode and write a MIDI file."""
    from musicbert.midi import read_score
    from tests.fuzz.test_fuzz_midi import use

    use(read_score(data))


def notation(data: bytes, path: Path) -> None:
    """Read a written score."""
    from musicbert.midi import ReadLimits, read_score

    read_score(data, limits=ReadLimits(timeout=20))


def checkpoint(data: bytes, path: Path) -> None:
    """Read the pickle of a checkpoint, in both layouts."""
    from musicbert.weights import load_checkpoint

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", data)
        archive.writestr("x/data/0", bytes(64))
    try:
        load_checkpoint(path)
    finally:
        path.write_bytes(_LEGACY + data)
    load_checkpoint(path)


def objects(data: bytes, path: Path) -> None:
    """Read a pickled object array."""
    from musicbert.corpus.files.object_npy import load_npy

    path.write_bytes(data)
    load_npy(path)


def settings(data: bytes, path: Path) -> None:
    """Read settings of a model beside its weights."""
    from musicbert.weights import build_model, read_bundle

    (path.parent / "config.json").write_bytes(data)
    build_model(read_bundle(path.parent))


_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00."


def seeds(target: str, folder: Path) -> list[bytes]:
    """Whole files that are damaged, and what lies beside them."""
    if target == "midi":
        files = sorted((FIXTURES / "musicbert").glob("s*.mid"))
        return [path.read_bytes() for path in files if 0 < path.stat().st_size < 1500]
    if target == "notation":
        sys.path.insert(0, str(ROOT / "tests"))
        from written_scores import FILES as SCORES

        return list(SCORES.values())
    if target == "objects":
        import numpy as np

        stream = io.BytesIO()
        array = np.empty(2, object)
        array[:] = [[[0, 1.5, 60]], np.arange(4)]
        np.save(stream, array, allow_pickle=True)
        return [stream.getvalue()]
    import torch

    if target == "checkpoint":
        from argparse import Namespace

        stream = io.BytesIO()
        weights = {"w": torch.zeros(4, 4), "b": torch.nn.Parameter(torch.zeros(16))}
        torch.save(
            {"model": weights, "args": Namespace(arch="musicbert_mini", task="xai", dropout=0.1)}, stream
        )
        with zipfile.ZipFile(stream) as archive:
            return [archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))]
    from musicbert.config import ModelConfig
    from musicbert.model import MusicBert
    from musicbert.weights import Bundle, save_folder

    config = ModelConfig(layers=1, width=8, ffn_width=8, heads=2, max_positions=8)
    save_folder(Bundle(config, MusicBert(config).state_dict()), folder / "model")
    return [(folder / "model" / "config.json").read_bytes()]


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    each.__name__: each for each in (midi, notation, checkpoint, objects, settings)
}


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Change, insert, remove, repeat or cut a few bytes."""
    content = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at, kind = draw.randrange(len(content) + 1), draw.randrange(7)
        if kind == 0:
            content[at : at + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            content[at:at] = draw.randbytes(draw.randrange(1, 7))
        elif kind == 2:
            del content[at : at + draw.randrange(1, 11)]
        elif kind == 3:
            content[at:at] = content[at : at + draw.randrange(1, 40)] * draw.randrange(1, 4)
        elif kind == 4 and at < len(content):
            content[at] ^= 1 << draw.randrange(8)
        elif kind == 5:
            number = draw.choice((0, 1, 0x7F, 0x7FFFFFFF, 0xFFFFFFFF))
            content[at : at + 4] = struct.pack(draw.choice("<>") + "I", number)
        elif draw.random() < 0.2:
            del content[at:]
    return bytes(content)


def outcome(target: str, data: bytes, path: Path) -> str:
    """Reason of the error, or ``read``; any other exception is raised."""
    from musicbert.errors import MusicBertError

    try:
        TARGETS[target](data, path)
    except MusicBertError as error:
        return error.reason
    return "read"


def shard(target: str, seed: int, first: int, count: int) -> tuple[Counter[str], float, int, list[str]]:
    """Outcomes, slowest seconds, peak MiB, and failures of some mutants."""
    counts: Counter[str] = Counter()
    slowest, failures = 0.0, []
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        whole = seeds(target, folder)
        path = folder / "model" / "x" if target == "settings" else folder / "x.pt"
        for number in range(first, first + count):
            draw = random.Random(f"{seed} {number}")
            data = mutate(draw.choice(whole), draw)
            begin = time.monotonic()
            try:
                counts[outcome(target, data, path)] += 1
            except Exception as error:  # what is looked for
                counts["FAILED"] += 1
                failures.append(
                    f"--target {target} --seed {seed} --first {number} --count 1: {error!r}"[:300]
                )
            slowest = max(slowest, time.monotonic() - begin)
    return counts, slowest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, failures


def guided(target: str, count: int, seed: int) -> int:
    """Let atheris choose mutants by the code that they reach; returns the exit status."""
    kept = Path(tempfile.mkdtemp(prefix=f"mutants-{target}-"))  # a failing file is put there
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        child = os.fork()  # libFuzzer ends the process
        if child == 0:
            _fuzz(target, count, seed, kept, Path(folder))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _fuzz(target: str, count: int, seed: int, kept: Path, folder: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["musicbert"]):
        import musicbert.corpus.files.object_npy
        import musicbert.midi
        import musicbert.weights  # noqa: F401
    corpus = kept / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds(target, folder)):
        (corpus / str(number)).write_bytes(data)
    path = folder / "model" / "x" if target == "settings" else folder / "x.pt"
    limits = [f"-runs={count}", "-max_len=4096", "-rss_limit_mb=1500", "-timeout=60", "-print_final_stats=1"]
    limits += [f"-seed={seed + 1}", f"-artifact_prefix={kept}/"]  # 0 is drawn anew
    atheris.Setup([sys.argv[0], *limits, str(corpus)], lambda data: outcome(target, data, path) and None)
    atheris.Fuzz()


def main() -> int:
    """Run the mutants; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--target", choices=TARGETS, action="append", help="what is damaged (default: each in turn)")
    add("--count", type=int, default=1_000_000, help="mutants in all (%(default)s)")
    add("--first", type=int, default=0, help="number of the first mutant")
    add("--seed", type=int, default=0, help="of the mutants")
    add("--workers", type=int, default=1, help="processes")
    add("--seconds", type=float, default=float("inf"), help="begin no further shard after this time")
    add("--guided", action="store_true", help="guided by coverage (atheris), one target")
    options = parser.parse_args()
    targets = options.target or list(TARGETS)
    if options.guided:
        return guided(targets[0], options.count, options.seed)
    share = -(-options.count // len(targets))
    tasks = [
        (target, options.seed, first, min(SHARD, options.first + share - first))
        for first in range(options.first, options.first + share, SHARD)
        for target in targets
    ]
    begin, failed = time.monotonic(), 0
    totals: dict[str, Counter[str]] = {target: Counter() for target in targets}
    slowest, peak = dict.fromkeys(targets, 0.0), dict.fromkeys(targets, 0)
    with ProcessPoolExecutor(options.workers) as pool:
        for at in range(0, len(tasks), options.workers):
            if time.monotonic() - begin > options.seconds:
                break
            group = tasks[at : at + options.workers]
            for task, result in zip(group, pool.map(shard, *zip(*group, strict=True)), strict=True):
                counts, seconds, memory, failures = result
                totals[task[0]] += counts
                slowest[task[0]] = max(slowest[task[0]], seconds)
                peak[task[0]] = max(peak[task[0]], memory)
                failed += len(failures)
                sys.stdout.writelines(f"{line}\n" for line in failures[:5])
    done, took = sum(map(Counter.total, totals.values())), time.monotonic() - begin
    lines = [f"{done} mutants in {took:.0f} s, {failed} failed"]
    for target, counts in totals.items():
        figures = f"{counts.total()}, slowest {slowest[target]:.2f} s, peak {peak[target]} MiB"
        reasons = ", ".join(f"{name} {number}" for name, number in counts.most_common())
        lines.append(f"{target}: {figures}: {reasons}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
