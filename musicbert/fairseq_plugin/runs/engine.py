"""The run engine: trainings in child processes, several at a time, each done once.

The folder of a run holds ``train.log``, the predictions (``test.npz``: `musicbert.evaluation.predictions`),
``model/`` if the model is kept and, written last, ``run.json``: command, duration, versions, and what the run
was made from (`musicbert.reuse`): options, hashes of data and weights. A run with a ``run.json`` is complete
and is not repeated; `check_settings` refuses it if it was made from something else. Child processes come
from a server that has already imported torch and fairseq (multiprocessing's ``forkserver``), and do several
runs each.
"""

import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from musicbert.atomic import write_json
from musicbert.children import calls_in_children
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.launch import log_as_fairseq
from musicbert.progress import progress_bar
from musicbert.provenance import command_line, provenance
from musicbert.recipes.command import call, flag_values, flags, source_hashes
from musicbert.reuse import made_from, read_record, require_same

DONE, LOG, MODEL = "run.json", "train.log", "model"
BEST, LAST = "checkpoint_best.pt", "checkpoint_last.pt"
#: runs of one child process, before another takes its place
RUNS_PER_CHILD = 10
#: what is kept on disk; these options change no result
_HOUSEKEEPING = ("--no-epoch-checkpoints", "--no-last-checkpoints", "--no-save-optimizer-state")
_PRELOAD = ("musicbert.fairseq_plugin.labels.predict", "fairseq_cli.train", "torch._dynamo")


@dataclass(frozen=True)
class Run:
    """One training and its predictions.

    ``data``: folder of shards, or of one fold of a data-bin; ``out``: folder of the run; ``arguments``:
    options of fairseq-train, without data, user directory, split, seed and save directory; ``split``: file
    with the parts of the pieces of shards, None for a data-bin; ``parts``: parts to predict; ``checkpoint``:
    ``checkpoint_best.pt`` or ``checkpoint_last.pt``, which predicts; ``keep_checkpoint``: leave checkpoints
    in the folder; ``keep_model``: export to ``model/``, for use without fairseq and the data; ``about``: what
    an exported model says about itself (``family``, ``task``, ``origin``); ``threads``: of torch; ``cpu``: do
    not use a GPU; ``before``: options of a training on the tokens of the same fold that comes first and gives
    the weights to start from (masked-LM pre-training on the pieces that this fold may see); ``sources``:
    hashes of what it is made from, by name (`check_settings` adds data and weights); ``search``: alternatives
    of options, of which `musicbert.fairseq_plugin.runs.search` chooses one before the run starts.
    """

    data: Path
    out: Path
    seed: int
    arguments: tuple[str, ...]
    split: Path | None = None
    parts: tuple[str, ...] = ("test",)
    checkpoint: str = BEST
    keep_checkpoint: bool = False
    keep_model: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    cpu: bool = False
    before: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    search: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the run is complete."""
        return (self.out / DONE).exists()

    def options(self) -> list[str]:
        """Options of fairseq-train as recorded in ``run.json``."""
        first = [f"--before {command_line(self.before)}"] if self.before else []
        return [*first, *self._complete(self.arguments)]

    def made_from(self) -> dict[str, Any]:
        """Record what the run is made from (`musicbert.reuse.made_from`)."""
        settings: dict[str, Any] = {"checkpoint that predicts": self.checkpoint}
        if self.before:
            settings["--before"] = command_line(self.before)
        if name := self.about.get("task", {}).get("name"):
            settings["name of the task"] = name
        values = flag_values(self._complete(self.arguments))
        settings |= {flag: value for flag, value in values.items() if flag not in _HOUSEKEEPING}
        return made_from(settings, self.sources)

    def lacks(self) -> list[str]:
        """Files that a complete run would have with these options."""
        files = [f"{part}.npz" for part in self.parts]
        files += [MODEL] if self.keep_model else []
        files += [self.checkpoint] if self.keep_checkpoint else []
        return [name for name in files if not (self.out / name).exists()]

    def _complete(self, arguments: Sequence[str], *, last: bool = False) -> list[str]:
        """Add the options that all runs share."""
        only_best = self.checkpoint == BEST and not self.keep_checkpoint and not last
        return [
            *arguments,
            *flags(
                seed=self.seed,
                required_batch_size_multiple=1,
                no_epoch_checkpoints=True,
                no_last_checkpoints=only_best,
                no_save_optimizer_state=True,
                log_format="json",
                num_workers=0,  # a worker would be started anew in every epoch
                cpu=self.cpu,
            ),
        ]


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended: ``error`` is None if it is complete."""

    out: Path
    seconds: float
    error: str | None = None


def check_settings(runs: Sequence[Run]) -> list[Run]:
    """Add the hashes of data and weights to runs, and refuse complete ones that were made from others.

    Raises `DatasetError` (``other-settings``).
    """
    known: dict[str, dict[str, str]] = {}
    checked = []
    for run in runs:
        sources = source_hashes(str(run.data), (*run.before, "", *run.arguments), known)
        run = replace(run, sources={**sources, **run.sources})
        checked.append(run)
        if run.done and not run.search:  # a search ends in options that are checked then
            hint = "choose another --output, or remove this run to make it anew"
            require_same((read_record(run.out / DONE) or {}).get("made_from"), run.made_from(), run.out, hint)
            if lacking := run.lacks():
                message = f"This run is complete without {', '.join(lacking)}, which is asked for now"
                raise DatasetError("other-settings", message, path=run.out, hint=hint)
    return checked


def start_runs(
    runs: Sequence[Run],
    *,
    workers: int = 1,
    progress: bool = True,
    name: str = "runs",
    after: Callable[[RunOutcome], None] = lambda _: None,
) -> list[RunOutcome]:
    """Do all runs that are not complete yet, ``workers`` at a time; one that fails does not stop the others.

    ``name``: of the progress bar; ``after``: called with each outcome.
    Returns the outcomes of the runs that were started, in the order they ended.
    """
    waiting = [run for run in runs if not run.done]
    if not waiting:
        return []
    outcomes: list[RunOutcome] = []
    bar = progress_bar(total=len(runs), initial=len(runs) - len(waiting), desc=name, shown=progress)
    ended = calls_in_children(
        _run,
        waiting,
        workers=workers,
        calls_of_a_child=RUNS_PER_CHILD,
        preload=_PRELOAD,
        ends_child=lambda outcome: outcome.error is not None,
    )
    with bar:
        for run, answer in ended:
            if isinstance(answer, int):  # the child was killed
                answer = RunOutcome(run.out, 0.0, f"its process ended with status {answer}")
            outcomes.append(answer)
            after(answer)
            bar.update()
            bar.set_postfix_str(str(run.out.relative_to(run.out.parents[1])))
    return outcomes


def summary(outcomes: Sequence[RunOutcome]) -> str:
    """Return how the runs ended: one line, and one more for each run that failed."""
    failed = [outcome for outcome in outcomes if outcome.error]
    lines = [f"{len(outcomes) - len(failed)} runs done, {len(failed)} failed"]
    return "\n".join(lines + [f"  {outcome.out}: {outcome.error} (see {LOG})" for outcome in failed])


# -- in a child process


def _run(run: Run) -> RunOutcome:
    """Train, predict and export."""
    begin = time.monotonic()
    _end_with_parent()
    shutil.rmtree(run.out, ignore_errors=True)  # what an interrupted run left
    run.out.mkdir(parents=True)
    _write_into(run.out / LOG)
    try:
        _train(run)
        record = _predict(run)
        if not run.keep_checkpoint:
            for file in run.out.glob("checkpoint*.pt"):
                file.unlink()
        seconds = time.monotonic() - begin
        record |= provenance(run.options(), inputs={}, seed=run.seed)
        record["made_from"] = run.made_from()
        write_json(run.out / DONE, {"seconds": round(seconds, 1), **record})
    except (Exception, SystemExit) as error:
        print(f"failed: {error!r}", file=sys.stderr, flush=True)  # noqa: T201 - into the log
        return RunOutcome(run.out, time.monotonic() - begin, f"{type(error).__name__}: {error}")
    return RunOutcome(run.out, seconds)


def _end_with_parent() -> None:
    """End this process when its parent is killed: two processes must never write into one run."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _write_into(path: Path) -> None:
    """Append everything that this process prints and logs to a file."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    log_as_fairseq()


def _train(run: Run) -> None:
    """Run fairseq-train in this process, once or twice."""
    import torch

    torch.set_num_threads(run.threads)
    arguments = run._complete(run.arguments)
    first = run.out / "before"
    if run.before:
        _fairseq_train(run.data / "input0", first, run._complete(run.before, last=True))
        arguments += flags(init_from=first / LAST)
    if run.split is not None:
        arguments = [*flags(split_file=run.split), *arguments]
    _fairseq_train(run.data, run.out, arguments)
    if run.before and not run.keep_checkpoint:
        shutil.rmtree(first)


def _fairseq_train(data: Path, out: Path, options: Sequence[str]) -> None:
    from fairseq.checkpoint_utils import save_checkpoint
    from fairseq_cli.train import cli_main, should_stop_early

    for function in (save_checkpoint, should_stop_early):  # they remember the best score of an earlier run
        vars(function).clear()
    sys.argv = ["fairseq-train", *call(data, out), *options]
    cli_main()


def _predict(run: Run) -> dict[str, Any]:
    """Predict the parts and export the model; return what to record."""
    from musicbert.evaluation.predictions import save_predictions
    from musicbert.fairseq_plugin.labels.predict import load_fine_tuned, predict_part

    model, task = load_fine_tuned(run.out / run.checkpoint)
    device = "cpu" if run.cpu or "--cpu" in run.arguments else None
    for part in run.parts:
        save_predictions(run.out / f"{part}.npz", predict_part(model, task, part, device=device))
    if run.keep_model:
        _export(run, model.cpu(), task)
    return {"parameters": sum(value.numel() for value in model.parameters())}


def _export(run: Run, model: Any, task: Any) -> None:
    """Write the model as a folder that `musicbert predict` opens without fairseq and the data."""
    if hasattr(model, "backbone"):
        from musicbert.weights.tagger_folder import save_tagger_folder

        frozen = task.cfg.freeze_layers
        settings = {
            **run.about,
            "origin": {
                **run.about["origin"],
                "seed": run.seed,
                **({"frozen layers": frozen} if frozen else {}),
            },
            **_tasks(run.about, task),
            "architecture": asdict(model.backbone.config),
            "codec": task.data.codec,
            "window": task.cfg.window,
            "overlap": task.cfg.overlap,
            "windows": str(task.cfg.windows),
            "head": asdict(model.settings),
        }
        save_tagger_folder(run.out / MODEL, model.state_dict(), settings)
        return
    from musicbert.weights import read_bundle, save_folder

    bundle = read_bundle(run.out / run.checkpoint)
    trained = {term.head for term in task.terms}
    heads = tuple(head for head in bundle.heads if head.name in trained)
    save_folder(replace(bundle, heads=heads), run.out / MODEL)


def _tasks(about: Mapping[str, Any], task: Any) -> dict[str, Any]:
    """Entry ``task`` or ``tasks`` of a tagger folder."""
    if "tasks" in about:
        return {}
    return {"task": {**about["task"], **_known(task.described_outputs[0])}}


def _known(outputs: dict[str, Any]) -> dict[str, Any]:
    """Poles, scale and training ranges of a tagger, as far as they are known."""
    return {name: outputs[name] for name in ("poles", "scale", "ranges") if outputs.get(name)}
