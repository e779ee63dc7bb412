"""Genre and style scored: checkpoints and baselines over all folds of a data-bin.

Pieces of all folds are scored together (each is tested once) and fold by fold; bootstrap intervals draw whole
songs where a ledger says which pieces are versions of one.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from musicbert.arrays import Floats
from musicbert.corpus.bins.databin import fold_folders
from musicbert.corpus.files.ledger import read_ledger
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.sentences import genre_baselines, mean_over_windows
from musicbert.evaluation.metrics.multilabel import AVERAGES
from musicbert.evaluation.predictions import Predictions, outputs_of, pool, probabilities, save_predictions
from musicbert.evaluation.rows import Row, fair_groups, score_row
from musicbert.evaluation.tables import OF_FOLDS
from musicbert.predict.sentences.databin import probe_scores, whole_probe_scores
from musicbert.predict.sentences.scoring import LABEL, Scoring, read_about, seeds_of

#: columns of the tables
_METRICS = (
    [f"{average}_f1" for average in AVERAGES],
    [f"roc_auc_{average}" for average in AVERAGES],
    ["exact", *(name + OF_FOLDS for name in ("micro_f1", "macro_f1", "roc_auc_macro"))],
)


def score_genres(
    data: str | PathLike[str],
    out: str | PathLike[str],
    *,
    checkpoints: Mapping[str, Mapping[str, str | PathLike[str]]],
    probes: Mapping[str, Any] | None = None,
    whole: bool = False,
    scoring: Scoring | None = None,
) -> list[Row]:
    """Score checkpoints and baselines and write ``scores.{json,csv,md}`` and the predictions (``<row>.npz``).

    ``data``: data-bin with a folder a fold (or one fold); ``checkpoints``: row -> fold -> fine-tuned
    checkpoint; the folds that a row has are scored, and baselines on every such fold (on all where there is
    none); ``probes``: row -> model whose embeddings are probed (`musicbert.predict.sentences.databin`);
    ``whole``: probe all windows of pieces, too, and average these rows with ``extra trees``.
    Returns the rows, also of the mean over seeds where there are several.
    Raises `CheckpointError, DatasetError` (those of `Scoring.logits` and `read_part`; ``no-fold``).
    """
    scoring = scoring or Scoring()
    part = scoring.part
    folds = fold_folders(data, marker="input0")
    for row, files in checkpoints.items():
        if unknown := sorted(set(files) - set(folds)):
            raise DatasetError("no-fold", f"{row} is of fold {unknown[0]!r}, which is not here", path=data)
    wanted = {fold for files in checkpoints.values() for fold in files} or set(folds)
    folds = {fold: folder for fold, folder in folds.items() if fold in wanted}
    abouts = {fold: SentenceBin(folder, parts=[part]) for fold, folder in folds.items()}
    classes = _common_classes(abouts, data)
    songs = _songs(Path(data))
    collected: dict[str, dict[str, Predictions]] = {}
    known: dict[bytes, Floats] = {}
    probed: dict[str, dict[bytes, Floats]] = {}
    for fold, folder in folds.items():
        scores: dict[str, Floats] = {}
        if scoring.baselines:
            scores |= genre_baselines(folder, part, seed=scoring.seed, known=known)
        for row, model in (probes or {}).items():
            scores[row] = probe_scores(model, folder, part, known=probed.setdefault(row, {}))
            if whole:
                name = f"{row}, all windows"
                scores[name] = whole_probe_scores(model, folder, part, known=probed.setdefault(name, {}))
                if scoring.baselines:
                    scores[f"{name}, and features"] = (scores[name] + scores["extra trees"]) / 2
        for row, files in checkpoints.items():
            if fold in files:
                logits = scoring.logits(files[fold], folder, len(classes))
                scores[row] = probabilities(logits, "multilabel")
        for row, chance in scores.items():
            collected.setdefault(row, {})[fold] = _of_pieces(abouts[fold], chance, songs, fold)
    options: dict[str, Any] = {"n_resamples": scoring.resamples, "seed": scoring.seed, "split": part}
    tested = dict(zip(collected, fair_groups(collected.values()), strict=True))
    rows = [
        score_row("network" if row in checkpoints else "baseline", [parts], name=row, **options)
        for row, parts in tested.items()
    ]
    for name, members in seeds_of(checkpoints).items():
        runs = [tested[row] for row in members]
        rows.append(score_row("network", runs, seeds="one", name=name, **options))
    for row in checkpoints:
        save_predictions(Path(out) / f"{row}.npz", {LABEL: pool(list(collected[row].values()))})
    about = read_about(Path(data) / "about.json")
    pieces = max((sum(map(len, parts.values())) for parts in collected.values()), default=0)
    first = next(iter(collected.values()), {})
    true = sum((part.target.sum(axis=0) for part in first.values()), np.zeros(len(classes)))
    caution = f" Folds: {about['rule']}." if about.get("rule") else ""
    caution += f" Caution: {about['caution']}." if about.get("caution") else ""
    inputs = {f"fold {fold}": folder / "input0" / f"{part}.bin" for fold, folder in folds.items()}
    for row, files in checkpoints.items():
        inputs |= {f"{row} {fold}": Path(path) for fold, path in files.items()}
    scoring.write(
        out,
        data,
        rows,
        notes=[
            f"{pieces} pieces of {len(folds)} folds, {len(classes)} classes, threshold 0.5.{caution}",
            f"Brackets: 95 % bootstrap interval over {'songs' if songs else 'pieces'}; ± standard deviation "
            "over folds; sd of seeds: standard deviation over seeds.",
        ],
        metrics=_METRICS,
        inputs=inputs,
        about=about or None,
        classes={name: int(count) for name, count in zip(classes, true, strict=True)},
    )
    return rows


def _common_classes(abouts: Mapping[str, SentenceBin], data: str | PathLike[str]) -> list[str]:
    """Names of the classes, which all folds share."""
    names = [about.classes for about in abouts.values()]
    if any(classes != names[0] for classes in names):
        raise DatasetError(
            "class-count-mismatch",
            "The folds differ in their classes or the order of these",
            path=data,
            hint="make the data with scripts/gen_genre.py, which gives all folds one dictionary",
        )
    return names[0] if names else []


def _of_pieces(about: SentenceBin, scores: Floats, songs: Mapping[str, str], fold: str) -> Predictions:
    """Predictions of pieces: the mean over the windows of each, with songs as groups."""
    ids, labels, chance = mean_over_windows(about, scores)
    if about.ids is None:
        ids = [f"fold{fold}/{name}" for name in ids]
    return Predictions(
        label=LABEL,
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
    return {entry.name: entry.group for entry in read_ledger(data / "ledger.jsonl") if entry.group}
