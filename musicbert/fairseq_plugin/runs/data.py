"""The data of an experiment: a labelled set of any format, or one written from a table and MIDI files."""

import filecmp
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from musicbert.corpus.files.archive import MidiSource
from musicbert.corpus.files.ledger import NO_LABEL, Outcome, count, read_ledger
from musicbert.corpus.labelled import LabelledSet, RatingBin, Shards, Task, open_folds
from musicbert.corpus.labelled.shard_writer import LEDGER, write_shards
from musicbert.corpus.labelled.shards import MANIFEST
from musicbert.corpus.tables.reader import METRICS, LabelTable, TableReader
from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.runs.engine import MODEL, Run
from musicbert.fairseq_plugin.runs.plan import ALL, SPLIT, TASK
from musicbert.provenance import file_hash
from musicbert.reuse import MADE_FROM, made_from, read_record, require_same
from musicbert.walk import LINKED_FOLDER

DATA, REPORT = "data", "report"
logger = logging.getLogger(__name__)
#: options of `TableReader` under the names that users know
_OPTIONS = {"order": "--note-order", "unit": "--onset-unit", "channel_programs": "--channel-programs"}


@dataclass(frozen=True)
class Prepared:
    """Data that are ready for training.

    ``folds``: labelled sets by the name of their fold folder (shards: a single one, which a split cuts into
    folds); ``tasks``: what is to be learned, one task per label; ``outcomes``: of every line of the table and
    every MIDI file.
    """

    folds: Mapping[str, LabelledSet]
    tasks: tuple[Task, ...]
    outcomes: tuple[Outcome, ...] = ()

    @property
    def data(self) -> LabelledSet:
        """The shards, or the first fold."""
        return next(iter(self.folds.values()))

    @property
    def is_databin(self) -> bool:
        """Whether the folds are folders of a data-bin."""
        return not isinstance(self.data, Shards)

    def summary(self) -> str:
        """Counts in one line."""
        if not self.outcomes:
            return f"{sum(len(fold) for fold in self.folds.values())} pieces in {len(self.folds)} folder(s)"
        counts = ", ".join(f"{number:,} {reason}" for reason, number in count(self.outcomes).items())
        return f"{len(self.outcomes):,} lines and files: {counts}"

    @property
    def failure_rate(self) -> float:
        """Share of the labelled lines that are not in the data set, in 0-1."""
        lines = [
            outcome
            for outcome in self.outcomes
            if outcome.outcome not in (NO_LABEL, LINKED_FOLDER) and not outcome.copy_of
        ]
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

    ``midi``: folder or zip of MIDI files; ``labels``: file of the table; ``performance``: write performance
    inputs; ``how``: of `TableReader`: ``order``, ``unit`` and ``channel_programs``. Raises `DatasetError`:
    ``other-settings`` where the folder holds a data set of other options, another table or other MIDI files,
    which it names; those of the table and the files.
    """
    folder = Path(out) / DATA
    with MidiSource(midi) as files:
        reader = TableReader(table, files, **how)
        settings = {
            **table.settings,
            "--codec": codec,
            "--performance-input": bool(performance),
            **{_OPTIONS[name]: value for name, value in how.items()},
        }
        record = made_from(settings, {f"table {Path(labels).name}": file_hash(labels), **reader.hashes()})
        if (folder / MANIFEST).is_file():
            hint = "choose another --output, or remove this one to make it anew"
            require_same(read_record(folder / MADE_FROM), record, out, hint)
            return Prepared({"": Shards(folder)}, (task,), tuple(read_ledger(folder / LEDGER)))
        report = write_shards(
            reader,
            codec,
            folder,
            table.tasks(task),
            performance=performance,
            with_features=task.level == "sequence",
            outcomes=reader.outcomes,
            source=Path(labels).name,
            made_from=record,
            total=len(reader),
            progress=progress,
        )
    elsewhere = sum(outcome.programs_elsewhere or 0 for outcome in report.outcomes)
    if elsewhere and codec == "octuple" and how.get("channel_programs", "track") == "track":
        logger.warning(
            "%d notes have a program that another track sets on their channel: --channel-programs channel "
            "reads it; %s names the files",
            elsewhere,
            folder / LEDGER,
        )
    return Prepared({"": report.shards}, (task,), report.outcomes)


def prepare_set(
    path: str | PathLike[str],
    labels: Sequence[str] = (),
    *,
    name: str = "",
    metric: str = "",
    ignore: Sequence[str] = (),
) -> Prepared:
    """Open a labelled set and describe what is to be learned.

    ``path``: folder of shards, a rating or a sentence data-bin (or one fold of either); ``labels``: labels to
    learn, the only one if empty; one model can learn several of a rating data-bin, or several labels of
    notes; ``name``: of the task, by default that of the label; ``metric``: selects (of a data-bin by the
    first label; of notes joined with commas, one a label), by default that of the kind of labels; ``ignore``:
    classes of shards that are neither trained on nor scored. Raises `DatasetError`: those of `open_folds`;
    ``unknown-label``; ``bad-label`` (no such class to ignore); ``unknown-metric``.
    """
    folds = open_folds(path)
    data = next(iter(folds.values()))
    known = list(data.labels)
    chosen = list(labels) or (known if len(known) == 1 else [])
    together = isinstance(data, RatingBin) or all(
        data.labels[k].level == "note" for k in chosen if k in known
    )
    several = len(chosen) > 1 and not together
    if not chosen or several or set(chosen) - set(known) or len(set(chosen)) < len(chosen):
        how = "one of the labels" if not together else "one or more of the labels"
        raise DatasetError(
            "unknown-label", f"choose {how} {', '.join(known)}", path=path, hint="with --label"
        )
    tasks = []
    metrics = metric.split(",") if not isinstance(data, RatingBin) and len(chosen) > 1 else [metric]
    if len(metrics) not in (1, len(chosen)):
        message = f"{len(metrics)} metrics for {len(chosen)} labels"
        raise DatasetError("unknown-metric", message, path=path, hint="give one a label, with commas")
    metric_of = dict(zip(chosen, metrics, strict=False))
    for label in chosen:
        column = data.labels[label]
        unknown = [cls for cls in ignore if cls not in column.classes]
        if unknown:
            raise DatasetError("bad-label", f"there is no class {unknown[0]!r} to ignore", path=path)
        tasks.append(
            Task(
                name if name and len(chosen) == 1 else label,
                label,
                column.level,
                column.kind,
                column.classes,
                metric_of.get(label) or METRICS[column.kind],
                ignore=tuple(column.classes.index(cls) for cls in ignore),
            )
        )
    ledger = data.path / LEDGER
    return Prepared(folds, tuple(tasks), tuple(read_ledger(ledger)) if ledger.is_file() else ())


def publish_model(runs: Sequence[Run], out: str | PathLike[str]) -> Path | None:
    """Copy the model to use to ``OUT/model``; None if there is none.

    It is that of the fold ``all`` of shards, or of the first seed of the only fold of a data-bin.
    """
    only = len({run.out.parent for run in runs}) == 1
    made = [
        run.out / MODEL
        for run in runs
        if run.done
        and (run.out.parent.name == f"fold{ALL}" or (only and run.split is None and run.keep_model))
    ]
    if not made:
        return None
    target = Path(out) / MODEL
    if target.is_dir() and _same_files(made[0], target):
        return target
    partial = target.with_name(f".{MODEL}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(made[0], partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target


@contextmanager
def replacing_experiment(out: str | PathLike[str]) -> Iterator[None]:
    """Set aside what an experiment wrote into its folder, and nothing else, while another is begun there.

    It is removed when the block ends, and put back where that fails.
    """
    folder, aside = Path(out), Path(out) / ".before"

    def written() -> list[Path]:
        return [
            path
            for path in folder.iterdir()
            if path.name in (DATA, MODEL, REPORT, TASK)
            or (path.name.startswith("fold") and ((path / SPLIT).is_file() or any(path.glob("seed*"))))
        ]

    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        for path in written():
            path.rename(aside / path.name)
        yield
    except BaseException:
        for path in written():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in list(aside.iterdir()):
            path.rename(folder / path.name)
        raise
    finally:
        shutil.rmtree(aside)


def _same_files(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    return filecmp.cmpfiles(one, other, names, shallow=False)[0] == names
