"""Linear probes: what labels of genre and style a model's embeddings tell, without fine-tuning it.

A window is the mean of the last states over its notes. On these vectors one logistic regression a label is
fitted, as on the hand-made features (`musicbert.evaluation.baselines.sentences`): the two can be compared.
"""

import itertools
from os import PathLike
from typing import Any

import numpy as np
import torch

from musicbert.arrays import Floats, Ints
from musicbert.corpus.labelled.sentence_bin import SentenceBin
from musicbert.evaluation.baselines.sentences import first_windows, logistic_scores
from musicbert.model import MusicBert


def random_twin(model: Any, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of a new model of the same sizes: the control of a probe."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = MusicBert(model.config).state_dict()
    return {name: value for name, value in fresh.items() if name in model.module.state_dict()}


def window_vectors(
    model: Any,
    folder: str | PathLike[str],
    part: str,
    chosen: Ints,
    *,
    known: dict[bytes, Floats] | None = None,
) -> Floats:
    """Embed some sequences (ascending numbers) of a part of one fold [shape=(n, D), float64].

    ``known``: vectors by window, looked up and filled: folds share their windows.
    """
    known = {} if known is None else known
    found: list[Floats] = []
    data = SentenceBin(folder, parts=[part])
    for _, pieces in itertools.groupby(chosen.tolist(), lambda piece: piece // 64):
        rows = list(map(data.rows, pieces))
        keys = [each.tobytes() for each in rows]
        new = {key: each for key, each in zip(keys, rows, strict=True) if key not in known}
        if new:
            vectors = model.embed(list(new.values()), pooling="mean")
            known.update(zip(new, np.asarray(vectors, np.float64), strict=True))
        found += [known[key] for key in keys]
    return np.stack(found) if found else np.zeros((0, 0))


def probe_scores(
    model: Any, folder: str | PathLike[str], part: str = "test", *, known: dict[bytes, Floats] | None = None
) -> Floats:
    """Score the sequences of a part by regressions on embeddings of the training part [shape=(n, C), 0-1]."""
    training, about = SentenceBin(folder, parts=["train"]), SentenceBin(folder, parts=[part])
    chosen = first_windows(training)
    train = window_vectors(model, folder, "train", chosen, known=known)
    here = window_vectors(model, folder, part, np.arange(len(about)), known=known)
    return logistic_scores(train, training.hot[chosen].astype(np.int64), here)
