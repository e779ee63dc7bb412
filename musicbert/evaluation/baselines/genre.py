"""Baselines of genre and style: scores of labels without a network.

===============  ==========================================================================
row              score of a label
===============  ==========================================================================
``majority``     1 for the most frequent label of training, else 0
``frequency``    share of the training pieces that have it
``logistic``     logistic regression on `musicbert.evaluation.baselines.genre_features`, one a label
``extra trees``  500 extremely randomised trees on the same, all labels at once
===============  ==========================================================================

Fitted on the first window of each training piece, with settings that were fixed beforehand.
"""

from __future__ import annotations

from os import PathLike

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression

from musicbert.corpus.labelled.sentence_bin import SentencePart, read_part
from musicbert.evaluation.baselines.genre_features import window_features
from musicbert.evaluation.baselines.ratings import standardise

__all__ = ["first_windows", "genre_baselines", "logistic_scores", "mean_over_windows"]

Floats = NDArray[np.float64]
_TREES = 500


def first_windows(about: SentencePart) -> NDArray[np.int64]:
    """Return the first sequence of each piece, ascending."""
    if about.ids is None:
        return np.arange(len(about))
    return np.sort(np.unique(np.array(about.ids), return_index=True)[1])


def mean_over_windows(about: SentencePart, scores: Floats) -> tuple[list[str], NDArray[np.bool_], Floats]:
    """Average scores over the windows of each piece.

    Returns
    -------
    (ids, labels [shape=(pieces, C)], scores [shape=(pieces, C)]), in the order of first occurrence
    """
    ids = about.ids or [str(at) for at in range(len(about))]
    _, first, piece = np.unique(np.array(ids), return_index=True, return_inverse=True)
    total = np.zeros((len(first), scores.shape[1]))
    np.add.at(total, piece, scores)
    average = total / np.bincount(piece)[:, None]
    order = np.argsort(first, kind="stable")
    return [ids[at] for at in first[order]], about.hot[first[order]], average[order]


def logistic_scores(train: Floats, labels: NDArray[np.int64], here: Floats) -> Floats:
    """Fit a logistic regression a label on standardised features; labels that never vary keep their share.

    Parameters
    ----------
    train, labels
        Features [shape=(n, k)] and labels [shape=(n, C), 0 or 1] of the training pieces.
    here
        Features to score [shape=(m, k)].

    Returns
    -------
    [shape=(m, C), float64, 0-1]
    """
    frequency = labels.mean(axis=0)
    inputs, tested = standardise(train, here)
    scores = np.tile(frequency, (len(here), 1))
    for column in np.flatnonzero((frequency > 0) & (frequency < 1)).tolist():
        model = LogisticRegression(C=0.01, max_iter=2000).fit(inputs, labels[:, column])
        scores[:, column] = model.predict_proba(tested)[:, 1]
    return scores


def genre_baselines(
    folder: str | PathLike[str],
    part: str = "test",
    *,
    seed: int = 0,
    known: dict[bytes, Floats] | None = None,
) -> dict[str, Floats]:
    """Score every sequence of a part with each baseline.

    Parameters
    ----------
    folder, part
        Data-bin (one fold) and part.
    seed
        Of the trees.
    known
        See `window_features`.

    Returns
    -------
    name -> [shape=(n, C), float64, 0-1]
    """
    training, about = read_part(folder, "train"), read_part(folder, part)
    chosen = first_windows(training)
    labels = training.hot[chosen].astype(np.int64)
    train = window_features(folder, "train", chosen, known=known)
    here = window_features(folder, part, np.arange(len(about)), known=known)
    frequency = labels.mean(axis=0)
    scores = {
        "majority": np.tile((np.arange(len(frequency)) == frequency.argmax()).astype(float), (len(here), 1)),
        "frequency": np.tile(frequency, (len(here), 1)),
    }
    scores["logistic"] = logistic_scores(train, labels, here)
    trees = ExtraTreesClassifier(_TREES, min_samples_leaf=2, n_jobs=1, random_state=seed)
    found = trees.fit(train, labels).predict_proba(here)
    # a label that never, or always, occurs in training has one column
    scores["extra trees"] = np.stack(
        [p[:, 1] if p.shape[1] > 1 else np.full(len(here), frequency[c]) for c, p in enumerate(found)], axis=1
    )
    return scores
