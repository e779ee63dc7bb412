"""Means of runs and paired differences between variants, with t intervals.

Runs of one task differ in seed and fold. Runs that share a fold share its music, and runs that share a seed
its first weights, so they are no independent draws: they are averaged to one number a fold (over its seeds),
or one a seed (over its folds), whichever are more numbers, and the interval is Student's over these. With
folds it covers other music as well as other seeds; with seeds alone (a fixed split) it says only what another
seed would give. A difference is taken between runs of one seed and fold, which removes what both share.
Verified in ``tests/results_tools/test_ablation_scores.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from ablation_runs import Runs, Task, Variant
from scipy.stats import t as student

__all__ = ["QUESTIONS", "Estimate", "answers", "difference", "estimate", "gains", "scores"]

#: questions of the papers, each variant against one that differs in a single choice
QUESTIONS = (
    ("bar masking or element masking", "bar", "element"),
    ("bar masking or compound masking", "bar", "compound"),
    ("MusicBERT: denoising and piano roll, or bar masking", "octuple-denoise-roll", "bar"),
    ("MusicBERT: denoising, or bar masking of the same crops", "octuple-denoise", "octuple-bar"),
    ("MusicBERT: with piano roll, or without", "octuple-denoise-roll", "octuple-denoise"),
    ("M2BERT: with piano roll, or without", "cp-denoise-roll", "cp-denoise"),
    ("M2BERT: piano roll with chroma, or without", "cp-denoise-roll", "cp-denoise-roll-nochroma"),
    ("M2BERT: denoising, or MidiBERT's masks", "cp-denoise", "cp-mask"),
    ("M2BERT: bar masking, or MidiBERT's masks", "cp-bar", "cp-mask"),
)


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Attributes
    ----------
    value, low, high
        Mean, and ends of the interval (None where one number does not give any).
    sd
        Standard deviation of the numbers that the interval is over.
    over
        What these numbers are: ``folds`` or ``seeds``.
    n, runs
        How many there are; how many runs they are made of.
    """

    value: float
    low: float | None
    high: float | None
    sd: float | None
    over: str
    n: int
    runs: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies above or below zero, else 0."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)

    def as_dict(self) -> dict[str, object]:
        """Return JSON-ready values."""
        return asdict(self)


def estimate(runs: Runs, *, level: float = 0.95) -> Estimate:
    """Return the mean of runs with Student's interval over folds or seeds (see the module).

    Parameters
    ----------
    runs
        (seed, fold) -> score, at least one.
    level
        Coverage of the interval in 0-1.
    """
    groups: dict[str, dict[object, list[float]]] = {"folds": {}, "seeds": {}}
    for (seed, fold), value in runs.items():
        groups["folds"].setdefault(fold, []).append(value)
        groups["seeds"].setdefault(seed, []).append(value)
    over = (
        "folds" if len(groups["folds"]) >= len(groups["seeds"]) > 0 and len(groups["folds"]) > 1 else "seeds"
    )
    values = np.array([np.mean(group) for group in groups[over].values()])
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return Estimate(mean, None, None, None, over, n, len(runs))
    sd = float(values.std(ddof=1))
    half = float(student.ppf(0.5 + level / 2, n - 1)) * sd / n**0.5
    return Estimate(mean, mean - half, mean + half, sd, over, n, len(runs))


def difference(runs: Runs, others: Runs, *, level: float = 0.95) -> Estimate | None:
    """Return the mean of ``runs`` - ``others``, paired by seed and fold; None where no pair is complete."""
    shared = {key: value - others[key] for key, value in runs.items() if key in others}
    return estimate(shared, level=level) if shared else None


def scores(variants: Sequence[Variant]) -> dict[str, dict[Task, Estimate]]:
    """Return the mean score of each variant on each task that it was run on."""
    return {
        variant.name: {task: estimate(runs) for task, runs in variant.tasks.items() if runs}
        for variant in variants
    }


def gains(variants: Sequence[Variant]) -> dict[str, dict[Task, Estimate]]:
    """Return for each pre-trained variant what it gains over no pre-training (same encoding and labels)."""
    by_variant = {}
    for variant in variants:
        reference = variant.reference(variants)
        if not variant.scratch and reference is not None:
            by_variant[variant.name] = _differences(variant.tasks, reference.tasks)
    return {name: row for name, row in by_variant.items() if row}


def answers(variants: Sequence[Variant]) -> dict[str, dict[Task, Estimate]]:
    """Return the differences that answer `QUESTIONS`, where both variants are there."""
    named = {variant.name: variant for variant in variants}
    by_question = {
        f"{question} ({one} − {other})": _differences(named[one].tasks, named[other].tasks)
        for question, one, other in QUESTIONS
        if one in named and other in named
    }
    return {question: row for question, row in by_question.items() if row}


def _differences(tasks: Mapping[Task, Runs], others: Mapping[Task, Runs]) -> dict[Task, Estimate]:
    by_task = {task: difference(runs, others[task]) for task, runs in tasks.items() if task in others}
    return {task: gain for task, gain in by_task.items() if gain is not None}
