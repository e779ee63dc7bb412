"""One report for everything that is fine-tuned: rows of scores (`musicbert.evaluation.rows`) and differences.

``differences`` are paired intervals of the headline metric: each row of networks minus each baseline whose
predictions are given, on the pieces that both have.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from musicbert.corpus.labelled.contract import LabelledSet
from musicbert.corpus.labelled.pieces import Task
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.labelled import baseline_names, baseline_predictions
from musicbert.evaluation.metrics.bootstrap import Interval, interval, resample
from musicbert.evaluation.predictions import Predictions, pool
from musicbert.evaluation.reports.seen import restricted, scored_apart
from musicbert.evaluation.rows import (
    Extra,
    Folds,
    Row,
    RowKind,
    draw_scores,
    fair_groups,
    per_class,
    score_row,
)
from musicbert.evaluation.run_files import Experiment, named_by_fold
from musicbert.evaluation.training_log import Curves

#: what the name of a row says whose network was never trained
RANDOM_WEIGHTS = "random weights"


@dataclass(eq=False)
class Report:
    """What tables and pictures are made from."""

    name: str
    task: Task
    split: str
    headline: str  # metric that is reported first
    rows: list[Row]
    differences: list[dict[str, Any]]
    main: Row  # of the network; of the ensemble, where there are several seeds
    per_class: list[dict[str, Any]]  # precision, recall, F1 and support of each class, of the main row
    about: dict[str, Any]  # further facts of report.json
    poles: tuple[tuple[str, str], ...] = ()  # low and high pole of each output of a regression, if any
    curves: Curves = field(default_factory=dict)
    apart: Mapping[str, Sequence[Row]] = field(default_factory=dict)  # rows on seen and on unseen pieces
    #: predictions that are kept beside it, by ``fold<k>/seed<s>``, ``hybrid/fold<k>``, ``partner/fold<k>``
    kept: dict[str, Predictions] = field(default_factory=dict)

    def of_kind(self, *kinds: RowKind) -> list[Row]:
        """Return the rows of some kinds."""
        return [row for row in self.rows if row.kind in kinds]


def ensemble_of(runs: Iterable[Folds]) -> dict[str, Predictions]:
    """Return the averaged predictions of the seeds of each fold."""
    folds: dict[str, list[Predictions]] = {}
    for run in runs:
        for fold, part in run.items():
            folds.setdefault(fold, []).append(part)
    return {fold: pool(parts) for fold, parts in folds.items()}


def build_report(
    name: str,
    task: Task,
    runs: Mapping[int, Folds],
    *,
    split: str = "",
    mixed: Mapping[RowKind, Folds] | None = None,
    baselines: Mapping[str, Folds] | None = None,
    scored: Sequence[Row] = (),
    extra: Extra | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
) -> Report:
    """Score an experiment.

    ``runs``: test predictions by seed and fold; ``mixed``: predictions of the rows ``blend`` and ``hybrid``;
    ``baselines``: predictions of baselines by name: each gets a row, unless ``scored`` has one of that name,
    and differences; ``scored``: rows of baselines (and the ceiling) that were scored before; ``extra``:
    further metrics; ``n_resamples``, ``seed``: of the bootstrap.
    """
    several = fair_groups(runs.values())

    missing = []
    if not any(RANDOM_WEIGHTS in row.name for row in scored) and RANDOM_WEIGHTS not in (baselines or {}):
        missing.append(
            f"{RANDOM_WEIGHTS}: an untrained network of this size, read by the model that reads the features"
        )

    def row(kind: RowKind, folds: Sequence[Folds], **more: Any) -> Row:
        metrics = None if kind == "segments" else extra
        options = {"n_resamples": n_resamples, "seed": seed, "split": split}
        return score_row(kind, folds, extra=metrics, **options, **more)

    ensemble = ensemble_of(several)
    count = len(several)
    rows = [row("network", several, seeds="one")] if count > 1 else []
    main = row("network", [ensemble], seeds="ensemble" if count > 1 else None, n_seeds=count)
    rows.append(main)
    predictions = main.predictions
    assert predictions is not None
    if predictions.segment_piece is not None and len(predictions.segment_piece) > len(predictions):
        cut = [{fold: part.segments() for fold, part in run.items()} for run in several]
        rows.append(row("segments", cut))
    rows += [row(kind, fair_groups([folds])) for kind, folds in (mixed or {}).items()]
    candidates = [entry for entry in rows if entry.predictions is not None and entry.kind != "segments"]
    measured = {baseline.name for baseline in scored}
    against = [row("baseline", fair_groups([folds]), name=k) for k, folds in (baselines or {}).items()]
    rows += [*(baseline for baseline in against if baseline.name not in measured), *scored]
    known = main.scores["pooled"]
    headline = task.metric if task.metric in known else next(iter(known))
    differences = []
    for mine in candidates:
        for other in against:
            difference = _difference(mine, other, headline, n_resamples, seed)
            which = {"kind": mine.kind, "seeds": mine.seeds, "name": mine.name, "against": other.name}
            differences.append(which | difference)
    groups = len(np.unique(predictions.groups))
    facts = {
        "pieces": len(predictions),
        "items": main.items,
        "groups": groups,
        "folds": len(ensemble),
        "seeds": list(runs),
        "bootstrap": {"resamples": n_resamples, "over": main.over},
        "missing_rows": missing,
    }
    return Report(
        name=name,
        task=task,
        split=split,
        headline=headline,
        rows=rows,
        differences=differences,
        main=main,
        per_class=per_class(predictions),
        about={**(about or {}), **facts},
    )


def _difference(mine: Row, other: Row, metric: str, n_resamples: int, seed: int) -> dict[str, Any]:
    """Paired interval of a metric, one row minus another, on the pieces that both have."""
    a, b = mine.predictions, other.predictions
    assert a is not None
    assert b is not None
    ids = np.intersect1d(a.ids, b.ids)
    if len(ids) == len(a) == len(b):
        draws = [mine.draws.get(metric), other.draws.get(metric)]
        n = mine.items
    else:
        parts = [p["0"] for p in fair_groups([{"0": restricted(a, ids)}, {"0": restricted(b, ids)}])]
        weights = resample(len(np.unique(parts[0].groups)), n_resamples=n_resamples, seed=seed)
        draws = [draw_scores(part, weights).get(metric) for part in parts]
        n = int(parts[0].scored.sum())
    if draws[0] is None or draws[1] is None:
        return {"n": n, **Interval(np.nan).as_dict()}
    return {"n": n, **interval(draws[0] - draws[1]).as_dict()}


#: facts of ``task.json`` that the report repeats
_FACTS = ("data", "model", "leaks", "recipe")
#: split of the labelled sets that are a fold of a data-bin
DATA_BIN = "data-bin"


def experiment_report(
    experiment: Experiment,
    sets: LabelledSet | Mapping[str, LabelledSet] | None = None,
    *,
    extra: Extra | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    seen: Collection[str] | None = None,
) -> Report:
    """Score an experiment.

    ``sets``: the data, for baselines: one set, or a set a fold; ``progress``: called with the name of each
    baseline before it is fitted; ``seen``: pieces that are scored apart from the others
    (`musicbert.evaluation.reports.seen`); other options: see `build_report`.
    Raises `DatasetError` (``other-data`` where the runs were made with other data).
    """
    task, record = experiment.task, experiment.record
    folds = list(next(iter(experiment.runs.values())))
    by_fold = sets if isinstance(sets, Mapping) else {} if sets is None else dict.fromkeys(folds, sets)
    expected = record["data"].get("sha256")
    for fold, each in by_fold.items():
        asked = expected.get(fold) if isinstance(expected, Mapping) else expected
        if asked and each.sha256 != asked:
            raise DatasetError("other-data", "the runs were made with other data", path=each.path)
    splits = {fold: experiment.splits.get(fold) or _parts(by_fold[fold]) for fold in by_fold}
    baselines: dict[str, dict[str, Predictions]] = {}
    for name in baseline_names(by_fold[folds[0]], task) if by_fold else ():
        if progress is not None:
            progress(name)
        baselines[name] = {
            fold: named_by_fold(
                baseline_predictions(
                    by_fold[fold],
                    task,
                    name,
                    *([by_fold[fold].index[n] for n in splits[fold][part]] for part in ("train", "test")),
                    seed=seed,
                ),
                fold,
            )
            for fold in folds
        }
    about = {name: record[name] for name in _FACTS if name in record}
    about |= {
        "parameters": experiment.parameters,
        "train_share": record.get("train_share", 1.0),
        "train_pieces": {fold: len(split["train"]) for fold, split in (experiment.splits or splits).items()},
        "leak_note": record.get("leak_note", ""),
        "seconds": round(experiment.seconds, 1),
    }
    report = build_report(
        f"{task.name}: {record['model']} on {record['data']['path']}",
        task,
        experiment.runs,
        split=record.get("split", ""),
        baselines=baselines,
        extra=extra,
        n_resamples=n_resamples,
        seed=seed,
        about=about,
    )
    report.curves = experiment.curves
    if seen is not None:
        report.apart = scored_apart(report.rows, seen, n_resamples=n_resamples, seed=seed)
    if by_fold:
        column = by_fold[folds[0]].column(task.label)
        report.poles = column.poles
        report.about |= {"scale": column.scale} if column.scale else {}
    return report


def _parts(fold: LabelledSet) -> dict[str, list[str]]:
    """Part -> names of the pieces of a fold of a data-bin."""
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for piece, part in fold.split(DATA_BIN).items():
        parts[part].append(piece)
    return parts
