"""Fine-tuning on labelled shards: every fold of a split with every seed, resumable, several at a time.

``run_task`` is the door for readers and recipes:

>>> run_task(Shards("melody"), task, "scratch:musicbert_tiny", "out", seeds=[2021])  # doctest: +SKIP

``OUT/task.json`` says what was asked for. ``OUT/fold<k>/split.json`` names the pieces of each part (and has
``train_share`` where only a share of the training part is trained on; both are written by
`musicbert.fairseq_plugin.runs.plan`), and
``OUT/fold<k>/seed<s>/`` holds ``train.log``, the predictions ``test.npz``
(`musicbert.evaluation.predictions`), ``model/`` where models are kept, and, written last,
``run.json``. A run whose ``run.json`` is there is not run again; where it was made in another way, that is an
error. The fold ``all`` has no test: its model has seen every piece and is the one to use.

Runs happen in child processes of one server process that has imported torch and fairseq already
(multiprocessing's ``forkserver``), which saves their start-up on every run.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

from tqdm import tqdm

from musicbert.atomic import write_json
from musicbert.children import calls_in_children
from musicbert.corpus.labelled.pieces import Task
from musicbert.corpus.labelled.shards import Shards
from musicbert.fairseq_plugin.runs.models import ModelChoice
from musicbert.fairseq_plugin.runs.plan import DONE, TagRun, plan_task
from musicbert.fairseq_plugin.runs.rating_runs import RunOutcome, outcome_of, summary
from musicbert.fairseq_plugin.runs.run_process import end_with_parent, write_into
from musicbert.provenance import provenance

__all__ = ["run_task", "start_runs", "summary"]

LOG, MODEL, BEST = "train.log", "model", "checkpoint_best.pt"
#: what the server process of runs imports beside fairseq
_PRELOAD = ("musicbert.fairseq_plugin.labels.predict", "musicbert.fairseq_plugin.runs.runs")


def run_task(
    shards: Shards,
    task: Task,
    model: ModelChoice | str,
    out: str | PathLike[str],
    *,
    workers: int = 1,
    progress: bool = True,
    **options: Any,
) -> list[RunOutcome]:
    """Fine-tune on every fold with every seed.

    Parameters
    ----------
    shards, task, model, out, options
        See `plan_task`.
    workers
        Runs at a time.
    progress
        Show a bar.

    Returns
    -------
    Outcomes of the runs that were started; done ones are not started again
    """
    return start_runs(plan_task(shards, task, model, out, **options), workers=workers, progress=progress)


def start_runs(
    runs: Sequence[TagRun],
    *,
    workers: int = 1,
    progress: bool = True,
    after: Callable[[RunOutcome], None] = lambda _: None,
) -> list[RunOutcome]:
    """Do all runs that are not done yet; a run that fails does not stop the others.

    Parameters
    ----------
    runs
        See `plan_task`.
    workers, progress
        See `run_task`.
    after
        Called with the outcome of each run, when it ends.

    Returns
    -------
    Outcomes of the runs that were started, in the order they ended
    """
    waiting = [run for run in runs if not run.done]
    if not waiting:
        return []
    outcomes: list[RunOutcome] = []
    bar = tqdm(
        total=len(runs), initial=len(runs) - len(waiting), desc="runs", disable=None if progress else True
    )
    with bar:
        for run, answer in calls_in_children(
            _run, waiting, workers=workers, preload=["fairseq_cli.train", *_PRELOAD]
        ):
            outcomes.append(outcome_of(run.out, answer))
            after(outcomes[-1])
            bar.update()
            bar.set_postfix_str(str(run.out.relative_to(run.out.parents[1])))
    return outcomes


def _run(run: TagRun) -> RunOutcome:
    """Train, predict and export, in a process of its own."""
    begin = time.monotonic()
    end_with_parent()
    shutil.rmtree(run.out, ignore_errors=True)  # what an interrupted run left
    run.out.mkdir(parents=True)
    write_into(run.out / LOG)
    try:
        _train(run)
        checkpoint = run.out / BEST
        scores = _predict(run, checkpoint)
        for file in run.out.glob("checkpoint*.pt"):
            file.unlink()
        seconds = time.monotonic() - begin
        inputs = {"manifest": run.data / "manifest.json", "split": run.split}
        more = provenance(run.options(), inputs=inputs, seed=run.seed)
        write_json(run.out / DONE, {"seconds": round(seconds, 1), **scores, **more})
    except (Exception, SystemExit) as error:
        print(f"failed: {error!r}", file=sys.stderr, flush=True)  # noqa: T201 - into the log
        return RunOutcome(run.out, time.monotonic() - begin, f"{type(error).__name__}: {error}")
    return RunOutcome(run.out, seconds)


def _train(run: TagRun) -> None:
    """Run fairseq-train in this process."""
    import torch
    from fairseq_cli.train import cli_main

    torch.set_num_threads(run.threads)
    package = Path(__file__).resolve().parents[2]
    sys.argv = [
        "fairseq-train",
        *(str(run.data), "--user-dir", str(package), "--save-dir", str(run.out)),
        *("--split-file", str(run.split), *run.options()),
    ]
    cli_main()


def _predict(run: TagRun, checkpoint: Path) -> dict[str, Any]:
    """Predict the parts, export the model; return what to record."""
    from musicbert.evaluation.predictions import save_predictions
    from musicbert.fairseq_plugin.labels.predict import load_tagger, predict_part

    model, task = load_tagger(checkpoint)
    device = "cpu" if run.cpu else None
    for part in run.parts:
        predictions = predict_part(model, task, part, device=device)
        save_predictions(run.out / f"{part}.npz", {predictions.label: predictions})
    if run.keep_model:
        export_tagger(run, model.cpu(), task.cfg)
    count: Callable[[Any], int] = lambda values: sum(value.numel() for value in values)  # noqa: E731
    return {"parameters": count(model.parameters())}


def export_tagger(run: TagRun, model: Any, cfg: Any) -> Path:
    """Write the model as a folder (`musicbert.weights.tagger_folder`)."""
    from musicbert.weights.tagger_folder import save_tagger_folder

    task = run.task
    settings = {
        "family": run.family,
        "architecture": asdict(model.backbone.config),
        "codec": run.codec,
        "window": cfg.window,
        "overlap": cfg.overlap,
        "windows": str(cfg.windows),
        "head": model.settings.as_dict(),
        "task": {
            **{name: getattr(task, name) for name in ("name", "label", "level", "kind")},
            "classes": list(task.classes),
            "ignore": list(task.ignore),
        },
        "origin": {"model": run.model_name, "seed": run.seed},
    }
    return save_tagger_folder(run.out / MODEL, model.state_dict(), settings)
