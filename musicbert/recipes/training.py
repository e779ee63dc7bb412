"""Running a recipe: checks of the save folder, the log, the progress bar, and the mark of a finished run."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from musicbert.atomic import write_json
from musicbert.errors import ConfigError
from musicbert.recipes.base import Recipe, Weights
from musicbert.recipes.command import Command, Processes, plan_processes, update_frequency

LOG = "train.log"
LAST = "checkpoint_last.pt"
DONE = "done"
_STATS = re.compile(r"\| (train_inner|train|valid) \| (\{.*\})\s*$")
_LOUD = re.compile(
    r"weights:|No existing checkpoint|Loaded checkpoint|finished: |\| WARNING \||^error|Error", re.IGNORECASE
)
_UPDATES = re.compile(r'"(?:train_|valid_)?num_updates": "(\d+)"')


def train(
    recipe: Recipe,
    extra: Sequence[str] = (),
    *,
    weights: Weights,
    count_gpus: Callable[[], int],
    out: Callable[[str], None],
) -> int:
    """Run a recipe, or print its commands.

    ``extra`` are more flags of fairseq-train; ``count_gpus`` is not called with ``--cpu``; ``out`` prints a
    line. Returns the exit status of the first run that failed, else 0.
    Raises `ConfigError` (``bad-option``, ``not-found``, ``output-exists``; ``unfinished``: cannot be resumed
    without optimizer states) and `CheckpointError` (weights are missing or cannot be read).
    """
    _check_extra(extra)
    plan = recipe.plan(weights)
    if plan.before:
        out(f"== {plan.before}")
    device = recipe.device(0 if recipe.cpu else count_gpus())
    processes = plan_processes(device.gpus, **recipe.values("processes", "nodes", "node_rank", "master"))
    unfinished = []
    for command in plan.commands:
        folder = Path(command.save_dir)
        begun = recipe.resume and (folder / LAST).is_file()
        words = command.words(device, processes, (*plan.extra, *extra))
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
            status = _run(recipe, command, words, processes, out)
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
    out(f"== fairseq-train into {folder}: {count} process(es), batch {batch} x {frequency}")
    if recipe.dry_run:
        out(shlex.join(words))
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    updates: int = recipe.updates if recipe.bar else 0  # type: ignore[attr-defined]
    status = _logged(words, folder / LOG, {**os.environ, **processes.environment}, updates)
    if status == 0:
        for file in folder.glob("checkpoint_[0-9]*_[0-9]*.pt"):  # the last one is checkpoint_last.pt, too
            file.unlink()
        log = (folder / LOG).read_text(encoding="utf-8", errors="replace")
        counted = _UPDATES.findall(log)[-1:]
        write_json(folder / DONE, {"updates": int(counted[0]) if counted else None, "command": words})
    return status


def _finished(mark: Path, words: Sequence[str]) -> str | None:
    """Number of updates of a run that this command finished; None if it did not.

    A larger ``--max-update`` is another command: fairseq-train goes on. Earlier versions left an empty file.
    """
    if not mark.is_file():
        return None
    text = mark.read_text(encoding="utf-8")
    done = json.loads(text) if text.strip() else {"updates": None, "command": [*words]}
    if done["command"] != [*words]:
        return None
    return f"{done['updates']} updates, " if done["updates"] else ""


def _logged(words: Sequence[str], log: Path, environment: dict[str, str], updates: int) -> int:
    """Run a command; its output goes to the log and to the terminal, as it is or as a bar."""
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
        lines = _tee(process.stdout, file)
        if updates:
            show_bar(lines, updates)
        else:
            for line in lines:
                sys.stdout.write(line)
                sys.stdout.flush()
    return process.returncode


def _tee(lines: Iterable[str], file: object) -> Iterator[str]:
    for line in lines:
        file.write(line)  # type: ignore[attr-defined]
        file.flush()  # type: ignore[attr-defined]
        yield line


def show_bar(lines: Iterable[str], updates: int) -> None:
    """Show fairseq's JSON log as a progress bar; warnings and errors are printed as they are."""
    from tqdm import tqdm

    trace = False
    shown: dict[str, str] = {}
    with tqdm(total=updates, unit="update") as bar:
        for line in lines:
            stats = _STATS.search(line)
            trace = trace or line.startswith("Traceback")
            if stats is None:
                if trace or _LOUD.search(line):
                    bar.write(line.rstrip())
                continue
            part, values = stats.group(1), json.loads(stats.group(2))
            prefix = "" if part == "train_inner" else f"{part}_"
            where = "valid" if part == "valid" else "train"
            count = next(
                (values[name] for name in ("num_updates", f"{where}_num_updates") if values.get(name)), None
            )
            if count is not None:
                bar.update(max(int(float(count)) - bar.n, 0))
            shown |= {
                f"{where} {name}": values[f"{prefix}{name}"]
                for name in ("loss", "R2", "accuracy")
                if f"{prefix}{name}" in values
            }
            bar.set_postfix(shown, refresh=False)


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
