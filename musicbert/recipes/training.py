"""Running a recipe: checks of the save folder, the log, and the mark of a finished run."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

from musicbert.atomic import write_json
from musicbert.errors import ConfigError
from musicbert.recipes.base import Machine, Recipe, Weights
from musicbert.recipes.command import (
    Command,
    Device,
    Processes,
    flag_values,
    plan_processes,
    source_hashes,
    update_frequency,
)
from musicbert.recipes.estimate import UTILISATION, training_flops
from musicbert.recipes.screen import Screen, screen_of
from musicbert.reuse import MADE_FROM, hold_folder, made_from, read_record, require_same, write_record

LOG = "train.log"
LAST = "checkpoint_last.pt"
DONE = "done"
#: flags that may differ in a training that goes on: where, how long, what is printed and stored
_FREE = re.compile(
    r"--((save|keep|log|validate|reset|distributed)-.*|user-dir|tensorboard-logdir|num-workers|patience|cpu"
    r"|max-(update|epoch|tokens)|total-num-update|stop-time-hours|batch-size|update-freq|disable-validation"
    r"|no-((epoch|last|best)-checkpoints|save.*|progress-bar)|ddp-backend|compile)"
)


def train(
    recipe: Recipe,
    extra: Sequence[str] = (),
    *,
    weights: Weights,
    machine: Machine,
    out: Callable[[str], None],
) -> int:
    """Run a recipe, or print its commands.

    ``extra`` are more flags of fairseq-train; ``out`` prints a line. Returns the exit status of the first run
    that failed, else 0.
    Raises `ConfigError` (``bad-option``, ``not-found``, ``output-exists``; ``unfinished``: cannot be resumed
    without optimizer states) and `CheckpointError` (weights are missing or cannot be read).
    """
    _check_extra(extra)
    plan = recipe.plan(weights)
    out(f"== {(recipe.__doc__ or '').partition('.')[0]}")
    if plan.before:
        out(f"   {plan.before}")
    device = recipe.device(0 if recipe.cpu else machine.gpus())
    processes = plan_processes(device.gpus, **recipe.values("processes", "nodes", "node_rank", "master"))
    unfinished = []
    known: dict[str, dict[str, str]] = {}
    rank = os.environ.get("SLURM_NODEID", "0")
    for command in plan.commands:
        folder = Path(command.save_dir)
        begun = recipe.resume and (folder / LAST).is_file()
        words = command.words(device, processes, (*plan.extra, *extra))
        record = None if recipe.dry_run else made_of(command, words, known)
        if record is not None and recipe.resume and any((folder / name).is_file() for name in (LAST, DONE)):
            check_begun(folder, record, out)
        if recipe.resume and (updates := _finished(folder / DONE, words)) is not None:
            out(f"== finished: {updates}{folder}; nothing is changed")
        elif begun and recipe.small_checkpoints:
            reason = "is unfinished and cannot be resumed: small checkpoints have no optimizer states"
            if not plan.marked:
                raise ConfigError("unfinished", f"{folder} {reason}", hint="--resume needs optimizer states")
            out(f"== {folder} {reason}; skipped")
            unfinished.append(str(folder))
        else:
            check_save_folder(folder, resume=recipe.resume)
            with _begin(folder, record, first=(recipe.node_rank or rank) == "0"):
                status = _run(recipe, command, words, processes, device, machine, out)
            if status:
                return status
    if unfinished:
        raise ConfigError(
            "unfinished",
            f"not finished: {' '.join(unfinished)}",
            hint="remove them to start again; only runs without --small-checkpoints can be resumed",
        )
    if plan.after:
        out(f"== {plan.after}")
    return 0


def _run(
    recipe: Recipe,
    command: Command,
    words: Sequence[str],
    processes: Processes,
    device: Device,
    machine: Machine,
    out: Callable[[str], None],
) -> int:
    """Start one run; return its exit status."""
    folder = Path(command.save_dir)
    batch, count = command.batch, processes.count
    frequency = update_frequency(command.effective_batch, batch, count)
    achieved = frequency * batch * count
    if achieved != command.effective_batch:
        out(f"== effective batch {achieved}, not {command.effective_batch}: {count} process(es) of {batch}")
    if recipe.resume and not (folder / LAST).is_file():
        out(f"== {folder}: nothing to resume yet, starting afresh")
    where = f"{device.gpus} GPU(s)" if device.gpus else "the CPU"
    out(f"== {folder}: {count} process(es), batch {batch} x {frequency}, on {where}, data {command.data}")
    if recipe.dry_run:
        out(shlex.join(words))
        return 0
    for package in ("torch", "fairseq"):
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    log = folder / LOG
    out(f"   full log: {log}")
    screen = screen_of(words, out, bar=recipe.bar or None, advise=not device.gpus)
    operations = 0.0 if device.gpus else training_flops(words, command.data, achieved)
    if operations:
        screen.expect(operations / (machine.cpu_speed() * UTILISATION))
    if recipe.verbose:
        screen.hide()
    folder.mkdir(parents=True, exist_ok=True)
    status = _logged(words, log, {**os.environ, **processes.environment}, screen, echo=recipe.verbose)
    if status:
        sys.stderr.write(f"error: {screen.reason(status)}\n  full log: {log}\n")
        return status
    out(f"== {folder}: {screen.summary()}")
    for file in folder.glob("checkpoint_[0-9]*_[0-9]*.pt"):  # the last one is checkpoint_last.pt, too
        file.unlink()
    write_json(folder / DONE, {"updates": screen.done or None, "command": words})
    return 0


@contextmanager
def _begin(folder: Path, record: Mapping[str, Any] | None, *, first: bool) -> Iterator[None]:
    """Hold the save folder and write into it what the training is made from; of several machines, the first.

    Without a record, nothing is trained.
    """
    with hold_folder(folder) if first and record is not None else nullcontext():
        if record is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_record(folder / MADE_FROM, record)
        yield


def made_of(command: Command, words: Sequence[str], known: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Record what a training is made from (`musicbert.reuse.made_from`): its flags, data and weights.

    Flags that say where and how long it runs, and what it prints and stores, are left out. ``known``: hashes
    of files by path.
    """
    given = words[list(words).index(command.data) + 1 :]
    flags = {flag: value for flag, value in flag_values(given).items() if not _FREE.fullmatch(flag)}
    settings = {"--effective-batch": command.effective_batch, **flags}
    return made_from(settings, source_hashes(command.data, given, known))


def check_begun(folder: Path, record: Mapping[str, Any], out: Callable[[str], None]) -> None:
    """Refuse to go on with a training that was made from something else.

    Raises `DatasetError` (``other-settings``).
    """
    if (before := read_record(folder / MADE_FROM)) is None:
        out(f"== {folder} does not say what it was begun with: an earlier version wrote it")
        return
    require_same(before, record, folder, "repeat its options to go on, or choose another --save-dir")


def _finished(mark: Path, words: Sequence[str]) -> str | None:
    """Number of updates of a run that this command finished; None if it did not.

    A larger ``--max-update`` is another command: fairseq-train goes on. Earlier versions left an empty file.
    """
    if not mark.is_file():
        return None
    if not mark.stat().st_size:
        return ""
    done = read_record(mark)
    if not isinstance(done, dict) or done.get("command") != [*words]:
        return None  # of another command, or damaged: fairseq-train sees for itself what is left to do
    return f"{done['updates']} updates, " if done.get("updates") else ""


def _logged(
    words: Sequence[str], log: Path, environment: dict[str, str], screen: Screen, *, echo: bool
) -> int:
    """Run a command; its output goes to the log and the screen; ``echo``: as it is to the terminal, too."""
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        screen.show(_tee(process.stdout, file, *((sys.stdout,) if echo else ())))
    return process.returncode


def _tee(lines: Iterable[str], *files: TextIO) -> Iterator[str]:
    for line in lines:
        for file in files:
            file.write(line)
            file.flush()
        yield line


def check_save_folder(folder: Path, *, resume: bool) -> None:
    """Refuse a folder with checkpoints that another program wrote, or that are to be resumed.

    Raises `ConfigError` (``output-exists``).
    """
    if not (folder / LOG).is_file():
        for file in sorted(folder.glob("*.pt")):
            raise ConfigError(
                "output-exists",
                f"{folder} holds {file.name}, which this recipe did not write",
                hint="choose another --save-dir",
            )
    elif (folder / LAST).is_file() and not resume:
        raise ConfigError(
            "output-exists",
            f"{folder} already holds checkpoints",
            hint="add --resume to continue, or choose another --save-dir",
        )


def _check_extra(extra: Sequence[str]) -> None:
    """Refuse flags that would move the checkpoints; fairseq accepts the beginning of a flag, too."""
    for word in extra:
        if word.startswith("--save-d"):
            raise ConfigError("bad-option", "give --save-dir before the --")
        if re.match(r"--checkpoint-s[^h]", word):
            raise ConfigError(
                "bad-option", "--checkpoint-suffix changes which file is loaded, too", hint="use --save-dir"
            )
