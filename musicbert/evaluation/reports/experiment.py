"""The report of an experiment of `musicbert finetune`: the network beside baselines of the same folds."""

from collections.abc import Callable, Mapping

from musicbert.corpus.labelled.contract import LabelledSet
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.labelled import baseline_names, baseline_predictions
from musicbert.evaluation.predictions import Predictions
from musicbert.evaluation.reports.build import Report, build_report
from musicbert.evaluation.runs import Experiment, named_by_fold
from musicbert.evaluation.scores import Extra

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
) -> Report:
    """Score an experiment.

    ``sets``: the data, for baselines: one set, or a set a fold; ``progress``: called with the name of each
    baseline before it is fitted; other options: see `build_report`.
    Raises `DatasetError` (``other-data`` where the runs were made with other data).
    """
    task, record = experiment.task, experiment.record
    folds = list(next(iter(experiment.runs.values())))
    by_fold = sets if isinstance(sets, Mapping) else {} if sets is None else dict.fromkeys(folds, sets)
    expected = record["data"].get("sha256")
    if sets is not None and not isinstance(sets, Mapping) and expected and sets.sha256 != expected:
        raise DatasetError("other-data", "the runs were made with other data", path=sets.path)
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
    return report


def _parts(fold: LabelledSet) -> dict[str, list[str]]:
    """Part -> names of the pieces of a fold of a data-bin."""
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for piece, part in fold.split(DATA_BIN).items():
        parts[part].append(piece)
    return parts
