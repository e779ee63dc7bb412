"""Baselines of ``next`` and ``acc``: scores of candidates without a network.

===================  =======================================================================
row                  score of a pair
===================  =======================================================================
``pitch classes``    cosine of the two phrases' pitch classes: the same key
``velocity``         minus the distance of their mean velocities: the same loudness
``register``         minus the distance of their mean pitches
``logistic``         logistic regression on `musicbert.evaluation.baselines.pair_features`
``boosting``         gradient-boosted trees on the same
``second only``      the same trees on the second phrase alone: a control
===================  =======================================================================

The last three are fitted on training pairs only, with settings that were fixed beforehand. What belongs
together cannot be told from the second phrase alone: where the control is above chance, the false candidates
give themselves away.
"""

from __future__ import annotations

from os import PathLike

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from musicbert.corpus.labelled.sentence_bin import read_part
from musicbert.evaluation.baselines.pair_features import PAIR_FEATURES, pair_features
from musicbert.evaluation.baselines.ratings import standardise

__all__ = ["pair_baselines"]

Floats = NDArray[np.float64]
#: Training pairs that the fitted baselines see, at most.
_MOST = 100_000


def pair_baselines(folder: str | PathLike[str], part: str = "test", *, seed: int = 0) -> dict[str, Floats]:
    """Score every pair of a part with each baseline.

    Returns
    -------
    name -> [shape=(n,), float64], the higher the better

    Raises
    ------
    DatasetError
        Those of `read_part` and `pair_features`.
    """
    about, training = read_part(folder, part), read_part(folder, "train")
    here, train = pair_features(folder, part, about), pair_features(folder, "train", training)
    labels = training.hot[:, training.classes.index("1")]
    if len(train) > _MOST:
        chosen = np.sort(np.random.default_rng(seed).choice(len(train), _MOST, replace=False))
        train, labels = train[chosen], labels[chosen]
    column = {name: here[:, at] for at, name in enumerate(PAIR_FEATURES)}
    scores = {
        "pitch classes": column["pitch classes: cosine"],
        "velocity": -column["distance: mean velocity"],
        "register": -column["distance: mean pitch"],
    }
    if labels.any() and not labels.all():
        inputs, tested = standardise(train, here)
        logistic = LogisticRegression(C=0.3, max_iter=2000).fit(inputs, labels)
        scores["logistic"] = logistic.decision_function(tested)
        alone = np.array([name.startswith("second:") for name in PAIR_FEATURES])
        for name, columns in (("boosting", np.ones_like(alone)), ("second only", alone)):
            trees = HistGradientBoostingClassifier(
                max_iter=200, learning_rate=0.1, early_stopping=False, random_state=seed
            ).fit(train[:, columns], labels)
            scores[name] = trees.decision_function(here[:, columns])
    return scores
