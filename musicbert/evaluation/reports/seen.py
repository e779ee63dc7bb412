"""Test pieces that a pre-training has seen as music, and the others, scored apart."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from musicbert.atomic import read_json
from musicbert.corpus.files.folders import read_whole
from musicbert.errors import DatasetError, nearest
from musicbert.evaluation.predictions import Predictions
from musicbert.evaluation.rows import Row, fair_groups, score_row

#: Parts of a test set.
SEEN, UNSEEN = "seen", "unseen"


def seen_file(given: str) -> tuple[Path, str]:
    """Take ``FILE.json:NETWORK`` apart; of a text file the network is empty."""
    path, colon, network = given.rpartition(":")
    return (Path(path), network) if colon and path.lower().endswith(".json") else (Path(given), "")


def read_seen(given: str) -> set[str]:
    """Names of the pieces that a pre-training has seen.

    ``given`` is a text file of a name a line, or ``FILE.json:NETWORK`` with a file as
    `results/tools/overlaps.py` writes it; there a piece also goes by the last part of its name, with and
    without suffix.

    Raises `DatasetError`: ``not-found``, ``bad-overlaps``, ``unknown-network``.
    """
    path, network = seen_file(given)
    if not path.is_file():
        raise DatasetError("not-found", "There is no such list of pieces", path=path)
    if path.suffix.lower() != ".json":
        text = read_whole(path, "The list of pieces").decode("utf-8-sig")  # Notepad begins it with a mark
        return {line.strip() for line in text.splitlines() if line.strip()}
    try:
        record = read_json(path)
        corpora = record["networks"]
        if network not in corpora:
            known = ", ".join(corpora)
            hint = nearest(network, corpora) or f"give {path}:NETWORK"
            raise DatasetError("unknown-network", f"a network is one of {known}", path=path, hint=hint)
        pieces = [
            each["piece"]
            for each in record["overlaps"]
            if any(corpora[network] in file["corpora"] for file in each["files"].values())
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "results/tools/overlaps.py writes such a file; other lists are text files"
        raise DatasetError(
            "bad-overlaps", f"Not a list of overlaps: {error}", path=path, hint=hint
        ) from error
    paths = map(PurePosixPath, pieces)
    return {name for path in paths for name in (str(path), path.name, path.stem)}


def restricted(predictions: Predictions, ids: Collection[str]) -> Predictions:
    """Return the predictions of some pieces, with their segments."""
    keep = np.isin(predictions.ids, list(ids))
    of_item = keep[predictions.piece_of]
    chosen = dict.fromkeys(("ids", "groups", "embedding"), keep)
    chosen |= dict.fromkeys(("target", "outputs", "note_index"), of_item)
    changes: dict[str, Any] = {}
    if predictions.offsets is not None:
        changes["offsets"] = np.concatenate([[0], np.cumsum(np.diff(predictions.offsets)[keep])])
    if predictions.segment_piece is not None:
        of_segment = keep[predictions.segment_piece]
        chosen |= dict.fromkeys(("segment_start", "segment_outputs"), of_segment)
        changes["segment_piece"] = (np.cumsum(keep) - 1)[predictions.segment_piece[of_segment]]
    for name, which in chosen.items():
        values = getattr(predictions, name)
        changes[name] = None if values is None else values[which]
    return replace(predictions, **changes)


def parts_of(predictions: Predictions, seen: Collection[str]) -> dict[str, Predictions]:
    """Return the predictions of the pieces that were seen and of those that were not, where there are any."""
    known = np.isin(predictions.ids, list(seen))
    parts = {SEEN: predictions.ids[known].tolist(), UNSEEN: predictions.ids[~known].tolist()}
    return {part: restricted(predictions, ids) for part, ids in parts.items() if ids}


def scored_apart(rows: Sequence[Row], seen: Collection[str], **bootstrap: int) -> Mapping[str, list[Row]]:
    """Score the rows whose predictions are at hand on seen and on unseen pieces: part -> rows.

    A part without pieces has no rows; ``bootstrap``: ``n_resamples`` and ``seed``.
    """
    parts: dict[str, list[Row]] = {SEEN: [], UNSEEN: []}
    for row in rows:
        if row.predictions is None or row.kind == "segments":
            continue
        about: dict[str, Any] = {"seeds": row.seeds, "name": row.name, "split": row.split}
        for part, predictions in parts_of(row.predictions, seen).items():
            folds = fair_groups([{"0": predictions}])
            parts[part].append(score_row(row.kind, folds, n_seeds=row.n_seeds, **bootstrap, **about))
    return parts
