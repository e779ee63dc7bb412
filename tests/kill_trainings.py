"""Kill trainings of every kind, go on with them, and compare their weights with one that ran through.

    python tests/kill_trainings.py [--kills 50 | --at N ...] [--only REGEX] [--seed 1]

Each training runs on a slow disk in a process that is forked from this one, and gets SIGKILL at random
moments; a second call goes on with it. After each kill every checkpoint has to be whole; at the end all
tensors have to be those of the training that nobody killed. With ``--at``, trainings are killed at chosen
updates and writes, whatever their speed (``tests/integration/test_killed_trainings.py``). Kinds and data are
those of ``tests/seeded``.
"""

import argparse
import io
import itertools
import logging
import os
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from record_seeded_training import ROOT, Recorder, fairseq_train, hash_of_checkpoint
from seeded.cases import ADAM, CASES, RUN

#: kind of training -> case
KINDS = {
    "masked LM": "octuple_masked_lm, padded",
    "M2BERT's denoising": "music_pretrain, m2bert, denoise",
    "performers": "M2P_xai",
    "ratings and performers": "M2PFnP_xai",
    "contrastive": "xai_pretrain_loss",
    "contrastive, fine-tuning": "xai_finetuning_loss",
    "sentence prediction": "next",
    "genres": "genre",
    "tagging": "pieces, first",
}
#: checkpoints are written after every update: that of the update, the best and the last one
SAVE = "--save-interval-updates 1 --keep-interval-updates 1 --validate-interval-updates 1"
LAST, BEST = "checkpoint_last.pt", "checkpoint_best.pt"
CHUNK, PAUSE = 1 << 16, 0.004


class Trainings:
    """Trainings with data below a folder.

    Parameters
    ----------
    folder
        An empty folder.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.recorder = Recorder(self.folder / "made")

    def command(self, kind, save_dir, *more):
        """Options of fairseq-train."""
        data, options = CASES[KINDS[kind]]
        words = re.findall(r"\{[^}]+\}|\S+", f"{RUN} {options}")
        words = [str(self.recorder.train(word[1:-1])) if word[0] == "{" else word for word in words]
        optimizer = [] if "--optimizer" in words else ADAM.split()
        data = self.recorder.choose(data)
        return [*data, "--save-dir", save_dir, *words, *optimizer, *SAVE.split(), *more]


def start(command, log, prepare=lambda: None):
    """Run fairseq-train in a forked process; returns its number.

    Parameters
    ----------
    command
        Its options.
    log
        File for what it prints and logs.
    prepare
        Called in the new process before anything else.
    """
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.setsid()
        logging.getLogger().setLevel(logging.INFO)
        prepare()
        fairseq_train(*command, handler=logging.StreamHandler())
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(child):
    """Exit status of a process; -9 if it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_after(child, seconds):
    """Kill a process after some time, unless it ends before; returns its exit status."""
    ended = os.pidfd_open(child)
    try:
        if not select.select([ended], [], [], seconds)[0]:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(ended)
    return wait(child)


def slow_disk():
    """Let checkpoints be written in small pieces, with a pause after each, whoever writes them."""
    import torch

    save = torch.save

    def write(content, file):
        for at in range(0, len(content), CHUNK):
            file.write(content[at : at + CHUNK])
            file.flush()
            time.sleep(PAUSE)

    def slow_save(state, file, *_, **__):
        whole = io.BytesIO()
        save(state, whole)
        write(whole.getbuffer(), file)

    def slow_copy(source, target, *_, **__):
        with Path(target).open("wb") as file:
            write(Path(source).read_bytes(), file)
        return target

    torch.save = slow_save
    shutil.copyfile = slow_copy
    shutil.copyfileobj = lambda source, target, *_: write(source.read(), target)


def count_events(number):
    """Kill this process at event ``number``: before each update, in each write, and before each renaming."""
    import torch
    from fairseq.trainer import Trainer

    events, step, save, rename = itertools.count(1), Trainer.train_step, torch.save, Path.replace

    def happen():
        if next(events) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted_step(self, *arguments, **more):
        happen()
        return step(self, *arguments, **more)

    def write(content, file):
        middle = len(content) // 2
        file.write(content[:middle])
        file.flush()
        happen()
        file.write(content[middle:])

    def counted_save(state, file, *_, **__):
        whole = io.BytesIO()
        save(state, whole)
        write(whole.getbuffer(), file)

    def counted_rename(self, target):
        happen()
        return rename(self, target)

    Trainer.train_step, torch.save, Path.replace = counted_step, counted_save, counted_rename
    shutil.copyfileobj = lambda source, target, *_: write(source.read(), target)


def damaged(folder):
    """Names of the checkpoints that are not whole."""
    wrong = []
    for path in sorted(folder.glob("*.pt")):
        whole = False
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            whole = archive.testzip() is None
        wrong += [] if whole else [path.name]
    return wrong


def weights(folder):
    """Hashes of the last and the best model."""
    return {name: hash_of_checkpoint(folder / name) for name in (LAST, BEST) if (folder / name).is_file()}


def kill_often(trainings, kind, moments, kills, *, counted=False):
    """Kill trainings of one kind; returns how many kills and trainings there were, and what went wrong.

    Parameters
    ----------
    trainings, kind
        What is trained.
    moments
        For each training a list: when it is killed. Shares of the time that a whole training takes, or
        numbers of events of `count_events`.
    kills
        How many are enough.
    counted
        Whether moments are numbers of events, for which the disk need not be slow.
    """
    folder = trainings.folder / re.sub(r"\W+", "-", kind)
    folder.mkdir()
    seconds, prepare = 0.0, (lambda: None) if counted else slow_disk
    for whole in ("whole",) if counted else ("first", "whole"):  # the first one has more to read
        begin = time.monotonic()
        if wait(start(trainings.command(kind, folder / whole), folder / "whole.log", prepare)):
            return 0, 0, [(folder / "whole.log").read_text()[-2000:]]
        seconds = time.monotonic() - begin
    expected, wrong, killed, runs = weights(folder / "whole"), [], 0, 0
    wrong += [] if counted or weights(folder / "first") == expected else ["two whole trainings differ"]
    while killed < kills:
        run, log = folder / f"run{runs}", folder / f"run{runs}.log"
        command = trainings.command(kind, run)
        for moment in [*moments(), None]:
            kill = partial(count_events, moment) if counted and moment else prepare
            child = start(command, log, kill)
            status = wait(child) if counted or moment is None else kill_after(child, moment * seconds)
            if status != -signal.SIGKILL:
                wrong += [f"{run.name}: status {status}: {log.read_text()[-500:]}"] if status else []
                break
            killed += 1
            wrong += [f"{run.name}: {name} is damaged" for name in damaged(run)]
        if not wrong and weights(run) != expected:
            wrong.append(f"{run.name}: other weights")
        if runs > 2 * kills:
            wrong.append("hardly any training is killed: they end too early")
            break
        runs += 1
        shutil.rmtree(run)
    return killed, runs, wrong


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--kills", type=int, default=50, help="kills of each kind (%(default)s)")
    add("--at", type=int, nargs="+", help="kill one training of each kind at these events, one after another")
    add("--only", type=re.compile, default=re.compile(""), metavar="REGEX", help="kinds to kill (all)")
    add("--seed", type=int, default=1, help="of the moments of the kills (%(default)s)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.ERROR)
    import fairseq_cli.train  # noqa: F401 - once for all processes

    import musicbert.fairseq_plugin  # noqa: F401

    rng, faults = random.Random(options.seed), 0

    def moments():
        return options.at or [rng.uniform(0.15, 0.85) for _ in range(3)]

    with tempfile.TemporaryDirectory() as folder:
        trainings = Trainings(folder)
        for kind in filter(options.only.search, KINDS):
            kills = len(options.at or ()) or options.kills
            kills, runs, wrong = kill_often(trainings, kind, moments, kills, counted=bool(options.at))
            say(f"{kind}: {kills} kills of {runs} trainings, {len(wrong)} faults")
            faults += len(wrong)
            for line in wrong[:5]:
                say(f"  {line}")
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PYTHONPATH"] = str(ROOT)
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
