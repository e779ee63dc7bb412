"""The benchmark's one table: scores of networks, mean and deviation, beside published rows and baselines.

A folder of runs is ``OUT/<ABBREVIATION>/<split>/fold<k>/seed<s>/{test.npz,run.json}``
(`musicbert.fairseq_plugin.runs.benchmark` makes it). The score of a seed is the mean over its folds, as
published;
the table shows mean and standard deviation over seeds (over folds where there is one seed and several folds).
Verified in ``tests/unit/evaluation/test_task_table.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.labelled.shards import Shards
from musicbert.corpus.readers.tasks import BENCHMARK, OBJECTIVES, BenchmarkTask
from musicbert.evaluation.baselines.benchmark import baselines_of
from musicbert.evaluation.benchmark_scores import predict_all, rounds, score_predictions
from musicbert.evaluation.predictions import load_predictions

__all__ = ["baseline_scores", "markdown_table", "network_scores", "summary_of_runs"]


def network_scores(
    row: BenchmarkTask,
    shards: Shards,
    pieces: Mapping[str, LabelledPiece],
    folder: Path,
    *,
    known: dict[Path, dict[str, Any]] | None = None,
) -> dict[str, Any] | None:
    """Score the runs of a folder that are complete (``run.json``); None where none is.

    Parameters
    ----------
    row, shards, pieces
        The task, its data, and their pieces by name.
    folder
        Folder of the runs.
    known
        Scores by file, which are not computed again; new ones are added.

    Returns
    -------
    dict
        Of each score (``score`` and, where there are any, ``published`` or ``pieces``) ``mean`` and ``sd``;
        ``runs`` (a list of seed, fold and scores).
    """
    runs = []
    known = {} if known is None else known
    for path in sorted(folder.glob("fold*/seed*/test.npz")):
        if not path.with_name("run.json").is_file():
            continue
        if path not in known:
            known[path] = score_predictions(row, load_predictions(path)[row.task.label], shards, pieces)
        scores = known[path]
        fold, seed = path.parts[-3].removeprefix("fold"), int(path.parts[-2].removeprefix("seed"))
        runs.append({"seed": seed, "fold": fold, **scores})
    return summary_of_runs(runs) if runs else None


def summary_of_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``runs``, and ``mean`` and ``sd`` of each score that all have (see `network_scores`)."""
    found: dict[str, Any] = {"runs": list(runs)}
    for key in (
        key for key in runs[0] if key not in ("seed", "fold", "n") and all(key in run for run in runs)
    ):
        seeds = sorted({run["seed"] for run in runs})
        means = [np.mean([run[key] for run in runs if run["seed"] == seed]) for seed in seeds]
        spread = means if len(means) > 1 else [run[key] for run in runs]
        deviation = float(np.std(spread, ddof=1)) if len(spread) > 1 else None
        found[key] = {"mean": float(np.mean(means)), "sd": deviation}
    return found


def baseline_scores(
    row: BenchmarkTask,
    pieces: Sequence[LabelledPiece],
    split: str,
    *,
    trained: Mapping[str, Collection[str]] | None = None,
) -> dict[str, dict[str, float]]:
    """Score the simple baselines of a task on a split: means over its rounds.

    Parameters
    ----------
    row, pieces, split
        See `musicbert.evaluation.benchmark_scores.rounds`.
    trained
        Of each fold, the names of the pieces to fit on; whole training parts if None.
    """
    parts = rounds(row, pieces, split)
    if trained is not None:
        parts = [
            {**part, "train": [piece for piece in part["train"] if piece.name in trained[str(fold)]]}
            for fold, part in enumerate(parts)
        ]
    found = {}
    for name, fit in baselines_of(row.task).items():
        scores = [predict_all(fit, row, each) for each in parts]
        found[name] = {key: float(np.mean([each[key] for each in scores])) for key in scores[0] if key != "n"}
    return found


def markdown_table(records: Sequence[Mapping[str, Any]], model: str) -> str:
    """Return all records as one table: a line a task and split.

    Parameters
    ----------
    records
        ``task``, ``split``, ``network`` (`network_scores`), ``baselines`` (`baseline_scores`), ``note``
        where a task could not be run, and ``train_share`` where not all of the training part was used.
    model
        What was fine-tuned.
    """
    heads = [
        "task",
        "split",
        "score",
        model,
        "best baseline",
        "majority",
        *(f"M2BERT {o}" for o in OBJECTIVES),
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    notes = []
    for record in records:
        row = BENCHMARK[record["task"].upper()]
        published = [f"{value:.3f}" for value in row.published]
        network, baselines = record.get("network"), record.get("baselines") or {}
        if record.get("note"):
            notes.append(f"- {record['task']}, {record['split']}: {record['note']}")
        keys = [key for key in ("score", "published", "pieces") if network is None or key in network]
        for key in keys[:1] if network is None else keys:
            if not any(key in scores for scores in baselines.values()) and network is None:
                continue
            shown = _mean(network[key]) if network else "–"
            competitors = {
                n: s[key] for n, s in baselines.items() if key in s and n not in ("majority", "previous")
            }
            best = max(competitors.items(), key=lambda item: item[1], default=None)
            majority = baselines.get("majority", {}).get(key)
            cells = [
                record["task"],
                record["split"],
                {"score": row.score, "published": f"{row.score}, as published", "pieces": "by piece"}[key],
                shown,
                f"{best[1]:.3f} ({best[0]})" if best else "–",
                "–" if majority is None else f"{majority:.3f}",
                *(
                    published
                    if record["split"] == "published" and key != "pieces"
                    else ["–"] * len(published)
                ),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    shares = sorted({record["train_share"] for record in records if "train_share" in record})
    notes += [
        f"- networks and baselines learned from {100 * share:g} % of the training part" for share in shares
    ]
    return "\n".join([*lines, "", *notes, ""]) if notes else "\n".join([*lines, ""])


def _mean(score: Mapping[str, Any]) -> str:
    deviation = "" if score["sd"] is None else f" ± {score['sd']:.3f}"
    return f"{score['mean']:.3f}{deviation}"
