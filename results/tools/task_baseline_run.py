"""The table of simple baselines of the benchmark, measured: `measure` and `markdown`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from musicbert.corpus.readers.benchmark import DataSet, tasks_of
from musicbert.corpus.readers.tasks import OBJECTIVES
from musicbert.evaluation.baselines.benchmark import baselines_of, note_order
from musicbert.evaluation.benchmark_scores import predict_all, rounds

__all__ = ["markdown", "measure"]

#: further scores of a record, and what is said of them
_EXTRA = {"published": ", as the published program counts", "pieces": ", by piece"}


def measure(
    data: DataSet, published_order: DataSet | None = None, *, say: Callable[[str], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Score all baselines of a source's tasks on both splits.

    Parameters
    ----------
    data
        The pieces.
    published_order
        POP909 as published (``compatible=True``), for the rule that reads the melody off the order of notes.
    say
        Told about each row.

    Returns
    -------
    One record a task, split and baseline: means over rounds.
    """
    records = []
    for row in tasks_of(data.source):
        for split in ("published", "clean"):
            fits = dict(baselines_of(row.task))
            jobs = [(name, fit, data) for name, fit in fits.items()]
            if row.task.name == "melody" and published_order is not None:
                jobs.append(("order (published notes)", note_order, published_order))
            for name, fit, source in jobs:
                if not any(split in piece.splits for piece in source.pieces):
                    continue
                found = [predict_all(fit, row, parts) for parts in rounds(row, source.pieces, split)]
                means = {key: float(np.mean([each[key] for each in found])) for key in found[0]}
                means["n"] = int(sum(each["n"] for each in found))
                records.append({"task": row.abbreviation, "split": split, "baseline": name, **means})
                say(f"{row.abbreviation} {split} {name}: {means['score']:.3f}")
    return records


def markdown(records: Sequence[dict[str, Any]], published: Mapping[str, Sequence[float]]) -> str:
    """Return the records as tables, one a task, beside the published scores of M2BERT."""
    lines = []
    for task in dict.fromkeys(record["task"] for record in records):
        own = [record for record in records if record["task"] == task]
        cells = {(record["baseline"], record["split"]): record for record in own}
        columns = [
            (split, key)
            for split in ("published", "clean")
            for key in ("score", *_EXTRA)
            if any(record["split"] == split and key in record for record in own)
        ]
        heads = [f"{split} split{_EXTRA.get(key, '')}" for split, key in columns]
        scores = ", ".join(
            f"{name} {value:.3f}" for name, value in zip(OBJECTIVES, published[task], strict=True)
        )
        lines += [f"## {task}", "", f"M2BERT, published: {scores}.", ""]
        lines += [f"| baseline | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        for name in dict.fromkeys(record["baseline"] for record in own):
            values = [cells.get((name, split), {}).get(key) for split, key in columns]
            shown = " | ".join("–" if value is None else f"{value:.3f}" for value in values)
            lines.append(f"| {name} | {shown} |")
        lines.append("")
    return "\n".join(lines)
