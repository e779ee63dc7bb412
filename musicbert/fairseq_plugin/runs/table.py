"""From a table of labels and MIDI files to trained models, scores and a model to use: `musicbert finetune`.

`OUT/data` (or a data set that is there already), `OUT/task.json` and `OUT/fold*/seed*` (see
`musicbert.fairseq_plugin.runs.engine`), `OUT/report`, and `OUT/model`, trained on every piece.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.corpus.files.archive import MidiSource
from musicbert.corpus.files.ledger import NO_LABEL, Outcome, count, read_ledger
from musicbert.corpus.labelled.pieces import Task
from musicbert.corpus.labelled.shard_writer import LEDGER, write_shards
from musicbert.corpus.labelled.shards import Shards
from musicbert.corpus.tables.reader import METRICS, LabelTable, TableReader
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.runs.engine import MODEL, Run
from musicbert.fairseq_plugin.runs.plan import ALL
from musicbert.provenance import file_hash

__all__ = ["Prepared", "prepare_shards", "prepare_table", "publish_model"]

DATA = "data"


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready for training.

    Attributes
    ----------
    shards, task
        The pieces and what is to be learned.
    outcomes
        What became of every line of the table and every MIDI file.
    """

    shards: Shards
    task: Task
    outcomes: tuple[Outcome, ...] = ()

    def summary(self) -> str:
        """Counts in one line."""
        if not self.outcomes:
            return f"{len(self.shards)} pieces"
        found = ", ".join(f"{number:,} {reason}" for reason, number in count(self.outcomes).items())
        return f"{len(self.outcomes):,} lines and files: {found}"

    @property
    def failure_rate(self) -> float:
        """Share of the labelled lines that are not in the data set, in 0-1."""
        lines = [outcome for outcome in self.outcomes if outcome.outcome != NO_LABEL]
        return sum(not outcome.ok for outcome in lines) / max(len(lines), 1)


def prepare_table(
    table: LabelTable,
    task: Task,
    midi: str | PathLike[str],
    labels: str | PathLike[str],
    out: str | PathLike[str],
    *,
    codec: str,
    performance: bool = False,
    progress: bool = True,
    **how: Any,
) -> Prepared:
    """Write the data set of a table, or open the one that an earlier run wrote from the same.

    Parameters
    ----------
    table, task
        Labels, and what is to be learned.
    midi, labels
        Folder or zip of MIDI files; file of the table.
    out
        Folder of the experiment.
    codec
        Encoding that the model reads.
    performance
        Write performance inputs.
    progress
        Show a bar.
    how
        Of `TableReader`: ``order`` and ``unit``.

    Raises
    ------
    DatasetError
        ``other-settings`` where the folder holds another data set; those of the table and the files.
    """
    folder = Path(out) / DATA
    source = json.dumps(
        {
            "labels": file_hash(labels),
            "midi": Path(midi).name,
            "columns": list(table.columns.labels),
            "performance": performance,
            **how,
        },
        sort_keys=True,
    )
    if (folder / "manifest.json").is_file():
        shards = Shards(folder)
        same = (codec, source, task.classes) == (
            shards.codec,
            shards.manifest["source"],
            shards.labels[task.label].classes if task.label in shards.labels else None,
        )
        if not same:
            raise DatasetError(
                "other-settings",
                "this folder holds a data set of another table, encoding or choice of labels",
                path=folder,
                hint="choose another output folder, or remove this one",
            )
        return Prepared(shards, task, tuple(read_ledger(folder / LEDGER)))
    with MidiSource(midi) as files:
        reader = TableReader(table, files, **how)
        report = write_shards(
            reader,
            codec,
            folder,
            table.tasks(task),
            performance=performance,
            with_features=task.level == "sequence",
            outcomes=reader.outcomes,
            source=source,
            total=len(reader),
            progress=progress,
        )
    return Prepared(report.shards, task, report.outcomes)


def prepare_shards(
    path: str | PathLike[str], label: str = "", *, metric: str = "", ignore: Sequence[str] = ()
) -> Prepared:
    """Open a data set that a reader wrote.

    Parameters
    ----------
    path
        Folder of shards.
    label
        Which of its labels to learn; the only one if empty.
    metric
        Metric to select by; that of the kind of labels if empty.
    ignore
        Classes that are neither trained on nor scored.

    Raises
    ------
    DatasetError
        Those of `Shards`; ``unknown-label``; ``bad-label`` for a class to ignore that does not exist.
    """
    shards = Shards(path)
    names = list(shards.labels)
    name = label or (names[0] if len(names) == 1 else "")
    if name not in shards.labels:
        raise DatasetError(
            "unknown-label", f"choose one of the labels {', '.join(names)}", path=path, hint="with --label"
        )
    column = shards.labels[name]
    unknown = [each for each in ignore if each not in column.classes]
    if unknown:
        raise DatasetError("bad-label", f"there is no class {unknown[0]!r} to ignore", path=path)
    task = Task(
        name,
        name,
        column.level,
        column.kind,
        column.classes,
        metric or METRICS[column.kind],
        ignore=tuple(column.classes.index(each) for each in ignore),
    )
    ledger = shards.path / LEDGER
    return Prepared(shards, task, tuple(read_ledger(ledger)) if ledger.is_file() else ())


def publish_model(runs: Sequence[Run], out: str | PathLike[str]) -> Path | None:
    """Copy the model of the fold ``all`` to ``OUT/model``; None where there is none."""
    made = [run.out / MODEL for run in runs if run.out.parent.name == f"fold{ALL}" and run.done]
    if not made:
        return None
    target = Path(out) / MODEL
    partial = target.with_name(f".{MODEL}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(made[0], partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target
