"""Ablations: pre-train variants, fine-tune each on M2BERT's tasks, and report gains over no pre-training.

Every variant is pre-trained on as many rows of as many notes (docs/ablations.md). Steps that are done already
are skipped, so an interrupted run goes on where it was. A variant is NAME, NAME@UPDATES (pre-trained for so
many updates) or NAME%SHARE (fine-tuned on SHARE per cent of the labels), also NAME@UPDATES%SHARE; names:

  scratch-octuple scratch-cp             no pre-training
  bar compound element                   masked octuples (scripts/pretrain/musicbert.sh)
  octuple-bar octuple-denoise[-roll]     MusicBERT with M2BERT's objectives (scripts/m2bert/pretrain.sh)
  cp-denoise[-roll[-nochroma]]           M2BERT
  cp-mask cp-bar                         M2BERT with MidiBERT's and MusicBERT's masks

What follows -- goes to musicbert benchmark, that is, to the fine-tuning.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from program import (
    check_record,
    die,
    environment,
    full_command,
    make_parser,
    need,
    print_command,
    record_of,
    say,
    split_extra,
)

from musicbert.reuse import read_record, write_record

VARIANTS = (
    "scratch-octuple scratch-cp bar compound element octuple-denoise octuple-denoise-roll cp-denoise "
    "cp-denoise-roll cp-denoise-roll-nochroma cp-mask cp-bar"
)
M2BERT, MUSICBERT = "m2bert/pretrain.sh", "pretrain/musicbert.sh"
_BAR = ("--objective", "mask", "--mask-strategy", "bar", "--aux", "none")
_DENOISE = ("--objective", "denoise", "--aux", "none")
_ROLL = ("--objective", "denoise", "--aux", "pianoroll")
#: name -> encoding, program of pre-training below scripts/ (None: no pre-training), its flags
RECIPES: dict[str, tuple[str, str | None, tuple[str, ...]]] = {
    "scratch-octuple": ("octuple", None, ()),
    "scratch-cp": ("cp", None, ()),
    **{name: ("octuple", MUSICBERT, ("--mask-strategy", name)) for name in ("bar", "compound", "element")},
    "octuple-bar": ("octuple", M2BERT, _BAR),
    "octuple-denoise": ("octuple", M2BERT, _DENOISE),
    "octuple-denoise-roll": ("octuple", M2BERT, _ROLL),
    "cp-bar": ("cp", M2BERT, _BAR),
    "cp-mask": ("cp", M2BERT, ("--objective", "mask", "--mask-strategy", "midibert", "--aux", "none")),
    "cp-denoise": ("cp", M2BERT, _DENOISE),
    "cp-denoise-roll": ("cp", M2BERT, _ROLL),
    "cp-denoise-roll-nochroma": ("cp", M2BERT, ("--objective", "denoise", "--aux", "pianoroll_nochroma")),
}
#: what a pre-training was made from, in its folder
SETTING = "setting.json"
#: what separates two looks at the running processes, in seconds
_PAUSE = 0.3


@dataclass(frozen=True)
class Variant:
    """A variant: its recipe, updates of pre-training and per cent of the labels (None: all)."""

    text: str
    name: str
    updates: int
    share: int | None

    @classmethod
    def parse(cls, text: str, updates: int) -> Variant:
        """Read NAME[@UPDATES][%SHARE]; exit where it is none."""
        rest, _, share = text.partition("%")
        name, at, count = rest.partition("@")
        if at and not re.fullmatch(r"[1-9]\d*", count):
            die(f"variant {text}: updates are a whole number, not '{count}'")
        if not re.fullmatch(r"([1-9]\d?)?", share):
            die(f"variant {text}: a share of labels is 1 to 99 per cent, not '{share}'")
        if name not in RECIPES:
            die(f"unknown variant {name} (see --help)")
        return cls(text, name, int(count) if at else updates, int(share) if share else None)

    @property
    def encoding(self) -> str:
        """``octuple`` or ``cp``."""
        return RECIPES[self.name][0]

    @property
    def program(self) -> str | None:
        """Program of its pre-training."""
        return RECIPES[self.name][1]

    @property
    def pretraining(self) -> str:
        """Name of its pre-training, which variants with other shares of the labels share."""
        return f"{self.name}@{self.updates}"


class Jobs:
    """Commands that run beside each other, at most `limit` at a time, each with a log of its own."""

    def __init__(self, limit: int, threads: str) -> None:
        self.limit = limit
        self.environment = {**environment(), "OMP_NUM_THREADS": threads}
        self.running: dict[subprocess.Popen[bytes], tuple[str, Path, Path | None, float]] = {}
        self.failed: list[str] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)

    def start(self, what: str, command: list[str], log: Path, mark: Path | None = None) -> None:
        """Start a command as soon as there is room; `mark` is a file that is made when it has succeeded."""
        self._wait(self.limit - 1)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that it can be stopped with all its children
            )
        self.running[process] = (what, log, mark, time.monotonic())

    def finish(self) -> None:
        """Wait for everything that was started."""
        self._wait(0)

    def _wait(self, room: int) -> None:
        """Wait until at most `room` commands run."""
        while True:
            for process in [job for job in self.running if job.poll() is not None]:
                self._ended(process)
            if len(self.running) <= room:
                return
            time.sleep(_PAUSE)

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        what, log, mark, began = self.running.pop(process)
        seconds = round(time.monotonic() - began)
        if process.returncode == 0:
            if mark is not None:
                mark.touch()
            say(f"{what}: done in {seconds} s")
            return
        self.failed.append(what)
        lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
        last = lines[-1][:200] if lines else ""
        say(f"{what}: exit status {process.returncode} after {seconds} s, see {log}: {last}")

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        say("stopped; the same command goes on")
        raise SystemExit(130)


def pretraining_command(given: argparse.Namespace, variant: Variant, folder: Path) -> list[str]:
    """Return the command that pre-trains a variant, without what follows ``--``."""
    encoding, program, flags = RECIPES[variant.name]
    every = (variant.updates + 3) // 4
    command = [
        *full_command([f"scripts/{program}"]),
        *("--data", getattr(given, encoding), "--save-dir", str(folder), "--arch", _arch(given, variant)),
        *(*flags, "--updates", variant.updates, "--warmup", given.warmup or variant.updates // 10),
        *("--lr", given.lr, "--effective-batch", given.batch, "--batch", given.batch, "--dropout", 0),
        *("--seed", given.pretrain_seed, "--num-workers", 1, "--processes", 1, *_on(given.cpu, "--cpu")),
    ]
    if program == MUSICBERT:
        # one sequence a row, and of it `crop` notes
        tokens = max((given.crop + 3) * 8, 8192)
        command += ["--break-mode", "eos", "--crop-length", given.crop, "--tokens", tokens]
        command += ["--optimizer", "fused_adamw", "--save-every", every, *_on(given.bf16, "--autocast-bf16")]
    else:
        command += ["--encoding", encoding, "--crop", given.crop, "--epochs", 1000000, "--patience", -1]
        command += ["--lr-scheduler", "polynomial_decay", "--validate-every", every]
        command += _on(given.bf16, "--bf16")
    return list(map(str, command))


def finetuning_command(
    given: argparse.Namespace, variant: Variant, start: str, folder: Path, workers: int, extra: list[str]
) -> list[str]:
    """Return the command that fine-tunes a variant."""
    data = Path(getattr(given, f"tasks_{variant.encoding}"))
    rate = given.finetune_lr if variant.program else given.scratch_lr or given.finetune_lr
    command = [
        *full_command(["-m", "musicbert", "benchmark", start, "--output", folder]),
        *("--workers", workers, "--quiet", "--no-baselines"),
    ]
    for level in ("note", "seq"):
        if (data / level).is_dir():
            command += [f"--{level}-data", data / level]
    for name in ("tasks", "splits", "seeds", "only-folds"):
        if words := getattr(given, name.replace("-", "_")).split():
            command += [f"--{name}", *words]
    # epochs without end: the number of updates is the same for any number of labels
    command += ["--epochs", 1000000, "--max-updates", given.finetune_updates, "--batch", given.finetune_batch]
    command += ["--window", given.window, "--learning-rate", rate, "--schedule", "linear", "--warmup", 0.06]
    command += ["--clip", 1, *_on(given.cpu, "--cpu"), *_on(given.bf16, "--bf16")]
    if variant.share is not None:
        command += ["--train-share", f"0.{variant.share:02d}"]
    return [*map(str, command), *extra]


def _on(switch: bool, flag: str) -> list[str]:
    return [flag] if switch else []


def _arch(given: argparse.Namespace, variant: Variant) -> str:
    return f"{'musicbert' if variant.encoding == 'octuple' else 'm2bert'}_{given.size}"


def _claim(given: argparse.Namespace, variant: Variant, folder: Path) -> None:
    """Exit where a folder holds a pre-training of other settings or data."""
    names = ("batch", "crop", "lr", "warmup", "clip_norm", "pretrain_seed", "bf16")
    settings = {f"--{name.replace('_', '-')}": getattr(given, name) for name in names}
    settings |= {"program": variant.program, "--updates": variant.updates, "--arch": _arch(given, variant)}
    settings["recipe"] = " ".join(RECIPES[variant.name][2])
    record = record_of(settings, Path(getattr(given, variant.encoding)))
    folder.mkdir(parents=True, exist_ok=True)
    if any((folder / name).exists() for name in ("done", "checkpoint_last.pt")):
        check_record(read_record(folder / SETTING), record, folder, "choose another --output")
    write_record(folder / SETTING, record)


def _keep_scores(folder: Path) -> None:
    """Rename the table of an earlier call: `musicbert benchmark` writes one of this call's tasks alone."""
    if (folder / "scores.json").is_file():
        number = 1
        while (folder / f"scores-{number}.json").is_file():
            number += 1
        (folder / "scores.json").rename(folder / f"scores-{number}.json")


def _check(given: argparse.Namespace, variants: list[Variant], stages: list[str]) -> None:
    """Exit where a variant cannot be run; claim the folders of its pre-training."""
    for variant in variants:
        encoding = variant.encoding
        if "pretrain" in stages and variant.program:
            if not getattr(given, encoding):
                die(f"{variant.text} needs --{encoding} (see --help)")
            need(Path(getattr(given, encoding)), f"musicbert build --encoding {encoding} makes it")
            if not given.dry_run:
                _claim(given, variant, given.output / "pretrain" / variant.pretraining)
        if "finetune" in stages:
            if not getattr(given, f"tasks_{encoding}"):
                die(f"{variant.text} needs --tasks-{encoding} (see --help)")
            hint = f"scripts/prepare_smc_benchmark.sh - FOLDER --codec {encoding} makes it"
            need(Path(getattr(given, f"tasks_{encoding}")), hint)


def _pretrain(given: argparse.Namespace, variants: list[Variant], jobs: Jobs) -> None:
    # variants with several shares of the labels have one pre-training
    once = {variant.pretraining: variant for variant in variants if variant.program}
    for name, variant in once.items():
        folder = given.output / "pretrain" / name
        command = pretraining_command(given, variant, folder)
        if not given.dry_run:
            if (folder / "done").is_file():
                say(f"{name}: pre-trained already")
                continue
            command += _on((folder / "checkpoint_last.pt").is_file(), "--resume")
        # an epoch of few rows is no reason to validate and to save
        command += ["--", "--validate-interval", "1000000", "--save-interval", "1000000"]
        command += ["--clip-norm", str(given.clip_norm)]
        if given.dry_run:
            print_command(command)
        else:
            log = given.output / "logs" / f"pretrain-{name}.log"
            jobs.start(f"{name}, pre-training", command, log, folder / "done")
    jobs.finish()


def _finetune(given: argparse.Namespace, variants: list[Variant], jobs: Jobs, extra: list[str]) -> None:
    for variant in variants:
        what, folder = f"{variant.text}, fine-tuning", given.output / "finetune" / variant.text
        start = f"scratch:{_arch(given, variant)}"
        if variant.program:
            weights = given.output / "pretrain" / variant.pretraining
            start = str(weights / "checkpoint_last.pt")
        command = finetuning_command(
            given, variant, start, folder, max(given.jobs // len(variants), 1), extra
        )
        if given.dry_run:
            print_command(command)
            continue
        if variant.program:
            if not (weights / "done").is_file():
                say(f"{variant.text}: not fine-tuned, its pre-training is not done")
                jobs.failed.append(what)
                continue
            folder.mkdir(parents=True, exist_ok=True)  # the report asks which pre-training it was
            (folder / "pretraining").write_text(f"{variant.pretraining}\n", encoding="utf-8")
        _keep_scores(folder)
        jobs.start(what, command, given.output / "logs" / f"finetune-{variant.text}.log")
    jobs.finish()


def _report(given: argparse.Namespace, jobs: Jobs) -> None:
    hardware = given.hardware
    if not hardware and not given.cpu:
        import torch

        hardware = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
    command = full_command(["results/tools/report_ablations.py", given.output, "--out", given.results])
    command += ["--hardware", hardware or "CPU"]
    if given.dry_run:
        print_command(command)
    elif subprocess.run(command, env=environment(), check=False).returncode:
        jobs.failed.append("report")


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--octuple", default="", help="octuples for pre-training, as musicbert build makes them")
    add("--cp", default="", help="compound words for pre-training (musicbert build --encoding cp)")
    smc = "scripts/prepare_smc_benchmark.sh --codec octuple"
    add("--tasks-octuple", default="", help=f"folder of note/ and seq/ ({smc})")
    add("--tasks-cp", default="", help="folder of note/ and seq/ of compound words")
    add("--output", type=Path, default=Path("runs_ablations"), help="folder for everything that is made")
    add("--results", type=Path, default=Path("results/ablations"), help="folder for the report")
    add("--size", default="mini", help="size of both networks: tiny, mini, small or base")
    add("--variants", default=VARIANTS, help="variants")
    add("--updates", type=int, default=2000, help="updates of pre-training")
    add("--batch", type=int, default=48, help="rows of an update of pre-training")
    add("--crop", type=int, default=512, help="notes of a row")
    add("--lr", default="1e-3", help="peak learning rate of pre-training; it falls to zero")
    add("--warmup", default="", help="updates of rising learning rate (default: 10 %% of the updates)")
    why = "without it MusicBERT's post-norm blocks may stop learning"
    add("--clip-norm", default="1", help=f"clip the norm of the gradient in pre-training ({why})")
    add("--pretrain-seed", default="7", help="seed of pre-training")
    add("--tasks", default="", help="tasks such as 'ME VE VF' (default: all whose data are there)")
    add("--splits", default="clean", help="splits of the tasks")
    add("--seeds", default="1 2 3", help="seeds of fine-tuning")
    add("--only-folds", default="", help="folds of cross-validations to run (default: all)")
    add("--finetune-updates", default="300", help="updates of fine-tuning, whatever the number of labels")
    add("--finetune-batch", default="12", help="windows of an update of fine-tuning")
    add("--window", default="512", help="notes of a window of fine-tuning")
    add("--finetune-lr", default="5e-4", help="peak learning rate of fine-tuning; it falls to zero")
    add("--scratch-lr", default="", help="the same without pre-training (default: --finetune-lr)")
    add("--jobs", type=int, default=1, help="processes at a time")
    add("--stages", default="pretrain finetune report", help="what to do")
    add("--hardware", default="", help="what it runs on, for the report (default: the name of the GPU)")
    add("--cpu", action="store_true", help="leave the GPU alone")
    add("--bf16", action="store_true", help="multiply in bfloat16")
    add("--dry-run", action="store_true", help="print the commands and stop")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the stages. Exit code 1 where a step failed, 2 for bad input."""
    words, extra = split_extra(arguments)
    given = _parser().parse_args(words)
    if given.jobs < 1:
        die("--jobs is at least 1")
    if given.updates < 1:
        die("--updates is at least 1")
    stages = given.stages.split()
    variants = [Variant.parse(text, given.updates) for text in given.variants.split()]
    _check(given, variants, stages)
    if not variants and "report" not in stages:
        die("--variants names none (see --help)")
    share_of_cores = max((os.cpu_count() or 1) // given.jobs, 1)
    jobs = Jobs(given.jobs, os.environ.get("OMP_NUM_THREADS", str(share_of_cores)))
    if "pretrain" in stages:
        _pretrain(given, variants, jobs)
    if "finetune" in stages:
        _finetune(given, variants, jobs, extra or [])
    if "report" in stages:
        _report(given, jobs)
    for what in jobs.failed:
        print(f"failed: {what}", file=sys.stderr)
    return int(bool(jobs.failed))


if __name__ == "__main__":
    sys.exit(main())
