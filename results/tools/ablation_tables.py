"""Tables of ablations in Markdown: scores, gains, the papers' questions, learning curves, pre-trainings.

Verified in ``tests/results_tools/test_report_ablations.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ablation_runs import Task, Variant
from ablation_scores import Estimate

from musicbert.corpus.readers.tasks import BENCHMARK
from musicbert.evaluation.tables import interval_cell, number_cell

__all__ = ["Curves", "Estimates", "column_names", "curve_tasks", "report_text", "tasks_of"]

Estimates = Mapping[str, Mapping[Task, Estimate]]
#: name of a line -> points (amount, variant)
Curves = dict[str, list[tuple[float, str]]]
_MANY = 20  # comparisons of which one interval of 95 % misses a true zero


def tasks_of(estimates: Estimates) -> list[Task]:
    """Return all tasks of some rows, in the order of the benchmark."""
    order = {name: number for number, name in enumerate(BENCHMARK)}
    tasks = dict.fromkeys(task for row in estimates.values() for task in row)
    return sorted(tasks, key=lambda task: (order.get(task[0].upper(), len(order)), task))


def column_names(tasks: Sequence[Task]) -> list[str]:
    """Return the names of columns: the split only where there are several."""
    several = len({split for _, split in tasks}) > 1
    return [f"{task} {split}" if several else task for task, split in tasks]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _gain_cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.3f}"
    text = f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"
    return f"**{text}**" if estimate.sign else text


def _score_table(found: Estimates) -> list[str]:
    tasks = tasks_of(found)
    none = {"value": None, "low": None}
    rows = [
        [name, *(interval_cell(row[task].as_dict() if task in row else none) for task in tasks)]
        for name, row in found.items()
    ]
    return _table(["variant", *column_names(tasks)], rows)


def _gain_table(estimates: Estimates, what: str) -> list[str]:
    tasks = tasks_of(estimates)
    rows = [[name, *(_gain_cell(row.get(task)) for task in tasks)] for name, row in estimates.items()]
    return _table([what, *column_names(tasks)], rows)


def curve_tasks(found: Estimates, lines: Curves) -> list[Task]:
    """Tasks on which some line has more than one point."""
    tasks = tasks_of({name: found[name] for points in lines.values() for _, name in points})
    return [
        task for task in tasks if any(sum(task in found[n] for _, n in line) > 1 for line in lines.values())
    ]


def _curve_table(found: Estimates, lines: Curves, amount: str) -> list[str]:
    tasks = curve_tasks(found, lines)
    rows = []
    for line, points in lines.items():
        for x, name in points:
            values = [found[name][task].value if task in found[name] else None for task in tasks]
            rows.append([line, f"{x:.3g}", *(number_cell(value) for value in values)])
    return _table(["variant", amount, *column_names(tasks)], rows)


def _decided(gained: Estimates) -> list[str]:
    """Say for each task which intervals exclude zero."""
    tasks = tasks_of(gained)
    lines = []
    for task, head in zip(tasks, column_names(tasks), strict=True):
        by_sign: dict[int, list[str]] = {1: [], -1: [], 0: []}
        unknown: list[str] = []
        for name, row in gained.items():
            if task in row:
                (unknown if row[task].low is None else by_sign[row[task].sign]).append(name)
        groups = (
            ("above", by_sign[1]),
            ("below", by_sign[-1]),
            ("undecided", by_sign[0]),
            ("one run", unknown),
        )
        lines.append(f"- {head}: " + "; ".join(f"{word}: {', '.join(n)}" for word, n in groups if n))
    return [*lines, ""]


def report_text(
    variants: Sequence[Variant],
    pretrainings: Mapping[str, Mapping[str, Any]],
    found: Estimates,
    gained: Estimates,
    answered: Estimates,
    curves: Mapping[str, Curves],
    hardware: str,
) -> str:
    """Return the tables of ``table.md``.

    Parameters
    ----------
    variants, pretrainings
        See `ablation_runs`.
    found, gained, answered
        Scores, gains over no pre-training, answers to questions (`ablation_scores`).
    curves
        ``notes`` and ``labels``: variants over an amount.
    hardware
        What it ran on.
    """
    differences = [entry for row in (*gained.values(), *answered.values()) for entry in row.values()]
    estimates = [difference for difference in differences if difference.low is not None]
    decided = sum(difference.sign != 0 for difference in estimates)
    entries = (score for row in found.values() for score in row.values())
    numbers = {f"{score.n} {score.over if score.n > 1 else score.over[:-1]}" for score in entries}
    over = " or ".join(sorted(numbers)) or "no run"
    commits = sorted({str(commit)[:7] for variant in variants if (commit := variant.made_by.get("commit"))})
    made_on = f" on {hardware}" + (f", commit {', '.join(commits)}" if commits else "")
    lines = [
        "# Ablations",
        "",
        f"Made by `scripts/run_ablations.sh`{made_on}. Scores of the test parts, higher is better. Brackets: "
        f"95 % t intervals over {over} of fine-tuning (`docs/ablations.md`). "
        "Every pre-training was done once, so its own chance is in none of them.",
        "",
        "## Scores",
        "",
        *_score_table(found),
    ]
    if gained:
        lines += [
            "## Gain over no pre-training",
            "",
            "Differences to the same network without pre-training, paired by seed and fold. Bold: the "
            "interval excludes zero.",
            "",
            *_gain_table(gained, "variant"),
            *_decided(gained),
        ]
    if answered:
        lines += ["## The papers' questions", "", *_gain_table(answered, "question")]
    if estimates:
        lines += [
            f"{len(estimates)} differences with intervals, of which {decided} exclude zero; without any "
            f"effect about {len(estimates) / _MANY:.1f} would.",
            "",
        ]
    if curves["notes"]:
        lines += ["## Scores over notes of pre-training", ""]
        lines += _curve_table(found, curves["notes"], "million notes")
    if curves["labels"]:
        lines += ["## Scores over labels", "", *_curve_table(found, curves["labels"], "labels (%)")]
    if pretrainings:
        lines += [
            "## Pre-training",
            "",
            "Loss and accuracy are of the valid part, and those of different objectives are no measure of "
            "each other. Processes that ran at the same time shared the machine.",
            "",
            *_pretraining_table(pretrainings),
        ]
    return "\n".join(lines)


def _pretraining_table(pretrainings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        [
            name,
            f"{pretraining['updates']:,}",
            f"{pretraining['rows']:.0f}",
            f"{pretraining['notes']:,}",
            f"{pretraining['seconds']:,}",
            "–" if pretraining["notes_a_second"] is None else f"{pretraining['notes_a_second']:,}",
            number_cell(pretraining["loss"]),
            number_cell(pretraining["accuracy"], 1),
        ]
        for name, pretraining in pretrainings.items()
    ]
    head = ["pre-training", "updates", "rows", "notes seen", "seconds", "notes/s", "loss", "accuracy (%)"]
    return _table(head, rows)
