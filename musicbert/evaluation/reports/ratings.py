"""The report of a network on ratings or performers: beside its baselines, a blend, a hybrid and the ceiling.

The kinds of rows are those of `musicbert.evaluation.rows`; rows of baselines come from the baselines' own
result file. Groups are those of the label map: of several columns, the one by
which the data set was split.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.reliability import reliability_table
from musicbert.annotation.study.answers import StudyOptions
from musicbert.annotation.study.read import read_study
from musicbert.annotation.table import read_ratings
from musicbert.arrays import Floats
from musicbert.atomic import read_json
from musicbert.corpus.labelled.pieces import Task
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.models import hybrid
from musicbert.evaluation.baselines.rated_examples import feature_table
from musicbert.evaluation.metrics.bootstrap import Interval, mean
from musicbert.evaluation.predictions import PERFORMER, RATINGS, Predictions, kept, pool, rounded
from musicbert.evaluation.reports.build import Report, build_report, ensemble_of, restricted
from musicbert.evaluation.reports.write import write_report
from musicbert.evaluation.rows import Folds, Row, RowKind, read_rows, shown_name
from musicbert.evaluation.run_files import KEPT, Run, curves_of_runs, kept_folds, read_runs
from musicbert.provenance import provenance
from musicbert.reuse import hash_of

logger = logging.getLogger(__name__)
#: task on the command line -> label
LABELS = {"regression": RATINGS, "classes": PERFORMER}
#: baselines that predictions of a network are averaged with, fixed beforehand; the first that there is
PARTNERS = {
    "regression": ("committee+score", "committee", "ensemble"),
    "classes": ("ensemble+score", "ensemble"),
}
_ENDS = (("low", "_low"), ("high", "_high"))
#: Labels of a data-bin are single precision: the largest difference to the label map that rounding explains.
ROUNDING = 1e-5


def with_labels(predictions: Predictions, labels: LabelMap) -> Predictions:
    """Put the label map's labels (double precision) and names beside predictions.

    Raises `DatasetError` (``label-mismatch`` where an id is not in the map or its labels are other ones).
    """
    ids = predictions.ids.tolist()
    unknown = [name for name in ids if name not in labels]
    if unknown:
        raise DatasetError(
            "label-mismatch", f"{len(unknown)} predicted items have no label, such as {unknown[0]}"
        )
    mine = labels.subset(ids)
    if predictions.kind == "classes":
        count = predictions.outputs.shape[1]
        more = [f"class {k}" for k in range(len(labels.classes), count)]
        return replace(predictions, classes=(*labels.classes, *more)[:count], target=mine.class_of)
    blank = np.isnan(predictions.target).all()  # kept without labels
    if predictions.target.shape != mine.values.shape or not (
        blank or np.allclose(predictions.target, mine.values, atol=ROUNDING, rtol=0, equal_nan=True)
    ):
        raise DatasetError(
            "label-mismatch",
            "the labels that the network was tested on are not those of the label map",
            hint="pass the label map that the data set was made from",
        )
    names = tuple(dimension.name for dimension in labels.dimensions)
    return replace(predictions, classes=names, target=mine.values)


def rating_report(
    runs_folder: str | PathLike[str],
    labels: LabelMap,
    *,
    task: str = "regression",
    name: str = "",
    split: str = "",
    baselines: Sequence[Row] = (),
    baseline_predictions: str | PathLike[str] | None = None,
    ceiling: pd.DataFrame | None = None,
    kind: str | None = None,
    features: Mapping[str, Floats] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Report:
    """Score the runs of a network and put them beside everything they have to be compared with.

    ``labels``: the label map that the data set was made from; ``task``: ``"regression"`` (ratings) or
    ``"classes"`` (performers); ``baselines``: rows of one split of a result of baselines;
    ``baseline_predictions``: folder ``<row>/fold<k>/seed<s>/test.npz`` of the same split: enables differences
    and the blend, both with one row that is fixed beforehand (`partner_of`); ``ceiling``, ``kind``:
    reliability table, indexed by dimension name, and the kind of label that picks its columns
    ``ceiling_<kind>`` (default: that of the label map); ``features``: id -> features:
    enables the hybrid, if the runs have embeddings of their training part.
    Raises `DatasetError`: what reading the runs raises; ``no-predictions`` where a run does not predict this
    task.
    """
    label = LABELS[task]
    regression = label == RATINGS
    runs = read_runs(runs_folder, ("test", "train"))
    for run in runs:
        predictions = run.parts["test"].get(label)
        if predictions is None or np.isnan(predictions.outputs).all():
            raise DatasetError("no-predictions", f"a run has no predictions of {label}", path=runs_folder)
    pieces = [run.parts["test"][label] for run in runs]
    labels = labels.grouped_as(
        {name: group for part in pieces for name, group in zip(part.ids, part.groups, strict=True)}
    )
    groups = labels.group_of()

    def prepared(part: Predictions) -> Predictions:
        predictions = with_labels(rounded(part), labels)
        member = [groups.get(name, name) for name in predictions.ids.tolist()]
        return replace(predictions, groups=np.array(member, np.str_))

    tested: dict[int, dict[str, Predictions]] = {}
    for run in runs:
        tested.setdefault(run.seed, {})[run.fold] = prepared(run.parts["test"][label])
    ensemble = ensemble_of(tested.values())
    partner = partner_of(baselines, task)
    reference = {k: prepared(part) for k, part in kept_folds(runs_folder, "partner").items()}
    if partner is not None and baseline_predictions is not None:
        folder = Path(baseline_predictions) / partner.replace(":", "_")
        reference = {run.fold: prepared(run.parts["test"][label]) for run in read_runs(folder)}
    mixed: dict[RowKind, Folds] = {}
    if baseline_predictions is not None and set(reference) != set(ensemble):
        logger.warning("no blend: %s has no %s of the folds of the runs", baseline_predictions, partner)
    if set(reference) == set(ensemble):
        mixed["blend"] = {
            fold: pool([mine, restricted(reference[fold], mine.ids)]) for fold, mine in ensemble.items()
        }
    if combined := kept_folds(runs_folder, "hybrid"):
        mixed["hybrid"] = {k: prepared(part) for k, part in combined.items()}
    trained = [run.parts.get("train", {}).get(label) for run in runs]
    embedded = all(part is not None and part.embedding is not None for part in trained)
    if features is not None and not embedded and "hybrid" not in mixed:
        logger.warning("no hybrid: the runs have no embeddings of their training part (train.npz)")
    if features is not None and embedded:
        fitted: dict[int, dict[str, Predictions]] = {}
        for run in runs:
            test = tested[run.seed][run.fold]
            predictions = hybrid(prepared(run.parts["train"][label]), test, features, seed=seed)
            fitted.setdefault(run.seed, {})[run.fold] = replace(predictions, groups=test.groups)
        mixed["hybrid"] = {k: rounded(part) for k, part in ensemble_of(fitted.values()).items()}
    outputs = next(iter(ensemble.values())).classes
    report = build_report(
        name or Path(runs_folder).name,
        Task(
            name=label,
            label=label,
            level="sequence",
            kind="regression" if regression else "classes",
            classes=outputs,
            metric="r2" if regression else "accuracy",
        ),
        tested,
        split=split,
        mixed=mixed,
        baselines={shown_baseline(partner): reference} if partner is not None and reference else {},
        scored=[replace(row, name=shown_baseline(row.name)) for row in baselines],
        n_resamples=n_resamples,
        seed=seed,
        about={
            "label_kind": labels.kind,
            "scale": labels.meta()["scale"],
            "runs": [{"fold": run.fold, "seed": run.seed} for run in runs],
        },
    )
    if regression:
        report.poles = tuple((dimension.low, dimension.high) for dimension in labels.dimensions)
        report.rows += _ceiling(outputs, ceiling, kind or labels.kind, split)
    report.curves = curves_of_runs(runs)
    named = {f"fold{run.fold}/seed{run.seed}": run.parts["test"][label] for run in runs}
    for kind, folds in {"hybrid": mixed.get("hybrid", {}), "partner": reference}.items():
        named |= {f"{kind}/fold{k}": part for k, part in folds.items()}
    report.kept = {name: kept(part) for name, part in named.items()}
    return report


def shown_baseline(name: str) -> str:
    """Name a baseline so that it cannot be taken for a network: ``features: ridge``."""
    return name if name in ("mean", "majority") or name.startswith("lookup:") else f"features: {name}"


def _ceiling(names: Sequence[str], table: pd.DataFrame | None, kind: str, split: str) -> list[Row]:
    """Row of the ceiling: its middle and both ends, or one figure where the table has no ends."""
    columns = {end: f"ceiling_{kind}{suffix}" for end, suffix in (("value", ""), *_ENDS)}
    if table is None or not {*columns.values()} & {*table}:
        return []
    ends = {end: table.reindex(list(names))[column] for end, column in columns.items() if column in table}
    if {"low", "high"} <= set(ends):
        ends["value"] = (ends["low"] + ends["high"]) / 2
    arrays = {end: values.to_numpy(np.float64) for end, values in ends.items()}
    pooled = {"r2": {end: float(mean(values)) for end, values in arrays.items()}}
    pooled |= {f"r2:{name}": {e: v[k] for e, v in arrays.items()} for k, name in enumerate(names)}
    scores = {"pooled": {metric: Interval(**each).as_dict() for metric, each in pooled.items()}}
    return [] if np.isnan(arrays["value"]).all() else [Row("ceiling", scores, split=split, task=RATINGS)]


def partner_of(rows: Sequence[Row], task: str = "regression") -> str | None:
    """Return the baseline that the blend is made with: the first of `PARTNERS`, never chosen by its score.

    Without any of them it is the last row that sees features of the item alone, or else the last row.
    """
    names = [row.name for row in rows if not row.name.endswith("+peers")]  # those see other test performances
    features = [name for name in names if shown_baseline(name) != name]
    return next((name for name in PARTNERS[task] if name in names), (features or names or [None])[-1])


def _ceiling_of_tested(path: Path, labels: LabelMap, runs: Sequence[Run], label: str) -> pd.DataFrame:
    """Ends of the ceiling of the segments that runs were tested on."""
    tested = {name for run in runs for name in run.parts["test"][label].ids.tolist()}
    study = labels.source.get("study")
    table = read_ratings(path) if study is None else read_study(path, StudyOptions(**study))
    columns = [dimension.column for dimension in labels.dimensions]
    centred = bool(labels.source.get("center_raters"))
    return reliability_table(table, columns=columns, center_raters=centred, ids=tested, among=set(labels.ids))


def report_set(
    *,
    runs: Path,
    labels: Path,
    out: Path,
    columns: str | None = None,
    task: str = "regression",
    name: str = "",
    baselines: Path | None = None,
    split: str | None = None,
    baseline_predictions: Path | None = None,
    ceiling: Path | None = None,
    ratings: Path | None = None,
    kind: str | None = None,
    midi: Path | None = None,
    cache: Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
    command: Sequence[str] = (),
) -> dict[str, float | None]:
    """Read everything that ``scripts/report_xai.py`` names, write the report, return headline scores by row.

    Raises `MusicBertError` (what reading raises; ``bad-baselines`` where the result does not hold the split,
    ``other-data`` where it was made from other labels or MIDI files, ``bad-ceiling``).
    """
    key = None if split is None else split if task == "regression" else f"{split}_performer"
    scores: list[Row] = []
    if baselines is not None:
        try:
            result: Any = read_json(baselines)
            scores = read_rows(result["splits"][key]["rows"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                "bad-baselines",
                f"there is no split {key!r} to read here",
                path=baselines,
                hint="run scripts/baselines_xai.py with this --split and --task",
            ) from error
        made = result.get("made_from", {"files": {}})["files"]  # earlier results have no record
        for role, path in {"--labels": labels, "--midi": midi}.items():
            if role in made and path is not None and made[role] != hash_of(path):
                raise DatasetError(
                    "other-data",
                    f"these baselines were made from other {role.removeprefix('--')} than {path}",
                    path=baselines,
                    hint="run scripts/baselines_xai.py again",
                )
    folder = baseline_predictions / split / task if baseline_predictions is not None and split else None
    label_map = LabelMap.load(labels, columns=columns)
    table = None if ceiling is None else pd.read_csv(ceiling, index_col=0)
    column = f"ceiling_{kind or label_map.kind}"
    if table is not None and not (
        column in table and table.index.isin([dimension.name for dimension in label_map.dimensions]).any()
    ):
        raise DatasetError(
            "bad-ceiling",
            f"there is no {column} of these labels here",
            path=ceiling,
            hint="give reliability.csv of map_midi_to_label.py --reliability for these ratings; "
            "--kind is apex, mean or median",
        )
    if ratings is not None:
        table = _ceiling_of_tested(ratings, label_map, read_runs(runs), LABELS[task])
    report = rating_report(
        runs,
        label_map,
        task=task,
        name=name,
        split=split or "",
        baselines=scores,
        baseline_predictions=folder,
        ceiling=table,
        kind=kind,
        features=None if midi is None else feature_table(midi, labels=label_map, cache=cache)[0],
        n_resamples=resamples,
        seed=seed,
    )
    inputs = {
        "labels": labels, "baselines": baselines, "ceiling": ceiling, "ratings": ratings, "midi": midi,
        "predictions": runs / KEPT if (runs / KEPT).is_file() else None,
    }  # fmt: skip
    inputs |= {
        f"{p.parent.parent.name}/{p.parent.name}": p for p in sorted(runs.glob("fold*/seed*/test.npz"))
    }
    source = provenance(
        command,
        inputs={role: path for role, path in inputs.items() if path is not None},
        seed=seed,
        configuration={"split": split, "task": task, "resamples": resamples},
    )
    write_report(report, out, provenance=source)
    return {shown_name(row): row.entry(report.headline)["value"] for row in report.rows}
