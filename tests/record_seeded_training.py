"""Seeded losses, scores and weights of every training recipe, to compare before and after a change.

    python tests/record_seeded_training.py --check [--only REGEX] [--file FILE]
    python tests/record_seeded_training.py --write [--file FILE]

``--check`` compares every digit and every tensor, which are equal on one kind of CPU with one torch release;
``tests/integration/test_seeded_training.py`` compares the printed numbers of the same cases with a tolerance.
Only what users see is used: options of ``fairseq-train``, the command ``musicbert``, the programs of the
checkout, and files on disk. One thread does everything. The cases are in ``tests/seeded/cases.py``.
"""

import argparse
import json
import logging
import math
import os
import re
import sys
import tempfile
import time
import warnings
from hashlib import sha256
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from seeded.cases import ADAM, CASES, RUN, TUNING
from seeded.data import ROOT, Data, multilabel_notes, program

FIXTURE = ROOT / "tests" / "fixtures" / "seeded_training.json"
#: options of every `musicbert finetune`
TUNING_RUN = "--cpu --quiet --resamples 50 --epochs 2 --window 60 --batch 4 --learning-rate 1e-3"
#: what is printed of arrays of predictions
SUMMARIES = ("nanmean", "nanstd")
#: logged numbers of speed, time and memory, which no seed decides
NOISE = re.compile(r"(train_|valid_)?(wps|ups|wpb|bsz|train_wall|gb_free|wall)")
#: three decimals of a loss are printed: this much is rounding
ROUNDING = 1.01e-3
#: of outputs that hardly differ the last digits decide about correlations
CORRELATION = 1e-2

#: names of lines, which tell people what they are and are not compared
LABELS = ("row", "array")

CASE_NAMES = [
    *CASES,
    *(f"finetune: {name}" for name in TUNING),
    *(f"scores: {name}" for name in ("ratings", "pairs", "genres")),
]


class Recorder:
    """Runs cases below a folder, each once, with all that they need.

    Parameters
    ----------
    folder
        An empty folder.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.data = Data(self.folder / "data")
        self.logs = {}

    def record(self, name):
        """What a case logs (stage -> lines -> name -> number as printed), and hashes of what it computes."""
        kind, _, rest = name.partition(": ")
        if kind == "finetune":
            return results_of(self.tune(rest), "fold*/seed*/test.npz", "report/report.json")
        if kind == "scores":
            return getattr(self, f"score_{rest}")(self.folder / "scores" / rest)
        checkpoint = self.train(name)
        return self.logs[name], {"model": hash_of_checkpoint(checkpoint)}

    def train(self, name):
        """Run fairseq-train; returns the last checkpoint."""
        folder = self.folder / "runs" / name
        if name not in self.logs:
            data, options = CASES[name]
            words = re.findall(r"\{[^}]+\}|\S+", f"{RUN} {options}")
            words = [str(self.train(word[1:-1])) if word[0] == "{" else word for word in words]
            if "--optimizer" not in words:
                words += ADAM.split()
            self.logs[name] = fairseq_train(*self.choose(data), "--save-dir", folder, *words)
        return folder / "checkpoint_last.pt"

    def choose(self, data):
        """Folder of data, and the options that choose its parts."""
        name = data.removeprefix("one of ").replace("note multilabel", "note regression")
        if name not in TUNING:
            return [self.data.bins(data)]
        folder = self.tune(name)
        shards, path = folder / "data", min(folder.glob("fold*/split.json"))
        if "note multilabel" in data:
            shards = self.folder / "multilabel"
            if not shards.is_dir():
                multilabel_notes(folder / "data", shards)
        if data.startswith("one of "):
            split = json.loads(path.read_text())
            path = folder / "one_piece.json"
            path.write_text(json.dumps({**split, "train": split["train"][:1]}))
        return [shards, "--split-file", path]

    def tune(self, name):
        """Run ``musicbert finetune``; returns its folder."""
        folder = self.folder / "finetune" / name
        if not folder.is_dir():
            table, model, more = TUNING[name]
            program(
                *("musicbert", "finetune", "--labels", self.data.tables() / table),
                *("--midi", self.data.songs(), "--model", f"scratch:{model}", "--output", folder),
                *TUNING_RUN.split(),
                *more.split(),
            )
        return folder

    def score_ratings(self, out):
        """Ratings and performers that a model says of the test part, and their reports."""
        runs, labels = out / "fold0" / "seed7", self.data.folder / "ratings" / "labels.json"
        checkpoint = self.train("M2PFnP_xai, performance input, unshuffled")
        runs.mkdir(parents=True)
        files = (checkpoint, self.data.bins("ratings"), "--output", runs / "test.npz")
        program("scripts/eval_xai.py", *files, "--device", "cpu")
        for kind in ("classes", "regression"):
            files = ("--runs", out, "--labels", labels, "--out", out / kind, "--task", kind)
            program("scripts/report_xai.py", *files, "--resamples", 50)
        return results_of(out, "fold*/seed*/*.npz", "*/report.json")

    def score_pairs(self, out):
        """Ranks of the true phrases, beside baselines."""
        files = (self.train("next, mean, unshuffled"), self.data.bins("pairs"), "--output", out)
        program("scripts/eval_nsp.py", *files, "--device", "cpu")
        return results_of(out, "*.npz", "scores.json")

    def score_genres(self, out):
        """Scores of the genres, beside baselines."""
        files = (self.train("genre"), self.data.bins("genres").parent, "--output", out)
        program("scripts/eval_genre.py", *files, "--device", "cpu")
        return results_of(out, "*.npz", "scores.json")


def fairseq_train(*options, handler=None):
    """Run fairseq-train in this process; returns what it logged at updates, epochs and validations.

    Parameters
    ----------
    options
        Those of fairseq-train.
    handler
        Gets all messages, too.
    """
    import torch
    from fairseq import options as flags
    from fairseq.checkpoint_utils import save_checkpoint
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.logging import metrics
    from fairseq_cli.train import main

    import musicbert.fairseq_plugin  # noqa: F401 - registers tasks, models and criteria

    log = {"train_inner": [], "train": [], "valid": []}

    class Keep(logging.Handler):
        def emit(self, record):
            if record.name in log:
                line = json.loads(record.getMessage())
                log[record.name].append({key: str(line[key]) for key in line if not NOISE.fullmatch(key)})

    vars(save_checkpoint).pop("best", None)  # fairseq keeps that of the run before
    logger, threads = logging.getLogger(), torch.get_num_threads()
    level, handlers = logger.level, logger.handlers[:]
    logger.handlers[:] = [Keep(), *([handler] if handler else [])]
    logger.setLevel(logging.INFO)
    torch.set_num_threads(1)
    metrics.reset()
    try:
        command = list(map(str, [*options, "--user-dir", ROOT / "musicbert"]))
        args = flags.parse_args_and_arch(flags.get_training_parser(), input_args=command)
        main(convert_namespace_to_omegaconf(args))
    finally:
        torch.set_num_threads(threads)
        logger.setLevel(level)
        logger.handlers[:] = handlers
    return log


def hash_of_checkpoint(path):
    """SHA-256 over all tensors of a model."""
    import torch

    import musicbert.fairseq_plugin  # noqa: F401 - allows what fairseq stores beside the tensors

    weights = torch.load(path, map_location="cpu", weights_only=True)["model"]
    return hash_of({name: value.numpy() for name, value in weights.items()})


def hash_of(arrays):
    """SHA-256 over names, types, shapes and bytes of arrays, sorted by name."""
    digest = sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def results_of(folder, predictions, reports):
    """Predictions and scores in files below a folder, which two patterns find."""
    log, hashes = {"predictions": [], "scores": []}, {}
    for path in sorted(folder.glob(predictions)):
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if file[name].dtype.kind == "f"}
        for name, array in arrays.items():
            place = f"{path.relative_to(folder).with_suffix('').as_posix()}: {name}"
            numbers = {key: f"{getattr(np, key)(array):.5f}" for key in SUMMARIES}
            log["predictions"].append({"array": place, **numbers})
            hashes[place] = hash_of({"": array})
    for path in sorted(folder.glob(reports)):
        for row in json.loads(path.read_text())["rows"]:
            name = " ".join(filter(None, (row["kind"], row["seeds"], row["name"], row["task"])))
            log["scores"].append({"row": name, **dict(numbers_in(row["scores"]["pooled"]))})
    return log, hashes


def numbers_in(value, name=""):
    """Every number below a value of JSON, with the path to it."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers_in(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, int | float):
        yield name, repr(value)


def by_row(log):
    """Scores sorted by the names of their rows."""
    return sorted(log["scores"], key=lambda line: line["row"])


def differences(expected, log, *, relative=0.0):
    """What differs between two logs of a case, in words.

    Parameters
    ----------
    expected, log
        See `Recorder.record`.
    relative
        Relative difference that does not count, beside that of rounding; 0: every digit counts.
    """
    expected, log = (
        {**each, "scores": by_row(each)} if "scores" in each else each for each in (expected, log)
    )
    names = [line["row"] for line in expected.get("scores", ())]  # further baselines change nothing
    if "scores" in log:
        log["scores"] = [line for line in log["scores"] if line["row"] in names]
    if {stage: len(expected[stage]) for stage in expected} != {stage: len(log[stage]) for stage in log}:
        return ["other stages, or another number of lines in one"]
    told = []
    for stage, lines in expected.items():
        for number, (line, other) in enumerate(zip(lines, log[stage], strict=True)):
            for key in (key for key in {**line, **other} if key not in LABELS):
                before, now = line.get(key, "absent"), other.get(key, "absent")
                rounding = CORRELATION if "pearson" in key or "spearman" in key else ROUNDING
                if before != now and not (relative and close(before, now, relative, rounding)):
                    told.append(f"{stage} {number}: {key} was {before}, is {now}")
    return told


def close(before, now, relative, absolute):
    """Whether two printed numbers are nearly equal."""
    try:
        return math.isclose(float(before), float(now), rel_tol=relative, abs_tol=absolute)
    except ValueError:
        return False


def check(path, only):
    """Compare all digits and tensors with a file; returns the number of cases that differ."""
    known, wrong = json.loads(path.read_text()), 0
    if known["versions"] != versions():
        say(f"recorded with {known['versions']}, this is {versions()}")
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(folder)
        for name in filter(only.search, CASE_NAMES):
            try:
                log, hashes = recorder.record(name)
                before = known["tensors_sha256"].get(name, {})
                told = differences(known["cases"].get(name, {}), log)
                told += [f"tensors: {key}" for key in before | hashes if before.get(key) != hashes.get(key)]
            except Exception as error:  # the other cases are of interest all the same
                told = [f"{type(error).__name__}: {error}"]
            wrong += bool(told)
            say(f"{'DIFFERS' if told else 'equal':9}{name}")
            for line in told[:5] + ([f"and {len(told) - 5} more"] if len(told) > 5 else []):
                say(f"{'':9}{line}")
    return wrong


def write(path, only):
    """Record cases; the others stay as the file has them."""
    known = json.loads(path.read_text()) if only.pattern else {"cases": {}, "tensors_sha256": {}}
    cases, hashes = known["cases"], known["tensors_sha256"]
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(folder)
        for name in filter(only.search, CASE_NAMES):
            cases[name], hashes[name] = recorder.record(name)
    text = json.dumps({"versions": versions(), "cases": cases, "tensors_sha256": hashes}, indent=1)
    # each line of a log on one line
    text = re.sub(r"\{[^{}]+\}", lambda found: re.sub(r"\s+", " ", found[0]), text)
    path.write_text(text + "\n")


def versions():
    """What the last digits depend on, beside this package."""
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__, "numpy": np.__version__, "instructions": capability}


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--check", action="store_true", help="compare all cases with the file")
    add("--write", action="store_true", help="write the file")
    add(
        "--only",
        type=re.compile,
        default=re.compile(""),
        metavar="REGEX",
        help="cases (all)",
    )
    add("--file", type=Path, default=FIXTURE, help="(%(default)s)")
    options = parser.parse_args()
    if options.check == options.write:
        parser.error("give --check or --write")
    warnings.simplefilter("ignore")  # fairseq 0.12 is older than torch and NumPy
    logging.basicConfig(level=logging.ERROR)
    begin = time.monotonic()
    wrong = 0 if options.write else check(options.file, options.only)
    if options.write:
        write(options.file, options.only)
    say(f"{wrong} cases differ; {time.monotonic() - begin:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported
    os.environ["PYTHONPATH"] = str(ROOT)  # of the runs of `musicbert finetune`
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
