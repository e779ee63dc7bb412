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
from musicbert.corpus.labelled.sentence_bin import SentencePart, read_part
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.sentences import genre_baselines, mean_over_windows
from musicbert.evaluation.metrics.multilabel import AVERAGES
from musicbert.evaluation.predictions import Predictions, outputs_of, pool, probabilities, save_predictions
from musicbert.evaluation.rows import Row, fair_groups, score_row
from musicbert.evaluation.tables import OF_FOLDS, write_scores
from musicbert.predict.sentences.databin import class_logits
from musicbert.predict.sentences.probe import probe_scores
from musicbert.predict.sentences.runs import seeds_of
from musicbert.provenance import provenance

__all__ = ["score_genres"]

Floats = NDArray[np.float64]
_LABEL = "label"


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
) -> list[Row]:
    """Score checkpoints and baselines and write ``scores.{json,csv,md}`` and the predictions.

    Parameters
    ----------
    data
        Data-bin with a folder a fold (or one fold).
    out
        Folder for the results; ``<row>.npz`` holds the predictions of all folds under the label ``label``.
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
    The rows, also of the mean over seeds where there are several

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
    songs = _songs(Path(data))
    collected: dict[str, dict[str, Predictions]] = {}
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
                found[row] = probabilities(logits[:, : len(classes)], "multilabel")
        for row, scores in found.items():
            collected.setdefault(row, {})[fold] = _of_pieces(about, scores, songs, fold)
    options: dict[str, Any] = {"n_resamples": resamples, "seed": seed, "split": part}
    tested = dict(zip(collected, fair_groups(collected.values()), strict=True))
    rows = [
        score_row("network" if row in checkpoints else "baseline", [parts], name=row, **options)
        for row, parts in tested.items()
    ]
    for name, members in seeds_of(checkpoints).items():
        runs = [tested[row] for row in members]
        rows.append(score_row("network", runs, seeds="one", name=name, **options))
    folder = Path(out)
    for row in checkpoints:
        save_predictions(folder / f"{row}.npz", {_LABEL: pool(list(collected[row].values()))})
    made = Path(data) / "about.json"
    about_data = json.loads(made.read_text(encoding="utf-8")) if made.is_file() else {}
    tested_pieces = max((sum(map(len, parts.values())) for parts in collected.values()), default=0)
    first = next(iter(collected.values()), {})
    true = np.sum([part.target.sum(axis=0) for part in first.values()], axis=0) if first else []
    caution = f" Folds: {about_data['rule']}." if about_data.get("rule") else ""
    if about_data.get("caution"):
        caution += f" Caution: {about_data['caution']}."
    metrics = [
        [f"{average}_f1" for average in AVERAGES],
        [f"roc_auc_{average}" for average in AVERAGES],
        ["exact", *(name + OF_FOLDS for name in ("micro_f1", "macro_f1", "roc_auc_macro"))],
    ]
    write_scores(
        folder,
        title=f"{Path(data).absolute().name}, {part}",
        notes=[
            f"{tested_pieces} pieces of {len(wanted)} folds, {len(classes)} classes, threshold 0.5.{caution}",
            f"Brackets: 95 % bootstrap interval over {'songs' if songs else 'pieces'}; ± standard deviation "
            "over folds; sd of seeds: standard deviation over seeds.",
        ],
        rows=rows,
        metrics=metrics,
        more={
            "about": about_data or None,
            "classes": {name: int(count) for name, count in zip(classes, true, strict=False)},
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


def _of_pieces(about: SentencePart, scores: Floats, songs: Mapping[str, str], fold: str) -> Predictions:
    """Predictions of pieces: the mean over the windows of each, with songs as groups."""
    ids, labels, chance = mean_over_windows(about, scores)
    if about.ids is None:
        ids = [f"fold{fold}/{name}" for name in ids]
    return Predictions(
        label=_LABEL,
        level="sequence",
        kind="multilabel",
        classes=tuple(about.classes),
        ids=np.array(ids, np.str_),
        groups=np.array([songs.get(name, name) for name in ids], np.str_),
        target=labels.astype(np.float64),
        outputs=outputs_of(chance, "multilabel"),
    )


def _songs(data: Path) -> dict[str, str]:
    """Song of each piece, from the ledger of the data; empty where there is none."""
    if not (data / "ledger.jsonl").is_file():
        return {}
    return {each.name: each.group for each in read_ledger(data / "ledger.jsonl") if each.group}
