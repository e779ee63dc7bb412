"""A network's embedding and hand-made features in one model, fitted on the training part only.

The embedding is cut to its leading principal components of the training part, and embedding and features get
the same total variance. An embedding has seen the labels of its training items, so it looks more telling
there than it is on new music; a plain average of the network's and the features' predictions (``blend``)
cannot be misled in that way. Both are reported under their names.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from musicbert.annotation.content import content_groups
from musicbert.errors import DatasetError
from musicbert.evaluation.baselines.ratings import Examples, fit_predict
from musicbert.evaluation.predictions import Predictions

__all__ = ["hybrid"]

#: Components kept of an embedding.
COMPONENTS = 64


def hybrid(
    train: Predictions,
    test: Predictions,
    features: Mapping[str, NDArray[np.float64]],
    *,
    name: str = "ensemble",
    n_classes: int = 0,
    seed: int = 0,
) -> Predictions:
    """Predict the test part from embeddings and features.

    Parameters
    ----------
    train, test
        Predictions of one label with ``embedding``, for the training and the test part of one fold.
    features
        id -> features [shape=(k,), float64] of every item.
    name, seed
        As in :func:`musicbert.evaluation.baselines.ratings.fit_predict`.
    n_classes
        Number of classes, for labels that are classes.

    Raises
    ------
    DatasetError
        ``no-embedding`` where a part has none; ``no-match`` where an item has no features.
    """
    if train.embedding is None or test.embedding is None:
        raise DatasetError(
            "no-embedding", "a part has no embedding", hint="write the predictions again with the evaluation"
        )
    ids = np.concatenate([train.ids, test.ids])
    missing = [each for each in ids.tolist() if each not in features]
    if missing:
        raise DatasetError("no-match", f"{len(missing)} items have no features, such as {missing[0]}")
    count = min(COMPONENTS, *train.embedding.shape)
    cut = PCA(count, random_state=seed).fit(train.embedding)
    pooled = np.concatenate([cut.transform(part.embedding) for part in (train, test)])
    table = np.stack([features[each] for each in ids.tolist()])
    groups = content_groups(ids.tolist())
    target = np.concatenate([train.target, test.target])
    classes = train.kind == "classes"
    examples = Examples(
        ids=ids,
        features=np.concatenate([table, pooled], axis=1),
        labels=np.zeros((len(ids), 0)) if classes else target,
        class_of=target if classes else np.zeros(len(ids), np.int64),
        n_classes=n_classes,
        groups=np.array([groups[each] for each in ids.tolist()]),
    )
    at = np.arange(len(ids))
    return fit_predict(
        name,
        examples,
        at[: len(train)],
        at[len(train) :],
        task="classes" if classes else "regression",
        seed=seed,
        blocks=(table.shape[1], count),
    )
