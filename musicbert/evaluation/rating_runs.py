"""Runs of a network: predictions and logs by fold and seed.

Layout: ``<runs>/fold<k>/seed<s>/{test,valid,train}.npz`` and, where there is one, a log (``log.jsonl``,
``train.log`` or a folder ``tensorboard``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from musicbert.annotation.label_map import LabelMap
from musicbert.errors import DatasetError
from musicbert.evaluation.rating_predictions import Predictions
from musicbert.evaluation.training_log import Curves, read_curves

__all__ = ["Run", "read_runs", "with_labels"]

_FOLDER = re.compile(r"fold(?P<fold>\w+)[/\\]seed(?P<seed>\d+)$")
LOGS = ("log.jsonl", "train.log", "tensorboard")
#: Labels of a data-bin are single precision: the largest difference to the label map that rounding explains.
ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class Run:
    """One training run: its fold and seed, predictions by part, curves."""

    fold: str
    seed: int
    parts: Mapping[str, Predictions]
    curves: Curves


def with_labels(predictions: Predictions, labels: LabelMap) -> Predictions:
    """Put the label map's labels (double precision) beside predictions.

    Raises
    ------
    DatasetError
        ``label-mismatch`` where an id is not in the map or its labels are other ones.
    """
    unknown = [name for name in predictions.ids.tolist() if name not in labels]
    if unknown:
        raise DatasetError(
            "label-mismatch", f"{len(unknown)} predicted items have no label, such as {unknown[0]}"
        )
    mine = labels.subset(predictions.ids.tolist())
    if predictions.labels.size and (
        predictions.labels.shape != mine.values.shape
        or not np.allclose(predictions.labels, mine.values, atol=ROUNDING, rtol=0, equal_nan=True)
    ):
        raise DatasetError(
            "label-mismatch",
            "the labels that the network was tested on are not those of the label map",
            hint="pass the label map that the data set was made from",
        )
    regression = predictions.regression
    return Predictions(
        predictions.ids,
        mine.values,
        mine.class_of,
        regression,
        predictions.class_logits,
        predictions.embedding,
    )


def read_runs(folder: str | PathLike[str], labels: LabelMap | None = None) -> list[Run]:
    """Read every run below a folder, sorted by fold and seed.

    Raises
    ------
    DatasetError
        ``no-runs`` where no ``fold<k>/seed<s>/test.npz`` is found; ``bad-predictions``; ``label-mismatch``.
    """
    runs = []
    for test in sorted(Path(folder).glob("fold*/seed*/test.npz")):
        match = _FOLDER.search(str(test.parent))
        if match is None:
            continue
        parts = {}
        for part in ("test", "valid", "train"):
            path = test.with_name(f"{part}.npz")
            if path.is_file():
                loaded = Predictions.load(path)
                parts[part] = loaded if labels is None else with_labels(loaded, labels)
        log = next((test.with_name(name) for name in LOGS if test.with_name(name).exists()), None)
        runs.append(Run(match["fold"], int(match["seed"]), parts, {} if log is None else read_curves(log)))
    if not runs:
        raise DatasetError(
            "no-runs", "there are no predictions here", path=folder, hint="expected fold<k>/seed<s>/test.npz"
        )
    return sorted(runs, key=lambda run: (len(run.fold), run.fold, run.seed))
