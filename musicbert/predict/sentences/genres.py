"""Genre and style scored: checkpoints and baselines over all folds of a data-bin.

Pieces of all folds are scored together (each is tested once) and fold by fold; bootstrap intervals draw whole
songs where a ledger says which pieces are versions of one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.corpus.bins.databin import fold_folders
from musicbert.corpus.files.ledger import read_ledger
from musicbert.corpus.labelled.sentence_bin import read_part
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.genre import genre_baselines, mean_over_windows
from musicbert.evaluation.metrics.bootstrap import resample
from musicbert.evaluation.metrics.multilabel import (
    AVERAGES,
    MULTILABEL,
    multilabel_scores,
    roc_auc_of_classes,
)
from musicbert.evaluation.reports.score_files import with_means, write_scores
from musicbert.predict.sentences.databin import class_logits
from musicbert.predict.sentences.probe import probe_scores
from musicbert.provenance import provenance

__all__ = ["score_genres"]

Floats = NDArray[np.float64]


def score_genres(
    data: str | PathLike[str],
    out: str | PathLike[str],
    *,
    checkpoints: Mapping[str, Mapping[str, str | PathLike[str]]],
    part: str = "test",
    probes: Mapping[str, Any] | None = None,
    baselines: bool = True,
    head: str | None = None,
    device: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
    command: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Score checkpoints and baselines and write ``scores.{json,csv,md}`` and the predictions.

    Parameters
    ----------
    data
        Data-bin with a folder a fold (or one fold).
    out
        Folder for the results; ``<row>.npz`` holds ``ids``, ``scores``, ``labels``, ``fold`` and ``classes``.
    checkpoints
        Row -> fold -> fine-tuned checkpoint; the folds that a row has are scored.
    probes
        Row -> model whose embeddings are probed (`musicbert.predict.sentences.probe`).
    part
        ``test`` or ``valid``.
    baselines
        Score the baselines too, on every fold that a checkpoint row has (on all where there is none).
    head, device
        See `class_logits`.
    resamples, seed
        Of the bootstrap.
    command
        Words of the command line, for the record.
    progress
        Called with (done, all) sequences.

    Returns
    -------
    row -> metric -> interval; ``<metric> of folds`` holds the mean over folds and its standard deviation

    Raises
    ------
    CheckpointError, DatasetError
        Those of `class_logits` and `read_part`; ``no-fold``, ``class-count-mismatch``.
    """
    folds = fold_folders(data, marker="input0")
    for row, files in checkpoints.items():
        if unknown := sorted(set(files) - set(folds)):
            raise DatasetError("no-fold", f"{row} is of fold {unknown[0]!r}, which is not here", path=data)
    wanted = {fold for files in checkpoints.values() for fold in files} or set(folds)
    collected: dict[str, list[tuple[str, list[str], NDArray[np.bool_], Floats]]] = {}
    classes: list[str] = []
    known: dict[bytes, Floats] = {}
    probed: dict[str, dict[bytes, Floats]] = {}
    for fold, folder in folds.items():
        if fold not in wanted:
            continue
        about = read_part(folder, part)
        if classes and about.classes != classes:
            raise DatasetError(
                "class-count-mismatch",
                "The folds differ in their classes or the order of these",
                path=folder,
                hint="make the data with scripts/gen_genre.py, which gives all folds one dictionary",
            )
        classes = about.classes
        found: dict[str, Floats] = {}
        if baselines:
            found |= genre_baselines(folder, part, seed=seed, known=known)
        for row, model in (probes or {}).items():
            found[row] = probe_scores(model, folder, part, known=probed.setdefault(row, {}))
        for row, files in checkpoints.items():
            if fold in files:
                logits = class_logits(files[fold], folder, part, head=head, device=device, progress=progress)
                if logits.shape[1] < len(classes):
                    raise DatasetError(
                        "class-count-mismatch",
                        f"The head has {logits.shape[1]} outputs for {len(classes)} classes",
                        path=str(files[fold]),
                    )
                found[row] = 1 / (1 + np.exp(-logits[:, : len(classes)].astype(np.float64)))
        for row, scores in found.items():
            collected.setdefault(row, []).append((fold, *mean_over_windows(about, scores)))
    songs = _songs(Path(data))
    rows: dict[str, Any] = {}
    each_class = {}
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for row, parts in collected.items():
        ids = [name for _, names, _, _ in parts for name in names]
        labels = np.concatenate([part[2] for part in parts])
        scores = np.concatenate([part[3] for part in parts])
        groups = np.array([songs.get(name, name) for name in ids])
        weights = resample(len(ids), n_resamples=resamples, groups=groups, seed=seed)
        found_scores = multilabel_scores(labels, scores, weights=weights)
        rows[row] = {name: interval.as_dict() for name, interval in found_scores.items()}
        rows[row].update(_of_folds(parts))
        auc = roc_auc_of_classes(labels, scores, np.ones((1, len(ids))))[0]
        each_class[row] = {
            name: {"true": int(labels[:, c].sum()), "roc_auc": None if np.isnan(auc[c]) else float(auc[c])}
            for c, name in enumerate(classes)
        }
        if row in checkpoints:
            np.savez_compressed(
                folder / f"{row}.npz",
                ids=np.array(ids),
                scores=scores,
                labels=labels,
                fold=np.repeat([part[0] for part in parts], [len(part[1]) for part in parts]),
                classes=np.array(classes),
            )
    made = Path(data) / "about.json"
    about_data = json.loads(made.read_text(encoding="utf-8")) if made.is_file() else {}
    pieces = len(next(iter(collected.values()))[0][1]) if collected else 0
    tested = max((sum(len(part[1]) for part in parts) for parts in collected.values()), default=pieces)
    caution = f" Folds: {about_data['rule']}." if about_data.get("rule") else ""
    if about_data.get("caution"):
        caution += f" Caution: {about_data['caution']}."
    metrics = [
        [f"f1_{average}" for average in AVERAGES],
        [f"roc_auc_{average}" for average in AVERAGES],
        ["exact", *(f"{name} of folds" for name in ("f1_micro", "f1_macro", "roc_auc_macro"))],
    ]
    rows = with_means(rows)
    write_scores(
        folder,
        title=f"{Path(data).absolute().name}, {part}",
        notes=[
            f"{tested} pieces of {len(wanted)} folds, {len(classes)} classes, threshold 0.5.{caution}",
            f"Brackets: 95 % bootstrap interval over {'songs' if songs else 'pieces'}; ± standard deviation "
            "over folds.",
        ],
        rows=rows,
        metrics=metrics,
        more={
            "about": about_data or None,
            "classes": each_class,
            "provenance": provenance(
                command,
                inputs={f"fold {fold}": folds[fold] / "input0" / f"{part}.bin" for fold in sorted(wanted)}
                | {
                    f"{row} {fold}": path
                    for row, files in checkpoints.items()
                    for fold, path in files.items()
                },
                seed=seed,
                configuration={"part": part, "resamples": resamples},
            ),
        },
    )
    return rows


def _of_folds(parts: Sequence[tuple[str, list[str], NDArray[np.bool_], Floats]]) -> dict[str, Any]:
    """Mean and standard deviation of each metric over folds."""
    result = {}
    for name, metric in MULTILABEL.items():
        values = np.array(
            [metric(labels, scores, np.ones((1, len(labels))))[0] for _, _, labels, scores in parts]
        )
        values = values[np.isfinite(values)]
        spread = float(values.std(ddof=1)) if len(values) > 1 else None
        mean = float(values.mean()) if len(values) else None
        result[f"{name} of folds"] = {"value": mean, "low": None, "high": None, "sd": spread}
    return result


def _songs(data: Path) -> dict[str, str]:
    """Song of each piece, from the ledger of the data; empty where there is none."""
    if not (data / "ledger.jsonl").is_file():
        return {}
    return {each.name: each.group for each in read_ledger(data / "ledger.jsonl") if each.group}
