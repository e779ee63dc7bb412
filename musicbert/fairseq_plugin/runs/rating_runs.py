"""Many trainings of one recipe: every fold of a data-bin with every seed, several at a time.

A run is a fold and a seed. Its folder `OUT/fold<k>/seed<s>/` holds `train.log`, the predictions `test.npz`
(and `train.npz`, `valid.npz` where asked for) and, written last, `run.json` with the command, its duration
the versions and hashes of its data. A run whose `run.json` is there is not run again, so an interrupted
experiment goes on where it was; where the command was another one, that is an error.

Runs happen in child processes of one server process that has imported torch and fairseq already
(multiprocessing's `forkserver`), which saves their start-up on every run. A child does several runs, one
after the other, which saves the start-up of the GPU, and computes with `threads` threads.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from musicbert.atomic import write_json
from musicbert.children import calls_in_children
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.runs.run_process import end_with_parent, write_into
from musicbert.provenance import command_line, provenance

__all__ = ["Run", "RunOutcome", "outcome_of", "plan", "run_all", "summary"]

#: runs of one child process, before another takes its place
RUNS_OF_A_CHILD = 10
DONE = "run.json"
LOG = "train.log"


@dataclass(frozen=True)
class Run:
    """One training and its predictions.

    Attributes
    ----------
    data
        Folder of one fold of a data-bin.
    out
        Folder of the run.
    seed
        Seed of the training.
    arguments
        Options of fairseq-train beside the data, the user directory, the seed and the save directory.
    parts
        Parts of the fold to predict.
    checkpoint
        Which checkpoint predicts: ``checkpoint_last.pt`` or ``checkpoint_best.pt``.
    keep_checkpoint
        Leave the checkpoint in the run's folder.
    threads
        Threads of torch.
    before
        Options of a training on the tokens of the same fold that comes first and whose weights the training
        starts from (masked-LM pre-training on the pieces that it may see); none if empty.
    """

    data: Path
    out: Path
    seed: int
    arguments: tuple[str, ...]
    parts: tuple[str, ...] = ("test",)
    checkpoint: str = "checkpoint_last.pt"
    keep_checkpoint: bool = False
    threads: int = 1
    before: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the run is complete."""
        return (self.out / DONE).exists()


@dataclass(frozen=True)
class RunOutcome:
    """What became of a run: ``error`` is None where it went well."""

    out: Path
    seconds: float
    error: str | None = None


def plan(
    data: Path,
    out: Path,
    seeds: Iterable[int],
    arguments: Sequence[str],
    *,
    folds: Sequence[str] | None = None,
    parts: Sequence[str] = ("test",),
    checkpoint: str = "checkpoint_last.pt",
    keep_checkpoint: bool = False,
    threads: int = 1,
    before: Sequence[str] = (),
) -> list[Run]:
    """List the runs of every fold with every seed, seeds outermost (so one seed is complete first).

    Parameters
    ----------
    data
        Data-bin, with a folder for each fold.
    out
        Folder of the experiment.
    seeds
        Seeds.
    arguments, parts, checkpoint, keep_checkpoint, threads, before
        See `Run`.
    folds
        Names of the folds to run; all if None.

    Raises
    ------
    DatasetError
        ``not-found``, ``unknown-fold``, or ``other-settings`` where a run is done, but with other arguments.
    """
    found = _folds(data)
    unknown = sorted(set(folds or ()) - set(found))
    if unknown:
        raise DatasetError(
            "unknown-fold", f"no fold {', '.join(unknown)}; there are {', '.join(found)}", path=data
        )
    runs = [
        Run(
            data=found[name].absolute(),
            out=(out / f"fold{name}" / f"seed{seed}").absolute(),
            seed=seed,
            arguments=tuple(arguments),
            parts=tuple(parts),
            checkpoint=checkpoint,
            keep_checkpoint=keep_checkpoint,
            threads=threads,
            before=tuple(before),
        )
        for seed in seeds
        for name in (folds or found)
    ]
    for run in runs:
        _check_settings(run)
    return runs


def _check_settings(run: Run) -> None:
    """Refuse to pass off what other settings have made as the result of these."""
    if not run.done:
        return
    try:
        made = json.loads((run.out / DONE).read_text(encoding="utf-8"))["command"]
    except (ValueError, KeyError, TypeError):
        made = "?"
    if made != command_line(_options(run)):
        raise DatasetError(
            "other-settings",
            f"this run was made with other settings: {made}",
            path=run.out,
            hint="choose another output folder, or remove this run",
        )


def _folds(data: Path) -> dict[str, Path]:
    """Name -> folder of the folds of a data-bin, in order."""
    folders = [each.parent for each in data.glob("*/input0") if each.parent.name.isdecimal()]
    if not folders:
        raise DatasetError(
            "not-found",
            "no data-bin here (a folder for each fold)",
            path=data,
            hint="run scripts/binarize_xai.sh",
        )
    return {folder.name: folder for folder in sorted(folders, key=lambda each: int(each.name))}


def run_all(runs: Sequence[Run], *, workers: int = 1, progress: bool = True) -> list[RunOutcome]:
    """Do all runs that are not done yet; a run that fails does not stop the others.

    Parameters
    ----------
    runs
        What to do, in this order.
    workers
        Runs at a time.
    progress
        Show a bar.

    Returns
    -------
    Outcomes of the runs that were started, in the order they ended.
    """
    waiting = [run for run in runs if not run.done]
    if not waiting:
        return []
    outcomes = []
    ended = calls_in_children(
        _run,
        waiting,
        workers=workers,
        calls_of_a_child=RUNS_OF_A_CHILD,
        preload=["fairseq_cli.train", "musicbert.fairseq_plugin.labels.rating_predict"],
    )
    bar = tqdm(ended, total=len(runs), initial=len(runs) - len(waiting), disable=not progress)
    for run, answer in bar:
        outcomes.append(outcome_of(run.out, answer))
        bar.set_postfix_str(str(run.out.relative_to(run.out.parents[1])))
    return outcomes


def outcome_of(out: Path, answer: RunOutcome | int) -> RunOutcome:
    """Outcome of a run from what `calls_in_children` gives: it, or the exit status of a child that died."""
    if isinstance(answer, RunOutcome):
        return answer
    return RunOutcome(out, 0.0, f"its process ended with status {answer}")


def _run(run: Run) -> RunOutcome:
    """Train and predict, in a process of its own."""
    begin = time.monotonic()
    end_with_parent()
    shutil.rmtree(run.out, ignore_errors=True)  # what an interrupted run left
    run.out.mkdir(parents=True)
    write_into(run.out / LOG)
    try:
        command = _train(run)
        checkpoint = run.out / run.checkpoint
        _predict(run, checkpoint)
        if not run.keep_checkpoint:
            for file in run.out.glob("checkpoint*.pt"):
                file.unlink()
        seconds = time.monotonic() - begin
        write_json(
            run.out / DONE,
            {"seconds": round(seconds, 1), **provenance(command, inputs=_inputs(run), seed=run.seed)},
        )
    except (Exception, SystemExit) as error:
        print(f"failed: {error!r}", file=sys.stderr, flush=True)  # noqa: T201 - into the log
        return RunOutcome(run.out, time.monotonic() - begin, f"{type(error).__name__}: {error}")
    return RunOutcome(run.out, seconds)


def _inputs(run: Run) -> dict[str, Path]:
    """Files that tell one data set from another."""
    inputs = {f"{part}.label": run.data / "label" / f"{part}.label" for part in ("train", "test")}
    return {**inputs, "train.bin": run.data / "input0" / "train.bin"}


def _options(run: Run) -> list[str]:
    """Return the options of fairseq-train as they would be typed elsewhere."""
    first = [f"--before {command_line(run.before)}"] if run.before else []
    return [*first, *_complete(run, run.arguments)]


def _complete(run: Run, arguments: Sequence[str]) -> list[str]:
    """Add what all runs share."""
    return [
        *arguments,
        *("--seed", str(run.seed), "--required-batch-size-multiple", "1"),
        *("--no-epoch-checkpoints", "--no-save-optimizer-state", "--log-format", "json"),
        *("--num-workers", "0"),  # a worker would be started anew in every epoch
    ]


def _train(run: Run) -> list[str]:
    """Run fairseq-train in this process, once or twice; return its options."""
    import torch

    torch.set_num_threads(run.threads)
    arguments = _complete(run, run.arguments)
    if run.before:
        first = run.out / "before"
        _fairseq_train(run.data / "input0", first, _complete(run, run.before))
        arguments += ["--init-from", str(first / "checkpoint_last.pt")]
    _fairseq_train(run.data, run.out, arguments)
    if run.before and not run.keep_checkpoint:
        shutil.rmtree(first)
    return _options(run)


def _fairseq_train(data: Path, out: Path, options: Sequence[str]) -> None:
    from fairseq_cli.train import cli_main

    package = Path(__file__).resolve().parents[2]
    own = (str(data), "--user-dir", str(package), "--save-dir", str(out))
    sys.argv = ["fairseq-train", *own, *options]
    cli_main()


def _predict(run: Run, checkpoint: Path) -> None:
    import torch

    from musicbert.fairseq_plugin.labels.rating_predict import predict, save_predictions

    device = "cuda" if torch.cuda.is_available() and "--cpu" not in run.arguments else "cpu"
    for part in run.parts:
        save_predictions(predict(checkpoint, run.data, part, device=device), run.out / f"{part}.npz")


def summary(outcomes: Sequence[RunOutcome]) -> str:
    """Return what happened: one line, and one more for each run that failed."""
    failed = [outcome for outcome in outcomes if outcome.error]
    lines = [f"{len(outcomes) - len(failed)} runs done, {len(failed)} failed"]
    return "\n".join(lines + [f"  {outcome.out}: {outcome.error} (see {LOG})" for outcome in failed])
